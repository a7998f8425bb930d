//! What of a changed configuration a running node takes over.

use std::collections::BTreeMap;

use astromesh::config::reload;

use super::*;

/// Another value than the default for every key that has an effect.
const OTHER: &[(&str, &str)] = &[
    ("data_dir", "other"),
    ("pid_file", "other.pid"),
    ("drain_timeout", "7"),
    ("log_level", "debug"),
    ("log.format", "json"),
    ("log.levels.agent", "debug"),
    ("log.levels.api", "debug"),
    ("log.levels.config", "debug"),
    ("log.levels.directory", "debug"),
    ("log.levels.doctor", "debug"),
    ("log.levels.gossip", "debug"),
    ("log.levels.inference", "debug"),
    ("log.levels.model", "debug"),
    ("log.levels.node", "debug"),
    ("log.levels.proxy", "debug"),
    ("log.levels.routing", "debug"),
    ("log.levels.telemetry", "debug"),
    ("log.levels.libraries", "debug"),
    ("log.file.enabled", "true"),
    ("log.file.directory", "/srv/log"),
    ("log.file.format", "json"),
    ("log.file.bytes_max", "65536"),
    ("log.file.files_max", "3"),
    ("api.host", "127.0.0.1"),
    ("api.port", "9000"),
    ("api.body_bytes_max", "2048"),
    ("api.max_concurrent", "7"),
    ("api.model_max_concurrent", "7"),
    ("api.queue_max", "7"),
    ("api.queue_timeout", "7"),
    ("api.connect_timeout", "7"),
    ("api.first_byte_timeout", "7"),
    ("api.idle_timeout", "7"),
    ("api.total_timeout", "7"),
    ("api.workers", "auto"),
    ("api.access_log", "false"),
    ("services.api", "false"),
    ("services.agents", "false"),
    ("services.inference", "false"),
    ("services.memory", "false"),
    ("services.tools", "false"),
    ("services.channels", "false"),
    ("services.rag", "false"),
    ("services.observability", "false"),
    ("peers", "[{name: a, url: \"http://a:1\"}]"),
    ("mesh.enabled", "true"),
    ("mesh.node_name", "other"),
    ("mesh.cluster", "other"),
    ("mesh.bind", "127.0.0.1:7"),
    ("mesh.advertise", "a:7"),
    ("mesh.seeds", "[\"http://a:1\"]"),
    ("mesh.heartbeat_interval", "0.5"),
    ("mesh.gossip_interval", "0.5"),
    ("mesh.gossip_fanout", "7"),
    ("mesh.detection", "fast"),
    ("mesh.failure_timeout", "14"),
    ("mesh.dead_timeout", "31"),
    ("observability.otlp.enabled", "true"),
    ("observability.otlp.endpoint", "https://a:1"),
    ("observability.otlp.protocol", "http/protobuf"),
    ("observability.otlp.sample", "0.5"),
];

/// The column `Reload` of the reference, for each key in it.
fn documented() -> BTreeMap<String, String> {
    let rows = schema::reference();
    let rows = rows.lines().skip(2).map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let path = cells[0].trim_start_matches("| ").trim_matches('`').to_owned();
        (path, cells[4].trim().to_owned())
    });
    rows.collect()
}

/// One directory, so that paths that begin there are the same.
fn load_in(directory: &Path, spec: &str) -> Runtime {
    fs::write(directory.join("runtime.yaml"), format!("spec: {{{spec}}}")).unwrap();
    load(&flags(directory), &Environment::default()).unwrap()
}

/// `a.b.c` and a value as YAML in flow style.
fn nested(path: &str, value: &str) -> String {
    let keys: Vec<&str> = path.split('.').collect();
    let open = keys.join(": {");
    format!("{open}: {value}{}", "}".repeat(keys.len() - 1))
}

#[test]
fn every_key_does_what_the_reference_says_of_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let running = load_in(directory.path(), "");
    let documented = documented();
    for (path, value) in OTHER {
        let key = format!("spec.{path}");
        let new = load_in(directory.path(), &nested(path, value));
        let reloaded = reload(&running, &new);
        let takes = documented.get(&key).map(String::as_str);
        match takes {
            Some("yes") => {
                assert_eq!((&*reloaded.changed, &*reloaded.needs_restart), (&[&*key][..], &[][..]));
                assert_eq!(reloaded.runtime, new, "{key}");
            }
            Some("no") => {
                assert_eq!((&*reloaded.changed, &*reloaded.needs_restart), (&[][..], &[&*key][..]));
                let warnings = new.warnings;
                assert_eq!(reloaded.runtime, Runtime { warnings, ..running.clone() }, "{key}");
            }
            other => panic!("{key}: {other:?}"),
        }
    }
    let silent = documented.iter().filter(|(_, takes)| takes.is_empty()).map(|(key, _)| key);
    let tried: BTreeSet<_> = OTHER.iter().map(|(path, _)| format!("spec.{path}")).collect();
    assert!(silent.clone().all(|key| !tried.contains(key)));
    for (key, takes) in &documented {
        let is_in_list = key.contains("[]");
        assert!(takes.is_empty() || is_in_list || tried.contains(key), "try {key} as well");
    }
}

#[test]
fn keys_without_a_word_on_reloads_are_those_without_an_effect() {
    let rows = schema::reference();
    for (key, takes) in documented() {
        let row = rows.lines().find(|row| row.starts_with(&format!("| `{key}` |"))).unwrap();
        let is_section = row.contains("| mapping |");
        let is_idle = row.contains("without effect yet") || !key.starts_with("spec.");
        assert_eq!(takes.is_empty(), is_section || is_idle, "{key}: {takes}");
    }
}

#[test]
fn what_follows_from_another_key_is_not_told_twice() {
    let directory = tempfile::tempdir().unwrap();
    let running = load_in(directory.path(), "");
    let spec = "api: {port: 9000, host: 127.0.0.1}, data_dir: other, log: {format: json}";
    let reloaded = reload(&running, &load_in(directory.path(), spec));
    assert_eq!(
        reloaded.needs_restart,
        ["spec.data_dir", "spec.log.format", "spec.api.host", "spec.api.port"]
    );
    assert_eq!(reloaded.runtime, running);
}

#[test]
fn a_change_of_rule_waits_for_a_restart_and_one_of_the_floor_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let load =
        |detection: &str| load_in(directory.path(), &format!("mesh: {{detection: {detection}}}"));
    for (from, to, waits) in [
        ("default", "lifeguard", true),
        ("lifeguard", "fast", true),
        ("fast", "patient", false),
        ("lifeguard", "lifeguard", false),
    ] {
        let (running, new) = (load(from), load(to));
        let reloaded = reload(&running, &new);
        assert_eq!(reloaded.needs_restart == ["spec.mesh.detection"], waits, "{from} {to}");
        let kept = if waits { &running } else { &new };
        assert_eq!(&reloaded.runtime, kept, "{from} {to}");
    }
}
