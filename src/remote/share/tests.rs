use futures_util::StreamExt;

use super::*;

#[track_caller]
fn check(request: &str, href: &str, expected: Option<&str>) {
    let place = Place::of(&Url::parse(request).unwrap()).unwrap();
    let located = place.locate(href).map(|located| match located {
        Located::Own => String::new(),
        Located::Member(name) => name.to_string(),
    });
    assert_eq!(located.as_deref(), expected, "{href}");
}

#[test]
fn f11_hrefs_outside_and_hostile_names_are_left_out() {
    let root = "https://a.example/public.php/webdav/my%20docs/";
    check(root, "/public.php/webdav/my%20docs/", Some(""));
    check(root, "/public.php/webdav/my docs", Some(""));
    check(root, "/public.php/webdav/my%20docs/a%2Bb+c.txt", Some("a+b+c.txt"));
    check(root, "/public.php/webdav/my%20docs/sub/", Some("sub"));
    check(root, "http://A.example:80/public.php/webdav/my%20docs/x", Some("x"));
    check(root, "https://b.example/public.php/webdav/my%20docs/x", None);
    check(root, "//b.example/public.php/webdav/my%20docs/x", None);
    check(root, "/public.php/webdav/", None);
    check(root, "/public.php/webdav/my%20docs2/x", None);
    check(root, "/public.php/webdav/my%20docs/sub/deeper", None);
    check(root, "/public.php/webdav/my%20docs/../secret", None);
    check(root, "/public.php/webdav/my%20docs/%2e%2e", None);
    check(root, "https://a.example/public.php/webdav/my%20docs/..", None);
    check(root, "/public.php/webdav/my%20docs/a%2Fb", None);
    check(root, "/public.php/webdav/my%20docs/a%00b", None);
    check(root, "/public.php/webdav/my%20docs/%ff", None);
    check(root, &format!("/public.php/webdav/my%20docs/{}", "a".repeat(300)), None);
    check(root, "", None);
    check("https://a.example/", "/", Some(""));
    check("https://a.example/", "/x", Some("x"));
}

#[test]
fn etags_are_compared_without_their_wrapping() {
    assert!(!etags_differ("\"abc\"", "W/\"abc-gzip\""));
    assert!(etags_differ("\"abc\"", "\"abd\""));
}

#[test]
fn content_ranges_are_read() {
    assert_eq!(content_range("bytes 5-9/20"), Some((5, 9, Some(20))));
    assert_eq!(content_range("bytes 5-9/*"), Some((5, 9, None)));
    assert_eq!(content_range("bytes 5-9/-1"), None);
}

async fn exact(pieces: &[&'static str], skip: u64, left: u64, after: u64) -> Result<String, io::ErrorKind> {
    let pieces: Vec<io::Result<Bytes>> = pieces.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect();
    let mut stream = Exact { inner: Box::pin(futures_util::stream::iter(pieces)), skip, left, after };
    let mut out = String::new();
    while let Some(piece) = stream.next().await {
        out.push_str(std::str::from_utf8(&piece.map_err(|error| error.kind())?).unwrap());
    }
    Ok(out)
}

#[tokio::test]
async fn f11_a_body_has_exactly_the_bytes_that_were_asked_for() {
    assert_eq!(exact(&["abc", "def"], 0, 6, 0).await, Ok("abcdef".to_owned()));
    assert_eq!(exact(&["abc", "def"], 2, 3, 1).await, Ok("cde".to_owned()));
    assert_eq!(exact(&["abc"], 0, 6, 0).await, Err(io::ErrorKind::UnexpectedEof));
    assert_eq!(exact(&["abc", "defg"], 0, 6, 0).await, Err(io::ErrorKind::InvalidData));
}
