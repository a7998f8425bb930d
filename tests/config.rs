//! Configuration as its users meet it: files on disk, flags and environment in, settings or
//! problems out. Reads the shipped files and the reference in the documentation too.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use astromesh::config::{
    Advertise, Detection, Environment, LogFile, LogFormat, LogLevel, Origin, Overrides,
    PROBLEMS_MAX, Problems, Runtime, Workers, load, schema,
};
use astromesh_wire::Service;
use tempfile::TempDir;

#[path = "config/environment.rs"]
mod environment;
#[path = "config/reload.rs"]
mod reload;
#[path = "config/show.rs"]
mod show;

/// A configuration directory with this text as its `runtime.yaml`.
fn directory(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("runtime.yaml"), text).unwrap();
    directory
}

fn flags(directory: &Path) -> Overrides {
    Overrides { config: Some(directory.to_owned()), ..Overrides::default() }
}

fn load_text(text: &str) -> Result<Runtime, Problems> {
    let directory = directory(text);
    load(&flags(directory.path()), &Environment::default())
}

/// Each problem as `LINE KEY: what (got VALUE) -> remedy`.
fn problems(text: &str) -> Vec<String> {
    let problems = load_text(text).unwrap_err();
    let shown = problems.list().iter().map(|problem| {
        let value = problem.value.as_ref().map(|value| format!(" (got {value})"));
        format!(
            "{} {}: {}{} -> {}",
            line(&problem.origin),
            problem.key,
            problem.what,
            value.unwrap_or_default(),
            problem.remedy
        )
    });
    shown.collect()
}

/// The line of a problem in the file; 0 for the file as a whole, the variable for others.
fn line(origin: &Origin) -> String {
    match origin {
        Origin::File { line, .. } => line.unwrap_or(0).to_string(),
        other => other.to_string(),
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn shipped_profile(name: &str) -> Runtime {
    let text = fs::read_to_string(repository("config/profiles").join(format!("{name}.yaml")));
    load_text(&text.unwrap()).unwrap()
}

#[test]
fn an_empty_file_means_the_defaults() {
    let directory = directory("");
    let runtime = load(&flags(directory.path()), &Environment::default()).unwrap();

    let api = SocketAddr::from(([0, 0, 0, 0], 8000));
    assert_eq!(runtime.file, directory.path().join("runtime.yaml"));
    assert_eq!(runtime.dir, directory.path());
    assert_eq!(runtime.data_dir, directory.path().join("data"));
    assert_eq!((runtime.pid_file, runtime.drain_timeout), (None, Duration::from_secs(30)));
    assert_eq!(SocketAddr::new(runtime.api.host, runtime.api.port), api);
    assert_eq!(runtime.api.body_bytes_max, 1 << 20);
    assert_eq!((runtime.api.max_concurrent, runtime.api.queue_max), (0, 1024));
    assert_eq!(
        (runtime.api.queue_timeout, runtime.api.connect_timeout),
        (Duration::from_secs(30), Duration::from_secs(1))
    );
    assert_eq!(
        [runtime.api.first_byte_timeout, runtime.api.idle_timeout, runtime.api.total_timeout],
        [Some(Duration::from_secs(600)), Some(Duration::from_secs(300)), None]
    );
    assert_eq!(runtime.api.workers.threads(), 1);
    assert!(runtime.api.access_log);
    assert_eq!(runtime.services.enabled(), Service::ALL);
    assert_eq!(runtime.peers, []);
    assert_eq!(runtime.log_level, LogLevel::Info);
    assert_eq!(runtime.log.format, LogFormat::Auto);
    assert_eq!(runtime.log.levels, [("libraries".to_owned(), LogLevel::Warning)].into());
    assert!(!runtime.log.file.enabled);
    assert_eq!(runtime.warnings, Vec::<String>::new());
    let mesh = runtime.mesh;
    assert!(!mesh.enabled);
    assert!((1..=64).contains(&mesh.node_name.len()));
    assert_eq!(mesh.cluster, "default");
    assert_eq!(mesh.bind, api);
    assert_eq!(mesh.advertise, None);
    assert_eq!(mesh.seeds, []);
    assert_eq!(mesh.gossip_fanout, 3);
    let seconds =
        [mesh.heartbeat_interval, mesh.gossip_interval, mesh.failure_timeout, mesh.dead_timeout];
    assert_eq!(seconds, [5, 2, 15, 30].map(Duration::from_secs));
}

#[test]
fn every_key_of_the_log_arrives() {
    let directory = directory(
        "spec:
  log:
    format: json
    levels: {gossip: debug, libraries: error}
    file: {enabled: true, directory: logs, format: text, bytes_max: 65536, files_max: 2}
",
    );
    let runtime = load(&flags(directory.path()), &Environment::default()).unwrap();

    let levels = [("gossip", LogLevel::Debug), ("libraries", LogLevel::Error)];
    assert_eq!(runtime.log.format, LogFormat::Json);
    assert_eq!(runtime.log.levels, levels.map(|(name, level)| (name.to_owned(), level)).into());
    let file = LogFile {
        enabled: true,
        directory: directory.path().join("logs"),
        format: LogFormat::Text,
        bytes_max: 65_536,
        files_max: 2,
    };
    assert_eq!(runtime.log.file, file);
}

#[test]
fn every_key_of_the_file_arrives() {
    let directory = directory(
        "spec:
  data_dir: lasting
  pid_file: run/pid
  drain_timeout: 2.5
  log_level: warning
  api:
    host: '::1'
    port: 9000
    body_bytes_max: 2048
    max_concurrent: 8
    queue_max: 16
    queue_timeout: 2.5
    connect_timeout: 0.25
    first_byte_timeout: 0
    idle_timeout: 7
    total_timeout: 90
    workers: auto
    access_log: false
  services: {rag: false, channels: false}
  peers:
    - {name: worker-1, url: 'http://worker:8000/', services: [tools, agents]}
    - {name: bare, url: 'http://bare/prefix/'}
  mesh:
    node_name: node-1
    cluster: blue
    bind: 127.0.0.1:7000
    advertise: node-1.example.org:7001
    seeds: ['http://a:8000/', 'https://b/mesh//']
    heartbeat_interval: 1.5
    gossip_interval: 0.25
    gossip_fanout: 4
    failure_timeout: 3
    dead_timeout: 3.5
",
    );
    let runtime = load(&flags(directory.path()), &Environment::default()).unwrap();

    assert_eq!(runtime.data_dir, directory.path().join("lasting"));
    assert_eq!(runtime.pid_file, Some(directory.path().join("run/pid")));
    assert_eq!(runtime.drain_timeout, Duration::from_millis(2500));
    assert_eq!(runtime.log_level, LogLevel::Warning);
    assert_eq!(
        (runtime.api.host.to_string().as_str(), runtime.api.port, runtime.api.body_bytes_max),
        ("::1", 9000, 2048)
    );
    let api = &runtime.api;
    assert_eq!((api.max_concurrent, api.queue_max), (8, 16));
    assert_eq!([api.queue_timeout, api.connect_timeout], [2500, 250].map(Duration::from_millis));
    assert_eq!(
        [api.first_byte_timeout, api.idle_timeout, api.total_timeout],
        [None, Some(Duration::from_secs(7)), Some(Duration::from_secs(90))]
    );
    assert_eq!((api.workers, api.access_log), (Workers::Auto, false));
    assert!(runtime.services.contains(Service::Agents) && !runtime.services.contains(Service::Rag));
    assert_eq!(runtime.services.enabled().len(), 6);
    assert_eq!(runtime.peers[0].url.as_str(), "http://worker:8000/");
    assert_eq!(runtime.peers[0].services, [Service::Tools, Service::Agents]);
    assert_eq!(runtime.peers[1].url.as_str(), "http://bare/prefix");
    assert_eq!(runtime.peers[1].services, []);
    let mesh = runtime.mesh;
    assert_eq!((mesh.node_name.as_str(), mesh.cluster.as_str()), ("node-1", "blue"));
    assert_eq!(mesh.bind, SocketAddr::from(([127, 0, 0, 1], 7000)));
    let advertise = Advertise { host: "node-1.example.org".to_owned(), port: Some(7001) };
    assert_eq!(mesh.advertise, Some(advertise));
    let seeds: Vec<_> = mesh.seeds.iter().map(url::Url::as_str).collect();
    assert_eq!(seeds, ["http://a:8000/", "https://b/mesh"]);
    assert_eq!(mesh.gossip_fanout, 4);
    let milliseconds =
        [mesh.heartbeat_interval, mesh.gossip_interval, mesh.failure_timeout, mesh.dead_timeout];
    assert_eq!(milliseconds, [1500, 250, 3000, 3500].map(Duration::from_millis));
}

#[test]
fn flags_win_over_the_file_and_move_gossip_with_http() {
    let directory =
        directory("spec: {api: {host: 127.0.0.1, port: 9000, workers: 2}, log_level: error}");
    let overrides = Overrides {
        host: Some([127, 0, 0, 2].into()),
        port: Some(0),
        log_level: Some(LogLevel::Debug),
        workers: Some("3".parse().unwrap()),
        pid_file: Some("here.pid".into()),
        ..flags(directory.path())
    };
    let runtime = load(&overrides, &Environment::default()).unwrap();

    assert_eq!((runtime.api.host.to_string().as_str(), runtime.api.port), ("127.0.0.2", 0));
    assert_eq!(runtime.mesh.bind, SocketAddr::from(([127, 0, 0, 2], 0)));
    assert_eq!(runtime.log_level, LogLevel::Debug);
    assert_eq!(runtime.api.workers.threads(), 3);
    let here = std::env::current_dir().unwrap();
    assert_eq!(runtime.pid_file, Some(here.join("here.pid")));
}

#[test]
fn an_explicit_bind_stays_where_it_is_and_a_differing_port_is_said() {
    let text = "spec: {mesh: {enabled: true, bind: '0.0.0.0:8000'}}";
    assert_eq!(load_text(text).unwrap().warnings, Vec::<String>::new());

    let directory = directory(text);
    let overrides = Overrides { port: Some(9000), ..flags(directory.path()) };
    let runtime = load(&overrides, &Environment::default()).unwrap();
    assert_eq!(runtime.mesh.bind, SocketAddr::from(([0, 0, 0, 0], 8000)));
    assert_eq!(runtime.warnings.len(), 1);
    assert!(runtime.warnings[0].starts_with("spec.mesh.bind keeps gossip on UDP port 8000"));
}

#[test]
fn the_environment_names_both_directories() {
    let directory = directory("spec: {data_dir: lasting, api: {port: 9000}}");
    let environment = [
        ("ASTROMESH_CONFIG_DIR", directory.path().to_str().unwrap()),
        ("ASTROMESH_DATA_DIR", "/srv/mesh"),
    ];
    let runtime = load(&Overrides::default(), &environment.into_iter().collect()).unwrap();
    assert_eq!(runtime.dir, directory.path());
    assert_eq!(runtime.api.port, 9000);
    assert_eq!(runtime.data_dir, Path::new("/srv/mesh"));

    let empty = [("ASTROMESH_DATA_DIR", "")].into_iter().collect();
    let runtime = load(&flags(directory.path()), &empty).unwrap();
    assert_eq!(runtime.data_dir, directory.path().join("lasting"));
}

#[test]
fn an_explicit_directory_without_the_file_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let error = load(&flags(empty.path()), &Environment::default()).unwrap_err();
    let expected = format!(
        "{}: holds no runtime.yaml\n    create it there, or name another directory with --config",
        empty.path().display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn all_problems_are_named_at_once_in_the_order_of_the_file() {
    let text = fs::read_to_string(repository("tests/config/broken.yaml")).unwrap();
    let directory = directory(&text);
    let error = load(&flags(directory.path()), &Environment::default()).unwrap_err();
    let prefix = format!("{}/", directory.path().display());
    let said = format!("{error}\n").replace(&prefix, "");

    let golden = repository("tests/config/broken.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &said).unwrap();
    }
    assert_eq!(said, fs::read_to_string(golden).unwrap());
}

#[test]
fn a_problem_reads_as_one_block() {
    let directory = directory("spec:\n  mesh:\n    seeds: [7]\n");
    let error = load(&flags(directory.path()), &Environment::default()).unwrap_err();
    let expected = format!(
        "{}:3: spec.mesh.seeds[0]: must be a URL (got 7)\n    write http://HOST:PORT, such as \
         http://gateway:8000",
        directory.path().join("runtime.yaml").display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_member_must_be_suspect_before_it_is_dead() {
    let remedy = "a member is suspect before it is dead: raise dead_timeout or lower \
                  failure_timeout";
    for (name, mesh, expected) in [
        (
            "equal",
            "{failure_timeout: 20, dead_timeout: 20}",
            "1 spec.mesh.dead_timeout: must be longer than failure_timeout, 20 s (got 20)",
        ),
        (
            "dead below the default of failure",
            "{dead_timeout: 10.5}",
            "1 spec.mesh.dead_timeout: must be longer than failure_timeout, 15 s (got 10.5)",
        ),
        (
            "failure above the default of dead",
            "{failure_timeout: 40}",
            "1 spec.mesh.failure_timeout: must be shorter than dead_timeout, 30 s (got 40)",
        ),
    ] {
        let found = problems(&format!("spec: {{mesh: {mesh}}}"));
        assert_eq!(found, [format!("{expected} -> {remedy}")], "{name}");
    }
}

#[test]
fn a_deadline_leaves_time_to_connect() {
    let remedy = |name| {
        format!(
            "connecting is part of the time to the answer: raise {name}, set it to 0 for none, or \
             lower connect_timeout"
        )
    };
    for (api, expected, name) in [
        (
            "{first_byte_timeout: 0.5}",
            "first_byte_timeout: must not be shorter than connect_timeout, 1 s (got 0.5)",
            "first_byte_timeout",
        ),
        (
            "{connect_timeout: 5, total_timeout: 4}",
            "total_timeout: must not be shorter than connect_timeout, 5 s (got 4)",
            "total_timeout",
        ),
    ] {
        let found = problems(&format!("spec: {{api: {api}}}"));
        assert_eq!(found, [format!("1 spec.api.{expected} -> {}", remedy(name))], "{api}");
    }
    assert!(load_text("spec: {api: {connect_timeout: 5, first_byte_timeout: 5}}").is_ok());
}

#[test]
fn deaths_are_decided_as_the_file_says() {
    let evidence = |seconds| Detection::Evidence { floor: Duration::from_secs_f64(seconds) };
    for (value, expected) in [
        ("null", evidence(2.0)),
        ("default", evidence(2.0)),
        ("fast", evidence(0.0)),
        ("patient", evidence(8.0)),
        ("0.5", evidence(0.5)),
        ("15", evidence(15.0)),
        ("lifeguard", Detection::Lifeguard),
    ] {
        let text = format!("spec: {{mesh: {{detection: {value}}}}}");
        assert_eq!(load_text(&text).unwrap().mesh.detection, expected, "{value}");
    }
    for (value, expected) in [
        ("quick", "is no way to decide a death (got \"quick\")"),
        ("61", "is out of range 0 to 60 seconds (got 61)"),
        ("-1", "is out of range 0 to 60 seconds (got -1)"),
        ("15.5", "15.5 s must be at most half of dead_timeout, 30 s (got 15.5)"),
    ] {
        let found = problems(&format!("spec: {{mesh: {{detection: {value}}}}}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(&format!("spec.mesh.detection: {expected}")), "{found:?}");
    }
}

#[test]
fn values_at_the_limits_are_taken_and_beyond_them_refused() {
    for (key, taken, refused) in [
        (
            "api: {port: V}",
            vec!["1", "65535"],
            vec!["0", "65536", "-1", "'8000'", "8000.0", ".inf"],
        ),
        ("api: {body_bytes_max: V}", vec!["1024", "67108864"], vec!["1023", "67108865"]),
        ("api: {max_concurrent: V}", vec!["0", "1000000"], vec!["1000001", "-1", "1.5"]),
        ("api: {queue_max: V}", vec!["0", "65536"], vec!["65537", "none"]),
        ("api: {queue_timeout: V}", vec!["0.001", "3600"], vec!["0", "3601"]),
        ("api: {connect_timeout: V}", vec!["0.001", "60"], vec!["0", "60.1"]),
        ("api: {first_byte_timeout: V}", vec!["0", "1", "86400"], vec!["0.5", "86401", "off"]),
        ("api: {idle_timeout: V}", vec!["0", "0.001", "86400"], vec!["0.0001", "-1", "86401"]),
        ("api: {total_timeout: V}", vec!["0.0", "1", "86400"], vec!["0.5", "86401"]),
        ("api: {workers: V}", vec!["auto", "1", "256"], vec!["0", "257", "'4'", "1.5", "all"]),
        ("api: {access_log: V}", vec!["true", "false"], vec!["on", "0"]),
        ("mesh: {gossip_interval: V}", vec!["0.1", "3600"], vec!["0.09", "3600.1", "true", "[]"]),
        ("mesh: {gossip_fanout: V}", vec!["1", "64"], vec!["0", "65"]),
        ("mesh: {enabled: V}", vec!["true", "false", ""], vec!["yes", "1", "'true'"]),
        ("mesh: {bind: V}", vec!["'[::]:1'", "1.2.3.4:65535"], vec!["a:1", "1.2.3.4:0", "8000"]),
        (
            "mesh: {advertise: V}",
            vec!["host", "host:1", "'::1'", "'[::1]:80'", "10.0.0.1", "a.b-c.example:65535"],
            vec!["''", "'::'", "'[::]:80'", "host:0", "'http://host:80'", "'host:'", "'a b'", "7"],
        ),
        (
            "mesh: {seeds: [V]}",
            vec!["'http://a'", "'https://[::1]:8000/x/'"],
            vec!["'http://'", "'http://u:p@a'", "'http://a?b'", "'http://a#b'", "''", "null"],
        ),
        ("log_level: V", vec!["debug", "info", "warning", "error"], vec!["trace", "INFO", "1"]),
        (
            "log: {format: V}",
            vec!["auto", "text", "json", "journald"],
            vec!["JSON", "logfmt", "1", "'%(asctime)s'"],
        ),
        ("log: {file: {format: V}}", vec!["text", "json"], vec!["auto", "journald"]),
        ("log: {levels: {gossip: V}}", vec!["debug", "error", ""], vec!["trace", "2"]),
        ("log: {levels: {V: info}}", vec!["proxy", "libraries"], vec!["gossp", "cli"]),
        ("log: {file: {bytes_max: V}}", vec!["65536"], vec!["65535", "1099511627777", "64MiB"]),
        ("log: {file: {files_max: V}}", vec!["1", "1000"], vec!["0", "1001"]),
        ("mesh: {node_name: V}", vec!["''", "a", "é"], vec!["\"a\\nb\"", "7"]),
    ] {
        for value in taken {
            let text = format!("spec: {{{}}}", key.replace('V', value));
            assert!(load_text(&text).is_ok(), "{text}: {:?}", load_text(&text));
        }
        for value in refused {
            let text = format!("spec: {{{}}}", key.replace('V', value));
            assert_eq!(load_text(&text).map_err(|found| found.list().len()), Err(1), "{text}");
        }
    }
    for (key, length_max) in [("node_name", 64), ("cluster", 255)] {
        let text = |length| format!("spec: {{mesh: {{{key}: {}}}}}", "n".repeat(length));
        assert!(load_text(&text(length_max)).is_ok(), "{key}");
        assert!(load_text(&text(length_max + 1)).is_err(), "{key}");
    }
    assert!(load_text("spec: {mesh: {cluster: ''}}").is_err());
}

#[test]
fn an_advertised_host_is_kept_apart_from_its_port() {
    for (text, host, port) in [
        ("host", "host", None),
        ("host:81", "host", Some(81)),
        ("10.0.0.1:82", "10.0.0.1", Some(82)),
        ("::1", "::1", None),
        ("[::1]", "::1", None),
        ("[::1]:83", "::1", Some(83)),
    ] {
        let runtime = load_text(&format!("spec: {{mesh: {{advertise: '{text}'}}}}")).unwrap();
        let expected = Advertise { host: host.to_owned(), port };
        assert_eq!(runtime.mesh.advertise, Some(expected), "{text}");
    }
}

#[test]
fn a_key_in_the_wrong_section_is_pointed_to_its_own() {
    assert_eq!(
        problems("spec: {port: 1, fanout: 2, nonsense: 3}\n"),
        [
            "1 spec.port: unknown key (got 1) -> did you mean spec.api.port?",
            "1 spec.fanout: unknown key (got 2) -> remove it; possible here: data_dir, pid_file, \
             drain_timeout, log_level, log, api, services, peers, mesh, defaults, observability",
            "1 spec.nonsense: unknown key (got 3) -> remove it; possible here: data_dir, \
             pid_file, drain_timeout, log_level, log, api, services, peers, mesh, defaults, \
             observability",
        ]
    );
}

#[test]
fn text_that_is_no_mapping_or_no_yaml_is_refused_with_its_line() {
    assert_eq!(problems("- a\n"), ["1 : must be a mapping (got [\"a\"]) -> begin with `spec:`"]);
    let twice = problems("spec:\n  mesh: {}\n  mesh: {}\n");
    assert_eq!(twice.len(), 1);
    assert!(twice[0].starts_with("3 : cannot be read as YAML: key `mesh` is given twice"));

    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("runtime.yaml"), b"spec: \xff\n").unwrap();
    let error = load(&flags(directory.path()), &Environment::default()).unwrap_err();
    assert_eq!(error.list()[0].remedy, "save the file as UTF-8");

    let long = format!("# {}\n", "x".repeat(1 << 20));
    assert!(problems(&long)[0].contains("the text is longer than 1048576 bytes"));
}

#[test]
fn problems_and_their_values_are_cut_to_a_readable_length() {
    let many: String = (0..PROBLEMS_MAX + 7).map(|index| format!("key{index}: 1\n")).collect();
    let error = load_text(&many).unwrap_err();
    assert_eq!(error.list().len(), PROBLEMS_MAX);
    assert!(error.to_string().ends_with("\nand 7 more problems"));

    let error = load_text(&format!("x: {}\n", "é".repeat(500))).unwrap_err();
    let value = error.list()[0].value.clone().unwrap();
    assert_eq!(value, format!("\"{}…", "é".repeat(79)));
}

#[test]
fn peers_beside_a_mesh_are_kept_with_a_warning() {
    let peers = "peers: [{name: a, url: 'http://a'}]";
    let runtime = load_text(&format!("spec: {{{peers}, mesh: {{enabled: true}}}}")).unwrap();
    assert_eq!(runtime.warnings, ["spec.peers ignored when mesh is enabled"]);
    let runtime = load_text(&format!("spec: {{{peers}}}")).unwrap();
    assert_eq!(runtime.warnings, Vec::<String>::new());
}

#[test]
fn the_example_holds_every_key_at_its_default() {
    let text = fs::read_to_string(repository("config/runtime.yaml")).unwrap();
    let example = directory(&text);
    let of_example = load(&flags(example.path()), &Environment::default()).unwrap();

    fs::write(example.path().join("runtime.yaml"), "").unwrap();
    assert_eq!(of_example, load(&flags(example.path()), &Environment::default()).unwrap());

    for path in schema::paths() {
        let name = path.rsplit('.').next().unwrap();
        assert!(text.contains(&format!("{name}:")), "config/runtime.yaml lacks {path}");
    }
}

#[test]
fn each_profile_turns_on_what_its_role_needs() {
    use Service::{Agents, Api, Channels, Inference, Memory, Observability, Rag, Tools};

    let gateway = vec![Api, Channels, Observability];
    let worker = vec![Api, Agents, Memory, Tools, Rag, Observability];
    let inference = vec![Api, Inference, Observability];
    let seed = vec!["http://gateway:8000/"];
    let profiles = [
        ("full", Service::ALL.to_vec(), vec![], None),
        ("gateway", gateway.clone(), vec!["http://worker:8000/"], None),
        ("worker", worker.clone(), vec!["http://inference:8000/"], None),
        ("inference", inference.clone(), vec![], None),
        ("mesh-gateway", gateway, vec![], Some(("gateway", vec![]))),
        ("mesh-worker", worker, vec![], Some(("worker", seed.clone()))),
        ("mesh-inference", inference, vec![], Some(("inference", seed))),
    ];
    let shipped: BTreeSet<_> = fs::read_dir(repository("config/profiles"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected: BTreeSet<_> = profiles.iter().map(|(name, ..)| format!("{name}.yaml")).collect();
    assert_eq!(shipped, expected);

    for (name, services, peers, mesh) in profiles {
        let runtime = shipped_profile(name);
        assert_eq!(runtime.api.workers, Workers::Auto, "{name}");
        assert_eq!(runtime.services.enabled(), services, "{name}");
        let urls: Vec<_> = runtime.peers.iter().map(|peer| peer.url.as_str()).collect();
        assert_eq!(urls, peers, "{name}");
        assert_eq!(runtime.warnings, Vec::<String>::new(), "{name}");
        assert_eq!(runtime.mesh.enabled, mesh.is_some(), "{name}");
        if let Some((node_name, seeds)) = mesh {
            assert_eq!(runtime.mesh.node_name, node_name);
            let urls: Vec<_> = runtime.mesh.seeds.iter().map(url::Url::as_str).collect();
            assert_eq!(urls, seeds, "{name}");
        }
    }
}

#[test]
fn the_port_flag_moves_both_http_and_gossip_of_a_shipped_mesh_profile() {
    let text = fs::read_to_string(repository("config/profiles/mesh-worker.yaml")).unwrap();
    let directory = directory(&text);
    let overrides = Overrides { port: Some(8101), ..flags(directory.path()) };
    let runtime = load(&overrides, &Environment::default()).unwrap();
    assert_eq!((runtime.api.port, runtime.mesh.bind.port()), (8101, 8101));
}

#[test]
fn the_reference_in_the_documentation_is_that_of_the_code() {
    let path = repository("docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let begin = text.find("<!-- keys:").unwrap();
    let begin = begin + text[begin..].find('\n').unwrap() + 1;
    let end = text.find("<!-- end of keys -->").unwrap();
    let expected = format!("\n{}\n", schema::reference());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, format!("{}{expected}{}", &text[..begin], &text[end..])).unwrap();
        return;
    }
    assert_eq!(
        &text[begin..end],
        expected,
        "run UPDATE_GOLDEN=1 cargo test --test config, and look at the difference"
    );
}
