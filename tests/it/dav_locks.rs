//! Locks (RFC 4918 6 to 10), and what is tried against them (attack D5).

use causeway::domain::Permissions;

use crate::support::dav_only::{Answer, Dav};

const EXCLUSIVE: &str = r#"<?xml version="1.0"?><d:lockinfo xmlns:d="DAV:"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype>
    <d:owner xml:lang="de"><d:href>http://anna.example/</d:href><x xmlns=""/></d:owner></d:lockinfo>"#;
const SHARED: &str = r#"<d:lockinfo xmlns:d="DAV:"><d:lockscope><d:shared/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>"#;

fn token(answer: &Answer) -> String {
    answer.header("lock-token").unwrap().trim_matches(['<', '>']).to_owned()
}

#[tokio::test]
async fn a_lock_is_taken_seen_prolonged_and_given_back() {
    let dav = Dav::start().await;
    dav.put_new("/a", "1").await;
    let locked = dav.ask("LOCK", "/a").header("depth", "0").header("timeout", "Second-100").body(EXCLUSIVE).expect(200).await;
    let token = token(&locked);
    for part in ["<d:timeout>Second-100</d:timeout>", "<d:depth>0</d:depth>", &token, "<d:lockroot><d:href>/remote.php/webdav/a</d:href>"] {
        assert!(locked.text().contains(part), "{part} is not in {}", locked.text());
    }
    // The owner comes back as it was sent.
    let owner = r#"<owner xmlns="DAV:" xml:lang="de"><href>http://anna.example/</href><x xmlns=""/></owner>"#;
    let found = dav.ask("PROPFIND", "/a").header("depth", "0").expect(207).await.text();
    assert!(locked.text().contains(owner) && found.contains(owner) && found.contains(&token), "{found}");

    let refused = dav.ask("PUT", "/a").body("2").expect(423).await.text();
    assert!(refused.contains("<d:lock-token-submitted><d:href>/remote.php/webdav/a</d:href></d:lock-token-submitted>"), "{refused}");
    let refused = dav.ask("LOCK", "/a").body(SHARED).expect(423).await.text();
    assert!(refused.contains("<d:no-conflicting-lock><d:href>/remote.php/webdav/a</d:href>"), "{refused}");
    for (method, to) in [("DELETE", ""), ("MOVE", "/b"), ("PROPPATCH", "")] {
        let body = r#"<d:propertyupdate xmlns:d="DAV:"><d:set><d:prop><x xmlns="urn:x"/></d:prop></d:set></d:propertyupdate>"#;
        dav.ask(method, "/a").to(to).body(body).expect(423).await;
    }
    dav.ask("COPY", "/a").to("/copy").expect(201).await;

    dav.ask("PUT", "/a").header("if", format!("(<{token}>)")).body("2").expect(204).await;
    dav.ask("PUT", "/a").header("if", format!("<http://cloud.example/remote.php/webdav/a> (<{token}>)")).body("3").expect(204).await;
    dav.ask("PUT", "/a").header("if", "(<urn:uuid:other>)").body("4").expect(412).await;
    dav.ask("PUT", "/a").header("if", format!("(<{token}> [\"stale\"])")).body("4").expect(412).await;
    dav.ask("PUT", "/a").header("if", format!("(<{token}> Not <DAV:no-lock>)")).body("4").expect(204).await;

    let refreshed = dav.ask("LOCK", "/a").header("if", format!("(<{token}>)")).header("timeout", "Second-200").expect(200).await;
    assert!(refreshed.text().contains("Second-200") && refreshed.text().contains(owner));
    dav.ask("LOCK", "/a").expect(400).await;
    dav.ask("LOCK", "/a").header("if", "(<urn:uuid:other>)").expect(412).await;
    dav.ask("LOCK", "/copy").header("if", format!("(Not <{token}>)")).expect(412).await;

    dav.ask("UNLOCK", "/copy").header("lock-token", format!("<{token}>")).expect(409).await;
    dav.ask("UNLOCK", "/a").header("lock-token", format!("<{token}>")).expect(204).await;
    dav.ask("UNLOCK", "/a").header("lock-token", format!("<{token}>")).expect(409).await;
    dav.ask("PUT", "/a").body("5").expect(204).await;
}

#[tokio::test]
async fn a_lock_shows_in_the_properties_of_nextcloud_s_client() {
    let dav = Dav::start().await;
    dav.put_new("/a", "1").await;
    let asked = r#"<d:propfind xmlns:d="DAV:" xmlns:nc="http://nextcloud.org/ns"><d:prop><nc:lock/><nc:lock-owner/><nc:lock-owner-displayname/>
        <nc:lock-owner-type/><nc:lock-time/><nc:lock-timeout/></d:prop></d:propfind>"#;
    let free = dav.ask("PROPFIND", "/a").header("depth", "0").body(asked).expect(207).await.text();
    assert!(free.contains("<nc:lock/>") && !free.contains("<nc:lock>1"), "{free}");
    let token = token(&dav.ask("LOCK", "/a").header("timeout", "Second-100").body(EXCLUSIVE).expect(200).await);
    let locked = dav.ask("PROPFIND", "/").header("depth", "1").body(asked).expect(207).await.text();
    for part in ["<nc:lock>1</nc:lock>", "<nc:lock-owner>anna</nc:lock-owner>", "<nc:lock-owner-type>2<", "<nc:lock-timeout>100<"] {
        assert!(locked.contains(part), "{part} is not in {locked}");
    }
    assert!(!locked.contains(&token), "{locked}");
}

#[tokio::test]
async fn a_locked_free_name_takes_the_first_upload() {
    let dav = Dav::start().await;
    let locked = dav.ask("LOCK", "/new").header("timeout", "Second-1800").body(EXCLUSIVE).expect(201).await;
    let list = format!("</remote.php/webdav/new> (<{}>)", token(&locked));
    // As davfs2 does it.
    dav.ask("PUT", "/new").header("if-none-match", "*").header("if", &list).body("x").expect(201).await;
    dav.ask("PUT", "/new").header("if-none-match", "*").header("if", &list).body("y").expect(412).await;
    dav.ask("LOCK", "/none/new").body(EXCLUSIVE).expect(409).await;
}

#[tokio::test]
async fn deep_locks_cover_what_is_below() {
    let dav = Dav::start().await;
    dav.mkcol("/d").await;
    dav.put_new("/d/f", "1").await;
    let locked = dav.ask("LOCK", "/d").header("depth", "infinity").body(EXCLUSIVE).expect(200).await;
    let token = token(&locked);
    for (method, path) in [("PUT", "/d/f"), ("PUT", "/d/new"), ("MKCOL", "/d/sub"), ("DELETE", "/d/f"), ("DELETE", "/d")] {
        dav.ask(method, path).expect(423).await;
    }
    dav.ask("PUT", "/d/new").header("if", format!("</remote.php/webdav/d> (<{token}>)")).body("x").expect(201).await;
    dav.ask("PUT", "/d/f").header("if", format!("(<{token}>)")).body("x").expect(204).await;
    let found = dav.ask("PROPFIND", "/d/f").header("depth", "0").expect(207).await.text();
    assert!(found.contains("<d:lockroot><d:href>/remote.php/webdav/d</d:href>"), "{found}");
    dav.ask("LOCK", "/d").header("depth", "1").body(EXCLUSIVE).expect(400).await;
}

#[tokio::test]
async fn shared_locks_stand_beside_each_other() {
    let dav = Dav::start().await;
    dav.put_new("/a", "1").await;
    let one = token(&dav.ask("LOCK", "/a").body(SHARED).expect(200).await);
    let two = token(&dav.ask("LOCK", "/a").body(SHARED).expect(200).await);
    assert_ne!(one, two);
    dav.ask("LOCK", "/a").body(EXCLUSIVE).expect(423).await;
    dav.ask("PUT", "/a").body("x").expect(423).await;
    dav.ask("PUT", "/a").header("if", format!("(<{two}>)")).body("x").expect(204).await;
}

#[tokio::test]
async fn d5_a_token_serves_only_who_took_it() {
    let dav = Dav::start().await;
    dav.put_new("/a", "1").await;
    let link = dav.by_link(Permissions::EDIT);
    let token = token(&dav.ask("LOCK", "/a").body(EXCLUSIVE).expect(200).await);
    let seen = link.ask("PROPFIND", "/a").header("depth", "0").expect(207).await.text();
    assert!(seen.contains("<d:activelock>") && !seen.contains(&token), "others see the lock, not its token");
    let refused = link.ask("PUT", "/a").body("x").expect(423).await.text();
    assert!(!refused.contains(&token));
    for list in [format!("(<{token}>)"), format!("</remote.php/webdav/a> (<{token}>)"), format!("(Not <urn:x>) (<{token}>)")] {
        link.ask("PUT", "/a").header("if", &list).body("x").expect(423).await;
        link.ask("DELETE", "/a").header("if", &list).expect(423).await;
        link.ask("MOVE", "/a").to("/b").header("if", &list).expect(423).await;
    }
    link.ask("UNLOCK", "/a").header("lock-token", format!("<{token}>")).expect(409).await;
    let refreshed = link.ask("LOCK", "/a").header("if", format!("(<{token}>)")).send().await;
    assert!([412, 423].contains(&refreshed.status));
    dav.by_link(Permissions::READ).ask("LOCK", "/a").body(EXCLUSIVE).expect(403).await;
    assert_eq!(dav.content("/a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn d5_malformed_and_endless_locks() {
    let dav = Dav::start().await;
    dav.put_new("/a", "1").await;
    for header in ["<", "", "<>", "<a> <b>", "<a b>", "opaque<"] {
        dav.ask("UNLOCK", "/a").header("lock-token", header).expect(400).await;
    }
    dav.ask("UNLOCK", "/a").expect(400).await;
    for body in
        ["<a/>", "<d:lockinfo xmlns:d=\"DAV:\"/>", "x", r#"<lockinfo xmlns="DAV:"><lockscope/><locktype><write/></locktype></lockinfo>"#]
    {
        dav.ask("LOCK", "/a").body(body).expect(400).await;
    }
    let owner = EXCLUSIVE.replace("http://anna.example/", &"x".repeat(20_000));
    dav.ask("LOCK", "/a").body(&owner).expect(413).await;
    dav.ask("LOCK", "/a").body(EXCLUSIVE.replace("http://anna.example/", &"x".repeat(60_000))).expect(413).await;
    let answer = dav.ask("LOCK", "/a").header("timeout", "Infinite, Second-4100000000").body(EXCLUSIVE).expect(200).await;
    assert!(answer.text().contains("<d:timeout>Second-3600</d:timeout>") || answer.text().contains("<d:timeout>Second-3599</d:timeout>"));
}
