//! Members as the JSON of the mesh routes, and that JSON as claims for the engine.
//!
//! Every field from outside is checked here: a claim that comes out is well-formed, whatever came
//! in. Wall-clock times and the leader flag of others are not read at all.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use astromesh_swim::{Claim, OwnedRecord};
use astromesh_wire::limits::{AGENT_NAME_BYTES_MAX, NAME_BYTES_MAX};
use astromesh_wire::{Agent, Agents, Load, Metadata, NodeId, Service, State};
use url::{Host, Url};

use super::load::percent;
use crate::api::types::{MeshState, Node, NodeLoad};
use crate::directory::{Member, Snapshot, models};

/// Agents and models that one node may announce over HTTP.
const AGENTS_MAX: usize = 10_000;

/// What is wrong with a node in a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BadNode {
    /// The field.
    pub field: &'static str,
    /// What it should have been.
    pub problem: String,
}

/// When this node last heard from each member, seconds since 1970. For display only.
pub type HeardAt = HashMap<NodeId, f64>;

/// The mesh as JSON. A member that is missing in `heard_at` was last heard of when it joined.
#[must_use]
pub fn state(snapshot: &Snapshot, heard_at: &HeardAt) -> MeshState {
    let node = |member: &Arc<Member>| Node {
        last_heartbeat: heard_at.get(&member.id).copied().unwrap_or(member.joined_at),
        ..node(member, snapshot.leader)
    };
    MeshState {
        nodes: snapshot.members.iter().map(node).collect(),
        leader_id: snapshot.leader.map(|id| id.to_string()),
        version: snapshot.version,
        this_node: Some(snapshot.local.to_string()),
        term: snapshot.term,
        cluster: None,
        observed_ip: None,
    }
}

/// A member as JSON, last heard of when it joined.
#[must_use]
pub fn node(member: &Member, leader: Option<NodeId>) -> Node {
    Node {
        node_id: member.id.to_string(),
        name: member.name.clone(),
        url: member.url.clone(),
        services: member.services.iter().map(|service| service.name().to_owned()).collect(),
        agents: member.agents.clone(),
        idempotent_agents: member.idempotent_agents.clone(),
        models: member.models.clone(),
        load: NodeLoad {
            cpu_percent: f64::from(member.load.cpu_percent),
            memory_percent: f64::from(member.load.memory_percent),
            active_requests: member.load.active_requests,
            limit: member.load.limit,
            draining: member.load.is_draining,
        },
        leader: leader == Some(member.id),
        joined_at: member.joined_at,
        last_heartbeat: member.joined_at,
        status: status(member.state).to_owned(),
        gossip_address: Some(member.gossip_address.to_string()),
        generation: member.generation,
        incarnation: member.incarnation,
        revision: member.revision,
        load_sequence: member.load_sequence,
        agents_elsewhere: member.agents_elsewhere,
        cluster: None,
    }
}

/// The name of a state in JSON.
#[must_use]
pub const fn status(state: State) -> &'static str {
    match state {
        State::Alive => "alive",
        State::Suspect => "suspect",
        State::Dead => "dead",
        State::Left => "left",
    }
}

/// What a node in a request claims.
///
/// # Errors
/// The first field that is not what it should be.
pub fn claim(node: &Node) -> Result<Claim, BadNode> {
    let bad = |field, problem: &str| BadNode { field, problem: problem.to_owned() };
    let id: NodeId = node.node_id.parse().map_err(|_| bad("node_id", "must be a UUID"))?;
    if node.name.len() > NAME_BYTES_MAX {
        return Err(bad("name", "must be at most 64 bytes"));
    }
    let (host, http_port) = host_and_port(&node.url)
        .ok_or_else(|| bad("url", "must be http://HOST:PORT with an IP address as host"))?;
    let address = match &node.gossip_address {
        None => SocketAddr::new(host, http_port),
        Some(text) => text.parse().map_err(|_| bad("gossip_address", "must be IP:PORT"))?,
    };
    let state = match node.status.as_str() {
        "alive" => State::Alive,
        "suspect" => State::Suspect,
        "dead" => State::Dead,
        "left" => State::Left,
        _ => return Err(bad("status", "must be alive, suspect, dead or left")),
    };
    let is_named = |name: &String| !name.is_empty() && name.len() <= AGENT_NAME_BYTES_MAX;
    if node.agents.len() > AGENTS_MAX || !node.agents.iter().all(is_named) {
        return Err(bad("agents", "must be at most 10,000 names of 1 to 128 bytes"));
    }
    if node.models.len() > AGENTS_MAX - node.agents.len()
        || !node.models.iter().all(|model| models::is_name(model))
    {
        return Err(bad("models", "must be names of 1 to 122 bytes, at most 10,000 with agents"));
    }
    // Services of later versions are not known here and do no harm.
    let services: Vec<Service> =
        node.services.iter().filter_map(|name| name.parse().ok()).collect();
    let agents =
        if node.agents_elsewhere { Agents::Elsewhere } else { Agents::Listed(agents(node)) };
    let metadata = Metadata { http_port, services, agents }.encode().into();
    Ok(Claim {
        record: OwnedRecord {
            id,
            generation: node.generation,
            incarnation: node.incarnation,
            revision: node.revision,
            address,
            name: node.name.clone(),
            metadata,
        },
        state,
        load: Load {
            active_requests: node.load.active_requests,
            cpu_percent: percent(node.load.cpu_percent),
            memory_percent: percent(node.load.memory_percent),
            limit: node.load.limit,
            is_draining: node.load.draining,
        },
        load_sequence: node.load_sequence,
    })
}

/// The agents and models of a node in JSON, in the order in which the node announces them. That one is
/// idempotent which the node does not list says nothing.
pub(super) fn agents(node: &Node) -> Vec<Agent> {
    let idempotent: HashSet<&String> = node.idempotent_agents.iter().collect();
    let agent =
        |name: &String| Agent { name: name.clone(), is_idempotent: idempotent.contains(name) };
    let models = node.models.iter().map(|model| announced_model(model));
    let mut agents: Vec<Agent> = node.agents.iter().map(agent).chain(models).collect();
    agents.sort_unstable();
    agents
}

/// A model as it is announced. Asking one again changes nothing anywhere.
#[must_use]
pub fn announced_model(model: &str) -> Agent {
    Agent { name: models::entry(model), is_idempotent: true }
}

fn host_and_port(url: &str) -> Option<(IpAddr, u16)> {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let host = match url.host()? {
        Host::Ipv4(ip) => IpAddr::V4(ip),
        Host::Ipv6(ip) => IpAddr::V6(ip),
        // The gossip needs an address; a name would have to be resolved for whoever sends one.
        Host::Domain(_) => return None,
    };
    Some((host, url.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Node {
        serde_json::from_value(serde_json::json!({
            "node_id": "0b6f3c1e-8d3a-4f6e-9a51-2f0c7d9e1b42", "name": "worker",
            "url": "http://10.0.0.2:8000", "joined_at": 1.0, "last_heartbeat": 2.0
        }))
        .unwrap()
    }

    #[test]
    fn the_shape_of_the_predecessor_is_a_claim() {
        let claim = claim(&known()).unwrap();
        assert_eq!(claim.record.address, ([10, 0, 0, 2], 8000).into());
        assert_eq!(claim.state, State::Alive);
        assert_eq!((claim.record.generation, claim.record.revision), (0, 1));
    }

    #[test]
    fn a_limit_and_a_drain_are_told_and_read_and_left_out_where_there_is_none() {
        let mut node = known();
        assert!(serde_json::to_value(node.load).unwrap().get("limit").is_none());
        assert!(serde_json::to_value(node.load).unwrap().get("draining").is_none());
        node.load = NodeLoad { limit: 8, draining: true, ..node.load };
        let text = serde_json::to_string(&node).unwrap();
        let load = claim(&serde_json::from_str(&text).unwrap()).unwrap().load;
        assert_eq!((load.limit, load.is_draining), (8, true));
    }

    #[test]
    fn idempotent_agents_are_told_and_read_and_left_out_where_there_are_none() {
        let mut node = known();
        node.agents = vec!["a".to_owned(), "b".to_owned()];
        assert!(serde_json::to_value(&node).unwrap().get("idempotent_agents").is_none());
        node.idempotent_agents = vec!["b".to_owned(), "not here".to_owned()];
        let text = serde_json::to_string(&node).unwrap();
        let claim = claim(&serde_json::from_str(&text).unwrap()).unwrap();
        let idempotent = Agent { is_idempotent: true, ..Agent::named("b") };
        let expected = Agents::Listed(vec![Agent::named("a"), idempotent]);
        assert_eq!(Metadata::decode(&claim.record.metadata).unwrap().agents, expected);
    }

    #[test]
    fn a_node_that_says_nothing_of_idempotent_agents_has_none() {
        let mut older = serde_json::to_value(known()).unwrap();
        older["agents"] = serde_json::json!(["a"]);
        let claim = claim(&serde_json::from_value(older).unwrap()).unwrap();
        let expected = Agents::Listed(vec![Agent::named("a")]);
        assert_eq!(Metadata::decode(&claim.record.metadata).unwrap().agents, expected);
    }

    #[test]
    fn each_bad_field_is_named() {
        type Spoil = fn(&mut Node);
        let cases: [(&str, Spoil); 6] = [
            ("node_id", |node| node.node_id = "zzzz".to_owned()),
            ("name", |node| node.name = "n".repeat(65)),
            ("url", |node| node.url = "ftp://10.0.0.2:1".to_owned()),
            ("gossip_address", |node| node.gossip_address = Some("nowhere".to_owned())),
            ("status", |node| node.status = "fine".to_owned()),
            ("agents", |node| node.agents = vec![String::new()]),
        ];
        for (field, spoil) in cases {
            let mut node = known();
            spoil(&mut node);
            assert_eq!(claim(&node).unwrap_err().field, field);
        }
    }
}
