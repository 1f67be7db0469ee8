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
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    default_port: u16,
    /// Where on the host, without a slash at its end.
    folder: String,
}

impl Place {
    /// None where it leads nowhere: such a text is of no server that could be allowed.
    fn of(url: &str) -> Option<Place> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let scheme = if url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) { "http://" } else { "https://" };
        let url = Url::parse(&[scheme, rest].concat()).ok()?;
        let default_port = if scheme == "http://" { 80 } else { 443 };
        let folder = url.path().trim_end_matches('/').to_owned();
        Some(Place { host: bare(url.host_str()?), port: url.port().unwrap_or(default_port), default_port, folder })
    }

    /// Whether both are on one server: the same port, or the usual one of each.
    fn is_beside(&self, other: &Place) -> bool {
        let usual = |place: &Place| place.port == place.default_port;
        self.host == other.host && (self.port == other.port || (usual(self) && usual(other)))
    }

    /// As a trusted server is listed: `host[:port][/folder]`, and before it `http://` where it has no TLS.
    fn listed(&self) -> String {
        let scheme = if self.default_port == 80 { "http://" } else { "" };
        let port = if self.port == self.default_port { String::new() } else { format!(":{}", self.port) };
        [scheme, &self.host, &port, &self.folder].concat()
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

    /// One server as a whole, no wildcard and no folder of it.
    ///
    /// # Errors
    /// As [`Servers::parse`].
    pub(super) fn whole(text: &str) -> Result<Servers> {
        let whole = text.trim();
        let rest = whole.split_once("://").map_or(whole, |(_, rest)| rest);
        if rest.trim_end_matches('/').contains('/') {
            return Err(Refusal::usage(format!("a server is renamed with all its folders: write host or host:port, not `{text}`")));
        }
        Servers::one(text)
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
    /// Single servers that are trusted, as `[http://]host[:port][/folder]`.
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

/// The lists as they hold, with the trusted servers as they were read: nobody reads them again for each request.
struct Holding {
    lists: Arc<Lists>,
    trusted: Vec<(Place, Trusted)>,
}

impl From<Lists> for Holding {
    fn from(lists: Lists) -> Holding {
        let trusted = lists.trusted.iter().filter_map(|(server, trusted)| Some((Place::of(server)?, *trusted))).collect();
        Holding { lists: Arc::new(lists), trusted }
    }
}

/// The lists of a server, in memory as in the store.
pub struct Partners {
    store: Store,
    current: RwLock<Arc<Holding>>,
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
        let lists: Option<Lists> = lists;
        let holding = Holding::from(lists.unwrap_or_default());
        Ok(Partners { store, current: RwLock::new(Arc::new(holding)), changing: Default::default() })
    }

    fn holding(&self) -> Arc<Holding> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The lists now.
    pub fn current(&self) -> Arc<Lists> {
        Arc::clone(&self.holding().lists)
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
        let holding = self.holding();
        let lists = &holding.lists;
        let listed = |place: &Place| {
            lists.allow.iter().any(|servers| servers.holds(place)) || holding.trusted.iter().any(|(server, _)| server.is_beside(place))
        };
        !self.is_denied(url) && (lists.mode == Mode::Open || Place::of(url).is_some_and(|place| listed(&place)))
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

    /// Whether what users of the server at a URL share is taken without asking the receiver. Trust means one server: its folder where it lives in
    /// one, and https unless the administrator wrote http. A denied one is not trusted.
    pub fn accepts_from(&self, url: &str) -> bool {
        let accepts = |place: &Place| self.holding().trusted.iter().any(|(server, trusted)| trusted.auto_accept && server == place);
        Place::of(url).is_some_and(|place| accepts(&place)) && !self.is_denied(url)
    }

    /// Trusts a server, or changes in what.
    ///
    /// # Errors
    /// Where it cannot be read, or too many are trusted.
    pub async fn trust(&self, host: &str, trusted: Trusted) -> Result<String> {
        let server = trusted_name(host)?;
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
        let server = trusted_name(host)?;
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
        for (server, trusted) in self.current().trusted.iter().filter(|(server, _)| old.is(server)) {
            let url = if server.contains("://") { server.clone() } else { ["https://", server].concat() };
            if let Some(place) = new.put_into(&url).and_then(|url| Place::of(&url)) {
                lists.trusted.remove(server);
                lists.trusted.insert(place.listed(), *trusted);
            }
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
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(lists.into());
    }
}

/// A server as the list of trusted ones has it.
fn trusted_name(text: &str) -> Result<String> {
    Servers::one(text)?;
    let whole = text.trim();
    if whole.contains(['?', '#', '@']) {
        return Err(Refusal::usage(format!("name one server, host or host:port, not `{text}`")));
    }
    Place::of(whole).map(|place| place.listed()).ok_or_else(|| Refusal::usage(format!("name one server, host or host:port, not `{text}`")))
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

    #[tokio::test]
    async fn f1_trust_means_one_server_with_its_scheme_and_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let partners = Partners::open(Store::open(folder.path(), Options::default()).unwrap()).unwrap();
        for (typed, listed, yes, no) in [
            ("Plain.example:443", "plain.example", "https://plain.example/", "http://plain.example"),
            ("http://h.example:8080/", "http://h.example:8080", "http://h.example:8080", "https://h.example:8080"),
            ("https://f.example/oc/", "f.example/oc", "https://f.example/oc", "https://f.example"),
        ] {
            assert_eq!(partners.trust(typed, Trusted { auto_accept: true }).await.unwrap(), listed);
            assert!(partners.accepts_from(yes) && !partners.accepts_from(no), "{typed}");
            assert!(!partners.accepts_from(&[yes.trim_end_matches('/'), "/evil"].concat()), "{typed}");
        }
        partners.set(ListChange { mode: Some(Mode::Listed), ..ListChange::default() }).await.unwrap();
        assert!(partners.takes_part("https://f.example/dav/x") && !partners.takes_part("https://f.example:1/oc"));
        let (old, new) = (Servers::whole("f.example").unwrap(), Servers::whole("new.example:81").unwrap());
        assert!(partners.renamed(&old, &new).unwrap().0.trusted.contains_key("new.example:81/oc"));
        assert!(Servers::whole("f.example/oc").is_err());
        for listed in ["plain.example:443", "http://h.example:8080", "https://f.example:443/oc/"] {
            partners.distrust(listed).await.unwrap();
        }
        assert!(partners.trust("*.example", Trusted { auto_accept: true }).await.is_err() && partners.current().trusted.is_empty());
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
        assert!(!again.accepts_from("http://friend.example") && !again.accepts_from("https://friend.example/other"));
        again.set(ListChange { deny: texts(&["friend.example"]), ..ListChange::default() }).await.unwrap();
        assert!(!again.takes_part("https://friend.example") && !again.accepts_from("https://friend.example"));
        again.set(ListChange { forget: texts(&["friend.example"]), ..ListChange::default() }).await.unwrap();
        assert!(again.accepts_from("https://friend.example"));
        again.distrust("friend.example").await.unwrap();
        assert!(again.distrust("friend.example").await.is_err() && !again.takes_part("https://friend.example"));
    }
}
