#!/usr/bin/env bash
# Makes sure that the go command understands this module. Installs nothing: it says what to install.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/go/bin

wanted=$(awk '$1 == "go" { print $2; exit }' go.mod)
if ! command -v go >/dev/null; then
  echo "Go is missing. Install Go $wanted or newer (https://go.dev/dl) and put its bin directory into PATH." >&2
  exit 1
fi
if ! go list -m >/dev/null 2>&1; then
  echo "$(command -v go) cannot read this module, which needs Go $wanted or newer. It says:" >&2
  go version >&2 || true
  go list -m >&2
fi
