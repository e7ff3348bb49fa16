#!/bin/bash
# Runs as root in the booted Debian of tests/package/install.sh. Every line it prints is a fact
# that was checked; the first that does not hold ends it with what led to it.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin

fail() {
    echo "FAILED: $*"
    systemctl status --no-pager --full shelfcast.service || true
    journalctl --no-pager -n 60 || true
    exit 1
}
trap 'echo "FAILED: line $LINENO: $BASH_COMMAND"' ERR
holds() {
    local what=$1
    shift
    "$@" || fail "$what"
    echo "ok: $what"
}
fails() { ! "$@"; }
eventually() {
    local what=$1 deadline=$((SECONDS + 30))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || fail "$what (not within 30 s)"
        read -rt 0.1 <> <(:) || true
    done
    echo "ok: $what"
}
# An HTTP request without any tool; HTTP/1.0, so that the body ends with the connection.
get() {
    exec 5<>/dev/tcp/127.0.0.1/5000 || return 1
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&5
    timeout 10 cat <&5
    exec 5>&-
} 2>/dev/null
answers() { get "$1" | grep -aq "$2"; }
pid() { systemctl show -P MainPID shelfcast.service; }
active() { systemctl is-active --quiet shelfcast.service; }
enabled() { systemctl is-enabled --quiet shelfcast.service; }
same_pid() { [ "$(pid)" = "$1" ]; }
other_pid() { [ "$(pid)" != "$1" ] && [ "$(pid)" != 0 ]; }
exposure() { systemd-analyze security --no-pager --threshold="$1" shelfcast.service >/dev/null; }
says() { systemctl status --no-pager --full shelfcast.service 2>&1 | grep -q "$1"; }
# What an owner would miss: contents, owners, modes and times of every file.
library() { find /srv -printf '%p %y %m %U:%G %s %T@ %C@\n' | sort; }

config=/etc/shelfcast/shelfcast.toml

useradd --create-home owner
install -d -o owner -g owner /srv/media
echo "a page" >/srv/media/first.txt
chown owner:owner /srv/media/first.txt
library >/test/library

echo "== install"
dpkg -i /test/1.0.deb
holds "the user of the service exists" getent passwd shelfcast
holds "it is enabled" enabled
eventually "it runs" active
eventually "it answers" answers /health '200 OK'
holds "its state is its own" test "$(stat -c '%U:%G %a' /var/lib/shelfcast)" = "shelfcast:shelfcast 700"
holds "it runs as its own user" test "$(stat -c %U "/proc/$(pid)")" = shelfcast
holds "its one capability is CAP_LEASE" grep -q '^CapEff:[[:space:]]*0000000010000000$' "/proc/$(pid)/status"
holds "it cannot gain another" grep -q '^NoNewPrivs:[[:space:]]*1$' "/proc/$(pid)/status"
holds "the configuration is as shipped" dpkg --verify shelfcast
holds "the exposure is at most 1.4" exposure 14
holds "systemd has nothing to say against the unit" test -z "$(systemd-analyze verify --man=no shelfcast.service 2>&1)"
holds "no library is needed" grep -q 'not a dynamic\|statically' <(ldd /usr/bin/shelfcast 2>&1)

echo "== configure"
cat >>$config <<'EOF'
[[folder]]
path = "/srv/media"
EOF
before=$(pid)
systemctl restart shelfcast.service
eventually "it runs with a folder" other_pid "$before"
eventually "the folder's file is listed" answers /api/files first.txt
before=$(pid)
cp $config /test/good.toml
echo 'no_such_key = 1' >>$config
holds "a reload tells of a mistake" fails systemctl reload shelfcast.service
holds "the mistake is in its status" says no_such_key
holds "and the service runs on" same_pid "$before"
cp /test/good.toml $config
holds "a reload without one works" systemctl reload shelfcast.service
holds "in the same process" same_pid "$before"

echo "== a disk comes and goes"
mkdir /mnt/disk
mount -t tmpfs tmpfs /mnt/disk
install -d -o owner /mnt/disk/comics
printf '\n[[folder]]\npath = "/mnt/disk/comics"\n' >>$config
mkdir -p /etc/systemd/system/shelfcast.service.d
shelfcast --print-drop-in >/etc/systemd/system/shelfcast.service.d/folders.conf
systemctl daemon-reload
systemctl restart shelfcast.service
eventually "both folders are watched" answers /api/watcher/status '"name":"comics"'
touch /mnt/disk/comics/on-the-disk
eventually "a new file is found" answers /api/files on-the-disk
eventually "the disk can be unmounted" umount /mnt/disk
holds "and is not held by the service" fails grep -q ' /mnt/disk' "/proc/$(pid)/mountinfo"
eventually "its folder is offline" answers /api/watcher/status '"state":"offline"'
holds "its entries are kept" answers /api/files on-the-disk
mount -t tmpfs tmpfs /mnt/disk
umount /mnt/disk
cp /test/good.toml $config
rm /etc/systemd/system/shelfcast.service.d/folders.conf
systemctl daemon-reload
systemctl restart shelfcast.service

echo "== upgrade"
before=$(pid)
dpkg -i /test/2.0.deb </dev/null
eventually "an upgrade restarts it" other_pid "$before"
holds "an edited configuration is kept without a question" cmp $config /test/good.toml
holds "it is still enabled" enabled
eventually "it answers" answers /api/files first.txt

before=$(pid)
sed -i 's/^path = .*/pfad = "x"/' $config
cp $config /test/wrong.toml
dpkg -i --force-confold /test/3.0.deb </dev/null
holds "with a wrong configuration the old service runs on" same_pid "$before"
holds "its status says so" says 'not restarted after the upgrade'
holds "and what is wrong" says pfad
holds "the configuration is kept where both sides changed it" cmp $config /test/wrong.toml
holds "ours lies beside it" grep -q 'version 3' $config.dpkg-dist
rm $config.dpkg-dist
systemctl restart shelfcast.service || true
eventually "a start with it fails at once" systemctl is-failed --quiet shelfcast.service
holds "with the status of a wrong configuration" test "$(systemctl show -P ExecMainStatus shelfcast.service)" = 2
holds "and is not tried again and again" test "$(systemctl show -P NRestarts shelfcast.service)" = 0
cp /test/good.toml $config
systemctl restart shelfcast.service
eventually "corrected, it runs" answers /health '200 OK'

echo "== stop"
began=${EPOCHREALTIME/./}
systemctl stop shelfcast.service
took=$((${EPOCHREALTIME/./} - began))
holds "it stops within 2.5 s ($took us)" test $took -lt 2500000
holds "with status 0" test "$(systemctl show -P ExecMainStatus shelfcast.service)" = 0

echo "== watchdog"
mkdir -p /run/systemd/system/shelfcast.service.d
printf '[Service]\nWatchdogSec=3s\n' >/run/systemd/system/shelfcast.service.d/fast.conf
systemctl daemon-reload
systemctl start shelfcast.service
before=$(pid)
read -rt 5 <> <(:) || true
holds "a service that is well is left alone" same_pid "$before"
kill -STOP "$before"
eventually "one that hangs is started anew" other_pid "$before"
eventually "and answers" answers /health '200 OK'
rm -r /run/systemd/system/shelfcast.service.d
systemctl daemon-reload

echo "== socket activation"
examples=/usr/share/doc/shelfcast/examples/socket-activation
if [ ! -d $examples ]; then
    # A small Debian may be told to leave out what is below /usr/share/doc.
    fail "the examples are not installed"
fi
cp $examples/shelfcast.socket /etc/systemd/system/
cp $examples/private-network.conf /etc/systemd/system/shelfcast.service.d/
systemctl daemon-reload
systemctl stop shelfcast.service
systemctl start shelfcast.socket
eventually "it answers through systemd's socket" answers /health '200 OK'
holds "systemd has nothing to say against the socket" test -z "$(systemd-analyze verify --man=no shelfcast.socket 2>&1)"
holds "without a network of its own" test "$(readlink "/proc/$(pid)/ns/net")" != "$(readlink /proc/1/ns/net)"
holds "the exposure is at most 0.6" exposure 6
systemctl stop shelfcast.service shelfcast.socket
rm /etc/systemd/system/shelfcast.socket /etc/systemd/system/shelfcast.service.d/private-network.conf
systemctl daemon-reload

echo "== disabled stays disabled"
systemctl disable shelfcast.service
dpkg -i /test/4.0.deb </dev/null
holds "an upgrade does not enable it" fails enabled
holds "nor start it" fails active

echo "== remove"
dpkg -r shelfcast
holds "the program is gone" test ! -e /usr/bin/shelfcast
holds "the configuration is kept" cmp $config /test/good.toml
holds "the state is kept" test -n "$(find /var/lib/shelfcast -type f)"

echo "== install again"
systemctl enable shelfcast.service 2>/dev/null || true
dpkg -i /test/4.0.deb </dev/null
holds "the configuration is still the edited one" cmp $config /test/good.toml
systemctl enable --now shelfcast.service
eventually "it runs" answers /api/files first.txt

echo "== purge"
dpkg -P shelfcast
holds "it no longer runs" fails grep -qsx shelfcast /proc/[0-9]*/comm
rm -rf /etc/systemd/system/shelfcast.service.d
left=$(find / -xdev -name '*shelfcast*' -not -path '/proc/*' -not -path '/test/*' -not -path '/run/*')
[ -z "$left" ] || fail "left behind: $left"
echo "ok: nothing is left behind"
holds "but the user, as Debian asks" getent passwd shelfcast
library | cmp - /test/library || fail "the library was changed"
echo "ok: the library is as it was: contents, owners, modes, times"
