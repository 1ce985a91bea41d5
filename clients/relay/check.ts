// Does with the environment of environment.ts what a status panel does, on a real server: node check.mjs URL TOKEN
import assert from 'node:assert/strict';
import { commitMutation, ConnectionHandler, fetchQuery, getRequest, requestSubscription, ROOT_ID, type GraphQLTaggedNode, type MutationParameters } from 'relay-runtime';
import Create, { type documentsCreateMutation } from './__generated__/documentsCreateMutation.graphql';
import Delete, { type documentsDeleteMutation } from './__generated__/documentsDeleteMutation.graphql';
import List, { type documentsListQuery } from './__generated__/documentsListQuery.graphql';
import Status, { type documentsStatusSubscription } from './__generated__/documentsStatusSubscription.graphql';
import { newEnvironment } from './environment';

const [url = '', token = ''] = process.argv.slice(2);
const { environment, close } = newEnvironment(url, token);
const read = (id: string) => environment.getStore().getSource().get(id) as Record<string, unknown> | undefined;

function change<M extends MutationParameters>(mutation: GraphQLTaggedNode, variables: M['variables']): Promise<M['response']> {
  return new Promise((resolve, reject) => commitMutation<M>(environment, { mutation, variables, onCompleted: resolve, onError: reject }));
}

await fetchQuery<documentsListQuery>(environment, List, { first: 10 }).toPromise();
environment.retain({ ...operationOf(), fragment: operationOf().root } as never);
function operationOf() {
  const request = getRequest(List);
  return { request: { node: request, identifier: '', variables: { first: 10 }, cacheConfigVariables: {} }, root: { dataID: ROOT_ID, node: request.operation, variables: { first: 10 } } };
}

// What a mutation makes is an edge of the list.
const connection = ConnectionHandler.getConnectionID(ROOT_ID, 'documents_workspaces');
const made = await change<documentsCreateMutation>(Create, { input: { name: 'relay-one' }, connections: [connection] });
assert.deepEqual(made.createWorkspace.userErrors, []);
const id = made.createWorkspace.workspace!.id;
assert.equal((read(connection)?.edges as { __refs: string[] }).__refs.length, 1);

// A stream changes the record.
await new Promise<void>((resolve, reject) => {
  const stream = requestSubscription<documentsStatusSubscription>(environment, {
    subscription: Status,
    variables: { id },
    onNext: () => {
      if (read(id)?.status === 'ACTIVE') {
        stream.dispose();
        resolve();
      }
    },
    onError: reject,
  });
});
assert.deepEqual((await change<documentsDeleteMutation>(Delete, { id })).deleteWorkspace.userErrors, []);
await close();
