#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Tries the Debian package as a stranger would, in clean roots of a suite: built there, looked at by lintian, installed, started by its
# unit under a systemd of its own, upgraded, removed, purged.
#
#   packaging/try_deb.sh SUITE [DEB]   as root; SUITE is bookworm or trixie. With DEB that package is tried, and none is built.
#
# Everything is below .cache/roots. Mounts and processes are in namespaces of their own, and gone when it ends. Needs debootstrap and a
# mirror; a quarter of an hour, most of it for building. DEB_BUILD_OPTIONS=noopt builds without optimizing.
set -euo pipefail
if [ "${1:-}" != --inside ]; then
    [ "$(id -u)" = 0 ] || { echo "try_deb: needs root" >&2; exit 1; }
    exec unshare --mount --pid --ipc --fork --kill-child --propagation private "$0" --inside "$@"
fi
suite=${2:?which suite: bookworm or trixie}
deb=${3:-}
cd "$(dirname "$(readlink -f "$0")")/.."
roots=$PWD/.cache/roots
mkdir -p "$roots"

say() { printf '== %s\n' "$*"; }
die() {
    printf 'try_deb: %s\n' "$*" >&2
    exit 1
}

# fresh NAME: a copy of the suite's smallest root, with what a process needs mounted.
fresh() {
    local base=$roots/$suite root=$roots/$suite-$1
    if [ ! -e "$base.done" ]; then
        say "debootstrap $suite"
        rm -rf "$base"
        debootstrap --variant=minbase "$suite" "$base" http://deb.debian.org/debian >"$base.log" || die "debootstrap failed: $base.log"
        printf 'deb http://deb.debian.org/debian %s main\ndeb http://deb.debian.org/debian-security %s-security main\n' "$suite" "$suite" >"$base/etc/apt/sources.list"
        printf '#!/bin/sh\nexit 101\n' >"$base/usr/sbin/policy-rc.d" # nothing is started while the root is only a folder
        chmod 755 "$base/usr/sbin/policy-rc.d"
        touch "$base.done"
    fi
    rm -rf "$root"
    cp -a "$base" "$root"
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    in_root "$root" apt-get -qq update
}

in_root() {
    local root=$1
    shift
    chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive \
        DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS:-}" "$@"
}

# What a package leaves behind is what this tells before and after.
listing() {
    (cd "$1" && find . -xdev \( -path ./proc -o -path ./dev -o -path ./run -o -path ./tmp -o -path ./sys -o -path ./var/cache -o -path ./var/log/apt -o -path ./var/lib/apt -o -path ./var/lib/dpkg \
        -o -path ./var/lib/systemd -o -path ./var/log/journal -o -path ./deb \) -prune -o -print | sort)
}

# ---- Build -------------------------------------------------------------------------------------

if [ -z "$deb" ]; then
    fresh build
    root=$roots/$suite-build
    mkdir "$root/src"
    git ls-files -z | xargs -0 tar -cf - | tar -xf - -C "$root/src"
    cp -r packaging/debian "$root/src/debian"
    say "packages to build with"
    in_root "$root" sh -c 'cd /src && apt-get -qq -y --no-install-recommends install build-essential lintian >/dev/null && apt-get -qq -y --no-install-recommends build-dep ./ >/dev/null'
    say "building"
    in_root "$root" env SHOAL_COMMIT="$(git describe --always '--exclude=*' --abbrev=8)" sh -c 'cd /src && dpkg-buildpackage -b -us -uc' >"$root.log" 2>&1 ||
        { tail -n 30 "$root.log"; die "the build failed: $root.log"; }
    deb=$(ls "$root"/shoal-server_*.deb)
    say "lintian"
    in_root "$root" sh -c 'lintian --allow-root --fail-on error,warning --tag-display-limit 0 /shoal_*.changes' || die "lintian is not content"
fi

# ---- Install, start, upgrade, remove, purge ----------------------------------------------------

fresh try
root=$roots/$suite-try
say "systemd, Redis to compare with, and what the package depends on"
in_root "$root" apt-get -qq -y --no-install-recommends install systemd systemd-sysv dbus redis-server redis-tools adduser procps >/dev/null
mkdir "$root/deb"
cp "$deb" "$root/deb/old.deb"
in_root "$root" sh -c 'apt-get -qq -y --no-install-recommends install /deb/old.deb >/dev/null && apt-get -qq -y purge shoal-server >/dev/null' # leaves what it depends on
# A later version, of the same files.
in_root "$root" sh -c 'dpkg-deb -R /deb/old.deb /deb/new && sed -i "s/^Version: .*/&+next1/" /deb/new/DEBIAN/control && dpkg-deb -b /deb/new /deb/new.deb >/dev/null && rm -r /deb/new'
listing "$root" >"$root.before"
rm "$root/usr/sbin/policy-rc.d"

cat >"$root/deb/try" <<SCRIPT
#!/bin/bash
set -eu
say() { printf '== %s\n' "\$*"; }
cli() { redis-cli "\$@"; }
trap 'status=\$?; [ \$status = 0 ] || journalctl -n 50 --no-pager; echo \$status >/deb/status; systemctl --force --force poweroff' EXIT
say "install: it runs"
dpkg -i /deb/old.deb >/dev/null
[ "\$(systemctl is-active shoal-server)" = active ]
[ "\$(systemctl is-enabled shoal-server)" = enabled ]
[ "\$(stat -c '%U:%G %a' /etc/shoal/shoal.conf)" = "shoal:shoal 640" ]
[ "\$(stat -c '%U:%G %a' /var/lib/shoal)" = "shoal:shoal 750" ]
systemctl show -p User,Type,StatusText,MainPID shoal-server
cli INFO server | grep -E '^(shoal_version|valkey_version|io_backend|multiplexing_api|process_supervised)'
cli SET kept "across an upgrade" >/dev/null
cli CONFIG SET maxclients 777 >/dev/null
[ "\$(cli CONFIG REWRITE)" = OK ]
say "upgrade: data and configuration are there"
before=\$(systemctl show -p MainPID --value shoal-server)
dpkg -i /deb/new.deb >/dev/null
[ "\$(systemctl show -p MainPID --value shoal-server)" != "\$before" ]
[ "\$(cli GET kept)" = "across an upgrade" ]
[ "\$(cli CONFIG GET maxclients | tail -1)" = 777 ]
say "kill -9: it is started again"
cli CONFIG SET appendonly yes >/dev/null
for i in \$(seq 100); do ! cli INFO persistence | grep -qE "aof_rewrite_(in_progress|scheduled):1" || sleep 0.2; done # the log begins behind a snapshot
cli CONFIG REWRITE >/dev/null
cli SET logged yes >/dev/null
kill -9 "\$(systemctl show -p MainPID --value shoal-server)"
for i in \$(seq 100); do [ "\$(cli GET logged 2>/dev/null)" != yes ] || break; sleep 0.2; done
[ "\$(cli GET logged)" = yes ]
say "remove: the data stays"
dpkg -r shoal-server >/dev/null
! systemctl -q is-active shoal-server
[ -e /var/lib/shoal/appendonlydir/shoal.manifest ] && [ -e /etc/shoal/shoal.conf ] && [ ! -e /usr/bin/shoal-server ]
say "install again: there it is"
dpkg -i /deb/new.deb >/dev/null
[ "\$(cli GET kept)" = "across an upgrade" ]
systemctl stop shoal-server
if systemctl start redis-server; then
    systemctl stop redis-server
    say "Debian's own redis-server.service runs it"
    mv /usr/bin/redis-server /deb/redis-server
    cp /usr/bin/shoal-server /usr/bin/redis-server
    systemctl start redis-server
    [ "\$(systemctl is-active redis-server)" = active ]
    [ "\$(stat -c %u /proc/\$(systemctl show -p MainPID --value redis-server))" = "\$(id -u redis)" ]
    cli SET served "by its unit" >/dev/null
    systemctl restart redis-server
    [ "\$(cli GET served)" = "by its unit" ]
    cli INFO server | grep ^config_file
    ls -l /var/lib/redis
    systemctl stop redis-server
    rm -rf /var/lib/redis/appendonlydir /var/lib/redis/dump.rdb /usr/bin/redis-server
    mv /deb/redis-server /usr/bin/redis-server
else
    say "Redis itself does not start here, so its unit is not tried"
fi
systemctl start shoal-server
say "purge"
dpkg -P shoal-server >/dev/null
! getent passwd shoal
systemctl --failed --no-legend | grep shoal && exit 1
echo "all of it went well"
SCRIPT
chmod 755 "$root/deb/try"
cat >"$root/etc/systemd/system/try.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/deb/try
StandardOutput=file:/deb/output
StandardError=file:/deb/output
UNIT
ln -s ../try.service "$root/etc/systemd/system/try.target.wants" 2>/dev/null || true
cat >"$root/etc/systemd/system/try.target" <<'UNIT'
[Unit]
Requires=basic.target try.service
After=basic.target
AllowIsolate=yes
UNIT
rm -f "$root/etc/systemd/system/try.target.wants"
sed -i 's/^After=multi-user.target/After=basic.target/' "$root/etc/systemd/system/try.service"

say "a systemd of its own"
umount -R "$root/dev" "$root/proc"
boot() {
    mount --bind "$root" "$root"
    cd "$root"
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount -t tmpfs tmpfs run
    mount -t tmpfs tmpfs dev
    local name
    for name in null zero full random urandom tty; do
        touch "dev/$name" && mount --bind "/dev/$name" "dev/$name"
    done
    mkdir dev/pts dev/shm && mount -t devpts devpts dev/pts && ln -s pts/ptmx dev/ptmx && mount -t tmpfs tmpfs dev/shm
    mkdir -p sys/fs/cgroup && mount -t cgroup2 cgroup2 sys/fs/cgroup
    exec env -i container=try PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /usr/lib/systemd/systemd --unit=try.target --log-target=null --show-status=no
}
export -f boot
export root
timeout 300 unshare --mount --net --pid --ipc --uts --cgroup --fork --kill-child --propagation private bash -c boot || true
cat "$root/deb/output" || true
[ "$(cat "$root/deb/status" 2>/dev/null)" = 0 ] || die "it did not go well"

say "what is left behind"
rm "$root/etc/systemd/system/try.service" "$root/etc/systemd/system/try.target"
listing "$root" >"$root.after"
# Of systemd's own first start, not the package's.
left=$(diff "$root.before" "$root.after" | grep '^[<>]' | grep -vE '/etc/(machine-id|.pwd.lock|resolv.conf|passwd-|group-|shadow-|gshadow-|subuid-|subgid-|mtab|hostname)|/usr/sbin/policy-rc.d|/var/tmp/systemd|/root/|/var/log/(btmp|wtmp|lastlog|faillog|private|README|alternatives.log|dpkg.log)|/var/(lib|log)/private|/etc/(ssl|ld.so)|/var/lib/(dbus|private)' || true)
[ -z "$left" ] || die "left behind, or gone: $left"
say "nothing: $suite is content"
