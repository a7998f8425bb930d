//! Peers that answer by a plan, for the tests of the evidence rule.

use std::time::Duration;

use astromesh_swim::detector::evidence::pings::PINGS;
use astromesh_swim::{Command, Config, Event, Instant, Verdict};
use astromesh_wire::{Incarnation, Message, ShortId, Vote};

use crate::{Sent, Subject, address, id, ms, short};

/// What the peers do with what they are asked.
#[derive(Clone, Copy)]
pub(crate) struct Peers<'a> {
    /// They answer nothing, and nobody else reaches them.
    pub(crate) silent: &'a [u8],
    /// Whether helpers say at once that they have no answer.
    pub(crate) nacks: bool,
    /// What observers vote at once.
    pub(crate) vote: Option<Vote>,
}

/// All answer but peer 1, helpers say so, nobody votes.
pub(crate) const ONE_IS_GONE: Peers<'static> = Peers { silent: &[1], nacks: true, vote: None };

/// The same, but no helper says anything.
pub(crate) const NO_HELP: Peers<'static> = Peers { silent: &[1], nacks: false, vote: None };

/// All answer.
pub(crate) const ALL_WELL: Peers<'static> = Peers { silent: &[], nacks: true, vote: None };

/// Peers 1 to `last`, without the local one.
pub(crate) fn up_to(last: u8) -> Vec<u8> {
    (1..=last).filter(|&number| number != crate::LOCAL).collect()
}

/// A datagram, with the milliseconds since the beginning of what was looked at.
pub(crate) type Timed = (u64, Sent);

/// Peer 1, at its first incarnation.
pub(crate) fn accused() -> Incarnation {
    Incarnation { id: short(1), generation: 1, incarnation: 0 }
}

pub(crate) fn vote(vote: Vote) -> Message {
    Message::Vote { subject: accused(), vote }
}

pub(crate) fn solicit(age_ms: u16) -> Message {
    Message::Solicit { subject: accused(), age_ms }
}

/// When, in milliseconds, what `is` tells was sent.
pub(crate) fn times(sent: &[Timed], is: impl Fn(&Sent) -> bool) -> Vec<u64> {
    sent.iter().filter(|(_, sent)| is(sent)).map(|(at, _)| *at).collect()
}

pub(crate) fn is_solicit(sent: &Sent) -> bool {
    matches!(sent.message, Message::Solicit { .. })
}

/// A request for help with this member.
pub(crate) fn asks_about(number: u8) -> impl Fn(&Sent) -> bool {
    move |sent| matches!(sent.message, Message::PingReq { target, .. } if target == short(number))
}

pub(crate) fn number_of(id: ShortId) -> u8 {
    id.as_bytes()[0]
}

impl Subject {
    /// An engine of the evidence rule that knows these peers, and has nothing left to say.
    pub(crate) fn observing(peers: &[u8]) -> Self {
        Self::observing_with(Config::default(), peers)
    }

    pub(crate) fn observing_with(config: Config, peers: &[u8]) -> Self {
        let mut subject = Self::with(config);
        subject.meet(peers);
        subject
    }

    /// Lets time pass; the peers do as planned.
    pub(crate) fn live(&mut self, peers: Peers<'_>, duration: Duration) -> Vec<Timed> {
        let (start, end) = (self.now, self.now + duration);
        let mut all = Vec::new();
        while let Some(due) = self.engine.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.now);
            let mut sent = self.drain();
            while !sent.is_empty() {
                let replies = sent.iter().flat_map(|sent| self.reply(peers, sent)).collect();
                all.extend(sent.into_iter().map(|sent| (millis(start, self.now), sent)));
                sent = replies;
            }
        }
        self.now = end;
        all
    }

    fn reply(&mut self, peers: Peers<'_>, sent: &Sent) -> Vec<Sent> {
        let std::net::IpAddr::V4(ip) = sent.to.ip() else { return Vec::new() };
        let peer = ip.octets()[3];
        if peers.silent.contains(&peer) {
            return Vec::new();
        }
        let is_silent = |target| peers.silent.contains(&number_of(target));
        match sent.message {
            Message::PingReq { target, sequence } if is_silent(target) => {
                if peers.nacks {
                    self.hear(peer, Message::Nack { sequence }, &[])
                } else {
                    Vec::new()
                }
            }
            Message::Ping { sequence, .. } | Message::PingReq { sequence, .. } => {
                self.acked(peer, sequence, None)
            }
            Message::Solicit { subject, .. } => match peers.vote {
                Some(vote) => self.hear(peer, Message::Vote { subject, vote }, &[]),
                None => Vec::new(),
            },
            Message::Ack { .. }
            | Message::Nack { .. }
            | Message::Gossip
            | Message::Query { .. }
            | Message::Vote { .. }
            | Message::Beacon { .. } => Vec::new(),
        }
    }

    /// An ack from a peer that agrees with our view.
    pub(crate) fn acked(&mut self, peer: u8, sequence: u16, slot_ms: Option<u16>) -> Vec<Sent> {
        let digest = self.engine.digest();
        self.hear(peer, Message::Ack { sequence, digest, slot_ms }, &[])
    }

    /// A probe of a member starts now; all that was sent until it is judged.
    pub(crate) fn probe(&mut self, number: u8, peers: Peers<'_>) -> Vec<Timed> {
        let sent = self.command(Command::Probe(id(number)));
        assert_eq!(sent, []);
        self.live(peers, ms(350))
    }

    /// The sequence of the first ping of the probe that a member was sent last.
    pub(crate) fn last_sequence(sent: &[Timed], number: u8) -> u16 {
        let pings = sent.iter().filter(|(_, sent)| crate::is_ping_to(number)(sent));
        let sequences: Vec<u16> = pings.map(|(_, sent)| crate::sequence_of(sent)).collect();
        let last = *sequences.last().unwrap();
        let of_probe = sequences.into_iter().map(|sequence| last.wrapping_sub(sequence));
        last.wrapping_sub(of_probe.filter(|back| *back < PINGS).max().unwrap())
    }

    /// Those who are asked for their vote.
    pub(crate) fn jurors(sent: &[Timed]) -> Vec<u8> {
        let asked = sent.iter().filter(|(_, sent)| is_solicit(sent));
        let mut asked: Vec<u8> = asked.filter_map(|(_, sent)| number_at(sent)).collect();
        asked.sort_unstable();
        asked.dedup();
        asked
    }

    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let verdicts = self.events.iter().filter_map(|event| match event {
            Event::Verdict(verdict) => Some(verdict.as_ref().clone()),
            _ => None,
        });
        verdicts.collect()
    }

    pub(crate) fn shown(&self, number: u8) -> Option<astromesh_wire::State> {
        self.member(number).map(astromesh_swim::Member::shown_state)
    }
}

fn number_at(sent: &Sent) -> Option<u8> {
    (1..=u8::MAX).find(|&number| address(number) == sent.to)
}

fn millis(start: Instant, now: Instant) -> u64 {
    u64::try_from(now.since(start).as_millis()).unwrap_or(u64::MAX)
}

/// Peer 1.
pub(crate) const ONE: ShortId = ShortId::from_bytes([1; 5]);
