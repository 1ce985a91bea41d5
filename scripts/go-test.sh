#!/usr/bin/env bash
# Runs the Go tests with the race detector and, beside those that use the processors alone, the long simulation without it. The tests on
# the real engine come after them, one package at a time: one that loads the engine would keep the others waiting beyond their limits.
# The output ends with the lines of the test runner.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v ip >/dev/null; then scripts/apt-install.sh iproute2; fi # for the bridge of a daemon of a test's own
scripts/ensure-podman.sh
if [ -d .cache/iptables ]; then PATH=$PWD/.cache/iptables:$PATH; fi # what the engine needed, Podman needs
AICLI_TEST_TOXIPROXY=$(scripts/ensure-toxiproxy.sh)
export AICLI_TEST_TOXIPROXY
onEngine=(./internal/engine/docker ./internal/e2e)
mapfile -t others < <(go list ./... | grep -vE '/internal/(engine/docker|e2e)$')

log=$(mktemp)
simulation=
trap 'if [ -n "$simulation" ]; then kill "$simulation" 2>/dev/null; fi; rm -f "$log"' EXIT
trap 'exit 130' INT TERM
CGO_ENABLED=0 go test -timeout 12m ./internal/simulation >"$log" 2>&1 &
simulation=$!
failed=0
CGO_ENABLED=1 go test -race -timeout 12m "${others[@]}" || failed=1
wait "$simulation" || failed=1
simulation=
cat "$log"
CGO_ENABLED=1 go test -race -timeout 20m -p 1 "${onEngine[@]}" || failed=1 # where an engine takes a second for each container
exit "$failed"
