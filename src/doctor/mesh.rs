//! Whether this node is in its mesh, and what each seed says.

use serde_json::json;

use super::ask::{Fault, FaultKind, Said, Sees};
use super::network::{Asked, Mute, Network};
use super::report::{Check, Status};
use crate::config::Runtime;
use crate::gossip::seeds::{Asked as Outcome, SeedState};

/// Seeds that are named in one message; each has a row of its own.
const NAMED_MAX: usize = 3;

/// The check of a node whose mesh is off.
pub(super) fn off(config: &Runtime) -> Check {
    if config.mesh.seeds.is_empty() {
        return Check::ok("off: this node works alone");
    }
    Check::bad(
        Status::Degraded,
        "off, though spec.mesh.seeds names seeds",
        "set spec.mesh.enabled: true in runtime.yaml (with the image: ASTROMESH_MESH_ENABLED=true) \
         and restart",
    )
}

/// The check of a node whose gossip tells nothing.
pub(super) fn mute(why: Mute) -> Check {
    match why {
        Mute::Stopped => Check::bad(
            Status::Error,
            "the mesh part of this node has stopped",
            "the node is stopping, or its log says what happened",
        ),
        Mute::Silent => Check::bad(
            Status::Error,
            "the mesh part of this node does not answer; nothing can be said of seeds and members",
            "look whether the host is overloaded or its disk hangs; if it stays so, restart the \
             daemon and report it",
        ),
    }
}

/// Whether this node is in its mesh.
pub(super) fn check(network: &Network) -> Check {
    let Network { snapshot, joining, counters, .. } = network;
    let live = snapshot.live().count();
    let foreign = counters.get("rejected_cluster").copied().unwrap_or_default();
    let check = if snapshot.local_has_left() {
        Check::bad(Status::Degraded, "this node has left the mesh", "restart it to join again")
    } else if live > 1 {
        let leader = snapshot.leader.and_then(|id| snapshot.member(id));
        let leader = leader.map_or("nobody", |leader| leader.name.as_str());
        Check::ok(format!("{live} live members with this one; {leader} leads"))
    } else {
        alone(network)
    };
    let mut check = check
        .with("cluster", network.cluster.as_str())
        .with("live_members", live)
        .with("members", snapshot.members.len())
        .with("joined", joining.has_joined)
        .with("datagrams_of_other_clusters", foreign);
    if foreign > 0 {
        let more = format!(
            "; {foreign} datagrams of another cluster than {} were refused",
            network.cluster
        );
        check.message.push_str(&more);
    }
    check
}

fn alone(network: &Network) -> Check {
    let others: Vec<(&SeedState, &Asked)> = network
        .joining
        .seeds
        .iter()
        .zip(&network.seeds)
        .filter(|(seed, _)| !matches!(seed.last, Some((_, Outcome::Itself))))
        .collect();
    if others.is_empty() {
        return Check::ok("alone: no other node is configured as seed, and none has joined");
    }
    let mut told: Vec<String> = others.iter().take(NAMED_MAX).map(|(seed, _)| told(seed)).collect();
    if others.len() > NAMED_MAX {
        told.push(format!("and {} more", others.len() - NAMED_MAX));
    }
    let names = others.iter().any(|(_, asked)| {
        matches!(asked, Some(Ok(Said { mesh: Some(mesh), .. })) if mesh.cluster != network.cluster)
    });
    let remedy = if names {
        "give all nodes the same spec.mesh.cluster; see the rows of the seeds"
    } else {
        "see the rows of the seeds for what is wrong with each; this node goes on trying"
    };
    Check::bad(Status::Error, format!("alone, though seeds are set: {}", told.join("; ")), remedy)
}

/// What came of the last try to join through a seed.
fn told(seed: &SeedState) -> String {
    let name = short(seed);
    match &seed.last {
        None => format!("{name} has not been asked yet"),
        Some((at, Outcome::Failed(_, text))) => {
            format!("{name} {} s ago: {text}", at.elapsed().as_secs())
        }
        Some((at, Outcome::Joined(_) | Outcome::Itself)) => {
            format!(
                "{name} took this node in {} s ago, and its node has gone since",
                at.elapsed().as_secs()
            )
        }
    }
}

fn short(seed: &SeedState) -> &str {
    seed.url.as_str().trim_end_matches('/')
}

/// A row for each seed.
pub(super) fn seeds(network: &Network) -> Vec<(String, Check)> {
    let seeds = network.joining.seeds.iter().zip(&network.seeds);
    seeds
        .map(|(seed, asked)| {
            let mut check = match asked {
                None => Check::bad(
                    Status::Unreachable,
                    "was not asked, for there was no time",
                    "ask again: others took too long",
                ),
                Some(Err(fault)) => failed(fault),
                Some(Ok(said)) => answered(network, said),
            };
            let joined = seed.joined_at.map(|at| at.elapsed().as_secs_f64());
            if let Some((at, Outcome::Failed(_, text))) = &seed.last {
                let ago = at.elapsed().as_secs_f64();
                check = check.with("last_error", json!({"seconds_ago": ago, "text": text}));
            }
            check = check.with("last_joined_seconds_ago", joined);
            (format!("seed:{}", short(seed)), check)
        })
        .collect()
}

/// A node, or no node, that did not answer; says what to look at.
pub(super) fn failed(fault: &Fault) -> Check {
    let Fault { kind, text } = fault;
    let (status, message, remedy) = match kind {
        FaultKind::Name => (
            Status::Unreachable,
            format!("its host name has no address: {text}"),
            "mend the name, or this host's DNS; containers must share a network to know each other \
             by name",
        ),
        FaultKind::Refused => (
            Status::Unreachable,
            format!("nothing listens there: {text}"),
            "start the node there, or mend host and port",
        ),
        FaultKind::Late => (
            Status::Unreachable,
            text.clone(),
            "look whether it runs, and open its port (TCP and UDP) in every firewall on the way",
        ),
        FaultKind::Network => {
            (Status::Unreachable, text.clone(), "look at the network, the address and firewalls")
        }
        FaultKind::NoNode => (
            Status::Error,
            format!("no astromesh node: {text}"),
            "mend the URL: it must be that of a node's HTTP server, http://HOST:PORT",
        ),
    };
    Check::bad(status, message, remedy)
}

fn answered(network: &Network, said: &Said) -> Check {
    let Said { version, mesh, sees, .. } = said;
    let Some(mesh) = mesh else {
        return Check::bad(
            Status::Error,
            format!("a node of version {version} whose mesh is off"),
            "set spec.mesh.enabled: true there (with the image: ASTROMESH_MESH_ENABLED=true) and \
             restart it",
        )
        .with("version", version.as_str());
    };
    let name = &mesh.node_name;
    let advertised = network.inspection.advertised;
    let check = if network.is_itself(said) {
        Check::ok("this node itself")
    } else if mesh.cluster != network.cluster {
        Check::bad(
            Status::Error,
            format!(
                "{name} belongs to the cluster `{}`, not to `{}`",
                mesh.cluster, network.cluster
            ),
            "give both the same spec.mesh.cluster, or mend the URL in spec.mesh.seeds",
        )
    } else {
        match sees {
            Some(Sees::As(state)) if state == "alive" => {
                Check::ok(format!("{name}, version {version}, sees this node as alive"))
            }
            Some(Sees::As(state)) => Check::bad(
                Status::Degraded,
                format!("{name}, version {version}, sees this node as {state}"),
                format!(
                    "`astromeshctl mesh why` there says why; its datagrams must reach UDP \
                     {advertised}, and those from here must reach it"
                ),
            ),
            Some(Sees::Nothing) => Check::bad(
                Status::Error,
                format!("{name}, version {version}, does not have this node as a member"),
                format!(
                    "it must reach this node at UDP {advertised}: mend spec.mesh.advertise, or open \
                     that port; a node that has just started may need a second"
                ),
            ),
            None => Check::ok(format!("{name}, version {version}")),
        }
    };
    check
        .with("version", version.as_str())
        .with("node_name", name.as_str())
        .with("node_id", mesh.node_id.as_str())
        .with("cluster", mesh.cluster.as_str())
        .with("sees_this_node_as", seen(sees.as_ref()))
}

/// For programs.
pub(super) fn seen(sees: Option<&Sees>) -> serde_json::Value {
    match sees {
        Some(Sees::As(state)) => json!(state),
        Some(Sees::Nothing) => json!("unknown"),
        None => serde_json::Value::Null,
    }
}
