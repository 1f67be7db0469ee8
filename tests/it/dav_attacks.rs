//! Hostile requests against the protocol: traversal, XML, `If`, ranges, panics (attacks D1, D3, D6, D7, D8, D12).

use crate::support::dav_only::Dav;

const METHODS: [&str; 12] = ["OPTIONS", "GET", "HEAD", "PUT", "DELETE", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK"];

#[tokio::test]
async fn d1_no_spelling_leads_out_of_the_tree() {
    let dav = Dav::start().await;
    dav.mkcol("/public").await;
    dav.put_new("/secret", "kept").await;
    for path in [
        "/public/../secret",
        "/public/%2e%2e/secret",
        "/public/.%2E/secret",
        "/%2e%2e%2fsecret",
        "/..",
        "/../../etc/passwd",
        "/public/..%2f..%2fsecret",
        "/public/%00",
        "/public/secret%00.txt",
        "/.",
        "/./secret",
        "/%2e/secret",
        "/public//secret",
        "/%ff%fe",
        "/%c0%ae%c0%ae/secret",
    ] {
        for method in METHODS.into_iter().filter(|method| *method != "OPTIONS") {
            let answer = dav.ask(method, path).to("/x").send().await;
            assert_eq!(answer.status, 400, "{method} {path}");
        }
    }
    let long = format!("/{}", "n".repeat(300));
    dav.ask("PUT", &long).body("x").expect(414).await;
    dav.ask("GET", &"/a".repeat(400)).expect(414).await;
    assert_eq!(dav.content("/secret").await.as_deref(), Some("kept"));
}

#[tokio::test]
async fn d3_hostile_xml_is_refused_everywhere() {
    let dav = Dav::start().await;
    dav.put_new("/a", "1").await;
    let nested = ["<a>".repeat(2500), "</a>".repeat(2500)].concat();
    let laughs = r#"<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><d:propfind xmlns:d="DAV:"><d:prop>&b;</d:prop></d:propfind>"#;
    let external = r#"<!DOCTYPE x SYSTEM "file:///etc/passwd"><d:propfind xmlns:d="DAV:"><d:allprop/></d:propfind>"#;
    let bodies: Vec<(Vec<u8>, &[u16])> = vec![
        (nested.into_bytes(), &[413]),
        (laughs.into(), &[400]),
        (external.into(), &[400]),
        (b"<d:propfind xmlns:d=\"DAV:\"><d:prop>".to_vec(), &[400]),
        (b"<d:propfind xmlns:d=\"DAV:\"><d:prop>\xff\xfe</d:prop></d:propfind>".to_vec(), &[400]),
        (b"<d:propfind><d:allprop/></d:propfind>".to_vec(), &[400]),
        (vec![b'<'; 300 * 1024], &[413]),
        (format!("<d:propfind xmlns:d=\"DAV:\"><d:prop>{}</d:prop></d:propfind>", "<d:a/>".repeat(30_000)).into_bytes(), &[413]),
        (b"\0\0\0\0".to_vec(), &[400]),
    ];
    for (body, expected) in bodies {
        for method in ["PROPFIND", "PROPPATCH", "LOCK", "REPORT", "MKCOL"] {
            let path = if method == "MKCOL" { "/new" } else { "/a" };
            let answer = dav.ask(method, path).header("content-type", "application/xml").body(&body).send().await;
            // What is no propfind is refused as such by the others, however long it is.
            let fits = expected.contains(&answer.status) || (method != "PROPFIND" && [400, 403, 413, 415].contains(&answer.status));
            assert!(fits, "{method}: {} for {} bytes", answer.status, body.len());
        }
    }
    dav.ask("HEAD", "/new").expect(404).await;
}

#[tokio::test]
async fn d3_what_is_stored_is_escaped_when_it_is_shown() {
    let dav = Dav::start().await;
    dav.put_new("/%3Cd%3Ahref%3E%26.txt", "1").await;
    let body = r#"<d:propertyupdate xmlns:d="DAV:"><d:set><d:prop><x xmlns="urn:&quot;&gt;&lt;evil/>" y="&quot;&gt;">]]&gt;&lt;/d:prop&gt;</x></d:prop></d:set></d:propertyupdate>"#;
    dav.ask("PROPPATCH", "/%3Cd%3Ahref%3E%26.txt").body(body).expect(207).await;
    // The check of every answer parses it.
    let text = dav.ask("PROPFIND", "/").header("depth", "1").expect(207).await.text();
    assert!(text.contains("<d:displayname>&lt;d:href&gt;&amp;.txt</d:displayname>") && !text.contains("<evil"), "{text}");
}

#[tokio::test]
async fn d6_hostile_if_headers_are_refused() {
    let dav = Dav::start().await;
    dav.put_new("/a", "1").await;
    let long = "(<urn:x>)".repeat(8000);
    let many = (0..100).map(|number| format!("</remote.php/webdav/{number}> (<urn:x>)")).collect::<Vec<_>>().join(" ");
    for value in ["(<abc", "(", ")", "<", "(<a>", "([\"", "(Not)", &long, "<http://[> (<x>)x", &"(".repeat(60_000), &many] {
        for method in ["PUT", "DELETE", "MOVE", "COPY", "PROPPATCH", "LOCK", "MKCOL", "UNLOCK"] {
            let path = if method == "MKCOL" { "/new" } else { "/a" };
            let body = if method == "PROPPATCH" { r#"<d:propertyupdate xmlns:d="DAV:"/>"# } else { "" };
            let ask = dav.ask(method, path).to("/x").header("lock-token", "<urn:y>").header("if", value).body(body);
            assert_eq!(ask.send().await.status, 400, "{method} {}", value.get(..20).unwrap_or(value));
        }
    }
    // A list about a resource elsewhere holds for nothing; negated it does not hold either.
    for value in ["<http://elsewhere.example/a> (<urn:x>)", "<http://elsewhere.example/a> ([\"x\"])"] {
        dav.ask("PUT", "/a").header("if", value).body("2").expect(412).await;
    }
    dav.ask("PUT", "/a").header("if-match", "\"y\",".repeat(10_000)).body("2").expect(412).await;
    assert_eq!(dav.content("/a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn d7_ranges_are_bounded() {
    let dav = Dav::start().await;
    let content: String = (0..100_000).map(|number| char::from(b'a' + u8::try_from(number % 26).unwrap())).collect();
    dav.put_new("/big", &content).await;
    dav.put_new("/empty", "").await;
    let get = |range: &str| dav.ask("GET", "/big").header("range", range);
    for (range, from, to) in
        [("bytes=0-0", 0, 1), ("bytes=99999-", 99_999, 100_000), ("bytes=-5", 99_995, 100_000), ("bytes=70000-70009", 70_000, 70_010)]
    {
        let part = get(range).expect(206).await;
        assert_eq!(part.text(), content.get(from..to).unwrap());
        assert_eq!(part.header("content-range").unwrap(), format!("bytes {from}-{}/100000", to - 1));
        assert_eq!(part.header("content-length").unwrap(), (to - from).to_string());
    }
    let overlapping = ["bytes=", &"0-,".repeat(999), "0-"].concat();
    assert_eq!(get(&overlapping).expect(200).await.body.len(), 100_000);
    let joined = get("bytes=0-50000,10000-60000,5-6").expect(206).await;
    assert_eq!(joined.header("content-range"), Some("bytes 0-60000/100000"));
    for range in ["bytes=100000-", "bytes=-0", "bytes=18446744073709551616-"] {
        assert_eq!(get(range).expect(416).await.header("content-range"), Some("bytes */100000"));
    }
    for range in ["bytes=5-3", "bytes=x", "lines=1-2", "bytes=--1"] {
        get(range).expect(200).await;
    }
    for range in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
        dav.ask("GET", "/empty").header("range", range).expect(416).await;
    }
    dav.ask("GET", "/empty").expect(200).await;
}

#[tokio::test]
async fn d7_several_parts_are_framed_by_an_unguessable_boundary() {
    let dav = Dav::start().await;
    let content = "0123456789".repeat(10_000);
    dav.put_new("/big", &content).await;
    let mut boundaries = Vec::new();
    for _ in 0..2 {
        let answer = dav.ask("GET", "/big").header("range", "bytes=0-4,99990-,50000-50001").expect(206).await;
        let boundary = answer.header("content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap().to_owned();
        let expected = [(0, 5), (99_990, 100_000), (50_000, 50_002)]
            .map(|(from, to)| {
                let range = format!("Content-Range: bytes {from}-{}/100000", to - 1);
                format!("\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n{range}\r\n\r\n{}", content.get(from..to).unwrap())
            })
            .concat();
        assert_eq!(answer.text(), format!("{expected}\r\n--{boundary}--\r\n"));
        assert_eq!(answer.header("content-length").unwrap(), answer.body.len().to_string());
        boundaries.push(boundary);
    }
    assert_ne!(boundaries[0], boundaries[1]);
}

#[tokio::test]
async fn d8_announced_lengths_do_not_lie() {
    let dav = Dav::start().await;
    for name in ["oc-total-length", "x-expected-entity-length"] {
        dav.ask("PUT", "/a").header(name, "1").body("longer").expect(201).await;
        dav.ask("DELETE", "/a").expect(204).await;
    }
    dav.ask("PUT", "/a").header("content-range", "bytes 9000000000-9000000005/*").body("sparse").expect(400).await;
    dav.ask("HEAD", "/a").expect(404).await;
}

const PATHS: &[&str] =
    &["", "/", "//", "///", "/d", "/d/", "/d//", "/d/a", "/d/a/", "/%", "/%zz", "/%e9", "/\u{e9}", "/none", "/d/a/b", "/?x", "/d?a=/../"];
const VALUES: &[&str] =
    &["", " ", "0", "infinity", "-1", "99999999999999999999", "\"", "W/\"", "<", "(", "/", "//", "*", "bytes=", "bytes=-", "T", "é", "%"];
const HEADERS: &str = "depth destination overwrite if if-match if-none-match if-modified-since if-range range timeout lock-token x-oc-mtime \
    oc-checksum oc-total-length prefer accept-encoding content-type content-range host";

#[tokio::test]
async fn d12_no_request_panics() {
    let dav = Dav::start().await;
    dav.mkcol("/d").await;
    dav.put_new("/d/a", "1").await;
    for method in METHODS.into_iter().chain(["REPORT", "PATCH", "X"]) {
        for path in PATHS {
            let answer = dav.ask(method, path).send().await;
            assert!(answer.status < 500 || [501, 502].contains(&answer.status), "{method} {path}: {}", answer.status);
        }
        for header in HEADERS.split_ascii_whitespace() {
            for value in VALUES {
                let answer = dav.ask(method, "/d/a").header(header, value).body("x").send().await;
                assert!(answer.status < 500 || [501, 502].contains(&answer.status), "{method} {header}: {value}: {}", answer.status);
            }
        }
        dav.ask("MKCOL", "/d").send().await;
        dav.ask("PUT", "/d/a").body("1").send().await;
    }
}
