#!/usr/bin/env bash
# Makes sure of the browser that the explorer's test drives: the one that CHROMIUM names, or /usr/bin/chromium.
set -euo pipefail

if "${CHROMIUM:-/usr/bin/chromium}" --version >/dev/null 2>&1; then exit 0; fi
if [ -n "${CHROMIUM:-}" ]; then
  echo "CHROMIUM is $CHROMIUM, which does not start. Name a browser that does, or unset CHROMIUM." >&2
  exit 1
fi
"$(dirname "$0")/apt-install.sh" chromium || {
  echo "A browser that was installed in another way works too: set CHROMIUM to the path of a Chromium or Chrome." >&2
  exit 1
}
