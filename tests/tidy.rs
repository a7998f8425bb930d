//! Rules of the house that no compiler checks: who imports whom, how long files get, what they open
//! with, which words stay out, and that links lead somewhere.
//!
//! Each rule is a function from a file to its problems, so that a second test shows that the rule
//! bites. A problem says where it is and what to do.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

#[path = "tidy/source.rs"]
mod source;

use source::{File, code, files, paths};

/// What each module of `src` may import, besides itself: other modules, parts of them, and our
/// packages. A new module gets a row here in the commit that adds it; a new entry needs a reason.
const IMPORTS: [(&str, &[&str]); 14] = [
    ("config", &["astromesh_wire"]),
    ("telemetry", &[]),
    ("directory", &["astromesh_wire"]),
    ("model", &["config"]),
    // What runs took is counted where metrics are; a file may name a model of the mesh.
    ("agent", &["config", "directory::models", "model", "telemetry"]),
    ("inference", &["agent", "directory", "model"]),
    ("routing", &["astromesh_wire", "config", "directory"]),
    (
        "proxy",
        &[
            "agent",
            "api",
            "astromesh_wire",
            "config",
            "directory",
            "inference",
            "routing",
            "telemetry",
        ],
    ),
    // Of the API only the shapes: join and sync speak HTTP with other nodes.
    ("gossip", &["api::types", "astromesh_swim", "astromesh_wire", "config", "directory"]),
    // It looks at every part and asks other nodes over HTTP; of the API it knows only the shapes.
    (
        "doctor",
        &[
            "agent",
            "api::types",
            "astromesh_wire",
            "config",
            "directory",
            "gossip",
            "inference",
            "model",
            "routing",
        ],
    ),
    (
        "api",
        &[
            "agent",
            "astromesh_wire",
            "config",
            "directory",
            "doctor",
            "gossip",
            "inference",
            "model",
            "routing",
            "telemetry",
        ],
    ),
    // A simulation runs what a daemon would: of gossip how it sets the engine, and the rules to
    // choose from.
    (
        "cli",
        &[
            "api::types",
            "astromesh_sim",
            "astromesh_swim::detector",
            "config",
            "gossip::settings",
            "node",
        ],
    ),
    (
        "node",
        &[
            "agent",
            "api",
            "astromesh_wire",
            "config",
            "directory",
            "doctor",
            "gossip",
            "inference",
            "model",
            "proxy",
            "routing",
            "telemetry",
        ],
    ),
    ("bin", &["cli", "config", "node"]),
];

/// What the packages without I/O may depend on of ours.
const PACKAGES: [(&str, &[&str]); 3] =
    [("wire", &[]), ("swim", &["astromesh-wire"]), ("sim", &["astromesh-swim", "astromesh-wire"])];

/// Libraries that do I/O or read a clock.
const IO_LIBRARIES: [&str; 12] = [
    "tokio",
    "socket2",
    "mio",
    "hyper",
    "hyper-util",
    "axum",
    "reqwest",
    "sysinfo",
    "sd-notify",
    "tempfile",
    "tracing-subscriber",
    "jiff",
];

/// Words of the standard library and of tokio that do I/O or read a clock.
const IO_WORDS: [&str; 6] =
    ["tokio", "SystemTime", "UdpSocket", "TcpStream", "TcpListener", "UnixStream"];

/// Modules of the standard library that do I/O or read a clock.
const IO_MODULES: [&str; 6] =
    ["std::time::Instant", "std::thread", "std::fs", "std::env", "std::process", "std::io"];

const LINES_MAX: usize = 600;

/// Files longer than that, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Fails with all problems at once.
fn check(problems: &[String]) {
    assert!(problems.is_empty(), "\n\n{}\n", problems.join("\n"));
}

fn check_sources(rule: fn(&File) -> Vec<String>) {
    let files = files("rs");
    assert!(files.len() > 10, "the repository has sources");
    check(&files.iter().flat_map(rule).collect::<Vec<_>>());
}

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

/// Whether `path` is `entry` or lies below it.
fn is_below(path: &str, entry: &str) -> bool {
    path.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn import_problems(file: &File) -> Vec<String> {
    let Some(inside) = file.path.strip_prefix("src/").filter(|inside| *inside != "lib.rs") else {
        return Vec::new();
    };
    let module = inside.split(['/', '.']).next().unwrap_or_default();
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{}: give `{module}` a row in IMPORTS of tests/tidy.rs", file.path)];
    };
    let mut problems = Vec::new();
    for named in paths(&code(&file.text)) {
        let within = ["crate::", "astromesh::"].iter().find_map(|top| named.path.strip_prefix(top));
        let ours = named.path.starts_with("astromesh_").then_some(named.path.as_str());
        if named.path.starts_with("super::super") {
            problems.push(format!(
                "{}:{}: write `crate::…` instead of `{}`, so that imports can be checked",
                file.path, named.line, named.path
            ));
        }
        let Some(target) = within.or(ours) else { continue };
        let is_allowed =
            is_below(target, module) || allowed.iter().any(|entry| is_below(target, entry));
        if !is_allowed {
            problems.push(format!(
                "{}:{}: `{module}` must not import `{}`: move what is needed into one of {allowed:?}, \
                 or pass it in as an argument or a trait",
                file.path, named.line, named.path
            ));
        }
    }
    problems
}

#[test]
fn modules_import_only_what_the_table_allows() {
    check_sources(import_problems);
}

#[test]
fn import_rule_bites() {
    let count = |path: &str, text: &str| import_problems(&file(path, text)).len();
    assert_eq!(count("src/config/a.rs", "use crate::{config::b, agent::{self, c}};"), 2);
    assert_eq!(count("src/agent/a.rs", "fn f() { crate::routing::g() }"), 1);
    assert_eq!(count("src/agent/a.rs", "// crate::routing\nuse crate::model::{A, b::B};"), 0);
    assert_eq!(count("src/gossip/mod.rs", "use crate::api::types::Node;"), 0);
    assert_eq!(count("src/gossip/mod.rs", "use crate::api::{types::Node, server};"), 1);
    assert_eq!(count("src/gossip/mod.rs", "use crate::api::*;"), 1);
    assert_eq!(count("src/bin/a.rs", "use astromesh::{gossip, node};"), 1);
    assert_eq!(count("src/directory/mod.rs", "use astromesh_swim::Engine;"), 1);
    assert_eq!(count("src/directory/mod.rs", "use super::super::api;"), 1);
    assert_eq!(count("src/novelty.rs", ""), 1);
}

fn io_problems(file: &File) -> Vec<String> {
    if !["swim/src/", "wire/src/"].iter().any(|top| file.path.starts_with(top)) {
        return Vec::new();
    }
    let does_io = |path: &str| {
        path.split("::").any(|word| IO_WORDS.contains(&word))
            || IO_MODULES.iter().any(|module| is_below(path, module))
            || matches!(path, "std::time" | "std::time::*" | "std::net::*")
    };
    let named = paths(&code(&file.text)).into_iter().filter(|named| does_io(&named.path));
    named
        .map(|named| {
            format!(
                "{}:{}: no `{}` here: this package does no I/O and reads no clock; take it as an \
                 argument",
                file.path, named.line, named.path
            )
        })
        .collect()
}

#[test]
fn protocol_does_no_io_and_reads_no_clock() {
    check_sources(io_problems);
}

#[test]
fn io_rule_bites() {
    let count = |text: &str| io_problems(&file("swim/src/engine.rs", text)).len();
    assert_eq!(count("use std::time::{Duration, Instant};"), 1);
    assert_eq!(count("use std::time::Duration;\nuse crate::time::Instant;"), 0);
    assert_eq!(count("use std::net::{SocketAddr, UdpSocket};"), 1);
    assert_eq!(count("/// As `std::time::SystemTime`.\nfn f() { tokio::spawn(g()) }"), 1);
}

/// Names on the left of dependency lines.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut is_table = false;
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            is_table = line.contains("dependencies");
            // `[dependencies.name]` names one in its head.
            return line.trim_end_matches(']').split_once("dependencies.").map(|(_, name)| name);
        }
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        (is_table && !name.is_empty() && !name.starts_with('#')).then_some(name)
    })
}

fn manifest_problems(package: &str, ours: &[&str], manifest: &str) -> Vec<String> {
    let wrong = dependencies(manifest).filter(|name| {
        IO_LIBRARIES.contains(name) || (name.starts_with("astromesh") && !ours.contains(name))
    });
    wrong
        .map(|name| format!("{package}/Cargo.toml: `{package}` must not depend on `{name}`"))
        .collect()
}

#[test]
fn packages_without_io_depend_on_nothing_that_does_it() {
    let mut problems = Vec::new();
    for (package, ours) in PACKAGES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(package).join("Cargo.toml");
        let manifest = std::fs::read_to_string(path).unwrap();
        problems.extend(manifest_problems(package, ours, &manifest));
    }
    check(&problems);
}

#[test]
fn manifest_rule_bites() {
    let count = |manifest: &str| manifest_problems("swim", &["astromesh-wire"], manifest).len();
    assert_eq!(count("[dependencies]\nastromesh-wire = { workspace = true }\n"), 0);
    assert_eq!(count("[dev-dependencies]\ntokio.workspace = true\nastromesh = \"1\"\n"), 2);
    assert_eq!(count("[dependencies.socket2]\nversion = \"1\"\n"), 1);
    assert_eq!(count("[package]\ndescription = \"tokio\"\n"), 0);
}

fn shape_problems(file: &File) -> Vec<String> {
    let mut problems = Vec::new();
    // A file that is still empty has nothing to open with.
    if !file.text.starts_with("//!") && !file.text.trim().is_empty() {
        problems.push(format!(
            "{}: open with `//!`: what it is for, what it owns, what it refuses to do",
            file.path
        ));
    }
    let lines = file.text.lines().count();
    let is_listed = LONG_FILES.iter().any(|(path, _)| *path == file.path);
    if lines > LINES_MAX && !is_listed {
        problems.push(format!(
            "{}: {lines} lines: a part is missing, split it below {LINES_MAX} (aim for 300)",
            file.path
        ));
    }
    if lines <= LINES_MAX && is_listed {
        problems.push(format!("{}: short again: take it off LONG_FILES", file.path));
    }
    problems
}

#[test]
fn files_open_with_their_purpose_and_stay_short() {
    check_sources(shape_problems);
}

#[test]
fn shape_rule_bites() {
    let count = |text: &str| shape_problems(&file("src/a.rs", text)).len();
    assert_eq!(count("//! A.\n"), 0);
    assert_eq!(count("use a::b;\n"), 1);
    assert_eq!(count(&"//! A.\n".repeat(LINES_MAX + 1)), 1);
}

/// Libraries that one file owns, so that a successor is a change of that file.
fn owner_problems(file: &File) -> Vec<String> {
    let mut problems = Vec::new();
    for named in paths(&code(&file.text)) {
        let owner = match named.path.split("::").next() {
            Some("bincode") => "wire/src/codec.rs",
            Some("serde_yaml" | "serde_norway") if file.path.starts_with("sim/") => {
                "sim/src/scenario/mod.rs"
            }
            Some("serde_yaml" | "serde_norway") => "src/config/yaml.rs",
            _ => continue,
        };
        let is_derive = file.path.starts_with("wire/src/")
            && matches!(named.path.as_str(), "bincode::Encode" | "bincode::Decode");
        if file.path != owner && !is_derive {
            problems.push(format!(
                "{}:{}: `{}` belongs to {owner} alone: call that instead",
                file.path, named.line, named.path
            ));
        }
    }
    problems
}

#[test]
fn formats_are_read_and_written_in_one_file_each() {
    check_sources(owner_problems);
}

#[test]
fn owner_rule_bites() {
    let count = |path: &str, text: &str| owner_problems(&file(path, text)).len();
    assert_eq!(count("wire/src/id.rs", "use bincode::{Decode, Encode};"), 0);
    assert_eq!(count("wire/src/id.rs", "fn f() { bincode::decode_from_slice(b, c) }"), 1);
    assert_eq!(count("src/agent/a.rs", "let agent = serde_yaml::from_str(text);"), 1);
    assert_eq!(count("src/config/yaml.rs", "serde_yaml::from_str(text)"), 0);
    assert_eq!(count("sim/src/scenario/mod.rs", "serde_yaml::from_str(text)"), 0);
    assert_eq!(count("sim/src/world/mod.rs", "serde_yaml::from_str(text)"), 1);
}

fn word_problems(file: &File) -> Vec<String> {
    let code = code(&file.text);
    let mut problems = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let place = format!("{}:{}", file.path, number + 1);
        for unfinished in ["todo!", "unimplemented!", "dbg!"] {
            if line.contains(unfinished) {
                problems.push(format!("{place}: finish it: no `{unfinished}`"));
            }
        }
        let line = line.replace("clap::Command", "");
        let starts = line.contains("Command::new(") && file.path.starts_with("src/");
        if starts && !file.text.contains("SERVICE_VARIABLES") {
            problems.push(format!(
                "{place}: whoever starts a process removes config::SERVICE_VARIABLES from its \
                 environment: nobody else speaks for the daemon"
            ));
        }
        if ["#[allow(", "#![allow("].iter().any(|allow| line.contains(allow)) {
            problems.push(format!("{place}: write `expect(lint, reason = \"…\")` for `allow`"));
        }
    }
    problems
}

#[test]
fn nothing_is_left_unfinished_or_silenced() {
    check_sources(word_problems);
}

#[test]
fn word_rule_bites() {
    let count = |text: &str| word_problems(&file("src/a.rs", text)).len();
    assert_eq!(count("fn f() { Command::new(a) }\nfn g() { clap::Command::new(a) }"), 1);
    assert_eq!(count("use b::SERVICE_VARIABLES;\nfn f() { Command::new(a) }"), 0);
    assert_eq!(count("fn f() { todo!() }\n#[allow(dead_code)]\nfn g() { dbg!(1); }"), 3);
    assert_eq!(
        count("// todo! later\nconst A: &str = \"dbg!\";\nconst B: &str = r#\"\"todo!\"#;"),
        0
    );
    assert_eq!(count("fn f<'a>(a: &'a str) -> char { '\"' }\nfn g() { todo!() } // \""), 1);
}

/// The lines of a page that are not within a block of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The names by which the headings of a page are linked to.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter(|(_, line)| line.starts_with('#')).map(|(_, line)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

fn link_problems(page: &File) -> Vec<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = top.join(&page.path).parent().unwrap().to_owned();
    let mut problems = Vec::new();
    for (number, line) in prose(&page.text) {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        for target in targets {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let place = format!("{}:{}", page.path, number + 1);
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked = beside.join(path);
            if !linked.exists() {
                problems.push(format!("{place}: `{path}` does not exist: mend or drop the link"));
                continue;
            }
            let text = if path.is_empty() {
                page.text.clone()
            } else {
                std::fs::read_to_string(&linked).unwrap_or_default()
            };
            if !anchor.is_empty() && (path.ends_with(".md") || path.is_empty()) {
                let is_there = anchors(&text).any(|name| name == anchor);
                if !is_there {
                    problems.push(format!("{place}: no heading is named `#{anchor}` in `{path}`"));
                }
            }
        }
    }
    problems
}

#[test]
fn links_between_pages_lead_somewhere() {
    let pages = files("md")
        .into_iter()
        .filter(|page| page.path.starts_with("docs/") || !page.path.contains('/'));
    check(&pages.flat_map(|page| link_problems(&page)).collect::<Vec<_>>());
}

#[test]
fn link_rule_bites() {
    let count = |text: &str| link_problems(&file("docs/a.md", text)).len();
    assert_eq!(count("[a](wire-protocol.md) [b](../Cargo.toml) [c](https://example.org/d)"), 0);
    assert_eq!(count("[a](wire-protocol.md#metadata) [b](#not-here) [c](gone.md)"), 2);
    assert_eq!(count("## What is here?\n[a](#what-is-here)\n```\n[b](gone.md)\n```"), 0);
}
