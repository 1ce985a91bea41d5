import { createClient } from 'graphql-ws';
import { Environment, Network, Observable, RecordSource, Store, type GraphQLResponse, type RequestParameters, type Variables } from 'relay-runtime';

export function newEnvironment(url: string, token: string) {
  const authorization = `Bearer ${token}`;
  const ws = createClient({
    url: `${url.replace(/^http/, 'ws')}/graphql`,
    connectionParams: { authorization },
    retryAttempts: Infinity,
  });
  async function ask({ text }: RequestParameters, variables: Variables): Promise<GraphQLResponse> {
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization },
      body: JSON.stringify({ query: text, variables }),
    });
    return (await response.json()) as GraphQLResponse;
  }
  const subscribe = ({ text, name }: RequestParameters, variables: Variables) =>
    Observable.create<GraphQLResponse>((sink) =>
      ws.subscribe({ query: text ?? '', operationName: name, variables }, { ...sink, next: (value) => sink.next(value as GraphQLResponse) }),
    );
  const environment = new Environment({ network: Network.create(ask, subscribe), store: new Store(new RecordSource()) });
  return { environment, close: () => ws.dispose() };
}
