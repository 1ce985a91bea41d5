#!/usr/bin/env bash
# Runs a command with a Node.js for the explorer in PATH and the explorer's packages in web/node_modules. They are installed
# when the lock file asks for others than those that are there.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

# What is in PATH already stays where it is: its directory may hold other programs, in other versions than were meant.
node=$("$root/scripts/ensure-node.sh")
if [ "$(command -v node)" != "$node/node" ]; then export PATH="$node:$PATH"; fi

# npm ci begins by removing node_modules, and the note with it: an installation that was cut short is done again.
wanted() { cat "$root/web/package.json" "$root/web/package-lock.json" "$root/web/.npmrc"; }
note=$root/web/node_modules/.installed
install() {
  if wanted | cmp -s - "$note"; then return; fi
  npm --prefix "$root/web" ci >&2
  wanted >"$note"
}
# Two that install at once would each remove what the other has brought.
if ! wanted | cmp -s - "$note"; then
  mkdir -p "$root/.cache"
  (
    if command -v flock >/dev/null; then flock 9; fi
    install
  ) 9>"$root/.cache/web-packages.lock"
fi

exec "$@"
