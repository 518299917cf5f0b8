//! See `annals_fuzz::words`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| annals_fuzz::words(data));
