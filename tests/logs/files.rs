//! The log file, and what becomes of lines that a stream does not take.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use crate::node::{Node, Plan, address_in, objects, wait_for, with_message};

/// Requests of which each makes a line of some 3,000 bytes.
fn long_requests(node: &mut Node, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let answer = node.ask("GET", &format!("/{number}/{}", "x".repeat(2_700)), "", "");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
}

/// The numbers of such requests in a file.
fn numbers(text: &str) -> BTreeSet<usize> {
    let objects = objects(text);
    let paths = with_message(&objects, "request ended").map(|object| &object["http.path"]);
    paths.filter_map(|path| path.as_str()?.split('/').nth(1)?.parse().ok()).collect()
}

#[test]
fn a_full_file_is_turned_over_and_only_so_many_are_kept() {
    let file = "{enabled: true, directory: log, format: json, bytes_max: 65536, files_max: 3}";
    let mut node = Plan::new(&format!("{{file: {file}}}")).start();
    long_requests(&mut node, 0..100);
    assert!(node.stop().success());

    let names = ["astromeshd.log", "astromeshd.log.1", "astromeshd.log.2"];
    let files = names.map(|name| node.log_file(name).unwrap());
    assert!(files.iter().all(|text| text.len() <= 65_536));
    assert_eq!(node.log_file("astromeshd.log.3"), None);
    let kept: Vec<BTreeSet<usize>> = files.iter().map(|text| numbers(text)).collect();
    let all: Vec<usize> = kept.iter().rev().flatten().copied().collect();
    let expected: Vec<usize> = (100 - all.len()..100).collect();
    assert_eq!(all, expected, "the youngest, none twice and none lost");
    assert!(all.len() > 45, "{}", all.len());
    let console = node.console();
    let ended = console.lines().filter(|line| line.contains("request ended")).count();
    assert_eq!(ended, 100, "the console has them all");
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew() {
    let mut node = Plan::new("{file: {enabled: true, directory: log, format: json}}").start();
    long_requests(&mut node, 0..2);
    let log = node.plan.path("log");
    let has = |name: &str, number: usize| {
        fs::read_to_string(log.join(name)).is_ok_and(|text| numbers(&text).contains(&number))
    };
    wait_for("the first lines", || has("astromeshd.log", 1).then_some(()));
    fs::rename(log.join("astromeshd.log"), log.join("moved")).unwrap();
    long_requests(&mut node, 2..4);
    wait_for("lines in a new file", || has("astromeshd.log", 3).then_some(()));
    assert_eq!(numbers(&node.log_file("moved").unwrap()), [0, 1].into());
    fs::remove_dir_all(&log).unwrap();
    long_requests(&mut node, 4..6);
    wait_for("lines in a new directory", || has("astromeshd.log", 5).then_some(()));
    assert!(node.stop().success());
    assert_eq!(numbers(&node.log_file("astromeshd.log").unwrap()), [4, 5].into());
}

#[test]
fn a_daemon_that_cannot_write_its_file_does_not_start() {
    let plan = Plan::new("{file: {enabled: true, directory: in_the_way/log}}");
    fs::write(plan.path("in_the_way"), "").unwrap();
    let output = plan.refused();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(73), "{said}");
    let path = plan.path("in_the_way/log/astromeshd.log");
    let expected = format!("cannot write the log file {}: Not a directory", path.display());
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains("spec.log.file.directory"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");

    let node = Plan::new("{file: {enabled: true, directory: log}}").start();
    node.console_with("serving");
    let log = node.plan.path("log").display().to_string();
    let second =
        Plan::new("{file: {enabled: true}}").variable("ASTROMESH_LOG_FILE_DIRECTORY", &log);
    let output = second.refused();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(75), "{said}");
    let path = node.plan.path("log/astromeshd.log");
    let expected = format!("the log file {} is written by process ", path.display());
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn a_full_disk_loses_lines_and_nothing_else() {
    let mut plan = Plan::new("{file: {enabled: true, directory: log, format: json}}");
    let log = plan.path("log");
    fs::create_dir(&log).unwrap();
    if !plan.with_mounts(&format!("mount -t tmpfs -o size=64k t {}", log.display())) {
        return;
    }
    let mut node = plan.start();
    long_requests(&mut node, 0..60);
    let said = node.console_with(" ERROR telemetry: the log file cannot be written");
    assert!(said.contains("error=\"No space left on device"), "{said}");
    let dropped = "astromesh_log_lines_total{stream=\"file\",fate=\"dropped\"}";
    wait_for("too few are dropped", || (node.metric(dropped) > 20).then_some(()));
    long_requests(&mut node, 60..70);
    let console = "astromesh_log_lines_total{stream=\"console\",fate=\"dropped\"}";
    assert_eq!(node.metric(console), 0);

    // Whoever makes room sees the file as the daemon does.
    let inside = format!("/proc/{}/root{}", node.child.id(), log.join("astromeshd.log").display());
    assert!(!numbers(&fs::read_to_string(&inside).unwrap()).contains(&69));
    let said = wait_for("it is not said that lines are written again", || {
        fs::remove_file(&inside).ok();
        long_requests(&mut node, 70..71);
        let again = " WARN telemetry: the log file is written again";
        node.console().lines().find(|line| line.contains(again)).map(str::to_owned)
    });
    long_requests(&mut node, 71..72);
    wait_for("lines again", || {
        fs::read_to_string(&inside).is_ok_and(|text| numbers(&text).contains(&71)).then_some(())
    });
    let lost: u64 = said.rsplit('=').next().unwrap().parse().unwrap();
    assert_eq!(lost, node.metric(dropped), "it counts right");
    let errors = node.console().lines().filter(|line| line.contains("ERROR")).count();
    assert_eq!(errors, 1, "it is said once");
    assert!(node.stop().success());
}

#[test]
fn a_console_that_nobody_reads_holds_nothing_up() {
    let plan = Plan::new("{file: {enabled: true, directory: log}}");
    fs::write(plan.console(), "").unwrap();
    let mut child = plan.command().stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("serving") {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    let mut node = Node::of(plan, child);
    node.listens_at(address_in(&line));

    // More than the pipe and both buffers hold.
    let mut stream = BufReader::new(TcpStream::connect(node.address()).unwrap());
    let request = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(5_000));
    for _ in 0..2_500 {
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut head, mut length) = (String::new(), 0);
        while head != "\r\n" {
            head.clear();
            stream.read_line(&mut head).unwrap();
            let given = head.to_ascii_lowercase();
            length = given
                .strip_prefix("content-length: ")
                .map_or(length, |number| number.trim().parse().unwrap());
        }
        stream.read_exact(&mut vec![0; length]).unwrap();
    }
    let dropped =
        |stream| format!("astromesh_log_lines_total{{stream=\"{stream}\",fate=\"dropped\"}}");
    assert!(node.metric(&dropped("console")) > 0);
    assert_eq!(node.metric(&dropped("file")), 0, "each stream has a writer of its own");
    assert!(node.stop().success());
}
