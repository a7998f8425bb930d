//! Every case of the PID file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::daemon::{Home, outcome, until};

fn there(home: &Home) -> Option<String> {
    fs::read_to_string(home.pid_file()).ok()
}

#[test]
fn it_holds_the_number_while_the_daemon_runs_and_anyone_may_read_it() {
    let home = Home::new("");
    let mut daemon = home.start();
    let text = until("the file is there", || there(&home));
    assert_eq!(text, format!("{}\n", daemon.pid()));
    let mode = fs::metadata(home.pid_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    daemon.signal("TERM");
    assert_eq!(daemon.end(), Some(0));
    assert_eq!(there(&home), None);
}

#[test]
fn a_second_daemon_says_who_holds_it_and_leaves_everything_alone() {
    let (home, other) = (Home::new(""), Home::new(""));
    let daemon = home.start();
    let text = until("the file is there", || there(&home));

    let mut second = other.bare_command();
    second.args(["--port", "0", "--pid-file"]).arg(home.pid_file());
    let (code, errors) = outcome(&mut second);

    assert_eq!(code, Some(75), "{errors}");
    assert!(errors.contains(&format!("is held by process {} (", daemon.pid())), "{errors}");
    assert!(!errors.contains("serving"), "it began to serve: {errors}");
    assert_eq!(there(&home), Some(text));
    assert!(crate::daemon::get(daemon.http(), "/v1/health").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_stale_file_is_said_and_replaced_whoever_has_its_number_by_now() {
    let rows = [
        (
            "a process that is gone",
            "2147483646\n".to_owned(),
            "of process 2147483646, which is gone",
        ),
        ("another program", format!("{}\n", std::process::id()), "its number is that of process"),
        ("nothing", String::new(), "without a number"),
    ];
    for (name, text, expected) in rows {
        let home = Home::new("");
        fs::write(home.pid_file(), text).unwrap();
        let daemon = home.start();
        daemon.says(expected);
        let own = format!("{}\n", daemon.pid());
        until(name, || there(&home).filter(|text| *text == own));
    }
}

#[test]
fn a_file_that_no_daemon_has_written_is_left_alone() {
    let home = Home::new("");
    fs::write(home.pid_file(), "a letter\n").unwrap();
    let (code, errors) = outcome(&mut home.command());
    assert_eq!(code, Some(73), "{errors}");
    assert!(errors.contains("it holds something that is no process id; remove it"), "{errors}");
    assert_eq!(there(&home).as_deref(), Some("a letter\n"));
}

#[test]
fn what_a_killed_daemon_leaves_does_not_hinder_the_next() {
    let home = Home::new("mesh: {enabled: true}");
    let mut daemon = home.start();
    let first = until("the file is there", || there(&home));
    daemon.kill();
    assert_eq!(there(&home), Some(first.clone()), "nobody removed it");

    let mut next = home.start();
    until("it is replaced", || there(&home).filter(|text| *text != first));
    next.signal("TERM");
    assert_eq!(next.end(), Some(0));
    assert_eq!(there(&home), None);
}

#[test]
fn a_place_that_was_set_and_cannot_be_written_is_an_error() {
    let home = Home::new("pid_file: runtime.yaml/pid");
    let (code, errors) = outcome(home.bare_command().args(["--port", "0"]));
    assert_eq!(code, Some(73), "{errors}");
    assert!(errors.contains("runtime.yaml/pid") && errors.contains("--pid-file"), "{errors}");
    assert!(!errors.contains("serving"), "{errors}");
}

#[test]
fn an_ordinary_user_gets_a_file_of_their_own_and_further_daemons_go_without() {
    let (home, other) = (Home::new(""), Home::new(""));
    let start = |of: &Home| {
        let mut command = of.bare_command();
        command.args(["--port", "0"]).env("XDG_RUNTIME_DIR", home.path());
        of.as_ordinary_user(&mut command);
        of.spawn(&mut command)
    };
    let own = home.path().join("astromesh/astromeshd.pid");

    let mut first = start(&home);
    let text = until("the file of the user", || fs::read_to_string(&own).ok());
    assert_eq!(text, format!("{}\n", first.pid()));
    first.says("/var/run/astromesh/astromeshd.pid");

    let second = start(&other);
    second.says("serving");
    second.says(&format!("no PID file: the PID file {} is held by process", own.display()));
    assert_eq!(fs::read_to_string(&own).unwrap(), text);

    first.signal("TERM");
    assert_eq!(first.end(), Some(0));
    assert!(!own.exists());

    let mut command = home.bare_command();
    home.as_ordinary_user(command.args(["--port", "0"]));
    let without = home.spawn(&mut command);
    without.says("XDG_RUNTIME_DIR is not set");
    without.says("serving");
}
