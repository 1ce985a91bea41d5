#!/usr/bin/env bash
# Builds the server, with the explorer in it, into .cache/aicli-web: one static binary.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/go/bin

scripts/ensure-go.sh
scripts/build-web.sh
CGO_ENABLED=0 go build -trimpath -o .cache/aicli-web .
