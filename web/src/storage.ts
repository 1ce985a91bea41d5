// What the explorer keeps in this tab: what was typed, and the ids of the workspaces that were made. It belongs to whoever is signed in.

/** What the explorer uses of sessionStorage. */
export type TabStorage = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'clear' | 'length'>;

/** Storage that can be closed. GraphiQL writes what was typed up to half a second later, and an answer may come later still. */
export interface SessionStorage extends TabStorage {
  /** Forgets all that is kept, and keeps nothing more. */
  close(): void;
}

export function openStorage(storage: TabStorage): SessionStorage {
  let open = true;
  return {
    get length() {
      return storage.length;
    },
    getItem: (key) => storage.getItem(key),
    removeItem: (key) => storage.removeItem(key),
    clear: () => storage.clear(),
    setItem(key, value) {
      if (open) storage.setItem(key, value);
    },
    close() {
      open = false;
      storage.clear();
    },
  };
}
