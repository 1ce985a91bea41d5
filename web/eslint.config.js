// The lint of the GraphQL schema: the recommended and the relay rules of graphql-eslint, and a description for everything that a
// client can see. Run from the root of the checkout (npm run lint:schema does), since ESLint looks at nothing above it.

import { fileURLToPath } from 'node:url';
import graphql from '@graphql-eslint/eslint-plugin';

const schema = fileURLToPath(new URL('../graph/schema/**/*.graphqls', import.meta.url));

export default [
  {
    files: ['graph/schema/**/*.graphqls'],
    languageOptions: {
      parser: graphql.parser,
      parserOptions: { graphQLConfig: { schema } },
    },
    plugins: { '@graphql-eslint': graphql },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      ...graphql.configs['flat/schema-recommended'].rules,
      ...graphql.configs['flat/schema-relay'].rules,

      // Stricter than recommended: it asks for types and root fields only.
      '@graphql-eslint/require-description': [
        'error',
        {
          types: true,
          rootField: true,
          DirectiveDefinition: true,
          FieldDefinition: true,
          InputValueDefinition: true,
          EnumValueDefinition: true,
        },
      ],

      // Exception: the schema writes one line in quotes and several in a block, as the public contract does. The rule knows only
      // all of one or all of the other.
      '@graphql-eslint/description-style': 'off',

      '@graphql-eslint/strict-id-in-types': [
        'error',
        {
          exceptions: {
            // Exception: envelopes around nodes, as the Relay specification and its mutations have them; they are no entities.
            suffixes: ['Connection', 'Edge', 'Payload'],
            types: [
              // Exception: prescribed by the Relay specification, without an id.
              'PageInfo',
              // Exception: values, parts of the one entity that holds them. They have no life of their own to be identified.
              'ContainerExit',
              'ContainerHealth',
              'EnvironmentVariable',
              'HealthCheck',
              'Isolation',
              'Label',
              'Quota',
              'RecoveryPolicy',
              'Resources',
              'TaskError',
              'Usage',
              'UserError',
              // Exception: there is one of each, the server's own.
              'EngineHealth',
              'QueueInfo',
              'ServerInfo',
              // Exception: readings and lines, told apart by what they belong to and when they were taken; never asked for again.
              'LogLine',
              'MetricsSample',
              // Exception: identified by something else: an event by its cursor.
              'WorkspaceEvent',
            ],
          },
        },
      ],

      '@graphql-eslint/relay-edge-types': [
        'error',
        {
          // Exception: short, bounded lists of values (a command, labels, userErrors, a connection's nodes) are no pages, and
          // need no edges.
          listTypeCanWrapOnlyEdgeType: false,
          // Exception: the contract pages through batch items and events too, which are not nodes (see above: no id).
          shouldImplementNode: false,
        },
      ],

      // Exception: the contract reads Workspace.events forwards only (first, after), in the order of the log. Each connection
      // must still have one whole pair of arguments.
      '@graphql-eslint/relay-arguments': ['error', { includeBoth: false }],
    },
  },
];
