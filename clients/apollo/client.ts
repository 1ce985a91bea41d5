import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { relayStylePagination } from '@apollo/client/utilities';
import { OperationTypeNode } from 'graphql';
import { createClient } from 'graphql-ws';

export function newCache() {
  return new InMemoryCache({
    possibleTypes: { Node: ['Batch', 'Task', 'Workspace'] },
    typePolicies: {
      Query: {
        fields: {
          // Ask for edges { node }: these policies know nothing of the shorter `nodes`.
          workspaces: relayStylePagination(['filter', 'orderBy']),
          tasks: relayStylePagination(['filter']),
          batches: relayStylePagination(),
          // What was seen in a list or a stream is there when it is asked for by its id.
          workspace: (_, { args, toReference }) => toReference({ __typename: 'Workspace', id: args?.id }),
          task: (_, { args, toReference }) => toReference({ __typename: 'Task', id: args?.id }),
          batch: (_, { args, toReference }) => toReference({ __typename: 'Batch', id: args?.id }),
        },
      },
      Workspace: { fields: { tasks: relayStylePagination(['filter']) } },
      Batch: { fields: { items: relayStylePagination() } },
      // There is one of each: whatever asks for a part of it adds to the same object.
      ServerInfo: { keyFields: [] },
      QueueInfo: { keyFields: [] },
      EngineHealth: { keyFields: [] },
      // A workspace has one latest sample, which workspaceMetrics replaces each time.
      MetricsSample: { keyFields: ['workspaceId'] },
    },
  });
}

export function newClient(url: string, token: string, cache = newCache()) {
  const ws = createClient({
    url: `${url.replace(/^http/, 'ws')}/graphql`,
    connectionParams: { authorization: `Bearer ${token}` },
    retryAttempts: Infinity, // it comes back when the server does
  });
  const client = new ApolloClient({
    cache,
    link: ApolloLink.split(
      ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
      new GraphQLWsLink(ws),
      new HttpLink({ uri: `${url}/graphql`, headers: { authorization: `Bearer ${token}` } }),
    ),
  });
  return { client, close: () => ws.dispose() };
}
