//! Exit codes, and what is said when something is not well.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;

use crate::commands::{RUN, state};
use crate::daemon::{Daemon, Route, run_with};

/// A URL of this host on which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn unreachable_is_3_and_names_the_url_and_the_way_out() {
    let url = nobody();
    for arguments in [
        &["status"][..],
        &["mesh", "status"],
        &["mesh", "nodes"],
        &["mesh", "leave"],
        &["agents", "list"],
        &["run", "echo", "hi"],
    ] {
        let outcome = run_with(&url, arguments, "");
        assert_eq!(outcome.code, 3, "{arguments:?}");
        assert_eq!(outcome.stdout, "");
        for needed in [url.as_str(), "--url", "ASTROMESH_DAEMON_URL", "astromeshd"] {
            assert!(outcome.stderr.contains(needed), "{needed} not in {}", outcome.stderr);
        }
    }
}

#[test]
fn a_variable_without_a_url_matters_only_to_commands_that_ask() {
    let directory = tempfile::tempdir().unwrap();
    let outcome = run_with("localhost:1", &["status"], "");
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    let expected = "ASTROMESH_DAEMON_URL is wrong: a URL starts with http:// or https://";
    assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    let words = ["init", "--output-dir", directory.path().to_str().unwrap()];
    let outcome = run_with("localhost:1", &words, "");
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let outcome = run_with("", &["status", "--timeout", "1"], "");
    assert!(!outcome.stderr.contains("ASTROMESH_DAEMON_URL is wrong"), "{}", outcome.stderr);
}

#[test]
fn unreachable_is_json_on_stderr_with_json() {
    let outcome = run_with(&nobody(), &["status", "--json"], "");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (3, ""));
    let error: Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!(error["code"], "daemon_unreachable");
}

#[test]
fn usage_is_2() {
    let url = nobody();
    let rows: [&[&str]; 7] = [
        &[],
        &["mesh"],
        &["frobnicate"],
        &["status", "--url", "localhost:8000"],
        &["status", "--timeout", "0"],
        &["run"],
        &["run", "echo", "-"],
    ];
    for arguments in rows {
        let outcome = run_with(&url, arguments, "");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!outcome.stderr.is_empty());
    }
}

#[test]
fn help_tells_the_exit_codes() {
    let outcome = run_with(&nobody(), &["--help"], "");
    assert_eq!(outcome.code, 0);
    for needed in ["Exit codes", "ASTROMESH_DAEMON_URL", "http://localhost:8000", "Examples"] {
        assert!(outcome.stdout.contains(needed), "{needed}");
    }
}

#[test]
fn an_error_of_the_daemon_is_1_and_its_detail_is_shown() {
    let error = r#"{"detail":"Agent 'ghost' not found","code":"not_found","request_id":"r1"}"#;
    let daemon = Daemon::start(vec![Route::error("POST /v1/agents/ghost/run", 404, error)]);
    let outcome = daemon.run(&["run", "ghost", "hi"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    assert!(outcome.stderr.contains("Agent 'ghost' not found"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("agents list"), "{}", outcome.stderr);

    let outcome = daemon.run(&["run", "ghost", "hi", "--json"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    let said: Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!(said, serde_json::from_str::<Value>(error).unwrap());
}

#[test]
fn a_mesh_that_is_off_is_1_with_the_key_that_mends_it() {
    let error = r#"{"detail":"Mesh not enabled on this node","code":"x","request_id":"r"}"#;
    let daemon = Daemon::start(vec![Route::error("GET /v1/mesh/state", 503, error)]);
    let outcome = daemon.run(&["mesh", "status"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("spec.mesh.enabled"), "{}", outcome.stderr);
}

#[test]
fn what_is_no_daemon_is_1() {
    let daemon = Daemon::start(vec![
        Route::ok("GET /v1/mesh/state", "<html>welcome</html>"),
        Route::error("GET /v1/system/status", 500, "oops"),
        Route::error("GET /v1/agents", 302, ""),
    ]);
    for arguments in [&["mesh", "nodes"][..], &["status"], &["agents", "list"]] {
        let outcome = daemon.run(arguments);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(outcome.stderr.contains("cannot be understood"), "{}", outcome.stderr);
    }
}

#[test]
fn an_answer_that_is_late_is_1_and_names_the_flag() {
    let late =
        Route { delay: Duration::from_secs(30), ..Route::ok("POST /v1/agents/echo/run", RUN) };
    let daemon = Daemon::start(vec![late]);
    let outcome = daemon.run(&["run", "echo", "hi", "--timeout", "0.3"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("0.3 s"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--timeout"), "{}", outcome.stderr);
}

#[test]
fn a_leave_that_is_not_confirmed_is_1() {
    let daemon = Daemon::start(vec![
        Route::ok("POST /v1/mesh/leave", r#"{"status":"ok"}"#),
        Route::ok("GET /v1/mesh/state", &state("alive")),
    ]);
    let outcome = daemon.run(&["mesh", "leave"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    assert!(outcome.stderr.contains("`alive`"), "{}", outcome.stderr);
}
