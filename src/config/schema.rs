//! The table of all keys of `runtime.yaml`.
//!
//! Owns every path with its kind, default and meaning, and the names that other versions and
//! documents used for them. The walk in `check`, the defaults in `runtime` and the reference in
//! `docs/configuration.md` all come from this table. Refuses to read files.

use astromesh_wire::limits::{CLUSTER_BYTES_MAX, NAME_BYTES_MAX};

use super::environment::variable;
use super::kind::{ALL_FORMATS, Kind};
use super::log::LogFormat;
use super::reload::{self, When};

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Dotted path; `[]` stands for any item of a list.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) default: WhenMissing,
    /// Meaning and relations to other keys, in Markdown.
    pub(super) doc: &'static str,
}

/// What holds when a key is left out or `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenMissing {
    /// This YAML text.
    Is(&'static str),
    /// Something that depends on other keys or on the host, put in words.
    Computed(&'static str),
    /// Nothing: the key must be given wherever its item is.
    Required,
}

use WhenMissing::{Computed, Is, Required};

const fn key(path: &'static str, kind: Kind, default: WhenMissing, doc: &'static str) -> Key {
    Key { path, kind, default, doc }
}

const PORT: Kind = Kind::Integer { min: 1, max: 65_535 };
/// From a tenth of a second, for tests on one machine, to an hour.
const SECONDS: Kind = Kind::Seconds { min: 0.1, max: 3_600.0 };

/// Up to a day, or none at all.
const DEADLINE: Kind = Kind::SecondsOrOff { min: 0.001, max: 86_400.0 };

/// Of a module that has no level of its own.
const LEVEL: WhenMissing = Computed("`spec.log_level`");

pub(super) const PEERS_MAX: usize = 256;
pub(super) const SEEDS_MAX: usize = 64;

/// Every key that `runtime.yaml` may hold, each section before what is in it.
pub(super) const KEYS: &[Key] = &[
    key("apiVersion", Kind::Exactly("astromesh/v1"), Is("astromesh/v1"), "Version of the format."),
    key("kind", Kind::Exactly("RuntimeConfig"), Is("RuntimeConfig"), "What the file describes."),
    key("metadata", Kind::Free, Is("{}"), "Free for a `name` and labels of your own; not read."),
    key("spec", Kind::Section, Is("{}"), "Everything below."),
    key(
        "spec.data_dir",
        Kind::Path,
        Computed(
            "`/var/lib/astromesh` when the configuration directory is `/etc/astromesh`, \
                  else `data` in the configuration directory",
        ),
        "Where the node keeps its identity and other lasting data.",
    ),
    key(
        "spec.pid_file",
        Kind::Path,
        Computed(
            "`/var/run/astromesh/astromeshd.pid`, else \
                  `$XDG_RUNTIME_DIR/astromesh/astromeshd.pid`, else none",
        ),
        "Where the daemon keeps its process id while it runs. A path that is set must be writable and \
         free; the default may be neither. `--pid-file` wins.",
    ),
    key(
        "spec.drain_timeout",
        Kind::Seconds { min: 0.0, max: 86_400.0 },
        Is("30"),
        "How long requests in flight may take to end when the daemon stops; then they are cut. 0 \
         cuts them at once.",
    ),
    key(
        "spec.log_level",
        Kind::LogLevel,
        Is("info"),
        "The least severe events that are logged. `--log-level` wins; `astromeshctl log-level` \
         changes it while the daemon runs.",
    ),
    key("spec.log", Kind::Section, Is("{}"), "Log lines: what they look like and where they go."),
    key(
        "spec.log.format",
        Kind::LogFormat(ALL_FORMATS),
        Is("auto"),
        "What lines on standard error look like. `text` is for people, in colour on a terminal; \
         `json` has an object a line; `journald` sends messages with fields to systemd's journal. \
         `auto` is `journald` when standard error is the journal, else `text`.",
    ),
    key(
        "spec.log.levels",
        Kind::Section,
        Is("{}"),
        "Levels of modules, where they differ from `spec.log_level`.",
    ),
    key("spec.log.levels.agent", Kind::LogLevel, LEVEL, "Agent files and runs."),
    key("spec.log.levels.api", Kind::LogLevel, LEVEL, "The routes of the HTTP server."),
    key("spec.log.levels.config", Kind::LogLevel, LEVEL, "The reading of settings."),
    key("spec.log.levels.directory", Kind::LogLevel, LEVEL, "Who serves what."),
    key("spec.log.levels.doctor", Kind::LogLevel, LEVEL, "What examines the node."),
    key("spec.log.levels.gossip", Kind::LogLevel, LEVEL, "The mesh: members, deaths, seeds."),
    key("spec.log.levels.inference", Kind::LogLevel, LEVEL, "Model servers of this node."),
    key("spec.log.levels.model", Kind::LogLevel, LEVEL, "Calls of models."),
    key("spec.log.levels.node", Kind::LogLevel, LEVEL, "Start, stop, signals."),
    key(
        "spec.log.levels.proxy",
        Kind::LogLevel,
        LEVEL,
        "Connections of clients and to other nodes.",
    ),
    key("spec.log.levels.routing", Kind::LogLevel, LEVEL, "The choice of nodes."),
    key("spec.log.levels.telemetry", Kind::LogLevel, LEVEL, "Logs and metrics."),
    key(
        "spec.log.levels.libraries",
        Kind::LogLevel,
        Is("warning"),
        "Code that is not astromesh's own.",
    ),
    key(
        "spec.log.file",
        Kind::Section,
        Is("{}"),
        "A file, `astromeshd.log`, to which all lines go as well.",
    ),
    key("spec.log.file.enabled", Kind::Bool, Is("false"), "Write it."),
    key(
        "spec.log.file.directory",
        Kind::Path,
        Computed(
            "`/var/log/astromesh` when the configuration directory is `/etc/astromesh`, else `log` \
             in the data directory",
        ),
        "Where it is. The daemon does not start when it cannot write there.",
    ),
    key(
        "spec.log.file.format",
        Kind::LogFormat(&[LogFormat::Text, LogFormat::Json]),
        Computed("`json` if `spec.log.format` is, else `text`"),
        "What its lines look like.",
    ),
    key(
        "spec.log.file.bytes_max",
        Kind::Integer { min: 65_536, max: 1_099_511_627_776 },
        Is("67108864"),
        "Longest file in bytes. One that would become longer is renamed to `astromeshd.log.1`, that \
         to `astromeshd.log.2` and so on.",
    ),
    key(
        "spec.log.file.files_max",
        Kind::Integer { min: 1, max: 1_000 },
        Is("8"),
        "Files kept, the one that is written included; the oldest are removed.",
    ),
    key("spec.api", Kind::Section, Is("{}"), "The HTTP server."),
    key(
        "spec.api.host",
        Kind::Ip,
        Is("0.0.0.0"),
        "Address on which the HTTP server listens. `--host` wins.",
    ),
    key(
        "spec.api.port",
        PORT,
        Is("8000"),
        "TCP port of the HTTP server, and UDP port of gossip unless `spec.mesh.bind` says \
         otherwise. `--port` wins; `--port 0` takes any free port.",
    ),
    key(
        "spec.api.body_bytes_max",
        Kind::Integer { min: 1_024, max: 67_108_864 },
        Is("1048576"),
        "Longest request body in bytes; longer ones are answered with 413.",
    ),
    key(
        "spec.api.max_concurrent",
        Kind::Integer { min: 0, max: 1_000_000 },
        Is("0"),
        "Agent requests that this node serves at once; 0 for no limit. A full node refuses before it \
         reads the body, and the request goes to another. An agent file may set a lower limit for \
         its agent.",
    ),
    key(
        "spec.api.model_max_concurrent",
        Kind::Integer { min: 0, max: 1_000_000 },
        Is("0"),
        "Requests for models that this node serves at once; 0 for no limit: model servers queue by \
         themselves. They take no place of `spec.api.max_concurrent`, so that a run never waits for \
         a model that waits for the run.",
    ),
    key(
        "spec.api.queue_max",
        Kind::Integer { min: 0, max: 65_536 },
        Is("1024"),
        "Requests for agents, and as many for models, that may wait for a place when no other node has one. More are answered \
         with 429. Without effect where there is no limit.",
    ),
    key(
        "spec.api.queue_timeout",
        Kind::Seconds { min: 0.001, max: 3_600.0 },
        Is("30"),
        "Longest wait for a place; then the request is answered with 503 `queue_timeout`.",
    ),
    key(
        "spec.api.connect_timeout",
        Kind::Seconds { min: 0.001, max: 60.0 },
        Is("1"),
        "Longest wait for a connection to another node or to an agent's own process.",
    ),
    key(
        "spec.api.first_byte_timeout",
        DEADLINE,
        Is("600"),
        "Longest wait for the first byte of an answer. Not shorter than `connect_timeout`.",
    ),
    key(
        "spec.api.idle_timeout",
        DEADLINE,
        Is("300"),
        "Longest time in which not a byte passes while an answer or a WebSocket is under way.",
    ),
    key(
        "spec.api.total_timeout",
        DEADLINE,
        Is("0"),
        "Longest time from a request to the end of its answer, streams included. Not shorter than \
         `connect_timeout`.",
    ),
    key(
        "spec.api.workers",
        Kind::Workers,
        Is("1"),
        "Threads that serve requests; `auto` for as many as there are processors. `--workers` wins.",
    ),
    key(
        "spec.api.access_log",
        Kind::Bool,
        Is("true"),
        "Write a line to the log for each request that was answered.",
    ),
    key(
        "spec.services",
        Kind::Section,
        Is("{}"),
        "What this node offers. Other nodes see the services that are on.",
    ),
    key("spec.services.api", Kind::Bool, Is("true"), "The HTTP API."),
    key("spec.services.agents", Kind::Bool, Is("true"), "Load and run agents."),
    key("spec.services.inference", Kind::Bool, Is("true"), "Serve models to the mesh."),
    key("spec.services.memory", Kind::Bool, Is("true"), "Conversation memory."),
    key("spec.services.tools", Kind::Bool, Is("true"), "Tools."),
    key("spec.services.channels", Kind::Bool, Is("true"), "Channels such as webhooks."),
    key("spec.services.rag", Kind::Bool, Is("true"), "Retrieval."),
    key("spec.services.observability", Kind::Bool, Is("true"), "Metrics and traces."),
    key(
        "spec.peers",
        Kind::Sections { max: PEERS_MAX },
        Is("[]"),
        "Other nodes, when there is no mesh to find them. Ignored, with a warning, when \
         `spec.mesh.enabled` is `true`.",
    ),
    key(
        "spec.peers[].name",
        Kind::Text { min: 1, max: NAME_BYTES_MAX },
        Required,
        "Label of the peer.",
    ),
    key("spec.peers[].url", Kind::BaseUrl, Required, "Base URL of its HTTP server."),
    key(
        "spec.peers[].services",
        Kind::Services,
        Is("[]"),
        "What it offers: names as under `spec.services`.",
    ),
    key("spec.mesh", Kind::Section, Is("{}"), "How nodes find and watch each other."),
    key("spec.mesh.enabled", Kind::Bool, Is("false"), "Take part in a mesh."),
    key(
        "spec.mesh.node_name",
        Kind::Text { min: 0, max: NAME_BYTES_MAX },
        Computed("name of the host"),
        "Label of this node; need not be unique. Empty is the default.",
    ),
    key(
        "spec.mesh.cluster",
        Kind::Text { min: 1, max: CLUSTER_BYTES_MAX },
        Is("default"),
        "Name of the mesh. Nodes with different names never believe each other.",
    ),
    key(
        "spec.mesh.bind",
        Kind::Socket,
        Computed("`spec.api.host` and `spec.api.port`"),
        "Address and UDP port of gossip. Leave it out to share the port of the HTTP server.",
    ),
    key(
        "spec.mesh.advertise",
        Kind::Advertise,
        Computed("the address in `spec.mesh.bind` if it is no wildcard, else the one a seed sees"),
        "Where other nodes reach this one. The port, if given, stands for both HTTP and gossip; \
         otherwise the ports it listens on are told.",
    ),
    key(
        "spec.mesh.seeds",
        Kind::BaseUrls { max: SEEDS_MAX },
        Is("[]"),
        "Base URLs of nodes to join through. A slash at the end makes no difference. Empty on \
         the first node.",
    ),
    key(
        "spec.mesh.heartbeat_interval",
        SECONDS,
        Is("5"),
        "Longest time between two signs of life of this node.",
    ),
    key("spec.mesh.gossip_interval", SECONDS, Is("2"), "Longest time between two gossip rounds."),
    key(
        "spec.mesh.gossip_fanout",
        Kind::Integer { min: 1, max: 64 },
        Is("3"),
        "Members told in a gossip round; under the evidence rule four at least.",
    ),
    key(
        "spec.mesh.detection",
        Kind::Detection,
        Is("default"),
        "How deaths are decided. `fast`, `default` and `patient` let fixed observers vote and declare \
         a member dead after its first failed probe and 0, 2 or 8 s, in which it may answer after \
         all; a number sets these seconds. Standstills up to about so long are forgiven: `fast` is \
         only for hosts that never stall. `lifeguard` waits for a refutation instead, as older \
         systems do. At most half of `spec.mesh.dead_timeout`. Use the same on all nodes. A \
         change to or from `lifeguard` needs a restart.",
    ),
    key(
        "spec.mesh.failure_timeout",
        SECONDS,
        Is("15"),
        "The lower bound of `spec.mesh.dead_timeout`; otherwise used by `lifeguard` only: a suspicion \
         lasts no longer than that less this. By evidence an observer shows a silent member as \
         suspect within about 1.4 s; the others show it when it is dead.",
    ),
    key(
        "spec.mesh.dead_timeout",
        SECONDS,
        Is("30"),
        "How long a node that can reach neither a member nor a helper waits until it shows the \
         member as dead in its own view; at least 10 s. Bounds the seconds of `spec.mesh.detection`, \
         also for members that keep coming back. Longer than `spec.mesh.failure_timeout`.",
    ),
    key("spec.defaults", Kind::Section, Is("{}"), "Defaults for agents."),
    key("spec.defaults.orchestration", Kind::Section, Is("{}"), "Defaults for their runs."),
    key(
        "spec.defaults.orchestration.pattern",
        Kind::Text { min: 1, max: 64 },
        Is("react"),
        "Accepted; without effect yet.",
    ),
    key(
        "spec.defaults.orchestration.max_iterations",
        Kind::Integer { min: 1, max: 1_000 },
        Is("10"),
        "Accepted; without effect yet.",
    ),
    key("spec.observability", Kind::Section, Is("{}"), "Metrics and traces."),
    key("spec.observability.otlp", Kind::Section, Is("{}"), "Export of traces by OTLP."),
    key(
        "spec.observability.otlp.enabled",
        Kind::Bool,
        Is("false"),
        "Send traces of agent requests and runs to a collector. Without effect where \
         `spec.services.observability` is `false`.",
    ),
    key(
        "spec.observability.otlp.endpoint",
        Kind::Endpoint,
        Computed("`http://localhost:4317`; with `http/protobuf` `http://localhost:4318`"),
        "Base URL of the collector. With `http/protobuf` spans are posted to `/v1/traces` below it.",
    ),
    key(
        "spec.observability.otlp.protocol",
        Kind::OtlpProtocol,
        Is("grpc"),
        "How the collector is spoken to.",
    ),
    key(
        "spec.observability.otlp.sample",
        Kind::Ratio,
        Is("1"),
        "Which part of the traces that begin at this node is exported. A request that comes with a \
         `traceparent` is exported if that says so, whatever this says.",
    ),
];

/// Names that were documented for what has another name here, or none, with what to do.
pub(super) const RENAMED: &[(&str, &str)] = &[
    ("spec.mesh.gossip.interval", "use spec.mesh.gossip_interval"),
    ("spec.mesh.gossip.fanout", "use spec.mesh.gossip_fanout"),
    ("spec.mesh.heartbeat.interval", "use spec.mesh.heartbeat_interval"),
    ("spec.mesh.failure_detection.suspect_threshold", "use spec.mesh.failure_timeout"),
    ("spec.mesh.failure_detection.dead_threshold", "use spec.mesh.dead_timeout"),
    ("spec.mesh.failure_detection.cleanup_threshold", "remove it: dead members need no clean-up"),
    ("spec.mesh.bind_port", "use spec.api.port, which gossip shares, or spec.mesh.bind"),
    ("spec.mesh.routing.strategy", "remove it: routing is by least connections"),
    ("spec.mesh.routing.local_preference", "remove it: routing is by least connections"),
    ("spec.mesh.routing.suspect_penalty", "remove it: routing is by least connections"),
    ("spec.mesh.election.algorithm", "remove it: the highest id leads"),
    ("spec.mesh.election.timeout", "remove it: an election takes no time"),
    ("spec.providers", "name the provider in the model block of each agent file"),
    ("spec.logging.level", "use spec.log_level"),
];

/// The key with this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The names directly inside a section; `""` is the document.
pub(super) fn names_in(section: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |key| {
        let (parent, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        (parent == section).then_some(name)
    })
}

/// The table as Markdown, one row for each key: the reference in `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut text =
        "| Key | Variable | Value | Default | Reload | Meaning |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for key in KEYS {
        let default = match key.default {
            _ if key.kind == Kind::Section => "",
            Is(yaml) => &format!("`{yaml}`"),
            Computed(words) => words,
            Required => "required",
        };
        let variable = variable(key).map_or_else(String::new, |name| format!("`{name}`"));
        let value = key.kind.describe();
        let takes = match reload::when(key.path) {
            Some(When::Reload) => "yes",
            Some(When::Restart) => "no",
            None => "",
        };
        let (path, doc) = (key.path, key.doc);
        let row = format!("| `{path}` | {variable} | {value} | {default} | {takes} | {doc} |\n");
        text.push_str(&row);
    }
    text
}

/// The variable of every key that has one.
pub fn variables() -> impl Iterator<Item = String> {
    KEYS.iter().filter_map(variable)
}

/// The path of every key, `[]` standing for any item of a list.
pub fn paths() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for key in KEYS {
            if let Is(text) = key.default {
                let value = yaml::read(text).unwrap();
                assert_eq!(key.kind.check(&value), [], "{}", key.path);
            }
        }
    }

    #[test]
    fn every_key_is_listed_once_after_its_section() {
        for (index, key) in KEYS.iter().enumerate() {
            let before = &KEYS[..index];
            assert!(before.iter().all(|other| other.path != key.path), "{} twice", key.path);
            let Some((section, _)) = key.path.rsplit_once('.') else { continue };
            let section = section.trim_end_matches("[]");
            assert!(before.iter().any(|other| other.path == section), "{} adrift", key.path);
        }
    }

    #[test]
    fn no_name_is_both_a_key_and_renamed() {
        for (path, _) in RENAMED {
            assert!(find(path).is_none(), "{path}");
        }
    }
}
