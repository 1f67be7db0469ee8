//! The grammar of `If` (RFC 4918 10.4.2), within bounds.

use crate::limits::{IF_CONDITIONS_MAX, IF_HEADER_BYTES_MAX, IF_LISTS_MAX};

/// One list of conditions; all of them must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StateList<'text> {
    /// The resource that the list is about; none is the request's.
    pub(super) resource: Option<&'text str>,
    pub(super) conditions: Vec<State<'text>>,
}

/// One condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State<'text> {
    /// It must not hold.
    pub(super) negated: bool,
    pub(super) kind: StateKind<'text>,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateKind<'text> {
    /// A lock token or another state token.
    Token(&'text str),
    /// An etag without its quotes.
    Etag { weak: bool, tag: &'text str },
}

/// The text is not what RFC 4918 10.4.2 says, or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidIf;

/// Reads the header: any number of lists, each after the resource in angle brackets that it is about, or all of them untagged.
pub(super) fn parse(text: &str) -> Result<Vec<StateList<'_>>, InvalidIf> {
    if text.len() > IF_HEADER_BYTES_MAX {
        return Err(InvalidIf);
    }
    let mut lists = Vec::new();
    let mut resource = None;
    // A tag must be followed by a list.
    let mut dangling = false;
    let mut conditions = 0;
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        match first {
            '<' => {
                if dangling || (resource.is_none() && !lists.is_empty()) {
                    return Err(InvalidIf);
                }
                let (tag, after) = bracketed(rest)?;
                (resource, rest, dangling) = (Some(tag), after, true);
            }
            '(' => {
                let (list, after) = list(rest, resource)?;
                conditions += list.conditions.len();
                lists.push(list);
                if lists.len() > IF_LISTS_MAX || conditions > IF_CONDITIONS_MAX {
                    return Err(InvalidIf);
                }
                (rest, dangling) = (after, false);
            }
            _ => return Err(InvalidIf),
        }
        rest = rest.trim_start();
    }
    if dangling || lists.is_empty() { Err(InvalidIf) } else { Ok(lists) }
}

/// `<text>` and what follows.
fn bracketed(text: &str) -> Result<(&str, &str), InvalidIf> {
    let (inner, rest) = text.strip_prefix('<').and_then(|text| text.split_once('>')).ok_or(InvalidIf)?;
    let fits = !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'<');
    if fits { Ok((inner, rest)) } else { Err(InvalidIf) }
}

fn list<'text>(text: &'text str, resource: Option<&'text str>) -> Result<(StateList<'text>, &'text str), InvalidIf> {
    let mut rest = text.strip_prefix('(').ok_or(InvalidIf)?.trim_start();
    let mut conditions = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(')') {
            return if conditions.is_empty() { Err(InvalidIf) } else { Ok((StateList { resource, conditions }, after)) };
        }
        let negated = rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("not"));
        if negated {
            rest = rest.get(3..).unwrap_or_default().trim_start();
        }
        let kind;
        (kind, rest) = if rest.starts_with('<') {
            let (token, after) = bracketed(rest)?;
            (StateKind::Token(token), after)
        } else {
            etag(rest.strip_prefix('[').ok_or(InvalidIf)?)?
        };
        conditions.push(State { negated, kind });
        rest = rest.trim_start();
    }
}

/// `"tag"]` or `W/"tag"]`, after the bracket; unquoted ones are taken too, because clients send them.
fn etag(text: &str) -> Result<(StateKind<'_>, &str), InvalidIf> {
    let (weak, text) = text.strip_prefix("W/").map_or((false, text), |text| (true, text));
    let (tag, rest) = match text.strip_prefix('"') {
        Some(quoted) => {
            let (tag, rest) = quoted.split_once('"').ok_or(InvalidIf)?;
            (tag, rest.strip_prefix(']').ok_or(InvalidIf)?)
        }
        None => text.split_once(']').ok_or(InvalidIf)?,
    };
    Ok((StateKind::Etag { weak, tag }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(token: &str) -> State<'_> {
        State { negated: false, kind: StateKind::Token(token) }
    }

    #[test]
    fn lists_are_read() {
        let untagged = |conditions| StateList { resource: None, conditions };
        assert_eq!(parse("(<urn:a>)"), Ok(vec![untagged(vec![token("urn:a")])]));
        assert_eq!(
            parse("( <urn:a> [\"e\"])(Not <DAV:no-lock> [W/\"f\"])"),
            Ok(vec![
                untagged(vec![token("urn:a"), State { negated: false, kind: StateKind::Etag { weak: false, tag: "e" } }]),
                untagged(vec![
                    State { negated: true, kind: StateKind::Token("DAV:no-lock") },
                    State { negated: false, kind: StateKind::Etag { weak: true, tag: "f" } }
                ]),
            ])
        );
        let tagged = parse("<http://h/a> (<urn:a>) (<urn:b>) <http://h/b> ([\"x y\"])").unwrap();
        assert_eq!(
            tagged.iter().map(|list| list.resource).collect::<Vec<_>>(),
            [Some("http://h/a"), Some("http://h/a"), Some("http://h/b")]
        );
    }

    #[test]
    fn d6_malformed_headers_are_refused() {
        for text in [
            "",
            "()",
            "(",
            "(<abc",
            "(<abc>",
            "<a>",
            "<a> <b> (<c>)",
            "(<a>) <b> (<c>)",
            "x",
            "(x)",
            "([\"a)",
            "([\"a\")",
            "(<>)",
            "((<a>))",
            "(Not)",
            "(<a b>)",
            "[\"a\"]",
            "(Not Not <a>)",
        ] {
            assert_eq!(parse(text), Err(InvalidIf), "{text}");
        }
    }

    #[test]
    fn d6_headers_are_bounded() {
        assert!(parse(&"(<a>)".repeat(IF_LISTS_MAX)).is_ok());
        assert_eq!(parse(&"(<a>)".repeat(IF_LISTS_MAX + 1)), Err(InvalidIf));
        assert_eq!(parse(&["(", &"<a>".repeat(5000), ")"].concat()), Err(InvalidIf));
        assert_eq!(parse(&"(".repeat(64 * 1024)), Err(InvalidIf));
    }

    proptest::proptest! {
        #[test]
        fn d6_no_text_panics(text in "[(<\\[\\])>\"a-c NotW/ ]{0,60}") {
            if let Ok(lists) = parse(&text) {
                assert!(lists.iter().all(|list| !list.conditions.is_empty()));
            }
        }
    }
}
