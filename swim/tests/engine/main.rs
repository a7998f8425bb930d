//! One engine, played by hand: given this, at this time, this input: exactly these outputs.
#![expect(clippy::unwrap_used, reason = "tests")]

mod accusing;
mod bounds;
mod checking;
mod compare;
mod configuring;
mod doubt;
mod doubting;
mod health;
mod helping;
mod idle;
mod joining;
mod leader;
mod leaving;
mod lies;
mod loads;
mod news;
mod paths;
mod peers;
mod probing;
mod stalls;
mod storms;
mod strangers;
mod tombstones;
mod verdicts;
mod views;
mod voting;
mod waking;
mod watching;

use std::net::SocketAddr;
use std::time::Duration;

use astromesh_swim::detector::Rule;
use astromesh_swim::{
    Change, Claim, Command, Config, Engine, Event, Instant, Member, Origin, OwnedRecord,
};
use astromesh_wire::{
    Bucket, ClusterTag, Content, Datagram, Encoder, Entry, Incarnation, Load, Message, NodeId,
    Range, ShortId, State, StateUpdate, Update,
};
use bytes::{Bytes, BytesMut};

pub(crate) const CLUSTER: &str = "test";

/// The local node; its peers are numbered from 1, so that it is lower than 9 and higher than 7.
pub(crate) const LOCAL: u8 = 8;

/// An engine with its clock. Nothing in it answers by itself, except in [`Subject::settle`].
pub(crate) struct Subject {
    pub(crate) engine: Engine,
    pub(crate) now: Instant,
    pub(crate) events: Vec<Event>,
}

/// A datagram that the engine sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) to: SocketAddr,
    pub(crate) message: Message,
    pub(crate) news: Vec<News>,
    pub(crate) bytes: usize,
}

/// An update that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    State(StateUpdate),
    Record(OwnedRecord),
    Load(ShortId, u32, Load),
    /// The record of one who is dead or gone, and for how many seconds.
    Gone(OwnedRecord, State, u32),
    /// Prefix, bits and digests of a range.
    Parts(u32, u8, Vec<u32>),
    /// Prefix, bits and members of a range.
    List(u32, u8, u8),
    Entry(Entry),
    Evidence(Reasons),
}

/// Evidence: about whom, by whom, how long ago, how many ballots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reasons {
    pub(crate) subject: Incarnation,
    pub(crate) accuser: ShortId,
    pub(crate) decided_ms_ago: u32,
    pub(crate) ballots: usize,
}

pub(crate) fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

pub(crate) fn short(number: u8) -> ShortId {
    id(number).short()
}

pub(crate) fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 8000))
}

pub(crate) fn record(number: u8) -> OwnedRecord {
    OwnedRecord {
        id: id(number),
        generation: 1,
        incarnation: 0,
        revision: 1,
        address: address(number),
        name: format!("node-{number}"),
        metadata: Bytes::from_static(b"about"),
    }
}

pub(crate) fn claim(record: OwnedRecord, state: State) -> Claim {
    Claim { record, state, load: Load::default(), load_sequence: 0 }
}

/// A claim about a member of generation 1, accused by peer `accuser`.
pub(crate) fn state(number: u8, state: State, incarnation: u32, accuser: u8) -> StateUpdate {
    StateUpdate {
        id: short(number),
        state,
        accuser: Bucket::of(short(accuser)),
        generation: 1,
        incarnation,
    }
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn datagram(sender: u8, message: Message, updates: &[Update<'_>]) -> BytesMut {
    let mut buffer = BytesMut::new();
    let mut encoder = Encoder::begin(&mut buffer, short(sender), &message);
    for update in updates {
        encoder.push(update).unwrap();
    }
    encoder.finish(ClusterTag::of(CLUSTER));
    buffer
}

impl Subject {
    /// An engine that is alone.
    pub(crate) fn alone() -> Self {
        Self::with(lifeguard())
    }

    pub(crate) fn with(config: Config) -> Self {
        let now = Instant::from_micros(1_000_000);
        let engine = Engine::new(now, config, ClusterTag::of(CLUSTER), record(LOCAL), 7);
        Self { engine, now, events: Vec::new() }
    }

    /// An engine that has known these peers for a while and has nothing left to say.
    pub(crate) fn among(peers: &[u8]) -> Self {
        let mut subject = Self::with(lifeguard());
        subject.meet(peers);
        subject
    }

    /// Lets these peers be known, as a seed tells them, and the news of it die down.
    pub(crate) fn meet(&mut self, peers: &[u8]) {
        let claims = peers.iter().map(|&peer| claim(record(peer), State::Alive)).collect();
        self.merge(claims, Origin::Join);
        self.settle();
    }

    /// Peers answer every ping, until nothing is left to say.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.engine.has_news() {
                break;
            }
            self.step_answering();
        }
        // The ping that is under way is answered too.
        assert!(!self.engine.has_news(), "news dies down");
        for _ in 0..20 {
            self.step_answering();
        }
        self.events.clear();
    }

    /// Peers answer every ping for as long.
    pub(crate) fn answered_for(&mut self, duration: Duration) -> Vec<Sent> {
        let end = self.now + duration;
        let mut all = Vec::new();
        while self.engine.poll_timeout().is_some_and(|due| due <= end) {
            all.extend(self.step_answering());
        }
        self.now = end;
        all
    }

    fn step_answering(&mut self) -> Vec<Sent> {
        self.now = self.now.max(self.engine.poll_timeout().unwrap());
        self.engine.handle_timeout(self.now);
        let sent = self.drain();
        for datagram in &sent {
            if let Message::Ping { target, sequence, .. } = datagram.message {
                let number = target.as_bytes()[0];
                let digest = self.engine.digest();
                let _replies =
                    self.hear(number, Message::Ack { sequence, digest, slot_ms: None }, &[]);
            }
        }
        sent
    }

    pub(crate) fn merge(&mut self, claims: Vec<Claim>, origin: Origin) -> Vec<Sent> {
        self.command(Command::Merge { claims, term: 0, origin })
    }

    pub(crate) fn command(&mut self, command: Command) -> Vec<Sent> {
        self.engine.handle_command(self.now, command);
        self.drain()
    }

    /// A datagram from a peer, from the address of its record.
    pub(crate) fn hear(&mut self, peer: u8, message: Message, updates: &[Update<'_>]) -> Vec<Sent> {
        self.hear_from(address(peer), &datagram(peer, message, updates))
    }

    pub(crate) fn hear_from(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<Sent> {
        self.engine.handle_datagram(self.now, from, bytes);
        self.drain()
    }

    /// News from a peer, with no question.
    pub(crate) fn told(&mut self, peer: u8, updates: &[StateUpdate]) -> Vec<Sent> {
        let updates: Vec<Update<'_>> = updates.iter().copied().map(Update::State).collect();
        self.hear(peer, Message::Gossip, &updates)
    }

    /// A ping from a peer that agrees with our view.
    pub(crate) fn pinged(&mut self, peer: u8, sequence: u16) -> Vec<Sent> {
        let digest = self.engine.digest();
        self.hear(
            peer,
            Message::Ping { target: short(LOCAL), sequence, digest, wants_slot: false },
            &[],
        )
    }

    /// Lets time pass; nobody answers anything.
    pub(crate) fn wait(&mut self, duration: Duration) -> Vec<Sent> {
        let end = self.now + duration;
        let mut all = Vec::new();
        while let Some(due) = self.engine.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.now);
            all.extend(self.drain());
        }
        self.now = end;
        all
    }

    /// Lets time pass until a ping leaves, answering nothing; the ping.
    pub(crate) fn wait_for_ping(&mut self) -> Sent {
        for _ in 0..1_000 {
            self.now = self.now.max(self.engine.poll_timeout().unwrap());
            self.engine.handle_timeout(self.now);
            let ping = self.drain().into_iter().find(is_ping);
            if let Some(ping) = ping {
                return ping;
            }
        }
        panic!("no ping within a thousand timers");
    }

    pub(crate) fn member(&self, number: u8) -> Option<&Member> {
        self.engine.member(id(number))
    }

    pub(crate) fn state_of(&self, number: u8) -> Option<State> {
        self.member(number).map(|member| member.state)
    }

    pub(crate) fn local(&self) -> (u32, u32, State) {
        let local = self.engine.local();
        (local.record.generation, local.record.incarnation, local.state)
    }

    /// The changes of members reported so far.
    pub(crate) fn changes(&self) -> Vec<(NodeId, Change)> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Member { id, change } => Some((*id, *change)),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn drain(&mut self) -> Vec<Sent> {
        let mut buffer = BytesMut::new();
        let mut all = Vec::new();
        while let Some(to) = self.engine.poll_transmit(&mut buffer) {
            let datagram = Datagram::decode(&buffer, ClusterTag::of(CLUSTER)).unwrap();
            assert_eq!(datagram.sender, short(LOCAL));
            let news = datagram.updates().map(|update| News::from(&update)).collect();
            all.push(Sent { to, message: datagram.message, news, bytes: buffer.len() });
        }
        while let Some(event) = self.engine.poll_event() {
            self.events.push(event);
        }
        all
    }
}

impl From<&Update<'_>> for News {
    fn from(update: &Update<'_>) -> Self {
        match update {
            Update::State(update) => Self::State(*update),
            Update::Record(record) if record.state != State::Alive => {
                Self::Gone(OwnedRecord::from(record), record.state, record.gone_for_s)
            }
            Update::Record(record) => Self::Record(OwnedRecord::from(record)),
            Update::Load { id, sequence, load, .. } => Self::Load(*id, *sequence, *load),
            Update::Range(Range { prefix, bits, content }) => match content {
                Content::Parts(_) => Self::Parts(*prefix, *bits, content.digests().collect()),
                Content::List(count) => Self::List(*prefix, *bits, *count),
            },
            Update::Entry(entry) => Self::Entry(*entry),
            Update::Evidence(evidence) => Self::Evidence(Reasons {
                subject: evidence.subject,
                accuser: evidence.accuser,
                decided_ms_ago: evidence.decided_ms_ago,
                ballots: evidence.ballots().count(),
            }),
        }
    }
}

pub(crate) fn is_ping(sent: &Sent) -> bool {
    matches!(sent.message, Message::Ping { .. })
}

pub(crate) fn is_ping_to(number: u8) -> impl Fn(&Sent) -> bool {
    move |sent| is_ping(sent) && sent.to == address(number)
}

pub(crate) fn sequence_of(sent: &Sent) -> u16 {
    match sent.message {
        Message::Ping { sequence, .. }
        | Message::Ack { sequence, .. }
        | Message::PingReq { sequence, .. }
        | Message::Nack { sequence } => sequence,
        Message::Gossip
        | Message::Query { .. }
        | Message::Solicit { .. }
        | Message::Vote { .. }
        | Message::Beacon { .. } => panic!("{sent:?} has no sequence"),
    }
}

/// The settings of a mesh that decides deaths by SWIM with Lifeguard.
pub(crate) fn lifeguard() -> Config {
    let mut config = Config::default();
    config.detector.rule = Rule::Lifeguard;
    config
}
