#!/usr/bin/env bash
# Makes the image aicli-base:busybox from Debian's busybox-static, when the engine lacks it: a shell and the usual small
# tools, for machines that reach no registry and for tests.
set -euo pipefail
cd "$(dirname "$0")/.."
image=aicli-base:busybox

# Debian's package busybox has one that needs libraries, which the image has not.
static() { "$1" --list >/dev/null 2>&1 && ! grep -q '=>' <<<"$(ldd "$1" 2>&1)"; }

if docker image inspect "$image" >/dev/null 2>&1; then exit 0; fi
if ! busybox=$(command -v busybox) || ! static "$busybox"; then
  scripts/apt-install.sh busybox-static
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
