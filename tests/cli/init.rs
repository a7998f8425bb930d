//! `init` and `new`: what they write is what a daemon reads, and nothing else is touched.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use nix::pty::openpty;
use serde_json::Value;

use crate::configuration::{CONTROL, DAEMON, command, end, run, tree, working_directory};

/// The mode of a file, without its type.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn every_configuration_that_init_writes_is_sound() {
    let roles = ["full", "gateway", "worker", "inference"];
    let meshes = [&[][..], &["--mesh"], &["--seeds", "http://a:1,http://b:2", "--name", "x: #"]];
    let providers = ["echo", "openai", "anthropic", "ollama"];
    let rows = roles.iter().flat_map(|role| meshes.iter().map(move |mesh| (*role, *mesh)));
    for (index, (role, mesh)) in rows.enumerate() {
        // Each role meets three of them, and each of them each kind of mesh.
        let provider = providers[(index + index / meshes.len()) % providers.len()];
        let root = tempfile::tempdir().unwrap();
        let has_agents = matches!(role, "full" | "worker");
        let model = if has_agents { &["--provider", provider][..] } else { &[] };
        let words = ["init", "--role", role, "--port", "9000", "--env-file"];
        let outcome = run(CONTROL, &[&words[..], model, mesh].concat(), root.path());
        assert_eq!(outcome.code, 0, "{words:?} {mesh:?}: {}", outcome.stderr);
        let checked = run(DAEMON, &["--check", "--print-config"], root.path());
        assert_eq!(checked.code, 0, "{words:?} {mesh:?}: {}", checked.stderr);
        assert_eq!(checked.stderr, "the configuration in ./config is sound\n");
        let says = |line: &str| checked.stdout.lines().any(|l| l.trim().starts_with(line));
        assert!(says("port: 9000") && says("workers: auto"), "{}", checked.stdout);
        assert!(says(&format!("enabled: {}", !mesh.is_empty())), "{}", checked.stdout);
        let is_alone = role == "full" && mesh.is_empty();
        assert_eq!(says("host: 127.0.0.1"), is_alone, "{}", checked.stdout);
        assert_eq!(outcome.stdout.contains("no authentication"), !is_alone, "{}", outcome.stdout);
        assert!(says(&format!("agents: {has_agents}")), "{}", checked.stdout);
        assert_eq!(says("- http://b:2"), mesh.len() == 4, "{}", checked.stdout);
        let config = root.path().join("config");
        assert_eq!(config.join("agents/echo.agent.yaml").exists(), has_agents);
        let assistant = config.join("agents/assistant.agent.yaml");
        assert_eq!(assistant.exists(), has_agents && provider != "echo");
        let modes = [".env", "runtime.yaml"].map(|name| mode(&config.join(name)));
        assert_eq!(modes, [0o600, 0o644]);
    }
}

#[test]
fn init_replaces_nothing_unless_told_to() {
    let root = working_directory(&[("agents/echo.agent.yaml", "mine")]);
    let before = tree(root.path());
    let outcome = run(CONTROL, &["init"], root.path());
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("there already: ./config/agents/echo.agent.yaml;"));
    assert_eq!(tree(root.path()), before, "nothing is written, not even half");

    let outcome = run(CONTROL, &["init", "--force", "--json"], root.path());
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["written"][1], "./config/agents/echo.agent.yaml");
    let agent = fs::read_to_string(root.path().join("config/agents/echo.agent.yaml")).unwrap();
    assert!(agent.contains("provider: echo"));
    assert_eq!(tree(root.path()).len(), before.len() + 1, "no temporary file is left");
}

#[test]
fn init_keeps_keys_modes_and_whoever_owns_a_file() {
    let root = working_directory(&[(".env", "KEY=hush\n"), ("runtime.yaml", "mine")]);
    let config = root.path().join("config");
    fs::set_permissions(config.join("runtime.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    let outcome = run(CONTROL, &["init", "--env-file", "--force"], root.path());
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("\nkept ./config/.env\n"), "{}", outcome.stdout);
    assert_eq!(fs::read_to_string(config.join(".env")).unwrap(), "KEY=hush\n");
    assert!(fs::read_to_string(config.join("runtime.yaml")).unwrap().contains("role full"));
    assert_eq!(mode(&config.join("runtime.yaml")), 0o640);
}

#[test]
fn init_says_itself_who_may_read_its_files() {
    let root = tempfile::tempdir().unwrap();
    let mut command =
        command("/bin/sh", &["-c", "umask 077; exec \"$0\" init", CONTROL], root.path());
    assert_eq!(end(command.spawn().unwrap()).code, 0);
    assert_eq!(mode(&root.path().join("config/runtime.yaml")), 0o644);
}

#[test]
fn init_refuses_what_the_daemon_would() {
    for (flags, expected) in [
        (
            &["--seeds", "gateway:8000"][..],
            "--seeds: spec.mesh.seeds[0]: is no http or https URL (got \"gateway:8000\")\n    \
             write http://gateway:8000",
        ),
        (&["--port", "0"], "--port: spec.api.port: is out of range 1 to 65535 (got 0)"),
        (&["--mesh", "--name", "a\nb"], "spec.mesh.node_name: contains control characters"),
        (&["--name", "a"], "--name is the name in a mesh: add --mesh or --seeds"),
        (&["--provider", "vllm"], "vllm needs --endpoint URL and --model NAME"),
        (
            &["--provider", "openai_compat", "--model", "m", "--endpoint", "ftp://x"],
            "spec.model.primary.endpoint: must be a URL",
        ),
        (&["--role", "boss"], "invalid value 'boss'"),
        (&["--model", "m"], "--model means nothing to echo: add --provider"),
        (&["--provider", "echo", "--endpoint", "http://h/v1"], "--endpoint means nothing to echo"),
        (&["--role", "gateway", "--provider", "openai"], "--provider is for agents"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let outcome = run(CONTROL, &[&["init"], flags].concat(), root.path());
        assert_eq!(outcome.code, 2, "{flags:?}: {outcome:?}");
        assert!(outcome.stderr.contains(expected), "{flags:?}: {}", outcome.stderr);
        assert_eq!(tree(root.path()), BTreeSet::new(), "{flags:?}");
    }
}

#[test]
fn a_new_agent_loads() {
    let root = working_directory(&[("runtime.yaml", "")]);
    for (name, flags) in [
        ("plain", &[][..]),
        (
            "clerk",
            &["--provider", "openai", "--model", "gpt-4o", "--tools", "datetime_now,http_request"],
        ),
        (
            "local",
            &["--provider", "openai_compat", "--endpoint", "http://h:1/v1", "--model", "a: b"],
        ),
        ("gpu", &["--provider", "hf_tgi", "--endpoint", "http://h:1", "--model", "org/m"]),
        ("2nd.agent_x-y", &["--provider", "anthropic", "--description", "says: \"no\" # ever"]),
        ("true", &["--provider", "echo"]),
    ] {
        let words = [&["new", "agent", name], flags].concat();
        let outcome = run(CONTROL, &words, root.path());
        assert_eq!(outcome.code, 0, "{words:?}: {}", outcome.stderr);
        assert!(root.path().join(format!("config/agents/{name}.agent.yaml")).exists());
        let again = run(CONTROL, &words, root.path());
        assert_eq!(again.code, 2, "{again:?}");
        let forced = run(CONTROL, &[&words[..], &["--force"]].concat(), root.path());
        assert_eq!(forced.code, 0, "{forced:?}");
    }
    let checked = run(DAEMON, &["--check"], root.path());
    assert_eq!(checked.stderr, "the configuration in ./config is sound\n");

    let mut checked = command(DAEMON, &["--check"], root.path());
    let checked = end(checked.env("OLLAMA_HOST", "me:hush@gpu-1").spawn().unwrap());
    assert_eq!(checked.code, 64);
    let expected = "agents/plain.agent.yaml:9: spec.model.primary.endpoint: the variable \
                    OLLAMA_HOST must not hold a user or password";
    assert!(checked.stderr.contains(expected), "{}", checked.stderr);
    assert!(!checked.stderr.contains("hush"), "{}", checked.stderr);
}

#[test]
fn a_new_agent_that_would_not_load_is_not_written() {
    for (words, expected) in [
        (&["../up"][..], "metadata.name: must be 1 to 128 letters"),
        (&["a", "--tools", "bash"], "spec.tools[0].name: no built-in tool of this version"),
        (&["a", "--orchestration", "swarm"], "spec.orchestration.pattern: not built"),
        (&["a", "--endpoint", "x"], "spec.model.primary.endpoint: must be a URL"),
        (
            &["a", "--provider", "echo", "--endpoint", "http://me:hush@h"],
            "spec.model.primary.endpoint: must not hold a user or password",
        ),
        (&["a", "--model", ""], "spec.model.primary.model: is empty"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let outcome = run(CONTROL, &[&["new", "agent"], words].concat(), root.path());
        assert_eq!(outcome.code, 2, "{words:?}: {outcome:?}");
        assert!(outcome.stderr.contains(expected), "{words:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("hush"), "{}", outcome.stderr);
        assert_eq!(tree(root.path()), BTreeSet::new(), "{words:?}");
    }
}

#[test]
fn init_says_how_to_ask_the_agent_it_wrote() {
    for (flags, expected) in [
        (&[][..], &["run echo \"hello\""][..]),
        (&["--provider", "ollama"], &["ollama pull llama3.1:8b\n", "run assistant \"hello\""]),
        (
            &["--provider", "mesh", "--model", "m"],
            &["ollama pull m on an inference node\n", "run assistant \"hello\""],
        ),
        (
            &["--provider", "openai", "--env-file"],
            &["/.env, without the # before OPENAI_API_KEY", "run assistant \"hello\""],
        ),
    ] {
        let root = tempfile::tempdir().unwrap();
        let outcome = run(CONTROL, &[&["init"], flags].concat(), root.path());
        assert_eq!(outcome.code, 0, "{flags:?}: {outcome:?}");
        for part in expected {
            assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
        }
        assert_eq!(outcome.stdout.contains("ollama pull"), expected[0].starts_with("ollama"));
        let env = fs::read_to_string(root.path().join("config/.env")).unwrap_or_default();
        assert_eq!(env.contains("remove the #"), flags.contains(&"--env-file"), "{env}");
    }
}

/// What somebody at a terminal sees who types these lines, and the exit code.
fn at_a_terminal(words: &[&str], typed: &str, directory: &Path) -> (String, i32) {
    let pty = openpty(None, None).unwrap();
    let (mut terminal, ours) = (File::from(pty.master), File::from(pty.slave));
    let child = {
        let mut command = command(CONTROL, words, directory);
        command.stdin(ours.try_clone().unwrap()).stdout(Stdio::null()).stderr(ours);
        // Our own end is closed with the command, so that reading ends with the child.
        command.spawn().unwrap()
    };
    terminal.write_all(typed.as_bytes()).unwrap();
    let mut shown = Vec::new();
    let mut piece = [0; 1024];
    loop {
        match terminal.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => shown.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The other end is closed.
            Err(_) => break,
        }
    }
    (String::from_utf8(shown).unwrap(), end(child).code)
}

#[test]
fn init_asks_at_a_terminal() {
    let root = tempfile::tempdir().unwrap();
    let typed = "worker\nyes\ngateway:8000\nhttp://gateway:8000\nnode-7\n9000\nollama\n";
    let (shown, code) = at_a_terminal(&["init"], typed, root.path());
    assert_eq!(code, 0, "{shown}");
    for expected in [
        "Role of this node (full, gateway, worker, inference) [full]: ",
        "Part of a mesh? [yes]: ",
        "write http://gateway:8000",
        "Provider of the model (echo, openai, anthropic, ollama, vllm, llamacpp, hf_tgi, mesh, openai_compat) [echo]: ",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let checked = run(DAEMON, &["--check", "--print-config"], root.path());
    assert_eq!(checked.stderr, "the configuration in ./config is sound\n");
    for line in ["port: 9000", "node_name: node-7", "- http://gateway:8000", "inference: false"] {
        assert!(checked.stdout.contains(line), "{line}: {}", checked.stdout);
    }
    assert!(root.path().join("config/agents/assistant.agent.yaml").exists());
}

#[test]
fn who_stops_answering_gets_nothing_written() {
    let root = tempfile::tempdir().unwrap();
    // Ctrl-D at the second question.
    let (shown, code) = at_a_terminal(&["init"], "worker\n\u{4}", root.path());
    assert_eq!(code, 130, "{shown}");
    assert_eq!(tree(root.path()), BTreeSet::new());

    let words = ["init", "--non-interactive"];
    let (shown, code) = at_a_terminal(&words, "", root.path());
    assert_eq!((shown.as_str(), code), ("", 0));
}
