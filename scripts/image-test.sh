#!/usr/bin/env bash
# Builds the image of the Dockerfile, runs it as its own user beside the engine's socket, asks for its health and its explorer,
# and removes all that it made. The build's base images are made here, from this machine's Go and Node and the busybox image:
# no registry is asked for anything.
set -euo pipefail
cd "$(dirname "$0")/.."

readyMax=60 # seconds from the start of the container to its first healthy answer, on a busy machine
label="io.aicli.image-test=$$"
base="aicli-image-test-base:$$"
image="aicli-image-test:$$"
container="aicli-image-test-$$"
certificates=/etc/ssl/certs/ca-certificates.crt
work=$(mktemp -d)

cleanup() {
  local mark
  mark=$(docker logs "$container" 2>&1 | grep -o 'aicli-inst_[0-9a-z]*' | head -n 1) || true
  docker rm -f -v "$container" >/dev/null 2>&1 || true
  if [ -n "$mark" ]; then docker volume rm "$mark" >/dev/null 2>&1 || true; fi
  # Every image made on top of the base has its label too. One round removes the leaves, the next what they stood on.
  local ids round
  for round in 1 2 3; do
    ids=$(docker images -aq --filter "label=$label" | sort -u)
    if [ -z "$ids" ]; then break; fi
    # shellcheck disable=SC2086 # one word an id
    docker rmi -f $ids >/dev/null 2>&1 || [ "$round" -lt 3 ] || echo "These images are left: $ids" >&2
  done
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

fail() {
  echo "image-test: $*" >&2
  docker logs --tail 50 "$container" >&2 2>/dev/null || true
  exit 1
}

# One base for both build stages: a shell and small tools, Go, Node with npm and the libraries it is linked with, and the
# certificates that this machine trusts.
make_base() {
  local root="$work/base" goroot node npm library libraries
  goroot=$(go env GOROOT)
  node=$(PATH=$nodeDir:$PATH node -p 'process.execPath')
  npm=$(dirname "$(dirname "$(readlink -f "$(PATH=$nodeDir:$PATH command -v npm)")")")
  mkdir -p "$root/usr/local/bin" "$root/usr/local/lib" "$root/etc/ssl/certs" "$root/tmp"
  docker create --name "$container" aicli-base:busybox >/dev/null
  docker export "$container" | tar -C "$root" -x --exclude=dev --exclude=proc --exclude=sys
  docker rm "$container" >/dev/null
  mkdir -p "$root/usr/local/go"
  tar -C "$goroot" -c --exclude=./test --exclude=./doc --exclude=./api . | tar -C "$root/usr/local/go" -x
  cp "$node" "$root/usr/local/bin/node"
  # npm may lean on libraries beside it (Debian's does): take along the tree that node finds them in.
  if [ "${npm#/usr/share/}" != "$npm" ]; then
    mkdir -p "$root/usr/share"
    cp -a /usr/share/nodejs "$root/usr/share/"
    ln -s "$npm/bin/npm-cli.js" "$root/usr/local/bin/npm"
  else
    mkdir -p "$root/usr/local/lib/node_modules"
    cp -a "$npm" "$root/usr/local/lib/node_modules/npm"
    ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  fi
  # librt is empty today, but compiled npm packages still ask for it, beside libc.
  libraries=$(ldd "$node" | grep -o '/[^ )]*')
  libraries+=$'\n'$(dirname "$(grep '/libc\.so' <<<"$libraries")")/librt.so.1
  for library in $libraries; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
  mkdir -p "$root/usr/bin"
  ln -sf /bin/busybox "$root/usr/bin/env"
  cp -L "$certificates" "$root$certificates"
  tar -C "$root" --owner=0 --group=0 --numeric-owner -c . | docker import \
    -c 'ENV PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin' \
    -c "ENV SSL_CERT_FILE=$certificates" -c "ENV NODE_EXTRA_CA_CERTS=$certificates" -c "ENV npm_config_cafile=$certificates" \
    -c "ENV GOPROXY=$(go env GOPROXY)" -c "LABEL $label" - "$base" >/dev/null
  rm -rf "$root"
}

# The builder that every version of Docker has, and whose cache can be told from the user's own.
build() {
  DOCKER_BUILDKIT=0 docker build --force-rm --network host --label "$label" \
    --build-arg NODE_IMAGE="$base" --build-arg GO_IMAGE="$base" --build-arg RUNTIME_IMAGE=scratch -t "$image" . >"$work/build.log" 2>&1 || {
    tail -n 60 "$work/build.log" >&2
    fail "the image cannot be built"
  }
}

# What the engine's socket belongs to, as seen by a container.
run() {
  local socket=/var/run/docker.sock
  case "${DOCKER_HOST:-}" in unix://*) socket=${DOCKER_HOST#unix://} ;; esac
  docker run -d --name "$container" -p 127.0.0.1::8080 --group-add "$(stat -L -c %g "$socket")" \
    -v "$socket":/var/run/docker.sock --read-only --cap-drop ALL "$image" >/dev/null
}

answer() { curl -fsS --noproxy '*' --max-time 5 "http://$address$1"; }

if ! command -v curl >/dev/null; then scripts/apt-install.sh curl; fi
if [ ! -f "$certificates" ]; then scripts/apt-install.sh ca-certificates; fi
nodeDir=$(scripts/ensure-node.sh)
scripts/base-image.sh
make_base
build
run

user=$(docker inspect -f '{{.Config.User}}' "$container")
case "$user" in "" | 0 | 0:* | root*) fail "it runs as root" ;; esac
docker cp "$container:/usr/bin/aicli-web" "$work/aicli-web"
if ldd "$work/aicli-web" >/dev/null 2>&1; then fail "the binary is linked dynamically"; fi

address=$(docker port "$container" 8080/tcp | head -n 1)
for ((second = 0; ; second++)); do
  if answer /healthz >/dev/null 2>&1; then break; fi
  if [ "$second" -ge "$readyMax" ]; then fail "it does not answer at /healthz after $readyMax s"; fi
  if [ "$(docker inspect -f '{{.State.Running}}' "$container")" != true ]; then fail "it ended"; fi
  sleep 1
done
page=$(answer /explorer/) || fail "it does not serve the explorer"
case "$page" in *"not in this binary"*) fail "the explorer is not in the binary" ;; esac
code=$(curl -sS --noproxy '*' --max-time 5 -o /dev/null -w '%{http_code}' -H 'Content-Type: application/json' \
  -d '{"query":"{viewer{id}}"}' "http://$address/graphql")
if [ "$code" != 401 ]; then fail "a query without a token was answered with $code"; fi
docker stop -t 30 "$container" >/dev/null
exit=$(docker inspect -f '{{.State.ExitCode}}' "$container")
if [ "$exit" != 0 ]; then fail "told to stop, it ended with $exit"; fi
echo "image-test: the image is built, runs as $user, serves the API and the explorer, and stops when told to"
