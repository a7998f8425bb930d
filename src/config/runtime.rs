//! The settings of a node, as values the rest of the program uses.
//!
//! Owns the meaning of `runtime.yaml` after all layers (defaults < file < environment < flags) and
//! the problems that lie between keys. Refuses to find files, and to check what a single key may
//! hold.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use astromesh_wire::Service;
use astromesh_wire::limits::NAME_BYTES_MAX;
use serde_json::Value;
use url::Url;

use super::SYSTEM_DIRECTORY;
use super::api::{self, Api};
use super::kind::{self, Kind};
use super::layers::Layers;
use super::log::{self, Log, LogLevel};
use super::otlp::{self, Otlp};
use super::problem::{Gathered, Problems};
use super::schema::{self, PEERS_MAX, SEEDS_MAX, WhenMissing};
use super::yaml;

/// Everything that can be set. Which of it a running node takes over is said in `reload`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// The file that was read.
    pub file: PathBuf,
    /// The configuration directory, which holds the file; agents are in `agents/` inside it.
    pub dir: PathBuf,
    /// Where the node keeps its identity and other lasting data. May not exist yet.
    pub data_dir: PathBuf,
    /// The file that holds the process id; `None` means the place of a service of the system.
    pub pid_file: Option<PathBuf>,
    /// How long requests in flight may take when the node stops; default 30 s.
    pub drain_timeout: Duration,
    /// The HTTP server.
    pub api: Api,
    /// What the node offers.
    pub services: Services,
    /// Other nodes, used only without a mesh; at most 256.
    pub peers: Vec<Peer>,
    /// The mesh.
    pub mesh: Mesh,
    /// The least severe events that are logged; default `info`.
    pub log_level: LogLevel,
    /// Log lines: what they look like and where they go.
    pub log: Log,
    /// The export of traces.
    pub otlp: Otlp,
    /// What is odd but no reason to refuse, for the log.
    pub warnings: Vec<String>,
}

/// The services that are on; by default all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    /// In the order of [`Service::ALL`].
    enabled: Vec<Service>,
}

impl Services {
    /// The services that are on, in the order of [`Service::ALL`].
    #[must_use]
    pub fn enabled(&self) -> Vec<Service> {
        self.enabled.clone()
    }

    /// Whether a service is on.
    #[must_use]
    pub fn contains(&self, service: Service) -> bool {
        self.enabled.contains(&service)
    }
}

/// A node named by its operator instead of found by the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its label.
    pub name: String,
    /// Base URL of its HTTP server; the path ends in no slash unless it is only that.
    pub url: Url,
    /// What it offers, as its operator says.
    pub services: Vec<Service>,
}

/// How nodes find and watch each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// Whether this node takes part; default false.
    pub enabled: bool,
    /// Label of this node, 1 to 64 bytes; default the name of the host. Need not be unique.
    pub node_name: String,
    /// Name of the mesh, 1 to 255 bytes; default `default`. Nodes of other names are not believed.
    pub cluster: String,
    /// UDP address of gossip; default host and port of [`Api`].
    pub bind: SocketAddr,
    /// Where other nodes reach this one; by default found out from `bind` or from a seed.
    pub advertise: Option<Advertise>,
    /// Base URLs of nodes to join through, at most 64; default none. The path of each ends in no
    /// slash unless it is only that.
    pub seeds: Vec<Url>,
    /// Longest time between two signs of life; default 5 s.
    pub heartbeat_interval: Duration,
    /// Longest time between two gossip rounds; default 2 s.
    pub gossip_interval: Duration,
    /// Members told in a gossip round, 1 to 64; default 3.
    pub gossip_fanout: usize,
    /// How a death is decided; default by evidence, with a floor of 2 s.
    pub detection: Detection,
    /// Bounds suspicions under `lifeguard`, with `dead_timeout`; default 15 s.
    pub failure_timeout: Duration,
    /// When a node that reaches nobody shows a silent member as dead; default 30 s. Longer than
    /// `failure_timeout`.
    pub dead_timeout: Duration,
}

/// How a death is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detection {
    /// By the votes of fixed observers.
    Evidence {
        /// Standstills up to about this long are forgiven; at most 60 s.
        floor: Duration,
    },
    /// By waiting for a refutation (SWIM with Lifeguard).
    Lifeguard,
}

/// Where other nodes reach this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    /// Host name or IP address, IPv6 without brackets; never a wildcard.
    pub host: String,
    /// Port for both HTTP and gossip; `None` means the ports this node listens on.
    pub port: Option<u16>,
}

/// Used when the host has no name.
const NODE_NAME_FALLBACK: &str = "astromesh";

/// Finds the problems between keys, and gives all layers their meaning when there are none at all.
pub(super) fn build(layers: &Layers, mut gathered: Gathered) -> Result<Runtime, Problems> {
    check_timeouts(layers, &mut gathered);
    check_floor(layers, &mut gathered);
    api::check_timeouts(layers, &mut gathered);
    gathered.into_result()?;

    let values = Values { layers };
    let api = api::read(&values);
    let port = api.port;
    let mesh = values.mesh(SocketAddr::new(api.host, port));
    let peers = values.peers();
    let mut warnings = layers.warnings.clone();
    if mesh.enabled && !peers.is_empty() {
        warnings.push("spec.peers ignored when mesh is enabled".to_owned());
    }
    if mesh.enabled && mesh.bind.port() != port {
        warnings.push(format!(
            "spec.mesh.bind keeps gossip on UDP port {} while HTTP is on TCP port {port}; leave \
             spec.mesh.bind out to share one port",
            mesh.bind.port()
        ));
    }
    Ok(Runtime {
        log: log::read(&values),
        otlp: otlp::read(&values),
        data_dir: values.data_dir(),
        pid_file: values.path("spec.pid_file"),
        drain_timeout: values.seconds("spec.drain_timeout"),
        api,
        services: values.services(),
        peers,
        mesh,
        log_level: values.read("spec.log_level", kind::log_level),
        warnings,
        file: layers.file.clone(),
        dir: layers.dir.clone(),
    })
}

/// `dead_timeout` must be longer than `failure_timeout`, whichever of them was given.
fn check_timeouts(layers: &Layers, gathered: &mut Gathered) {
    const FAILURE: &str = "spec.mesh.failure_timeout";
    const DEAD: &str = "spec.mesh.dead_timeout";
    let values = Values { layers };
    let (Some(failure), Some(dead)) =
        (values.seconds_if_sound(FAILURE), values.seconds_if_sound(DEAD))
    else {
        return;
    };
    if dead > failure {
        return;
    }
    let (failure, dead) = (failure.as_secs_f64(), dead.as_secs_f64());
    let remedy = "a member is suspect before it is dead: raise dead_timeout or lower \
                  failure_timeout";
    if layers.at(DEAD).is_some() {
        let what = format!("must be longer than failure_timeout, {failure} s");
        layers.add(DEAD, &what, remedy, gathered);
    } else {
        let what = format!("must be shorter than dead_timeout, {dead} s");
        layers.add(FAILURE, &what, remedy, gathered);
    }
}

/// A floor so long that a death could not be decided in time.
fn check_floor(layers: &Layers, gathered: &mut Gathered) {
    const DETECTION: &str = "spec.mesh.detection";
    let values = Values { layers };
    let Some(value) = layers.at(DETECTION) else { return };
    let (Ok(Detection::Evidence { floor }), Some(dead)) =
        (kind::detection(value), values.seconds_if_sound("spec.mesh.dead_timeout"))
    else {
        return;
    };
    if floor > dead / 2 {
        let what = format!(
            "{} s must be at most half of dead_timeout, {} s",
            floor.as_secs_f64(),
            dead.as_secs_f64()
        );
        layers.add(DETECTION, &what, "lower it, or raise dead_timeout", gathered);
    }
}

/// Reads keys of layers in which no problem was found.
pub(super) struct Values<'a> {
    pub(super) layers: &'a Layers,
}

impl Values<'_> {
    /// What a key holds, or its default.
    pub(super) fn read<T>(&self, path: &str, read: impl Fn(&Value) -> Result<T, kind::Fault>) -> T {
        self.read_if_sound(path, read).expect("the walk found no problem and defaults have none")
    }

    pub(super) fn read_if_sound<T>(
        &self,
        path: &str,
        read: impl Fn(&Value) -> Result<T, kind::Fault>,
    ) -> Option<T> {
        if let Some(value) = self.layers.at(path) {
            return read(value).ok();
        }
        match schema::find(path)?.default {
            WhenMissing::Is(text) => read(&yaml::read(text).ok()?).ok(),
            WhenMissing::Computed(_) | WhenMissing::Required => None,
        }
    }

    /// What a key holds whose default is computed.
    pub(super) fn given<T>(
        &self,
        path: &str,
        read: impl Fn(&Value) -> Result<T, kind::Fault>,
    ) -> Option<T> {
        self.layers.at(path).and_then(|value| read(value).ok())
    }

    /// A whole number of the width that its range in the table fits.
    pub(super) fn whole<T: TryFrom<u64>>(&self, path: &str) -> T {
        let number = self.read(path, |value| kind::integer(value, 0, u64::MAX));
        T::try_from(number).ok().expect("the range in the table fits the type of the field")
    }

    pub(super) fn seconds(&self, path: &str) -> Duration {
        self.seconds_if_sound(path).expect("the walk found no problem and defaults have none")
    }

    /// A duration, or `None` where 0 switches it off.
    pub(super) fn seconds_unless_off(&self, path: &str) -> Option<Duration> {
        Some(self.seconds(path)).filter(|duration| !duration.is_zero())
    }

    /// A duration of one of the two kinds, 0 when it is off.
    pub(super) fn seconds_if_sound(&self, path: &str) -> Option<Duration> {
        self.read_if_sound(path, |value| match schema::find(path).map(|key| key.kind) {
            Some(Kind::SecondsOrOff { min, max }) => kind::seconds_or_off(value, min, max),
            Some(Kind::Seconds { min, max }) => kind::seconds(value, min, max),
            _ => unreachable!("{path} is no duration"),
        })
    }

    /// A path, if it is given.
    pub(super) fn path(&self, path: &str) -> Option<PathBuf> {
        let given = self.given(path, |value| kind::path(value).map(Path::to_owned))?;
        Some(self.layers.dir.join(given))
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        let dir = self.layers.dir.as_path();
        self.path("spec.data_dir").unwrap_or_else(|| {
            if dir == Path::new(SYSTEM_DIRECTORY) {
                PathBuf::from("/var/lib/astromesh")
            } else {
                dir.join("data")
            }
        })
    }

    fn services(&self) -> Services {
        let is_on = |service: &Service| {
            self.read(&format!("spec.services.{}", service.name()), kind::boolean)
        };
        Services { enabled: Service::ALL.into_iter().filter(is_on).collect() }
    }

    fn peers(&self) -> Vec<Peer> {
        self.read("spec.peers", |value| kind::items(value, PEERS_MAX)?.iter().map(peer).collect())
    }

    fn mesh(&self, api: SocketAddr) -> Mesh {
        let given_name = self.given("spec.mesh.node_name", |value| {
            kind::text(value, 0, NAME_BYTES_MAX).map(str::to_owned)
        });
        Mesh {
            enabled: self.read("spec.mesh.enabled", kind::boolean),
            node_name: given_name.filter(|name| !name.is_empty()).unwrap_or_else(host_name),
            cluster: self.read("spec.mesh.cluster", |value| {
                kind::text(value, 1, usize::MAX).map(str::to_owned)
            }),
            bind: self.given("spec.mesh.bind", kind::socket).unwrap_or(api),
            advertise: self.given("spec.mesh.advertise", kind::advertise),
            seeds: self.read("spec.mesh.seeds", |value| {
                kind::items(value, SEEDS_MAX)?.iter().map(kind::base_url).collect()
            }),
            heartbeat_interval: self.seconds("spec.mesh.heartbeat_interval"),
            gossip_interval: self.seconds("spec.mesh.gossip_interval"),
            gossip_fanout: self.whole("spec.mesh.gossip_fanout"),
            detection: self.read("spec.mesh.detection", kind::detection),
            failure_timeout: self.seconds("spec.mesh.failure_timeout"),
            dead_timeout: self.seconds("spec.mesh.dead_timeout"),
        }
    }
}

fn peer(item: &Value) -> Result<Peer, kind::Fault> {
    let field = |name| item.get(name).unwrap_or(&Value::Null);
    let services = match field("services") {
        Value::Null => Vec::new(),
        list => kind::items(list, Service::ALL.len())?
            .iter()
            .map(kind::service)
            .collect::<Result<_, _>>()?,
    };
    Ok(Peer {
        name: kind::text(field("name"), 1, usize::MAX)?.to_owned(),
        url: kind::peer_url(field("url"))?,
        services,
    })
}

/// The name of this host, cut to what a record can carry.
fn host_name() -> String {
    let name = sysinfo::System::host_name().unwrap_or_default();
    let mut name: String = name.chars().filter(|char| !char.is_control()).collect();
    while name.len() > NAME_BYTES_MAX {
        name.pop();
    }
    if name.is_empty() { NODE_NAME_FALLBACK.to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::Document;

    #[test]
    fn lasting_data_of_an_installed_package_is_where_packages_keep_it() {
        for (dir, text, environment, expected) in [
            ("/etc/astromesh", "", None, "/var/lib/astromesh"),
            ("/etc/astromesh/", "", None, "/var/lib/astromesh"),
            ("/etc/astromesh", "spec: {data_dir: /srv/a}", None, "/srv/a"),
            ("/etc/astromesh", "spec: {data_dir: /srv/a}", Some("/srv/b"), "/srv/b"),
            ("./config", "", None, "./config/data"),
        ] {
            let environment = environment.map(|path| ("ASTROMESH_DATA_DIR", path));
            let (layers, gathered) = Layers::read(
                Path::new(dir).join("runtime.yaml"),
                dir.into(),
                Document::parse(text).unwrap(),
                &environment.into_iter().collect(),
                [],
            );
            let runtime = build(&layers, gathered).unwrap();
            assert_eq!(runtime.data_dir, Path::new(expected), "{dir} {text}");
        }
    }
}
