//! What lines look like: for people, on a terminal, for programs, and in the journal.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use crate::node::{
    Journal, Node, Plan, address_in, journal_stream, mount_journal, objects, start_in, wait_for,
    with_message,
};

#[test]
fn text_is_a_line_an_event_without_colours_where_no_terminal_is() {
    let mut node = Plan::new("{}").start();
    node.run_echo();
    assert!(node.stop().success());
    let console = node.console();
    for line in console.lines() {
        let (time, rest) = line.split_at(27);
        assert!(time.starts_with("20") && time.ends_with('Z') && &time[10..11] == "T", "{line}");
        let level = &rest[1..6];
        assert!([" INFO", " WARN", "ERROR"].contains(&level), "{line}");
        let module = rest[7..].split(": ").next().unwrap();
        assert!(module.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}");
    }
    assert!(!console.contains('\x1b'), "{console}");
    assert!(console.ends_with("  INFO node: stopped\n"), "{console}");
    let access = console.lines().find(|line| line.contains(" access: request ended ")).unwrap();
    assert!(access.contains(" http.status=200 request.id="), "{access}");
    assert!(access.contains(" agent=echo node="), "{access}");
}

#[test]
fn json_is_an_object_a_line_with_its_fields_beside_the_message() {
    let mut node = Plan::new("{}").variable("ASTROMESH_LOG_FORMAT", "json").start();
    node.run_echo();
    assert!(node.stop().success());
    let objects = objects(&node.console());
    for object in &objects {
        let ts = object["ts"].as_str().unwrap();
        assert_eq!((ts.len(), &ts[26..]), (27, "Z"), "{object}");
        for key in ["level", "target", "message"] {
            assert!(object[key].is_string(), "{object}");
        }
    }
    let serving = with_message(&objects, "serving").next().unwrap();
    assert_eq!(serving["target"], "astromesh::node::parts");
    assert_eq!(serving["level"], "info");
    let access = with_message(&objects, "request ended").next().unwrap();
    assert_eq!((&access["target"], &access["http.method"]), (&"access".into(), &"POST".into()));
    assert_eq!(access["http.path"], "/v1/agents/echo/run");
    assert_eq!(access["http.status"], 200);
    assert_eq!((&access["agent"], &access["tried"]), (&"echo".into(), &1.into()));
    assert!(access["duration_ms"].as_f64().unwrap() > 0.0, "{access}");
    assert!(access["bytes_out"].as_u64().unwrap() > 100, "{access}");
}

/// What a daemon writes to a terminal between its start and its end.
fn on_a_terminal(variables: &[(&str, &str)]) -> String {
    let plan =
        variables.iter().fold(Plan::new("{}"), |plan, (name, value)| plan.variable(name, value));
    let daemon = plan.command();
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
    let words: Vec<_> = [daemon.get_program()].into_iter().chain(daemon.get_args()).collect();
    let words: Vec<_> = words.into_iter().map(quoted).collect();
    let script = format!("{} & echo $! > {}; wait", words.join(" "), plan.path("pid").display());
    let console = File::create(plan.console()).unwrap();
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &script, "/dev/null"]).env_clear();
    terminal.env("PATH", std::env::var_os("PATH").unwrap()).env("TERM", "xterm");
    terminal.envs(plan.variables.iter().cloned());
    let child = terminal.stdin(Stdio::null()).stdout(console).spawn().unwrap();
    let (console, pid) = (plan.console(), plan.path("pid"));
    let mut node = Node::of(plan, child);
    node.console_with("serving");
    let pid =
        wait_for("no pid", || fs::read_to_string(&pid).ok().filter(|pid| pid.ends_with('\n')));
    assert!(Command::new("kill").args(["-TERM", pid.trim()]).status().unwrap().success());
    wait_for("it does not end", || node.child.try_wait().unwrap());
    fs::read_to_string(console).unwrap()
}

#[test]
fn a_terminal_has_colours_unless_nobody_wants_them() {
    let text = on_a_terminal(&[]);
    assert!(text.contains("Z\x1b[0m \x1b[32m INFO\x1b[0m node: serving http=127.0.0.1:"), "{text}");
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb"), ("ASTROMESH_LOG_FORMAT", "json")] {
        let text = on_a_terminal(&[variable]);
        assert!(!text.contains('\x1b'), "{variable:?}: {text}");
    }
}

#[test]
fn a_console_that_is_the_journal_gets_fields() {
    let mut plan = Plan::new("{}");
    let directory = plan.path("journal");
    let mut journal = Journal::at(&directory);
    if !plan.with_mounts(&mount_journal(&directory)) {
        return;
    }
    let (mut node, serving) = start_in(&mut journal, plan);
    let address = serving.iter().find_map(|line| line.strip_prefix("ASTROMESH_HTTP="));
    for line in [
        &*format!("MESSAGE=node: serving http={}", address.unwrap()),
        "PRIORITY=6",
        "SYSLOG_IDENTIFIER=astromeshd",
        "ASTROMESH_TARGET=astromesh::node::parts",
        "CODE_FILE=src/node/parts.rs",
    ] {
        assert!(serving.iter().any(|other| other == line), "no {line} in {serving:?}");
    }
    node.run_echo();
    let access = journal.entry_with("access: request ended");
    for line in ["ASTROMESH_HTTP_STATUS=200", "ASTROMESH_AGENT=echo", "ASTROMESH_TRIED=1"] {
        assert!(access.iter().any(|other| other == line), "no {line} in {access:?}");
    }
    assert!(access.iter().any(|line| line.starts_with("ASTROMESH_REQUEST_ID=")), "{access:?}");
    assert!(node.stop().success());
    journal.entry_with("node: stopped");
    assert_eq!(node.console(), "", "nothing is told twice");
}

#[test]
fn a_variable_that_means_another_stream_makes_no_journal() {
    let plan = Plan::new("{}");
    File::create(plan.path("other")).unwrap();
    let stream = journal_stream(&plan.path("other"));
    let node = plan.variable("JOURNAL_STREAM", &stream).start();
    address_in(&node.console_with(" INFO node: serving "));
}

#[test]
fn a_journal_that_is_not_there_is_said_when_it_was_asked_for_and_else_replaced() {
    let mut plan = Plan::new("{format: journald}");
    if !plan.with_mounts("mount -t tmpfs t /run") {
        return;
    }
    let output = plan.refused();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(
        said,
        "cannot reach journald at /run/systemd/journal/socket: No such file or directory (os error \
         2); set spec.log.format to text or json\n"
    );

    let mut plan = Plan::new("{}");
    assert!(plan.with_mounts("mount -t tmpfs t /run"));
    File::create(plan.console()).unwrap();
    let stream = journal_stream(&plan.console());
    let node = plan.variable("JOURNAL_STREAM", &stream).start();
    node.console_with(" INFO node: serving ");
}
