//! What answers mean that are neither a success nor what their status says. Facts: `protocol/owncloud.md` 2.1, `protocol/nextcloud.md` 2.2.

use http::StatusCode;

use crate::domain::Vendor;
use crate::remote::call::Answer;
use crate::remote::{Error, Share};

/// What sabre names a missing node, and Nextcloud's newer tree of links a link that is gone: there with status 503.
const SABRE_NOT_FOUND: &[u8] = b"Sabre\\DAV\\Exception\\NotFound<";

impl Share {
    /// Why an answer to PROPFIND is no listing.
    pub(super) async fn why_no_listing(&self, answer: Answer) -> Error {
        let status = answer.status();
        let said = Error::from_status(status, answer.headers());
        match status {
            StatusCode::OK if self.vendor == Vendor::OwnCloud => match answer.page(&self.remotes).await {
                Ok(page) if page.is_empty() => Error::SharingOff,
                Ok(_) | Err(_) => Error::BadAnswer("it is no multistatus"),
            },
            StatusCode::SERVICE_UNAVAILABLE => match answer.page(&self.remotes).await {
                Ok(page) if page.windows(SABRE_NOT_FOUND.len()).any(|part| part == SABRE_NOT_FOUND) => Error::NotFound,
                Ok(_) | Err(_) => said,
            },
            // The link was changed into one for uploads only, or nothing here speaks WebDAV any more: the mount is still there.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Error::BadAnswer("it cannot be listed"),
            status if status.is_success() => Error::BadAnswer("it is no multistatus"),
            _ => said,
        }
    }

    /// The answer to a write, if it was done. The ownCloud family says 201, 204 or 207; its 200 is what ownCloud 7 says to everything while
    /// sharing to other servers is switched off, and nothing was done.
    pub(super) fn done(&self, answer: Answer) -> Result<Answer, Error> {
        let answer = answer.success()?;
        if answer.status() == StatusCode::OK && self.vendor == Vendor::OwnCloud {
            return Err(Error::SharingOff);
        }
        Ok(answer)
    }
}
