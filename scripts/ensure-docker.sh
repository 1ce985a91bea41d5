#!/usr/bin/env bash
# Makes sure that a container engine answers where the Docker client looks for it. Does nothing when one does. Else, as root
# on Debian or Ubuntu, installs docker.io and starts it; elsewhere it says what to install.
set -euo pipefail
cd "$(dirname "$0")/.."

answers() { command -v docker >/dev/null && timeout 10 docker version >/dev/null 2>&1; }

if answers; then exit 0; fi
if [ -n "${DOCKER_HOST:-}" ]; then
  echo "No container engine answers at DOCKER_HOST ($DOCKER_HOST). Start it there, or unset DOCKER_HOST." >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "No container engine answers. Install and start Docker (on Debian: apt-get install docker.io), and see that you may use its socket." >&2
  exit 1
fi
if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  apt-get install -y -qq --no-install-recommends docker.io iptables >&2
fi
if answers; then exit 0; fi # its package may have started it

if [ -d /run/systemd/system ]; then
  systemctl start docker
else
  mkdir -p .cache
  # The engine outlives this script and whoever called it, so it keeps no file of theirs open.
  setsid dockerd </dev/null >.cache/dockerd.log 2>&1 &
fi
for _ in $(seq 1 120); do
  if answers; then exit 0; fi
  sleep 0.5
done
echo "The container engine does not answer a minute after it was started. Its log is in .cache/dockerd.log." >&2
tail -n 20 .cache/dockerd.log >&2 || true
exit 1
