#!/usr/bin/env bash
# Runs the Go tests with the race detector and, beside them, the long simulation without it: the tests of the whole server wait for the
# engine most of the time. The output ends with the lines of both.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
simulation=
trap 'if [ -n "$simulation" ]; then kill "$simulation" 2>/dev/null; fi; rm -f "$log"' EXIT
trap 'exit 130' INT TERM
CGO_ENABLED=0 go test -timeout 12m ./internal/simulation >"$log" 2>&1 &
simulation=$!
failed=0
CGO_ENABLED=1 go test -race -timeout 12m ./... || failed=1
wait "$simulation" || failed=1
simulation=
cat "$log"
exit "$failed"
