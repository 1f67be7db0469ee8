//! What other servers tell us in JSON: offers, notifications, discovery documents.
#![no_main]

use causeway::wire::ocm::{Discovery, IncomingShare, Notification};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Some(share) = IncomingShare::parse(body) {
        assert!(share.expires.is_none_or(|seconds| seconds > 0));
        // Secrets never show (attack F6).
        if let Some(webdav) = share.webdav.as_ref().filter(|webdav| webdav.secret.expose().len() > 24) {
            assert!(!format!("{webdav:?}").contains(webdav.secret.expose()));
        }
    }
    if let Some(mut notification) = Notification::parse(body) {
        let written = notification.body().to_string();
        // It has a place of its own outside.
        notification.more.remove("resourceType");
        assert_eq!(Notification::parse(written.as_bytes()), Some(notification), "what is read is written alike");
    }
    if let Some(discovery) = Discovery::parse(body) {
        assert!(!discovery.end_point.is_empty() && !discovery.end_point.ends_with('/'));
        assert!(discovery.webdav.is_none_or(|path| path.starts_with('/')));
    }
});
