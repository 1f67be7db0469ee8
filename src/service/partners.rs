//! Which other servers take part in federated sharing: a list of those that may, a list of those that may not, and those that are trusted.
//!
//! **Invariants:** deny wins over everything; nothing but a command of the administrator changes a list (attack F3): no mount, no share and no
//! call of another server does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Refusal;
use super::refusal::Result;
use crate::domain::CloudId;
use crate::store::{Batch, Record, Store, Table};

/// Most entries of one list.
const SERVERS_LISTED_MAX: usize = 1_000;

/// Who may offer to users of this server, and to whom they may share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every server that is not denied
    #[default]
    Open,
    /// Only servers that are allowed or trusted
    Listed,
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Mode::Open => "open",
            Mode::Listed => "listed",
        })
    }
}

/// A server, or several: `cloud.example`, `cloud.example:8443`, `*.example.org`, `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Servers {
    /// Whether it stands for all names below `host`; with an empty `host` for every server.
    below: bool,
    host: String,
    port: Option<u16>,
}

/// Where a URL leads.
struct Place {
    host: String,
    port: u16,
    default_port: u16,
}

impl Place {
    /// None where it leads nowhere: such a text is of no server that could be allowed.
    fn of(url: &str) -> Option<Place> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let scheme = if url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) { "http://" } else { "https://" };
        let url = Url::parse(&[scheme, rest].concat()).ok()?;
        let default_port = if scheme == "http://" { 80 } else { 443 };
        Some(Place { host: bare(url.host_str()?), port: url.port().unwrap_or(default_port), default_port })
    }
}

/// A host as it is compared: the dot at the end of a whole name (RFC 1034 3.1) makes no other server of it.
fn bare(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

impl Servers {
    /// Reads what administrators type; a URL's scheme and path are taken off.
    ///
    /// # Errors
    /// Where it names no server.
    pub fn parse(text: &str) -> Result<Servers> {
        let wrong = || Refusal::usage(format!("a server is written host, host:port or *.domain, not `{text}`"));
        let whole = text.trim();
        let rest = whole.split_once("://").map_or(whole, |(_, rest)| rest).split('/').next().unwrap_or_default();
        if rest == "*" {
            return Ok(Servers { below: true, host: String::new(), port: None });
        }
        let (below, name) = rest.strip_prefix("*.").map_or((false, rest), |name| (true, name));
        if name.contains(['*', '@', '?', '#']) {
            return Err(wrong());
        }
        let as_url = |scheme: &str| Url::parse(&[scheme, name].concat()).ok();
        let (plain, safe) = (as_url("http://").ok_or_else(wrong)?, as_url("https://").ok_or_else(wrong)?);
        // Each leaves its own default port out, and no other.
        let port = safe.port().or(plain.port());
        let host = safe.host_str().map(bare).filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        Ok(Servers { below, host, port })
    }

    /// One server, no wildcard.
    ///
    /// # Errors
    /// As [`Servers::parse`].
    pub fn one(text: &str) -> Result<Servers> {
        let servers = Servers::parse(text)?;
        if servers.below { Err(Refusal::usage(format!("name one server, host or host:port, not `{text}`"))) } else { Ok(servers) }
    }

    /// Whether a list names a server. Without a port it names all of a host.
    fn holds(&self, place: &Place) -> bool {
        let named = match (self.below, self.host.as_str()) {
            (true, "") => true,
            (true, host) => place.host.strip_suffix(host).is_some_and(|front| front.ends_with('.')),
            (false, host) => place.host == host,
        };
        named && self.port.is_none_or(|port| port == place.port)
    }

    /// Whether this is the server of a URL: without a port, the one at the usual port. Another port may be somebody else's.
    pub(super) fn is(&self, url: &str) -> bool {
        Place::of(url).is_some_and(|place| !self.below && place.host == self.host && place.port == self.port.unwrap_or(place.default_port))
    }

    /// A URL with this server in the place of its own.
    pub(super) fn put_into(&self, url: &str) -> Option<String> {
        let mut moved = Url::parse(url).ok()?;
        moved.set_host(Some(&self.host)).ok()?;
        moved.set_port(self.port).ok()?;
        // `Url` puts a slash behind a bare authority.
        let text = moved.to_string();
        Some(if url.ends_with('/') { text } else { text.strip_suffix('/').map_or(text.clone(), str::to_owned) })
    }

    /// The host alone.
    pub(super) fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.below, self.host.as_str()) {
            (true, "") => formatter.write_str("*"),
            (true, host) => write!(formatter, "*.{host}"),
            (false, host) => formatter.write_str(host),
        }?;
        self.port.map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}

impl TryFrom<String> for Servers {
    type Error = Refusal;
    fn try_from(text: String) -> Result<Servers> {
        Servers::parse(&text)
    }
}

impl From<Servers> for String {
    fn from(servers: Servers) -> String {
        servers.to_string()
    }
}

/// What was decided about a server that is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// What its users share is taken without asking the receiver.
    pub auto_accept: bool,
}

/// Every decision. Written as JSON, so that what comes later has its default in what was stored before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lists {
    /// Who takes part where nothing else is said.
    pub mode: Mode,
    /// Who takes part in any mode.
    pub allow: BTreeSet<Servers>,
    /// Who takes no part, whatever else is said.
    pub deny: BTreeSet<Servers>,
    /// Single servers that are trusted, as `host[:port]`.
    pub trusted: BTreeMap<String, Trusted>,
}

/// What is to change about the lists.
#[derive(Debug, Clone, Default)]
pub struct ListChange {
    /// Another mode.
    pub mode: Option<Mode>,
    /// Servers to allow.
    pub allow: Vec<String>,
    /// Servers to deny.
    pub deny: Vec<String>,
    /// Servers to take off both lists.
    pub forget: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored(String);

const KEY: &[u8] = b"servers";

impl Record for Stored {
    const TABLE: Table = Table::Settings;
    fn key(&self) -> Vec<u8> {
        KEY.to_vec()
    }
}

/// The lists of a server, in memory as in the store.
pub struct Partners {
    store: Store,
    current: RwLock<Arc<Lists>>,
    changing: tokio::sync::Mutex<()>,
}

impl Partners {
    /// As they were left.
    ///
    /// # Errors
    /// Where they cannot be read: they must not become no lists.
    pub(super) fn open(store: Store) -> Result<Partners> {
        let stored = store.get::<Stored>(KEY)?.map(|Stored(text)| serde_json::from_str(&text));
        let lists = stored.transpose().map_err(|error| Refusal::failed(format!("the lists of other servers cannot be read: {error}")))?;
        Ok(Partners { store, current: RwLock::new(Arc::new(lists.unwrap_or_default())), changing: Default::default() })
    }

    /// The lists now.
    pub fn current(&self) -> Arc<Lists> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether no list keeps any server out.
    pub fn is_open(&self) -> bool {
        let lists = self.current();
        lists.mode == Mode::Open && lists.deny.is_empty()
    }

    /// Whether nothing is to be exchanged with the server at a URL, not even links.
    pub fn is_denied(&self, url: &str) -> bool {
        let lists = self.current();
        !lists.deny.is_empty() && Place::of(url).is_none_or(|place| lists.deny.iter().any(|servers| servers.holds(&place)))
    }

    /// Whether the server at a URL takes part in federated sharing.
    pub fn takes_part(&self, url: &str) -> bool {
        let lists = self.current();
        let listed = || Place::of(url).is_some_and(|place| lists.allow.iter().any(|servers| servers.holds(&place)));
        !self.is_denied(url) && (lists.mode == Mode::Open || listed() || self.trusted(url).is_some())
    }

    /// [`Partners::takes_part`] for the server of an address.
    ///
    /// # Errors
    /// A sentence for who wants to share with it, or to have what it shares.
    pub fn judge(&self, address: &CloudId) -> Result<()> {
        if self.takes_part(&address.url()) {
            return Ok(());
        }
        Err(Refusal::refused(format!("the administrator does not allow sharing with users of {}", address.authority())))
    }

    /// What was decided about the server at a URL, where it is trusted. A denied one is not.
    fn trusted(&self, url: &str) -> Option<Trusted> {
        let lists = self.current();
        let known = lists.trusted.iter().find(|(host, _)| Servers::one(host).is_ok_and(|server| server.is(url)));
        known.map(|(_, trusted)| *trusted).filter(|_| !self.is_denied(url))
    }

    /// Whether what users of the server at a URL share is taken without asking the receiver.
    pub fn accepts_from(&self, url: &str) -> bool {
        self.trusted(url).is_some_and(|trusted| trusted.auto_accept)
    }

    /// Trusts a server, or changes in what.
    ///
    /// # Errors
    /// Where it cannot be read, or too many are trusted.
    pub async fn trust(&self, host: &str, trusted: Trusted) -> Result<String> {
        let server = Servers::one(host)?.to_string();
        let host = server.clone();
        self.change(move |lists| {
            lists.trusted.insert(host, trusted);
        })
        .await?;
        tracing::info!(remote.host = server, "a server is trusted");
        Ok(server)
    }

    /// Trusts a server no longer.
    ///
    /// # Errors
    /// Where it was not trusted.
    pub async fn distrust(&self, host: &str) -> Result<String> {
        let server = Servers::one(host)?.to_string();
        if !self.current().trusted.contains_key(&server) {
            return Err(Refusal::not_found(format!("{server} is not trusted; `causeway remote trusted list` shows what is")));
        }
        let host = server.clone();
        self.change(move |lists| {
            lists.trusted.remove(&host);
        })
        .await?;
        tracing::info!(remote.host = server, "a server is no longer trusted");
        Ok(server)
    }

    /// Changes the lists; it holds at once.
    ///
    /// # Errors
    /// Where a server cannot be read, is to be allowed and denied at once, or a list is full.
    pub async fn set(&self, change: ListChange) -> Result<()> {
        let read = |all: &[String]| all.iter().map(|text| Servers::parse(text)).collect::<Result<Vec<Servers>>>();
        let (allow, deny, forget) = (read(&change.allow)?, read(&change.deny)?, read(&change.forget)?);
        if let Some(both) = allow.iter().find(|servers| deny.contains(servers)) {
            return Err(Refusal::usage(format!("{both} cannot be allowed and denied at once")));
        }
        self.change(move |lists| {
            lists.mode = change.mode.unwrap_or(lists.mode);
            let off = |servers: &Servers, other: &[Servers]| !other.contains(servers) && !forget.contains(servers);
            lists.allow.retain(|servers| off(servers, &deny));
            lists.deny.retain(|servers| off(servers, &allow));
            lists.allow.extend(allow);
            lists.deny.extend(deny);
        })
        .await?;
        tracing::info!("the lists of other servers were changed");
        Ok(())
    }

    async fn change(&self, change: impl FnOnce(&mut Lists)) -> Result<()> {
        let _changing = self.changing.lock().await;
        let mut lists = Lists::clone(&self.current());
        change(&mut lists);
        if lists.allow.len().max(lists.deny.len()).max(lists.trusted.len()) > SERVERS_LISTED_MAX {
            return Err(Refusal::refused(format!("a list holds {SERVERS_LISTED_MAX} servers at most; *.domain stands for many")));
        }
        self.store.commit(Batch::new().put(&stored(&lists)?)).await?;
        self.publish(lists);
        Ok(())
    }

    /// The lists with a server under another name, and their record. What is denied stays so.
    pub(super) fn renamed(&self, old: &Servers, new: &Servers) -> Result<(Lists, Stored)> {
        let mut lists = Lists::clone(&self.current());
        if let Some(trusted) = lists.trusted.remove(&old.to_string()) {
            lists.trusted.insert(new.to_string(), trusted);
        }
        if lists.allow.remove(old) {
            lists.allow.insert(new.clone());
        }
        let record = stored(&lists)?;
        Ok((lists, record))
    }

    /// The turn to change something.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// Lets lists hold whose record is stored.
    pub(super) fn publish(&self, lists: Lists) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(lists);
    }
}

fn stored(lists: &Lists) -> Result<Stored> {
    serde_json::to_string(lists).map(Stored).map_err(|error| Refusal::failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    #[track_caller]
    fn check(servers: &str, url: &str, holds: bool) {
        let place = Place::of(url).unwrap();
        assert_eq!(Servers::parse(servers).unwrap().holds(&place), holds, "{servers} {url}");
    }

    #[test]
    fn f3_lists_name_servers_however_they_are_spelt() {
        check("cloud.example", "https://cloud.example", true);
        check("Cloud.Example", "https://CLOUD.example.:8443/oc", true);
        check("https://cloud.example/s/x", "http://cloud.example", true);
        check("cloud.example:443", "https://cloud.example", true);
        check("cloud.example:443", "https://cloud.example:8443", false);
        check("cloud.example", "https://evilcloud.example", false);
        check("*.example.org", "https://a.b.example.org", true);
        check("*.example.org", "https://example.org", false);
        check("*.example.org", "https://badexample.org", false);
        check("*.example.org:8443", "https://a.example.org", false);
        check("*", "http://127.0.0.1:1", true);
        check("127.0.0.1", "https://2130706433/", true);
        check("[::1]:8080", "http://[::1]:8080", true);
        check("bücher.example", "https://xn--bcher-kva.example", true);
        for text in ["", "*.", "a b", "*a.example", "a.*", "me@a.example", "a.example?x"] {
            assert!(Servers::parse(text).is_err(), "{text}");
        }
        assert!(Servers::one("*.example").is_err());
        let server = Servers::one("cloud.example").unwrap();
        assert!(server.is("https://cloud.example/") && server.is("http://cloud.example") && !server.is("https://cloud.example:8443"));
    }

    #[test]
    fn a_server_is_put_into_urls() {
        let put = |server: &str, url: &str| Servers::one(server).unwrap().put_into(url).unwrap();
        assert_eq!(put("new.example:8443", "https://old.example/oc/public.php/webdav/"), "https://new.example:8443/oc/public.php/webdav/");
        assert_eq!(put("new.example", "http://old.example:8080"), "http://new.example");
        assert_eq!(put("127.0.0.1:9", "http://127.0.0.1:8/dav"), "http://127.0.0.1:9/dav");
    }

    #[tokio::test]
    async fn deny_wins_and_lists_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let partners = Partners::open(store.clone()).unwrap();
        assert!(partners.is_open() && partners.takes_part("https://a.example"));
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let change = ListChange { deny: texts(&["*.evil.example"]), allow: texts(&["good.evil.example"]), ..ListChange::default() };
        partners.set(change).await.unwrap();
        assert!(!partners.takes_part("https://good.evil.example.") && partners.takes_part("https://b.example"));
        partners.trust("friend.example", Trusted { auto_accept: true }).await.unwrap();
        partners.set(ListChange { mode: Some(Mode::Listed), ..ListChange::default() }).await.unwrap();
        let again = Partners::open(store).unwrap();
        assert_eq!(again.current(), partners.current());
        assert!(!again.takes_part("https://b.example") && again.takes_part("https://friend.example"));
        assert!(!again.is_denied("https://b.example") && again.accepts_from("https://friend.example"));
        assert!(!again.accepts_from("https://friend.example:8443") && !again.takes_part("no url"));
        again.set(ListChange { deny: texts(&["friend.example"]), ..ListChange::default() }).await.unwrap();
        assert!(!again.takes_part("https://friend.example") && !again.accepts_from("https://friend.example"));
        again.set(ListChange { forget: texts(&["friend.example"]), ..ListChange::default() }).await.unwrap();
        assert!(again.accepts_from("https://friend.example"));
        again.distrust("friend.example").await.unwrap();
        assert!(again.distrust("friend.example").await.is_err() && !again.takes_part("https://friend.example"));
    }
}
