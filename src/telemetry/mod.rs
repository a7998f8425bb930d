//! What a node tells about itself. A leaf: imports none of ours.
//!
//! * [`logging`]: log lines
//! * [`access`]: a line for each request, written by a thread of its own

pub mod access;
pub mod logging;
