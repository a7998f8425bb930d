//! Starts that fail: what is in the way, said once, with an exit code of its own; and nothing done.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use crate::daemon::{Home, outcome};

/// Starts on a port and fails; returns what it says.
fn fails_on(port: u16, spec: &str) -> String {
    let home = Home::new(spec);
    let mut command = home.bare_command();
    command.args(["--port", &port.to_string(), "--pid-file"]).arg(home.pid_file());
    let (code, errors) = outcome(&mut command);
    assert_eq!(code, Some(69), "{errors}");
    assert!(!home.pid_file().exists(), "{errors}");
    assert!(!home.path().join("data/identity.json").exists(), "a generation was begun: {errors}");
    assert_eq!(errors.matches("ERROR").count(), 1, "{errors}");
    errors
}

#[test]
fn a_port_in_use_is_said_with_its_process() {
    let own = format!("in use by process {} (", std::process::id());
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let errors = fails_on(tcp.local_addr().unwrap().port(), "");
    assert!(errors.contains("TCP 127.0.0.1:") && errors.contains(&own), "{errors}");
    assert!(errors.contains("--port"), "{errors}");

    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let errors = fails_on(udp.local_addr().unwrap().port(), "mesh: {enabled: true}");
    assert!(errors.contains("UDP 127.0.0.1:") && errors.contains(&own), "{errors}");
}

#[test]
fn an_address_of_another_host_is_said() {
    let home = Home::new("");
    // For documentation only: no host has it.
    let (code, errors) = outcome(home.command().args(["--host", "192.0.2.1"]));
    assert_eq!(code, Some(69), "{errors}");
    assert!(errors.contains("192.0.2.1 is no address of this host"), "{errors}");
    assert!(errors.contains("spec.api.host"), "{errors}");
}

#[test]
fn a_data_directory_that_cannot_be_used_is_said_once() {
    let home = Home::new("data_dir: runtime.yaml/data");
    let (code, errors) = outcome(&mut home.command());
    assert_eq!(code, Some(74), "{errors}");
    assert!(errors.contains("runtime.yaml/data") && errors.contains("spec.data_dir"), "{errors}");
    assert_eq!(errors.matches("ERROR").count(), 1, "{errors}");
}

#[test]
fn a_full_disk_is_said_once_and_leaves_no_half_written_file() {
    let home = Home::new("");
    fs::create_dir(home.path().join("data")).unwrap();
    // No file may have a single byte, which is as good as a full disk.
    let script = "ulimit -f 0; trap '' XFSZ; exec \"$0\" \"$@\"";
    let daemon = home.command();
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(daemon.get_program()).args(daemon.get_args());

    let (code, errors) = outcome(&mut command);

    assert_eq!(code, Some(74), "{errors}");
    assert!(errors.contains("identity.json") && errors.contains("room"), "{errors}");
    assert_eq!(errors.matches("ERROR").count(), 1, "{errors}");
    let left: Vec<_> = fs::read_dir(home.path().join("data")).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| entry.file_name() == "lock"), "{left:?}");
    assert!(!home.pid_file().exists());
}

#[test]
fn a_wrong_command_line_and_the_help_are_as_documented() {
    let daemon = || Command::new(env!("CARGO_BIN_EXE_astromeshd"));
    assert_eq!(outcome(daemon().arg("--nonsense")).0, Some(2));
    let help = daemon().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let manual = fs::read_to_string("docs/operations.md").unwrap();
    let codes = help.split("Exit codes:").nth(1).unwrap();
    for line in codes.lines().filter(|line| !line.trim().is_empty()) {
        let code = line.split_whitespace().next().unwrap();
        assert!(manual.contains(&format!("| {code} |")), "docs/operations.md lacks {code}");
    }
}

#[test]
fn it_runs_in_the_foreground_with_or_without_the_flag() {
    let home = Home::new("");
    let mut daemon = home.spawn(home.command().arg("--foreground"));
    daemon.says("serving");
    daemon.signal("INT");
    assert_eq!(daemon.end(), Some(0));
}
