#!/usr/bin/env bash
# Refuses what does not belong into the repository: programs that were built, files over 1 MiB, and paths of the machine that
# somebody works on. Looks at what git tracks below the current directory.
set -euo pipefail

most=$((1 << 20)) # bytes; the largest file that somebody writes here has half of that
# Homes of people, and where machines put a checkout that is thrown away. A path in a container or of a system's own is none.
homes='(^|[^A-Za-z0-9_.-])/(home|Users)/[A-Za-z0-9_.-]+/|(^|[^A-Za-z0-9_.~-])/(work|root)/[A-Za-z0-9_.-]+/|/tmp/[A-Za-z0-9_.-]*(jobs|build|work)[A-Za-z0-9_.-]*/'
failed=0
refuse() {
  echo "$1" >&2
  failed=1
}

while IFS= read -r -d '' file; do
  if [ ! -f "$file" ] || [ -L "$file" ]; then continue; fi
  if [ "$(stat -c %s "$file")" -gt "$most" ]; then refuse "$file is larger than 1 MiB. Build it or make it when it is needed."; fi
  case $(head -c 4 "$file" | od -An -tx1 | tr -d ' \n') in
    7f454c46 | cffaedfe | cefaedfe | feedfacf | feedface | 4d5a*) refuse "$file is a program that was built. Remove it, and have .gitignore name it." ;;
    *) if grep -IHnE "$homes" "$file" >&2; then refuse "$file names a path of a machine. Write it relative to the repository, or make it up."; fi ;;
  esac
done < <(git ls-files -z)
exit "$failed"
