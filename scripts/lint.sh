#!/usr/bin/env bash
# Lints what is tracked, the Go code, the scripts and the GraphQL schema. golangci-lint is kept in .cache/bin, in the pinned version.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/lint-tree.sh

golangciVersion=2.15.0
golangci=.cache/bin/golangci-lint

# It reads what the compiler writes, so it is built by the very same Go.
if ! "$golangci" version 2>/dev/null | grep -q "has version $golangciVersion built with $(go env GOVERSION) "; then
  echo "Building golangci-lint $golangciVersion, which takes some minutes." >&2
  CGO_ENABLED=0 GOTOOLCHAIN=$(go env GOVERSION) GOBIN=$PWD/.cache/bin go install -trimpath \
    "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$golangciVersion"
fi
"$golangci" run --allow-serial-runners ./...
(cd bench && "../$golangci" run --allow-serial-runners ./...) # a module of its own

if ! command -v shellcheck >/dev/null; then scripts/apt-install.sh shellcheck; fi
shellcheck scripts/*.sh .ci/run

scripts/with-web.sh npm --prefix web run lint:schema
