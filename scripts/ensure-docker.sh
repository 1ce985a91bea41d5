#!/usr/bin/env bash
# Makes sure that a container engine answers where the Docker client looks for it. Does nothing when one does. Else, as root
# on Debian or Ubuntu, installs docker.io and starts it; elsewhere it says what to install.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin # where dockerd and iptables are, and which a plain su leaves out

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
  scripts/apt-install.sh docker.io iptables ca-certificates
  if ! command -v docker >/dev/null; then scripts/apt-install.sh docker-cli; fi # a package of its own in newer releases
fi
if answers; then exit 0; fi # its package may have started it

if [ -d /run/systemd/system ]; then
  systemctl start docker
else
  mkdir -p .cache
  # An engine that was killed left its process number in a file. Once another process has that number, no engine starts.
  pid=$(cat /var/run/docker.pid 2>/dev/null || true)
  if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != dockerd ]; then rm -f /var/run/docker.pid; fi
  # A kernel without nf_tables knows the older iptables alone.
  if ! iptables -t nat -nL >/dev/null 2>&1 && iptables-legacy -t nat -nL >/dev/null 2>&1; then
    mkdir -p .cache/iptables
    for name in iptables ip6tables; do ln -sf "$(command -v "$name-legacy")" ".cache/iptables/$name"; done
    PATH=$PWD/.cache/iptables:$PATH
  fi
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
