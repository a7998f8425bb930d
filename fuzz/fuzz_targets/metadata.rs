//! The `metadata` body under libfuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| astromesh_fuzz::metadata::metadata(bytes));
