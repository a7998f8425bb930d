#!/bin/sh
# Makes runtime.yaml from a profile and a few variables, then becomes astromeshd.
#
#   ASTROMESH_AUTO_CONFIG   true     anything else: the mounted runtime.yaml is used as it is
#   ASTROMESH_ROLE          full     full, gateway, worker or inference
#   ASTROMESH_MESH_ENABLED  false    true: profiles/mesh-ROLE.yaml instead of profiles/ROLE.yaml
#   ASTROMESH_NODE_NAME     hostname label of the node in the mesh
#   ASTROMESH_SEEDS                  seed URLs, separated by commas; empty: those of the profile
#   ASTROMESH_PORT          8000     HTTP, gossip and health check
#
# OPENAI_API_KEY, ANTHROPIC_API_KEY, OLLAMA_HOST and all else pass through to the daemon.
set -eu

directory=${ASTROMESH_CONFIG_DIR:-/etc/astromesh}
config=$directory/runtime.yaml
profiles=$directory/profiles

say() { echo "[entrypoint] $*"; }
fail() {
    say "ERROR: $*" >&2
    exit 1
}

# Whether something is mounted at this very path: what an operator put there is never replaced.
is_mounted() {
    while read -r _ _ _ _ point _; do
        [ "$point" = "$1" ] && return 0
    done </proc/self/mountinfo
    return 1
}

generate() {
    role=${ASTROMESH_ROLE:-full}
    mesh=${ASTROMESH_MESH_ENABLED:-false}
    if [ "$mesh" = true ]; then
        profile=$profiles/mesh-$role.yaml
    else
        profile=$profiles/$role.yaml
    fi
    if [ ! -f "$profile" ]; then
        say "ERROR: Profile not found: $profile" >&2
        say "Available profiles:" >&2
        ls -1 "$profiles" >&2
        exit 1
    fi

    set -- "$profile" --to "$config" --force
    if [ -n "${ASTROMESH_PORT:-}" ]; then
        set -- "$@" --set "spec.api.port=$ASTROMESH_PORT"
    fi
    if [ "$mesh" = true ]; then
        set -- "$@" --set "spec.mesh.node_name=${ASTROMESH_NODE_NAME:-$(hostname)}"
        if [ -n "${ASTROMESH_SEEDS:-}" ]; then
            set -- "$@" --set "spec.mesh.seeds=$ASTROMESH_SEEDS"
        fi
    fi
    astromeshctl config patch "$@" >/dev/null ||
        fail "$config was not generated from $profile; the lines above say why"
    say "Generated $config (role=$role, mesh=$mesh)"
}

# `docker run IMAGE astromeshctl …` or `… sh`: a command of its own instead of the daemon.
case ${1:-} in
-* | '') ;;
*) exec "$@" ;;
esac

if [ "${ASTROMESH_AUTO_CONFIG:-true}" != true ]; then
    if [ ! -f "$config" ]; then
        say "ERROR: ASTROMESH_AUTO_CONFIG=$ASTROMESH_AUTO_CONFIG but no config found at $config" >&2
        say "Mount one (-v /path/to/runtime.yaml:$config:ro), or leave ASTROMESH_AUTO_CONFIG out" >&2
        exit 1
    fi
    say "Using mounted config at $config"
elif is_mounted "$config"; then
    say "Using mounted config at $config; set ASTROMESH_AUTO_CONFIG=false to say that this is meant"
    say "ASTROMESH_ROLE, _NODE_NAME, _SEEDS and _PORT change nothing in it"
else
    generate
fi

exec astromeshd "$@"
