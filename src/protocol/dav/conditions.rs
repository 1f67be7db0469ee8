//! Conditions of requests: RFC 9110 13 and RFC 4918 10.4, for every method alike.

use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, Method};

use crate::domain::{Error, Etag, Expect, Lock, LockToken, Node, TreePath, Write};
use crate::limits::IF_RESOURCES_MAX;
use crate::protocol::dav::if_header::{self, StateKind, StateList};
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::request::Call;
use crate::wire::date;

/// What the conditions of a request came to.
#[derive(Debug)]
pub(super) struct Judged {
    /// What must still hold when the write happens.
    pub(super) expect: Expect,
    /// Lock tokens that were submitted and are not somebody else's.
    pub(super) tokens: Vec<LockToken>,
    /// What was judged of other resources that an `If` list named.
    seen: Vec<(TreePath, Option<Etag>)>,
}

impl Judged {
    /// The conditions of a write to the request's own resource.
    pub(super) fn write(self) -> Write {
        Write { expect: self.expect, tokens: self.tokens }
    }

    /// The conditions of a write to another resource, such as a Destination.
    pub(super) fn write_to(&self, path: &TreePath) -> Write {
        let seen = self.seen.iter().find(|(seen, _)| seen == path);
        let expect = seen.map_or(Expect::Anything, |(_, etag)| Expect::Unchanged(etag.clone()));
        Write { expect, tokens: self.tokens.clone() }
    }
}

/// Judges `If`, `If-Match`, `If-None-Match` and `If-Unmodified-Since` of a request that changes something. What is there is looked up only
/// if a condition asks; what it was judged against must still be there when the write happens.
pub(super) async fn judge(call: &Call) -> Result<Judged> {
    let mut judged = Judged { expect: Expect::Anything, tokens: Vec::new(), seen: Vec::new() };
    judge_if(call, &mut judged).await?;
    let headers = &call.headers;
    // `If-None-Match: *` is left to the moment of the write, which knows an empty file that LOCK made from one that was there before
    // (RFC 4918 9.10.4; davfs2 locks a free name and then sends PUT with this header).
    let absent = call.method == Method::PUT && headers.get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == b"*");
    let others = [IF_MATCH, IF_UNMODIFIED_SINCE].iter().any(|name| headers.contains_key(name));
    if others || (headers.contains_key(IF_NONE_MATCH) && !absent) {
        let node = stat(call, &call.path).await?;
        if preconditions(headers, node.as_ref(), !absent) == Outcome::Failed {
            return Err(Problem::precondition_failed());
        }
        judged.expect = Expect::Unchanged(node.map(|node| node.etag));
    } else if let Some((_, etag)) = judged.seen.iter().find(|(path, _)| *path == call.path) {
        judged.expect = Expect::Unchanged(etag.clone());
    }
    if absent {
        judged.expect = Expect::Absent;
    }
    Ok(judged)
}

async fn stat(call: &Call, path: &TreePath) -> Result<Option<Node>> {
    match call.view.stat(path).await {
        Ok(entry) => Ok(Some(entry.node)),
        Err(Error::NotFound | Error::ParentMissing | Error::NotCollection) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What the conditions of RFC 9110 say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Go on.
    Holds,
    /// 412.
    Failed,
    /// 304, for GET and HEAD.
    NotModified,
}

/// The conditions of GET and HEAD.
pub(super) fn judge_read(headers: &HeaderMap, node: &Node) -> Outcome {
    let outcome = preconditions(headers, Some(node), false);
    if outcome == Outcome::Failed {
        return Outcome::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        return if names(headers, &IF_NONE_MATCH, Some(&node.etag), false) { Outcome::NotModified } else { Outcome::Holds };
    }
    match header_date(headers, &IF_MODIFIED_SINCE) {
        Some(since) if node.modified <= since => Outcome::NotModified,
        Some(_) | None => Outcome::Holds,
    }
}

/// RFC 9110 13.2.2, steps 1 to 3, where a match of `If-None-Match` is 412.
fn preconditions(headers: &HeaderMap, node: Option<&Node>, none_match: bool) -> Outcome {
    let etag = node.map(|node| &node.etag);
    if headers.contains_key(IF_MATCH) {
        if !names(headers, &IF_MATCH, etag, true) {
            return Outcome::Failed;
        }
    } else if let (Some(since), Some(node)) = (header_date(headers, &IF_UNMODIFIED_SINCE), node)
        && node.modified > since
    {
        return Outcome::Failed;
    }
    if none_match && headers.contains_key(IF_NONE_MATCH) && names(headers, &IF_NONE_MATCH, etag, false) {
        return Outcome::Failed;
    }
    Outcome::Holds
}

fn header_date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    headers.get(name)?.to_str().ok().and_then(date::parse_http_date)
}

/// Whether a list of etags names this one. A weak one never does in the strong comparison, because ours are strong.
fn names(headers: &HeaderMap, header: &HeaderName, etag: Option<&Etag>, strong: bool) -> bool {
    let own = etag.map(ToString::to_string);
    headers.get_all(header).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        if value.trim() == "*" {
            return own.is_some();
        }
        let Some(own) = &own else { return false };
        EtagList(value).any(|(weak, tag)| tag == own && !(strong && weak))
    })
}

/// The etags of a list, with whether each is weak. Without quotes they are taken too.
struct EtagList<'text>(&'text str);

impl<'text> Iterator for EtagList<'text> {
    type Item = (bool, &'text str);

    fn next(&mut self) -> Option<(bool, &'text str)> {
        let text = self.0.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return None;
        }
        let (weak, text) = text.strip_prefix("W/").map_or((false, text), |text| (true, text));
        let (tag, rest) = match text.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => text.split_once(',').unwrap_or((text, "")),
        };
        self.0 = rest;
        Some((weak, tag.trim()))
    }
}

/// Whether a `Range` may be served: `If-Range` is absent, or names exactly what is there (RFC 9110 13.1.5).
pub(super) fn range_allowed(headers: &HeaderMap, node: &Node) -> bool {
    let Some(value) = headers.get(IF_RANGE) else { return true };
    let Ok(value) = value.to_str() else { return false };
    match date::parse_http_date(value) {
        Some(time) => time == node.modified,
        None => EtagList(value).next().is_some_and(|(weak, tag)| !weak && tag == node.etag.to_string()),
    }
}

async fn judge_if(call: &Call, judged: &mut Judged) -> Result<()> {
    let mut values = call.headers.get_all("if").iter();
    let Some(value) = values.next() else { return Ok(()) };
    let malformed = || Problem::bad_request("The If header is malformed or too long");
    let lists = match (value.to_str(), values.next()) {
        (Ok(text), None) => if_header::parse(text).map_err(|_error| malformed())?,
        _ => return Err(malformed()),
    };
    let mut looks = Looks { call, found: Vec::new() };
    let mut holds = false;
    for list in &lists {
        // Every list is looked at, because each says whose tokens are submitted.
        holds |= list_holds(list, &mut looks, judged).await?;
    }
    if !holds {
        return Err(Problem::precondition_failed());
    }
    submit_tokens(&lists, &mut looks, judged).await
}

/// The locks of resources that were looked up.
struct Looks<'call> {
    call: &'call Call,
    found: Vec<(TreePath, Vec<Lock>)>,
}

impl Looks<'_> {
    async fn locks(&mut self, path: &TreePath) -> Result<&[Lock]> {
        let at = match self.found.iter().position(|(found, _)| found == path) {
            Some(at) => at,
            None => {
                if self.found.len() >= IF_RESOURCES_MAX {
                    return Err(Problem::bad_request("The If header names too many resources"));
                }
                let locks = match self.call.view.locks(path).await {
                    Ok(locks) => locks,
                    Err(Error::NotFound | Error::ParentMissing | Error::NotCollection) => Vec::new(),
                    Err(error) => return Err(error.into()),
                };
                self.found.push((path.clone(), locks));
                self.found.len() - 1
            }
        };
        Ok(self.found.get(at).map_or(&[], |(_, locks)| locks))
    }
}

async fn list_holds(list: &StateList<'_>, looks: &mut Looks<'_>, judged: &mut Judged) -> Result<bool> {
    let path = match list.resource {
        None => Some(looks.call.path.clone()),
        // A resource that is not here has no state that could match (RFC 4918 10.4.4).
        Some(url) => looks.call.locate(url).and_then(Result::ok),
    };
    let mut etag = None;
    for state in &list.conditions {
        let holds = match (&path, state.kind) {
            (None, _) => false,
            (Some(path), StateKind::Token(token)) => looks.locks(path).await?.iter().any(|lock| lock.token.0 == token),
            (Some(path), StateKind::Etag { weak, tag }) => {
                let current = stat(looks.call, path).await?.map(|node| node.etag);
                let same = !weak && current.as_ref().is_some_and(|current| current.to_string() == tag);
                etag = Some((path.clone(), current));
                same
            }
        };
        if holds == state.negated {
            return Ok(false);
        }
    }
    judged.seen.extend(etag);
    Ok(true)
}

/// Every token in the header counts as submitted (RFC 4918 10.4.1), unless it is known to be the lock of another principal (attack D5).
async fn submit_tokens(lists: &[StateList<'_>], looks: &mut Looks<'_>, judged: &mut Judged) -> Result<()> {
    let own = looks.call.path.clone();
    let parent = own.parent();
    for path in std::iter::once(own).chain(parent) {
        looks.locks(&path).await?;
    }
    let me = looks.call.view.principal();
    for list in lists {
        for state in &list.conditions {
            let StateKind::Token(token) = state.kind else { continue };
            let foreign = looks.found.iter().flat_map(|(_, locks)| locks).any(|lock| lock.token.0 == token && lock.principal != *me);
            let token = LockToken(token.to_owned());
            if !foreign && !judged.tokens.contains(&token) {
                judged.tokens.push(token);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Kind, NodeId};
    use http::HeaderValue;

    fn node() -> Node {
        Node { etag: Etag::Version { epoch: 1, version: 10 }, size: 3, modified: 784_111_777, ..Node::bare(NodeId(7), Kind::File) }
    }

    #[track_caller]
    fn check(headers: &[(&'static str, &str)], expected: Outcome) {
        let map: HeaderMap =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect();
        assert_eq!(judge_read(&map, &node()), expected, "{headers:?}");
    }

    #[test]
    fn reads_follow_rfc_9110_13() {
        check(&[], Outcome::Holds);
        check(&[("if-none-match", "\"1.a\"")], Outcome::NotModified);
        check(&[("if-none-match", "\"x\", W/\"1.a\"")], Outcome::NotModified);
        check(&[("if-none-match", "*")], Outcome::NotModified);
        check(&[("if-none-match", "1.a")], Outcome::NotModified);
        check(&[("if-none-match", "\"1.b\"")], Outcome::Holds);
        check(&[("if-match", "\"1.a\"")], Outcome::Holds);
        check(&[("if-match", "W/\"1.a\"")], Outcome::Failed);
        check(&[("if-match", "\"x\",\"y\"")], Outcome::Failed);
        check(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], Outcome::NotModified);
        check(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], Outcome::Holds);
        check(&[("if-modified-since", "yesterday")], Outcome::Holds);
        check(&[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], Outcome::Failed);
        check(&[("if-none-match", "\"z\""), ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], Outcome::Holds);
    }

    #[test]
    fn d6_ten_thousand_etags_are_only_compared() {
        check(&[("if-match", &["\"y\",".repeat(10_000), "\"1.a\"".to_owned()].concat())], Outcome::Holds);
        check(&[("if-match", &"\"".repeat(60_000))], Outcome::Failed);
    }

    #[test]
    fn d7_if_range_is_strong() {
        let allowed = |value: &str| {
            let map: HeaderMap = [(IF_RANGE, HeaderValue::from_str(value).unwrap())].into_iter().collect();
            range_allowed(&map, &node())
        };
        assert!(allowed("\"1.a\"") && allowed("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(!allowed("W/\"1.a\"") && !allowed("\"1.b\"") && !allowed("Sun, 06 Nov 1994 08:49:38 GMT"));
    }
}
