//! Bodies of the fuzz targets: each takes bytes and panics when a promise does not hold.
//!
//! A body is a file of its own that names no fuzzer, so that the tests of the package it drives
//! include it by path and replay the committed corpus with a stable compiler. Run one from the top
//! of the repository: `cargo +nightly fuzz run decode -- -max_total_time=60`. What it finds is kept
//! in `corpus/` under a name that says what it is.

pub mod decode;
pub mod metadata;
