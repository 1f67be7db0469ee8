//! What pages load beside themselves: one style, one script, one icon. Their names carry a hash of what is in them, so that browsers keep them for good and
//! never mix two versions.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use sha2::{Digest as _, Sha256};

use crate::wire::Body;

/// One of them.
#[derive(Debug)]
pub(super) struct Asset {
    /// Where it stands, below the address of the server.
    pub(super) path: String,
    media: &'static str,
    content: &'static str,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Assets {
    /// The look of every page.
    pub(super) style: Asset,
    /// The one script: pages work without it.
    pub(super) script: Asset,
    /// The icon in the browser's tab.
    pub(super) icon: Asset,
}

pub(super) static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: Asset::new("style", "css", "text/css; charset=utf-8", include_str!("../../../assets/style.css")),
    script: Asset::new("handover", "js", "text/javascript; charset=utf-8", include_str!("../../../assets/handover.js")),
    icon: Asset::new("icon", "svg", "image/svg+xml", include_str!("../../../assets/icon.svg")),
});

/// The root of all of them.
pub const ASSETS_ROOT: &str = "/assets/";
/// Bytes of the hash in a name.
const NAME_HASH_BYTES: usize = 8;

impl Asset {
    fn new(name: &str, extension: &str, media: &'static str, content: &'static str) -> Asset {
        let hash: String = Sha256::digest(content).iter().take(NAME_HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Asset { path: format!("{ASSETS_ROOT}{name}.{hash}.{extension}"), media, content }
    }
}

/// The asset of a name behind [`ASSETS_ROOT`]; none where there is no such one, or no longer.
pub fn asset(name: &str) -> Option<Response<Body>> {
    let Assets { style, script, icon } = &*ASSETS;
    let found = [style, script, icon].into_iter().find(|asset| asset.path.strip_prefix(ASSETS_ROOT) == Some(name))?;
    let mut response =
        Response::new(Full::new(Bytes::from_static(found.content.as_bytes())).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(found.media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_with_their_hash_alone() {
        let name = ASSETS.style.path.strip_prefix(ASSETS_ROOT).unwrap();
        assert_eq!(asset(name).unwrap().headers()[header::CONTENT_TYPE], "text/css; charset=utf-8");
        for odd in ["", "style.css", "../style.css", "style.0000000000000000.css"] {
            assert!(asset(odd).is_none(), "{odd}");
        }
    }
}
