//! The `http1_body` body under libfuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| astromesh_fuzz::http1_body::http1_body(bytes));
