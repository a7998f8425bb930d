//! Which node serves a request, and the way there.
//!
//! [`Core`] decides; it does no I/O and reads no clock, so that the simulator can drive it as the
//! HTTP server does. Its parts, each a file:
//!
//! * [`mod@core`]: what it is told and asked
//! * [`terms`]: the words of its questions and answers
//! * [`tuning`]: every number that its rules depend on
//! * `index`: which nodes have which agent
//! * `node`, `table`: what is known of each node
//! * `sample`: how many nodes to compare, from how old that is
//! * `choose`: the pass that finds the best
//! * `affinity`: which node a session prefers
//! * `ejection`: nodes that are passed over, and for how long
//! * `failing`: agents that fail on a node that is well otherwise
//! * `peers`: the turns of static peers
//! * `repeats`: which node a request with a key went to
//! * `retry`: whether a failed request may be sent again
//!
//! Beside it:
//!
//! * [`record`]: what a node says of its load
//! * [`local_load`]: the exact load of this node
//! * [`target`]: where requests can go
//! * [`headers`]: the names of our own headers
//!
//! Reads the directory; knows nothing of agents beyond their names, nor of what the bodies say.

mod affinity;
mod choose;
pub mod core;
mod ejection;
mod failing;
pub mod headers;
mod index;
pub mod local_load;
mod node;
mod peers;
pub mod record;
mod repeats;
mod retry;
mod sample;
mod table;
pub mod target;
pub mod terms;
#[cfg(test)]
mod tests;
pub mod tuning;

pub use self::core::{Core, CoreStats};
pub use local_load::{LoadGuard, LocalLoad};
pub use record::LoadRecord;
pub use target::{StaticPeer, Target};
pub use terms::{
    Here, Judgement, Nobody, Outcome, Pick, Place, Question, Reason, Repeat, Sent, Why,
};
