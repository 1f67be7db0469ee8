//! Whether a server of the ownCloud family answers at an address that a visitor of a link typed, to take the link there
//! (`protocol/owncloud.md` 2.2).

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::{Method, StatusCode};
use tokio::time::timeout;
use url::Url;

use crate::domain::Vendor;
use crate::remote::Remotes;
use crate::remote::call::Call;
use crate::remote::probe::Status;
use crate::wire::Via;

/// By which scheme a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// TLS.
    Https,
    /// Nothing but plain HTTP.
    Http,
}

/// A server whose users can mount a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiver {
    /// By which scheme it answers.
    pub scheme: Scheme,
    /// What it is.
    pub vendor: Vendor,
}

/// Oldest version whose users can mount a link.
const MAJOR_VERSION_MIN: u32 = 7;
/// Longest address that is looked at, in bytes.
const ADDRESS_BYTES_MAX: usize = 512;
/// How long an answer by http waits for one by https.
const HTTPS_PATIENCE: Duration = Duration::from_secs(1);

impl Remotes {
    /// Asks `ADDRESS/status.php` by https and http for a version that mounts links. Nobody who asks learns why there is none: refused,
    /// private, unknown and foreign are all the same (attack F9).
    pub async fn receiver(&self, address: &str) -> Option<Receiver> {
        let by = |scheme| move |vendor| Receiver { scheme, vendor };
        // Both at once: a port that says nothing must not keep the other waiting.
        let (https, http) = (pin!(self.family_by("https", address)), pin!(self.family_by("http", address)));
        match select(https, http).await {
            Either::Left((Some(vendor), _)) => Some(by(Scheme::Https)(vendor)),
            Either::Left((None, http)) => http.await.map(by(Scheme::Http)),
            Either::Right((None, https)) => https.await.map(by(Scheme::Https)),
            Either::Right((Some(vendor), https)) => Some(match timeout(HTTPS_PATIENCE, https).await {
                Ok(Some(vendor)) => by(Scheme::Https)(vendor),
                Ok(None) | Err(_) => by(Scheme::Http)(vendor),
            }),
        }
    }

    async fn family_by(&self, scheme: &str, address: &str) -> Option<Vendor> {
        let url = status_url(scheme, address)?;
        let via = Via::default();
        let answer = self.call(Call::new(Method::GET, url, None, &via)).await.ok()?;
        // Where a redirect led to https, https was asked as well.
        if answer.status() != StatusCode::OK || answer.url.scheme() != scheme {
            return None;
        }
        answer.page(self).await.ok().and_then(|page| mounts_links(&page))
    }
}

/// `status.php` at `host[:port][/path]`; nothing else may stand in the address (attack F8).
fn status_url(scheme: &str, address: &str) -> Option<Url> {
    let odd = |letter: char| letter.is_control() || letter.is_whitespace() || matches!(letter, '@' | '?' | '#' | '\\');
    let address = address.trim().trim_end_matches('/');
    if address.is_empty()
        || address.len() > ADDRESS_BYTES_MAX
        || address.starts_with('/')
        || address.contains("//")
        || address.contains(odd)
    {
        return None;
    }
    let url = Url::parse(&[scheme, "://", address, "/status.php"].concat()).ok()?;
    url.host_str().is_some_and(|host| !host.is_empty()).then_some(url)
}

/// What server a `status.php` is of, where that mounts links.
fn mounts_links(page: &[u8]) -> Option<Vendor> {
    let status = Status::read(page);
    let major: u32 = status.version.split('.').next()?.parse().ok()?;
    (major >= MAJOR_VERSION_MIN).then(|| status.vendor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: Option<&str>) {
        assert_eq!(status_url("https", address).map(String::from).as_deref(), expected, "{address}");
    }

    #[test]
    fn f8_an_address_is_a_host_a_port_and_a_path() {
        check("cloud.example", Some("https://cloud.example/status.php"));
        check("cloud.example:8443/owncloud/", Some("https://cloud.example:8443/owncloud/status.php"));
        check(" [2001:db8::1]:8080 ", Some("https://[2001:db8::1]:8080/status.php"));
        for odd in [
            "",
            "/",
            "//evil.example",
            "http://cloud.example",
            "file:///etc/passwd",
            "me@cloud.example",
            "cloud.example/?a",
            "cloud.example#a",
            "cloud.example\\@evil.example",
            "a b",
            "a\r\nb",
            ":80",
        ] {
            check(odd, None);
        }
        check(&"a".repeat(ADDRESS_BYTES_MAX + 1), None);
    }

    #[test]
    fn servers_that_mount_links_are_told_from_others() {
        for page in [r#"{"installed":"true","version":"7.0.15.2","versionstring":"7.0.15"}"#, r#"{"installed":true,"version":"32.0.1.2"}"#]
        {
            assert!(mounts_links(page.as_bytes()).is_some(), "{page}");
        }
        let named = r#"{"version":"32.0.1.2","productname":"Nextcloud"}"#;
        assert_eq!(mounts_links(named.as_bytes()), Some(Vendor::Nextcloud));
        for page in [r#"{"version":"6.0.9.2"}"#, r#"{"version":7}"#, r#"{"version":""}"#, r#"["7.0.0"]"#, "<html>7.0.0</html>", ""] {
            assert_eq!(mounts_links(page.as_bytes()), None, "{page}");
        }
    }
}
