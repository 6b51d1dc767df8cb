#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Puts a current Valkey beside the build, to compare with: the packages of Debian's newest suite in a root of their own.
#
# This system's libraries may be older than what those programs want, so each gets a small script that starts it with the loader and
# the libraries of that root. No chroot is entered: ports, files, signals and /proc are those of this system.
#
#   setup_peers.sh DIR      as root; afterwards DIR/bin/valkey-server, valkey-benchmark, valkey-cli. Does nothing if they are there.
set -euo pipefail
dir=$(readlink -m "$1")
root=$dir/root
tools=(server benchmark cli)

there() {
    local tool
    for tool in "${tools[@]}"; do
        "$dir/bin/valkey-$tool" --version >/dev/null 2>&1 || return 1
    done
}

if there; then
    exit 0
fi
mkdir -p "$dir/bin"
echo "bench: fetching Valkey from Debian's newest suite (about a minute)" >&2
rm -rf "$root"
if ! debootstrap --variant=minbase --include=valkey-server,valkey-tools sid "$root" http://deb.debian.org/debian >"$dir/debootstrap.log" 2>&1; then
    tail -n 15 "$dir/debootstrap.log" >&2
    echo "bench: debootstrap failed, all of its output is in $dir/debootstrap.log" >&2
    exit 1
fi

# The loader's path is written in the program itself.
interpreter=$(LC_ALL=C readelf -l "$root/usr/bin/valkey-server" | sed -n 's/.*program interpreter: \(.*\)\]/\1/p')
loader=$(cd "$root" && readlink -e ".$interpreter")
libraries=$(find "$root/usr/lib" -maxdepth 1 -type d -name '*-linux-gnu*' | head -n 1)
for tool in "${tools[@]}"; do
    cat >"$dir/bin/valkey-$tool" <<SCRIPT
#!/bin/sh
exec '$loader' --library-path '$libraries' '$root/usr/bin/valkey-$tool' "\$@"
SCRIPT
    chmod 755 "$dir/bin/valkey-$tool"
done
# Made as root, used by whoever builds here.
chown "${SHOAL_OWNER:-root}" "$dir" "$dir/bin"
"$dir/bin/valkey-server" --version >&2
