//! What the commands print when all is well.

use serde_json::{Value, json};

use crate::daemon::{Daemon, Outcome, Route, command};

fn node(id: u8, name: &str, status: &str) -> Value {
    json!({
        "node_id": format!("00000000-0000-4000-8000-0000000000{id:02}"),
        "name": name,
        "url": format!("http://127.0.0.1:80{id:02}"),
        "services": ["api", "agents", "memory", "tools", "rag", "observability"],
        "agents": ["echo"],
        "load": {"cpu_percent": 12.4, "memory_percent": 40.0, "active_requests": id},
        "leader": id == 3,
        "joined_at": 1_763_762_256.123_456_7,
        "last_heartbeat": 1_763_762_260.0,
        "status": status,
    })
}

pub(crate) fn state(this_status: &str) -> String {
    json!({
        "nodes": [
            node(1, "gateway", this_status),
            node(2, "worker-1", "suspect"),
            node(3, "worker-2", "alive"),
            node(4, "inference", "dead"),
        ],
        "leader_id": "00000000-0000-4000-8000-000000000003",
        "version": 17,
        "this_node": "00000000-0000-4000-8000-000000000001",
    })
    .to_string()
}

fn assert_plain(outcome: &Outcome) {
    assert_eq!(outcome.code, 0, "{outcome:?}");
    for line in outcome.stdout.lines().chain(outcome.stderr.lines()) {
        assert!(line.chars().count() <= 80, "wider than 80: {line}");
        assert!(!line.contains('\x1b'), "escape code: {line:?}");
        assert_eq!(line.trim_end(), line, "blanks at the end");
    }
}

#[test]
fn mesh_status_counts_members_by_state_and_names_the_leader() {
    let daemon = Daemon::start(vec![Route::ok("GET /v1/mesh/state", &state("alive"))]);
    let outcome = daemon.run(&["mesh", "status"]);
    assert_plain(&outcome);
    assert_eq!(
        outcome.stdout,
        "Mesh Cluster\n  Nodes:   4\n  Leader:  worker-2\n  Version: 17\n  \
         Alive: 2  Suspect: 1  Dead: 1  Left: 0\n"
    );
}

#[test]
fn mesh_nodes_is_a_table_ordered_by_name() {
    let daemon = Daemon::start(vec![Route::ok("GET /v1/mesh/state", &state("alive"))]);
    let outcome = daemon.run(&["mesh", "nodes"]);
    assert_plain(&outcome);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let header: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(header, ["Name", "URL", "Services", "Agents", "Load", "Status", "Leader"]);
    let names: Vec<&str> = lines
        .iter()
        .filter(|line| line.contains("http://127.0.0.1:80"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names, ["gateway", "inference", "worker-1", "worker-2"]);
    let leader = lines.iter().find(|line| line.starts_with("worker-2")).unwrap();
    assert!(leader.contains(" alive ") && leader.ends_with(" YES"), "{leader:?}");
    assert!(outcome.stdout.contains("CPU:12%") && outcome.stdout.contains("Req:3"));
}

#[test]
fn agents_show_takes_from_the_file_what_the_list_does_not_say() {
    let list = json!({"agents": [{"name": "echo", "version": "", "namespace": "",
        "status": "deployed", "nodes": ["worker"]}]});
    let file = json!({"metadata": {"name": "echo", "version": "1.2.3", "namespace": "edge"}});
    let daemon = Daemon::start(vec![
        Route::ok("GET /v1/agents", &list.to_string()),
        Route::ok("GET /v1/agents/echo", &file.to_string()),
    ]);
    let outcome = daemon.run(&["agents", "show", "echo"]);
    assert_plain(&outcome);
    let expected = "Name       echo\nVersion    1.2.3\nNamespace  edge\n";
    assert!(outcome.stdout.starts_with(expected), "{}", outcome.stdout);
}

#[test]
fn agents_list_shows_nodes_and_the_errors_of_drafts() {
    let body = json!({"agents": [
        {"name": "echo", "version": "0.1.0", "namespace": "default", "status": "deployed",
         "nodes": ["worker-1", "worker-2"]},
        {"name": "broken", "version": "0.2.0", "namespace": "default", "status": "draft",
         "error": "line 7: unknown key `modle`"},
    ]});
    let daemon = Daemon::start(vec![Route::ok("GET /v1/agents", &body.to_string())]);
    let outcome = daemon.run(&["agents", "list"]);
    assert_plain(&outcome);
    assert!(outcome.stdout.contains("worker-1, worker-2"), "{}", outcome.stdout);
    assert!(outcome.stdout.ends_with("\nbroken: line 7: unknown key `modle`\n"));
}

#[test]
fn no_agents_is_said_in_words() {
    let daemon = Daemon::start(vec![Route::ok("GET /v1/agents", r#"{"agents":[]}"#)]);
    assert_eq!(daemon.run(&["agents", "list"]).stdout, "No agents loaded.\n");
}

#[test]
fn status_shows_the_daemon_and_its_mesh() {
    let mut body = json!({
        "version": "0.1.0", "uptime_seconds": 7500.5, "mode": "dev", "agents_loaded": 2,
        "pid": 4242, "services": {"api": true}, "peers": [],
        "mesh": {"enabled": true, "node_id": "x", "node_name": "gateway", "leader": null,
                 "cluster_size": 4, "status": "alive"},
    });
    let daemon = Daemon::start(vec![Route::ok("GET /v1/system/status", &body.to_string())]);
    let outcome = daemon.run(&["status"]);
    assert_plain(&outcome);
    let expected = "\
Version        0.1.0
PID            4242
Mode           dev
Uptime         2h 5m
Agents Loaded  2
Mesh           alive as gateway, 4 members
";
    assert_eq!(outcome.stdout, expected);

    body["mesh"] = Value::Null;
    let daemon = Daemon::start(vec![Route::ok("GET /v1/system/status", &body.to_string())]);
    assert!(daemon.run(&["status"]).stdout.ends_with("Mesh           off\n"));
}

pub(crate) const RUN: &str = r#"{"answer":"echo: hi","steps":[],"usage":{"tokens_in":10,
    "tokens_out":3,"model":"m","by_model":[{"provider":"openai_compat","model":"m",
    "role":"default","calls":1,"tokens_in":10,"tokens_out":3,"cost":0.0}]},
    "trace":{"trace_id":"0123456789abcdef0123456789abcdef","agent":"echo",
    "session_id":"default","is_sampled":true,"spans":[]},"data":null,"chain":null}"#;

#[test]
fn run_prints_the_answer_alone_on_stdout() {
    let daemon = Daemon::start(vec![Route::ok("POST /v1/agents/echo/run", RUN)]);
    let outcome = daemon.run(&["run", "echo", "hi", "--session", "s1"]);
    assert_plain(&outcome);
    assert_eq!(outcome.stdout, "echo: hi\n");
    let first = "trace: 0123456789abcdef0123456789abcdef | tokens: 13 | node: worker-1\n";
    assert!(outcome.stderr.starts_with(first), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("openai_compat"));
    let (_, body) = daemon.seen().remove(0);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, json!({"query": "hi", "session_id": "s1", "context": null}));
}

#[test]
fn run_sends_the_variables_of_the_prompt_from_text_or_file() {
    let daemon = Daemon::start(vec![Route::ok("POST /v1/agents/echo/run", RUN)]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("context.json");
    std::fs::write(&file, r#"{"user": "Ada"}"#).unwrap();
    for context in [r#" {"user": "Ada"}"#, file.to_str().unwrap()] {
        assert_eq!(daemon.run(&["run", "echo", "hi", "--context", context]).code, 0);
        let body: Value = serde_json::from_str(&daemon.seen().pop().unwrap().1).unwrap();
        assert_eq!(body["context"], json!({"user": "Ada"}));
    }
    for wrong in ["[1]", "{", "/nowhere", ""] {
        let outcome = daemon.run(&["run", "echo", "hi", "--context", wrong]);
        assert_eq!(outcome.code, 2, "{outcome:?}");
    }
    assert_eq!(daemon.seen().len(), 2);
}

#[test]
fn run_reads_the_query_from_stdin() {
    for arguments in [&["run", "echo"][..], &["run", "echo", "-"]] {
        let daemon = Daemon::start(vec![Route::ok("POST /v1/agents/echo/run", RUN)]);
        let outcome = daemon.run_with_stdin(arguments, "two\nlines\n");
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let body: Value = serde_json::from_str(&daemon.seen()[0].1).unwrap();
        assert_eq!(body["query"], "two\nlines\n");
    }
}

#[test]
fn json_passes_what_the_daemon_said() {
    let state = state("alive");
    let daemon = Daemon::start(vec![
        Route::ok("GET /v1/mesh/state", &state),
        Route::ok("GET /v1/agents", r#"{"agents":[],"new_field":1.00}"#),
        Route::ok("POST /v1/agents/echo/run", RUN),
        Route::ok("GET /v1/system/status", r#"{"version":"9","odd":[]}"#),
    ]);
    let rows: [(&[&str], &str); 5] = [
        (&["mesh", "nodes", "--json"], &state),
        (&["--json", "mesh", "status"], &state),
        (&["agents", "list", "--json"], r#"{"agents":[],"new_field":1.00}"#),
        (&["run", "echo", "hi", "--json"], RUN),
        (&["status", "--json"], r#"{"version":"9","odd":[]}"#),
    ];
    for (arguments, sent) in rows {
        let outcome = daemon.run(arguments);
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let dense = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(dense(&outcome.stdout), dense(sent), "{arguments:?}");
        assert!(outcome.stdout.lines().count() > 1, "not laid out: {arguments:?}");
        assert_eq!(outcome.stderr, "", "{arguments:?}");
    }
}

#[test]
fn leave_is_claimed_only_when_the_node_says_so() {
    let mut slow = Route::ok("GET /v1/mesh/state", &state("alive"));
    slow.bodies.push(state("left"));
    let daemon = Daemon::start(vec![Route::ok("POST /v1/mesh/leave", r#"{"status":"ok"}"#), slow]);
    let outcome = daemon.run(&["mesh", "leave"]);
    assert_plain(&outcome);
    assert!(outcome.stdout.starts_with("Left the mesh: gateway\n"), "{}", outcome.stdout);
    let seen = daemon.seen();
    assert_eq!(seen[0], ("POST /v1/mesh/leave".into(), r#"{"node_id":"self"}"#.into()));
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn slashes_at_the_end_of_the_url_do_no_harm() {
    let daemon = Daemon::start(vec![Route::ok("GET /v1/agents", r#"{"agents":[]}"#)]);
    let url = format!("http://{}//", daemon.address);
    assert_eq!(daemon.run(&["--url", &url, "agents", "list"]).code, 0);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let many: Vec<Value> = (0..5000).map(|_| node(1, "gateway", "alive")).collect();
    let body = json!({"nodes": many, "leader_id": null, "version": 1}).to_string();
    let daemon = Daemon::start(vec![Route::ok("GET /v1/mesh/state", &body)]);
    let mut child = command(&format!("http://{}", daemon.address))
        .args(["mesh", "nodes", "--json"])
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
