//! The log of the real daemon: what it looks like on each stream, what stands in it, what happens
//! when a stream takes nothing, and how it changes at run time.
//!
//! Some tests need mounts of their own: without the right to make them they say so and end.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod files;
mod levels;
mod node;
mod secrets;
mod shapes;
