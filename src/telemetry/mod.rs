//! What a node tells about itself. A leaf: imports none of ours.
//!
//! * [`logging`]: log lines, on the console and in a file
//! * [`access`]: a line for each request
//! * [`metrics`]: what is counted and timed
//! * [`families`]: every name of it
//! * [`cells`]: where it is counted
//! * [`labels`]: the values of their labels
//! * [`page`]: their text
//! * [`panics`]: which defects end the process
//! * [`process`]: what the kernel says about the process

pub mod access;
pub mod cells;
pub mod families;
pub mod labels;
pub mod logging;
pub mod metrics;
pub mod numbers;
pub mod otlp;
pub mod page;
pub mod panics;
pub mod process;
