import { Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { cacheExchange } from '@urql/exchange-graphcache';
import { relayPagination } from '@urql/exchange-graphcache/extras';
import { createClient } from 'graphql-ws';

const embedded = () => null; // a part of what it stands in

export const cache = () =>
  cacheExchange({
    keys: {
      // There is one of each.
      ServerInfo: () => 'one',
      QueueInfo: () => 'one',
      EngineHealth: () => 'one',
      // A workspace has one latest sample.
      MetricsSample: (sample) => sample.workspaceId as string,
      Container: embedded,
      ContainerExit: embedded,
      ContainerHealth: embedded,
      EnvironmentVariable: embedded,
      HealthCheck: embedded,
      Isolation: embedded,
      Label: embedded,
      RecoveryPolicy: embedded,
      Resources: embedded,
      TaskError: embedded,
      UserError: embedded,
    },
    resolvers: {
      Query: {
        workspaces: relayPagination(),
        tasks: relayPagination(),
        batches: relayPagination(),
        workspace: (_, { id }) => ({ __typename: 'Workspace', id: id as string }),
        task: (_, { id }) => ({ __typename: 'Task', id: id as string }),
        batch: (_, { id }) => ({ __typename: 'Batch', id: id as string }),
      },
      Workspace: { tasks: relayPagination() },
      Batch: { items: relayPagination() },
    },
  });

export function newClient(url: string, token: string) {
  const ws = createClient({
    url: `${url.replace(/^http/, 'ws')}/graphql`,
    connectionParams: { authorization: `Bearer ${token}` },
    retryAttempts: Infinity,
  });
  const client = new Client({
    url: `${url}/graphql`,
    preferGetMethod: false,
    fetchOptions: { headers: { authorization: `Bearer ${token}` } },
    exchanges: [
      cache(),
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: (operation) => ({
          subscribe: (sink) => ({ unsubscribe: ws.subscribe({ ...operation, query: operation.query ?? '' }, sink) }),
        }),
      }),
    ],
  });
  return { client, close: () => ws.dispose() };
}
