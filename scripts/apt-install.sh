#!/usr/bin/env bash
# Installs the named Debian packages, as root on Debian or Ubuntu. Elsewhere it says that they are needed, and fails.
set -euo pipefail

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "Something is missing here: what Debian has in the packages \"$*\". Install it (on Debian: apt-get install $*), then try again." >&2
  exit 1
fi
lockMax=300 # seconds; a fresh machine may still be installing its own updates
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout="$lockMax" update -qq >&2
apt-get -o DPkg::Lock::Timeout="$lockMax" install -y -qq --no-install-recommends "$@" >&2
