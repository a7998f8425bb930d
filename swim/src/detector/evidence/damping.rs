//! Patience with members that were declared dead and came back: the next verdict takes longer, so
//! that a bad link does not make the mesh flap.

use std::time::Duration;

use astromesh_wire::ShortId;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::time::Instant;

/// How long a return is remembered.
pub const MEMORY: Duration = Duration::from_secs(30 * 60);

/// Returned members that are remembered; the oldest is forgotten first.
pub const REMEMBERED_MAX: usize = 4_096;

/// A floor below this is raised to it before it is multiplied.
pub const FLOOR_BASE: Duration = Duration::from_millis(500);

/// Who came back, how often, and in which generation.
#[derive(Debug, Default)]
pub struct Damping {
    returns: IndexMap<ShortId, Returns, FxBuildHasher>,
}

#[derive(Debug, Clone, Copy)]
struct Returns {
    count: u32,
    last_at: Instant,
    generation: u32,
}

impl Damping {
    /// A member came back in the same life: it had not been dead. A new life starts afresh.
    pub fn returned(&mut self, now: Instant, id: ShortId, generation: u32) {
        let known = self.returns.get(&id).filter(|known| known.holds(now, generation));
        let count = known.map_or(0, |known| known.count).saturating_add(1);
        if self.returns.len() >= REMEMBERED_MAX && !self.returns.contains_key(&id) {
            let oldest = self.returns.iter().min_by_key(|(_, known)| known.last_at);
            if let Some((&oldest, _)) = oldest {
                self.returns.swap_remove(&oldest);
            }
        }
        self.returns.insert(id, Returns { count, last_at: now, generation });
    }

    /// The floor for this member: four times as long after its first return, then sixteen times, but
    /// no longer than `longest`.
    #[must_use]
    pub fn floor(
        &self,
        now: Instant,
        id: ShortId,
        generation: u32,
        (floor, longest): (Duration, Duration),
    ) -> Duration {
        let known = self.returns.get(&id).filter(|known| known.holds(now, generation));
        let factor = match known.map_or(0, |known| known.count) {
            0 => return floor,
            1 => 4,
            _ => 16,
        };
        (floor.max(FLOOR_BASE) * factor).min(longest).max(floor)
    }
}

impl Returns {
    fn holds(&self, now: Instant, generation: u32) -> bool {
        self.generation == generation && now.since(self.last_at) < MEMORY
    }
}
