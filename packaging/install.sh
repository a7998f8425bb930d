#!/bin/sh
# Installs astromesh from the directory in which this file is, or takes it away again.
#
#   ./install.sh                          into /usr/local; as root
#   PREFIX=/usr ./install.sh              elsewhere
#   DESTDIR=/tmp/root ./install.sh        below another root, for those who make packages: makes no user
#   ./install.sh --uninstall              keeps the configuration, the data, the logs and the user
#
# The configuration is always in /etc/astromesh; a file that is there already is left alone.
set -eu
PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
units=$DESTDIR/etc/systemd/system
cd "$(dirname "$0")"

# The files below bin and share, which go to the same places below PREFIX.
installed() { find bin share -type f; }

reload_systemd() {
    if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
}

case "${1:-}" in
'') ;;
--uninstall)
    if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
        systemctl disable --now --quiet astromesh.service astromesh.socket || true
    fi
    installed | while read -r file; do rm -f "$DESTDIR$PREFIX/$file"; done
    rm -rf "$DESTDIR$PREFIX/share/doc/astromesh"
    rm -f "$units/astromesh.service" "$units/astromesh.socket"
    reload_systemd
    echo "Removed. What you may still want is in /etc/astromesh, /var/lib/astromesh and /var/log/astromesh."
    exit 0
    ;;
*)
    echo "install.sh: unknown argument $1; see the head of this file" >&2
    exit 2
    ;;
esac

if [ -z "$DESTDIR" ] && [ "$(id -u)" -ne 0 ]; then
    echo "install.sh: run it as root, or set DESTDIR" >&2
    exit 1
fi

installed | while read -r file; do
    mode=644
    case "$file" in bin/*) mode=755 ;; esac
    install -D -m "$mode" "$file" "$DESTDIR$PREFIX/$file"
done
install -d "$units"
sed "s|/usr/bin/astromeshd|$PREFIX/bin/astromeshd|" lib/systemd/system/astromesh.service \
    > "$units/astromesh.service"
cp lib/systemd/system/astromesh.socket "$units/"

(cd etc && find astromesh -type f) | while read -r file; do
    if [ -e "$DESTDIR/etc/$file" ]; then
        cmp -s "etc/$file" "$DESTDIR/etc/$file" || echo "kept your /etc/$file"
    else
        install -D -m 640 "etc/$file" "$DESTDIR/etc/$file"
    fi
done
chmod 750 "$DESTDIR/etc/astromesh" "$DESTDIR/etc/astromesh/agents" "$DESTDIR/etc/astromesh/profiles"

if [ -z "$DESTDIR" ]; then
    if ! getent passwd astromesh >/dev/null; then
        useradd --system --user-group --home-dir /var/lib/astromesh --no-create-home \
            --shell /usr/sbin/nologin --comment "Astromesh daemon" astromesh
    fi
    chgrp -R astromesh /etc/astromesh
    install -d -m 750 -o astromesh -g astromesh /var/lib/astromesh /var/log/astromesh
fi
reload_systemd
echo "Installed, not started. Read /etc/astromesh/runtime.yaml, then: systemctl enable --now astromesh"
