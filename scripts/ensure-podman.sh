#!/usr/bin/env bash
# Makes sure of the Podman that a test starts for itself, with what it needs to run a container on a network and below an init.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

complete() {
  command -v podman >/dev/null && command -v catatonit >/dev/null && { [ -x /usr/lib/cni/bridge ] || [ -x /usr/lib/podman/netavark ]; }
}

if complete; then exit 0; fi
"$(dirname "$0")/apt-install.sh" podman catatonit containernetworking-plugins iptables
