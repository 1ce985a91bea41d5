#!/usr/bin/env bash
# Generates the code in graph again, and fails when that changes any of it: what is generated is kept with its sources.
set -euo pipefail
cd "$(dirname "$0")/.."

sums() { find graph -name '*.go' -type f -print0 | sort -z | xargs -0r sha256sum; }

before=$(sums)
go tool gqlgen generate
after=$(sums)
if [ "$before" != "$after" ]; then
  echo "The generated code in graph was not what the schema generates. It is up to date now: look at the change and commit it." >&2
  echo "These files are new or other than before:" >&2
  comm -13 <(sort <<<"$before") <(sort <<<"$after") | sed 's/^[^ ]* */  /' >&2
  exit 1
fi
