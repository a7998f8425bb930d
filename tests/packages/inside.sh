#!/usr/bin/env bash
# Runs as root in the container that run.sh makes. Each step is a function named by what it shows;
# they build on each other, in the order at the end. The first that fails ends the test.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive NO_COLOR=1
current=''
passed=0

at_exit() {
    local status=$? command=$BASH_COMMAND
    [ "$status" -ne 0 ] || return 0
    echo "FAILED: $current: $command"
    systemctl status astromesh --no-pager --full || true
    journalctl --unit astromesh --no-pager --lines 40 || true
    echo "$passed passed, 1 failed"
}
trap at_exit EXIT

step() {
    current=$1
    "$1"
    passed=$((passed + 1))
    echo "ok $1"
}

# Fails with what was found.
same() { [ "$1" = "$2" ] || { echo "found '$1', expected '$2'"; false; }; }
has() { grep -qF -- "$2" <<< "$1" || { echo "found no '$2' in: $1"; false; }; }

# Shows what a command said only if it fails.
quietly() { "$@" > /tmp/said 2>&1 || { cat /tmp/said; false; }; }

# eventually SECONDS COMMAND…: until it succeeds.
eventually() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || { echo "not in time: $*"; return 1; }
        sleep 0.1
    done
}

property() { systemctl show astromesh --property "$1" --value; }
is_active() { [ "$(property ActiveState)" = active ]; }
mode() { stat --format '%a %U:%G' "$1"; }
answers() { astromeshctl run echo hello 2>/dev/null | grep -q '^echo: hello'; }
no_daemon() { ! pgrep astromeshd; }
node_id() { astromeshctl status --json | sed -n 's/.*"node_id": "\(.*\)".*/\1/p'; }
# Settings for the test, so that it does not wait half a minute for the watchdog.
override() {
    mkdir -p /etc/systemd/system/astromesh.service.d
    printf '[Service]\n%s\n' "$@" > /etc/systemd/system/astromesh.service.d/test.conf
    systemctl daemon-reload
}
# Answers the question about changed files as dpkg does by itself: keep mine.
upgrade() { quietly apt-get install --yes --option Dpkg::Options::=--force-confold "$@"; }
# Echoes after some seconds: a run that is in flight meanwhile.
slow_agent() {
    sed "s/name: echo/name: $1/; s/# *parameters:/parameters:/; s/# *delay_ms: .*/  delay_ms: $2/" \
        /usr/share/doc/astromesh/examples/agents/echo.agent.yaml > "/etc/astromesh/agents/$1.agent.yaml"
}

installs_without_starting() {
    has "$(apt-get install --yes /packages/first.deb 2>&1)" "astromesh is installed, not started"
    same "$(systemctl is-enabled astromesh)" enabled
    same "$(systemctl is-enabled astromesh.socket || true)" disabled
    same "$(property ActiveState)" inactive
    systemctl cat astromeshd >/dev/null
}

owns_what_it_should() {
    same "$(mode /etc/astromesh)" "750 root:astromesh"
    same "$(mode /etc/astromesh/runtime.yaml)" "640 root:astromesh"
    same "$(mode /etc/astromesh/agents/echo.agent.yaml)" "640 root:astromesh"
    same "$(mode /var/lib/astromesh)" "750 astromesh:astromesh"
    same "$(mode /var/log/astromesh)" "750 astromesh:astromesh"
    same "$(getent passwd astromesh | cut -d: -f6,7)" "/var/lib/astromesh:/usr/sbin/nologin"
}

ships_a_unit_that_is_sound() {
    same "$(systemd-analyze verify --man=no astromesh.service astromesh.socket 2>&1)" ""
    systemd-analyze security --threshold=20 astromesh.service >/dev/null
}

tells_people_and_shells_what_there_is() {
    zgrep -q spec.api.port /usr/share/man/man8/astromeshd.8.gz
    zgrep -q mesh /usr/share/man/man1/astromeshctl-mesh-nodes.1.gz
    has "$(bash -c '. /usr/share/bash-completion/completions/astromeshctl; complete -p astromeshctl')" astromeshctl
    [ -s /usr/share/doc/astromesh/third-party.txt.gz ]
}

refuses_a_wrong_configuration_once() {
    cp --preserve /etc/astromesh/runtime.yaml /root/runtime.yaml
    sed -i 's/port: 8000 /port: 80000 /' /etc/astromesh/runtime.yaml
    if systemctl start astromesh 2>/dev/null; then false; fi
    same "$(property ExecMainStatus)" 64
    sleep 6 # Longer than RestartSec: it is not tried again.
    same "$(property NRestarts) $(property ActiveState)" "0 failed"
    has "$(journalctl --unit astromesh --output cat)" "/etc/astromesh/runtime.yaml:"
    cp --preserve /root/runtime.yaml /etc/astromesh/runtime.yaml
}

fails_to_start_while_another_has_the_port() {
    systemd-run --quiet --unit other --property Type=notify --uid astromesh \
        --setenv ASTROMESH_DATA_DIR=/tmp/other --property Restart=no \
        /usr/bin/astromeshd --config /etc/astromesh --pid-file /tmp/other.pid
    if systemctl start astromesh 2>/dev/null; then false; fi
    systemctl stop other astromesh
}

is_active_only_when_it_serves() {
    sed -i '/^  mesh:/,/enabled/s/enabled: false/enabled: true/' /etc/astromesh/runtime.yaml
    systemctl start astromesh
    answers # At once: `systemctl start` returns when the daemon has said READY.
    is_active
    same "$(cat /var/run/astromesh/astromeshd.pid)" "$(property MainPID)"
    has "$(systemctl status astromeshd)" "active (running)"
    id=$(node_id)
    same "${#id}" 36
}

tells_its_state() {
    eventually 5 bash -c "systemctl status astromesh | grep -q 'Status: .*1 alive'"
}

# The first line of a request in the journal. From a file, as journalctl fails when nobody reads on.
request_entry() {
    journalctl --unit astromesh --output json --all > /tmp/journal
    grep -m1 '"ASTROMESH_REQUEST_ID"' /tmp/journal
}

writes_fields_to_the_journal() {
    local entry
    eventually 5 request_entry
    entry=$(request_entry)
    has "$entry" '"_SYSTEMD_UNIT":"astromesh.service"'
    has "$entry" '"PRIORITY":"6"'
}

takes_variables_from_the_file_that_root_owns() {
    install -m 600 /dev/null /etc/astromesh/.env
    echo 'ASTROMESH_LOG_FILE_ENABLED=true' >> /etc/astromesh/.env
    systemctl restart astromesh
    answers
    eventually 5 grep -q serving /var/log/astromesh/astromeshd.log
    same "$(mode /var/log/astromesh/astromeshd.log)" "640 astromesh:astromesh"
    rm /etc/astromesh/.env
    systemctl restart astromesh
}

reloads_without_harm_to_a_run() {
    local pid run
    pid=$(property MainPID)
    slow_agent slow 3000
    systemctl reload astromesh
    eventually 5 astromeshctl run slow hello --timeout 20
    astromeshctl run slow "during the reload" > /tmp/slow.txt 2>&1 &
    run=$!
    slow_agent added 1
    systemctl reload astromesh
    eventually 5 astromeshctl run added hello
    wait "$run"
    has "$(cat /tmp/slow.txt)" "echo: during the reload"
    same "$(property MainPID)" "$pid"
    is_active
}

keeps_what_it_had_when_a_reload_is_wrong() {
    local pid
    pid=$(property MainPID)
    echo 'kind: nonsense' > /etc/astromesh/agents/broken.agent.yaml
    systemctl reload astromesh || true
    eventually 5 bash -c "journalctl --unit astromesh --output cat | grep -q broken.agent.yaml"
    answers
    same "$(property MainPID)" "$pid"
    is_active
    rm /etc/astromesh/agents/broken.agent.yaml
    systemctl reload astromesh
}

stops_when_what_is_in_flight_is_done() {
    local run
    astromeshctl run slow "before the stop" > /tmp/slow.txt 2>&1 &
    run=$!
    eventually 5 bash -c "astromeshctl mesh nodes --json | grep -q '\"active_requests\": 1'"
    systemctl stop astromesh
    wait "$run"
    has "$(cat /tmp/slow.txt)" "echo: before the stop"
    same "$(property Result) $(property ExecMainStatus)" "success 0"
    [ ! -e /var/run/astromesh/astromeshd.pid ]
}

keeps_its_identity_when_restarted() {
    systemctl start astromesh
    systemctl restart astromesh
    answers
    same "$(node_id)" "$id"
}

comes_back_after_a_kill() {
    local pid
    pid=$(property MainPID)
    kill -KILL "$pid"
    eventually 20 answers
    eventually 5 is_active
    [ "$(property MainPID)" != "$pid" ]
    same "$(property NRestarts)" 1
    same "$(cat /var/run/astromesh/astromeshd.pid)" "$(property MainPID)"
    same "$(node_id)" "$id"
}

is_ended_by_the_watchdog_when_it_hangs() {
    local pid
    override WatchdogSec=2 RestartSec=1
    systemctl restart astromesh
    sleep 5 # Two and a half times the watchdog's time: it is fed.
    same "$(property NRestarts) $(property ActiveState)" "0 active"
    pid=$(property MainPID)
    kill -STOP "$pid"
    eventually 20 bash -c "journalctl --unit astromesh | grep -q 'Watchdog timeout'"
    eventually 20 answers
    [ "$(property MainPID)" != "$pid" ]
    same "$(node_id)" "$id"
    rm -r /etc/systemd/system/astromesh.service.d
    systemctl daemon-reload
}

is_started_by_its_socket() {
    systemctl stop astromesh
    systemctl start astromesh.socket
    same "$(property ActiveState)" inactive
    answers
    is_active
    systemctl stop astromesh.socket astromesh
}

keeps_edits_state_and_identity_when_upgraded() {
    local pid before
    systemctl start astromesh
    pid=$(property MainPID)
    before=$(sha256sum /etc/astromesh/runtime.yaml)
    upgrade /packages/next.deb
    same "$(sha256sum /etc/astromesh/runtime.yaml)" "$before"
    has "$(cat /etc/astromesh/profiles/full.yaml)" "# New in this version."
    same "$(mode /etc/astromesh/runtime.yaml)" "640 root:astromesh"
    [ -e /etc/astromesh/agents/added.agent.yaml ]
    is_active
    answers
    [ "$(property MainPID)" != "$pid" ]
    same "$(node_id)" "$id"
}

stays_off_when_upgraded_while_off() {
    systemctl disable --now --quiet astromesh
    upgrade --allow-downgrades /packages/first.deb
    same "$(property ActiveState) $(systemctl is-enabled astromesh || true)" "inactive disabled"
    systemctl enable --quiet astromesh
    systemctl start astromesh
}

leaves_configuration_and_state_when_removed() {
    quietly apt-get remove --yes astromesh
    [ ! -e /usr/bin/astromeshd ]
    no_daemon
    [ -e /etc/astromesh/runtime.yaml ]
    [ -e /var/lib/astromesh/identity.json ]
    # And takes them up again.
    quietly apt-get install --yes /packages/first.deb
    systemctl start astromesh
    same "$(node_id)" "$id"
}

leaves_nothing_when_purged() {
    quietly apt-get purge --yes astromesh
    same "$(getent passwd astromesh; getent group astromesh || true)" ""
    same "$(find / -xdev -iname '*astromesh*' -not -path '/var/log/journal/*')" ""
    same "$(find /run -iname '*astromesh*' -not -path '/run/systemd/units/*')" ""
    has "$(dpkg --status astromesh 2>&1 || true)" "is not installed"
}

installs_from_a_tarball() {
    hash -r # This shell remembers the programs where they were.
    tar -C /root -xzf /packages/astromesh-*.tar.gz
    has "$(/root/astromesh-*/install.sh)" "Installed, not started."
    same "$(property ActiveState)" inactive
    systemctl enable --now --quiet astromesh
    answers
    same "$(mode /etc/astromesh/runtime.yaml)" "640 root:astromesh"
    echo '# Edited.' >> /etc/astromesh/runtime.yaml
    has "$(/root/astromesh-*/install.sh)" "kept your /etc/astromesh/runtime.yaml"
    systemctl restart astromesh
    answers
    quietly /root/astromesh-*/install.sh --uninstall
    no_daemon
    [ -e /var/lib/astromesh/identity.json ]
    same "$(find /usr/local /etc/systemd -iname '*astromesh*')" ""
}

for name in \
    installs_without_starting \
    owns_what_it_should \
    ships_a_unit_that_is_sound \
    tells_people_and_shells_what_there_is \
    refuses_a_wrong_configuration_once \
    fails_to_start_while_another_has_the_port \
    is_active_only_when_it_serves \
    tells_its_state \
    writes_fields_to_the_journal \
    takes_variables_from_the_file_that_root_owns \
    reloads_without_harm_to_a_run \
    keeps_what_it_had_when_a_reload_is_wrong \
    stops_when_what_is_in_flight_is_done \
    keeps_its_identity_when_restarted \
    comes_back_after_a_kill \
    is_ended_by_the_watchdog_when_it_hangs \
    is_started_by_its_socket \
    keeps_edits_state_and_identity_when_upgraded \
    stays_off_when_upgraded_while_off \
    leaves_configuration_and_state_when_removed \
    leaves_nothing_when_purged \
    installs_from_a_tarball; do
    step "$name"
done
echo "$passed passed, 0 failed"
