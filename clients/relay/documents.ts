// What a panel asks for, as its components say it. relay-compiler makes __generated__ of it.
import { graphql } from 'relay-runtime';

export const list = graphql`
  query documentsListQuery($first: Int!) {
    ...documentsList_query @arguments(first: $first)
  }
`;

export const listFragment = graphql`
  fragment documentsList_query on Query
  @argumentDefinitions(first: { type: "Int", defaultValue: 20 }, after: { type: "String" })
  @refetchable(queryName: "documentsListPageQuery") {
    workspaces(first: $first, after: $after) @connection(key: "documents_workspaces") {
      edges {
        node {
          id
          ...documentsRow_workspace
        }
      }
    }
  }
`;

export const row = graphql`
  fragment documentsRow_workspace on Workspace @refetchable(queryName: "documentsRowQuery") {
    id
    name
    status
    metrics {
      cpuPercent
    }
  }
`;

export const create = graphql`
  mutation documentsCreateMutation($input: CreateWorkspaceInput!, $connections: [ID!]!) {
    createWorkspace(input: $input) {
      workspace @prependNode(connections: $connections, edgeTypeName: "WorkspaceEdge") {
        id
        ...documentsRow_workspace
      }
      userErrors {
        message
        field
      }
    }
  }
`;

export const status = graphql`
  subscription documentsStatusSubscription($id: ID!) {
    workspaceStatus(id: $id) {
      ...documentsRow_workspace
    }
  }
`;

export const remove = graphql`
  mutation documentsDeleteMutation($id: ID!) {
    deleteWorkspace(input: { id: $id, wait: "PT30S" }) {
      userErrors {
        message
      }
    }
  }
`;
