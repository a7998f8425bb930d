//! Which node serves a request, and the way there.
//!
//! * [`mod@choose`]: the rule, a pure function: the least busy of the nodes that have the agent
//! * [`load`]: how busy each node is thought to be
//! * [`in_flight`]: the exact number of runs on this node
//! * [`ejection`]: nodes that could not be connected to are passed over for a while
//! * [`core`]: [`Core`], everything a choice depends on, without I/O and clock
//! * [`terms`]: the words in which it is asked and answers
//! * [`record`]: what a node says of its load
//! * [`local_load`]: the exact load of this node
//! * [`target`]: where requests can go
//! * [`forward`]: [`Router`], which sends the request there, streams the answer back and tries
//!   another node when that is safe
//! * [`headers`]: our own headers, and those that end at each hop
//!
//! Reads the directory; knows nothing of agents beyond their names, nor of what the bodies say.

pub mod choose;
pub mod core;
pub mod ejection;
pub mod forward;
pub mod headers;
pub mod in_flight;
pub mod load;
pub mod local_load;
pub mod record;
pub mod target;
pub mod terms;

pub use self::core::{Core, CoreStats};
pub use choose::choose;
pub use forward::{Call, ForwardedBody, RouteError, Routed, Router};
pub use in_flight::{InFlight, InFlightGuard};
pub use local_load::{LoadGuard, LocalLoad};
pub use record::LoadRecord;
pub use target::{StaticPeer, Target};
pub use terms::{Here, Nobody, Outcome, Pick, Place, Question, Reason, Repeat, Sent, Why};
