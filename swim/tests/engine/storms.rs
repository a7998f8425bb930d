//! Long rows of random datagrams with the messages of the evidence rule, and numbers at the edges:
//! nothing panics, is left behind, or grows beyond its bound.

use astromesh_swim::Command;
use astromesh_wire::{
    Ballot, Content, Entry, Evidence, Incarnation, LoadRecord, Message, Range, State, StateUpdate,
    Update, Vote,
};

use crate::peers::{Peers, up_to};
use crate::{LOCAL, Sent, Subject, id, ms, short};

/// Sent for one datagram at most: a refutation, eight queries, and one answer.
const ANSWERS_MAX: usize = 10;

/// What a member of a mesh of nine, or a stranger, might send.
struct Storm {
    rng: fastrand::Rng,
    /// Sequences that this engine has used.
    seen: Vec<u16>,
}

impl Storm {
    fn number(&mut self) -> u32 {
        match self.rng.u8(..6) {
            0 => u32::MAX,
            1 => u32::MAX - 1,
            2 => self.rng.u32(..),
            _ => self.rng.u32(..3),
        }
    }

    fn short_number(&mut self) -> u16 {
        u16::try_from(self.number().min(u32::from(u16::MAX))).unwrap()
    }

    fn sequence(&mut self) -> u16 {
        let drawn = self.rng.u16(..);
        if self.seen.is_empty() || self.rng.u8(..4) == 0 {
            return drawn;
        }
        let place = usize::from(drawn) % self.seen.len();
        self.seen[place]
    }

    fn subject(&mut self) -> Incarnation {
        let generation = if self.rng.u8(..4) == 0 { self.number() } else { 1 };
        let incarnation = if self.rng.u8(..4) == 0 { self.number() } else { 0 };
        Incarnation { id: short(self.rng.u8(1..=11)), generation, incarnation }
    }

    fn state(&mut self) -> State {
        [State::Alive, State::Suspect, State::Dead, State::Left][self.rng.usize(..4)]
    }

    fn message(&mut self) -> Message {
        let (target, digest) = (short(self.rng.u8(1..=11)), self.rng.u32(..));
        match self.rng.u8(..10) {
            0 => {
                let target = if self.rng.bool() { short(LOCAL) } else { target };
                let (sequence, wants_slot) = (self.sequence(), self.rng.bool());
                Message::Ping { target, sequence, digest, wants_slot }
            }
            1 => {
                let slot_ms = self.rng.bool().then(|| self.short_number());
                Message::Ack { sequence: self.sequence(), digest, slot_ms }
            }
            2 => Message::PingReq { target, sequence: self.sequence() },
            3 => Message::Nack { sequence: self.sequence() },
            4 => Message::Gossip,
            5 => Message::Query { subject: target },
            7 => {
                let boot = self.number();
                let record = LoadRecord { boot, sequence: self.number(), ..LoadRecord::default() };
                Message::Beacon { target, record }
            }
            6 => Message::Solicit { subject: self.subject(), age_ms: self.short_number() },
            _ => {
                let vote = [Vote::No, Vote::No, Vote::Abstain, Vote::Alive][self.rng.usize(..4)];
                Message::Vote { subject: self.subject(), vote }
            }
        }
    }

    /// One update, whose bytes are in `room` if it has any.
    fn update<'a>(&mut self, room: &'a mut Vec<u8>) -> Update<'a> {
        let subject = self.subject();
        let Incarnation { id, generation, incarnation } = subject;
        match self.rng.u8(..5) {
            0 => {
                let (state, accuser) = (self.state(), astromesh_wire::Bucket::of(short(2)));
                Update::State(StateUpdate { id, state, accuser, generation, incarnation })
            }
            1 => {
                for voter in 0..self.rng.u8(..=16) {
                    let after_ms = self.short_number();
                    let ballot = Ballot { voter: short(voter), vote: None, after_ms };
                    room.extend(ballot.to_bytes());
                }
                Update::Evidence(Evidence {
                    subject,
                    accuser: short(self.rng.u8(..)),
                    rule: self.rng.u8(..),
                    open_ms: self.number(),
                    decided_ms_ago: self.number(),
                    tries: self.rng.u8(..),
                    helpers: self.rng.u8(..),
                    nacks: self.rng.u8(..),
                    health: self.rng.u8(..),
                    ballots: room,
                })
            }
            2 => {
                let content = Content::List(self.rng.u8(..));
                let bits = self.rng.u8(..=32);
                let prefix = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
                Update::Range(Range { prefix, bits, content })
            }
            3 => {
                let (state, revision) = (self.state(), self.number());
                Update::Entry(Entry { subject, state, revision, gone_for_s: self.number() })
            }
            _ => Update::Load {
                id,
                generation,
                sequence: self.number(),
                load: astromesh_wire::Load::default(),
            },
        }
    }

    fn note(&mut self, sent: &[Sent]) {
        for it in sent {
            let (Message::Ping { sequence, .. } | Message::PingReq { sequence, .. }) = it.message
            else {
                continue;
            };
            self.seen.push(sequence);
        }
        let surplus = self.seen.len().saturating_sub(32);
        self.seen.drain(..surplus);
    }
}

/// Plays one storm; how many cases were opened, and how many deaths declared.
fn play(seed: u64, steps: usize) -> (u64, u64) {
    let mut subject = Subject::observing(&up_to(9));
    // In a calm storm deaths are decided now and then, in a wild one news overtakes them.
    let is_wild = seed.is_multiple_of(2);
    let gone = if seed.is_multiple_of(3) { 1 } else { 7 };
    let mut storm = Storm { rng: fastrand::Rng::with_seed(seed), seen: Vec::new() };
    for _ in 0..steps {
        let sender = storm.rng.u8(1..=11);
        if sender == LOCAL {
            continue;
        }
        let message = storm.message();
        let mut room = Vec::new();
        let update = storm.update(&mut room);
        let updates = if is_wild && storm.rng.u8(..4) == 0 { &[update][..] } else { &[] };
        let answers = subject.hear(sender, message, updates);
        assert!(answers.len() <= ANSWERS_MAX, "seed {seed}: {answers:?}");
        if sender > 9 {
            let known = subject.member(sender).is_some();
            assert!(!known && answers.len() <= 1, "seed {seed}: {answers:?}");
        }
        storm.note(&answers);
        match storm.rng.u8(..40) {
            0 => {
                let doubted = storm.rng.u8(1..=9);
                subject.command(Command::Probe(id(doubted)));
            }
            1 => {
                let delay = ms(u64::from(storm.rng.u8(..)));
                subject.command(Command::QueueDelay(delay));
            }
            2 => {
                subject.now = subject.now + ms(storm.rng.u64(..5_000));
                subject.engine.handle_timeout(subject.now);
                let next = subject.engine.poll_timeout().unwrap();
                assert!(next > subject.now, "seed {seed}: a timer is left behind");
                storm.note(&subject.drain());
            }
            _ => {
                let vote = (!is_wild).then_some(Vote::No);
                let peers = Peers { silent: &[gone], nacks: !is_wild || storm.rng.bool(), vote };
                let longest = if is_wild { 300 } else { 3_000 };
                let sent = subject.live(peers, ms(storm.rng.u64(..longest)));
                storm.note(&sent.into_iter().map(|(_, sent)| sent).collect::<Vec<_>>());
            }
        }
        assert!(subject.engine.timers_pending() <= 2_048, "seed {seed}");
        assert_eq!(subject.engine.local().state, State::Alive, "seed {seed}");
        assert!(subject.engine.members().count() <= 8, "seed {seed}");
        subject.events.clear();
    }
    let stats = subject.engine.stats();
    (stats.suspicions, stats.deaths)
}

/// The variable `STORMS` asks for more of them, for a search of minutes.
#[test]
fn no_storm_breaks_the_engine() {
    let (mut cases, mut deaths) = (0, 0);
    let seeds = std::env::var("STORMS").ok().and_then(|it| it.parse().ok()).unwrap_or(40);
    for seed in 0..seeds {
        let (opened, declared) = play(seed, 500);
        cases += opened;
        deaths += declared;
    }
    assert!(cases > 0 && deaths > 0, "{cases} cases, {deaths} deaths: it tests nothing");
}
