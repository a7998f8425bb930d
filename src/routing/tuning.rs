//! Every number that the rules of routing depend on, with its reason.
//!
//! Owns constants only. The simulator is the judge of those that decide how well load spreads.

use std::time::Duration;

/// Fewest nodes compared when information is old: two random choices are near the best there is
/// then, and the apparent minimum of all is near the worst (Mitzenmacher 2000).
pub const SAMPLE_MIN: usize = 2;
/// Requests of others that may go to the apparent minimum between two news of it, before a sample
/// shrinks: with refusals two that meet there cost less than a worse choice. Found by simulation:
/// 1 is worse in A and A95, 4 is worse with 64 nodes.
pub const MEETING: f64 = 2.0;
/// How fast what a node told of the requests of others fades towards the average, beside the rate
/// at which requests end. Above 1, since nodes that seem idle get the next requests of others.
/// Found by simulation: from 1 to 6 there is little between them, without it all is a little worse.
pub const FADING: f32 = 3.0;
/// How long a sample holds before it is worked out anew. Ages and rates move slowly
/// beside it, and working it out looks at every candidate.
pub const SAMPLE_REFRESH: Duration = Duration::from_millis(5);
/// Time constant of the request rate of an agent.
pub const RATE_TIME: Duration = Duration::from_secs(5);

/// A node that has had work from here within [`BEACON_PROMISE`] tells changes of its load after
/// this time at the latest, so that what it said last is no older than that.
pub const BEACON_INTERVAL: Duration = Duration::from_millis(100);
/// See [`BEACON_INTERVAL`].
pub const BEACON_PROMISE: Duration = super::local_load::ORIGIN_RECENT;
/// Beacons that one node sends in a second at most; with more nodes to tell, they come later.
pub const BEACONS_PER_SECOND: u32 = 1_000;

/// How far a beacon may be ahead of what is known of a node's clock. It comes by UDP, and whoever can
/// forge one could otherwise put the node's true records behind it until its next start. The clock is
/// known from the record before, which took longer to come by up to about this.
pub const SEQUENCE_AHEAD: Duration = Duration::from_secs(2);

/// What a node without a limit counts as beside nodes with one. Among nodes that all have none it
/// makes no difference.
pub const CAPACITY_UNLIMITED: u32 = 16;
/// How long a node that joined or restarted takes to reach its capacity.
pub const SLOW_START: Duration = Duration::from_secs(10);
/// The part of its capacity that it starts with.
pub const SLOW_START_FLOOR: f32 = 0.1;

/// Refusals after which a request is queued rather than refused again.
pub const BOUNCES_MAX: usize = 2;
/// Nodes drawn for the last resort beside those that refused. Without them a crowd of requests
/// queues at the same few nodes; the minimum of all would be a herd again.
pub const LAST_RESORT_DRAWN: usize = 2;

/// A session leaves its node when that has more than this many times the mean load …
pub const AFFINITY_SPREAD: f32 = 1.25;
/// … and so many requests more.
pub const AFFINITY_SLACK: f32 = 1.0;

/// Keys of requests whose node is remembered; about 3 MB.
pub const KEYS_MAX: usize = 65_536;

/// First time out of a node; doubles with each failed trial.
pub const EJECTION_MIN: Duration = Duration::from_secs(1);
/// Longest time out: a node that came back is found again within this.
pub const EJECTION_MAX: Duration = Duration::from_secs(32);
/// How long others keep away while one request finds out whether the node is back.
pub const TRIAL: Duration = Duration::from_secs(2);
/// Failures in a row that eject a node.
pub const FAILURES_IN_ROW: u32 = 5;
/// The time over which the share of failures is taken.
pub const WINDOW_SECONDS: usize = 10;
/// Answers within that time below which the share says nothing.
pub const WINDOW_ANSWERS_MIN: u32 = 20;
/// A node with fewer successes than this, in percent, is ejected.
pub const SUCCESS_PERCENT_MIN: u32 = 80;
/// With more than this part of the candidates ejected, in percent, their answers do not count:
/// the few that are left would only be the next to fail.
pub const EJECTED_PERCENT_MAX: u32 = 50;

/// Agents on nodes whose failures are counted at once; about 1 MB with long names.
pub const PAIRS_MAX: usize = 4_096;
/// How long a pair is kept that has not failed again, when there is no room for others. More than
/// [`EJECTION_MAX`], so that who is ejected is not forgotten.
pub const PAIRS_KEPT: Duration = Duration::from_secs(60);

/// Retries that each request pays for, in thousandths.
pub const RETRY_SHARE_MILLI: u64 = 200;
/// Retries a second that nobody has to pay for.
pub const RETRIES_PER_SECOND: u64 = 10;
/// Retries saved up at most: as many as a busy node may have in flight when it is killed.
pub const RETRIES_SAVED_MAX: u64 = 1_000;
