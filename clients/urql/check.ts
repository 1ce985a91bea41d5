// Does with the client of client.ts what a status panel does, on a real server: node check.mjs URL TOKEN
import assert from 'node:assert/strict';
import { graphql } from '../gql';
import { newClient } from './client';

const Create = graphql(`
  mutation UrqlCreate($input: CreateWorkspaceInput!) {
    createWorkspace(input: $input) {
      workspace { id name status }
      userErrors { message }
    }
  }
`);
const Status = graphql(`
  subscription UrqlStatus($id: ID!) {
    workspaceStatus(id: $id) { id status container { state } }
  }
`);
const One = graphql(`
  query UrqlOne($id: ID!) {
    workspace(id: $id) { id name status }
  }
`);
const Server = graphql(`query UrqlServer { server { version engine { status } queue { workers } } }`);
const Delete = graphql(`
  mutation UrqlDelete($id: ID!) {
    deleteWorkspace(input: { id: $id, wait: "PT30S" }) { userErrors { message } }
  }
`);

const [url = '', token = ''] = process.argv.slice(2);
const { client, close } = newClient(url, token);
const made = await client.mutation(Create, { input: { name: 'urql-one' } });
assert.equal(made.error, undefined);
const id = made.data!.createWorkspace.workspace!.id;

// A stream tells the cache, and with it whoever watches the workspace.
let seen = '';
const watching = client.query(One, { id }).subscribe(({ data }) => (seen = data?.workspace?.status ?? ''));
await new Promise<void>((resolve) => {
  const stream = client.subscription(Status, { id }).subscribe(({ data }) => {
    if (data?.workspaceStatus.status === 'ACTIVE') setImmediate(() => (stream.unsubscribe(), resolve()));
  });
});
assert.equal(seen, 'ACTIVE');
watching.unsubscribe();

const { data } = await client.query(Server, {});
assert.ok(data?.server.version && data.server.queue.workers > 0);
assert.deepEqual((await client.mutation(Delete, { id })).data?.deleteWorkspace.userErrors, []);
await close();
