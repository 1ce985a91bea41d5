#!/usr/bin/env bash
# Builds the server and runs it here, until Ctrl-C. First makes sure of a container engine, and of the image of workspaces that
# name none: where it can't be pulled, the base image, which needs no registry, stands in for it.
set -euo pipefail
cd "$(dirname "$0")/.."

pullMax=60 # seconds; some machines without a registry learn it from silence alone

scripts/ensure-docker.sh
image=${AICLI_DEFAULT_IMAGE:-alpine:latest}
if ! docker image inspect "$image" >/dev/null 2>&1; then
  echo "Pulling $image, the image of workspaces that name none (at most $pullMax s)."
  if ! timeout --foreground "$pullMax" docker pull -q "$image" >/dev/null 2>&1; then
    scripts/base-image.sh
    export AICLI_DEFAULT_IMAGE=aicli-base:busybox
    echo "$image cannot be pulled here, so workspaces that name no image get $AICLI_DEFAULT_IMAGE."
  fi
fi

scripts/build.sh
exec .cache/aicli-web serve "$@"
