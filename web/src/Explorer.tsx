import { useGraphiQL } from '@graphiql/react';
import { GraphiQL } from 'graphiql';
import type { ExecutionResult } from 'graphql';
import { useEffect, useRef, useState } from 'react';
import { openSession } from './api';
import { createdIds, fillCreated, rememberCreated } from './created';
import { examples } from './examples';
import { openStorage } from './storage';

interface Props {
  token: string;
  onRefused(): void;
  onSignOut(): void;
}

/** GraphiQL, signed in. One is made for each token: a new token means a new session, a new socket and a new look at the schema. */
export function Explorer({ token, onRefused, onSignOut }: Props) {
  const [storage] = useState(() => openStorage(sessionStorage));
  const [created, setCreated] = useState(() => createdIds(storage));
  const [tabs] = useState(examples);
  const [session] = useState(() =>
    openSession({
      page: location.href,
      token,
      onRefused,
      onResult: (result) => {
        const id = createdIn(result);
        if (id) setCreated(rememberCreated(storage, id));
      },
    }),
  );
  const [viewer, setViewer] = useState<string>();

  useEffect(() => {
    let live = true;
    void session.send({ query: '{ viewer { id role } }' }).then((result) => {
      if (live) setViewer(viewerIn(result));
    });
    return () => {
      live = false;
      session.close();
    };
  }, [session]);

  // What was typed and answered belongs to whoever was signed in: it goes with the token.
  const signOut = () => {
    storage.close();
    onSignOut();
  };

  return (
    <main className="explorer">
      <h1 className="hidden">aicli-web explorer</h1>
      <GraphiQL
        fetcher={session.fetcher}
        defaultTabs={tabs}
        storage={storage}
        inputValueDeprecation
        schemaDescription
        defaultEditorToolsVisibility="variables"
        showPersistHeadersSettings={false}
      >
        <GraphiQL.Logo>
          <span className="session">
            {viewer && <span>{viewer}</span>}
            <button type="button" onClick={signOut}>
              Sign out
            </button>
          </span>
        </GraphiQL.Logo>
        <CreatedId ids={created} />
      </GraphiQL>
    </main>
  );
}

/** Puts the id of the newest workspace into a tab's variables, once for each tab and workspace, so that it can be edited after. */
function CreatedId({ ids }: { ids: readonly string[] }) {
  const editor = useGraphiQL((state) => state.variableEditor);
  const tab = useGraphiQL((state) => state.tabs[state.activeTabIndex]?.id);
  const filled = useRef(new Map<string, string>());
  const newest = ids.at(-1);

  useEffect(() => {
    if (!editor || tab === undefined || newest === undefined || filled.current.get(tab) === newest) return;
    filled.current.set(tab, newest);
    const before = editor.getValue();
    const after = fillCreated(before, ids);
    if (after !== before) editor.setValue(after);
  }, [editor, tab, newest, ids]);

  return null;
}

function createdIn(result: ExecutionResult): string | undefined {
  const data = result.data as { createWorkspace?: { workspace?: { id?: string } | null } } | null | undefined;
  return data?.createWorkspace?.workspace?.id;
}

function viewerIn(result: ExecutionResult): string | undefined {
  const viewer = (result.data as { viewer?: { id: string; role: string } } | null | undefined)?.viewer;
  if (!viewer) return undefined;
  return viewer.role === 'ADMIN' ? `${viewer.id} (admin)` : viewer.id;
}
