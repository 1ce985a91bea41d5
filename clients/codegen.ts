import type { CodegenConfig } from '@graphql-codegen/cli';

// schema.graphql is what `aicli-web schema` prints.
const config: CodegenConfig = {
  schema: 'schema.graphql',
  documents: ['apollo/**/*.ts', 'urql/**/*.ts'],
  generates: {
    'gql/': {
      preset: 'client',
      config: {
        strictScalars: true, // a scalar that is not named here is an error, and not any
        scalars: { Time: 'string', Duration: 'string', Int64: 'number', Cursor: 'string' },
        enumsAsTypes: true,
        useTypeImports: true,
      },
    },
  },
};

export default config;
