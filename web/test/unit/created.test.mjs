import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, MemoryStorage } from './load.mjs';

const { createdIds, fillCreated, placeholder, rememberCreated } = await load('created.ts');
const example = JSON.stringify({ input: { id: placeholder } });

test('the placeholder stays until a workspace was made', () => {
  assert.equal(fillCreated(example, []), example);
});

test('the newest id takes the place of the placeholder and of older ids', () => {
  assert.deepEqual(JSON.parse(fillCreated(example, ['ws_1', 'ws_2'])), { input: { id: 'ws_2' } });
  assert.deepEqual(JSON.parse(fillCreated('{"id":"ws_1"}', ['ws_1', 'ws_2'])), { id: 'ws_2' });
});

test('an id of another origin, and one that only begins alike, stay', () => {
  const variables = '{"ids":["ws_12","ws_9"]}';
  assert.equal(fillCreated(variables, ['ws_1', 'ws_2']), variables);
});

test('ids are remembered in order, each once, the newest fifty', () => {
  const storage = new MemoryStorage();
  for (let i = 0; i < 60; i++) rememberCreated(storage, `ws_${i}`);
  assert.deepEqual(rememberCreated(storage, 'ws_30').at(-1), 'ws_30');
  const ids = createdIds(storage);
  assert.equal(ids.length, 50);
  assert.equal(new Set(ids).size, 50);
});

test('a broken memory is an empty one', () => {
  const storage = new MemoryStorage();
  for (const broken of ['{', '"x"', 'null', '[1,null]']) {
    storage.setItem('aicli.created', broken);
    assert.deepEqual(createdIds(storage), []);
  }
});
