use super::*;

async fn parse(text: &str, bounds: Bounds) -> Result<Vec<Response>, Error> {
    let mut found = Vec::new();
    read(text.as_bytes(), bounds, |response| found.push(response)).await?;
    Ok(found)
}

async fn refused(text: &str, bounds: Bounds) -> String {
    parse(text, bounds).await.expect_err("it is refused").to_string()
}

const OWNCLOUD: &str = r#"<?xml version="1.0"?>
<d:multistatus xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns" xmlns:oc="http://owncloud.org/ns">
 <d:response><d:href>/public.php/webdav/</d:href><d:propstat><d:prop>
  <d:resourcetype><d:collection/></d:resourcetype><d:getetag>&quot;6b024bb5af845&quot;</d:getetag>
  <d:quota-available-bytes>-3</d:quota-available-bytes><oc:permissions>RDNVCK</oc:permissions><oc:id>00000005ociclky0xdc1</oc:id>
 </d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>
 <d:propstat><d:prop><d:getcontentlength/><oc:size>7</oc:size></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>
 <d:response><d:href>/public.php/webdav/a&amp;b%20c.txt</d:href><d:propstat><d:prop>
  <d:resourcetype/><d:getcontentlength>12</d:getcontentlength><d:getlastmodified>Sun, 22 Nov 2026 01:48:05 GMT</d:getlastmodified>
  <oc:checksums><oc:checksum>SHA1:abc MD5:def</oc:checksum></oc:checksums><x:colour xmlns:x="urn:x" a="1"><x:b>re<![CDATA[<d]]></x:b></x:colour>
 </d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>
</d:multistatus>"#;

#[tokio::test]
async fn an_owncloud_listing_is_read() {
    let found = parse(OWNCLOUD, Bounds { keep_other: true, ..Bounds::default() }).await.unwrap();
    let [root, file] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(root.href, "/public.php/webdav/");
    assert_eq!(root.properties.collection, Some(true));
    assert_eq!(root.properties.etag.as_deref(), Some("\"6b024bb5af845\""));
    assert_eq!((root.properties.size, root.properties.quota_available, root.failed), (None, Some(-3), Some(404)));
    assert_eq!(file.href, "/public.php/webdav/a&b%20c.txt");
    assert_eq!((file.properties.collection, file.properties.length), (Some(false), Some(12)));
    assert_eq!(file.properties.modified, Some(1_795_312_085));
    assert_eq!(file.properties.checksums.as_deref(), Some("SHA1:abc MD5:def"));
    let (name, xml) = &file.properties.other[0];
    assert_eq!((&*name.namespace, &*name.local), ("urn:x", "colour"));
    assert_eq!(&**xml, r#"<colour xmlns="urn:x" a="1"><b xmlns="urn:x">re&lt;d</b></colour>"#);
}

#[tokio::test]
async fn f11_what_is_no_listing_is_refused() {
    let all = Bounds::default();
    assert!(refused("<html><body>Log in</body></html>", all).await.contains("no multistatus"));
    assert!(refused("", all).await.contains("too early"));
    assert!(refused(r#"<d:multistatus xmlns:d="DAV:"><d:response>"#, all).await.contains("not a WebDAV"));
    assert!(refused(r#"<d:multistatus xmlns:d="DAV:"></d:other>"#, all).await.contains("well-formed"));
    assert!(
        refused(r#"<!DOCTYPE a [<!ENTITY b "c">]><d:multistatus xmlns:d="DAV:">&b;</d:multistatus>"#, all).await.contains("document type")
    );
    assert!(refused(r#"<d:multistatus xmlns:d="DAV:">&b;</d:multistatus>"#, all).await.contains("entity"));
}

#[tokio::test]
async fn f11_every_direction_is_bounded() {
    let open = r#"<d:multistatus xmlns:d="DAV:">"#;
    let small = Bounds { bytes: 10_000, event_bytes: 1_000, entries: 10, ..Bounds::default() };
    let endless = format!("{open}<d:response><d:href>/{}", "a".repeat(5_000));
    assert!(refused(&endless, small).await.contains("too many bytes"));
    let many = format!("{open}{}", "<d:response/>".repeat(11));
    assert!(refused(&many, small).await.contains("too many entries"));
    let long = format!("{open}{}", "<x/>".repeat(5_000));
    assert!(refused(&long, small).await.contains("too many bytes"));
    let deep = format!("{open}{}", "<x>".repeat(100));
    assert!(refused(&deep, small).await.contains("too deep"));
}

#[tokio::test]
async fn f11_lengths_that_are_none_are_told() {
    for length in ["-1", "9223372036854775808", "twelve"] {
        let text = OWNCLOUD.replace(">12<", &format!(">{length}<"));
        let found = parse(&text, Bounds::default()).await.unwrap();
        assert!(found[1].properties.bad_length && found[1].properties.length.is_none(), "{length}");
    }
}
