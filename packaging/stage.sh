#!/usr/bin/env bash
# Gathers in target/package/ what the packages hold besides files of the repository: the two programs,
# and what is made from them or from Cargo's records.
#
#   packaging/stage.sh DIRECTORY    takes astromeshd and astromeshctl from there, as target/release
set -euo pipefail
programs=$(realpath "$1")
cd "$(dirname "$0")/.."
stage=target/package

rm -rf "$stage"
mkdir -p "$stage"/release "$stage"/etc
for program in astromeshd astromeshctl; do
    install -m 755 "$programs/$program" "$stage/release/"
    strip --strip-unneeded "$stage/release/$program"
done

ctl=$stage/release/astromeshctl
"$ctl" man --output-dir "$stage/man"
find "$stage/man" -type f -exec gzip -9n {} +
mkdir "$stage/completions"
"$ctl" completions bash > "$stage/completions/astromeshctl"
"$ctl" completions zsh > "$stage/completions/_astromeshctl"
"$ctl" completions fish > "$stage/completions/astromeshctl.fish"

# A node that nobody has configured yet answers this machine only.
local='    host: 127.0.0.1             # this machine only; 0.0.0.0 lets others in, and asks nobody who he is'
sed "s|^    host: 0\.0\.0\.0 .*|$local|" config/runtime.yaml > "$stage/etc/runtime.yaml"
if ! grep -qF "$local" "$stage/etc/runtime.yaml"; then
    echo "stage.sh: found no host: 0.0.0.0 in config/runtime.yaml to replace; mend stage.sh" >&2
    exit 1
fi

version=$(packaging/version.sh)
maintainer=$(sed -n '/^\[package.metadata.deb\]/,/^\[/s/^maintainer = "\(.*\)"/\1/p' Cargo.toml)
revision=${DEB_REVISION:-1}
made=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
cat > "$stage/changelog" <<END
astromesh ($version-$revision) stable; urgency=medium

  * What changed is in /usr/share/doc/astromesh/changelog.gz.

 -- $maintainer  $(date -uRd "@$made")
END

# Most licences ask that their text goes with the program.
packaging/third-party.sh | gzip -9n > "$stage/third-party.txt.gz"
