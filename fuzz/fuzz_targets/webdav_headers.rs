//! `If` and `Range` (attacks D6, D7).
#![no_main]

use causeway::protocol::dav::fuzzed_headers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &str)| {
    let (size, text) = input;
    fuzzed_headers(text, size);
});
