//! Any datagrams at one engine, mixed with the passing of time: no panic, and nothing grows, falls
//! or is answered beyond what is promised.
//!
//! The input is a row of steps. A step is a byte that says what happens (low half) and to do with
//! whom (high half), a byte that says how much, and for a datagram that many bytes of content.

use std::net::SocketAddr;
use std::time::Duration;

use astromesh_swim::{Claim, Command, Config, Engine, Instant, Origin, OwnedRecord};
use astromesh_wire::limits::DATAGRAM_BYTES_MAX;
use astromesh_wire::{ClusterTag, Datagram, Load, NodeId, State};
use bytes::{Bytes, BytesMut};

/// The cluster of the engine.
pub const CLUSTER: &str = "default";

/// Steps of one run; what follows is not used.
const STEPS_MAX: usize = 256;

/// The members known from the start; the local one is number 0, strangers come after them.
const PEERS: std::ops::RangeInclusive<u8> = 1..=4;

/// So low that a fuzzer reaches it.
const MEMBERS_MAX: usize = 8;

/// Sent for one datagram: a refutation, eight queries, and one answer or relayed ping.
const ANSWERS_MAX: usize = 10;

/// Sent for one timer: an indirect probe asks three and pings once more.
const SENT_PER_TIMER_MAX: usize = 4;

/// A timer for each probe asked for, 16 for a suspicion of each member with all its confirmations,
/// 64 for the rest: gossip, armed anew every 10 ms, stays in the heap for 200 ms.
const TIMERS_MAX: usize = STEPS_MAX + 16 * MEMBERS_MAX + 64;

/// Far more than the timers of the longest wait, 25.5 s.
const WAKES_PER_WAIT_MAX: usize = 8_192;

/// Plays the steps that `bytes` stand for.
pub fn engine_datagrams(bytes: &[u8]) {
    let mut host = Host::new();
    let mut rest = bytes;
    for _ in 0..STEPS_MAX {
        let Some((&[what, amount], after)) = rest.split_first_chunk::<2>() else { break };
        rest = after;
        let short = Duration::from_millis(u64::from(amount));
        match what & 0x0f {
            0 => host.wait(short),
            1 => host.wait(short * 100),
            2 => host.stand_still(short * 100),
            kind => {
                // The top bit makes room for the largest datagrams and one that is too large.
                let scale = if amount > 0x7f { 10 } else { 1 };
                let length = usize::from(amount & 0x7f) * scale;
                let (content, after) = rest.split_at(rest.len().min(length));
                rest = after;
                let checksum = crc32fast::hash(content) ^ crc32fast::hash(CLUSTER.as_bytes());
                let whole = [content, &checksum.to_be_bytes()].concat();
                let is_damaged = kind == 0x0f;
                host.hear(address(what >> 4), if is_damaged { content } else { &whole });
            }
        }
        host.check();
    }
}

/// What drives the engine, and what it saw of it last.
struct Host {
    engine: Engine,
    now: Instant,
    /// Generation, incarnation.
    standing: (u32, u32),
    /// Generation, revision.
    edition: (u32, u32),
    term: u64,
    buffer: BytesMut,
}

impl Host {
    fn new() -> Self {
        let now = Instant::from_micros(1_000_000);
        let reap_after = Duration::from_secs(60);
        let config = Config { members_max: MEMBERS_MAX, reap_after, ..Config::default() };
        let mut engine = Engine::new(now, config, ClusterTag::of(CLUSTER), record(0), 1);
        let known = |peer| {
            let (state, load) = (State::Alive, Load::default());
            Claim { record: record(peer), state, load, load_sequence: 0 }
        };
        let claims = PEERS.map(known).collect();
        engine.handle_command(now, Command::Merge { claims, term: 0, origin: Origin::Join });
        let buffer = BytesMut::new();
        let mut host = Self { engine, now, standing: (0, 0), edition: (0, 0), term: 0, buffer };
        host.drain();
        host.check();
        host
    }

    fn hear(&mut self, from: SocketAddr, bytes: &[u8]) {
        let sender = Datagram::decode(bytes, ClusterTag::of(CLUSTER)).map(|it| it.sender);
        let before = self.engine.digest();
        self.engine.handle_datagram(self.now, from, bytes);
        let sent = self.drain();
        assert!(sent.len() <= ANSWERS_MAX, "{} datagrams for one", sent.len());
        let Ok(sender) = sender else {
            assert!(sent.is_empty(), "an answer to what was not believed");
            assert_eq!(self.engine.digest(), before, "changed by what was not believed");
            return;
        };
        if !self.engine.members().any(|member| member.id() == sender) {
            let answered: usize = sent.iter().map(|(_, length)| length).sum();
            assert!(answered <= bytes.len(), "{answered} bytes to a stranger for {}", bytes.len());
            assert!(sent.iter().all(|(to, _)| *to == from), "a stranger is answered elsewhere");
            assert_eq!(self.engine.digest(), before, "changed by a stranger");
        }
    }

    /// Time passes, and the host wakes the engine when it asks for it.
    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut wakes = 0;
        while let Some(due) = self.engine.poll_timeout().filter(|&due| due <= end) {
            wakes += 1;
            assert!(wakes <= WAKES_PER_WAIT_MAX, "woken without end");
            self.now = self.now.max(due);
            self.wake();
        }
        self.now = end;
    }

    /// Time passes, and the host wakes the engine only then.
    fn stand_still(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.wake();
    }

    fn wake(&mut self) {
        let timers = self.engine.timers_pending();
        self.engine.handle_timeout(self.now);
        let sent = self.drain().len();
        assert!(sent <= timers * SENT_PER_TIMER_MAX, "{sent} datagrams for {timers} timers");
        let next = self.engine.poll_timeout();
        assert!(next.is_some_and(|due| due > self.now), "a timer is left behind: {next:?}");
    }

    /// Takes out all that is to be sent: to whom, and how many bytes.
    fn drain(&mut self) -> Vec<(SocketAddr, usize)> {
        let mut sent = Vec::new();
        while let Some(to) = self.engine.poll_transmit(&mut self.buffer) {
            assert!(self.buffer.len() <= DATAGRAM_BYTES_MAX, "{} bytes", self.buffer.len());
            let read = Datagram::decode(&self.buffer, ClusterTag::of(CLUSTER));
            assert!(read.is_ok(), "sent what nobody can read: {read:?}");
            sent.push((to, self.buffer.len()));
        }
        while self.engine.poll_event().is_some() {}
        sent
    }

    /// What holds after every step.
    fn check(&mut self) {
        let own = &self.engine.local().record;
        let standing = (own.generation, own.incarnation);
        let edition = (own.generation, own.revision);
        assert!(standing >= self.standing, "{:?} fell to {standing:?}", self.standing);
        assert!(edition >= self.edition, "{:?} fell to {edition:?}", self.edition);
        assert!(self.engine.term() >= self.term, "the term fell");
        (self.standing, self.edition, self.term) = (standing, edition, self.engine.term());

        assert_eq!(self.engine.local().state, State::Alive, "talked into its own death");
        let members = self.engine.members().count();
        assert!(members <= MEMBERS_MAX, "{members} members");
        let timers = self.engine.timers_pending();
        assert!(timers <= TIMERS_MAX, "{timers} timers");
        let live = self.engine.members().filter(|member| member.is_shown_live());
        let highest = live.map(|member| member.record.id).max().max(Some(own.id));
        assert_eq!(self.engine.leader(), highest, "another one leads");
    }
}

/// The member with this number, as it describes itself at the start.
#[must_use]
pub fn record(number: u8) -> OwnedRecord {
    OwnedRecord {
        id: NodeId::from_bytes([number; 16]),
        generation: 1,
        incarnation: 0,
        revision: 1,
        address: address(number),
        name: format!("node-{number}"),
        metadata: Bytes::from_static(b"about"),
    }
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 8000))
}
