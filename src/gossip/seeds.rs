//! What came of asking the seeds, for whoever asks whether this node has joined, and why not.
//!
//! Owns the record only. Whom to ask, and when, is for `join` to say.

use std::time::Instant;

use astromesh_wire::NodeId;
use tokio::sync::watch;
use url::Url;

/// How far this node is in joining.
#[derive(Debug, Clone, Default)]
pub struct Joining {
    /// Another node has taken this one in.
    pub has_joined: bool,
    /// The seeds in the order of the configuration.
    pub seeds: Vec<SeedState>,
    /// It was settled before other seeds were configured.
    was_settled: bool,
}

/// A seed, and what came of asking it.
#[derive(Debug, Clone)]
pub struct SeedState {
    /// As configured.
    pub url: Url,
    /// When it last took this node in.
    pub joined_at: Option<Instant>,
    /// When it was asked last, and what came of it; `None` before the first time.
    pub last: Option<(Instant, Asked)>,
}

/// What came of asking a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It took this node in; who it is, if it says so.
    Joined(Option<NodeId>),
    /// It is this node.
    Itself,
    /// It did not help: what is wrong, and the same in words.
    Failed(SeedFault, String),
}

/// What is wrong with a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedFault {
    /// Its host name has no address.
    Name,
    /// No connection, or no answer in time.
    Unreachable,
    /// It belongs to another cluster.
    OtherCluster,
    /// An HTTP server that is no node, or one without a mesh: it answered with this status.
    Refused(u16),
    /// It answered something else than a node would.
    NoNode,
}

impl Joining {
    /// With these seeds, none of which has been asked.
    pub(super) fn with(seeds: &[Url]) -> Self {
        let unasked = |url: &Url| SeedState { url: url.clone(), joined_at: None, last: None };
        Self { has_joined: false, seeds: seeds.iter().map(unasked).collect(), was_settled: false }
    }

    /// Other seeds are configured; what is known of those that stay is kept.
    pub(super) fn replace(&mut self, seeds: &[Url]) {
        let mut next = Self {
            has_joined: self.has_joined,
            was_settled: self.is_settled(),
            ..Self::with(seeds)
        };
        for seed in &mut next.seeds {
            if let Some(known) = self.seeds.iter().find(|known| known.url == seed.url) {
                *seed = known.clone();
            }
        }
        *self = next;
    }

    /// Joined, or each seed has been asked: more will not be known for a while. Stays so when other
    /// seeds are configured.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.was_settled || self.has_joined || self.seeds.iter().all(|seed| seed.last.is_some())
    }
}

/// Notes what came of asking a seed.
pub(super) fn note(joining: &watch::Sender<Joining>, url: &Url, asked: Asked) {
    let now = Instant::now();
    joining.send_modify(|joining| {
        let Some(seed) = joining.seeds.iter_mut().find(|seed| seed.url == *url) else { return };
        if let Asked::Joined(_) = asked {
            seed.joined_at = Some(now);
        }
        seed.last = Some((now, asked));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str) -> Url {
        Url::parse(&format!("http://{host}:8000")).unwrap()
    }

    #[test]
    fn joining_is_settled_once_each_seed_was_asked_and_stays_so() {
        let (joining, _) = watch::channel(Joining::with(&[url("a"), url("b")]));
        let failed = |text: &str| Asked::Failed(SeedFault::Unreachable, text.to_owned());
        note(&joining, &url("a"), failed("refused"));
        assert!(!joining.borrow().is_settled());
        note(&joining, &url("b"), Asked::Itself);
        assert!(joining.borrow().is_settled());

        joining.send_modify(|joining| joining.replace(&[url("c"), url("a")]));

        let joining = joining.borrow();
        assert!(joining.is_settled());
        let known: Vec<bool> = joining.seeds.iter().map(|seed| seed.last.is_some()).collect();
        assert_eq!(known, [false, true], "what is known of those that stay is kept");
        assert!(Joining::with(&[]).is_settled(), "nobody is to be asked");
    }
}
