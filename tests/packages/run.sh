#!/usr/bin/env bash
# Tests the Debian package and the tarball as an administrator meets them: in a Debian 12 container
# with systemd as PID 1. Needs root, a Docker engine, debootstrap, lintian and cargo-deb.
#
#   tests/packages/run.sh [PROGRAMS]    with astromeshd and astromeshctl from there; target/debug without
#
# The image is made once and kept, by the name below. It has no network but the loopback. Where the
# engine is missing the test says so and passes.
set -euo pipefail
cd "$(dirname "$0")/../.."
programs=${1:-target/debug}
# A change of what the image holds gets a new number.
image=astromesh-debian12-systemd:1
held=systemd,systemd-sysv,dbus,adduser,ca-certificates,procps

if ! docker info >/dev/null 2>&1; then
    echo "tests/packages: NOT RUN: no Docker engine answers here (docker info fails)"
    exit 0
fi

work=$(mktemp -d)
container=''
clean_up() {
    [ -z "$container" ] || docker rm --force --volumes "$container" >/dev/null
    rm -rf "$work"
}
trap clean_up EXIT

if ! docker image inspect "$image" >/dev/null 2>&1; then
    echo "tests/packages: making $image"
    debootstrap --variant=minbase --include="$held" bookworm "$work/root" > "$work/debootstrap.log" ||
        { tail -20 "$work/debootstrap.log"; exit 1; }
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
    tar -C "$work/root" -c . | docker import - "$image" >/dev/null
    rm -rf "$work/root"
fi

mkdir "$work/packages"
old=$(packaging/build-deb.sh --programs "$programs" --output "$work/packages" --fast)
lintian --allow-root --fail-on error,warning "$old"
packaging/build-tarball.sh --programs "$programs" --output "$work/packages" >/dev/null

# The next version: of its two changed files the administrator will have edited one.
dpkg-deb --raw-extract "$old" "$work/next"
sed -i 's/^Version: .*/&.1/' "$work/next/DEBIAN/control"
echo '# New in this version.' | tee -a "$work"/next/etc/astromesh/runtime.yaml \
    "$work"/next/etc/astromesh/profiles/full.yaml >/dev/null
dpkg-deb -Zgzip -z1 --root-owner-group --build "$work/next" "$work/packages/next.deb" >/dev/null
mv "$old" "$work/packages/first.deb"
rm -rf "$work/next"

# What systemd needs to be PID 1: to mount, and its own part of the control groups. A service with
# namespaces of its own needs no more than that either.
case $(docker info --format '{{.CgroupVersion}}') in
1) groups=/sys/fs/cgroup:/sys/fs/cgroup:ro ;;
*) groups=/sys/fs/cgroup:/sys/fs/cgroup:rw ;;
esac
container=$(docker run --detach --network none --hostname node --cgroupns host --volume "$groups" \
    --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec --volume "$work/packages:/packages:ro" \
    --volume "$PWD/tests/packages:/tests:ro" "$image" /sbin/init)
docker exec "$container" bash /tests/inside.sh
