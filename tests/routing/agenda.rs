//! What is to happen, in order of virtual time.
//!
//! Owns the order: of two things at the same time the one noted first comes first, so that a run
//! is a function of its seed.

use std::collections::BTreeMap;
use std::time::Duration;

/// Things to come.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: BTreeMap<(Duration, u64), T>,
    noted: u64,
}

impl<T> Agenda<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: BTreeMap::new(), noted: 0 }
    }

    pub(crate) fn note(&mut self, at: Duration, entry: T) {
        self.entries.insert((at, self.noted), entry);
        self.noted += 1;
    }

    pub(crate) fn next(&mut self) -> Option<(Duration, T)> {
        let ((at, _), entry) = self.entries.pop_first()?;
        Some((at, entry))
    }
}
