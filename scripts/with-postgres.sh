#!/usr/bin/env bash
# Runs a command with AICLI_TEST_POSTGRES set to a throw-away PostgreSQL cluster on loopback, and removes the cluster after
# it. Installs PostgreSQL where it is missing, on Debian and Ubuntu as root. With DURABLE=1 its commits wait for the disk, as
# they do where it is not about to be thrown away.
set -euo pipefail

# A directory of the server's own programs: Debian keeps them out of PATH.
binaries() {
  local dir
  for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -Vr) "$(dirname "$(command -v initdb 2>/dev/null || echo /nowhere/x)")"; do
    if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ]; then echo "$dir"; return; fi
  done
  return 1
}

if ! binaries >/dev/null; then "$(dirname "$0")/apt-install.sh" postgresql; fi
bin=$(binaries)

# PostgreSQL refuses to run as root.
as=()
if [ "$(id -u)" -eq 0 ]; then as=(runuser -u postgres --); fi

home=$(mktemp -d)
chmod 711 "$home"
if [ "$(id -u)" -eq 0 ]; then chown postgres "$home"; fi
pid=
# The server is stopped by its own pid file: the shell's child may be runuser, which passes no signal on.
stop() {
  "${as[@]}" "$bin/pg_ctl" stop -s -m immediate -D "$home/data" >/dev/null 2>&1 || true
  wait "$pid" 2>/dev/null || true
  pid=
}
cleanup() {
  cd /
  if [ -n "$pid" ]; then stop; fi
  rm -rf "$home"
}
trap cleanup EXIT

cd "$home"
"${as[@]}" "$bin/initdb" -D "$home/data" -U aicli -A trust --no-sync -E UTF8 --locale=C >"$home/initdb.log" 2>&1 || { cat "$home/initdb.log" >&2; exit 1; }
settings=(-c max_connections=300)
if [ "${DURABLE:-}" != 1 ]; then settings+=(-c fsync=off -c synchronous_commit=off -c full_page_writes=off); fi
port=
for _ in 1 2 3 4 5; do # a free port may be taken before the server has it
  port=$((20000 + RANDOM % 10000))
  "${as[@]}" "$bin/postgres" -D "$home/data" -k "$home" -h 127.0.0.1 -p "$port" "${settings[@]}" \
    >"$home/postgres.log" 2>&1 &
  pid=$!
  for _ in $(seq 1 150); do
    if "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" -U aicli -d postgres; then break 2; fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  stop
done
if [ -z "$pid" ]; then echo "PostgreSQL did not start:" >&2; cat "$home/postgres.log" >&2; exit 1; fi

cd "$OLDPWD"
export AICLI_TEST_POSTGRES="postgres://aicli@127.0.0.1:$port/postgres?sslmode=disable"
"$@"
