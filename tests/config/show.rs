//! The effective configuration as text: complete, with its origins, and itself a configuration that
//! means the same.

use std::fs;
use std::path::Path;

use astromesh::config::{Effective, Environment, LogLevel, Overrides, Runtime, load, schema};

use crate::{directory, flags, repository};

/// What both say must be the same, wherever it was said.
fn assert_same(text: &str, printed: &Runtime) {
    let elsewhere = directory(text);
    let read = load(&flags(elsewhere.path()), &Environment::default())
        .unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let expected = Runtime { file: read.file.clone(), dir: read.dir.clone(), ..printed.clone() };
    assert_eq!(read, expected, "{text}");
}

fn show(file: &str, variables: &[(&str, &str)], overrides: &Overrides) -> Effective {
    let directory = directory(file);
    let overrides = Overrides { config: Some(directory.path().to_owned()), ..overrides.clone() };
    Effective::load(&overrides, &variables.iter().copied().collect()).unwrap()
}

#[test]
fn what_is_shown_is_a_configuration_that_means_the_same() {
    let example = fs::read_to_string(repository("config/runtime.yaml")).unwrap();
    let odd = "spec:
  data_dir: 'a # b'
  peers: [{name: '- x: \"y\"', url: 'http://a:1', services: [rag]}, {name: 'no', url: 'http://b'}]
  mesh: {node_name: 'true', cluster: \"'\\\"#é\", seeds: ['http://a:8000'], detection: 0.5}
";
    let variables: &[(&str, &str)] =
        &[("ASTROMESH_MESH_SEEDS", "http://c,http://d"), ("ASTROMESH_API_WORKERS", "auto")];
    let overrides = Overrides {
        port: Some(9100),
        host: Some([127, 0, 0, 1].into()),
        log_level: Some(LogLevel::Debug),
        ..Overrides::default()
    };
    for (layers, file, variables, overrides) in [
        ("nothing", "", &[][..], Overrides::default()),
        ("the example", example.as_str(), &[], Overrides::default()),
        ("odd texts", odd, &[], Overrides::default()),
        ("all layers", odd, variables, overrides),
    ] {
        let effective = show(file, variables, &overrides);
        let text = effective.to_yaml();
        assert_same(&text, &effective.runtime);
        assert!(text.starts_with("apiVersion: astromesh/v1 "), "{layers}: {text}");
        for path in schema::paths().filter(|path| !path.contains("[]")) {
            let name = path.rsplit('.').next().unwrap();
            assert!(text.contains(&format!("{name}:")), "{path} is missing in:\n{text}");
        }
    }
}

#[test]
fn each_value_names_the_layer_it_came_from() {
    let file = "spec:\n  api:\n    port: 9000\n    workers: 2\n  mesh:\n    seeds: [http://a]\n";
    let variables = [("ASTROMESH_API_WORKERS", "3"), ("ASTROMESH_MESH_SEEDS", "http://b,http://c")];
    let overrides = Overrides { log_level: Some(LogLevel::Error), ..Overrides::default() };
    let effective = show(file, &variables, &overrides);
    let text = effective.to_yaml();
    let origin = |key: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
        line.rsplit_once("# ").unwrap().1.to_owned()
    };
    let file = effective.runtime.file.display();
    assert_eq!(origin("port: 9000"), format!("{file}:3"));
    assert_eq!(origin("workers: 3"), "ASTROMESH_API_WORKERS");
    assert_eq!(origin("seeds:"), "ASTROMESH_MESH_SEEDS");
    assert_eq!(origin("log_level: error"), "--log-level");
    assert_eq!(origin("queue_max: 1024"), "default");
    assert!(text.contains("\n    seeds:"), "{text}");
    assert!(text.contains("\n      - http://b\n      - http://c\n"), "{text}");
}

#[test]
fn what_no_file_can_say_is_a_comment() {
    let overrides = Overrides { port: Some(0), ..Overrides::default() };
    let text = show("", &[], &overrides).to_yaml();
    let line = text.lines().find(|line| line.contains("port: 0")).unwrap();
    assert!(line.trim_start().starts_with("# port: 0 "), "{line}");
    assert!(line.ends_with("# --port, which alone can say so"), "{line}");
    assert!(!text.contains("\n    bind:"), "{text}");
}

#[test]
fn secrets_are_not_shown() {
    let file = "metadata: {name: a, labels: {token: hush-1, list: [{password: hush-2}]}}\n";
    let text = show(file, &[], &Overrides::default()).to_yaml();
    assert!(text.contains(r#""token":"***""#) && !text.contains("hush"), "{text}");

    let directory = directory("spec: {api_key: hush-3, mesh: {seeds: [{secret: hush-4}]}}\n");
    let problems = load(&flags(directory.path()), &Environment::default()).unwrap_err();
    assert_eq!(problems.list().len(), 2);
    assert!(!problems.to_string().contains("hush"), "{problems}");

    let seeds = "spec: {mesh: {seeds: ['http://me:hush@h:1', 'me:hush@h:1']}, token: 4711}";
    let problems = crate::load_text(seeds).unwrap_err().to_string();
    assert!(problems.contains("(got \"http://***@h:1\")"), "{problems}");
    assert!(!problems.contains("hush") && !problems.contains("4711"), "{problems}");
}

#[test]
fn a_directory_with_a_line_break_in_its_name_cannot_end_a_comment() {
    let root = tempfile::tempdir().unwrap();
    let odd = root.path().join("a\nspec: 7");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("runtime.yaml"), "spec: {data_dir: /srv, log_level: error}").unwrap();
    let effective = Effective::load(&flags(&odd), &Environment::default()).unwrap();
    assert_eq!(effective.runtime.data_dir, Path::new("/srv"));
    assert_same(&effective.to_yaml(), &effective.runtime);
}
