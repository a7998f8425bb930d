//! Bodies of the fuzz targets: each takes bytes and panics when a promise does not hold.
//!
//! A body is a file of its own that names no fuzzer, so that the tests of the package it drives
//! include it by path and replay the committed corpus with a stable compiler. Run one from the top
//! of the repository:
//!
//! ```text
//! cargo +nightly fuzz run decode -- -max_total_time=60
//! cargo +nightly fuzz run metadata -- -max_total_time=60
//! cargo +nightly fuzz run engine_datagrams -- -max_total_time=60 -max_len=4096
//! cargo +nightly fuzz run engine_operations -- -max_total_time=60 -max_len=600
//! cargo +nightly fuzz run http1_head -- -max_total_time=60
//! cargo +nightly fuzz run http1_body -- -max_total_time=60
//! ```
//!
//! What one finds is kept in `corpus/` under a name that says what it is.

pub mod decode;
pub mod engine_datagrams;
pub mod engine_operations;
/// The framing itself, without the daemon around it, which would take minutes to instrument. Its
/// bodies name it from the top of the crate, and so do the tests that include them.
#[path = "../../src/proxy/http1/mod.rs"]
pub mod http1;
pub mod http1_body;
pub mod http1_head;
pub mod metadata;
