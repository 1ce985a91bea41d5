// Talks to the GraphQL API of the server that this page came from: queries and mutations by POST, subscriptions by
// graphql-transport-ws on one WebSocket that is open only while something is watched. It never speaks to another host.

import type { Fetcher, FetcherOpts, FetcherParams } from '@graphiql/toolkit';
import { getOperationAST, parse, type ExecutionResult } from 'graphql';
import { createClient, type Client } from 'graphql-ws';

/** How long the server may take to acknowledge a new socket; it checks a signature, which takes no time. */
const ackTimeout = 10_000; // milliseconds

/** A socket lost to a restart of the server is opened again this often, with growing pauses, about a minute in all. */
const reconnects = 6;

/** Close codes by which the server refuses a token: before and after connection_init. */
const refusedCodes: readonly number[] = [4401, 4403];

export interface Session {
  fetcher: Fetcher;
  /** Runs one query or mutation. Problems of the connection come back in errors; it never rejects. */
  send(params: FetcherParams): Promise<ExecutionResult>;
  /** Ends every subscription and closes the socket. */
  close(): void;
}

export interface SessionOptions {
  /** The page's address; the API is at /graphql of the same host. */
  page: string;
  token: string;
  /** Called when the server does not accept the token (any more). */
  onRefused(): void;
  /** Called with each result of a query or mutation that the editor ran. */
  onResult(result: ExecutionResult): void;
}

export function openSession({ page, token, onRefused, onResult }: SessionOptions): Session {
  const url = new URL('/graphql', page);
  const socket = openSocket(url, token, onRefused);

  async function send(params: FetcherParams, opts?: FetcherOpts): Promise<ExecutionResult> {
    const headers = new Headers(opts?.headers);
    headers.set('content-type', 'application/json');
    headers.set('accept', 'application/graphql-response+json, application/json');
    const own = !headers.has('authorization');
    if (own) headers.set('authorization', `Bearer ${token}`);

    const result = await post(url, headers, params);
    // A header typed by hand is the person's own trial: it says nothing about the token of the session.
    if (own && isUnauthenticated(result)) onRefused();
    return result;
  }

  const fetcher: Fetcher = async (asked, opts) => {
    const { params, subscription } = operation(asked);
    if (subscription) return subscribe(socket, params, onRefused);
    const result = await send(params, opts);
    onResult(result);
    return result;
  };

  return { fetcher, send, close: () => void socket.dispose() };
}

async function post(url: URL, headers: Headers, params: FetcherParams): Promise<ExecutionResult> {
  let response: Response;
  try {
    response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(params) });
  } catch {
    return failure('The server cannot be reached. Check that it is running, then try again.');
  }
  try {
    return (await response.json()) as ExecutionResult;
  } catch {
    if (response.status === 401) return failure('The server does not accept the token.', 'UNAUTHENTICATED');
    return failure(`The server answered ${response.status} without a GraphQL result. Try again, or look at its log.`);
  }
}

function openSocket(url: URL, token: string, onRefused: () => void): Client {
  const address = new URL(url);
  address.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return createClient({
    url: address.href,
    lazy: true,
    connectionAckWaitTimeout: ackTimeout,
    retryAttempts: reconnects,
    connectionParams: { Authorization: `Bearer ${token}` },
    shouldRetry: (event) => isClose(event) && !refusedCodes.includes(event.code),
    on: {
      closed: (event) => {
        if (isClose(event) && refusedCodes.includes(event.code)) onRefused();
      },
    },
  });
}

type Subscription = Extract<Awaited<ReturnType<Fetcher>>, { subscribe: unknown }>;

interface Sink {
  next(value: ExecutionResult): void;
  complete(): void;
}

/** A subscription as GraphiQL reads it. What goes wrong is its last result, in words, since GraphiQL prints an error's stack. */
function subscribe(client: Client, params: FetcherParams, onRefused: () => void): Subscription {
  const start = (sink: Sink) => {
    const unsubscribe = client.subscribe(
      { query: params.query, variables: params.variables, operationName: params.operationName },
      {
        next: (value) => sink.next(value as ExecutionResult),
        error: (problem) => {
          const result = explain(problem);
          if (isUnauthenticated(result)) onRefused();
          sink.next(result);
          sink.complete();
        },
        complete: () => sink.complete(),
      },
    );
    return { unsubscribe };
  };
  return { subscribe: start } as unknown as Subscription;
}

/** The end of a subscription, which is a list of GraphQL errors, a close of the socket, or a fault on this side. */
function explain(problem: unknown): ExecutionResult {
  if (Array.isArray(problem)) return { errors: problem };
  if (isClose(problem)) {
    if (problem.code === 1006) return failure('The connection was lost and could not be opened again. Check that the server is running.');
    const reason = problem.reason ? `: ${problem.reason}` : '';
    return failure(`The server closed the connection (${problem.code}${reason}). Run the subscription again.`);
  }
  return failure(problem instanceof Error ? problem.message : 'The subscription ended with an unknown problem.');
}

function failure(message: string, code?: string): ExecutionResult {
  const error = code === undefined ? { message } : { message, extensions: { code } };
  // A plain object, as the server sends it: a GraphQLError would print locations that do not exist.
  return { errors: [error] } as unknown as ExecutionResult;
}

function isUnauthenticated(result: ExecutionResult): boolean {
  return result.errors?.some((error) => error.extensions?.['code'] === 'UNAUTHENTICATED') ?? false;
}

/**
 * What is to be run. GraphiQL notices a tab's operation a moment after the tab was opened; until then it still names the one of
 * the tab before, which this document does not have. Where only one can be meant, that one is run.
 */
export function operation(params: FetcherParams): { params: FetcherParams; subscription: boolean } {
  try {
    const document = parse(params.query);
    const named = getOperationAST(document, params.operationName);
    const meant = named ?? getOperationAST(document);
    const subscription = meant?.operation === 'subscription';
    if (named || !meant) return { params, subscription };
    return { params: { ...params, operationName: meant.name?.value ?? null }, subscription };
  } catch {
    return { params, subscription: false }; // The server says better than this page what is wrong with the text.
  }
}

function isClose(event: unknown): event is { code: number; reason: string } {
  return typeof event === 'object' && event !== null && 'code' in event && 'reason' in event;
}
