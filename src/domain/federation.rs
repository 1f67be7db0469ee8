//! Users of other servers, and what they share with ours and ours with them.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::{Kind, MountId, ReceivedState, ShareId, ShareToken, SpaceId, Timestamp, UserName};

/// Longest address of a user of another server, in bytes.
const CLOUD_ID_BYTES_MAX: usize = 512;

/// A user of another server: `bob@cloud.example`, `bob@cloud.example:8443/owncloud`.
///
/// The host may come with a scheme (`protocol/ocm.md` 1.4): `http://` is remembered, since such a server cannot be reached otherwise, and
/// `https://` is what is tried without one. Ids of some servers hold an `@` themselves, so the last one parts.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CloudId {
    user: Box<str>,
    host: Box<str>,
    plain: bool,
}

/// A text that is no address of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address of a user on another server looks like bob@cloud.example")]
pub struct InvalidCloudId;

impl CloudId {
    /// Reads an address as people and servers write it.
    ///
    /// # Errors
    /// [`InvalidCloudId`].
    pub fn parse(text: &str) -> Result<CloudId, InvalidCloudId> {
        let (user, host) = text.trim().rsplit_once('@').ok_or(InvalidCloudId)?;
        let printable = user.chars().all(|letter| !letter.is_control() && letter != '/');
        if user.is_empty() || text.len() > CLOUD_ID_BYTES_MAX || !printable {
            return Err(InvalidCloudId);
        }
        let (host, plain) = server(host).ok_or(InvalidCloudId)?;
        Ok(CloudId { user: user.into(), host, plain })
    }

    /// A user of the server at a URL.
    ///
    /// # Errors
    /// [`InvalidCloudId`] where the name or the URL cannot stand in an address.
    pub fn at(user: &str, url: &str) -> Result<CloudId, InvalidCloudId> {
        CloudId::parse(&[user, "@", url].concat())
    }

    /// The name of the user there.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// `host[:port][/path]`, lower case up to the path: by this a server is known.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `host[:port]` without the folder that the server may live in.
    pub fn authority(&self) -> &str {
        self.host.split('/').next().unwrap_or_default()
    }

    /// Whether the address says `http://`.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// The URL of the server, without a slash at its end.
    pub fn url(&self) -> String {
        let scheme = if self.plain { "http://" } else { "https://" };
        [scheme, &self.host].concat()
    }

    /// The address with the scheme inside, as ownCloud and Nextcloud want it of owners and senders (`protocol/ocm.md` 1.4).
    pub fn with_scheme(&self) -> String {
        [&self.user, "@", &self.url()].concat()
    }

    /// Whether both are the same user, however the addresses are written.
    pub fn is(&self, other: &CloudId) -> bool {
        self.user == other.user && self.host == other.host
    }
}

/// The server that a URL or a bare `host[:port][/path]` names, and whether it says `http://`.
fn server(text: &str) -> Option<(Box<str>, bool)> {
    let plain = text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let whole = if text.contains("://") { text.to_owned() } else { ["https://", text].concat() };
    let url = Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    let host = url.host_str().filter(|_| bare)?.to_ascii_lowercase();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let mut path = url.path().trim_end_matches('/');
    // Until none is left: what is read is stored as text, and read again.
    while let Some(folder) = path.strip_suffix("/index.php") {
        path = folder.trim_end_matches('/');
    }
    Some((format!("{host}{port}{path}").into(), plain))
}

impl TryFrom<String> for CloudId {
    type Error = InvalidCloudId;
    fn try_from(text: String) -> Result<CloudId, InvalidCloudId> {
        CloudId::parse(&text)
    }
}

impl From<CloudId> for String {
    fn from(id: CloudId) -> String {
        if id.plain { id.with_scheme() } else { id.to_string() }
    }
}

impl fmt::Display for CloudId {
    /// `user@host`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.user, self.host)
    }
}

impl fmt::Debug for CloudId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// What the other server made of a share that was sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SentState {
    /// It has not taken it yet. What is found so at a start was never told to the sharer, and ends.
    Sending,
    /// It has taken it; its user has not answered.
    Pending,
    /// Its user has it.
    Accepted,
    /// Its user does not want it, or has removed it.
    Declined,
}

/// Who asked the owner's server for a share: a receiver on another server, who shares on what was shared there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The receiver who shares on.
    pub by: CloudId,
    /// The number that the share has at the receiver's server; empty where it named none.
    pub id: String,
}

/// The half of a share with a user of another server that the other server needs. The share itself is a [`crate::domain::Share`] of the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentShare {
    /// Which share. This row outlives it until the other server was told of its end.
    pub share: ShareId,
    /// To whom.
    pub to: CloudId,
    /// Whose files they are.
    pub owner: UserName,
    /// What opens it.
    pub secret: ShareToken,
    /// The receiver's answer.
    pub state: SentState,
    /// Set where the owner's own user did not make it.
    pub asked: Option<Asked>,
}

/// How an offered share is reached (`protocol/ocm.md` 1.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfferedAt {
    /// Shape A: where the sender's server says that its shares are, with the secret as the name of Basic.
    Discovered,
    /// Shape B: this URL, with the secret as Bearer, or Basic where that is refused.
    Url(String),
}

/// How the secret of an offered share is sent with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum AuthScheme {
    /// As the name of Basic, with an empty password (RFC 7617): ownCloud and Nextcloud.
    #[default]
    Basic,
    /// As a Bearer token (RFC 6750): oCIS, OpenCloud, CERNBox.
    Bearer,
    /// Not at all: it is exchanged for a token, and that is sent as Bearer (`protocol/ocm.md` 1.5, code flow).
    Exchanged,
}

/// A share that a user of another server offers to one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its number here. Offers and shares take their numbers from one row.
    pub id: ShareId,
    /// To whom.
    pub user: UserName,
    /// The receiver's home.
    pub space: SpaceId,
    /// Whose files they are.
    pub owner: CloudId,
    /// How the owner is shown to people.
    pub owner_name: String,
    /// Who offers: the owner, or somebody who shares on.
    pub sender: CloudId,
    /// How the sender is shown to people.
    pub sender_name: String,
    /// The number that the share has at the sender's server.
    pub provider_id: String,
    /// SHA-256 of the secret: one share is (sender's host, number, secret).
    pub digest: [u8; 32],
    /// The secret, encrypted at rest by `service`.
    pub secret: Vec<u8>,
    /// What the sender calls it, made fit for a name.
    pub name: String,
    /// File or collection, as far as the sender said.
    pub kind: Kind,
    /// Where it is.
    pub at: OfferedAt,
    /// What the server that has it took when the offer was accepted.
    pub scheme: AuthScheme,
    /// The receiver's answer; `Declined` only while the mount of an ended share is taken out of the tree.
    pub state: ReceivedState,
    /// The mount by which it is in the receiver's tree. One that is pending has one while it is accepted.
    pub mount: Option<MountId>,
    /// When it came.
    pub received: Timestamp,
    /// The first second at which it no longer works, as far as the sender said.
    pub expires: Option<Timestamp>,
}

impl Offer {
    /// The address whose server has the share, counts its numbers, and is told of the answer: the owner's, since the servers that let their
    /// users share on make such an offer themselves (`protocol/nextcloud.md` 2.4); the sender's where the share lies there.
    pub fn server(&self) -> &CloudId {
        let uri = match &self.at {
            OfferedAt::Url(url) => Some(url.as_str()),
            OfferedAt::Discovered => None,
        };
        server_of(&self.owner, &self.sender, uri)
    }
}

/// [`Offer::server`] of what is not an offer yet; `uri` as its sender wrote it, where it says one. The port counts.
pub fn server_of<'a>(owner: &'a CloudId, sender: &'a CloudId, uri: Option<&str>) -> &'a CloudId {
    let place = uri.filter(|uri| uri.contains("://")).and_then(|uri| server(uri.split(['?', '#']).next().unwrap_or_default()));
    let place = place.as_ref().map(|(host, _)| host.split('/').next().unwrap_or_default());
    let lies_at = |address: &CloudId| place == Some(address.authority());
    if !lies_at(owner) && lies_at(sender) { sender } else { owner }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str, &str)>) {
        let found = CloudId::parse(text).ok();
        let found = found.as_ref().map(|id| (id.user(), id.host(), id.url()));
        assert_eq!(found, expected.map(|(user, host, url)| (user, host, url.to_owned())), "{text}");
    }

    #[test]
    fn addresses_are_read_as_servers_write_them() {
        check("bob@cloud.example", Some(("bob", "cloud.example", "https://cloud.example")));
        check("bob@https://Cloud.Example/", Some(("bob", "cloud.example", "https://cloud.example")));
        check("bob@https://cloud.example:443/index.php", Some(("bob", "cloud.example", "https://cloud.example")));
        check("bob@http://cloud.example:8080/index.php/", Some(("bob", "cloud.example:8080", "http://cloud.example:8080")));
        check("bob@cloud.example/oc/index.php/index.php//", Some(("bob", "cloud.example/oc", "https://cloud.example/oc")));
        check("bob@cloud.example/ownCloud", Some(("bob", "cloud.example/ownCloud", "https://cloud.example/ownCloud")));
        check("b@c@idp.example@cloud.example", Some(("b@c@idp.example", "cloud.example", "https://cloud.example")));
        check("Bob B@[::1]:8080", Some(("Bob B", "[::1]:8080", "https://[::1]:8080")));
    }

    #[test]
    fn f11_what_is_no_address_is_refused() {
        for text in
            ["", "bob", "bob@", "@cloud.example", "bob@ftp://a", "bob@a?b", "bob@a#b", "bob@https://x:y", "b/o@a", "b\n@a", "bob@a b"]
        {
            check(text, None);
        }
        check(&format!("{}@a", "b".repeat(600)), None);
    }

    #[test]
    fn f1_a_share_lies_at_one_server_and_its_port_counts() {
        let (owner, sender) = (CloudId::parse("alice@a.example").unwrap(), CloudId::parse("mallory@http://a.example:8080").unwrap());
        let check = |uri: Option<&str>, expected: &CloudId| assert_eq!(server_of(&owner, &sender, uri), expected, "{uri:?}");
        for uri in ["http://A.example:8080/dav?x=1", "http://a.example:8080"] {
            check(Some(uri), &sender);
        }
        for uri in
            ["https://a.example:443/dav", "https://a.example/dav", "https://a.example:8081/dav", "http://me@a.example:8080/", "", "/dav"]
        {
            check(Some(uri), &owner);
        }
        check(None, &owner);
    }

    #[test]
    fn a_stored_address_comes_back() {
        for text in ["bob@cloud.example", "bob@http://cloud.example:8080"] {
            let id = CloudId::parse(text).unwrap();
            assert_eq!(CloudId::try_from(String::from(id.clone())).unwrap(), id);
        }
        assert!(CloudId::parse("bob@http://a").unwrap().is(&CloudId::parse("bob@https://A").unwrap()));
    }
}
