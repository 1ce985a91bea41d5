#!/usr/bin/env bash
# Builds Toxiproxy, by which tests make faults of connections, in .cache/bin in the pinned version, and prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v2.12.0
program=$PWD/.cache/bin/toxiproxy-$version
if [ ! -x "$program" ]; then
  built=$(mktemp -d)
  trap 'rm -rf "$built"' EXIT
  GOBIN=$built CGO_ENABLED=0 go install -trimpath "github.com/Shopify/toxiproxy/v2/cmd/server@$version" >&2
  mkdir -p .cache/bin
  mv "$built/server" "$program"
fi
echo "$program"
