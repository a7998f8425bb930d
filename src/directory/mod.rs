//! Who serves what: immutable snapshots of the mesh.
//!
//! Owns the types of a snapshot and the channel on which new ones appear. Refuses to decide
//! anything about membership: the gossip thread publishes, everybody else reads. A node without a
//! mesh publishes one snapshot that holds itself, so that readers need no second case.
//!
//! * [`load`]: how whoever announces this node's load gets at it
//! * [`models`]: how models are announced among agents

pub mod load;
pub mod models;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use astromesh_wire::{Load, NodeId, Service, ShortId, State};
use tokio::sync::watch;

pub use self::load::LoadSource;

/// One member as this node sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The full id.
    pub id: NodeId,
    /// The label given by its operator.
    pub name: String,
    /// Where its HTTP server is reached, `http://host:port`.
    pub url: String,
    /// Where its gossip socket is reached.
    pub gossip_address: SocketAddr,
    /// What it offers.
    pub services: Vec<Service>,
    /// The agents it runs, sorted by name.
    pub agents: Vec<String>,
    /// Those of `agents` that it announces as idempotent, sorted by name.
    pub idempotent_agents: Vec<String>,
    /// The models it serves, sorted by name.
    pub models: Vec<String>,
    /// Agents and models are too many for a datagram and are asked for over HTTP; until then both are
    /// empty.
    pub agents_elsewhere: bool,
    /// How busy it said it is.
    pub load: Load,
    /// When it counted that, in units of 10 ms since its process began; a change means that `load` is
    /// news.
    pub load_sequence: u32,
    /// Alive, suspect, dead or left.
    pub state: State,
    /// Grows with each start of its process.
    pub generation: u32,
    /// Grows with each refutation.
    pub incarnation: u32,
    /// Grows when address, name or metadata change.
    pub revision: u32,
    /// When this node first heard of it, seconds since 1970. For display only.
    pub joined_at: f64,
}

impl Member {
    /// A member that has just begun: alive, idle and without agents, reached at this address for HTTP
    /// and gossip alike.
    #[must_use]
    pub fn new(id: NodeId, name: impl Into<String>, address: SocketAddr) -> Self {
        Self {
            id,
            name: name.into(),
            url: format!("http://{address}"),
            gossip_address: address,
            services: Vec::new(),
            agents: Vec::new(),
            idempotent_agents: Vec::new(),
            models: Vec::new(),
            agents_elsewhere: false,
            load: Load::default(),
            load_sequence: 0,
            state: State::Alive,
            generation: 1,
            incarnation: 0,
            revision: 1,
            joined_at: 0.0,
        }
    }

    /// Alive or suspect: it takes part in the mesh.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Alive | State::Suspect)
    }

    /// Whether it says that it runs this agent.
    #[must_use]
    pub fn has_agent(&self, agent: &str) -> bool {
        contains(&self.agents, agent)
    }

    /// Everything that requests can be for: agents by their names, models by their entries.
    pub fn served(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let agents = self.agents.iter().map(|agent| Cow::Borrowed(agent.as_str()));
        agents.chain(self.models.iter().map(|model| Cow::Owned(models::entry(model))))
    }
}

/// The mesh at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Grows with each change of this node's view.
    pub version: u64,
    /// The local member.
    pub local: NodeId,
    /// The member with the highest id among those neither dead nor left; `None` only when the
    /// local member itself has left.
    pub leader: Option<NodeId>,
    /// Grows with each change of leader.
    pub term: u64,
    /// All members, the local one included, ordered by id. Snapshots share those that did not change
    /// between them.
    pub members: Vec<Arc<Member>>,
}

impl Snapshot {
    /// The member with this id.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        let index = self.members.binary_search_by_key(&id, |member| member.id).ok()?;
        self.members.get(index).map(AsRef::as_ref)
    }

    /// The member with this short id, of which a mesh has one.
    #[must_use]
    pub fn member_by_short(&self, short: ShortId) -> Option<&Member> {
        let index = self.members.partition_point(|member| member.id.short() < short);
        self.members.get(index).map(AsRef::as_ref).filter(|member| member.id.short() == short)
    }

    /// Whether the local member has left the mesh: what this says of the others is no longer news.
    #[must_use]
    pub fn local_has_left(&self) -> bool {
        self.member(self.local).is_some_and(|local| local.state == State::Left)
    }

    /// All members alive or suspect.
    pub fn live(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().map(AsRef::as_ref).filter(|member: &&Member| member.is_live())
    }

    /// All members that say they run this agent, dead and left ones included.
    pub fn members_with_agent<'a>(&'a self, agent: &'a str) -> impl Iterator<Item = &'a Member> {
        let members = self.members.iter().map(AsRef::as_ref);
        members.filter(move |member: &&Member| member.has_agent(agent))
    }

    /// Names of the live nodes that serve each model.
    #[must_use]
    pub fn models(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut models: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for member in self.live() {
            for model in &member.models {
                models.entry(model).or_default().insert(&member.name);
            }
        }
        models
    }

    /// Whether a request for this agent may be sent again when it may already have run: every live
    /// member that has the agent says so, and there is one. Where the files of two nodes differ, the
    /// careful one counts.
    #[must_use]
    pub fn is_idempotent(&self, agent: &str) -> bool {
        let mut offers = self
            .live()
            .filter(|member| member.has_agent(agent))
            .map(|member| contains(&member.idempotent_agents, agent))
            .peekable();
        offers.peek().is_some() && offers.all(|is_idempotent| is_idempotent)
    }
}

/// Whether a sorted list has this name.
fn contains(sorted: &[String], name: &str) -> bool {
    sorted.binary_search_by(|other| other.as_str().cmp(name)).is_ok()
}

/// The reading end: cheap to clone, always holds the newest snapshot.
#[derive(Debug, Clone)]
pub struct Reader {
    receiver: watch::Receiver<Arc<Snapshot>>,
}

impl Reader {
    /// The newest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.receiver.borrow())
    }

    /// Waits for a snapshot newer than the last one seen through this method; `None` when no more
    /// will come.
    pub async fn changed(&mut self) -> Option<Arc<Snapshot>> {
        self.receiver.changed().await.ok()?;
        Some(Arc::clone(&self.receiver.borrow_and_update()))
    }
}

/// The writing end, held by whoever decides what the mesh looks like.
#[derive(Debug)]
pub struct Publisher {
    sender: watch::Sender<Arc<Snapshot>>,
}

impl Publisher {
    /// Swaps in a new snapshot.
    pub fn publish(&self, snapshot: Snapshot) {
        self.sender.send_replace(Arc::new(snapshot));
    }
}

/// A directory that starts with this snapshot.
#[must_use]
pub fn channel(first: Snapshot) -> (Publisher, Reader) {
    let (sender, receiver) = watch::channel(Arc::new(first));
    (Publisher { sender }, Reader { receiver })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mesh of nodes that all have the agent, and of each whether it lives and what it says.
    fn mesh(nodes: &[(State, bool)]) -> Snapshot {
        let member = |(number, (state, is_idempotent)): (u8, &(State, bool))| Member {
            agents: vec!["a".to_owned(), "agent".to_owned()],
            idempotent_agents: is_idempotent.then(|| "agent".to_owned()).into_iter().collect(),
            state: *state,
            ..Member::new(
                NodeId::from_bytes([number; 16]),
                format!("node-{number}"),
                ([127, 0, 0, number], 8000).into(),
            )
        };
        let members = (1..).zip(nodes).map(member).map(Arc::new).collect();
        let local = NodeId::from_bytes([1; 16]);
        Snapshot { version: 1, local, leader: None, term: 0, members }
    }

    #[test]
    fn an_agent_is_idempotent_when_every_live_member_that_has_it_says_so() {
        use State::{Alive, Dead, Left, Suspect};
        type Row = (&'static str, &'static [(State, bool)], bool);
        let cases: [Row; 6] = [
            ("one says so", &[(Alive, true)], true),
            ("one does not", &[(Alive, false)], false),
            ("all say so", &[(Alive, true), (Suspect, true)], true),
            ("one of two does not", &[(Alive, true), (Suspect, false)], false),
            ("only the gone do not", &[(Alive, true), (Dead, false), (Left, false)], true),
            ("none is there", &[(Dead, true), (Left, true)], false),
        ];
        for (row, nodes, expected) in cases {
            let snapshot = mesh(nodes);
            assert_eq!(snapshot.is_idempotent("agent"), expected, "{row}");
            assert!(!snapshot.is_idempotent("a") && !snapshot.is_idempotent("nobody's"), "{row}");
        }
    }
}
