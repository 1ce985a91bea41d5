// Does with the client of client.ts what a status panel does, on a real server: node check.mjs URL TOKEN
import assert from 'node:assert/strict';
import { graphql } from '../gql';
import { newClient } from './client';

const Create = graphql(`
  mutation ApolloCreate($input: CreateWorkspaceInput!) {
    createWorkspace(input: $input) {
      workspace { id name status }
      userErrors { message field }
    }
  }
`);
const Status = graphql(`
  subscription ApolloStatus($id: ID!) {
    workspaceStatus(id: $id) { id status statusReason }
  }
`);
const Metrics = graphql(`
  subscription ApolloMetrics($id: ID!) {
    workspaceMetrics(id: $id) { workspaceId memoryBytes }
  }
`);
const One = graphql(`
  query ApolloOne($id: ID!) {
    workspace(id: $id) { id name status metrics { workspaceId memoryBytes } }
  }
`);
const List = graphql(`
  query ApolloList($first: Int!, $after: String) {
    workspaces(first: $first, after: $after) {
      edges { cursor node { id name status } }
      pageInfo { hasNextPage endCursor }
    }
  }
`);
const Version = graphql(`query ApolloVersion { server { version engine { status } } }`);
const Queue = graphql(`query ApolloQueue { server { queue { workers } } }`);
const Batch = graphql(`
  mutation ApolloBatch($ids: [ID!]!) {
    startBatch(input: { operation: DELETE, workspaceIds: $ids }) {
      batch { id items(first: 10) { edges { node { id workspaceId status } } } }
      userErrors { message }
    }
  }
`);
const Progress = graphql(`
  subscription ApolloProgress($id: ID!) {
    batchProgress(id: $id) { id status succeeded total }
  }
`);

const [url = '', token = ''] = process.argv.slice(2);
const { client, close } = newClient(url, token);
const cached = () => client.cache.extract() as Record<string, Record<string, unknown>>;

const ids: string[] = [];
for (const name of ['one', 'two', 'three']) {
  const { data } = await client.mutate({ mutation: Create, variables: { input: { name: `apollo-${name}` } } });
  assert.deepEqual(data?.createWorkspace.userErrors, []);
  ids.push(data!.createWorkspace.workspace!.id);
}
const [first = ''] = ids;

// A stream tells the cache, and with it whoever watches the workspace.
const watched = client.watchQuery({ query: One, variables: { id: first } });
const stream = client.subscribe({ query: Status, variables: { id: first } }).subscribe({});
await new Promise<void>((resolve, reject) => {
  watched.subscribe({
    next: ({ dataState, data }) => dataState === 'complete' && data.workspace?.status === 'ACTIVE' && resolve(),
    error: reject,
  });
});
stream.unsubscribe();

// Two samples are one object.
await new Promise<void>((resolve, reject) => {
  let samples = 0;
  const usage = client.subscribe({ query: Metrics, variables: { id: first } }).subscribe({
    next: () => {
      if (++samples === 2) {
        usage.unsubscribe();
        resolve();
      }
    },
    error: reject,
  });
});
assert.ok(cached()[`MetricsSample:{"workspaceId":"${first}"}`]);

// Pages are joined.
const list = client.watchQuery({ query: List, variables: { first: 2 } });
const page = await list.refetch();
assert.equal(page.data?.workspaces.edges.length, 2);
await list.fetchMore({ variables: { after: page.data?.workspaces.pageInfo.endCursor } });
assert.deepEqual(new Set(client.readQuery({ query: List, variables: { first: 2 } })?.workspaces.edges.map((e) => e.node.id)), new Set(ids));

// Parts of the server are put together.
await client.query({ query: Version });
await client.query({ query: Queue });
const server = cached()['ServerInfo:{}'];
assert.ok(server?.version && server.queue && cached()['EngineHealth:{}']);

// The items of a batch have ids, and its counts come by its stream.
const { data } = await client.mutate({ mutation: Batch, variables: { ids } });
const batch = data!.startBatch.batch!;
for (const { node } of batch.items.edges) assert.ok(cached()[`BatchItem:${node.id}`]);
await new Promise<void>((resolve, reject) => {
  client.subscribe({ query: Progress, variables: { id: batch.id } }).subscribe({ complete: resolve, error: reject });
});
assert.equal(cached()[`Batch:${batch.id}`]?.succeeded, 3);

client.stop();
await close();
