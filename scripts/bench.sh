#!/usr/bin/env bash
# Measures the server beside its peers and prints one table; see docs/benchmarks.md. Fails when something is over its bound. -only
# with some of pool,start,batch,growth,engine,live,fair measures those alone.
set -euo pipefail
cd "$(dirname "$0")/.."

built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
go build -trimpath -o "$built/aicli-web" .
go -C bench build -trimpath -o "$built/bench" .
DURABLE=1 scripts/with-postgres.sh "$built/bench" -server "$built/aicli-web" "$@"
