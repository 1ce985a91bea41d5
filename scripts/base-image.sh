#!/usr/bin/env bash
# Makes the image aicli-base:busybox from Debian's busybox-static, when the engine lacks it: a shell and the usual small
# tools, for machines that reach no registry and for tests.
set -euo pipefail
image=aicli-base:busybox

if docker image inspect "$image" >/dev/null 2>&1; then exit 0; fi
if ! busybox=$(command -v busybox) || ! "$busybox" --list >/dev/null 2>&1; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "The base image needs a static busybox. Install the package busybox-static, then try again." >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  apt-get install -y -qq --no-install-recommends busybox-static >&2
  busybox=$(command -v busybox)
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,etc,home,proc,root,run,sbin,sys,tmp,usr/bin,usr/sbin,var/tmp,workspace}
chmod 1777 "$root/tmp" "$root/var/tmp"
chmod 700 "$root/root"
cp "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
  if [ "$applet" != busybox ]; then ln -s /bin/busybox "$root/bin/$applet"; fi
done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
tar -C "$root" --owner=0 --group=0 --numeric-owner -c . |
  docker import -c 'CMD ["/bin/sh"]' -c 'ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin' - "$image" >/dev/null
