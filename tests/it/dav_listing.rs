//! PROPFIND as sync clients, file managers and other servers need it.

use async_compression::tokio::bufread::GzipDecoder;
use causeway::domain::Permissions;
use tokio::io::AsyncReadExt;

use crate::support::dav_only::Dav;

/// Names that hurt somewhere: in URLs, in XML, in headers, on screens.
const NASTY: &[&str] = &[
    "a+b",
    "100%",
    "%41",
    "#hash",
    "what?",
    "q\"uote",
    "lt<gt>",
    "amp&amp;",
    "apos'",
    "new\nline",
    "tab\t",
    "semi;comma,at@",
    "😀",
    "é",
    "e\u{301}",
    "back\\slash",
    " blank ",
    ".hidden",
    "a:b",
    "]]>",
    "<!--",
    "~tilde",
    "CON",
    "[brackets]",
];

fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

const SYNC: &str = r#"<?xml version="1.0" ?><d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:prop><d:resourcetype /><d:getlastmodified />
    <d:getcontentlength /><d:getetag /><oc:size /><oc:id /><oc:fileid /><oc:downloadURL /><oc:dDC /><oc:permissions /><oc:checksums />
    <oc:data-fingerprint /><oc:share-types /></d:prop>M</d:propfind>"#;

#[tokio::test]
async fn sync_clients_get_what_they_ask_for() {
    let dav = Dav::start().await;
    dav.mkcol("/Photos").await;
    dav.put_new("/Photos/a.jpg", "12345").await;
    let answer = dav.ask("PROPFIND", "/Photos/").header("depth", "1").body(SYNC).expect(207).await;
    assert_eq!(answer.hrefs(), ["/remote.php/webdav/Photos/", "/remote.php/webdav/Photos/a.jpg"], "the collection itself is first");
    let text = answer.text();
    for part in [
        "<d:resourcetype><d:collection/></d:resourcetype>",
        "<oc:permissions>RGDNVCK</oc:permissions>",
        "<oc:permissions>RGDNVW</oc:permissions>",
        "<d:getcontentlength>5</d:getcontentlength>",
        "<oc:data-fingerprint>1</oc:data-fingerprint>",
        "<oc:share-types/>",
        "<d:status>HTTP/1.1 200 OK</d:status>",
        "<d:status>HTTP/1.1 404 Not Found</d:status>",
        "octest</oc:id>",
        "<downloadURL xmlns=\"http://owncloud.org/ns\"/>",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let minimal = dav.ask("PROPFIND", "/Photos/").header("prefer", "return=minimal").body(SYNC).expect(207).await;
    assert!(!minimal.text().contains("404"));
    assert_eq!(minimal.header("preference-applied"), Some("return=minimal"));
}

#[tokio::test]
async fn a_mounting_nextcloud_gets_letters_of_the_link() {
    let dav = Dav::start().await;
    dav.put_new("/a.txt", "x").await;
    let body = r#"<d:propfind xmlns:d="DAV:"><d:prop xmlns:x="http://owncloud.org/ns" xmlns:x1="http://open-collaboration-services.org/ns">
        <d:getlastmodified/><d:getcontentlength/><d:getcontenttype/><x:permissions xmlns:x="http://owncloud.org/ns"/>
        <x1:share-permissions xmlns:x="http://open-collaboration-services.org/ns"/><d:resourcetype/><d:getetag/><d:quota-available-bytes/></d:prop></d:propfind>"#;
    for (permissions, letters, bits) in [(Permissions::READ, "G", "1"), (Permissions::EDIT, "GDNVCK", "15")] {
        let text = dav.by_link(permissions).ask("PROPFIND", "/").header("depth", "0").body(body).expect(207).await.text();
        assert!(text.contains(&format!("<oc:permissions>{letters}</oc:permissions>")), "{text}");
        assert!(text.contains(&format!("<ocs:share-permissions>{bits}</ocs:share-permissions>")), "{text}");
        assert!(text.contains("<d:getlastmodified>") && text.contains("<d:quota-available-bytes>"), "{text}");
    }
}

#[tokio::test]
async fn every_name_comes_back_as_it_was_sent() {
    let dav = Dav::start().await;
    for name in NASTY {
        dav.mkcol(&format!("/{}", encoded(name))).await;
        dav.put_new(&format!("/{0}/{0}", encoded(name)), name).await;
    }
    let hrefs = dav.ask("PROPFIND", "/").header("depth", "infinity").expect(207).await.hrefs();
    assert_eq!(hrefs.len(), 1 + 2 * NASTY.len());
    for href in hrefs.iter().filter(|href| !href.ends_with('/')) {
        let path = href.strip_prefix("/remote.php/webdav").unwrap();
        let content = dav.content(path).await.unwrap();
        assert!(NASTY.contains(&content.as_str()));
        let name = path.rsplit('/').next().unwrap();
        dav.ask("COPY", path).to(&format!("/copy-{name}")).expect(201).await;
        dav.ask("MOVE", path).to(&format!("/moved-{name}")).expect(201).await;
        assert_eq!(dav.content(&format!("/moved-{name}")).await, Some(content));
    }
}

#[tokio::test]
async fn depths() {
    let dav = Dav::start().await;
    dav.mkcol("/a").await;
    dav.mkcol("/a/b").await;
    dav.put_new("/a/b/c", "x").await;
    let ask = |depth: &'static str| dav.ask("PROPFIND", "/a").header("depth", depth);
    assert_eq!(ask("0").expect(207).await.hrefs().len(), 1);
    assert_eq!(ask("1").expect(207).await.hrefs().len(), 2);
    assert_eq!(ask("infinity").expect(207).await.hrefs(), ["/remote.php/webdav/a/", "/remote.php/webdav/a/b/", "/remote.php/webdav/a/b/c"]);
    assert_eq!(dav.ask("PROPFIND", "/a").expect(207).await.hrefs().len(), 2, "no Depth is 1");
    assert_eq!(dav.ask("PROPFIND", "/a/b/c").header("depth", "1").expect(207).await.hrefs(), ["/remote.php/webdav/a/b/c"]);
    ask("2").expect(400).await;
    dav.ask("PROPFIND", "/none").expect(404).await;
}

#[tokio::test]
async fn d4_long_listings_come_in_pieces() {
    let dav = Dav::start().await;
    for number in 0..1500 {
        dav.put_new(&format!("/file-{number:05}-with-a-long-name.txt"), "x").await;
    }
    let plain = dav.ask("PROPFIND", "/").header("depth", "1").body(SYNC).expect(207).await;
    let hrefs = plain.hrefs();
    assert_eq!(hrefs.len(), 1501);
    assert!(hrefs[1..].is_sorted(), "each member is there once, in order");
    assert!(plain.pieces >= plain.body.len() / (80 * 1024), "{} pieces of {} bytes", plain.pieces, plain.body.len());
    let zipped = dav.ask("PROPFIND", "/").header("depth", "1").header("accept-encoding", "gzip").body(SYNC).expect(207).await;
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert!(zipped.body.len() * 5 < plain.body.len());
    let mut unzipped = Vec::new();
    GzipDecoder::new(&zipped.body[..]).read_to_end(&mut unzipped).await.unwrap();
    assert_eq!(unzipped, plain.body);
    let small = dav.ask("PROPFIND", "/").header("depth", "0").header("accept-encoding", "gzip").body(SYNC).expect(207).await;
    assert_eq!(small.header("content-encoding"), None);
}

#[tokio::test]
async fn a_drop_folder_shows_nothing() {
    let dav = Dav::start().await;
    dav.put_new("/secret.txt", "x").await;
    let drop = dav.by_link(Permissions::CREATE);
    for (method, path) in [("PROPFIND", "/"), ("PROPFIND", "/secret.txt"), ("GET", "/secret.txt"), ("HEAD", "/"), ("DELETE", "/secret.txt")]
    {
        drop.ask(method, path).expect(404).await;
    }
    drop.ask("PUT", "/secret.txt").body("y").expect(201).await;
    assert_eq!(dav.content("/secret.txt").await.as_deref(), Some("x"));
    assert_eq!(dav.content("/secret%20%282%29.txt").await.as_deref(), Some("y"));
}

#[tokio::test]
async fn a_link_to_one_file_is_its_root() {
    let dav = Dav::start().await;
    dav.put_new("/single.txt", "one").await;
    dav.put_new("/other.txt", "other").await;
    let link = dav.by_link_to_file("/single.txt", Permissions(3)).await;
    for path in ["", "/"] {
        let listed = link.ask("PROPFIND", path).header("depth", "1").expect(207).await;
        assert_eq!(listed.hrefs(), [format!("/remote.php/webdav{path}")]);
        assert!(listed.text().contains("<d:resourcetype/>") && listed.text().contains("<d:displayname>single.txt</d:displayname>"));
        assert!(listed.text().contains("<d:getcontenttype>text/plain</d:getcontenttype>"), "{}", listed.text());
    }
    let got = link.ask("GET", "/").expect(200).await;
    assert_eq!(got.text(), "one");
    assert!(got.header("content-disposition").unwrap().ends_with("filename=\"single.txt\""));
    link.ask("PUT", "/").body("two").expect(204).await;
    assert_eq!(dav.content("/single.txt").await.as_deref(), Some("two"));
    for (method, path) in [("GET", "/single.txt"), ("PROPFIND", "/other.txt"), ("PUT", "/new.txt"), ("MKCOL", "/d")] {
        link.ask(method, path).expect(404).await;
    }
    link.ask("DELETE", "/").expect(403).await;
    link.ask("MOVE", "/").to("/x").expect(404).await;
    link.ask("MKCOL", "/").expect(405).await;
    // The link follows its file.
    dav.ask("MOVE", "/single.txt").to("/moved.txt").expect(201).await;
    assert_eq!(link.content("/").await.as_deref(), Some("two"));
    dav.ask("DELETE", "/moved.txt").expect(204).await;
    dav.put_new("/moved.txt", "new").await;
    link.ask("GET", "/").expect(404).await;
}
