//! What `shareinfo` says of a link: ownCloud 7 to 11 and Nextcloud answer it beside WebDAV, with the password in the body
//! (`protocol/owncloud.md` 2.6, `protocol/nextcloud.md` 1.7).

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::domain::{Kind, Secret, Vendor};
use crate::remote::call::{Call, Payload};
use crate::remote::link::{Link, Pasted};
use crate::remote::probe::LinkState;
use crate::remote::{Error, Remotes};
use crate::wire::Via;

/// What is said of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ShareInfo {
    /// The link is there and the password is right. ownCloud sends its whole tree, of which only the top is read.
    Found {
        /// File or collection, where the answer could be read.
        kind: Option<Kind>,
        /// What its owner calls it.
        name: Option<String>,
    },
    /// There is no such link, a password is needed, or sharing with other servers is switched off (404).
    Absent,
    /// The password is wrong, or the link cannot be read (403).
    Refused,
}

#[derive(Debug, Deserialize)]
struct Envelope {
    data: Node,
}

#[derive(Debug, Deserialize)]
struct Node {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
}

/// Whether this kind of server has a shareinfo.
pub(super) fn has_share_info(vendor: Vendor) -> bool {
    matches!(vendor, Vendor::OwnCloud | Vendor::Nextcloud)
}

impl Remotes {
    /// What became of a link whose WebDAV does not answer as it should, by its page; `refused` where it wants a password, although it was sent
    /// this one.
    ///
    /// # Errors
    /// Whatever kept the server from telling: then nothing is known of the link.
    pub async fn link_state(&self, page: &str, vendor: Vendor, password: &Secret, refused: bool) -> Result<LinkState, Error> {
        let link = Pasted::parse(page).and_then(|pasted| pasted.link).ok_or(Error::BadAnswer("it is no link"))?;
        let state = self.page(&link).await?.state;
        if !refused || !has_share_info(vendor) {
            return Ok(state);
        }
        Ok(match state {
            LinkState::Open => LinkState::SharingOff,
            // Without a password it says 404, whatever is wrong.
            LinkState::Protected if !password.expose().is_empty() => match self.share_info(&link, password).await {
                Ok(ShareInfo::Found { .. }) => LinkState::Open,
                Ok(ShareInfo::Absent) => LinkState::SharingOff,
                Ok(ShareInfo::Refused) | Err(_) => LinkState::Protected,
            },
            LinkState::Gone | LinkState::Protected | LinkState::SharingOff => state,
        })
    }

    /// Asks for a link.
    pub(super) async fn share_info(&self, link: &Link, password: &Secret) -> Result<ShareInfo, Error> {
        let mut url =
            link.root.join("index.php/apps/files_sharing/shareinfo").map_err(|_error| Error::BadAnswer("the URL cannot be read"))?;
        url.query_pairs_mut().append_pair("t", link.token.expose());
        let via = Via::default();
        let mut call = Call::new(Method::POST, url, None, &via).header(CONTENT_TYPE, "application/x-www-form-urlencoded")?;
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("password", password.expose())
            // Nextcloud then leaves out what is below.
            .append_pair("depth", "0")
            .finish();
        call.payload = Payload::Small(Bytes::from(form));
        let answer = self.call(call).await?;
        match answer.status() {
            StatusCode::OK => {
                let page = answer.page(self).await.unwrap_or_default();
                Ok(read(&page))
            }
            StatusCode::NOT_FOUND => Ok(ShareInfo::Absent),
            StatusCode::FORBIDDEN => Ok(ShareInfo::Refused),
            status => Err(Error::from_status(status, answer.headers())),
        }
    }
}

fn read(page: &[u8]) -> ShareInfo {
    let Ok(Envelope { data }) = serde_json::from_slice(page) else { return ShareInfo::Found { kind: None, name: None } };
    let kind = match data.kind.as_str() {
        "file" => Some(Kind::File),
        "dir" => Some(Kind::Collection),
        _ => None,
    };
    ShareInfo::Found { kind, name: Some(data.name).filter(|name| !name.is_empty()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_a_tree_is_read() {
        let dir = br#"{"data":{"id":57,"mtime":1,"name":"rw","permissions":31,"size":"3","type":"dir","etag":"6b","children":[]},"status":"success"}"#;
        assert_eq!(read(dir), ShareInfo::Found { kind: Some(Kind::Collection), name: Some("rw".to_owned()) });
        assert_eq!(read(b"{\"data\":{\"type\":\"file\"}}"), ShareInfo::Found { kind: Some(Kind::File), name: None });
        assert_eq!(read(b"<html>"), ShareInfo::Found { kind: None, name: None });
    }
}
