#!/usr/bin/env bash
# Builds the explorer into web/dist/explorer, for the server to embed. Does nothing when it is newer than all that it is made of.
set -euo pipefail
cd "$(dirname "$0")/.."

built=web/dist/explorer/index.html
sources=(web/index.html web/package.json web/package-lock.json web/public web/src web/tsconfig.json web/vite.config.ts)
# A directory is newer when a file in it came or went.
if [ -f "$built" ] && [ -z "$(find "${sources[@]}" -newer "$built" -print -quit)" ]; then exit 0; fi

scripts/with-web.sh npm --prefix web run build
