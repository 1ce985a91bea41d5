#!/usr/bin/env bash
# Builds the Docker engine of the version whose client this module has, which speaks the newest API that the client knows, starts one beside
# whatever engine there is, and runs on it the tests that talk to an engine. It needs root, and what an engine needs: containerd and runc.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

if [ "$(id -u)" -ne 0 ]; then
  echo "An engine of its own can only be started by root. Run this as root." >&2
  exit 1
fi
scripts/ensure-docker.sh
scripts/base-image.sh
if ! command -v ip >/dev/null; then scripts/apt-install.sh iproute2; fi

version=$(go list -m -f '{{.Version}}' github.com/docker/docker)
bin=$PWD/.cache/docker-${version%+incompatible}
if [ ! -x "$bin/dockerd" ]; then
  source=$(mktemp -d)
  trap 'rm -rf "$source"' EXIT
  module=$(go mod download -json "github.com/docker/docker@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  if [ ! -d "$module/cmd/dockerd" ]; then
    echo "The source of Docker $version could not be had." >&2
    exit 1
  fi
  cp -r "$module/." "$source"
  chmod -R u+w "$source"
  mv "$source/vendor.mod" "$source/go.mod"
  mv "$source/vendor.sum" "$source/go.sum"
  mkdir -p "$bin"
  (cd "$source" && CGO_ENABLED=0 GOFLAGS=-mod=mod go build -trimpath -o "$bin/dockerd" ./cmd/dockerd)
  rm -rf "$source"
fi

home=$(mktemp -d)
bridge=aicli-newest
engine=
finish() {
  if [ -n "$engine" ]; then
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
  fi
  ip link delete "$bridge" 2>/dev/null || true
  rm -rf "$home"
}
trap finish EXIT
trap 'exit 130' INT TERM

ip link add "$bridge" type bridge
ip address add 10.208.255.1/24 dev "$bridge"
ip link set "$bridge" up
"$bin/dockerd" -b "$bridge" --iptables=false --ip6tables=false --userland-proxy=false --data-root "$home/data" --exec-root "$home/exec" \
  --pidfile "$home/pid" -H "unix://$home/docker.sock" >"$home/log" 2>&1 &
engine=$!
docker save aicli-base:busybox -o "$home/image.tar"
export DOCKER_HOST=unix://$home/docker.sock
for _ in $(seq 1 120); do
  if docker version >/dev/null 2>&1; then break; fi
  if ! kill -0 "$engine" 2>/dev/null; then break; fi
  sleep 0.5
done
docker load -qi "$home/image.tar" || {
  tail -n 20 "$home/log" >&2
  exit 1
}
docker version --format 'Docker {{.Server.Version}} of API {{.Server.APIVersion}}'

AICLI_TEST_TOXIPROXY=$(scripts/ensure-toxiproxy.sh)
export AICLI_TEST_TOXIPROXY
export PATH=$bin:$PATH # a test's own engine is this one too
CGO_ENABLED=1 go test -race -timeout 20m -p 1 -skip '^(TestPodman|TestTheExplorer)$' ./internal/engine/docker ./internal/e2e
