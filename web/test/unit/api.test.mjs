import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { load } from './load.mjs';

const { openSession, operation } = await load('api.ts');
const realFetch = globalThis.fetch;

// A server's end of one graphql-transport-ws socket, in the browser's clothes. What it does with connection_init and with
// subscribe is each test's own.
class Socket {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;
  static opened = [];
  static onInit = (socket) => socket.answer({ type: 'connection_ack' });
  static onSubscribe = () => {};

  readyState = Socket.CONNECTING;
  received = [];

  constructor(url, protocol) {
    Object.assign(this, { url, protocol });
    Socket.opened.push(this);
    queueMicrotask(() => {
      this.readyState = Socket.OPEN;
      this.onopen({});
    });
  }
  send(text) {
    const message = JSON.parse(text);
    this.received.push(message);
    if (message.type === 'connection_init') queueMicrotask(() => Socket.onInit(this));
    if (message.type === 'subscribe') queueMicrotask(() => Socket.onSubscribe(this, message));
  }
  answer(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }
  close(code = 1000, reason = '') {
    this.readyState = Socket.CLOSED;
    queueMicrotask(() => this.onclose?.({ code, reason, wasClean: true }));
  }
}
const { onInit, onSubscribe } = Socket;
globalThis.WebSocket = Socket;

afterEach(() => {
  globalThis.fetch = realFetch;
  Object.assign(Socket, { opened: [], onInit, onSubscribe });
});

/** Runs a subscription to its end and gives its results. */
async function watch({ fetcher }) {
  const stream = await fetcher({ query: 'subscription ($id: ID!) { s(id: $id) }', variables: { id: 'ws_1' } });
  const results = [];
  await new Promise((complete, error) => stream.subscribe({ next: (result) => results.push(result), error, complete }));
  return results;
}

function session(answer) {
  const seen = { requests: [], refused: 0, results: [] };
  globalThis.fetch = async (url, init) => {
    seen.requests.push({ url: String(url), headers: init.headers, body: JSON.parse(init.body) });
    return answer();
  };
  const opened = openSession({
    page: 'http://host.example:8080/explorer/',
    token: 'secret',
    onRefused: () => seen.refused++,
    onResult: (result) => seen.results.push(result),
  });
  return { ...opened, seen };
}

const json = (body, status = 200) => () => Response.json(body, { status });
const refusal = { errors: [{ message: 'Sign in.', extensions: { code: 'UNAUTHENTICATED' } }] };

test('a query goes to /graphql of the same host with the token', async () => {
  const { fetcher, seen } = session(json({ data: { viewer: { id: 'alice' } } }));
  const result = await fetcher({ query: '{ viewer { id } }' });
  assert.deepEqual(result, { data: { viewer: { id: 'alice' } } });
  assert.equal(seen.requests[0].url, 'http://host.example:8080/graphql');
  assert.equal(seen.requests[0].headers.get('authorization'), 'Bearer secret');
  assert.deepEqual(seen.results, [result]);
  assert.equal(seen.refused, 0);
});

test('a refused token is told, whatever the status of the answer', async () => {
  for (const answer of [json(refusal), json(refusal, 401), () => new Response('no', { status: 401 })]) {
    const { fetcher, seen } = session(answer);
    await fetcher({ query: '{ viewer { id } }' });
    assert.equal(seen.refused, 1);
  }
});

test('an Authorization header typed by hand is sent as it is and ends no session', async () => {
  const { fetcher, seen } = session(json(refusal));
  await fetcher({ query: '{ viewer { id } }' }, { headers: { Authorization: 'Bearer other' } });
  assert.equal(seen.requests[0].headers.get('authorization'), 'Bearer other');
  assert.equal(seen.refused, 0);
});

test('an unreachable server and an answer that is no GraphQL are explained', async () => {
  const unreachable = session(() => {
    throw new TypeError('fetch failed');
  });
  assert.match((await unreachable.fetcher({ query: '{ a }' })).errors[0].message, /cannot be reached/);
  const proxy = session(() => new Response('<html>', { status: 502 }));
  assert.match((await proxy.fetcher({ query: '{ a }' })).errors[0].message, /answered 502/);
});

test('a subscription is told from a query by the operation that is run', () => {
  const query = 'query Q { a } subscription S { b }';
  assert.equal(operation({ query, operationName: 'S' }).subscription, true);
  assert.equal(operation({ query, operationName: 'Q' }).subscription, false);
  assert.equal(operation({ query: 'subscription { b }' }).subscription, true);
  assert.equal(operation({ query: 'subscription {' }).subscription, false);
});

test('the name of an operation that the document lacks gives way to the only one that it has', () => {
  const { params, subscription } = operation({ query: 'subscription S { b }', operationName: 'Before' });
  assert.equal(params.operationName, 'S');
  assert.equal(subscription, true);
  const two = { query: 'query Q { a } query R { a }', operationName: 'Before' };
  assert.deepEqual(operation(two).params, two);
});

test('a subscription opens a socket on the same host and signs in on it', async () => {
  Socket.onSubscribe = (socket, { id }) => {
    socket.answer({ id, type: 'next', payload: { data: { s: 1 } } });
    socket.answer({ id, type: 'next', payload: { data: { s: 2 } } });
    socket.answer({ id, type: 'complete' });
  };
  const opened = session(json({}));
  assert.equal(Socket.opened.length, 0);
  assert.deepEqual(await watch(opened), [{ data: { s: 1 } }, { data: { s: 2 } }]);
  const [socket] = Socket.opened;
  assert.equal(socket.url, 'ws://host.example:8080/graphql');
  assert.equal(socket.protocol, 'graphql-transport-ws');
  assert.deepEqual(socket.received[0].payload, { Authorization: 'Bearer secret' });
  assert.deepEqual(socket.received[1].payload.variables, { id: 'ws_1' });
});

test('a socket that refuses the token ends the session without another try', async () => {
  for (const code of [4401, 4403]) {
    Socket.opened = [];
    Socket.onInit = (socket) => socket.close(code, 'Forbidden');
    const opened = session(json({}));
    const result = (await watch(opened)).at(-1);
    assert.match(result.errors[0].message, new RegExp(`closed the connection \\(${code}: Forbidden\\)`));
    assert.equal(Socket.opened.length, 1);
    assert.equal(opened.seen.refused, 1);
  }
});

test('errors of a subscription are its last result', async () => {
  const errors = [{ message: 'There is no such workspace.', extensions: { code: 'NOT_FOUND' } }];
  Socket.onSubscribe = (socket, { id }) => socket.answer({ id, type: 'error', payload: errors });
  assert.deepEqual(await watch(session(json({}))), [{ errors }]);
});
