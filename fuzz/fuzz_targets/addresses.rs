//! Addresses that people paste and servers send: cloud ids, links, hrefs, paths.
#![no_main]

use causeway::domain::{CloudId, TreePath};
use causeway::remote::fuzzed_link;
use causeway::wire::href;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(id) = CloudId::parse(text) {
        assert!(!id.host().is_empty() && !id.user().is_empty());
        assert!(!id.host().contains(['@', '?', '#', '\\', ' ']), "a host is a host and a folder: {id:?}");
        let again = CloudId::parse(&id.with_scheme()).expect("what was read can be written and read");
        assert!(again.is(&id) && again.is_plain() == id.is_plain(), "{again:?} {id:?}");
    }
    if let Some(reference) = href::parse(text) {
        assert!(reference.path.starts_with('/'));
        if let Ok(path) = TreePath::from_href(reference.path) {
            stays_inside(&path);
        }
    }
    if let Ok(path) = TreePath::parse(text) {
        stays_inside(&path);
        assert_eq!(TreePath::from_href(&path.to_href()).expect("an own href is read"), path);
    }
    fuzzed_link(text);
});

/// Attack F11: no name leads out of the tree.
fn stays_inside(path: &TreePath) {
    for segment in path.segments() {
        assert!(!matches!(segment, "" | "." | "..") && !segment.contains(['/', '\0']), "{segment:?}");
    }
}
