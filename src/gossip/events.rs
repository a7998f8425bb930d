//! The live feed: everything that happens in the mesh, to whoever listens.
//!
//! Owns the numbers of events, the buffer from which a listener can resume, and the bound on
//! listeners. The gossip thread puts events in and never waits for anybody: a listener that falls
//! behind by the whole buffer is let go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast::{self, error::RecvError};

use crate::api::types::{MeshEvent, MeshNews};

/// Listeners at once. Each holds a connection, and each event is written once for each of them.
pub const LISTENERS_MAX: usize = 64;

/// Events that are kept to be resumed from, and that a listener may be behind: room for the death
/// of some thousand members at once. A power of two, as the channel makes it one.
pub const EVENTS_MAX: usize = 8_192;

/// As many listen as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{LISTENERS_MAX} others listen already")]
pub struct TooManyListeners;

/// Where the events come together.
#[derive(Debug)]
pub(super) struct Feed {
    /// One less than the number of the first event of this process.
    base: u64,
    recent: VecDeque<Arc<MeshEvent>>,
    sender: broadcast::Sender<Arc<MeshEvent>>,
    last: u64,
    refused: u64,
    dropped: Arc<AtomicU64>,
}

impl Feed {
    /// The feed of a process. Its generation is the upper half of each number, so that numbers also
    /// grow from one process to the next.
    pub(super) fn new(generation: u32) -> Self {
        let base = u64::from(generation) << 32;
        Self {
            base,
            recent: VecDeque::new(),
            sender: broadcast::channel(EVENTS_MAX).0,
            last: base,
            refused: 0,
            dropped: Arc::default(),
        }
    }

    /// Something happened at this time, in seconds since 1970.
    pub(super) fn push(&mut self, at: f64, news: MeshNews) {
        self.last += 1;
        let event = Arc::new(MeshEvent { id: self.last, at, news });
        if self.recent.len() >= EVENTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Arc::clone(&event));
        // The only error is that nobody listens.
        self.sender.send(event).unwrap_or_default();
    }

    /// A new listener, from now on or from after the event that it saw last.
    pub(super) fn listen(
        &mut self,
        at: f64,
        last_seen: Option<u64>,
    ) -> Result<Listener, TooManyListeners> {
        if self.sender.receiver_count() >= LISTENERS_MAX {
            self.refused += 1;
            return Err(TooManyListeners);
        }
        let waiting = last_seen.map(|last| self.after(at, last)).unwrap_or_default();
        let receiver = self.sender.subscribe();
        Ok(Listener { waiting, receiver, dropped: Arc::clone(&self.dropped) })
    }

    /// Listeners, those refused, and those let go because they were too slow.
    pub(super) fn counters(&self) -> [(&'static str, u64); 3] {
        let listeners = u64::try_from(self.sender.receiver_count()).unwrap_or(u64::MAX);
        [
            ("event_listeners", listeners),
            ("event_listeners_refused", self.refused),
            ("event_listeners_dropped", self.dropped.load(Ordering::Relaxed)),
        ]
    }

    /// What a listener has missed since this event, as far as it is still here.
    fn after(&self, at: f64, last: u64) -> VecDeque<Arc<MeshEvent>> {
        let before_first = self.recent.front().map_or(self.last, |event| event.id - 1);
        if (before_first..=self.last).contains(&last) {
            return self.recent.iter().filter(|event| event.id > last).cloned().collect();
        }
        // Numbers of another process say nothing of how much happened in between.
        let is_ours = (self.base..before_first).contains(&last);
        let count = is_ours.then(|| before_first - last);
        let missed = MeshEvent { id: before_first, at, news: MeshNews::Missed { count } };
        std::iter::once(Arc::new(missed)).chain(self.recent.iter().cloned()).collect()
    }
}

/// One who listens.
#[derive(Debug)]
pub struct Listener {
    waiting: VecDeque<Arc<MeshEvent>>,
    receiver: broadcast::Receiver<Arc<MeshEvent>>,
    dropped: Arc<AtomicU64>,
}

impl Listener {
    /// The next event; `None` when the node stops, or this listener was too slow.
    pub async fn next(&mut self) -> Option<Arc<MeshEvent>> {
        if let Some(event) = self.waiting.pop_front() {
            return Some(event);
        }
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Closed) => None,
            Err(RecvError::Lagged(behind)) => {
                tracing::debug!(behind, "a listener to events was too slow and is let go");
                self.dropped.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(term: u64) -> MeshNews {
        MeshNews::Leader { node: None, term }
    }

    /// Numbers of the events that wait for a listener, and what it is told to have missed.
    fn waiting(feed: &mut Feed, last: Option<u64>) -> (Vec<u64>, Option<Option<u64>>) {
        let listener = feed.listen(0.0, last).unwrap();
        let mut missed = None;
        let mut numbers = Vec::new();
        for event in &listener.waiting {
            match event.news {
                MeshNews::Missed { count } => missed = Some(count),
                _ => numbers.push(event.id - (7 << 32)),
            }
        }
        (numbers, missed)
    }

    #[test]
    fn a_listener_resumes_after_the_event_it_saw_last() {
        let mut feed = Feed::new(7);
        (1..=3).for_each(|term| feed.push(0.0, news(term)));
        let number = |n: u64| Some((7 << 32) + n);
        let rows = [
            ("from now on", None, vec![], None),
            ("all", number(0), vec![1, 2, 3], None),
            ("some", number(1), vec![2, 3], None),
            ("none", number(3), vec![], None),
            ("from the future", number(4), vec![1, 2, 3], Some(None)),
            ("another process", Some((6 << 32) + 2), vec![1, 2, 3], Some(None)),
            ("no number of ours", Some(0), vec![1, 2, 3], Some(None)),
        ];
        for (name, last, numbers, missed) in rows {
            assert_eq!(waiting(&mut feed, last), (numbers, missed), "{name}");
        }
    }

    #[test]
    fn the_number_of_an_event_is_whole_in_json_after_millions_of_starts() {
        let mut feed = Feed::new(u32::MAX);
        feed.push(0.0, news(1));
        let event = feed.recent.front().unwrap();
        let json = serde_json::to_value(event.as_ref()).unwrap();
        assert_eq!(json["id"], "18446744069414584321");
        assert_eq!(serde_json::from_value::<MeshEvent>(json).unwrap(), **event);
    }

    #[test]
    fn what_is_no_longer_kept_is_counted() {
        let mut feed = Feed::new(7);
        let many = u64::try_from(EVENTS_MAX).unwrap() + 10;
        (1..=many).for_each(|term| feed.push(0.0, news(term)));

        let (numbers, missed) = waiting(&mut feed, Some((7 << 32) + 4));

        assert_eq!((numbers.len(), numbers[0]), (EVENTS_MAX, 11));
        assert_eq!(missed, Some(Some(6)));
    }

    #[tokio::test]
    async fn a_slow_listener_is_let_go_and_counted() {
        let mut feed = Feed::new(7);
        let mut slow = feed.listen(0.0, None).unwrap();
        let many = u64::try_from(EVENTS_MAX).unwrap() + 1;
        (1..=many).for_each(|term| feed.push(0.0, news(term)));
        assert!(slow.next().await.is_none());
        assert_eq!(feed.counters()[2], ("event_listeners_dropped", 1));
    }

    #[tokio::test]
    async fn listeners_are_bounded_and_end_with_the_feed() {
        let mut feed = Feed::new(7);
        let mut all: Vec<_> = (0..LISTENERS_MAX).map(|_| feed.listen(0.0, None).unwrap()).collect();
        assert_eq!(feed.listen(0.0, None).err(), Some(TooManyListeners));
        let mut last = all.pop().unwrap();
        drop(all);
        assert!(feed.listen(0.0, None).is_ok());
        assert_eq!(feed.counters()[1], ("event_listeners_refused", 1));
        feed.push(0.0, news(2));
        drop(feed);
        assert_eq!(last.next().await.unwrap().news, news(2));
        assert!(last.next().await.is_none());
    }
}
