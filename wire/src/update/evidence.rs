//! Why a member was declared dead: the accuser's own case and what the observers said.
//!
//! Owns the layout of both. Refuses to weigh them: which votes make a death is the engine's.

use super::{OTHER_EVIDENCE, other};
use crate::codec;
use crate::datagram::{Incarnation, Vote};
use crate::id::ShortId;
use crate::limits::BALLOTS_MAX;

/// The reason why a member was declared dead, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence<'a> {
    /// Who was declared dead.
    pub subject: Incarnation,
    /// Who declared it.
    pub accuser: ShortId,
    /// By which rule: a number that the engine gives a meaning.
    pub rule: u8,
    /// From the first failed probe to the verdict, in milliseconds.
    pub open_ms: u32,
    /// From the verdict to the sending of this datagram, in milliseconds.
    pub decided_ms_ago: u32,
    /// Pings that the accuser sent before it accused.
    pub tries: u8,
    /// Helpers that it asked to ping as well.
    pub helpers: u8,
    /// Of these, those that said that they got no answer either.
    pub nacks: u8,
    /// The accuser's own health when it decided: 0 is the best.
    pub health: u8,
    /// What the others said, [`BALLOT_BYTES`] each; see [`Evidence::ballots`].
    pub ballots: &'a [u8],
}

/// What one observer said about an accused member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ballot {
    /// Who was asked.
    pub voter: ShortId,
    /// The answer; `None` when there was none until the verdict.
    pub vote: Option<Vote>,
    /// From the opening of the case to the answer, in milliseconds.
    pub after_ms: u16,
}

/// Bytes of a [`Ballot`] on the wire.
pub const BALLOT_BYTES: usize = 8;

impl Ballot {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; BALLOT_BYTES] {
        let [a, b, c, d, e] = *self.voter.as_bytes();
        let vote = self.vote.map_or(BALLOT_SILENT, Vote::number);
        let [high, low] = self.after_ms.to_be_bytes();
        [a, b, c, d, e, vote, high, low]
    }

    /// The ballot of bytes on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; BALLOT_BYTES]) -> Self {
        let [a, b, c, d, e, vote, high, low] = bytes;
        let voter = ShortId::from_bytes([a, b, c, d, e]);
        Self { voter, vote: Vote::of_number(vote), after_ms: u16::from_be_bytes([high, low]) }
    }
}

impl<'a> Evidence<'a> {
    /// The answers of those who were asked.
    pub fn ballots(&self) -> impl Iterator<Item = Ballot> + use<'a> {
        self.ballots.as_chunks().0.iter().map(|bytes| Ballot::from_bytes(*bytes))
    }

    pub(super) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (subject, accuser, rule) = codec::take(bytes)?;
        let (open_ms, decided_ms_ago) = codec::take(bytes)?;
        let (tries, helpers, nacks, health, count): (u8, u8, u8, u8, u8) = codec::take(bytes)?;
        let count = usize::from(count);
        if count > BALLOTS_MAX {
            return None;
        }
        let ballots = codec::take_bytes(bytes, count.checked_mul(BALLOT_BYTES)?)?;
        Some(Self {
            subject,
            accuser,
            rule,
            open_ms,
            decided_ms_ago,
            tries,
            helpers,
            nacks,
            health,
            ballots,
        })
    }

    pub(super) fn put(&self, room: &mut [u8]) -> Option<usize> {
        let count = self.ballots.len().checked_div(BALLOT_BYTES)?;
        if count > BALLOTS_MAX || self.ballots.len() != count.checked_mul(BALLOT_BYTES)? {
            return None;
        }
        let head = (other(OTHER_EVIDENCE), self.subject, self.accuser, self.rule);
        let times = (self.open_ms, self.decided_ms_ago);
        let own = (self.tries, self.helpers, self.nacks, self.health);
        let head = codec::put(room, (head, times, own, u8::try_from(count).ok()?))?;
        room.get_mut(head..)?.get_mut(..self.ballots.len())?.copy_from_slice(self.ballots);
        head.checked_add(self.ballots.len())
    }
}

/// On the wire, the vote of somebody who has not answered. A number that is no vote reads as the
/// same: what a later version adds is for people only.
const BALLOT_SILENT: u8 = 0xff;
