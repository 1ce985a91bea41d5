#!/usr/bin/env bash
# Makes sure of a C compiler and the headers of the C library: Go's race detector is linked with them.
set -euo pipefail

if echo '#include <stdlib.h>' | "${CC:-gcc}" -E - >/dev/null 2>&1; then exit 0; fi
if [ -n "${CC:-}" ]; then
  echo "CC is $CC, which does not compile C with the headers of the C library. Mend it, or unset CC." >&2
  exit 1
fi
"$(dirname "$0")/apt-install.sh" gcc libc6-dev
