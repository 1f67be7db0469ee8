//! COPY and MOVE, and where they may not lead (attack D2).

use crate::support::dav_only::Dav;

#[tokio::test]
async fn statuses_are_those_of_the_rfc() {
    let dav = Dav::start().await;
    dav.mkcol("/d").await;
    dav.put_new("/d/f", "1").await;
    dav.put_new("/g", "2").await;
    let copied = dav.ask("COPY", "/d").to("/e").expect(201).await;
    assert!(copied.header("oc-fileid").is_some() && copied.header("etag").is_some());
    assert_eq!(dav.content("/e/f").await.as_deref(), Some("1"));
    dav.ask("COPY", "/d").to("/e").expect(204).await;
    dav.ask("COPY", "/d").to("/e").header("overwrite", "F").expect(412).await;
    dav.ask("COPY", "/d").to("/shallow").header("depth", "0").expect(201).await;
    assert_eq!(dav.content("/shallow/f").await, None);
    dav.ask("COPY", "/d").to("/x").header("depth", "1").expect(400).await;
    dav.ask("MOVE", "/d").to("/x").header("depth", "0").expect(400).await;
    dav.ask("MOVE", "/g").to("/none/g").expect(409).await;
    dav.ask("MOVE", "/none").to("/x").expect(404).await;
    dav.ask("MOVE", "/g").to("/d/f").header("overwrite", "f").expect(412).await;
    dav.ask("MOVE", "/g").to("/d/f").expect(204).await;
    assert_eq!(dav.content("/d/f").await.as_deref(), Some("2"));
    assert_eq!(dav.content("/g").await, None);
    dav.ask("MOVE", "/d/f").to("/h").header("x-oc-mtime", "1600000000").expect(201).await;
    let head = dav.ask("HEAD", "/h").expect(200).await;
    assert_eq!(head.header("last-modified"), Some("Sun, 13 Sep 2020 12:26:40 GMT"));
}

#[tokio::test]
async fn a_rename_keeps_the_id() {
    let dav = Dav::start().await;
    dav.put_new("/a", "1").await;
    let before = dav.ask("HEAD", "/a").expect(200).await;
    let moved = dav.ask("MOVE", "/a").to("/b").expect(201).await;
    assert_eq!(moved.header("oc-fileid"), before.header("oc-fileid"));
}

#[tokio::test]
async fn d2_a_tree_cannot_swallow_itself() {
    let dav = Dav::start().await;
    dav.mkcol("/a").await;
    dav.mkcol("/a/sub").await;
    dav.put_new("/a/sub/f", "kept").await;
    for method in ["COPY", "MOVE"] {
        for (from, to) in [
            ("/a/sub", "/a"),
            ("/a/sub/", "/a/"),
            ("/a/sub/f", "/a"),
            ("/a", "/a/sub"),
            ("/a", "/a/new"),
            ("/a", "/a"),
            ("/a", "/%61/"),
            ("/a", "/"),
        ] {
            dav.ask(method, from).to(to).header("overwrite", "T").expect(403).await;
        }
        // A name that begins alike is another name.
        dav.ask(method, "/a/sub").to("/a2").expect(201).await;
        dav.ask("MOVE", "/a2").to("/a/sub").send().await;
    }
    assert_eq!(dav.content("/a/sub/f").await.as_deref(), Some("kept"));
}

#[tokio::test]
async fn d2_destinations_elsewhere_are_refused() {
    let dav = Dav::start().await;
    dav.put_new("/f", "kept").await;
    for (destination, status) in [
        ("http://elsewhere.example/remote.php/webdav/x", 502),
        ("https://cloud.example:8443/remote.php/webdav/x", 502),
        ("//elsewhere.example/remote.php/webdav/x", 502),
        ("http://cloud.example@elsewhere.example/remote.php/webdav/x", 502),
        ("/remote.php/webdav2/x", 502),
        ("/remote.php/dav/files/bob/x", 502),
        ("/public.php/webdav/x", 502),
        ("x", 502),
        ("", 502),
        ("ftp://cloud.example/remote.php/webdav/x", 502),
        ("/remote.php/webdav/../x", 400),
        ("/remote.php/webdav/%2e%2e/x", 400),
        ("/remote.php/webdav/a%2fb", 400),
        ("/remote.php/webdav/a%00b", 400),
        ("/remote.php/webdav//x", 400),
    ] {
        for method in ["COPY", "MOVE"] {
            let answer = dav.ask(method, "/f").header("destination", destination).send().await;
            assert_eq!(answer.status, status, "{method} {destination}");
        }
    }
    dav.ask("MOVE", "/f").expect(400).await;
    dav.ask("MOVE", "/f").header("destination", "http://cloud.example/remote.php/webdav/%66%32").expect(201).await;
    dav.ask("MOVE", "/f2").header("destination", "https://CLOUD.example:443/remote.php/webdav/f").expect(201).await;
    // Encoded twice is a name with a per cent sign in it.
    dav.ask("COPY", "/f").to("/%252e%252e").expect(201).await;
    assert_eq!(dav.content("/%252e%252e").await.as_deref(), Some("kept"));
}

#[tokio::test]
async fn conditions_hold_for_source_and_destination() {
    let dav = Dav::start().await;
    dav.put_new("/a", "1").await;
    dav.put_new("/b", "2").await;
    let etag = |path: &'static str| {
        let dav = &dav;
        async move { dav.ask("HEAD", path).expect(200).await.header("etag").unwrap().to_owned() }
    };
    dav.ask("MOVE", "/a").to("/b").header("if-match", "\"x\"").expect(412).await;
    dav.ask("MOVE", "/a").to("/b").header("if", "</remote.php/webdav/b> ([\"x\"])").expect(412).await;
    let b = etag("/b").await;
    dav.ask("MOVE", "/a").to("/b").header("if", format!("</remote.php/webdav/b> ([{b}])")).expect(204).await;
    assert_eq!(dav.content("/b").await.as_deref(), Some("1"));
    let b = etag("/b").await;
    dav.ask("DELETE", "/b").header("if-match", "\"x\"").expect(412).await;
    dav.ask("DELETE", "/b").header("if-none-match", &b).expect(412).await;
    dav.ask("DELETE", "/b").header("if-match", &b).expect(204).await;
}
