import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, MemoryStorage } from './load.mjs';

const { openStorage } = await load('storage.ts');

test('what is kept is there for the next one that opens it', () => {
  const tab = new MemoryStorage();
  const storage = openStorage(tab);
  storage.setItem('a', '1');
  storage.setItem('b', '2');
  storage.removeItem('b');
  assert.equal(openStorage(tab).getItem('a'), '1');
  assert.equal(openStorage(tab).length, 1);
  storage.clear();
  assert.equal(storage.length, 0);
});

test('one that was closed has forgotten all, and keeps nothing that comes late', () => {
  const tab = new MemoryStorage();
  const storage = openStorage(tab);
  storage.setItem('typed', 'x');
  storage.close();
  assert.equal(tab.length, 0);
  storage.setItem('typed', 'y');
  assert.equal(tab.length, 0);
  openStorage(tab).setItem('typed', 'z'); // who signs in next
  assert.equal(tab.getItem('typed'), 'z');
});
