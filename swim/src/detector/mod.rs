//! What decides that a member is suspect or dead: SWIM with Lifeguard.
//!
//! This is the one boundary behind which a death is decided. The engine reports what happened to
//! its probes and what others claim; the detector answers with how long to wait and, at the end of
//! a suspicion, with the verdict. It holds no members and sends nothing.
//!
//! * [`evidence`]: the other rule: votes of fixed observers
//! * [`awareness`]: how well this node itself is doing
//! * [`suspicion`]: how long a suspect has to refute

pub mod awareness;
pub mod evidence;
pub mod suspicion;

use std::time::Duration;

use astromesh_wire::{Bucket, ShortId};
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::time::Instant;
use awareness::Awareness;
use suspicion::Suspicion;

/// How a death is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// By the votes of fixed observers; see `docs/detection.md`.
    Evidence {
        /// No member is declared dead sooner after its first failed probe: every standstill up to
        /// about this long is forgiven.
        floor: Duration,
    },
    /// By waiting for a refutation: SWIM with Lifeguard.
    Lifeguard,
}

/// Settings of the detector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectorConfig {
    /// How a death is decided. By evidence, with a floor of 2 s. The other fields are for
    /// [`Rule::Lifeguard`].
    pub rule: Rule,
    /// Under the evidence rule: no floor grows beyond this for a member that keeps coming back. 32 s.
    pub floor_max: Duration,
    /// A suspicion lasts at least `suspicion_multiplier * max(1, log10(members))` seconds. 3.
    pub suspicion_multiplier: u32,
    /// Without confirmation it lasts this many times longer. 2.
    pub suspicion_max_multiplier: u32,
    /// Independent confirmations that bring it down to the minimum. 3.
    pub confirmations: usize,
    /// No suspicion lasts longer, whatever the above say. 15 s.
    pub suspicion_max: Duration,
    /// The worst local health; 0 is the best. 8.
    pub awareness_max: u32,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self {
            rule: Rule::Evidence { floor: Duration::from_secs(2) },
            floor_max: Duration::from_secs(32),
            suspicion_multiplier: 3,
            suspicion_max_multiplier: 2,
            confirmations: 3,
            suspicion_max: Duration::from_secs(15),
            awareness_max: 8,
        }
    }
}

/// SWIM's suspicion mechanism with Lifeguard's local health and confirmations.
#[derive(Debug)]
pub struct Detector {
    config: DetectorConfig,
    awareness: Awareness,
    suspicions: IndexMap<ShortId, Suspicion, FxBuildHasher>,
}

/// What a suspicion leads to when its timer fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was refuted or already decided.
    None,
    /// Not yet; look again then.
    Wait(Instant),
    /// It ran out: dead.
    Dead,
}

impl Detector {
    /// A healthy detector without suspicions.
    #[must_use]
    pub fn new(config: DetectorConfig) -> Self {
        let awareness = Awareness::new(config.awareness_max);
        Self { config, awareness, suspicions: IndexMap::default() }
    }

    /// Other settings for suspicions from now on; the bound of local health stays.
    pub fn configure(&mut self, config: DetectorConfig) {
        self.config = config;
    }

    /// How often and how patiently to probe at the present health: the factor for both times.
    #[must_use]
    pub const fn patience(&self) -> u32 {
        self.awareness.score() + 1
    }

    /// A probe was answered in time.
    pub fn probe_succeeded(&mut self) {
        self.awareness.improve(1);
    }

    /// A probe failed. Of the relays that were asked, `nacks` said that they had no answer either;
    /// the silence of the others, or having had none to ask, speaks against this node's own health.
    pub fn probe_failed(&mut self, relays: usize, nacks: usize) {
        let missing = if relays == 0 { 1 } else { relays.saturating_sub(nacks) };
        self.awareness.worsen(u32::try_from(missing).unwrap_or(u32::MAX));
    }

    /// Others doubted this node: it may have been too slow.
    pub fn refuted(&mut self) {
        self.awareness.worsen(1);
    }

    /// Somebody accuses a member. The first accusation opens a suspicion, further ones from
    /// independent accusers shorten it. Returns when to look for a verdict if that changed.
    pub fn accused(
        &mut self,
        now: Instant,
        id: ShortId,
        accuser: Bucket,
        live_count: usize,
    ) -> Option<Instant> {
        if let Some(suspicion) = self.suspicions.get_mut(&id) {
            return suspicion.confirm(accuser).then(|| suspicion.deadline());
        }
        let suspicion = Suspicion::new(now, accuser, &self.config, live_count);
        let deadline = suspicion.deadline();
        self.suspicions.insert(id, suspicion);
        Some(deadline)
    }

    /// The member is not suspect any more.
    pub fn cleared(&mut self, id: ShortId) {
        self.suspicions.swap_remove(&id);
    }

    /// The timer of a suspicion fired.
    pub fn verdict(&mut self, now: Instant, id: ShortId) -> Verdict {
        let Some(suspicion) = self.suspicions.get(&id) else { return Verdict::None };
        if suspicion.deadline() > now {
            return Verdict::Wait(suspicion.deadline());
        }
        self.suspicions.swap_remove(&id);
        Verdict::Dead
    }

    /// The host stood still and may have missed every refutation: all suspicions start anew.
    pub fn stalled(&mut self, now: Instant) {
        for suspicion in self.suspicions.values_mut() {
            suspicion.restart(now);
        }
    }

    /// Present local health: 0 is the best.
    #[must_use]
    pub const fn health(&self) -> u32 {
        self.awareness.score()
    }
}
