//! See `annals_fuzz::pattern`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| annals_fuzz::pattern(data));
