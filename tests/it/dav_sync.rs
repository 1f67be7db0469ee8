//! `sync-collection` (RFC 6578): a client that only asks what changed knows in the end what a client knows that lists everything.

use std::collections::BTreeMap;

use causeway::domain::{Permissions, TreePath, Write};
use causeway::wire::xml::{self, Element};

use crate::support::dav_only::{Answer, Dav};
use crate::support::server::Pair;
use crate::support::sharing::{remove, share, users};

/// Path and etag of what a client knows, as hrefs; a collection's ends with a slash.
type Mirror = BTreeMap<String, String>;

fn request(token: &str, level: &str, rest: &str) -> String {
    format!(
        r#"<d:sync-collection xmlns:d="DAV:"><d:sync-token>{token}</d:sync-token><d:sync-level>{level}</d:sync-level>{rest}
            <d:prop><d:getetag/></d:prop></d:sync-collection>"#
    )
}

fn text_below(element: &Element, names: &[&str]) -> String {
    let mut at = element;
    for name in names {
        let Some(child) = at.dav_child(name) else { return String::new() };
        at = child;
    }
    at.text()
}

/// What an answer tells: hrefs with etags, hrefs that are gone, and the token.
fn told(answer: &Answer) -> (Mirror, Vec<String>, String) {
    let root = xml::parse(&answer.body).unwrap();
    let (mut there, mut gone) = (Mirror::new(), Vec::new());
    for response in root.elements().filter(|element| element.is_dav("response")) {
        let href = text_below(response, &["href"]);
        if text_below(response, &["status"]).contains("507") {
            continue;
        }
        if text_below(response, &["status"]).contains("404") {
            assert!(response.dav_child("propstat").is_none(), "what is gone has no properties");
            gone.push(href);
        } else {
            let etag = text_below(response, &["propstat", "prop", "getetag"]);
            assert!(there.insert(href, etag).is_none(), "each is told once");
        }
    }
    let clash = gone.iter().find(|href| there.keys().any(|there| there.trim_end_matches('/') == href.trim_end_matches('/')));
    assert_eq!(clash, None, "nothing is there and gone");
    (there, gone, text_below(&root, &["sync-token"]))
}

/// A client with a memory.
struct Client {
    level: &'static str,
    root: &'static str,
    mirror: Mirror,
    token: String,
    /// The most that is told at once.
    limit: Option<usize>,
    begun: usize,
    continued: usize,
}

impl Client {
    fn new(level: &'static str, root: &'static str) -> Client {
        Client { level, root, mirror: Mirror::new(), token: String::new(), limit: None, begun: 0, continued: 0 }
    }

    /// Asks what changed, until everything is told. Returns how much was told.
    async fn sync(&mut self, dav: &Dav) -> usize {
        let mut count = 0;
        loop {
            let (told, more) = self.ask(dav).await;
            count += told;
            if !more {
                return count;
            }
        }
    }

    /// Asks what changed and takes it in. Returns how much was told, and whether there is more.
    async fn ask(&mut self, dav: &Dav) -> (usize, bool) {
        let limit = self.limit.map(|limit| format!("<d:limit><d:nresults>{limit}</d:nresults></d:limit>")).unwrap_or_default();
        let ask = |token: &str| dav.ask("REPORT", self.root).header("depth", "0").body(request(token, self.level, &limit));
        let mut answer = ask(&self.token).send().await;
        if answer.status == 403 {
            assert!(answer.text().contains("<d:valid-sync-token/>") && !self.token.is_empty(), "{}", answer.text());
            self.token.clear();
            answer = ask("").send().await;
        }
        assert_eq!(answer.status, 207, "{}", answer.text());
        if self.token.is_empty() {
            self.mirror.clear();
            self.begun += 1;
        } else {
            self.continued += 1;
        }
        let (there, gone, token) = told(&answer);
        let (count, more) = (there.len() + gone.len(), answer.text().contains("<d:number-of-matches-within-limits/>"));
        assert!(self.limit.is_none_or(|limit| count <= limit && (!more || count == limit)), "{}", answer.text());
        for href in gone {
            self.forget(&href);
        }
        for (href, etag) in there {
            // A file where a folder was, or the other way round.
            let other = if href.ends_with('/') { href.trim_end_matches('/').to_owned() } else { format!("{href}/") };
            if self.mirror.contains_key(&other) {
                self.forget(&other);
            }
            self.mirror.insert(href, etag);
        }
        self.token = token;
        (count, more)
    }

    fn forget(&mut self, href: &str) {
        let bare = href.trim_end_matches('/');
        let inside = format!("{bare}/");
        self.mirror.retain(|known, _| known != bare && !known.starts_with(&inside));
    }

    async fn check(&self, dav: &Dav, what: &str) {
        let depth = if self.level == "infinite" { "infinity" } else { "1" };
        let body = r#"<d:propfind xmlns:d="DAV:"><d:prop><d:getetag/></d:prop></d:propfind>"#;
        let listed = dav.ask("PROPFIND", self.root).header("depth", depth).body(body).expect(207).await;
        let own = listed.hrefs().remove(0);
        let (mut all, ..) = told(&listed);
        all.remove(&own);
        assert_eq!(self.mirror, all, "{what}");
    }
}

/// A small generator with a fixed seed, so that a failure happens again (PCG's multiplier).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn path(&mut self) -> String {
        let depth = 1 + self.below(3);
        (0..depth).map(|_| ["/a", "/b", "/c"][self.below(3)]).collect()
    }
}

/// One change, whether it succeeds or not; what it was.
async fn change(dav: &Dav, random: &mut Random) -> String {
    let (path, other) = (random.path(), random.path());
    let asked = match random.below(12) {
        0..=2 => dav.ask("PUT", &path).body(other.as_bytes()).send().await.status,
        3..=5 => dav.ask("MKCOL", &path).send().await.status,
        6..=7 => dav.ask("DELETE", &path).send().await.status,
        8..=9 => dav.ask("MOVE", &path).to(&other).send().await.status,
        10 => dav.ask("COPY", &path).to(&other).send().await.status,
        _ => {
            let (_, trash) = dav.view().trash().await.unwrap();
            let Some((row, _)) = trash.get(random.below(trash.len().max(1))) else { return "nothing to restore".to_owned() };
            let to = TreePath::parse(&other).unwrap();
            return format!(
                "restore {} to {other}: {:?}",
                row.path,
                dav.view().restore(row.node, &to, Write::unconditional()).await.is_ok()
            );
        }
    };
    format!("{path} {other} {asked}")
}

#[tokio::test]
async fn a_client_that_asks_what_changed_knows_everything() {
    for seed in 0..6 {
        let dav = Dav::start().await;
        dav.mkcol("/a").await;
        let mut random = Random(seed);
        let mut clients = [Client::new("infinite", "/"), Client::new("1", "/")];
        let mut done = Vec::new();
        for step in 0..120 {
            for _ in 0..=random.below(4) {
                done.push(change(&dav, &mut random).await);
            }
            for client in &mut clients {
                client.sync(&dav).await;
                client
                    .check(&dav, &format!("seed {seed}, step {step}, {}: {:?}", client.level, &done[done.len().saturating_sub(8)..]))
                    .await;
                assert_eq!(client.sync(&dav).await, 0, "nothing is told twice");
            }
        }
        assert!(clients[0].begun < clients[0].continued / 4, "{} of {} began anew", clients[0].begun, clients[0].continued);
        assert_eq!(clients[1].begun, 1, "one level never has to begin anew");
    }
}

#[tokio::test]
async fn a_client_that_wants_little_at_once_knows_everything_in_the_end() {
    for seed in 0..6 {
        let dav = Dav::start().await;
        dav.mkcol("/a").await;
        let mut random = Random(seed);
        let limited = |level, limit| Client { limit: Some(limit), ..Client::new(level, "/") };
        let mut clients = [limited("infinite", 1), limited("infinite", 3), limited("1", 1), limited("1", 2)];
        let mut done = Vec::new();
        for step in 0..60 {
            for client in &mut clients {
                // Things change between the parts of an answer.
                for _ in 0..=random.below(4) {
                    done.push(change(&dav, &mut random).await);
                    if !client.ask(&dav).await.1 {
                        break;
                    }
                }
                client.sync(&dav).await;
                client.sync(&dav).await;
                client
                    .check(&dav, &format!("seed {seed}, step {step}, {}: {:?}", client.level, &done[done.len().saturating_sub(8)..]))
                    .await;
                assert_eq!(client.sync(&dav).await, 0, "nothing is told twice");
            }
        }
        assert!(clients[0].begun < clients[0].continued / 4, "{} of {} began anew", clients[0].begun, clients[0].continued);
        assert_eq!(clients[2].begun, 1, "one level never has to begin anew");
    }
}

#[tokio::test]
async fn a_part_of_an_answer_says_that_there_is_more_and_where_it_goes_on() {
    let dav = Dav::start().await;
    for name in ["/d", "/d/a", "/d/b"] {
        dav.mkcol(name).await;
    }
    dav.put_new("/d/b/f", "x").await;
    let limit = |number: &str| format!("<d:limit><d:nresults>{number}</d:nresults></d:limit>");
    let ask = |token: &str, number: &str| dav.ask("REPORT", "/d").header("depth", "0").body(request(token, "infinite", &limit(number)));
    let part = ask("", "2").expect(207).await;
    let more = "<d:response><d:href>/remote.php/webdav/d/</d:href><d:status>HTTP/1.1 507 Insufficient Storage</d:status>\
        <d:error><d:number-of-matches-within-limits/></d:error></d:response>";
    assert!(part.text().contains(more), "{}", part.text());
    let (there, _, token) = told(&part);
    assert_eq!(there.keys().collect::<Vec<_>>(), ["/remote.php/webdav/d/a/", "/remote.php/webdav/d/b/"]);
    let rest = ask(&token, "2").expect(207).await;
    let (there, _, end) = told(&rest);
    assert_eq!(there.keys().collect::<Vec<_>>(), ["/remote.php/webdav/d/b/f"]);
    assert!(!rest.text().contains("507"), "as much as is wanted is no part: {}", rest.text());
    // The walk may be ended without a limit, and is the same one from the same token.
    assert_eq!(told(&dav.ask("REPORT", "/d").body(request(&token, "infinite", "")).expect(207).await).2, end);
    for wrong in [token.replacen("~~", "~3.1.1~", 1), token.replacen('~', ".1~", 1), token.replacen("~m~", "~x~", 1)] {
        assert!(ask(&wrong, "2").expect(403).await.text().contains("<d:valid-sync-token/>"), "{wrong}");
    }
}

#[tokio::test]
async fn a_moved_folder_is_told_with_all_that_is_in_it() {
    let dav = Dav::start().await;
    dav.mkcol("/a").await;
    dav.mkcol("/a/deep").await;
    dav.put_new("/a/deep/f", "x").await;
    dav.mkcol("/b").await;
    let (mut all, mut inner) = (Client::new("infinite", "/"), Client::new("infinite", "/b"));
    assert_eq!((all.sync(&dav).await, inner.sync(&dav).await), (4, 0));
    dav.ask("MOVE", "/a").to("/b/m").expect(201).await;
    // The old name; the new one, what is in it, and the folder that holds it.
    assert_eq!((all.sync(&dav).await, inner.sync(&dav).await), (5, 3));
    dav.put_new("/b/m/deep/g", "y").await;
    assert_eq!(inner.sync(&dav).await, 3, "the file and the folders above it, and nothing else");
    dav.ask("DELETE", "/b/m/deep").expect(204).await;
    assert_eq!(inner.sync(&dav).await, 2);
    for client in [&mut all, &mut inner] {
        client.sync(&dav).await;
        client.check(&dav, "at the end").await;
        assert_eq!(client.begun, 1);
    }
}

#[tokio::test]
async fn tokens_are_properties_and_are_judged() {
    let dav = Dav::start().await;
    dav.mkcol("/d").await;
    dav.put_new("/d/f", "x").await;
    let body = r#"<d:propfind xmlns:d="DAV:"><d:prop><d:sync-token/><d:supported-report-set/></d:prop></d:propfind>"#;
    let listed = dav.ask("PROPFIND", "/d").header("depth", "1").body(body).expect(207).await.text();
    let token = listed.split("<d:sync-token>").nth(1).unwrap().split("</d:sync-token>").next().unwrap().to_owned();
    assert_eq!(listed.matches("<d:sync-collection/>").count(), 1, "a file has no reports: {listed}");
    assert!(listed.contains("<d:sync-token/>"), "nor a token: {listed}");
    assert!(!dav.ask("PROPFIND", "/d").header("depth", "0").expect(207).await.text().contains("sync-token"), "RFC 6578 4: not by allprop");
    let ask = |path: &str, body: String| dav.ask("REPORT", path).header("depth", "0").body(body);
    let (there, gone, next) = told(&ask("/d", request(&token, "1", "")).expect(207).await);
    assert_eq!((there.len(), gone.len(), next.as_str()), (0, 0, token.as_str()));
    for wrong in ["urn:causeway:sync:0.1.1", "http://sabre.io/ns/sync/1", &token.replace("sync:", "sync:f"), "%00"] {
        let answer = ask("/d", request(wrong, "1", "")).expect(403).await;
        assert!(answer.text().contains("<d:valid-sync-token/>"), "{wrong}: {}", answer.text());
    }
    // Of another collection, and from the future.
    ask("/", request(&token, "1", "")).expect(403).await;
    ask("/d", request(&token.replacen('.', ".ffff", 1), "1", "")).expect(403).await;
    assert!(ask("/d/f", request("", "1", "")).expect(403).await.text().contains("<d:supported-report/>"));
    ask("/none", request("", "1", "")).expect(404).await;
    ask("/d", request("", "2", "")).expect(400).await;
    dav.ask("REPORT", "/d").header("depth", "1").body(request("", "1", "")).expect(400).await;
    ask("/d", r#"<d:sync-collection xmlns:d="DAV:"><d:prop/></d:sync-collection>"#.to_owned()).expect(400).await;
    let limit = |number: &str| format!("<d:limit><d:nresults>{number}</d:nresults></d:limit>");
    ask("/d", request("", "1", &limit("1"))).expect(207).await;
    ask("/d", request("", "1", &limit("many"))).expect(400).await;
    dav.put_new("/d/g", "x").await;
    let answer = ask("/d", request("", "1", &limit("0"))).expect(507).await;
    assert!(answer.text().contains("<d:number-of-matches-within-limits/>"));
}

#[tokio::test]
async fn whoever_holds_a_link_sees_what_changed_below_it_alone() {
    let dav = Dav::start().await;
    dav.put_new("/f", "x").await;
    let guest = dav.by_link(Permissions::READ);
    let mut client = Client::new("infinite", "/");
    client.sync(&guest).await;
    dav.ask("DELETE", "/f").expect(204).await;
    dav.put_new("/g", "x").await;
    assert_eq!(client.sync(&guest).await, 2);
    client.check(&guest, "by a link").await;
    let drop = dav.by_link(Permissions::CREATE);
    drop.ask("REPORT", "/").body(request("", "1", "")).expect(404).await;
    // A token that is turned back tells nothing of what went before; nor does one of the owner.
    let (_, _, token) = told(&guest.ask("REPORT", "/").body(request("", "1", "")).expect(207).await);
    guest.ask("REPORT", "/").body(request(&token, "1", "")).expect(207).await;
    let parts: Vec<&str> = token.split('.').collect();
    let version = u64::from_str_radix(parts[1], 16).unwrap();
    let older = format!("{}.{:x}.{}", parts[0], version - 1, parts[2..].join("."));
    let unsealed = format!("{}.{:x}.{}", parts[0], version - 1, parts[2]);
    let of_part = |since: &str| format!("{token}~{}~g~a", since.trim_start_matches("urn:causeway:sync:"));
    for forged in [of_part(&older), of_part(&unsealed), older, unsealed] {
        let answer = guest.ask("REPORT", "/").body(request(&forged, "1", "")).expect(403).await;
        assert!(answer.text().contains("<d:valid-sync-token/>"), "{forged}: {}", answer.text());
    }
    dav.ask("REPORT", "/").body(request(&token, "1", "")).expect(403).await;
}

#[tokio::test]
async fn mounts_are_always_told_and_not_walked() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    let link = pair.anna.link("anna", "/Photos", "edit").await;
    pair.bob.mkcol("bob", "/d").await;
    pair.bob.put("bob", "/plain", "x").await;
    pair.bob.mount("bob", &link.url).await;
    pair.bob.ask_as("bob", "MOVE", "/Photos").header("destination", "/remote.php/webdav/d/m").expect(201).await;
    let ask = |path: &str, token: &str, level: &str| pair.bob.ask_as("bob", "REPORT", path).body(request(token, level, ""));
    let first = ask("/", "", "1").expect(207).await.text();
    let token = first.split("<d:sync-token>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    pair.anna.put("anna", "/Photos/new", "x").await;
    let next = ask("/", &token, "1").expect(207).await.text();
    assert!(next.contains("/d/</d:href>") && !next.contains("/plain</d:href>"), "{next}");
    let inside = ask("/d", "", "1").expect(207).await.text();
    assert!(inside.contains("/d/m/</d:href>"), "{inside}");
    assert!(ask("/", "", "infinite").expect(403).await.text().contains("<d:sync-traversal-supported/>"));
    assert!(ask("/d/m", "", "1").expect(403).await.text().contains("<d:supported-report/>"));
    pair.stop().await;
}

#[tokio::test]
async fn shares_are_always_told_and_not_walked() {
    let server = users(&["anna", "bob"]).await;
    server.put("bob", "/plain", "x").await;
    let row = share(&server, "anna", "/Photos", "bob", "edit").await;
    let ask = |path: &str, token: &str, level: &str| server.ask_as("bob", "REPORT", path).body(request(token, level, ""));
    let first = ask("/", "", "1").expect(207).await.text();
    assert!(first.contains("/Photos/</d:href>"), "{first}");
    let token = |text: &str| text.split("<d:sync-token>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    server.put("anna", "/Photos/new", "x").await;
    let next = ask("/", &token(&first), "1").expect(207).await.text();
    assert!(next.contains("/Photos/</d:href>") && !next.contains("/plain</d:href>"), "{next}");
    // What went inside a share is in the log of another home.
    assert!(ask("/", "", "infinite").expect(403).await.text().contains("<d:sync-traversal-supported/>"));
    assert!(ask("/Photos", "", "1").expect(403).await.text().contains("<d:supported-report/>"));
    remove(&server, row.id).await;
    let last = ask("/", &token(&next), "1").expect(207).await.text();
    assert!(last.contains("/Photos</d:href><d:status>HTTP/1.1 404 Not Found</d:status>"), "{last}");
    ask("/", "", "infinite").expect(207).await;
    server.stop().await;
}
