#!/usr/bin/env bash
# Makes sure of the Podman that a test starts for itself, with what it needs to run a container on a network and below an init.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

# Says whether one of several files is there: distributions keep them in different places.
have() { for file in "$@"; do if [ -x "$file" ]; then return 0; fi; done; return 1; }

complete() {
  command -v podman >/dev/null && command -v iptables >/dev/null && command -v unshare >/dev/null &&
    have /usr/bin/catatonit /usr/libexec/podman/catatonit /usr/libexec/catatonit/catatonit &&
    have /usr/lib/cni/bridge /usr/libexec/cni/bridge /opt/cni/bin/bridge /usr/lib/podman/netavark /usr/libexec/podman/netavark
}

if complete; then exit 0; fi
"$(dirname "$0")/apt-install.sh" podman catatonit containernetworking-plugins iptables util-linux
