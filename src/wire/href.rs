//! Paths of URLs as they stand in `href`, `Destination` and tagged lists of `If`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stays as it is in one segment. `+` is encoded, because ownCloud decodes it to a blank (`protocol/owncloud.md` 1.9).
const SEGMENT_KEEPS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Appends one name percent-encoded.
pub fn push_segment(out: &mut String, name: &str) {
    out.extend(utf8_percent_encode(name, SEGMENT_KEEPS));
}

/// The pieces of one name percent-encoded, in order; none of them needs escaping in XML.
pub fn segment_pieces(name: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(name, SEGMENT_KEEPS)
}

/// A reference to a resource: where, and its path as it was spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'text> {
    /// `host[:port]` of an absolute URL, without user info; none for a mere path.
    pub authority: Option<&'text str>,
    /// Scheme of an absolute URL.
    pub scheme: Option<&'text str>,
    /// The path, still encoded; begins with a slash.
    pub path: &'text str,
}

/// Reads an absolute `http` or `https` URL or an absolute path (RFC 4918 8.3). Queries, fragments, other schemes, relative paths and
/// `//host/path` are nothing that we could serve.
pub fn parse(text: &str) -> Option<Reference<'_>> {
    let text = text.trim();
    if text.contains(['?', '#']) || text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return None;
    }
    if text.starts_with('/') {
        return (!text.starts_with("//")).then_some(Reference { authority: None, scheme: None, path: text });
    }
    let (scheme, rest) = text.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at_checked(at)?,
        None => (rest, "/"),
    };
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (!authority.is_empty()).then_some(Reference { authority: Some(authority), scheme: Some(scheme), path })
}

/// Whether two authorities name the same host and port; the default ports of http and https may be left out.
pub fn same_authority(one: &str, other: &str) -> bool {
    fn bare(authority: &str) -> &str {
        authority.strip_suffix(":80").or_else(|| authority.strip_suffix(":443")).unwrap_or(authority).trim_end_matches('.')
    }
    bare(one).eq_ignore_ascii_case(bare(other))
}

/// What is left of an encoded path below an encoded prefix, compared segment by segment after decoding, so that `%7E` and `~` are the
/// same and `share2` does not lie in `share`. The rest keeps its spelling and is empty or begins with a slash.
pub fn strip_prefix<'path>(path: &'path str, prefix: &str) -> Option<&'path str> {
    let mut rest = path;
    for wanted in prefix.split('/').filter(|segment| !segment.is_empty()) {
        let below = rest.strip_prefix('/')?;
        let end = below.find('/').unwrap_or(below.len());
        let (segment, tail) = below.split_at_checked(end)?;
        if segment != wanted && !percent_decode_str(segment).eq(percent_decode_str(wanted)) {
            return None;
        }
        rest = tail;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d2_destinations_are_absolute_or_paths() {
        let at = |text| parse(text).map(|reference| (reference.authority, reference.path));
        assert_eq!(at("/a/b"), Some((None, "/a/b")));
        assert_eq!(at("http://h:8080/a"), Some((Some("h:8080"), "/a")));
        assert_eq!(at("HTTPS://u:p@h"), Some((Some("h"), "/")));
        for text in ["", "a/b", "//h/a", "ftp://h/a", "http:///a", "/a?b", "/a#b", "/a b", "http://h/a\nb"] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn l6_prefixes_end_at_segments() {
        assert_eq!(strip_prefix("/dav/files/a%40b/x%20y/", "/dav/files/a@b"), Some("/x%20y/"));
        assert_eq!(strip_prefix("/dav/files/al%69ce", "/dav/files/alice"), Some(""));
        assert_eq!(strip_prefix("/dav/files/alice2/x", "/dav/files/alice"), None);
        assert_eq!(strip_prefix("/dav/files%2Falice/x", "/dav/files/alice"), None);
        assert_eq!(strip_prefix("//x", ""), Some("//x"));
    }

    #[test]
    fn default_ports_may_be_left_out() {
        assert!(same_authority("Example.org:443", "example.org"));
        assert!(!same_authority("example.org:8443", "example.org"));
    }
}
