//! The configuration without a daemon: wrong files and what is said of them, `--check`, `config` and
//! `validate`, with the real programs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::Outcome;

pub(crate) const DAEMON: &str = env!("CARGO_BIN_EXE_astromeshd");
pub(crate) const CONTROL: &str = env!("CARGO_BIN_EXE_astromeshctl");

/// Longer than any of these takes; what waits for ever is ended then.
const WAIT_MAX: Duration = Duration::from_secs(30);

pub(crate) fn command(program: &str, arguments: &[&str], directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(crate) fn end(mut child: Child) -> Outcome {
    let deadline = Instant::now() + WAIT_MAX;
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Nothing happens to one that has ended.
    child.kill().unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Outcome {
        code: status.code().expect("it ended by itself"),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

pub(crate) fn run(program: &str, arguments: &[&str], directory: &Path) -> Outcome {
    end(command(program, arguments, directory).spawn().unwrap())
}

/// A working directory with these files in `config/`.
pub(crate) fn working_directory(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("config");
    fs::create_dir(&config).unwrap();
    for (name, text) in files {
        let path = config.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

/// Everything below a directory.
pub(crate) fn tree(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            let mut found = if path.is_dir() { tree(&path) } else { BTreeSet::new() };
            found.insert(path);
            found
        })
        .collect()
}

const AGENT: &str =
    "kind: Agent\nmetadata: {name: a}\nspec: {model: {primary: {provider: echo}}}\n";

/// What is made of the path of `runtime.yaml`, and what is said of it.
type Row = (&'static str, fn(&Path), &'static str);

/// What is there, but is no file with text.
const NO_TEXT: &[Row] = &[
    ("directory", |file| fs::create_dir(file).unwrap(), "runtime.yaml: is a directory"),
    (
        "pipe",
        |file| assert!(Command::new("mkfifo").arg(file).status().unwrap().success()),
        "runtime.yaml: is no regular file",
    ),
    (
        "link to nothing",
        |file| symlink("/nowhere/at/all", file).unwrap(),
        "it is a link to nothing: mend or remove it",
    ),
    (
        "link to itself",
        |file| symlink(file.file_name().unwrap(), file).unwrap(),
        "runtime.yaml: cannot be read: Too many levels of symbolic links",
    ),
    ("not UTF-8", |file| fs::write(file, b"spec: \xff").unwrap(), "save the file as UTF-8"),
];

/// Text that is wrong as a whole.
const WRONG_TEXT: &[Row] = &[
    (
        "tabs",
        |file| fs::write(file, "spec:\n  api:\n\tport: 1\n").unwrap(),
        "runtime.yaml:3: cannot be read as YAML: tabs disallowed",
    ),
    (
        "duplicate keys",
        |file| fs::write(file, "spec:\n  api: {}\n  api: {}\n").unwrap(),
        "runtime.yaml:3: cannot be read as YAML: key `api` is given twice, first in line 2",
    ),
    (
        "deep nesting",
        |file| fs::write(file, format!("spec: {}", "[".repeat(100))).unwrap(),
        "runtime.yaml:1: cannot be read as YAML: nested more than 64 levels deep",
    ),
    (
        "very deep nesting",
        |file| fs::write(file, format!("spec: {}", "[".repeat(100_000))).unwrap(),
        "runtime.yaml:1: cannot be read as YAML: recursion limit exceeded",
    ),
    (
        "aliases of aliases",
        |file| {
            let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
                let below = level - 1;
                format!("{text}a{level}: &a{level} [*a{below}, *a{below}, *a{below}]\n")
            });
            fs::write(file, bomb).unwrap();
        },
        "cannot be read as YAML: more than 131072 values",
    ),
    (
        "two MiB",
        |file| fs::write(file, "# comment\n".repeat(210_000)).unwrap(),
        "runtime.yaml: cannot be read as YAML: the text is longer than 1048576 bytes",
    ),
    (
        "no mapping",
        |file| fs::write(file, "just text\n").unwrap(),
        "runtime.yaml:1: must be a mapping",
    ),
    (
        "two documents",
        |file| fs::write(file, "spec: {}\n---\nspec: {}\n").unwrap(),
        "cannot be read as YAML",
    ),
    (
        "control characters",
        |file| fs::write(file, "spec: {}\n\0\n").unwrap(),
        "runtime.yaml:2: cannot be read as YAML",
    ),
];

#[test]
fn each_bad_input_has_one_clear_message_and_code_64() {
    for (name, prepare, expected) in NO_TEXT.iter().chain(WRONG_TEXT) {
        let root = working_directory(&[]);
        prepare(&root.path().join("config/runtime.yaml"));
        for arguments in [&[][..], &["--check"]] {
            let before = tree(root.path());
            let outcome = run(DAEMON, arguments, root.path());
            assert_eq!((outcome.code, outcome.stdout.as_str()), (64, ""), "{name} {arguments:?}");
            assert!(outcome.stderr.contains(expected), "{name} {arguments:?}: {}", outcome.stderr);
            assert!(outcome.stderr.lines().count() <= 3, "{name}: {}", outcome.stderr);
            assert_eq!(tree(root.path()), before, "{name}");
        }
    }
}

#[test]
fn a_file_that_may_not_be_read_is_said_so() {
    let root = working_directory(&[("runtime.yaml", "")]);
    let file = root.path().join("config/runtime.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&file).is_ok() {
        // The superuser may read everything; then there is nothing to refuse.
        return;
    }
    let outcome = run(DAEMON, &["--check"], root.path());
    assert_eq!(outcome.code, 64);
    assert!(outcome.stderr.contains("let the user of the daemon read it"), "{}", outcome.stderr);
}

#[test]
fn what_is_odd_but_sound_is_taken() {
    for (name, text) in [
        ("empty", ""),
        ("blank", " \n\n"),
        ("comments", "# nothing\n"),
        ("byte order mark", "\u{feff}spec: {api: {port: 9000}}\n"),
        ("lines of Windows", "spec:\r\n  api:\r\n    port: 9000\r\n"),
        ("anchors", "metadata: &m {name: a}\nspec: {api: &a {port: 9000}}\n"),
    ] {
        let root = working_directory(&[("runtime.yaml", text)]);
        let outcome = run(DAEMON, &["--check", "--print-config"], root.path());
        assert_eq!(outcome.code, 0, "{name}: {}", outcome.stderr);
        let port = if text.contains("9000") { "port: 9000 " } else { "port: 8000 " };
        assert!(outcome.stdout.contains(port), "{name}: {}", outcome.stdout);
    }
}

#[test]
fn places_are_looked_at_in_their_order() {
    let root = working_directory(&[("runtime.yaml", "metadata: {name: local}")]);
    let named = root.path().join("named");
    fs::create_dir(&named).unwrap();
    let show = |arguments: &[&str], directory: &Path| {
        let mut command =
            command(DAEMON, &[&["--check", "--print-config"], arguments].concat(), directory);
        end(command.env("ASTROMESH_CONFIG_DIR", &named).spawn().unwrap())
    };
    if Path::new("/etc/astromesh/runtime.yaml").exists() {
        // An installed configuration would come before ours.
        return;
    }
    let outcome = show(&[], root.path());
    assert!(outcome.stdout.contains(r#"{"name":"local"}"#), "{}", outcome.stdout);
    assert!(
        outcome.stderr.contains("which holds no runtime.yaml: ./config is taken"),
        "{}",
        outcome.stderr
    );

    fs::write(named.join("runtime.yaml"), "metadata: {name: named}").unwrap();
    let outcome = show(&[], root.path());
    assert!(outcome.stdout.contains(r#"{"name":"named"}"#), "{}", outcome.stdout);
    let outcome = show(&["--config", "config"], root.path());
    assert!(outcome.stdout.contains(r#"{"name":"local"}"#), "{}", outcome.stdout);

    let empty = tempfile::tempdir().unwrap();
    let outcome = run(DAEMON, &[], empty.path());
    assert_eq!(outcome.code, 64);
    assert!(
        outcome.stderr.starts_with("runtime.yaml: found in none of /etc/astromesh, ./config\n"),
        "{}",
        outcome.stderr
    );
    let file = root.path().join("config/runtime.yaml");
    let outcome = run(DAEMON, &["--config", file.to_str().unwrap()], empty.path());
    assert_eq!(outcome.code, 64);
    assert!(outcome.stderr.contains("is a file, but --config takes a directory"), "{outcome:?}");
}

#[test]
fn a_check_tells_which_files_are_too_many_and_what_is_no_filter() {
    let root = working_directory(&[("runtime.yaml", "")]);
    let config = root.path().join("config");
    for index in 0..=32 {
        let text = format!("spec: {{providers: {{p{index}: {{type: echo}}}}}}");
        fs::write(config.join(format!("providers-{index:02}.yaml")), text).unwrap();
    }
    fs::create_dir(config.join("agents")).unwrap();
    for index in 0..=astromesh::agent::FILES_MAX {
        let text = AGENT.replace("{name: a}", &format!("{{name: a{index}}}"));
        fs::write(config.join(format!("agents/{index:04}.agent.yaml")), text).unwrap();
    }
    let mut command = command(DAEMON, &["--check"], root.path());
    let outcome = end(command.env("ASTROMESH_LOG", "astromesh=loud").spawn().unwrap());
    for expected in [
        "note: ./config/providers-32.yaml: beyond the most files that are read\n",
        "note: ./config/agents/1000.agent.yaml: beyond the most files that are read\n",
        "warning: ASTROMESH_LOG is no filter; write one such as",
    ] {
        assert!(outcome.stderr.contains(expected), "{expected} not in {}", outcome.stderr);
    }
    assert_eq!(outcome.stderr.matches("note: ").count(), 2);
}

#[test]
fn a_check_reads_every_file_and_touches_nothing() {
    let root = working_directory(&[
        ("runtime.yaml", "spec: {api: {port: 9000}}"),
        ("agents/a.agent.yaml", AGENT),
        ("profiles/edge.yaml", "spec: {}"),
    ]);
    let before = tree(root.path());
    let outcome = run(DAEMON, &["--check"], root.path());
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, ""));
    assert_eq!(outcome.stderr, "the configuration in ./config is sound\n");
    assert_eq!(tree(root.path()), before);

    let config = root.path().join("config");
    fs::write(config.join("agents/b.agent.yaml"), AGENT).unwrap();
    fs::write(config.join("providers.yaml"), "kind: Agent\n").unwrap();
    fs::write(config.join("profiles/edge.yaml"), "spec: {api: {prot: 1}}").unwrap();
    let mut command = command(DAEMON, &["--check"], root.path());
    let outcome = end(command.env("ASTROMESH_API_PORT", "x").spawn().unwrap());
    assert_eq!(outcome.code, 64);
    for expected in [
        "ASTROMESH_API_PORT: spec.api.port: must be a whole number (got \"x\")",
        "config/agents/b.agent.yaml:2: metadata.name: is the name of agents/a.agent.yaml too",
        "config/providers.yaml:1: kind: ",
        "config/profiles/edge.yaml:1: spec.api.prot: unknown key (got 1)",
        "\n4 problems in ./config\n",
    ] {
        assert!(outcome.stderr.contains(expected), "{expected}: {}", outcome.stderr);
    }
}

#[test]
fn the_printed_configuration_is_that_of_the_flags_too() {
    let root = working_directory(&[("runtime.yaml", "spec: {api: {port: 9000}}")]);
    let arguments = ["--check", "--print-config", "--port", "9001", "--workers", "auto"];
    let outcome = run(DAEMON, &arguments, root.path());
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let elsewhere = working_directory(&[("runtime.yaml", &outcome.stdout)]);
    let again = run(DAEMON, &["--check", "--print-config"], elsewhere.path());
    assert_eq!(again.code, 0, "{}", again.stderr);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  #").next().unwrap().trim_end().to_owned()).collect()
    };
    assert_eq!(values(&outcome.stdout), values(&again.stdout));
    assert!(again.stdout.contains("port: 9001 "), "{}", again.stdout);

    let outcome = run(DAEMON, &["--print-config"], root.path());
    assert_eq!(outcome.code, 2, "it needs --check: {outcome:?}");
}

#[test]
fn validate_is_a_table_for_people_and_json_for_programs() {
    let root = working_directory(&[
        ("runtime.yaml", "spec:\n  api: {port: 0}\n"),
        ("channels.yaml", "channels: {}"),
        ("agents/a.agent.yaml", AGENT),
        ("agents/b.yaml", AGENT),
    ]);
    for words in [&["validate"][..], &["config", "validate"]] {
        let outcome = run(CONTROL, words, root.path());
        assert_eq!((outcome.code, outcome.stderr.as_str()), (64, ""));
        let lines: Vec<_> = outcome.stdout.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{}", outcome.stdout);
        let header: Vec<_> = lines[0].split_whitespace().collect();
        assert_eq!(header, ["File", "Status", "Message"]);
        let row = |name: &str| lines.iter().find(|line| line.starts_with(name)).unwrap();
        assert!(row("runtime.yaml").contains(" wrong "), "{}", outcome.stdout);
        assert!(row("channels.yaml").contains(" not read "), "{}", outcome.stdout);
        assert!(row("agents/a.agent.yaml").ends_with(" ok"), "{}", outcome.stdout);
        assert!(row("agents/b.yaml").contains(" not read "), "{}", outcome.stdout);
        assert_eq!(lines.last(), Some(&"1 problem in ./config."));
    }
    let outcome = run(CONTROL, &["validate", "--json", "--path", "config"], root.path());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (64, ""));
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["valid"], false);
    let problem = &report["files"][0]["problems"][0];
    assert_eq!((&problem["line"], &problem["key"]), (&2.into(), &"spec.api.port".into()));
    assert_eq!(problem["origin"], "config/runtime.yaml:2");

    fs::write(root.path().join("config/runtime.yaml"), "").unwrap();
    let outcome = run(CONTROL, &["validate"], root.path());
    assert_eq!(outcome.code, 0, "{}", outcome.stdout);
    assert!(outcome.stdout.ends_with("\nThe configuration in ./config is sound.\n"));

    let outcome = run(CONTROL, &["validate", "--path", "nowhere"], root.path());
    assert_eq!(outcome.code, 64);
    assert!(outcome.stderr.contains("nowhere: is no directory"), "{}", outcome.stderr);
}

#[test]
fn show_prints_what_the_daemon_prints() {
    let root = working_directory(&[("runtime.yaml", "spec: {api: {port: 9000}}")]);
    let shown = run(CONTROL, &["config", "show"], root.path());
    let printed = run(DAEMON, &["--check", "--print-config"], root.path());
    assert_eq!((shown.code, &shown.stdout), (0, &printed.stdout));
    let json = run(CONTROL, &["config", "show", "--json"], root.path());
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let port = json["keys"].as_array().unwrap().iter().find(|key| key["key"] == "spec.api.port");
    let port = port.unwrap();
    assert_eq!(port["value"], 9000);
    assert_eq!(port["origin"], "./config/runtime.yaml:1");
}
