use super::*;

#[track_caller]
fn round_trip(source: &str, expected: &str) {
    let element = parse(source.as_bytes()).unwrap();
    assert_eq!(element.to_xml(), expected);
    assert_eq!(parse(expected.as_bytes()).unwrap(), element, "what was written means the same");
}

#[track_caller]
fn refused(source: &str, expected: InvalidXml) {
    assert_eq!(parse(source.as_bytes()), Err(expected), "{}", source.get(..60).unwrap_or(source));
}

#[test]
fn elements_keep_namespaces_attributes_and_text() {
    round_trip("<a/>", "<a xmlns=\"\"/>");
    round_trip(r#"<x:a xmlns:x="urn:1"><x:b/><c/></x:a>"#, r#"<a xmlns="urn:1"><b/><c xmlns=""/></a>"#);
    round_trip(
        r#"<a xmlns="urn:&amp;">1 &lt; 2 &amp; &#x41;&#66;<![CDATA[<c>]]></a>"#,
        r#"<a xmlns="urn:&amp;">1 &lt; 2 &amp; AB&lt;c&gt;</a>"#,
    );
    round_trip(
        r#"<a xmlns:p="urn:p" p:q="1" r="&quot;" xml:lang="de"/>"#,
        r#"<a xmlns="" xmlns:a0="urn:p" a0:q="1" r="&quot;" xml:lang="de"/>"#,
    );
    round_trip("<é><文 x='&#10;'/></é>", "<é xmlns=\"\"><文 x=\"&#10;\"/></é>");
}

#[test]
fn stray_text_and_comments_are_passed_over() {
    let body = r#"<?xml version="1.0"?><!-- hi --><d:propfind xmlns:d="DAV:"><d:prop><d:getetag/></d:prop>M</d:propfind>"#;
    let root = parse(body.as_bytes()).unwrap();
    assert!(root.is_dav("propfind"));
    assert_eq!(root.elements().count(), 1);
}

#[test]
fn d3_malformed_xml_is_refused() {
    for source in [
        "",
        "   ",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a><b></a></b>",
        "text",
        "<a/>text",
        "<x:a/>",
        r#"<a><x:b xmlns:x=""/></a>"#,
        "<a>&#0;</a>",
        "<a>&#x1;</a>",
        "<a b=1/>",
        "<a b='1' b='2'/>",
        "<a&b/>",
        "<1a/>",
        "<a\"b/>",
        "<a b='&bogus;'/>",
    ] {
        refused(source, InvalidXml::Malformed);
    }
    assert_eq!(parse(b"<a>\xff</a>"), Err(InvalidXml::Malformed));
}

#[test]
fn d3_entities_and_document_types_are_refused() {
    refused(r#"<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>"#, InvalidXml::DocumentType);
    refused(r#"<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>"#, InvalidXml::DocumentType);
    refused("<a>&b;</a>", InvalidXml::DocumentType);
}

#[test]
fn d3_depth_and_size_are_bounded() {
    let nested = |depth: usize| ["<a>".repeat(depth), "</a>".repeat(depth)].concat();
    assert!(parse(nested(XML_DEPTH_MAX).as_bytes()).is_ok());
    refused(&nested(XML_DEPTH_MAX + 1), InvalidXml::TooLarge);
    refused(&nested(20_000), InvalidXml::TooLarge);
    refused(&["<a>", &"x".repeat(XML_BODY_BYTES_MAX), "</a>"].concat(), InvalidXml::TooLarge);
    let attributes: String = (0..300).map(|number| format!(" a{number}=''")).collect();
    refused(&format!("<a{attributes}/>"), InvalidXml::TooLarge);
}

proptest::proptest! {
    #[test]
    fn d3_what_is_read_is_written_and_read_again(text in "(<[a-c]( [a-c]='[^<&'\u{0}-\u{1f}]{0,4}')?>|</[a-c]>|<[a-c]:[a-c] xmlns:[a-c]='u'/>|&amp;|&#x4[0-9];|[x-z<>&\"]){0,12}") {
        if let Ok(element) = parse(text.as_bytes()) {
            assert_eq!(parse(element.to_xml().as_bytes()), Ok(element));
        }
    }

    #[test]
    fn d3_any_text_can_be_written(text in "\\PC*|.*") {
        let element = Element { name: PropertyName { namespace: text.clone().into(), local: "a".into() }, attributes: Vec::new(), content: vec![Content::Text(text)] };
        assert!(parse(element.to_xml().as_bytes()).is_ok());
    }
}
