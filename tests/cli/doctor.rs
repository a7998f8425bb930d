//! `doctor`: a report in words, and what is seen where no daemon answers.

use std::net::{TcpListener, UdpSocket};

use serde_json::{Value, json};

use crate::daemon::{Daemon, Route, command, run_with};

const DOCTOR: &str = "GET /v1/system/doctor";

fn sick() -> String {
    json!({"healthy": false, "checks": {
        "runtime": {"status": "ok", "message": "runs", "pid": 7},
        "member:worker-2": {"status": "unreachable", "message": "dead for 8 s", "remedy": "start it again"},
        "clock": {"status": "degraded", "message": "6.0 s behind that of worker-1", "remedy": "set both"},
    }})
    .to_string()
}

#[test]
fn what_is_not_ok_comes_first_with_its_remedy_and_the_exit_code_is_1() {
    let daemon = Daemon::start(vec![Route::ok(DOCTOR, &sick())]);
    let outcome = daemon.run(&["doctor"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (1, ""), "{outcome:?}");
    assert_eq!(
        outcome.stdout,
        "System Unhealthy: 2 of 3 checks are not ok\n\n\
         Check              Status      Message\n\
         member:worker-2    unreachable dead for 8 s\n                   \
         try:        start it again\n\
         clock              degraded    6.0 s behind that of worker-1\n                   \
         try:        set both\n\
         runtime            ok          runs\n"
    );
}

#[test]
fn healthy_is_0_and_json_is_that_of_the_daemon() {
    let well = r#"{"healthy":true,"checks":{"runtime":{"status":"ok","message":"runs","more":1}}}"#;
    let daemon = Daemon::start(vec![Route::ok(DOCTOR, well)]);
    let outcome = daemon.run(&["doctor"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.stdout.starts_with("System Healthy\n"), "{outcome:?}");

    let outcome = daemon.run(&["doctor", "--json"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    let json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(json, serde_json::from_str::<Value>(well).unwrap());

    let daemon = Daemon::start(vec![Route::ok(DOCTOR, &sick())]);
    let outcome = daemon.run(&["doctor", "--json"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (1, ""));
    assert_eq!(serde_json::from_str::<Value>(&outcome.stdout).unwrap()["healthy"], false);
}

/// The report of a run against a URL where no daemon answers.
fn local(url: &str) -> Value {
    let outcome = run_with(url, &["doctor", "--json"], "");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (3, ""), "{outcome:?}");
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["healthy"], false, "{report}");
    assert_eq!(report["checks"]["daemon"]["status"], "unreachable", "{report}");
    report["checks"].clone()
}

fn message(check: &Value) -> &str {
    check["message"].as_str().unwrap()
}

#[test]
fn without_a_daemon_it_looks_at_port_and_processes_and_the_exit_code_is_3() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let checks = local(&url);
    assert_eq!(checks["port"]["status"], "ok", "{checks}");
    assert!(checks["process"].is_object() && checks["configuration"].is_object(), "{checks}");

    let held = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let checks = local(&url);
    assert_eq!(checks["port"]["status"], "error", "{checks}");
    let own = format!("UDP {port} is taken, by process {}", std::process::id());
    assert!(message(&checks["port"]).contains(&own), "{checks}");
    drop(held);

    let outcome = run_with(&url, &["doctor"], "");
    assert_eq!(outcome.code, 3);
    assert!(outcome.stdout.contains("try:") && outcome.stdout.contains(&url), "{outcome:?}");
}

#[test]
fn a_port_that_somebody_else_has_is_told() {
    let page = Daemon::start(vec![Route::ok(DOCTOR, "<html>welcome</html>")]);
    let checks = local(&format!("http://{}", page.address));
    assert_eq!(checks["port"]["status"], "error", "{checks}");
    let own = format!("TCP {} is taken, by process {}", page.address.port(), std::process::id());
    assert!(message(&checks["port"]).contains(&own), "{checks}");
}

#[test]
fn a_configuration_that_is_wrong_or_says_another_port_is_told() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let checks = |text: &str| {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("runtime.yaml"), text).unwrap();
        let output = command(&format!("http://127.0.0.1:{port}"))
            .env("ASTROMESH_CONFIG_DIR", directory.path())
            .args(["doctor", "--json"])
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["checks"]["configuration"].clone()
    };
    let sound = checks(&format!("spec: {{api: {{port: {port}}}}}\n"));
    assert_eq!(sound["status"], "ok", "{sound}");
    let other = checks("spec: {api: {port: 9}}\n");
    assert_eq!(other["status"], "degraded", "{other}");
    assert!(other["remedy"].as_str().unwrap().contains("--url http://localhost:9"), "{other}");
    let wrong = checks("spec:\n  api: {prot: 9}\n");
    assert_eq!(wrong["status"], "error", "{wrong}");
    assert!(message(&wrong).contains("runtime.yaml:2: spec.api.prot"), "{wrong}");
}
