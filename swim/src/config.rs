//! What a host can set: intervals, counts and bounds of the protocol.

use std::time::Duration;

use crate::detector::DetectorConfig;

/// Settings of an engine. Every field has a default that suits a local network of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Time between two probes by this member, and at the same time the time a probe has in all.
    /// 1 s.
    pub probe_interval: Duration,
    /// Time a direct ping has before others are asked to ping as well. 500 ms.
    pub probe_timeout: Duration,
    /// How many others are asked. 3.
    pub indirect_probe_count: usize,
    /// Time between two rounds of gossip while there is news. 200 ms.
    pub gossip_interval: Duration,
    /// Delay of the first round after urgent news (a death, a leave, a refutation), so that news
    /// that comes together travels together. 10 ms.
    pub gossip_urgent_delay: Duration,
    /// Members that a round of gossip goes to; under the evidence rule at least four. 3.
    pub gossip_fanout: usize,
    /// News is sent `retransmit_multiplier * ceil(log10(members + 1))` times by each member. 4.
    pub retransmit_multiplier: u32,
    /// Time between two pings to a member held dead, chosen at random. 5 s.
    pub dead_probe_interval: Duration,
    /// Members dead or gone for this long are forgotten. 24 h.
    pub reap_after: Duration,
    /// A timer this late means that the host stood still: verdicts of that time are dropped. 500 ms.
    pub stall_threshold: Duration,
    /// How far apart two differences of views must be met before they are compared. 1 s.
    pub sync_after: Duration,
    /// Members that the table holds at most; further ones are refused and counted. 100,000.
    pub members_max: usize,
    /// A member that neither answers nor can be asked about counts as dead after this, in this
    /// node's view only. 30 s.
    pub give_up_after: Duration,
    /// What decides a death.
    pub detector: DetectorConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_probe_count: 3,
            gossip_interval: Duration::from_millis(200),
            gossip_urgent_delay: Duration::from_millis(10),
            gossip_fanout: 3,
            retransmit_multiplier: 4,
            dead_probe_interval: Duration::from_secs(5),
            reap_after: Duration::from_secs(24 * 60 * 60),
            stall_threshold: Duration::from_millis(500),
            sync_after: Duration::from_secs(1),
            members_max: 100_000,
            give_up_after: Duration::from_secs(30),
            detector: DetectorConfig::default(),
        }
    }
}
