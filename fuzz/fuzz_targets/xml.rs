//! Bodies of WebDAV requests (attack D3): bounded, and written so that they are read alike.
#![no_main]

use causeway::wire::xml::{Element, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(read) = parse(body) else { return };
    assert!(depth(&read) <= causeway::limits::XML_DEPTH_MAX);
    let written = read.to_xml();
    if written.len() <= causeway::limits::XML_BODY_BYTES_MAX {
        assert_eq!(parse(written.as_bytes()).as_ref(), Ok(&read), "{written}");
    }
});

fn depth(element: &Element) -> usize {
    1 + element.elements().map(depth).max().unwrap_or(0)
}
