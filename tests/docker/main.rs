//! The image and the recipes on a real Docker engine, as they are shipped.
//!
//! All tests are ignored by default: they need a Docker engine, root, and the host ports that the
//! recipes publish. `.ci/run` runs them one after the other where there is an engine:
//! `cargo test --test docker -- --ignored --test-threads=1`. Images that are not here are made by
//! `images.sh`, and so is ours, from the binaries of this build.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests, whose output is for people")]

mod engine;
mod entrypoint;
mod guide;
mod mesh;
mod recipes;
