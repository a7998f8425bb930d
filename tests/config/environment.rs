//! The layer of environment variables: what each key's variable sets, and what is said of wrong ones.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use astromesh::config::{Environment, OtlpProtocol, Overrides, Problems, Runtime, load, schema};

use crate::{directory, flags, repository};

fn load_with(file: &str, variables: &[(&str, &str)]) -> Result<Runtime, Problems> {
    let directory = directory(file);
    load(&flags(directory.path()), &variables.iter().copied().collect())
}

/// What is said about variables, the file being empty.
fn said(variables: &[(&str, &str)]) -> Vec<String> {
    let problems = load_with("", variables).unwrap_err();
    problems.list().iter().map(ToString::to_string).collect()
}

/// Variable, its text, and the same in a file.
const ALL: &[(&str, &str, &str)] = &[
    ("ASTROMESH_DATA_DIR", "/srv/mesh", "data_dir: /srv/mesh"),
    ("ASTROMESH_PID_FILE", "/run/a.pid", "pid_file: /run/a.pid"),
    ("ASTROMESH_DRAIN_TIMEOUT", "2.5", "drain_timeout: 2.5"),
    ("ASTROMESH_LOG_LEVEL", "WARNING", "log_level: warning"),
    ("ASTROMESH_LOG_FORMAT", "JSON", "log: {format: json}"),
    ("ASTROMESH_LOG_LEVELS_AGENT", "debug", "log: {levels: {agent: debug}}"),
    ("ASTROMESH_LOG_LEVELS_API", "debug", "log: {levels: {api: debug}}"),
    ("ASTROMESH_LOG_LEVELS_CONFIG", "debug", "log: {levels: {config: debug}}"),
    ("ASTROMESH_LOG_LEVELS_DIRECTORY", "debug", "log: {levels: {directory: debug}}"),
    ("ASTROMESH_LOG_LEVELS_DOCTOR", "debug", "log: {levels: {doctor: debug}}"),
    ("ASTROMESH_LOG_LEVELS_GOSSIP", "debug", "log: {levels: {gossip: debug}}"),
    ("ASTROMESH_LOG_LEVELS_INFERENCE", "debug", "log: {levels: {inference: debug}}"),
    ("ASTROMESH_LOG_LEVELS_MODEL", "debug", "log: {levels: {model: debug}}"),
    ("ASTROMESH_LOG_LEVELS_NODE", "debug", "log: {levels: {node: debug}}"),
    ("ASTROMESH_LOG_LEVELS_PROXY", "debug", "log: {levels: {proxy: debug}}"),
    ("ASTROMESH_LOG_LEVELS_ROUTING", "debug", "log: {levels: {routing: debug}}"),
    ("ASTROMESH_LOG_LEVELS_TELEMETRY", "debug", "log: {levels: {telemetry: debug}}"),
    ("ASTROMESH_LOG_LEVELS_LIBRARIES", "debug", "log: {levels: {libraries: debug}}"),
    ("ASTROMESH_LOG_FILE_ENABLED", "true", "log: {file: {enabled: true}}"),
    ("ASTROMESH_LOG_FILE_DIRECTORY", "/srv/log", "log: {file: {directory: /srv/log}}"),
    ("ASTROMESH_LOG_FILE_FORMAT", "json", "log: {file: {format: json}}"),
    ("ASTROMESH_LOG_FILE_BYTES_MAX", "65536", "log: {file: {bytes_max: 65536}}"),
    ("ASTROMESH_LOG_FILE_FILES_MAX", "2", "log: {file: {files_max: 2}}"),
    ("ASTROMESH_API_HOST", "::1", "api: {host: '::1'}"),
    ("ASTROMESH_API_PORT", "9000", "api: {port: 9000}"),
    ("ASTROMESH_API_BODY_BYTES_MAX", "2048", "api: {body_bytes_max: 2048}"),
    ("ASTROMESH_API_MAX_CONCURRENT", "8", "api: {max_concurrent: 8}"),
    ("ASTROMESH_API_MODEL_MAX_CONCURRENT", "4", "api: {model_max_concurrent: 4}"),
    ("ASTROMESH_API_QUEUE_MAX", "16", "api: {queue_max: 16}"),
    ("ASTROMESH_API_QUEUE_TIMEOUT", "2.5", "api: {queue_timeout: 2.5}"),
    ("ASTROMESH_API_CONNECT_TIMEOUT", "0.25", "api: {connect_timeout: 0.25}"),
    ("ASTROMESH_API_FIRST_BYTE_TIMEOUT", "0", "api: {first_byte_timeout: 0}"),
    ("ASTROMESH_API_IDLE_TIMEOUT", "7", "api: {idle_timeout: 7}"),
    ("ASTROMESH_API_TOTAL_TIMEOUT", "90", "api: {total_timeout: 90}"),
    ("ASTROMESH_API_WORKERS", "auto", "api: {workers: auto}"),
    ("ASTROMESH_API_ACCESS_LOG", "false", "api: {access_log: false}"),
    ("ASTROMESH_SERVICES_API", "false", "services: {api: false}"),
    ("ASTROMESH_SERVICES_AGENTS", "false", "services: {agents: false}"),
    ("ASTROMESH_SERVICES_INFERENCE", "false", "services: {inference: false}"),
    ("ASTROMESH_SERVICES_MEMORY", "false", "services: {memory: false}"),
    ("ASTROMESH_SERVICES_TOOLS", "false", "services: {tools: false}"),
    ("ASTROMESH_SERVICES_CHANNELS", "false", "services: {channels: false}"),
    ("ASTROMESH_SERVICES_RAG", "false", "services: {rag: false}"),
    ("ASTROMESH_SERVICES_OBSERVABILITY", "false", "services: {observability: false}"),
    (
        "ASTROMESH_PEERS",
        r#"[{"name": "a", "url": "http://a/", "services": ["rag"]}]"#,
        "peers: [{name: a, url: 'http://a', services: [rag]}]",
    ),
    ("ASTROMESH_MESH_ENABLED", "true", "mesh: {enabled: true}"),
    ("ASTROMESH_MESH_NODE_NAME", "7", "mesh: {node_name: '7'}"),
    ("ASTROMESH_MESH_CLUSTER", "true", "mesh: {cluster: 'true'}"),
    ("ASTROMESH_MESH_BIND", "[::]:7000", "mesh: {bind: '[::]:7000'}"),
    ("ASTROMESH_MESH_ADVERTISE", "node-1:7001", "mesh: {advertise: 'node-1:7001'}"),
    (
        "ASTROMESH_MESH_SEEDS",
        " http://a:1, http://b:2/ ,",
        "mesh: {seeds: ['http://a:1', 'http://b:2']}",
    ),
    ("ASTROMESH_MESH_HEARTBEAT_INTERVAL", "1.5", "mesh: {heartbeat_interval: 1.5}"),
    ("ASTROMESH_MESH_GOSSIP_INTERVAL", "0.25", "mesh: {gossip_interval: 0.25}"),
    ("ASTROMESH_MESH_GOSSIP_FANOUT", "4", "mesh: {gossip_fanout: 4}"),
    ("ASTROMESH_MESH_DETECTION", "patient", "mesh: {detection: patient}"),
    ("ASTROMESH_MESH_FAILURE_TIMEOUT", "16", "mesh: {failure_timeout: 16}"),
    ("ASTROMESH_MESH_DEAD_TIMEOUT", "31", "mesh: {dead_timeout: 31}"),
    ("ASTROMESH_OBSERVABILITY_OTLP_ENABLED", "true", "observability: {otlp: {enabled: true}}"),
    (
        "ASTROMESH_OBSERVABILITY_OTLP_ENDPOINT",
        "https://c:1/a/",
        "observability: {otlp: {endpoint: 'https://c:1/a'}}",
    ),
    (
        "ASTROMESH_OBSERVABILITY_OTLP_PROTOCOL",
        "http/protobuf",
        "observability: {otlp: {protocol: http/protobuf}}",
    ),
    ("ASTROMESH_OBSERVABILITY_OTLP_SAMPLE", "0.25", "observability: {otlp: {sample: 0.25}}"),
];

/// Keys whose values are checked, but reach no setting yet.
const WITHOUT_EFFECT: [&str; 2] =
    ["ASTROMESH_DEFAULTS_ORCHESTRATION_PATTERN", "ASTROMESH_DEFAULTS_ORCHESTRATION_MAX_ITERATIONS"];

#[test]
fn each_variable_sets_what_its_key_sets() {
    let directory = directory("");
    let load_here = |file: &str, environment: &Environment| {
        std::fs::write(directory.path().join("runtime.yaml"), file).unwrap();
        load(&flags(directory.path()), environment).unwrap()
    };
    let defaults = load_here("", &Environment::default());
    for (name, text, file) in ALL {
        let by_file = load_here(&format!("spec: {{{file}}}"), &Environment::default());
        let by_variable = load_here("", &[(*name, *text)].into_iter().collect());
        assert_eq!(by_variable, by_file, "{name}");
        assert_ne!(by_variable, defaults, "{name} sets the default");
    }
    let covered: BTreeSet<_> = ALL.iter().map(|(name, ..)| *name).chain(WITHOUT_EFFECT).collect();
    let names: Vec<_> = schema::variables().collect();
    assert_eq!(covered, names.iter().map(String::as_str).collect());
}

#[test]
fn the_environment_stands_between_file_and_flags() {
    let directory = directory("spec: {api: {port: 9000, workers: 2}, mesh: {seeds: ['http://a']}}");
    let variables = [
        ("ASTROMESH_API_PORT", "9001"),
        ("ASTROMESH_API_WORKERS", "3"),
        ("ASTROMESH_MESH_SEEDS", "[]"),
    ];
    let overrides = Overrides { port: Some(9002), ..flags(directory.path()) };
    let runtime = load(&overrides, &variables.into_iter().collect()).unwrap();
    assert_eq!((runtime.api.port, runtime.mesh.bind.port()), (9002, 9002));
    assert_eq!(runtime.api.workers.threads(), 3);
    assert_eq!(runtime.mesh.seeds, []);
}

#[test]
fn variables_of_others_set_what_nothing_else_sets() {
    let others = [
        ("ASTROMESH_OTLP_ENABLED", "true"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ];
    let otlp = |file: &str, more: &[(&str, &str)]| {
        load_with(file, &[&others, more].concat()).unwrap().otlp
    };
    let alone = otlp("", &[]);
    assert!(alone.enabled);
    assert_eq!(alone.endpoint.as_str(), "http://collector:4317/");
    assert_eq!(alone.protocol, OtlpProtocol::Http);

    let file = "spec: {observability: {otlp: {enabled: false, endpoint: 'http://c:1', \
                protocol: grpc}}}";
    let by_file = otlp(file, &[]);
    assert!(!by_file.enabled);
    assert_eq!(by_file.endpoint.as_str(), "http://c:1/");
    assert_eq!(by_file.protocol, OtlpProtocol::Grpc);

    for (text, expected) in [("1", true), ("Yes", true), ("on", true), ("0", false), ("no", false)]
    {
        let enabled = load_with("", &[("ASTROMESH_OTLP_ENABLED", text)]).unwrap().otlp.enabled;
        assert_eq!(enabled, expected, "{text}");
    }
    let ours = ("ASTROMESH_OBSERVABILITY_OTLP_ENABLED", "true");
    assert!(otlp(file, &[ours]).enabled, "the variable of the key wins over the file");
    assert_eq!(load_with("", &others).unwrap().warnings, Vec::<String>::new());
    // What comes with the program says nothing of these.
    let shipped = std::fs::read_to_string(repository("config/runtime.yaml")).unwrap();
    assert_eq!(otlp(&shipped, &[]), alone);
}

#[test]
fn what_others_may_mean_for_other_programs_stops_nothing_where_it_sets_nothing() {
    let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@c:4317");
    let off = "OTEL_EXPORTER_OTLP_PROTOCOL: spec.observability.otlp.protocol: is no protocol of OTLP \
               (got \"http/json\"); write grpc or http/protobuf; nothing comes of it while";
    let by_key = format!("{off} spec.observability.otlp.enabled is not true");
    let by_service = format!("{off} spec.services.observability is not true");
    let set = "spec: {observability: {otlp: {enabled: true, endpoint: 'http://c:1', \
               protocol: grpc}}}";
    for (file, expected) in [
        ("", Some(by_key.as_str())),
        ("spec: {observability: {otlp: {enabled: false}}}", Some(&by_key)),
        (
            "spec: {services: {observability: false}, observability: {otlp: {enabled: true}}}",
            Some(&by_service),
        ),
        (set, None),
    ] {
        let runtime = load_with(file, &[protocol, endpoint]).unwrap();
        assert_eq!(runtime.otlp.protocol, OtlpProtocol::Grpc, "{file}");
        assert!(!runtime.otlp.endpoint.as_str().contains("hunter2"), "{file}");
        assert_eq!(
            runtime.warnings.iter().find(|line| line.contains("json")),
            expected.map(str::to_owned).as_ref(),
            "{file}"
        );
        assert_eq!(runtime.warnings.len(), if expected.is_some() { 2 } else { 0 }, "{file}");
        assert!(!runtime.warnings.concat().contains("hunter2"), "{:?}", runtime.warnings);
    }
    let on = ("ASTROMESH_OTLP_ENABLED", "true");
    assert_eq!(said(&[on, protocol, endpoint]).len(), 2);
    let said = said(&[("ASTROMESH_OTLP_ENABLED", "perhaps"), protocol]);
    let expected = "ASTROMESH_OTLP_ENABLED: spec.observability.otlp.enabled: must be true or false \
                    (got \"perhaps\")\n    write true or false";
    assert_eq!(said, [expected]);
}

#[test]
fn the_endpoint_follows_the_protocol() {
    for (protocol, expected) in
        [("grpc", "http://localhost:4317/"), ("http/protobuf", "http://localhost:4318/")]
    {
        let runtime = load_with("", &[("ASTROMESH_OBSERVABILITY_OTLP_PROTOCOL", protocol)]);
        assert_eq!(runtime.unwrap().otlp.endpoint.as_str(), expected);
    }
}

#[test]
fn sections_without_content_take_variables() {
    let runtime = load_with("spec:\n  api:\n", &[("ASTROMESH_API_PORT", "9001")]).unwrap();
    assert_eq!(runtime.api.port, 9001);
}

#[test]
fn a_wrong_variable_is_named_with_its_key_and_a_remedy() {
    for (name, text, expected) in [
        (
            "ASTROMESH_API_PORT",
            "70000",
            "spec.api.port: is out of range 1 to 65535 (got 70000)\n    \
             write a whole number from 1 to 65535, without quotes",
        ),
        (
            "ASTROMESH_API_PORT",
            "80 00",
            "spec.api.port: must be a whole number (got \"80 00\")\n    \
             write a whole number from 1 to 65535, without quotes",
        ),
        (
            "ASTROMESH_MESH_ENABLED",
            "yes",
            "spec.mesh.enabled: must be true or false (got \"yes\")\n    \
             write true, without quotes",
        ),
        (
            "ASTROMESH_MESH_SEEDS",
            "http://a:1,b:2",
            "spec.mesh.seeds[1]: is no http or https URL (got \"b:2\")\n    write http://b:2",
        ),
        (
            "ASTROMESH_PEERS",
            "[{name: a}]",
            "spec.peers[0].url: is missing\n    add `url:` to this item",
        ),
        (
            "ASTROMESH_PEERS",
            "[{name: a",
            "spec.peers: cannot be read as YAML: while parsing a flow mapping, did not find expected ',' or \
             '}' (got \"[{name: a\")\n    write it as in the file, a list as [a, b] or as JSON",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/json",
            "spec.observability.otlp.protocol: is no protocol of OTLP (got \"http/json\")\n    \
             write grpc or http/protobuf",
        ),
        (
            "ASTROMESH_OBSERVABILITY_OTLP_SAMPLE",
            "10",
            "spec.observability.otlp.sample: is out of range 0 to 1 (got 10)\n    \
             write 1 for all, 0.1 for a tenth",
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://me:hunter2@c:4317",
            "spec.observability.otlp.endpoint: holds a user name or password (got \
             \"http://***@c:4317\")\n    remove what stands before the @",
        ),
        (
            "ASTROMESH_LOG_LEVEL",
            "loud",
            "spec.log_level: is no log level (got \"loud\")\n    \
             write debug, info, warning or error",
        ),
    ] {
        // Where nothing is exported, nobody minds the variables of OpenTelemetry.
        let on = ("ASTROMESH_OBSERVABILITY_OTLP_ENABLED", "true");
        assert_eq!(said(&[on, (name, text)]), [format!("{name}: {expected}")]);
    }
}

#[test]
fn what_may_be_a_key_is_in_no_proposal_for_an_endpoint() {
    let remedy = "\n    write http://HOST:PORT, such as http://collector:4317";
    for text in ["c:4317?token=hunter2", "c:4317#hunter2", "me:hunter2@c:4317"] {
        let said = said(&[("ASTROMESH_OBSERVABILITY_OTLP_ENDPOINT", text)]);
        assert!(said[0].ends_with(remedy), "{said:?}");
    }
}

#[test]
fn problems_of_all_layers_are_named_together() {
    let file = "spec:\n  api:\n    prot: 1\n  mesh: {failure_timeout: 40}\n";
    let variables = [("ASTROMESH_MESH_DEAD_TIMEOUT", "35"), ("ASTROMESH_API_HOST", "localhost")];
    let problems = load_with(file, &variables).unwrap_err();
    let said: Vec<_> =
        problems.list().iter().map(|problem| format!("{} {}", problem.key, problem.what)).collect();
    assert_eq!(
        said,
        [
            "spec.api.prot unknown key",
            "spec.api.host must be an IP address",
            "spec.mesh.dead_timeout must be longer than failure_timeout, 40 s",
        ]
    );
    let last = problems.list()[2].to_string();
    assert!(last.starts_with("ASTROMESH_MESH_DEAD_TIMEOUT: spec.mesh.dead_timeout: "), "{last}");
}

#[test]
fn a_wrong_value_in_the_file_is_found_behind_a_variable() {
    let problems =
        load_with("spec: {api: {port: 0}}", &[("ASTROMESH_API_PORT", "9000")]).unwrap_err();
    assert_eq!(problems.list().len(), 1);
    assert_eq!(problems.list()[0].what, "is out of range 1 to 65535");
}

#[test]
fn a_variable_that_is_no_text_is_refused() {
    let directory = directory("");
    let name = "ASTROMESH_MESH_NODE_NAME".to_owned();
    let environment = [(name, OsString::from_vec(vec![b'a', 0xff]))].into_iter().collect();
    let problems = load(&flags(directory.path()), &environment).unwrap_err();
    assert_eq!(problems.list()[0].what, "is not UTF-8");
}

#[test]
fn a_relative_path_in_a_variable_starts_at_the_working_directory() {
    let runtime = load_with("", &[("ASTROMESH_DATA_DIR", "lasting")]).unwrap();
    assert_eq!(runtime.data_dir, std::env::current_dir().unwrap().join(Path::new("lasting")));
}

#[test]
fn a_variable_that_means_nothing_is_warned_about() {
    let variables = [("ASTROMESH_API_PROT", "1"), ("ASTROMESH_MESH_BIND_PORT", "2")];
    assert_eq!(
        load_with("", &variables).unwrap().warnings,
        [
            "ASTROMESH_API_PROT sets nothing: did you mean ASTROMESH_API_PORT?",
            "ASTROMESH_MESH_BIND_PORT sets nothing: use ASTROMESH_API_PORT, which gossip shares",
        ]
    );
}
