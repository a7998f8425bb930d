//! The engine: owns all parts and moves news between them.
//!
//! * `mod.rs`: its state, and what a host calls
//! * `messages.rs`: what to do with a datagram
//! * `news.rs`: what to do with a claim about a member
//! * `loads.rs`: how busy this node and the others are
//! * `probing.rs`: what to do when time has passed
//! * `watching.rs`, `cases.rs`, `doubts.rs`: how members are watched, accused, declared dead by evidence,
//!   and given up
//! * `provenance.rs`: why members were declared dead
//! * `compare.rs`: how two views are made equal
//! * `healing.rs`: the dead, and those that come back
//!
//! It holds no rule of the protocol that a part could hold.

mod cases;
mod compare;
mod doubts;
mod healing;
mod loads;
mod messages;
mod news;
mod probing;
mod provenance;
mod watching;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use astromesh_wire::{
    ClusterTag, Encoded, Encoder, Full, Message, NodeId, ShortId, State, StateUpdate, Update,
};
use bytes::BytesMut;
use healing::Healing;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::compact::Interner;
use crate::config::Config;
use crate::detector::evidence::Evidence;
use crate::detector::evidence::health::SICK_AFTER_QUEUE;
use crate::detector::evidence::pings::{PINGS, Pings};
use crate::detector::{Detector, Rule};
use crate::dissemination::{Class, Dissemination, Kind, Offer, Topic};
use crate::io::{Change, Claim, Command, Event};
use crate::member::{Member, OwnedRecord};
use crate::paths::{Path, Paths};
use crate::probe::Probe;
use crate::relay::Relays;
use crate::stats::Stats;
use crate::sync::Candidates;
use crate::table::{self, Table};
use crate::time::Instant;
use crate::timers::{Timer, Timers};

/// One node's part in the protocol.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    cluster: ClusterTag,
    local: Member,
    table: Table,
    interner: Interner,
    detector: Detector,
    evidence: Evidence,
    provenance: provenance::Provenance,
    /// From where the slots are counted in which this node wants the pings of its observers.
    slot_base: Instant,
    /// Acks held back while this node catches up after a standstill, the newest for each peer.
    waking: IndexMap<ShortId, Transmit, FxBuildHasher>,
    probe: Option<Probe>,
    paths: Paths,
    relays: Relays,
    candidates: Candidates,
    healing: Healing,
    news: Dissemination,
    timers: Timers,
    /// When the gossip timer is armed for; `None` while there is no news.
    gossip_at: Option<Instant>,
    outbox: VecDeque<Transmit>,
    events: VecDeque<Event>,
    rng: fastrand::Rng,
    next_sequence: u16,
    leader: Option<NodeId>,
    term: u64,
    last_foreign_tag: Option<u32>,
    stats: Stats,
    /// When the host last called; what is written then is as old.
    now: Instant,
}

/// A datagram that is to be written when the host asks for it.
#[derive(Debug, Clone, Copy)]
struct Transmit {
    to: SocketAddr,
    message: Message,
    /// News that goes first, whatever is pending: what the receiver must hear about itself, or what
    /// it asked for.
    first: Option<Topic>,
    cargo: Cargo,
}

/// What else rides on a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cargo {
    /// Pending news, as far as it fits.
    News,
    /// The same to a receiver whose view has the digest of ours: what that shows it has got, and it
    /// counts as sent.
    Hidden,
    /// Nothing: the receiver is not known to be a member, and must not get more than it sent.
    Empty,
}

impl Engine {
    /// An engine for the node that `record` describes, alone so far. `seed` decides every random
    /// choice.
    #[must_use]
    pub fn new(
        now: Instant,
        config: Config,
        cluster: ClusterTag,
        mut record: OwnedRecord,
        seed: u64,
    ) -> Self {
        // Zero stands for "not known yet" when only the state of a new generation has been heard.
        record.revision = record.revision.max(1);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut timers = Timers::default();
        // Nodes started together must not probe in step.
        let slot_base = now + config.probe_interval.mul_f64(rng.f64());
        if config.detector.rule == Rule::Lifeguard {
            timers.arm(slot_base, Timer::Probe);
        }
        timers.arm(now + config.dead_probe_interval.mul_f64(rng.f64()), Timer::DeadProbe);
        let detector = Detector::new(config.detector.clone());
        let leader = Some(record.id);
        let mut interner = Interner::default();
        let mut engine = Self {
            cluster,
            table: Table::around(record.id.short()),
            local: Member::new(interner.pack(&record.borrow()), now),
            interner,
            detector,
            evidence: Evidence::default(),
            provenance: provenance::Provenance::default(),
            slot_base,
            waking: IndexMap::default(),
            probe: None,
            paths: Paths::default(),
            relays: Relays::default(),
            candidates: Candidates::default(),
            healing: Healing::default(),
            news: Dissemination::default(),
            timers,
            gossip_at: None,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            next_sequence: rng.u16(..),
            rng,
            leader,
            term: 1,
            last_foreign_tag: None,
            stats: Stats::default(),
            now,
            config,
        };
        // Many may be starting together: what they missed of each other is found soon.
        engine.healing.calm_at = now + JOINING;
        engine.tell(now, engine.local.id(), Kind::Record, Class::Record);
        engine
    }

    /// Takes in what the host wants.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        self.now = now;
        match command {
            Command::Merge { claims, term, origin } => {
                let is_alone = self.table.live().is_empty();
                let unknown = |claim: &&Claim| self.table.get(claim.record.id.short()).is_none();
                let room = self.config.members_max.saturating_sub(self.table.len());
                self.table.reserve(claims.iter().filter(unknown).count().min(room));
                for claim in &claims {
                    self.merge(now, claim, origin, is_alone);
                }
                self.raise_term(term);
            }
            Command::SetMetadata(metadata) => {
                if !is_small(self.local.record.name(), &metadata) {
                    self.stats.refused_record += 1;
                } else if self.local.record.metadata() != metadata {
                    self.local.record.set_metadata(self.interner.share(&metadata));
                    self.revise(now);
                }
            }
            Command::SetName(name) => {
                if !is_small(&name, self.local.record.metadata()) {
                    self.stats.refused_record += 1;
                } else if self.local.record.name() != name {
                    self.local.record.set_name(&name);
                    self.revise(now);
                }
            }
            Command::Revise => self.revise(now),
            Command::Configure(config) => self.configure(*config),
            Command::SetAddress(address) => {
                if !is_usable(address) {
                    self.stats.refused_record += 1;
                } else if self.local.record.address() != address {
                    self.local.record.set_address(address);
                    self.revise(now);
                }
            }
            Command::SetLoad { load, sequence } => self.set_load(now, load, sequence),
            Command::Beacon { to, record } => self.beacon(to.short(), record),
            Command::Probe(id) if self.evidence_floor().is_some() => {
                self.probe_on_hint(now, id.short());
            }
            Command::Probe(id) => self.table.hurry(id.short()),
            Command::QueueDelay(delay) => {
                if delay > QUEUE_DELAY_MAX {
                    self.stats.queue_delays += 1;
                    self.evidence.health.fell_behind(now, SICK_AFTER_QUEUE);
                }
            }
            Command::Leave => self.leave(now),
            Command::Dismiss(id) => self.dismiss(now, id.short()),
        }
        self.regroup(now);
    }

    /// Suspicions and cases cannot be carried over from one kind of rule to the other.
    fn configure(&mut self, mut config: Config) {
        let (old, new) = (self.config.detector.rule, &mut config.detector.rule);
        match (old, &new) {
            (Rule::Evidence { .. }, Rule::Evidence { .. }) | (Rule::Lifeguard, Rule::Lifeguard) => {
            }
            (Rule::Evidence { .. }, Rule::Lifeguard) | (Rule::Lifeguard, Rule::Evidence { .. }) => {
                *new = old;
            }
        }
        self.detector.configure(config.detector.clone());
        self.config = config;
    }

    /// Writes the next datagram into `buffer` and says where it goes; `None` when there is none.
    pub fn poll_transmit(&mut self, buffer: &mut BytesMut) -> Option<SocketAddr> {
        let Some(Transmit { to, message, first, cargo }) = self.outbox.pop_front() else {
            let (to, bytes) = self.healing.written.pop_front()?;
            buffer.clear();
            buffer.extend_from_slice(&bytes);
            self.count_sent(buffer.len());
            return Some(to);
        };
        let mut encoder = Encoder::begin(buffer, self.local.id(), &message);
        let (local, table) = (&self.local, &self.table);
        let (now, provenance) = (self.now, &self.provenance);
        let about = |topic: Topic| match topic.kind {
            Kind::Evidence => provenance.update(now, topic.id),
            Kind::State | Kind::Record | Kind::Load => update_about(local, table, topic),
        };
        if let Some(update) = first.and_then(about) {
            let fits = encoder.push(&update);
            debug_assert!(fits.is_ok(), "a single update fits any datagram");
        }
        if cargo != Cargo::Empty {
            let (config, members) = (&self.config, table.live().len() + 1);
            let limit = |class| retransmit_limit(config, class, members);
            let offered = |result: Result<(), Full>| match result {
                Ok(()) => Offer::Taken,
                Err(Full) => Offer::NoRoom,
            };
            self.news.fill(limit, |topic, encoded| {
                if cargo == Cargo::Hidden
                    && let Kind::State | Kind::Record = topic.kind
                    && about(topic).is_some_and(|update| is_in_digest(&update))
                {
                    return Offer::Taken;
                }
                if let Some(known) = encoded {
                    return offered(encoder.push_encoded(known));
                }
                match about(topic) {
                    None => Offer::Obsolete,
                    Some(Update::State(update)) => {
                        offered(encoder.push_encoded(encoded.insert(Encoded::of(&update))))
                    }
                    Some(update) => offered(encoder.push(&update)),
                }
            });
        }
        encoder.finish(self.cluster);
        self.count_sent(buffer.len());
        Some(to)
    }

    /// Somebody's view has the digest of ours: what that shows need not be sent there, and counts as
    /// sent.
    fn spare_news(&mut self) {
        if self.news.is_empty() {
            return;
        }
        let (local, table) = (&self.local, &self.table);
        let (config, members) = (&self.config, table.live().len() + 1);
        let limit = |class| retransmit_limit(config, class, members);
        self.news.fill(limit, |topic, _| match topic.kind {
            Kind::State | Kind::Record => match update_about(local, table, topic) {
                None => Offer::Obsolete,
                Some(update) if is_in_digest(&update) => Offer::Taken,
                Some(_) => Offer::NoRoom,
            },
            Kind::Load | Kind::Evidence => Offer::NoRoom,
        });
    }

    fn count_sent(&mut self, bytes: usize) {
        self.stats.datagrams_sent += 1;
        self.stats.bytes_sent += u64::try_from(bytes).unwrap_or(0);
    }

    /// The next thing the host should know; `None` when there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            // What a mass join needed once is not kept for ever.
            self.events.shrink_to(EVENTS_KEPT);
        }
        event
    }

    /// When `handle_timeout` is to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_at()
    }

    /// The local member.
    #[must_use]
    pub const fn local(&self) -> &Member {
        &self.local
    }

    /// All other members, in no particular order.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.table.iter()
    }

    /// The member with this id, the local one included.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        if id == self.local.record.id {
            return Some(&self.local);
        }
        self.table.get(id.short()).filter(|member| member.record.id == id)
    }

    /// How the last probes of a member ended; `None` when there was none lately.
    #[must_use]
    pub fn path(&self, id: NodeId) -> Option<Path> {
        self.paths.of(id.short())
    }

    /// The member with the highest id among the live ones, the local one included.
    #[must_use]
    pub const fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Counts the leaders this view has seen; never falls.
    #[must_use]
    pub const fn term(&self) -> u64 {
        self.term
    }

    /// Members alive or suspect, the local one included.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.table.live().len() + usize::from(self.local.is_live())
    }

    /// The digest of this view, as pings and acks carry it.
    #[must_use]
    pub fn digest(&self) -> u32 {
        self.table.digest().wrapping_add(table::contribution(&self.local))
    }

    /// Whether news is still to be sent.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// How many timers are armed.
    #[must_use]
    pub fn timers_pending(&self) -> usize {
        self.timers.len()
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Present local health; 0 is the best.
    #[must_use]
    pub fn health(&self) -> u32 {
        if self.evidence_floor().is_some() {
            return u32::from(self.evidence.health.score(self.now));
        }
        self.detector.health()
    }

    fn send(&mut self, to: SocketAddr, message: Message, first: Option<Topic>, cargo: Cargo) {
        self.outbox.push_back(Transmit { to, message, first, cargo });
    }

    /// Adds news and sees to it that it is pushed.
    fn tell(&mut self, now: Instant, id: ShortId, kind: Kind, class: Class) {
        self.news.enqueue(Topic { id, kind }, class);
        let delay = match class {
            Class::Urgent => self.config.gossip_urgent_delay,
            Class::State | Class::Record | Class::Load => self.config.gossip_interval,
        };
        self.arm_gossip(now + delay);
    }

    pub(super) fn arm_gossip(&mut self, at: Instant) {
        if self.gossip_at.is_none_or(|armed| at < armed) {
            self.gossip_at = Some(at);
            self.timers.arm(at, Timer::Gossip);
        }
    }

    fn changed(&mut self, id: NodeId, change: Change) {
        self.events.push_back(Event::Member { id, change });
    }

    /// The member with this id, this node included.
    fn known(&self, id: ShortId) -> Option<&Member> {
        if id == self.local.id() { Some(&self.local) } else { self.table.get(id) }
    }

    const fn take_sequence(&mut self) -> u16 {
        self.next_sequence = self.next_sequence.wrapping_add(1);
        self.next_sequence
    }

    const fn take_pings(&mut self) -> Pings {
        let base = self.next_sequence.wrapping_add(1);
        self.next_sequence = self.next_sequence.wrapping_add(PINGS);
        Pings::new(base)
    }

    fn ping(&self, target: ShortId, sequence: u16) -> Message {
        Message::Ping { target, sequence, digest: self.digest(), wants_slot: false }
    }

    fn has_left(&self) -> bool {
        self.local.state == State::Left
    }
}

/// Events for which memory is kept while there are none.
const EVENTS_KEPT: usize = 1_024;

/// For so long after its start a node compares views as soon as after a cut.
const JOINING: Duration = Duration::from_secs(10);

/// A datagram that waited longer in the socket means that this host is behind.
const QUEUE_DELAY_MAX: Duration = Duration::from_millis(100);

/// How often a member sends one piece of news in a mesh of this size.
fn retransmit_limit(config: &Config, class: Class, live_count: usize) -> usize {
    let members = u32::try_from(live_count).unwrap_or(u32::MAX - 1);
    if let Rule::Evidence { .. } = config.detector.rule {
        // Half as often left stragglers of deaths under loss and mass crashes, see `docs/adr/0002`.
        // A record that is missed is asked for, and a load is soon outdated.
        let enough = natural_log_ceil(members) + 5;
        return match class {
            Class::Urgent | Class::State => 2 * enough,
            Class::Record | Class::Load => enough,
        };
    }
    // ceil(log10(n + 1)) is the number of digits of n.
    let digits = members.max(1).ilog10() + 1;
    usize::try_from(config.retransmit_multiplier * digits).unwrap_or(usize::MAX)
}

/// The least `k` for which e^k reaches `members`.
fn natural_log_ceil(members: u32) -> usize {
    let mut power = 1.0_f64;
    let mut exponent = 0;
    while power < f64::from(members) {
        power *= std::f64::consts::E;
        exponent += 1;
    }
    exponent
}

/// Whether two views with equal digests agree on this news.
fn is_in_digest(update: &Update<'_>) -> bool {
    match update {
        // Suspect counts as alive there.
        Update::State(update) => update.state != State::Suspect,
        Update::Record(_) => true,
        Update::Load { .. } | Update::Evidence(_) | Update::Range(_) | Update::Entry(_) => false,
    }
}

/// What there is to say about a topic now; `None` when it has become moot.
fn update_about<'a>(local: &'a Member, table: &'a Table, topic: Topic) -> Option<Update<'a>> {
    let member = if topic.id == local.id() { local } else { table.get(topic.id)? };
    Some(match topic.kind {
        Kind::State => Update::State(StateUpdate {
            id: topic.id,
            state: member.state,
            accuser: member.accuser,
            generation: member.record.generation,
            incarnation: member.record.incarnation,
        }),
        // A record says "alive"; of others only their state is news.
        Kind::Record if member.state == State::Alive => Update::Record(member.record.borrow()),
        Kind::Load if member.is_live() => Update::Load {
            id: topic.id,
            generation: member.record.generation,
            sequence: member.load_sequence,
            load: member.load(),
        },
        Kind::Record | Kind::Load | Kind::Evidence => return None,
    })
}

/// An address that datagrams can be sent to.
fn is_usable(address: SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
}

/// A record that fits a datagram, wherever it came from.
fn is_small(name: &str, metadata: &[u8]) -> bool {
    name.len() <= astromesh_wire::limits::NAME_BYTES_MAX
        && metadata.len() <= astromesh_wire::limits::METADATA_BYTES_MAX
}
