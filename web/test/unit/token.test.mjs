import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, MemoryStorage } from './load.mjs';

const { forgetToken, storedToken, storeToken, takeToken, tokenFromFragment, tokenFromText } = await load('token.ts');
const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.s-_9';

test('a fragment holds a token, among other things', () => {
  assert.equal(tokenFromFragment(`#token=${jwt}`), jwt);
  assert.equal(tokenFromFragment(`#tab=1&token=${jwt}`), jwt);
  assert.equal(tokenFromFragment('#token=a+b/c=='), 'a+b/c==');
});

test('what could not be sent in a header is no token', () => {
  for (const fragment of ['', '#', '#token=', '#token=a%0Ab', '#token=<b>', '#token=%C3%A4', '#access=abc']) {
    assert.equal(tokenFromFragment(fragment), null, fragment);
  }
});

test('a person may paste the token, the header or the whole link', () => {
  for (const text of [
    jwt,
    `  ${jwt}\n`,
    `Bearer ${jwt}`,
    `bearer  ${jwt}`,
    `Authorization: Bearer ${jwt}`,
    `http://127.0.0.1:8080/explorer/#token=${jwt}`,
  ]) {
    assert.equal(tokenFromText(text), jwt, text);
  }
  for (const text of ['', '   ', 'two words', 'http://127.0.0.1:8080/explorer/#', 'http://127.0.0.1:8080/']) {
    assert.equal(tokenFromText(text), null, text);
  }
});

function visit(hash, storage = new MemoryStorage()) {
  const addresses = [];
  const location = { hash, pathname: '/explorer/', search: '?x=1' };
  const history = { replaceState: (_state, _title, address) => addresses.push(address) };
  return { token: takeToken(location, history, storage), addresses, storage };
}

test('a token in the address moves to the storage, and the address keeps the rest', () => {
  const { token, addresses, storage } = visit(`#token=${jwt}`);
  assert.equal(token, jwt);
  assert.deepEqual(addresses, ['/explorer/?x=1']);
  assert.equal(storedToken(storage), jwt);
});

test('a token that cannot be used leaves the address too, and what is stored stands', () => {
  const storage = new MemoryStorage();
  storeToken(storage, jwt);
  const { token, addresses } = visit('#token=%20%20', storage);
  assert.equal(token, jwt);
  assert.deepEqual(addresses, ['/explorer/?x=1']);
});

test('an address without a token is left alone', () => {
  const { token, addresses } = visit('#elsewhere');
  assert.equal(token, null);
  assert.deepEqual(addresses, []);
});

test('a forgotten token is gone', () => {
  const { storage } = visit(`#token=${jwt}`);
  forgetToken(storage);
  assert.equal(storedToken(storage), null);
});
