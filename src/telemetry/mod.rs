//! What a node tells about itself. A leaf: imports none of ours.
//!
//! * [`logging`]: log lines

pub mod logging;
