//! What must hold after every step, and what must hold once all is calm.
//!
//! Owns what was last seen in each view. Refuses to judge how fast anything happened: that is the
//! business of tests.

use std::collections::BTreeMap;
use std::fmt;

use astromesh_swim::{Engine, Instant};
use astromesh_wire::NodeId;
use astromesh_wire::limits::DATAGRAM_BYTES_MAX;

/// Something that must never happen. Nodes are named by their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Generation and incarnation of a member fell in a view.
    Fell {
        /// Whose view.
        observer: usize,
        /// Which member.
        member: NodeId,
        /// Generation and incarnation before.
        before: (u32, u32),
        /// Generation and incarnation after.
        after: (u32, u32),
    },
    /// The count of leaders fell.
    TermFell {
        /// Whose view.
        observer: usize,
    },
    /// The leader is not the highest live id of the view.
    WrongLeader {
        /// Whose view.
        observer: usize,
    },
    /// A datagram is too large.
    Oversize {
        /// Who wrote it.
        sender: usize,
        /// Its length.
        bytes: usize,
    },
    /// A timer that was due is still pending.
    TimerInThePast {
        /// Whose timer.
        node: usize,
    },
    /// After a calm time the views of two nodes differ, or hold others than those that run.
    ViewsDiffer {
        /// Whose view is wrong.
        observer: usize,
    },
    /// After a calm time two nodes follow different leaders.
    LeadersDiffer {
        /// Whose leader is another one than that of the first node.
        observer: usize,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// Violations kept; the first ones tell the story.
pub const VIOLATIONS_MAX: usize = 100;

/// What was last seen in each view, and what was wrong.
#[derive(Debug, Default)]
pub struct Checks {
    views: Vec<View>,
    violations: Vec<Violation>,
}

#[derive(Debug, Default)]
struct View {
    versions: BTreeMap<NodeId, (u32, u32)>,
    term: u64,
    digest: u32,
}

impl Checks {
    /// Forgets what was seen in a view: its process was started anew.
    pub fn started(&mut self, observer: usize) {
        if self.views.len() <= observer {
            self.views.resize_with(observer + 1, View::default);
        }
        if let Some(view) = self.views.get_mut(observer) {
            *view = View::default();
        }
    }

    /// Notes that a member was forgotten: its numbers may start anew.
    pub fn reaped(&mut self, observer: usize, member: NodeId) {
        if let Some(view) = self.views.get_mut(observer) {
            view.versions.remove(&member);
        }
    }

    /// Looks at a datagram.
    pub fn sent(&mut self, sender: usize, bytes: usize) {
        if bytes > DATAGRAM_BYTES_MAX {
            self.report(Violation::Oversize { sender, bytes });
        }
    }

    /// Looks at an engine after its timers were handled.
    pub fn woken(&mut self, now: Instant, node: usize, engine: &Engine) {
        if engine.poll_timeout().is_some_and(|due| due <= now) {
            self.report(Violation::TimerInThePast { node });
        }
    }

    /// Looks at a view. All members are compared only if the engine reported something or its
    /// digest is another one, for nothing can have fallen otherwise.
    pub fn look(&mut self, observer: usize, engine: &Engine, reported: bool) {
        let mut found = Vec::new();
        let Some(view) = self.views.get_mut(observer) else { return };
        if engine.term() < view.term {
            found.push(Violation::TermFell { observer });
        }
        view.term = engine.term();
        if !reported && view.digest == engine.digest() {
            return;
        }
        view.digest = engine.digest();
        let mut highest = engine.local().is_live().then_some(engine.local().record.id);
        let leads = highest.is_some();
        for member in engine.members().chain([engine.local()]) {
            let record = &member.record;
            let after = (record.generation, record.incarnation);
            let before = view.versions.insert(record.id, after).unwrap_or_default();
            if after < before {
                found.push(Violation::Fell { observer, member: record.id, before, after });
            }
            if leads && member.is_shown_live() {
                highest = highest.max(Some(record.id));
            }
        }
        if engine.leader() != highest {
            found.push(Violation::WrongLeader { observer });
        }
        for violation in found {
            self.report(violation);
        }
    }

    /// Notes what was wrong.
    pub fn report(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    /// What was wrong so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}
