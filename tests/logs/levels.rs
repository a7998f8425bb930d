//! What is logged, and how that is changed while the daemon runs.

use std::process::Output;

use serde_json::{Value, json};

use crate::node::{Node, Plan};

fn text(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// What a run adds to the console, up to its line of the access log.
fn lines_of_a_run(node: &mut Node) -> String {
    let before = node.console().len();
    node.run_echo();
    let ended = crate::node::wait_for("no line of the run", || {
        let console = node.console();
        console[before..].contains("access: request ended").then_some(console)
    });
    ended[before..].to_owned()
}

#[test]
fn levels_of_modules_are_changed_and_set_back_while_it_runs() {
    let mut node = Plan::new("{levels: {gossip: debug}}").start();
    let (code, shown, _) = text(&node.ctl(&["log-level"]));
    assert_eq!(code, 0);
    assert_eq!(
        shown,
        "Level      info\ngossip     debug\nlibraries  warning\n\
         Filter     astromesh::gossip=debug,astromesh=info,warn\nFormat     text\nFile       none\n"
    );
    let quiet = lines_of_a_run(&mut node);
    assert!(!quiet.contains("DEBUG"), "{quiet}");

    let (code, shown, _) = text(&node.ctl(&["log-level", "proxy=debug", "gossip=", "--json"]));
    assert_eq!(code, 0, "{shown}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["levels"], json!({"libraries": "warning", "proxy": "debug"}));
    let talkative = lines_of_a_run(&mut node);
    assert!(talkative.contains("DEBUG proxy: a node was chosen "), "{talkative}");
    assert!(!talkative.contains("DEBUG api: "), "{talkative}");

    let (code, ..) = text(&node.ctl(&["log-level", "error"]));
    assert_eq!(code, 0);
    let (code, shown, _) = text(&node.ctl(&["log-level", "--reset"]));
    assert_eq!(code, 0);
    assert!(shown.starts_with("Level      info\ngossip     debug\nlibraries"), "{shown}");
    let quiet = lines_of_a_run(&mut node);
    assert!(!quiet.contains("DEBUG"), "{quiet}");
    assert!(node.console().contains("INFO api: what is logged was changed filter="));
}

#[test]
fn what_is_no_level_or_module_is_refused_with_what_is_possible() {
    let mut node = Plan::new("{}").start();
    let (code, _, said) = text(&node.ctl(&["log-level", "loud", "gossp=debug"]));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no such log level: use debug, info, warning or error"), "{said}");
    assert!(said.contains("no such module: use agent, api, "), "{said}");
    let (code, _, said) = text(&node.ctl(&["log-level", "debug", "info"]));
    assert_eq!(code, 2, "{said}");
    let route = "/v1/system/log-level";
    for (body, location) in [
        (r#"{"level": "trace"}"#, json!(["body", "level"])),
        (r#"{"levels": {"gossip": "x"}}"#, json!(["body", "levels", "gossip"])),
        (r#"{"levels": {"x": null}}"#, json!(["body", "levels", "x"])),
        (r#"{"levels": {"gossip": 1}}"#, json!(["body", "levels", "gossip"])),
        (r#"{"lvl": "info"}"#, json!(["body", "lvl"])),
    ] {
        let answer = node.ask("PUT", route, "", body);
        assert!(answer.starts_with("HTTP/1.1 422 "), "{body}: {answer}");
        let error: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(error["code"], "invalid_request", "{error}");
        assert_eq!(error["detail"][0]["loc"], location, "{error}");
    }
    for method in ["PUT", "DELETE"] {
        let answer = node.ask(method, route, "origin: http://page.example\r\n", "{}");
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    let answer = node.ask("GET", route, "", "");
    assert!(answer.ends_with(
        "{\"level\":\"info\",\"levels\":{\"libraries\":\"warning\"},\
         \"filter\":\"astromesh=info,warn\",\"format\":\"text\",\"file\":null}"
    ));
}

#[test]
fn a_filter_in_the_environment_holds_until_levels_are_changed() {
    let filter = "error,astromesh::node=info,astromesh::proxy=debug";
    let mut node = Plan::new("{}").variable("ASTROMESH_LOG", filter).start();
    let lines = lines_of_a_run(&mut node);
    assert!(lines.contains("DEBUG proxy: "), "{lines}");
    let shown = |output: &Output| text(output).1;
    let filter = |shown: &str| {
        shown.lines().find_map(|line| line.strip_prefix("Filter     ")).unwrap().to_owned()
    };
    let expected = "astromesh::proxy=debug,astromesh::node=info,error";
    assert_eq!(filter(&shown(&node.ctl(&["log-level"]))), expected);
    let changed = shown(&node.ctl(&["log-level", "api=debug"]));
    assert_eq!(filter(&changed), "astromesh::api=debug,astromesh=info,warn");
    let reset = shown(&node.ctl(&["log-level", "--reset"]));
    assert_eq!(filter(&reset), expected);

    let node = Plan::new("{}").variable("ASTROMESH_LOG", "astromesh=loud").start();
    node.console_with(" WARN telemetry: ASTROMESH_LOG is no filter");
    node.console_with("serving");
}

#[test]
fn a_reload_brings_what_the_file_says() {
    let mut node = Plan::new("{levels: {api: error}}").start();
    assert!(node.ctl(&["log-level", "warning", "proxy=debug"]).status.success());
    let text = std::fs::read_to_string(node.plan.path("runtime.yaml")).unwrap();
    let text = text.replace("api: error", "agent: debug");
    std::fs::write(node.plan.path("runtime.yaml"), text).unwrap();
    node.signal("HUP");
    crate::node::wait_for("the levels are not those of the file", || {
        let shown = String::from_utf8(node.ctl(&["log-level"]).stdout).unwrap();
        shown
            .starts_with("Level      info\nagent      debug\nlibraries  warning\nFilter")
            .then_some(())
    });
}
