//! Listings of other servers (attack F11): every bound holds, whatever is sent.
#![no_main]

use causeway::wire::multistatus::reader::{Bounds, read};
use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;

const BOUNDS: Bounds = Bounds { bytes: 1 << 16, event_bytes: 1 << 10, depth: 16, entries: 8, keep_other: true };

fuzz_target!(|body: &[u8]| {
    let (mut entries, mut kept) = (0, 0);
    let done = read(body, BOUNDS, |response| {
        entries += 1;
        kept += response.href.len();
        let properties = &response.properties;
        kept += properties.etag.as_deref().map_or(0, str::len) + properties.other.iter().map(|(_, xml)| xml.len()).sum::<usize>();
        assert!(!properties.bad_length || properties.length.is_none(), "a length is right or it is not");
    });
    let result = done.now_or_never().expect("a body that lies ready is read at once");
    assert!(entries <= BOUNDS.entries, "{entries} entries");
    assert!(kept <= 64 * (body.len() + 1), "{kept} bytes were kept of {}", body.len());
    if body.len() as u64 > BOUNDS.bytes {
        assert!(result.is_err(), "a document beyond the bound was taken");
    }
});
