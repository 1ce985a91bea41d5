// A small client for the command line: runs one operation and prints each answer as a line of JSON. Queries and mutations go by
// POST, subscriptions by graphql-transport-ws, until the server completes them or the client is interrupted.
//
//   TOKEN=… node --experimental-websocket web/gql.mjs '{ viewer { id } }'
//   TOKEN=… node --experimental-websocket web/gql.mjs 'subscription($id: ID!) { … }' '{"id": "ws_…"}'
//
// AICLI_URL says where the server is (default http://127.0.0.1:8080). The exit code is 1 when there were errors.

import process from 'node:process';
import { getOperationAST, parse } from 'graphql';
import { createClient } from 'graphql-ws';

const [query, variables = '{}'] = process.argv.slice(2);
const token = process.env.TOKEN;
if (!query || !token) fail('Give an operation, and in TOKEN a bearer token (aicli-web token --user NAME prints one).');

const url = new URL('/graphql', process.env.AICLI_URL ?? 'http://127.0.0.1:8080');
const operation = { query, variables: JSON.parse(variables) };

if (getOperationAST(parse(query))?.operation === 'subscription') {
  const socket = new URL(url);
  socket.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const client = createClient({ url: socket.href, connectionParams: { Authorization: `Bearer ${token}` } });
  client.subscribe(operation, {
    next: print,
    error: (problem) => fail(Array.isArray(problem) ? JSON.stringify(problem) : (problem.reason ?? problem.message ?? String(problem))),
    complete: () => void client.dispose(),
  });
} else {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(operation) });
  print(await response.json());
}

function print(result) {
  console.log(JSON.stringify(result.errors ? result : result.data));
  if (result.errors) process.exitCode = 1;
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
