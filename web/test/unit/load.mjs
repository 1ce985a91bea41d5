// Loads a module of the explorer as Vite builds it, so that the tests need no second compiler.

import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

export async function load(name) {
  const file = fileURLToPath(new URL(`../../src/${name}`, import.meta.url));
  const { module } = await runnerImport(file, { configFile: false, logLevel: 'error' });
  return module;
}

/** What the modules use of sessionStorage. */
export class MemoryStorage {
  #items = new Map();
  getItem(key) {
    return this.#items.get(key) ?? null;
  }
  setItem(key, value) {
    this.#items.set(key, String(value));
  }
  removeItem(key) {
    this.#items.delete(key);
  }
  clear() {
    this.#items.clear();
  }
  get length() {
    return this.#items.size;
  }
}
