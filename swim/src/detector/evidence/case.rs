//! An accusation: who was asked, what they said, and when it is enough.

use std::time::Duration;

use astromesh_wire::{Ballot, Incarnation, ShortId, Vote};

use super::OBSERVERS;
use super::pings::Pings;
use crate::time::Instant;

/// Observers and substitutes that one accuser asks at most.
pub const JURORS_MAX: usize = 2 * OBSERVERS;

/// Accusers that one voter answers at most: there are no more observers.
pub const ASKERS_MAX: usize = OBSERVERS;

/// From the opening of a case to the moment from which fewer votes suffice: observers that have not
/// answered by then may be dead.
pub const RESPONSIVE_AFTER: Duration = Duration::from_millis(500);

/// From the opening of a case to the replacements of silent observers.
pub const SUBSTITUTES_AFTER: [Duration; 2] =
    [Duration::from_millis(700), Duration::from_millis(1_200)];

/// From the opening of a case to each of the first solicitations; later ones follow each
/// [`SOLICIT_INTERVAL`].
pub const SOLICIT_AT: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(250)];

/// Time between later solicitations.
pub const SOLICIT_INTERVAL: Duration = Duration::from_millis(500);

/// Time between pings while a case is open.
pub const PERSIST_INTERVAL: Duration = Duration::from_millis(250);

/// The same, once the case is old.
pub const PERSIST_INTERVAL_LATE: Duration = Duration::from_millis(500);

/// From when on a case is old.
pub const PERSIST_LATE_AFTER: Duration = Duration::from_secs(6);

/// A voter goes on pinging until this long after the floor.
pub const VOTER_STAYS: Duration = Duration::from_millis(2_500);

/// A voter whose case is older accuses by itself after its next failed probe.
pub const VOTER_ACCUSES_AFTER: Duration = Duration::from_millis(1_500);

/// The part this node plays in a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It asks the observers, and may declare the death.
    Accuser,
    /// It was asked.
    Voter,
    /// It has no answer, but no proof that it would get one either: it only keeps trying.
    Doubter,
}

/// One who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Juror {
    /// Who.
    pub id: ShortId,
    /// The answer so far.
    pub vote: Option<Vote>,
    /// From the opening of the case to the answer.
    pub after: Duration,
    /// Whether a substitute was asked in its place.
    pub is_replaced: bool,
}

/// What was seen of the accused before and during the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tries {
    /// Pings sent before the case was opened.
    pub pings: u8,
    /// Helpers asked to ping.
    pub helpers: u8,
    /// Helpers that said that they got no answer.
    pub nacks: u8,
}

/// An open case against one member.
#[derive(Debug, Clone)]
pub struct Case {
    /// Who is accused, at which incarnation.
    pub subject: Incarnation,
    /// When the accused first failed to answer, as far as known here.
    pub opened_at: Instant,
    /// The part this node plays.
    pub role: Role,
    /// Its pings, those of the probe that opened it included.
    pub pings: Pings,
    /// This node's own answer; `None` while it is still trying.
    pub own: Option<Vote>,
    /// What was tried.
    pub tries: Tries,
    /// When the next ping is due.
    pub ping_at: Instant,
    /// When a voter's own tries have had their time.
    pub own_due: Option<Instant>,
    /// When to ask again: the jurors of an accuser, the helpers of a doubter.
    pub ask_at: Instant,
    /// How often was asked.
    pub asked: usize,
    /// How often silent observers were replaced.
    pub replaced: usize,
    jurors: [Option<Juror>; JURORS_MAX],
    askers: [Option<ShortId>; ASKERS_MAX],
}

impl Case {
    /// A case opened now, or as long ago as another one said.
    #[must_use]
    pub const fn new(
        subject: Incarnation,
        opened_at: Instant,
        now: Instant,
        role: Role,
        pings: Pings,
    ) -> Self {
        Self {
            subject,
            opened_at,
            role,
            pings,
            own: None,
            tries: Tries { pings: 0, helpers: 0, nacks: 0 },
            ping_at: now,
            own_due: None,
            ask_at: now,
            asked: 0,
            replaced: 0,
            jurors: [None; JURORS_MAX],
            askers: [None; ASKERS_MAX],
        }
    }

    /// Those who were asked.
    pub fn jurors(&self) -> impl Iterator<Item = &Juror> {
        self.jurors.iter().flatten()
    }

    /// Whether one more can be asked.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.jurors.iter().any(Option::is_none)
    }

    /// Asks one more, unless it was asked before or there are enough. `true` if it is new.
    pub fn summon(&mut self, id: ShortId) -> bool {
        if self.jurors().any(|juror| juror.id == id) {
            return false;
        }
        let Some(seat) = self.jurors.iter_mut().find(|seat| seat.is_none()) else { return false };
        *seat = Some(Juror { id, vote: None, after: Duration::ZERO, is_replaced: false });
        true
    }

    /// Notes the vote of one who was asked; those of others are nothing here.
    pub fn take(&mut self, now: Instant, voter: ShortId, vote: Vote) {
        let after = now.since(self.opened_at);
        if let Some(juror) = self.jurors.iter_mut().flatten().find(|juror| juror.id == voter)
            && juror.vote != Some(vote)
        {
            juror.vote = Some(vote);
            juror.after = after;
        }
    }

    /// Marks those as replaced who have not answered, and says how many are newly so.
    pub fn replace_silent(&mut self) -> usize {
        let silent = self.jurors.iter_mut().flatten();
        let silent = silent.filter(|juror| juror.vote.is_none() && !juror.is_replaced);
        silent.map(|juror| juror.is_replaced = true).count()
    }

    /// Those who asked this node.
    pub fn askers(&self) -> impl Iterator<Item = ShortId> + '_ {
        self.askers.iter().flatten().copied()
    }

    /// Notes one who asks.
    pub fn add_asker(&mut self, id: ShortId) {
        if self.askers().any(|known| known == id) {
            return;
        }
        if let Some(seat) = self.askers.iter_mut().find(|seat| seat.is_none()) {
            *seat = Some(id);
        }
    }

    /// Votes "no" so far, this node's own included.
    #[must_use]
    pub fn no_count(&self) -> usize {
        let others = self.jurors().filter(|juror| juror.vote == Some(Vote::No)).count();
        others.saturating_add(usize::from(self.own == Some(Vote::No)))
    }

    /// When something is to be done next, other than at the end of the floor.
    #[must_use]
    pub fn next_at(&self) -> Instant {
        let mut next = self.ping_at;
        if self.role != Role::Voter {
            next = next.min(self.ask_at);
        }
        if let Some(due) = self.own_due {
            next = next.min(due);
        }
        if self.role == Role::Accuser
            && let Some(after) = SUBSTITUTES_AFTER.get(self.replaced)
        {
            next = next.min(self.opened_at + *after);
        }
        next
    }

    /// The answers, for the record of a verdict.
    pub fn ballots(&self) -> impl Iterator<Item = Ballot> + '_ {
        self.jurors().map(|juror| Ballot {
            voter: juror.id,
            vote: juror.vote,
            after_ms: u16::try_from(juror.after.as_millis()).unwrap_or(u16::MAX),
        })
    }
}

/// How many votes "no" it takes, this node's own included, `elapsed` after the opening of a case
/// with `observers` observers, if nobody has said "alive".
///
/// At first three quarters of all observers. Then a minimum that grows with their number: dead
/// observers cannot vote.
#[must_use]
pub fn needed(observers: usize, elapsed: Duration) -> usize {
    let three_quarters = observers.saturating_mul(3).div_ceil(4);
    let strict = if observers <= 2 { observers.max(1) } else { three_quarters };
    if elapsed < RESPONSIVE_AFTER {
        return strict;
    }
    let least = match observers {
        0 | 1 => 1,
        2..=4 => 2,
        _ => 3,
    };
    strict.min(least)
}

/// The least time from the opening of a case to a verdict in a mesh of `live_count`, the accused
/// included: in the smallest meshes there are too few votes to do without.
#[must_use]
pub fn floor_in(live_count: usize, floor: Duration) -> Duration {
    match live_count {
        0..=2 => floor.max(Duration::from_secs(4)),
        3 | 4 => floor.max(Duration::from_secs(2)),
        _ => floor,
    }
}

/// When an accuser decides alone that has heard neither a vote "alive" nor enough votes.
#[must_use]
pub fn fallback(floor: Duration) -> Duration {
    Duration::from_secs(10).max(floor + Duration::from_secs(8))
}
