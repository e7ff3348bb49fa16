#!/usr/bin/env bash
# Installs, upgrades, removes and purges the package in a Debian that is booted with a real systemd.
#
#   tests/package/install.sh PACKAGE.deb
#
# The Debian is made by debootstrap once, kept in the cache, and copied for each run; it has no
# network but its own loopback. What is checked is in tests/package/inside.sh, which runs in it.
set -euo pipefail

REPOSITORY=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=packaging/toolchain.sh
. "$REPOSITORY/packaging/toolchain.sh"

[ $# = 1 ] || {
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
package=$(realpath "$1")
[ "$(id -u)" = 0 ] || exec sudo --preserve-env=SHELFCAST_CACHE "$0" "$package"

install_packages debootstrap dpkg systemd-container util-linux
base=$TOOLCHAIN_CACHE/debian
if [ ! -e "$base/complete" ]; then
    rm -rf "$base"
    # From where this machine has its own packages; elsewhere than on bookworm, from the default.
    # shellcheck disable=SC2016 # apt-get expands it
    mirror=$(apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Codename: bookworm' 'Component: main' | head -n 1)
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus bookworm "$base" \
        ${mirror:+"$mirror"} >/dev/null
    touch "$base/complete"
fi

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
cp -a --reflink=auto "$base" "$root"
rm -f "$root/etc/machine-id"
mkdir -p "$root/test"
cp "$REPOSITORY/tests/package/inside.sh" "$root/test/inside.sh"

# Four versions of one package; with the third, its makers changed the conffile.
repack() {
    local version=$1 tree=$work/tree
    rm -rf "$tree"
    dpkg-deb -R "$package" "$tree"
    sed -i "s/^Version: .*/Version: $version/" "$tree/DEBIAN/control"
    [ $# = 1 ] || echo "$2" >>"$tree/etc/shelfcast/shelfcast.toml"
    dpkg-deb -b --root-owner-group "$tree" "$root/test/$version.deb" >/dev/null
}
repack 1.0
repack 2.0
repack 3.0 "# a line that came with version 3"
repack 4.0 "# a line that came with version 3"

cat >"$root/etc/systemd/system/test.service" <<'EOF'
[Unit]
After=basic.target dbus.socket
[Service]
Type=oneshot
ExecStart=/bin/bash -c '/bin/bash /test/inside.sh >/test/log 2>&1; echo $? >/test/status'
ExecStopPost=/bin/systemctl poweroff --no-block
TimeoutStartSec=240
EOF
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../test.service "$root/etc/systemd/system/multi-user.target.wants/"

# A mount namespace of its own, in which cgroup2 is where a systemd looks for it, also on a host
# that still has version 1. The host is not touched.
# shellcheck disable=SC2016 # expanded by the inner shell
boot='if [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount -l /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
exec timeout 300 systemd-nspawn -q -b -D "$1" --register=no --keep-unit --private-network \
    --console=pipe'
unshare -m --propagation private sh -c "$boot" boot "$root" >"$work/console" 2>&1 </dev/null || true

if [ ! -e "$root/test/status" ]; then
    tail -n 50 "$work/console" >&2
    [ ! -e "$root/test/log" ] || cat "$root/test/log" >&2
    echo "install test: the system did not come up, or did not finish" >&2
    exit 1
fi
cat "$root/test/log"
exit "$(cat "$root/test/status")"
