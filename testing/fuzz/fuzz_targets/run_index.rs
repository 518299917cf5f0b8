//! See `annals_fuzz::run_index`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| annals_fuzz::run_index(data));
