// The explorer in a real browser against a running server: a query, a mutation and a subscription run from the example tabs,
// while every way to another host is closed. It needs
//   EXPLORER_URL      the link that the server printed, with a token in its fragment
//   AICLI_TEST_IMAGE  an image that the engine has (default aicli-base:busybox)
//   CHROMIUM          the browser (default /usr/bin/chromium)

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const image = process.env.AICLI_TEST_IMAGE ?? 'aicli-base:busybox';
const link = new URL(process.env.EXPLORER_URL ?? fail('Set EXPLORER_URL to the link that the server printed.'));
const token = new URLSearchParams(link.hash.slice(1)).get('token') ?? fail('EXPLORER_URL has no #token=… in it.');
const name = `explorer-test-${Date.now().toString(36)}`;

const answerMax = 15_000; // milliseconds; a page, an answer or an editor on a busy machine
const containerMax = 90_000; // milliseconds; a container made or removed by an engine with other work to do
const screenshot = fileURLToPath(new URL('../../.cache/explorer-failure.png', import.meta.url));

let browser;
let page;
let id; // of the workspace that the mutation made
let broken = false; // a step failed, and what follows would only fail with it
const elsewhere = []; // requests and sockets to any other origin
const violations = []; // of the content security policy
const faults = []; // uncaught in the page

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      // No other host has an address, for the browser itself and its workers too.
      `--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE ${link.hostname}`,
    ],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(answerMax);
  await context.route(
    (url) => url.origin !== link.origin,
    (route) => {
      elsewhere.push(route.request().url());
      return route.abort();
    },
  );
  await context.routeWebSocket(
    (url) => url.host !== link.host,
    (socket) => {
      elsewhere.push(socket.url());
      return socket.close();
    },
  );
  await context.exposeBinding('reportViolation', (_, violation) => violations.push(violation));
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      globalThis.reportViolation(`${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  page = await context.newPage();
  page.on('pageerror', (error) => faults.push(error.message));
});

after(async () => {
  await browser?.close();
  // A test that failed half way leaves its workspace to this.
  if (id && (await workspaceExists())) {
    await send('mutation ($id: ID!) { deleteWorkspace(input: { id: $id }) { userErrors { message } } }');
    await gone();
  }
});

step('the printed link signs in, and the token leaves the address bar', async () => {
  await page.goto(link.href);
  await page.getByRole('tab', { name: 'Overview' }).waitFor();
  const address = new URL(page.url());
  assert.equal(address.hash, '');
  assert.equal(address.pathname, '/explorer/');
  assert.ok(!page.url().includes(token));
});

step('the schema is read', async () => {
  await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
  await page.locator('.graphiql-doc-explorer').getByText('Subscription', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Hide Documentation Explorer' }).click();
});

step('a query runs', async () => {
  await run('Overview');
  const text = await result(/"engine": \{/);
  assert.match(text, /"viewer": \{\s*"id": "[^"]+"/);
  assert.doesNotMatch(text, /"errors"/);
});

step('a mutation makes a workspace', async () => {
  await open('CreateWorkspace');
  await variables(JSON.stringify({ input: { name, image } }));
  await execute();
  const text = await result(/"userErrors": \[\]/);
  assert.match(text, new RegExp(`"name": "${name}"`));
  id = /"workspace": \{\s*"id": "([^"]+)"/.exec(text)?.[1];
  assert.ok(id, text);
});

step('a subscription follows it until it is active', async () => {
  await open('WatchStatus');
  await shown('Variables', new RegExp(`"id": "${id}"`));
  await execute();
  await result(/"status": "ACTIVE"/, containerMax);
  await page.getByRole('button', { name: /^Stop query/ }).click();
});

step('a subscription reports its usage', async () => {
  await run('WatchUsage');
  await result(/"memoryLimitBytes": [1-9]/);
  await page.getByRole('button', { name: /^Stop query/ }).click();
});

step('a mutation deletes it', async () => {
  await run('DeleteWorkspace');
  await result(/"userErrors": \[\]/);
  await gone();
});

step('signing out forgets the token, and what was typed a moment ago', async () => {
  await page.clock.install();
  await variables(JSON.stringify({ input: { id: name } }));
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Token').waitFor();
  await page.getByText('go run . token --user alice').waitFor();
  await page.clock.runFor(5_000); // what GraphiQL had put off to write
  assert.equal(await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage })), '{}');
});

step('a token that the server does not know leads back to the form', async () => {
  await page.getByLabel('Token').fill('not-a-token-of-this-server');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('The server does not accept this token.').waitFor();
});

step('no request went to another host, and the page broke no rule', () => {
  assert.deepEqual(elsewhere, []);
  assert.deepEqual(violations, []);
  assert.deepEqual(faults, []);
});

// A step of one visit: each goes on from where the one before it left the page.
function step(title, body) {
  test(title, async (t) => {
    assert.ok(!broken, 'not tried: a step before this one failed');
    try {
      await body();
    } catch (error) {
      broken = true;
      await mkdir(path.dirname(screenshot), { recursive: true });
      await page?.screenshot({ path: screenshot });
      t.diagnostic(`screenshot: ${path.relative(process.cwd(), screenshot)}`);
      throw error;
    }
  });
}

async function open(tab) {
  await page.getByRole('tab', { name: tab }).click();
  await shown('Operation', new RegExp(tab));
}

async function run(tab) {
  await open(tab);
  await execute();
}

async function execute() {
  await page.getByRole('button', { name: /^Execute query/ }).click();
}

async function variables(json) {
  await region('Variables').locator('.view-lines').click();
  await page.keyboard.press('Control+A');
  // Pasted, since the editor adds closing brackets and quotes to what is typed.
  await page.evaluate((text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData('text/plain', text);
    document.activeElement.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
  }, json);
  await shown('Variables', new RegExp(name));
}

function result(pattern, timeout = answerMax) {
  return shown('Result', pattern, timeout);
}

// Waits until an editor shows a text, and gives all that it shows. The editor writes its blanks as no-break spaces.
async function shown(editor, pattern, timeout = answerMax) {
  const end = Date.now() + timeout;
  for (;;) {
    const lines = await region(editor).locator('.view-line').allInnerTexts();
    const text = lines.join('\n').replaceAll('\u00a0', ' ');
    if (pattern.test(text)) return text;
    assert.ok(Date.now() < end, `${editor}: ${pattern} did not show within ${timeout} ms, but this:\n${text}`);
    await pause(50);
  }
}

function region(editor) {
  const selectors = {
    Operation: '.graphiql-query-editor',
    Variables: '.graphiql-editor-tool .graphiql-editor:not(.hidden)',
    Result: '.graphiql-response',
  };
  return page.locator(selectors[editor]);
}

async function send(query) {
  const response = await fetch(new URL('/graphql', link), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query, variables: { id } }),
  });
  return response.json();
}

async function workspaceExists() {
  const { data, errors } = await send('query ($id: ID!) { workspace(id: $id) { status } }');
  assert.equal(errors, undefined);
  return data.workspace !== null;
}

async function gone() {
  const end = Date.now() + containerMax;
  while (await workspaceExists()) {
    assert.ok(Date.now() < end, `the workspace is still there after ${containerMax} ms`);
    await pause(200);
  }
}

function fail(message) {
  throw new Error(message);
}
