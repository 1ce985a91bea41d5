#!/usr/bin/env bash
# Makes the typed clients in clients from the schema that the server prints, and compiles them: what docs/clients.md describes.
set -euo pipefail
cd "$(dirname "$0")/.."

node=$(scripts/ensure-node.sh)
if [ "$(command -v node)" != "$node/node" ]; then export PATH="$node:$PATH"; fi

# npm ci begins by removing node_modules, and the note with it: an installation that was cut short is done again.
wanted() { cat clients/package.json clients/package-lock.json clients/.npmrc; }
note=clients/node_modules/.installed
if ! wanted | cmp -s - "$note"; then
  npm --prefix clients ci >&2
  wanted >"$note"
fi

go run . schema >clients/schema.graphql
npm --prefix clients run --silent generate
npm --prefix clients run --silent typecheck
npm --prefix clients run --silent build
go -C clients/go generate ./...
go -C clients/go vet ./...
go -C clients/go build -o ../built/go/check .
