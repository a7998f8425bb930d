#!/usr/bin/env bash
# Builds the tarball for systems without dpkg; prints its path. Inside is install.sh.
#
#   packaging/build-tarball.sh                     optimised, from target/release
#   packaging/build-tarball.sh --programs DIR      with astromeshd and astromeshctl as they are in DIR
#   packaging/build-tarball.sh --output DIR        where it goes; target/package without
set -euo pipefail
programs='' output=''
while [ $# -gt 0 ]; do
    case "$1" in
    --programs) programs=$(realpath "$2") ;;
    --output) output=$(realpath "$2") ;;
    *) echo "build-tarball.sh: unknown argument $1" >&2; exit 2 ;;
    esac
    shift 2
done
cd "$(dirname "$0")/.."

if [ -z "$programs" ]; then
    cargo build --release --locked --bins >&2
    programs=target/release
fi
packaging/stage.sh "$programs" >&2
stage=target/package
name=astromesh-$(packaging/version.sh)-$(uname -m)-linux
top=$stage/$name

put() { install -D -m 644 -t "$top/$1" "${@:2}"; }
install -D -m 755 -t "$top/bin" $stage/release/astromeshd $stage/release/astromeshctl
put lib/systemd/system packaging/systemd/astromesh.service packaging/systemd/astromesh.socket
put etc/astromesh $stage/etc/runtime.yaml config/providers.yaml
put etc/astromesh/profiles config/profiles/*.yaml
put etc/astromesh/agents config/agents/echo.agent.yaml
put share/man/man1 $stage/man/man1/*
put share/man/man8 $stage/man/man8/*
put share/bash-completion/completions $stage/completions/astromeshctl
put share/zsh/site-functions $stage/completions/_astromeshctl
put share/fish/vendor_completions.d $stage/completions/astromeshctl.fish
put share/doc/astromesh docs/*.md CHANGELOG.md LICENSE $stage/third-party.txt.gz
put share/doc/astromesh/samples docs/samples/*
put share/doc/astromesh/examples/agents config/agents/*.yaml
install -m 755 packaging/install.sh "$top/"

archive=${output:-$stage}/$name.tar.gz
tar -C "$stage" --owner=0 --group=0 --numeric-owner --sort=name -czf "$archive" "$name"
echo "$archive"
