//! Parameters of OCS calls, in every kind of body that clients send.
#![no_main]

use causeway::protocol::ocs::fuzzed_parameters;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, body) = input;
    let content_type = match kind % 4 {
        0 => "application/json; charset=utf-8",
        1 => "multipart/form-data; boundary=x",
        2 => "multipart/form-data; boundary=\"\"",
        _ => "application/x-www-form-urlencoded",
    };
    fuzzed_parameters(content_type, body);
});
