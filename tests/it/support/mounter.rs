//! Servers that mount a public link of ours, as they behave on the wire: what they ask, in their order and their spelling, and what they make
//! of the answers (`protocol/owncloud.md` 1 to 3, `protocol/nextcloud.md` 1). An answer that one of them could not use ends the test.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use super::mounter_wire::{Told, Wire};
use super::mounter_xml::{DAV, OC, OCS, Response, Wanted, multistatus, old_propfind, old_touch, propfind, touch};
use super::server::TestServer;

/// Longest etag that Nextcloud compares as it is.
const ETAG_MAX: usize = 40;
/// The root of links, below the address of a server.
const ROOT: &str = "/public.php/webdav/";
/// What PHP's `rawurlencode` keeps.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const TYPE: &[Wanted] = &[(DAV, "resourcetype")];
const CHANGE: &[Wanted] = &[(DAV, "getlastmodified"), (DAV, "getetag"), (OC, "permissions")];
const SEVEN: &[Wanted] = &[
    (DAV, "getlastmodified"),
    (DAV, "getcontentlength"),
    (DAV, "getcontenttype"),
    (OC, "permissions"),
    (OCS, "share-permissions"),
    (DAV, "resourcetype"),
    (DAV, "getetag"),
];
/// What Nextcloud asks for.
pub(crate) const EIGHT: &[Wanted] = &[
    (DAV, "getlastmodified"),
    (DAV, "getcontentlength"),
    (DAV, "getcontenttype"),
    (OC, "permissions"),
    (OCS, "share-permissions"),
    (DAV, "resourcetype"),
    (DAV, "getetag"),
    (DAV, "quota-available-bytes"),
];

/// Which server, by the first of its kind that behaves so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edition {
    /// ownCloud 7.0.15: the tree by shareinfo, uploads by way of a part file.
    OwnCloud7,
    /// ownCloud 8.2: the tree by shareinfo.
    OwnCloud8,
    /// ownCloud 9.1: waits for a challenge, as those before.
    OwnCloud9,
    /// ownCloud 10 and 11.
    OwnCloud11,
    /// Nextcloud 32, from the moment at which it holds a token.
    Nextcloud32,
}

/// What a look at the root came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing changed since the last look.
    Same,
    /// The root changed; the tree has to be read again.
    Changed,
    /// Not now; what is known stays.
    Kept,
    /// The mount is taken away for good.
    Removed,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Without quotes.
    pub(crate) etag: String,
    /// Seconds.
    pub(crate) modified: i64,
    /// Bytes; of a folder nothing is said.
    pub(crate) size: Option<u64>,
    /// Whether it is a folder.
    pub(crate) folder: bool,
    /// The mask that the server takes for its user's rights.
    pub(crate) permissions: u8,
}

/// One mount.
pub(crate) struct Mounter {
    edition: Edition,
    wire: Wire,
    host: String,
    token: String,
    password: String,
    root: Option<Seen>,
    parts: u32,
}

impl Edition {
    /// Every server.
    pub(crate) const ALL: [Edition; 5] =
        [Edition::OwnCloud7, Edition::OwnCloud8, Edition::OwnCloud9, Edition::OwnCloud11, Edition::Nextcloud32];

    /// Sends every request without credentials first, as libcurl does that may choose the kind.
    fn is_challenged(self) -> bool {
        matches!(self, Edition::OwnCloud7 | Edition::OwnCloud8 | Edition::OwnCloud9)
    }

    /// Takes the whole tree from shareinfo.
    fn asks_share_info(self) -> bool {
        matches!(self, Edition::OwnCloud7 | Edition::OwnCloud8)
    }

    fn wanted(self) -> &'static [Wanted] {
        match self {
            Edition::OwnCloud7 | Edition::OwnCloud8 => CHANGE,
            Edition::OwnCloud9 | Edition::OwnCloud11 => SEVEN,
            Edition::Nextcloud32 => EIGHT,
        }
    }

    fn agent(self) -> &'static str {
        match self {
            Edition::OwnCloud7 => "SabreDAV/1.7",
            Edition::OwnCloud8 | Edition::OwnCloud9 | Edition::OwnCloud11 => "sabre-dav/3.2.3 (http://sabre.io/)",
            Edition::Nextcloud32 => "sabre-dav/4.7.0 (http://sabre.io/)",
        }
    }

    /// What the server makes of the rights that a link grants, on a node below it.
    pub(crate) fn mask(self, granted: u8, folder: bool) -> u8 {
        // Letters say of no file that something can be made in it.
        if self.asks_share_info() && !folder { granted & !4 } else { granted }
    }
}

impl Mounter {
    /// A mount that is still to be added.
    pub(crate) fn new(edition: Edition, server: &TestServer, token: &str, password: &str) -> Mounter {
        let (token, password) = (token.to_owned(), password.to_owned());
        Mounter { edition, wire: Wire::to(server.address()), host: server.host(), token, password, root: None, parts: 0 }
    }

    /// Adds the mount, as its user does it in a browser; else what that user is told.
    pub(crate) async fn add(&mut self) -> Result<(), &'static str> {
        match self.edition {
            Edition::OwnCloud7 => {
                self.propfind("", "0", TYPE).await.map_err(|_status| "Couldn't add remote share")?;
                self.share_info("").await.map_err(|_status| "Couldn't add remote share")?;
            }
            Edition::OwnCloud8 => {
                for _ in 0..2 {
                    self.share_info("").await.map_err(refused)?;
                }
            }
            Edition::OwnCloud9 | Edition::OwnCloud11 => {
                assert!(self.is_alive().await, "the server says that it is none");
                self.discover().await;
                self.propfind("", "0", SEVEN).await.map_err(refused)?;
            }
            Edition::Nextcloud32 => {
                self.discover().await;
                self.propfind("", "0", EIGHT).await.map_err(refused)?;
            }
        }
        assert_eq!(self.refresh().await, State::Changed, "what was just added can be looked at");
        Ok(())
    }

    /// The look at the root that each request of a user costs once.
    pub(crate) async fn refresh(&mut self) -> State {
        let wanted = self.edition.wanted();
        match self.propfind("", "0", wanted).await {
            Ok(mut nodes) => {
                let seen = self.judged(&nodes.remove(0));
                let same = self.root.as_ref().is_some_and(|known| known.etag == seen.etag && known.permissions == seen.permissions);
                self.root = Some(seen);
                if same { State::Same } else { State::Changed }
            }
            Err(status) => self.diagnose(status).await,
        }
    }

    /// Why a look at the root failed.
    async fn diagnose(&mut self, status: u16) -> State {
        match (self.edition, status) {
            // By it the root is taken for unchanged, whatever the reason.
            (Edition::OwnCloud7, 404) => State::Same,
            (Edition::OwnCloud11, 401) => State::Removed,
            (Edition::OwnCloud11, 404) if self.is_alive().await => State::Removed,
            (Edition::OwnCloud11, _) => State::Kept,
            (Edition::Nextcloud32, _) if !self.has_version("/status.php").await => State::Kept,
            (edition, _) => {
                let end = if edition == Edition::Nextcloud32 { "&depth=0" } else { "" };
                match (edition, self.share_info(end).await) {
                    (_, Err(404)) if self.is_alive().await => State::Removed,
                    (Edition::OwnCloud8 | Edition::OwnCloud9, Err(401 | 403)) | (Edition::Nextcloud32, Err(403)) => State::Removed,
                    _ => State::Kept,
                }
            }
        }
    }

    /// Every node below the root by its path, as the server fills its cache.
    pub(crate) async fn scan(&mut self) -> BTreeMap<String, Seen> {
        let mut cache = BTreeMap::new();
        if self.edition.asks_share_info() {
            let root = self.share_info("").await.expect("a tree that was just looked at can be read");
            self.take(&root, "", &mut cache);
            if self.edition == Edition::OwnCloud7 {
                let top: Vec<String> = cache.keys().filter(|path| !path.contains('/')).cloned().collect();
                for path in top {
                    self.propfind(&path, "0", TYPE).await.unwrap_or_else(|status| panic!("{path}: {status}, and would be forgotten"));
                }
            }
            return cache;
        }
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for (path, seen) in self.list(&folder).await {
                if seen.folder {
                    folders.push(path.clone());
                }
                cache.insert(path, seen);
            }
        }
        cache
    }

    /// The children in an answer of shareinfo.
    fn take(&self, node: &Value, path: &str, cache: &mut BTreeMap<String, Seen>) {
        let folder = match node["type"].as_str() {
            Some("dir") => true,
            Some("file") => false,
            other => panic!("{path}: {other:?}"),
        };
        assert!(node["mimetype"].as_str().is_some_and(|media| folder == (media == "httpd/unix-directory")), "{node}");
        assert!(node["id"].is_u64() && node["parentId"].is_i64(), "{node}");
        let seen = Seen {
            etag: checked(node["etag"].as_str().expect("an etag")),
            modified: node["mtime"].as_i64().expect("a time in seconds"),
            size: Some(node["size"].as_u64().expect("a size")).filter(|_| !folder),
            folder,
            permissions: u8::try_from(node["permissions"].as_u64().expect("a mask")).unwrap(),
        };
        if !path.is_empty() {
            cache.insert(path.to_owned(), seen);
        }
        let Some(children) = node.get("children") else { return };
        for child in children.as_array().unwrap() {
            let name = child["name"].as_str().unwrap();
            self.take(child, &joined(path, name), cache);
        }
    }

    /// The children of a folder.
    async fn list(&mut self, folder: &str) -> Vec<(String, Seen)> {
        // ownCloud asks for names alone, and then for each; Nextcloud for everything at once.
        let lists = self.edition == Edition::Nextcloud32;
        let wanted = if lists { EIGHT } else { &[] };
        let listed = self.propfind(folder, "1", wanted).await.unwrap_or_else(|status| panic!("{folder} cannot be listed: {status}"));
        let mut children = Vec::new();
        for child in listed.iter().skip(1) {
            // A blank for a plus, as `urldecode` has it.
            let decoded = percent_decode_str(&child.href.replace('+', " ")).decode_utf8().unwrap().into_owned();
            let path = joined(folder, decoded.trim_end_matches('/').rsplit('/').next().unwrap());
            let seen = if lists { self.judged(child) } else { self.look(&path).await };
            children.push((path, seen));
        }
        children
    }

    /// A file, or the files of a folder.
    async fn files(&mut self, path: &str) -> Vec<(String, Seen)> {
        let own = self.look(path).await;
        if own.folder { self.list(path).await } else { vec![(path.to_owned(), own)] }
    }

    /// What is at a path.
    pub(crate) async fn look(&mut self, path: &str) -> Seen {
        let mut own = self.propfind(path, "0", self.edition.wanted()).await.unwrap_or_else(|status| panic!("{path}: {status}"));
        self.judged(&own.remove(0))
    }

    /// What a node's properties come to, by the rules of the server.
    fn judged(&self, node: &Response) -> Seen {
        let href = &node.href;
        let text = |namespace, name| node.get(namespace, name);
        let modified = text(DAV, "getlastmodified").unwrap_or_else(|| panic!("{href}: no modification time, which Nextcloud cannot store"));
        let letters = text(OC, "permissions").filter(|letters| !letters.is_empty());
        let letters = letters.unwrap_or_else(|| panic!("{href}: without letters every right is taken for granted"));
        assert!(!letters.contains(['S', 'M']), "{href}: {letters}");
        if let Some(quota) = text(DAV, "quota-available-bytes") {
            // ownCloud 7 takes -3 for a full disk.
            assert!(quota.parse::<i64>().unwrap() >= 0, "{href}: {quota}");
        }
        let asked_type = self.edition.wanted().contains(&(DAV, "resourcetype"));
        let folder = if asked_type { node.is_folder() } else { letters.contains("CK") || !letters.contains('W') };
        let mask: Option<u8> = text(OCS, "share-permissions").map(|mask| mask.parse().unwrap());
        assert_eq!(mask.is_some(), asked_type, "{href}: who asks for the mask gets it");
        let size: Option<u64> = text(DAV, "getcontentlength").map(|length| length.parse().unwrap());
        assert!(!asked_type || size.is_some() != folder, "{href}: files have a length, folders none");
        Seen {
            etag: quoted(text(DAV, "getetag").unwrap_or_else(|| panic!("{href}: no etag"))),
            modified: seconds(modified),
            size,
            folder,
            permissions: mask.unwrap_or_else(|| from_letters(letters)),
        }
    }

    /// Space that is left; none where the server does not say.
    pub(crate) async fn free_space(&mut self, folder: &str) -> Option<i64> {
        let nodes = self.propfind(folder, "0", &[(DAV, "quota-available-bytes")]).await.unwrap();
        nodes[0].get(DAV, "quota-available-bytes").map(|bytes| bytes.parse().unwrap())
    }

    /// Reads a file.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Vec<u8>, u16> {
        let told = match self.edition {
            Edition::Nextcloud32 => {
                self.exists("").await;
                let told = self.ask("GET", path, &[("User-Agent", "Nextcloud Server Crawler"), ("Accept-Encoding", "gzip")], b"").await;
                self.exists(path).await;
                told
            }
            Edition::OwnCloud7 | Edition::OwnCloud8 | Edition::OwnCloud9 | Edition::OwnCloud11 => {
                self.ask("GET", path, &[("Accept", "*/*")], b"").await
            }
        };
        assert_eq!(told.header("content-encoding"), None, "{path}");
        if told.status == 200 { Ok(told.body) } else { Err(told.status) }
    }

    /// Writes a file, new or not, as the server goes about it.
    pub(crate) async fn put(&mut self, path: &str, content: &[u8]) -> Result<(), u16> {
        match self.edition {
            // The one file of a mount is written as it is: its part file lies elsewhere.
            Edition::OwnCloud7 if !path.is_empty() => return self.put_by_part(path, content).await,
            Edition::OwnCloud7 | Edition::OwnCloud8 => {
                // Its status is not looked at; what can be found afterwards is.
                let put = self.ask("PUT", path, &[("Accept", "*/*"), ("Expect", "100-continue")], content).await;
                if !matches!(put.status, 200..=299) {
                    return Err(put.status);
                }
                assert!(self.exists(path).await);
            }
            Edition::OwnCloud9 | Edition::OwnCloud11 => {
                let media = if path.ends_with(".txt") { "text/plain" } else { "application/octet-stream" };
                successful(&self.ask("PUT", path, &[("User-Agent", "GuzzleHttp/7"), ("Content-Type", media)], content).await)?;
                assert!(self.exists(path).await);
            }
            Edition::Nextcloud32 => {
                self.exists("").await;
                if self.exists(path).await {
                    // Kept as an old version.
                    self.get(path).await?;
                }
                let mut headers = vec![("User-Agent", "Nextcloud Server Crawler")];
                if content.len() > 1 << 20 {
                    headers.push(("Expect", "100-Continue"));
                }
                successful(&self.ask("PUT", path, &headers, content).await)?;
                assert!(self.exists(path).await);
            }
        }
        assert_eq!(self.get(path).await.as_deref(), Ok(content), "what was written to {path} is read again");
        Ok(())
    }

    /// The upload of ownCloud 7: beside its target, and then over it.
    async fn put_by_part(&mut self, path: &str, content: &[u8]) -> Result<(), u16> {
        self.parts += 1;
        let part = format!("{path}.ocTransferId{}.part", 1_234_567 + self.parts);
        let put = self.ask("PUT", &part, &[("Accept", "*/*"), ("Expect", "100-continue")], content).await;
        if !self.exists(&part).await {
            return Err(put.status);
        }
        assert_eq!(self.get(&part).await.as_deref(), Ok(content), "{part}");
        if let Err(status) = self.transfer("MOVE", &part, path).await {
            self.delete(&part).await.unwrap();
            return Err(status);
        }
        assert!(!self.exists(&part).await);
        assert_eq!(self.get(path).await.as_deref(), Ok(content), "{path}");
        Ok(())
    }

    /// Sets a modification time. The later ones look whether it was taken.
    pub(crate) async fn touch(&mut self, path: &str, modified: i64) -> Result<(), u16> {
        let old = matches!(self.edition, Edition::OwnCloud7 | Edition::OwnCloud8);
        let body = if old { old_touch(modified) } else { touch(modified) };
        let told = self.ask("PROPPATCH", path, &[("Content-Type", "application/xml")], body.as_bytes()).await;
        if told.status != 207 {
            return Err(told.status);
        }
        let answer = multistatus(&told.body);
        assert!(answer[0].missing.is_empty() && answer[0].get(DAV, "lastmodified").is_some(), "{}", told.text());
        let nodes = self.propfind(path, "0", &[(DAV, "getlastmodified")]).await?;
        assert_eq!(seconds(nodes[0].get(DAV, "getlastmodified").unwrap()), modified, "{path}: the time was not taken");
        Ok(())
    }

    /// Makes a folder.
    pub(crate) async fn mkcol(&mut self, path: &str) -> Result<(), u16> {
        assert!(!self.exists(path).await, "{path}");
        let told = self.ask("MKCOL", path, &[], b"").await;
        // Exactly this.
        if told.status != 201 {
            return Err(told.status);
        }
        assert!(self.exists(path).await, "{path}");
        if self.edition == Edition::Nextcloud32 {
            assert!(self.list(path).await.is_empty(), "{path}");
        }
        Ok(())
    }

    /// Deletes a file, or a folder with files. Nextcloud reads them first, for its trash.
    pub(crate) async fn delete(&mut self, path: &str) -> Result<(), u16> {
        if self.edition == Edition::Nextcloud32 {
            self.exists("").await;
            if self.exists(path).await {
                for (file, _) in self.files(path).await {
                    self.get(&file).await?;
                }
            }
        }
        let told = self.ask("DELETE", path, &[], b"").await;
        // Exactly this.
        if told.status != 204 {
            return Err(told.status);
        }
        assert!(!self.exists(path).await, "{path}");
        Ok(())
    }

    /// MOVE or COPY, without Overwrite.
    pub(crate) async fn transfer(&mut self, method: &str, from: &str, to: &str) -> Result<(), u16> {
        if self.edition == Edition::Nextcloud32 {
            self.exists("").await;
            self.exists(to).await;
            self.exists(to.rsplit_once('/').map_or("", |(parent, _)| parent)).await;
            self.exists(from).await;
        }
        let destination = format!("http://{}{}", self.host, target(to));
        let told = self.ask(method, from, &[("Destination", &destination)], b"").await;
        successful(&told)?;
        assert!(self.exists(to).await, "{to}");
        Ok(())
    }

    /// Whether something is at a path.
    pub(crate) async fn exists(&mut self, path: &str) -> bool {
        let wanted = if self.edition == Edition::Nextcloud32 { EIGHT } else { TYPE };
        match self.propfind(path, "0", wanted).await {
            Ok(_) => true,
            Err(404) => false,
            Err(status) => panic!("{path}: {status}"),
        }
    }

    /// The nodes of an answer, the asked one first; else the status.
    async fn propfind(&mut self, path: &str, depth: &str, wanted: &[Wanted]) -> Result<Vec<Response>, u16> {
        let body = if self.edition == Edition::OwnCloud7 { old_propfind(wanted) } else { propfind(wanted) };
        let headers = [("User-Agent", self.edition.agent()), ("Depth", depth), ("Content-Type", "application/xml")];
        let told = self.ask("PROPFIND", path, &headers, body.as_bytes()).await;
        if told.status != 207 {
            return Err(told.status);
        }
        assert_eq!(told.header("content-type"), Some("application/xml; charset=utf-8"));
        let nodes = multistatus(&told.body);
        let own = nodes.first().unwrap_or_else(|| panic!("{path}: nothing in a listing"));
        assert_eq!(own.href.trim_end_matches('/'), target(path).trim_end_matches('/'), "the asked one stands first, as it was spelt");
        assert!(depth == "1" || nodes.len() == 1, "{path}: {} nodes at depth 0", nodes.len());
        let hrefs: BTreeSet<&str> = nodes.iter().map(|node| node.href.as_str()).collect();
        assert_eq!(hrefs.len(), nodes.len(), "{path}: a node is listed twice");
        Ok(nodes)
    }

    /// A request to the link, twice for those who wait to be asked for credentials.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Told {
        let place = target(path);
        if self.edition.is_challenged() {
            let refused = self.wire.send(method, &place, headers, body).await;
            assert!(!refused.continued, "{method}: a body is asked for that is thrown away");
            if refused.status == 503 {
                return refused;
            }
            assert_eq!(refused.status, 401, "{method} {path}: {}", refused.text());
            assert!(refused.header("www-authenticate").is_some_and(|value| value.starts_with("Basic realm=\"")), "{:?}", refused.headers);
        }
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", self.token, self.password)));
        let mut lines = vec![("Authorization", basic.as_str())];
        lines.extend_from_slice(headers);
        let told = self.wire.send(method, &place, &lines, body).await;
        // Of nothing there is nothing to ask for (RFC 9110 10.1.1).
        let expects = !body.is_empty() && headers.iter().any(|(name, _)| *name == "Expect");
        assert!(!expects || told.continued || told.status >= 400, "{method} {path}: the body was not asked for");
        told
    }

    /// The tree of the link as JSON; else the status.
    pub(crate) async fn share_info(&mut self, more: &str) -> Result<Value, u16> {
        let form = format!("password={}", utf8_percent_encode(&self.password, KEPT));
        let (dir, form) = if more.starts_with("&depth") { ("", [&form, more].concat()) } else { (more, form) };
        let place = format!("/index.php/apps/files_sharing/shareinfo?t={}{dir}", self.token);
        let told = self.wire.send("POST", &place, &[("Content-Type", "application/x-www-form-urlencoded")], form.as_bytes()).await;
        let told_json: Value = serde_json::from_slice(&told.body).unwrap_or_else(|error| panic!("{error}: {}", told.text()));
        if told.status != 200 {
            return Err(told.status);
        }
        assert_eq!(told_json["status"], "success");
        Ok(told_json["data"].clone())
    }

    /// Whether the other server is one, and runs: then what it does not know is gone.
    async fn is_alive(&mut self) -> bool {
        for place in ["/ocs-provider/", "/ocs-provider/index.php", "/status.php"] {
            if self.has_version(place).await {
                return true;
            }
        }
        false
    }

    async fn has_version(&mut self, place: &str) -> bool {
        let told = self.wire.send("GET", place, &[], b"").await;
        // ownCloud 11 has no answer to it, and shows its user no mount at all.
        assert!(told.status < 500, "{place}: {}", told.status);
        let json: Value = serde_json::from_slice(&told.body).unwrap_or_default();
        json.is_object() && !json["version"].is_null()
    }

    /// Where the links are: by the Open Cloud Mesh, else by ownCloud's own way, else where they always were.
    async fn discover(&mut self) {
        let mesh = self.wire.send("GET", "/ocm-provider/", &[], b"").await;
        assert!(mesh.status < 500, "/ocm-provider/: {}", mesh.status);
        let json: Value = serde_json::from_slice(&mesh.body).unwrap_or_default();
        let mut place = json["resourceTypes"][0]["protocols"]["webdav"].clone();
        if place.is_null() {
            let told = self.wire.send("GET", "/ocs-provider/", &[], b"").await;
            let json: Value = serde_json::from_slice(&told.body).unwrap_or_default();
            place = json["services"]["FEDERATED_SHARING"]["endpoints"]["webdav"].clone();
        }
        let place = place.as_str().unwrap_or(ROOT);
        assert!(place.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.')), "{place}");
        assert_eq!(place.trim_end_matches('/'), ROOT.trim_end_matches('/'));
    }
}

fn refused(status: u16) -> &'static str {
    match status {
        401 | 403 | 404 => "Could not authenticate to remote share, password might be wrong",
        _ => "Storage not valid",
    }
}

fn successful(told: &Told) -> Result<(), u16> {
    if matches!(told.status, 200..=299) { Ok(()) } else { Err(told.status) }
}

/// A path below the root as it stands in URLs; folders have no slash at their ends.
fn target(path: &str) -> String {
    let segments: Vec<String> = path.split('/').map(|segment| utf8_percent_encode(segment, KEPT).to_string()).collect();
    format!("{ROOT}{}", segments.join("/"))
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn quoted(etag: &str) -> String {
    let inner = etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"'));
    checked(inner.unwrap_or_else(|| panic!("{etag} is not quoted")))
}

fn checked(etag: &str) -> String {
    assert!(!etag.is_empty() && etag.len() <= ETAG_MAX && !etag.contains('"'), "{etag}");
    etag.to_owned()
}

fn seconds(date: &str) -> i64 {
    let time: SystemTime = httpdate::parse_http_date(date).unwrap_or_else(|error| panic!("{date}: {error}"));
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// As ownCloud reads them: `R` share, `D` delete, `W` update, `CK` create and update.
fn from_letters(letters: &str) -> u8 {
    let bits = [("R", 16), ("D", 8), ("W", 2), ("CK", 6)];
    bits.into_iter().filter(|(known, _)| letters.contains(known)).fold(1, |mask, (_, bit)| mask | bit)
}
