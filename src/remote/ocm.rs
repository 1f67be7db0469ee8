//! The client of other servers' share endpoints: Open Cloud Mesh, and the older calls of ownCloud 8 and 9 where that is missing.
//!
//! **Invariants:** a secret goes only to the host that the address names, whatever its discovery document says (attacks F8, F10); every call has
//! a total limit, since somebody waits for it.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, timeout};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::domain::CloudId;
use crate::limits::{OCM_BODY_BYTES_MAX, OCM_PEERS_MAX, OCM_TIMEOUT, OCM_URL_BYTES_MAX};
use crate::remote::call::{Answer, Call, Payload};
use crate::remote::signing::Style;
use crate::remote::{Error, Remotes};
use crate::wire::Via;
use crate::wire::ocm::{Discovery, NewShare, Notification, Shape};

/// How long a discovery document holds.
const PEER_FRESH: Duration = Duration::from_secs(3600);
/// Where the older calls and WebDAV are, if `/ocs-provider/` does not say otherwise (`protocol/owncloud.md` 3.1).
const OCS_SHARES: &str = "/ocs/v1.php/cloud/shares";
const WEBDAV: &str = "/public.php/webdav/";

/// Another server as a peer: where its share endpoints are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its URL, without a slash at its end.
    pub url: String,
    /// Its discovery document; none where it speaks the older calls alone.
    pub ocm: Option<Discovery>,
    /// The path of the older calls, below `url`.
    ocs_shares: String,
    /// The path of WebDAV, below `url` or on the host of the OCM endpoint.
    webdav: String,
}

/// What a peer answers to a share that is offered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// How its user is shown; empty where it does not say.
    pub recipient: String,
}

impl Peer {
    /// Where shares of shape A are opened, with a slash at its end.
    pub fn webdav_url(&self) -> String {
        let origin = match &self.ocm {
            Some(discovery) if discovery.webdav.is_some() => origin_of(&discovery.end_point),
            Some(_) | None => origin_of(&self.url),
        };
        let folder = Url::parse(&self.url).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        // Of a server that lives in a folder some name the path on the host, and some the one below that folder; Nextcloud 32 takes both so.
        let on_host = self.webdav.strip_prefix(&folder).is_some_and(|rest| rest.starts_with('/'));
        let folder = if on_host { "" } else { &folder };
        [origin.as_deref().unwrap_or(&self.url), folder, self.webdav.trim_end_matches('/'), "/"].concat()
    }

    /// The same, where it names nothing longer than is kept in memory of a server.
    fn bounded(self) -> Result<Peer, Error> {
        let end_point = self.ocm.as_ref().map_or("", |discovery| discovery.end_point.as_str());
        if [end_point, &self.ocs_shares, &self.webdav].iter().any(|named| named.len() > OCM_URL_BYTES_MAX) {
            return Err(Error::BadAnswer("its discovery document names addresses that are too long"));
        }
        Ok(self)
    }
}

impl Remotes {
    /// Finds the endpoints of the server of an address, or knows them from before.
    ///
    /// # Errors
    /// Where it cannot be reached, or is no peer.
    pub async fn peer(&self, of: &CloudId) -> Result<Peer, Error> {
        if let Some((peer, found)) = self.inner.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&of.url())
            && found.elapsed() < PEER_FRESH
        {
            return Ok(peer.clone());
        }
        let peer = within(self.discover(of)).await?;
        let mut peers = self.inner.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if peers.len() >= OCM_PEERS_MAX {
            peers.retain(|_, (_, found)| found.elapsed() < PEER_FRESH);
        }
        if peers.len() < OCM_PEERS_MAX {
            peers.insert(of.url(), (peer.clone(), Instant::now()));
        }
        Ok(peer)
    }

    /// Whether the endpoints of the server of an address are known from before: then nobody is asked.
    pub fn knows_peer(&self, of: &CloudId) -> bool {
        let peers = self.inner.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        peers.get(&of.url()).is_some_and(|(_, found)| found.elapsed() < PEER_FRESH)
    }

    /// Forgets what is known of the server of an address: it may have changed.
    pub fn forget_peer(&self, of: &CloudId) {
        self.inner.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&of.url());
    }

    async fn discover(&self, of: &CloudId) -> Result<Peer, Error> {
        let https = self.discover_at(&of.url()).await;
        match https {
            // A test server or one in the house without TLS: the administrator said that this host is near.
            Err(error) if error.is_connection() && !of.is_plain() && Url::parse(&of.url()).is_ok_and(|url| self.is_near(&url)) => {
                self.discover_at(&["http://", of.host()].concat()).await
            }
            found => found,
        }
    }

    async fn discover_at(&self, url: &str) -> Result<Peer, Error> {
        for path in ["/.well-known/ocm", "/ocm-provider/"] {
            let Some(page) = self.document(url, path).await? else { continue };
            if let Some(discovery) = Discovery::parse(&page) {
                same_host(url, &discovery.end_point)?;
                let webdav = discovery.webdav.clone().unwrap_or_else(|| WEBDAV.to_owned());
                return Peer { url: url.to_owned(), ocm: Some(discovery), ocs_shares: OCS_SHARES.to_owned(), webdav }.bounded();
            }
        }
        let ocs = self.document(url, "/ocs-provider/").await?;
        let endpoint = |name: &str| -> Option<String> {
            let document: Value = serde_json::from_slice(ocs.as_deref()?).ok()?;
            let services = document.get("services").unwrap_or(&document);
            let path = services.get("FEDERATED_SHARING")?.get("endpoints")?.get(name)?.as_str()?;
            // ownCloud takes no other letters either.
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'/' || byte == b'.';
            (path.starts_with('/') && path.bytes().all(plain) && !path.contains("..")).then(|| path.to_owned())
        };
        if ocs.is_none() && self.document(url, "/status.php").await?.is_none() {
            return Err(Error::BadAnswer("it does not take shares of other servers"));
        }
        let ocs_shares = endpoint("share").unwrap_or_else(|| OCS_SHARES.to_owned());
        let webdav = endpoint("webdav").unwrap_or_else(|| WEBDAV.to_owned());
        Peer { url: url.to_owned(), ocm: None, ocs_shares, webdav }.bounded()
    }

    /// A JSON document; none where there is nothing of the kind.
    pub(super) async fn document(&self, url: &str, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let via = Via::default();
        let answer = self.call(Call::new(Method::GET, joined(url, path)?, None, &via)).await;
        match answer {
            Ok(answer) if answer.status() == StatusCode::OK => {
                let page = answer.page(self).await?;
                if page.len() > OCM_BODY_BYTES_MAX {
                    return Err(Error::BadAnswer("its discovery document is too long"));
                }
                Ok(Some(page).filter(|page| page.trim_ascii_start().first() == Some(&b'{')))
            }
            Ok(answer) => {
                let error = Error::from_status(answer.status(), answer.headers());
                if matches!(error, Error::Busy { .. }) { Err(error) } else { Ok(None) }
            }
            // Not where it leads, but it is alive.
            Err(Error::Redirected) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Offers a share: in the shape that the peer says it takes, in the other one if it refuses that, and by the older call if it has no
    /// other (`protocol/ocm.md` 1.3).
    ///
    /// # Errors
    /// [`Error::Rejected`] and the like where the peer does not take it.
    pub async fn offer(&self, peer: &Peer, share: &NewShare) -> Result<Taken, Error> {
        within(self.try_offer(peer, share)).await
    }

    async fn try_offer(&self, peer: &Peer, share: &NewShare) -> Result<Taken, Error> {
        let Some(discovery) = &peer.ocm else { return self.offer_by_ocs(peer, share).await };
        let shapes = if discovery.takes_multi { [Shape::Multi, Shape::Legacy] } else { [Shape::Legacy, Shape::Multi] };
        let mut refused = None;
        for shape in shapes {
            let answer = self.post_json(discovery, "/shares", &share.body(shape)).await?;
            let status = answer.status();
            if matches!(status, StatusCode::OK | StatusCode::CREATED) {
                let body: Value = serde_json::from_slice(&answer.page(self).await.unwrap_or_default()).unwrap_or_default();
                let recipient = body.get("recipientDisplayName").and_then(Value::as_str).unwrap_or_default();
                return Ok(Taken { recipient: recipient.chars().take(200).collect() });
            }
            let error = Error::from_status(status, answer.headers());
            if !matches!(status.as_u16(), 400 | 501) {
                return Err(error);
            }
            // What the first, fitting shape was refused for is the better reason.
            refused.get_or_insert(error);
        }
        Err(refused.unwrap_or(Error::Unsupported))
    }

    /// `POST /cloud/shares` (`protocol/owncloud.md` 3.1).
    async fn offer_by_ocs(&self, peer: &Peer, share: &NewShare) -> Result<Taken, Error> {
        let remote = [&share.owner.url(), "/"].concat();
        let form = Serializer::new(String::new())
            .append_pair("shareWith", share.with.user())
            .append_pair("token", share.secret.expose())
            .append_pair("name", &share.name)
            .append_pair("remoteId", &share.provider_id)
            .append_pair("owner", share.owner.user())
            .append_pair("ownerFederatedId", &share.owner.with_scheme())
            .append_pair("sharedBy", share.sender.user())
            .append_pair("sharedByFederatedId", &share.sender.with_scheme())
            .append_pair("remote", &remote)
            .append_pair("shareType", "6")
            .finish();
        self.post_ocs(&[&peer.url, &peer.ocs_shares, "?format=json"].concat(), form).await.map(|_data| Taken::default())
    }

    /// Tells a peer something; gives what it answers, where it answers JSON.
    ///
    /// # Errors
    /// Where it was not told.
    pub async fn notify(&self, peer: &Peer, notification: &Notification) -> Result<Value, Error> {
        within(self.try_notify(peer, notification)).await
    }

    async fn try_notify(&self, peer: &Peer, notification: &Notification) -> Result<Value, Error> {
        let mut refused = Error::Unsupported;
        if let Some(discovery) = &peer.ocm {
            let answer = self.post_json(discovery, "/notifications", &notification.body()).await?;
            let status = answer.status();
            if status.is_success() {
                return Ok(serde_json::from_slice(&answer.page(self).await.unwrap_or_default()).unwrap_or_default());
            }
            refused = Error::from_status(status, answer.headers());
            // 404 says that there is no such endpoint, 400 and 501 that it is not known there: the older calls may be.
            // The reva family never had them, and answers 400 to what it does not care for.
            if discovery.reva || !matches!(status.as_u16(), 400 | 404 | 405 | 501) {
                return Err(refused);
            }
        }
        let Some((verb, form)) = older_call(notification) else { return Err(refused) };
        let id: String = url::form_urlencoded::byte_serialize(notification.provider_id.as_bytes()).collect();
        let url = [&peer.url, &peer.ocs_shares, "/", &id, "/", verb, "?format=json"].concat();
        match self.post_ocs(&url, form).await {
            Err(Error::NotFound | Error::Unsupported) => Err(refused),
            told => told,
        }
    }

    /// Sends JSON to a path below the endpoint of a peer, signed as that peer reads it.
    pub(super) async fn post_json(&self, peer: &Discovery, path: &str, body: &Value) -> Result<Answer, Error> {
        let url = [&peer.end_point, path].concat();
        self.post_signed(Style::read_by(&peer.announced), &url, "application/json", Bytes::from(body.to_string())).await
    }

    /// The `data` of an OCS answer whose envelope says that it went well.
    async fn post_ocs(&self, url: &str, form: String) -> Result<Value, Error> {
        let answer = self.post(url, "application/x-www-form-urlencoded", Bytes::from(form)).await?.success()?;
        let body: Value = serde_json::from_slice(&answer.page(self).await?).map_err(|_error| Error::BadAnswer("it is not JSON"))?;
        let code = body.pointer("/ocs/meta/statuscode").and_then(Value::as_u64);
        match code.and_then(|code| u16::try_from(code).ok()) {
            Some(100 | 200) => Ok(body.pointer("/ocs/data").cloned().unwrap_or_default()),
            Some(code) => {
                Err(StatusCode::from_u16(code).map_or(Error::Rejected(code), |code| Error::from_status(code, &http::HeaderMap::new())))
            }
            None => Err(Error::BadAnswer("it is no OCS answer")),
        }
    }

    async fn post(&self, url: &str, media: &str, body: Bytes) -> Result<Answer, Error> {
        let url = Url::parse(url).map_err(|_error| Error::BadAnswer("its address cannot be used"))?;
        let via = Via::default();
        let call = Call::new(Method::POST, url, None, &via).header(CONTENT_TYPE, media)?;
        self.call(Call { payload: Payload::Small(body), ..call }).await
    }

    /// The same, signed where we sign.
    pub(super) async fn post_signed(&self, style: Style, url: &str, media: &str, body: Bytes) -> Result<Answer, Error> {
        let url = Url::parse(url).map_err(|_error| Error::BadAnswer("its address cannot be used"))?;
        let signed = self.signed(style, &url, &body)?;
        let via = Via::default();
        let call = Call::new(Method::POST, url, None, &via).header(CONTENT_TYPE, media)?;
        let call = signed.iter().try_fold(call, |call, (name, value)| call.header(*name, value))?;
        self.call(Call { payload: Payload::Small(body), ..call }).await
    }
}

/// The older call that says the same (`protocol/owncloud.md` 3.1, `protocol/nextcloud.md` 2.4).
fn older_call(notification: &Notification) -> Option<(&'static str, String)> {
    let mut form = Serializer::new(String::new());
    form.append_pair("token", notification.secret.expose());
    let verb = match notification.kind.as_str() {
        "SHARE_ACCEPTED" => "accept",
        "SHARE_DECLINED" => "decline",
        "SHARE_UNSHARED" => "unshare",
        "RESHARE_UNDO" => "revoke",
        "REQUEST_RESHARE" => {
            form.append_pair("shareWith", &notification.text("shareWith")).append_pair("remoteId", &notification.text("senderId"));
            "reshare"
        }
        _ => return None,
    };
    Some((verb, form.finish()))
}

pub(super) async fn within<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(OCM_TIMEOUT, call).await.unwrap_or(Err(Error::Unreachable { retry_after: OCM_TIMEOUT }))
}

fn joined(url: &str, path: &str) -> Result<Url, Error> {
    Url::parse(&[url, path].concat()).map_err(|_error| Error::BadAnswer("its address cannot be used"))
}

fn origin_of(url: &str) -> Option<String> {
    Some(Url::parse(url).ok()?.origin().ascii_serialization())
}

/// Whether a URL that a server names stays with that server: the same host, and never from https to http.
///
/// # Errors
/// Where it does not.
pub fn same_host(server: &str, named: &str) -> Result<(), Error> {
    let parsed = Url::parse(server).ok().zip(Url::parse(named).ok());
    let stays = parsed.is_some_and(|(server, named)| {
        let bare = named.username().is_empty() && named.password().is_none();
        let safe = named.scheme() == "https" || (named.scheme() == "http" && server.scheme() == "http");
        bare && safe && server.host_str() == named.host_str()
    });
    if stays { Ok(()) } else { Err(Error::BadAnswer("its discovery document points to another server")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    #[test]
    fn f8_a_discovery_document_leads_nowhere_else() {
        let stays = |server: &str, named: &str| same_host(server, named).is_ok();
        assert!(stays("https://b.example", "https://b.example/ocm"));
        assert!(stays("https://b.example", "https://b.example:8443/ocm"));
        assert!(stays("http://b.example", "https://b.example/ocm"));
        for named in ["http://b.example/ocm", "https://evil.example/ocm", "https://me:pw@b.example/ocm", "/ocm", "ftp://b.example/", ""] {
            assert!(!stays("https://b.example", named), "{named}");
        }
    }

    #[test]
    fn f8_a_peer_keeps_no_more_than_short_addresses_in_memory() {
        let named = |end_point: usize, webdav: usize| {
            let discovery = Discovery {
                end_point: "e".repeat(end_point),
                webdav: None,
                takes_multi: false,
                reva: false,
                invite_page: None,
                announced: Default::default(),
            };
            let (url, ocs_shares) = ("https://b.example".to_owned(), OCS_SHARES.to_owned());
            Peer { url, ocm: Some(discovery), ocs_shares, webdav: "w".repeat(webdav) }.bounded()
        };
        assert!(named(OCM_URL_BYTES_MAX, OCM_URL_BYTES_MAX).is_ok());
        assert!(named(OCM_URL_BYTES_MAX + 1, 1).is_err() && named(1, OCM_URL_BYTES_MAX + 1).is_err());
    }

    #[test]
    fn a_server_in_a_folder_names_its_webdav_on_the_host_or_below_that_folder() {
        let check = |url: &str, named: &str, expected: &str| {
            let discovery = Discovery {
                end_point: [url, "/ocm"].concat(),
                webdav: Some(named.to_owned()),
                takes_multi: false,
                reva: false,
                invite_page: None,
                announced: Default::default(),
            };
            let peer = Peer { url: url.to_owned(), ocm: Some(discovery), ocs_shares: OCS_SHARES.to_owned(), webdav: named.to_owned() };
            assert_eq!(peer.webdav_url(), expected, "{url} {named}");
        };
        check("https://h.example", "/public.php/webdav/", "https://h.example/public.php/webdav/");
        check("https://h.example/cloud", "/public.php/webdav/", "https://h.example/cloud/public.php/webdav/");
        check("https://h.example/cloud", "/cloud/public.php/webdav/", "https://h.example/cloud/public.php/webdav/");
        check("https://h.example/cloud", "/clouds/dav", "https://h.example/cloud/clouds/dav/");
    }

    #[test]
    fn what_is_signed_for_a_server_depends_on_what_it_says_of_itself_alone() {
        use crate::domain::Clock;
        use crate::remote::{Identity, Keys, Names, Policy, Timeouts};
        use crate::wire::signature::Announced;
        let policy = Policy { instance_id: "oc".to_owned(), trust: Vec::new(), names: Names::default() };
        let remotes = Remotes::new(policy, Timeouts::default());
        let keys = Keys::read(&Keys::make().unwrap()).unwrap();
        remotes.identify(Identity { public_url: "https://h.example".to_owned(), clock: Clock::System, keys: Some(keys) });
        // A stranger's server, whose endpoint begins like that of another one.
        let announced = Announced { http_sig: true, ..Announced::default() };
        let (end_point, url) = ("https://b.example".to_owned(), "https://b.example".to_owned());
        let discovery =
            Discovery { end_point, webdav: None, takes_multi: false, reva: false, invite_page: None, announced: announced.clone() };
        let peer = Peer { url: url.clone(), ocm: Some(discovery), ocs_shares: String::new(), webdav: String::new() };
        remotes.inner.peers.lock().unwrap().insert(url, (peer, Instant::now()));
        let to = Url::parse("https://b.example.net/ocm/shares").unwrap();
        for (says, by_message) in [(Announced::default(), false), (announced, true)] {
            let headers = remotes.signed(Style::read_by(&says), &to, b"{}").unwrap();
            assert_eq!(headers.iter().any(|(name, _)| *name == "signature-input"), by_message);
        }
    }

    #[test]
    fn older_calls_carry_the_same_words() {
        let told = |kind: &str| older_call(&Notification::new(kind, "9", Secret::new("a b")));
        assert_eq!(told("SHARE_ACCEPTED"), Some(("accept", "token=a+b".to_owned())));
        assert_eq!(told("SHARE_CHANGE_PERMISSION"), None);
    }
}
