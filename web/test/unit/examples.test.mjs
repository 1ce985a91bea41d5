import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { buildASTSchema, concatAST, parse, validate } from 'graphql';
import { coerceInputValue } from 'graphql/utilities/coerceInputValue.js';
import { typeFromAST } from 'graphql/utilities/typeFromAST.js';
import { load } from './load.mjs';

const directory = new URL('../../../graph/schema/', import.meta.url);

async function schema() {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.graphqls'));
  assert.notEqual(names.length, 0, 'graph/schema has no .graphqls files');
  const documents = await Promise.all(names.map(async (name) => parse(await readFile(new URL(name, directory), 'utf8'))));
  return buildASTSchema(concatAST(documents), { assumeValidSDL: true });
}

test('every example is valid for the schema, and so are its variables', async () => {
  const { examples } = await load('examples.ts');
  const types = await schema();
  for (const { query, variables } of examples()) {
    const document = parse(query);
    assert.deepEqual(validate(types, document), [], query);
    const given = JSON.parse(variables ?? '{}');
    for (const { variable, type } of document.definitions[0].variableDefinitions) {
      const value = given[variable.name.value];
      coerceInputValue(value, typeFromAST(types, type), (path, _value, error) => {
        assert.fail(`${query}\n${path.join('.')}: ${error.message}`);
      });
    }
  }
});

test('two sessions do not ask for the same name', async () => {
  const { examples } = await load('examples.ts');
  const names = () => examples().find(({ query }) => query.includes('mutation CreateWorkspace')).variables;
  assert.notEqual(names(), names());
});
