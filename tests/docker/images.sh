#!/usr/bin/env bash
# Makes the images of the recipes where no registry can be asked, and ours from compiled binaries.
#
#   tests/docker/images.sh BINARIES      a directory with astromeshd and astromeshctl
#
# Real images are used where they were pulled; what this script has made is made anew each time, but for
# the Debian packages. Databases and Prometheus are Debian's. For Ollama, Grafana and the collector a
# stand-in answers, which records what it receives (standin.py).
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
binaries=$(cd "${1:?a directory with the binaries}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DOCKER_BUILDKIT=0

has() { docker image inspect "$1" >/dev/null 2>&1; }
say() { echo "images: $*" >&2; }

# The smallest Debian 12 that serves: what debian:bookworm-slim is, and CA certificates.
slim() {
    has debian:bookworm-slim && return
    say "debian:bookworm-slim from Debian's packages"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/slim" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; return 1; }
    rm -rf "$work"/slim/var/cache/apt/archives/*.deb "$work"/slim/var/lib/apt/lists/* \
        "$work"/slim/usr/share/doc/* "$work"/slim/usr/share/man/*
    tar -C "$work/slim" -c . | docker import - debian:bookworm-slim >/dev/null
}

# One image with the packages of all that stands around a mesh, and a name for each part of it.
kitchen() {
    has astromesh-test/kitchen && return
    say "databases, Prometheus and Python from Debian's packages"
    mkdir "$work/kitchen"
    docker create --name "kitchen-$$" debian:bookworm-slim true >/dev/null
    docker export "kitchen-$$" | tar -C "$work/kitchen" -x
    docker rm "kitchen-$$" >/dev/null
    cp /etc/resolv.conf "$work/kitchen/etc/resolv.conf"
    cp -r /etc/apt/apt.conf.d/. "$work/kitchen/etc/apt/apt.conf.d/"
    printf '#!/bin/sh\nexit 101\n' >"$work/kitchen/usr/sbin/policy-rc.d"
    chmod +x "$work/kitchen/usr/sbin/policy-rc.d"
    {
        chroot "$work/kitchen" apt-get update -qq
        DEBIAN_FRONTEND=noninteractive chroot "$work/kitchen" apt-get install -y -qq \
            --no-install-recommends python3-minimal libpython3-stdlib redis-server postgresql-15 \
            prometheus
    } >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; return 1; }
    # Debian 12 has no pgvector: the extension can be created, and has nothing in it.
    echo "default_version = '0'" >"$work/kitchen/usr/share/postgresql/15/extension/vector.control"
    : >"$work/kitchen/usr/share/postgresql/15/extension/vector--0.sql"
    rm -rf "$work"/kitchen/var/cache/apt/archives/*.deb "$work"/kitchen/var/lib/apt/lists/*
    tar -C "$work/kitchen" -c . | docker import - astromesh-test/kitchen >/dev/null
}

# part NAME CMD…: an image of this name that runs this command, unless there is a real one.
part() {
    local name=$1 words
    shift
    if has "$name" && [ -z "$(docker image inspect -f '{{index .Config.Labels "astromesh.stand-in"}}' "$name")" ]; then
        return
    fi
    say "$name, a part of it"
    words=$(printf '"%s",' "$@")
    mkdir -p "$work/part"
    cp "$root"/tests/docker/{standin.py,postgres.sh,ollama.sh} "$work/part"
    cat >"$work/part/Dockerfile" <<EOF
FROM astromesh-test/kitchen
LABEL astromesh.stand-in=true
COPY standin.py postgres.sh /usr/local/bin/
COPY ollama.sh /usr/local/bin/ollama
ENTRYPOINT [${words%,}]
EOF
    docker build -q -t "$name" "$work/part" >/dev/null 2>"$work/log" || { cat "$work/log" >&2; return 1; }
}

ours() {
    say "monaccode/astromesh:latest from $binaries"
    mkdir "$work/context"
    cp -r "$root/docker" "$root/config" "$root/.dockerignore" "$work/context/"
    mkdir "$work/context/dist"
    strip -o "$work/context/dist/astromeshd" "$binaries/astromeshd"
    strip -o "$work/context/dist/astromeshctl" "$binaries/astromeshctl"
    docker build -q --build-arg BUILD_IMAGE=debian:bookworm-slim -f "$work/context/docker/Dockerfile" \
        -t monaccode/astromesh:latest "$work/context" >/dev/null 2>"$work/log" ||
        { cat "$work/log" >&2; return 1; }
}

slim
ours
if [ "${2:-}" != --ours ]; then
    kitchen
    part redis:7-alpine redis-server --bind 0.0.0.0 --protected-mode no
    part pgvector/pgvector:pg16 sh /usr/local/bin/postgres.sh
    part prom/prometheus:v3.5.0 prometheus --config.file=/etc/prometheus/prometheus.yml \
        --storage.tsdb.path=/prometheus
    part ollama/ollama:latest python3 /usr/local/bin/standin.py ollama
    part grafana/grafana:12.1.0 python3 /usr/local/bin/standin.py grafana
    part otel/opentelemetry-collector-contrib:0.131.0 python3 /usr/local/bin/standin.py collector
fi
