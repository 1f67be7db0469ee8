//! GET, PUT, PROPPATCH and the like, as clients need them.

use crate::support::dav_only::Dav;

#[tokio::test]
async fn options_say_what_mounters_look_for() {
    let dav = Dav::start().await;
    for path in ["", "/", "/nowhere"] {
        let answer = dav.ask("OPTIONS", path).expect(200).await;
        assert_eq!(answer.header("dav"), Some("1, 2, 3, extended-mkcol"));
        assert_eq!(answer.header("ms-author-via"), Some("DAV"));
        assert!(answer.header("allow").unwrap().contains("LOCK"));
    }
}

#[tokio::test]
async fn uploads_answer_what_sync_clients_read() {
    let dav = Dav::start().await;
    let put = dav
        .ask("PUT", "/a.txt")
        .header("x-oc-mtime", "1600000000")
        .header("oc-checksum", "SHA1:0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33")
        .body("foo")
        .expect(201)
        .await;
    assert_eq!(put.header("x-oc-mtime"), Some("accepted"));
    assert_eq!(put.header("etag"), put.header("oc-etag"));
    assert_eq!(put.header("last-modified"), Some("Sun, 13 Sep 2020 12:26:40 GMT"));
    assert!(put.header("oc-fileid").unwrap().ends_with("octest"));
    assert!(put.header("oc-fileid").unwrap().len() >= 14);
    let get = dav.ask("GET", "/a.txt").expect(200).await;
    let head = dav.ask("HEAD", "/a.txt").expect(200).await;
    for name in ["etag", "last-modified", "content-length", "content-type", "oc-checksum", "accept-ranges"] {
        assert!(get.header(name).is_some(), "{name}");
        assert_eq!(get.header(name), head.header(name), "{name}");
    }
    assert_eq!(get.header("etag"), put.header("etag"));
    assert_eq!(get.header("oc-checksum"), Some("SHA1:0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33"));
    assert_eq!(get.text(), "foo");
    let again = dav.ask("PUT", "/a.txt").body("bar").expect(204).await;
    assert_ne!(again.header("etag"), put.header("etag"));
    let listed = dav.ask("PROPFIND", "/a.txt").header("depth", "0").expect(207).await.text();
    assert!(listed.contains(&again.header("etag").unwrap().replace('"', "&quot;")), "{listed}");
}

#[tokio::test]
async fn refused_uploads_leave_the_old_content() {
    let dav = Dav::start().await;
    dav.put_new("/a.txt", "old").await;
    let new = || dav.ask("PUT", "/a.txt").body("new");
    new().header("oc-checksum", "SHA1:0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33").expect(400).await;
    new().header("oc-checksum", "SHA1:zz").expect(400).await;
    new().header("if-match", "\"stale\"").expect(412).await;
    new().header("if-none-match", "*").expect(412).await;
    new().header("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT").expect(412).await;
    new().header("if", "([\"stale\"])").expect(412).await;
    new().header("content-range", "bytes 9000000000-9000000002/9000000003").expect(400).await;
    new().header("x-oc-mtime", "soon").expect(400).await;
    new().header("oc-chunked", "1").expect(501).await;
    dav.ask("PATCH", "/a.txt").body("new").expect(405).await;
    dav.ask("PUT", "/").body("new").expect(405).await;
    dav.ask("PUT", "/a.txt/b").body("new").expect(409).await;
    dav.ask("PUT", "/none/b").body("new").expect(409).await;
    assert_eq!(dav.content("/a.txt").await.as_deref(), Some("old"));
    let etag = dav.ask("HEAD", "/a.txt").expect(200).await.header("etag").unwrap().to_owned();
    new().header("if-match", &etag).expect(204).await;
    new().header("if-match", &etag).expect(412).await;
}

#[tokio::test]
async fn conditional_reads() {
    let dav = Dav::start().await;
    dav.put_new("/a.txt", "0123456789").await;
    let etag = dav.ask("HEAD", "/a.txt").expect(200).await.header("etag").unwrap().to_owned();
    let answer = dav.ask("GET", "/a.txt").header("if-none-match", &etag).expect(304).await;
    assert_eq!(answer.header("etag"), Some(etag.as_str()));
    assert!(answer.body.is_empty());
    dav.ask("GET", "/a.txt").header("if-match", "\"other\"").expect(412).await;
    let part = dav.ask("GET", "/a.txt").header("range", "bytes=2-4").header("if-range", &etag).expect(206).await;
    assert_eq!(part.text(), "234");
    dav.ask("GET", "/a.txt").header("range", "bytes=2-4").header("if-range", "\"other\"").expect(200).await;
}

#[tokio::test]
async fn a_get_cannot_run_in_the_origin() {
    let dav = Dav::start().await;
    dav.put_new("/x.html", "<script>alert(1)</script>").await;
    let answer = dav.ask("GET", "/x.html").expect(200).await;
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("content-security-policy").unwrap().contains("sandbox"));
    assert!(answer.header("content-disposition").unwrap().starts_with("attachment"));
}

#[tokio::test]
async fn collections_answer_with_and_without_their_slash() {
    let dav = Dav::start().await;
    dav.mkcol("/d").await;
    dav.mkcol("/e/").await;
    for path in ["/d", "/d/"] {
        dav.ask("HEAD", path).expect(200).await;
        let page = dav.ask("GET", path).expect(200).await;
        assert!(page.header("content-type").unwrap().starts_with("text/html"));
        let listed = dav.ask("PROPFIND", path).header("depth", "0").expect(207).await;
        assert_eq!(listed.hrefs(), ["/remote.php/webdav/d/"]);
    }
    dav.ask("MKCOL", "/d").expect(405).await;
    dav.ask("MKCOL", "/x/y").expect(409).await;
    dav.ask("DELETE", "/d/").header("depth", "0").expect(400).await;
    dav.ask("DELETE", "/d/").expect(204).await;
    dav.ask("DELETE", "/d/").expect(404).await;
    dav.ask("DELETE", "/").expect(403).await;
}

#[tokio::test]
async fn dead_properties_and_times_are_kept() {
    let dav = Dav::start().await;
    dav.put_new("/a.txt", "x").await;
    let etag = dav.ask("HEAD", "/a.txt").expect(200).await.header("etag").unwrap().to_owned();
    let body = r#"<d:propertyupdate xmlns:d="DAV:" xmlns:z="urn:schemas-microsoft-com:" xmlns:oc="http://owncloud.org/ns"><d:set><d:prop>
        <p:colour xmlns:p="urn:p" p:shade="1">blue &amp; <b xmlns="">b</b></p:colour><oc:favorite>1</oc:favorite>
        <z:Win32FileAttributes>00000020</z:Win32FileAttributes></d:prop></d:set></d:propertyupdate>"#;
    let answer = dav.ask("PROPPATCH", "/a.txt").body(body).expect(207).await.text();
    assert!(
        answer.contains("<colour xmlns=\"urn:p\"/>") && answer.contains("HTTP/1.1 200 OK") && !answer.contains("HTTP/1.1 4"),
        "{answer}"
    );
    let wanted = r#"<d:propfind xmlns:d="DAV:"><d:prop><colour xmlns="urn:p"/><favorite xmlns="http://owncloud.org/ns"/><x xmlns="urn:p"/></d:prop></d:propfind>"#;
    let found = dav.ask("PROPFIND", "/a.txt").header("depth", "0").body(wanted).expect(207).await.text();
    assert!(found.contains(r#"<colour xmlns="urn:p" xmlns:a0="urn:p" a0:shade="1">blue &amp; <b xmlns="">b</b></colour>"#), "{found}");
    assert!(found.contains(r#"<favorite xmlns="http://owncloud.org/ns">1</favorite>"#), "{found}");
    assert!(found.contains(r#"<x xmlns="urn:p"/></d:prop><d:status>HTTP/1.1 404 Not Found"#), "{found}");
    assert_eq!(dav.ask("HEAD", "/a.txt").expect(200).await.header("etag"), Some(etag.as_str()), "dead properties change no etag");
    let all = dav.ask("PROPFIND", "/a.txt").header("depth", "0").expect(207).await.text();
    assert!(all.contains("Win32FileAttributes") && all.contains("colour"));
    let names =
        dav.ask("PROPFIND", "/").header("depth", "1").body(r#"<propfind xmlns="DAV:"><propname/></propfind>"#).expect(207).await.text();
    assert!(names.contains(r#"<colour xmlns="urn:p"/>"#) && names.contains("<d:getetag/>"), "{names}");
    let time = r#"<d:propertyupdate xmlns:d="DAV:"><d:set><d:prop><d:lastmodified>1600000000</d:lastmodified></d:prop></d:set></d:propertyupdate>"#;
    dav.ask("PROPPATCH", "/a.txt").body(time).expect(207).await;
    let head = dav.ask("HEAD", "/a.txt").expect(200).await;
    assert_eq!(head.header("last-modified"), Some("Sun, 13 Sep 2020 12:26:40 GMT"));
    dav.ask("PROPPATCH", "/none").body(time).expect(404).await;
}

#[tokio::test]
async fn extended_mkcol_makes_all_or_nothing() {
    let dav = Dav::start().await;
    let body = |prop: &str| {
        format!(
            r#"<d:mkcol xmlns:d="DAV:"><d:set><d:prop><d:resourcetype><d:collection/></d:resourcetype>{prop}</d:prop></d:set></d:mkcol>"#
        )
    };
    let mkcol = |path, body: String| dav.ask("MKCOL", path).header("content-type", "application/xml").body(body);
    mkcol("/a", body("<c xmlns=\"urn:c\">1</c>")).expect(201).await;
    let found = dav.ask("PROPFIND", "/a").header("depth", "0").expect(207).await.text();
    assert!(found.contains("<c xmlns=\"urn:c\">1</c>"), "{found}");
    let refused = mkcol("/b", body("<d:getetag>1</d:getetag>")).send().await;
    assert_eq!(refused.status, 403);
    dav.ask("HEAD", "/b").expect(404).await;
    let calendar = r#"<d:mkcol xmlns:d="DAV:"><d:set><d:prop><d:resourcetype><d:collection/><c xmlns="urn:c"/></d:resourcetype></d:prop></d:set></d:mkcol>"#;
    let answer = mkcol("/b", calendar.to_owned()).expect(403).await;
    assert!(answer.text().contains("<d:valid-resourcetype/>"));
    dav.ask("MKCOL", "/b").header("content-type", "text/plain").body("x").expect(415).await;
}

#[tokio::test]
async fn reports_that_are_not_offered_say_so() {
    let dav = Dav::start().await;
    let body = r#"<d:expand-property xmlns:d="DAV:"/>"#;
    let answer = dav.ask("REPORT", "/").body(body).expect(403).await;
    assert!(answer.text().contains("<d:supported-report/>"));
    dav.ask("BREW", "/").expect(501).await;
    dav.ask("POST", "/").expect(405).await;
}
