// The examples about one workspace need an id that exists only once somebody has made one. They begin with a placeholder that
// says so; the ids of the workspaces made in this tab take its place, the newest first.

import type { TabStorage } from './storage';

const key = 'aicli.created';

/** How many ids are remembered: enough to find the older ones in tabs that were not looked at since. */
const createdMax = 50;

/** Stands in the variables of an example until a workspace has been made. */
export const placeholder = 'Run CreateWorkspace first';

/** The ids of the workspaces made in this tab, the newest last. */
export function createdIds(storage: TabStorage): string[] {
  try {
    const ids: unknown = JSON.parse(storage.getItem(key) ?? '[]');
    return Array.isArray(ids) ? ids.filter((id) => typeof id === 'string') : [];
  } catch {
    return [];
  }
}

/** Adds an id and gives the list that is remembered from now on. */
export function rememberCreated(storage: TabStorage, id: string): string[] {
  const ids = [...createdIds(storage).filter((known) => known !== id), id].slice(-createdMax);
  storage.setItem(key, JSON.stringify(ids));
  return ids;
}

/** Variables with the placeholder and every older id of this tab replaced by the newest; unchanged when none was made. */
export function fillCreated(variables: string, ids: readonly string[]): string {
  const newest = ids.at(-1);
  if (newest === undefined) return variables;
  return [placeholder, ...ids.slice(0, -1)].reduce(
    (text, old) => text.replaceAll(JSON.stringify(old), JSON.stringify(newest)),
    variables,
  );
}
