import type { GraphiQLProps } from 'graphiql';
import { placeholder } from './created';

export type TabDefinition = NonNullable<GraphiQLProps['defaultTabs']>[number];

/** Six letters and digits, so that two people who run the examples do not ask for the same name. */
function suffix(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => (byte % 36).toString(36)).join('');
}

function variables(value: object): string {
  return JSON.stringify(value, null, 2);
}

/** The tabs that a new session opens with, in the order in which a newcomer would run them. */
export function examples(): TabDefinition[] {
  return [
    {
      query: `# Who you are, and how the server is.
# Run it with the button or Ctrl-Enter.
query Overview {
  viewer {
    id
    role
  }
  server {
    version
    database
    engine {
      status
      name
      version
      apiVersion
      lastError
    }
    queue {
      workers
      running
      queued
    }
  }
}
`,
    },
    {
      query: `# Your workspaces, the newest first.
# The next page: add after: "<endCursor>".
query ListWorkspaces {
  workspaces(first: 20, orderBy: { field: CREATED_AT, direction: DESC }) {
    totalCount
    nodes {
      id
      name
      status
      statusReason
      image
      container {
        state
        uptime
      }
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
`,
    },
    {
      query: `# Makes a workspace and starts it. This
# answers at once; the work goes on behind
# it: run the next tab to watch.
mutation CreateWorkspace($input: CreateWorkspaceInput!) {
  createWorkspace(input: $input) {
    workspace {
      id
      name
      status
    }
    task {
      id
      type
      status
    }
    userErrors {
      code
      message
      field
    }
  }
}
`,
      variables: variables({ input: { name: `demo-${suffix()}` } }),
    },
    {
      query: `# The workspace as it is now, then again
# with each change, until it is deleted.
subscription WatchStatus($id: ID!) {
  workspaceStatus(id: $id) {
    name
    status
    statusReason
    statusSince
    version
    container {
      state
      startedAt
      lastError
    }
  }
}
`,
      variables: variables({ id: placeholder }),
    },
    {
      query: `# What the workspace uses, every second.
# 100 per cent is one core; sizes are bytes.
subscription WatchUsage($id: ID!) {
  workspaceMetrics(id: $id, interval: "PT1S") {
    at
    cpuPercent
    memoryBytes
    memoryLimitBytes
    networkRxBytes
    networkTxBytes
    pids
    uptime
  }
}
`,
      variables: variables({ id: placeholder }),
    },
    {
      query: `# Removes the workspace, its container and
# its network. DELETING until all is gone.
mutation DeleteWorkspace($input: DeleteWorkspaceInput!) {
  deleteWorkspace(input: $input) {
    workspace {
      id
      status
    }
    task {
      id
      type
      status
    }
    userErrors {
      code
      message
      field
    }
  }
}
`,
      variables: variables({ input: { id: placeholder } }),
    },
  ];
}
