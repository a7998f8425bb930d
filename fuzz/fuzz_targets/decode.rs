//! The `decode` body under libfuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| astromesh_fuzz::decode::decode(bytes));
