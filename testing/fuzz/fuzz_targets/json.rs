//! See `annals_fuzz::json`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| annals_fuzz::json(data));
