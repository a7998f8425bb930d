//! The `http1_head` body under libfuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| astromesh_fuzz::http1_head::http1_head(bytes));
