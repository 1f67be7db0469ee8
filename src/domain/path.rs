//! Names and paths of nodes, checked once and for all.

use std::borrow::Borrow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::domain::{NodeId, Principal};
use crate::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_SEGMENTS_MAX};

/// Why a text is not a name or a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// A segment is empty.
    #[error("a name is empty")]
    Empty,
    /// A segment is `.` or `..`.
    #[error("a name is `.` or `..`")]
    Dots,
    /// A segment holds a NUL byte or a slash.
    #[error("a name holds a NUL or a slash")]
    Separator,
    /// The text is not UTF-8.
    #[error("a name is not UTF-8")]
    Encoding,
    /// A segment is longer than [`NAME_BYTES_MAX`], or the whole than [`PATH_BYTES_MAX`] or [`PATH_SEGMENTS_MAX`].
    #[error("a name or the path is too long")]
    TooLong,
}

/// One segment of a path: not empty, not `.` or `..`, no slash, no NUL, at most [`NAME_BYTES_MAX`] bytes; case and Unicode form as sent.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

impl Name {
    /// Checks one segment.
    pub fn parse(text: &str) -> Result<Name, InvalidPath> {
        check_name(text)?;
        Ok(Name(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidPath;
    fn try_from(text: String) -> Result<Name, InvalidPath> {
        check_name(&text)?;
        Ok(Name(text.into_boxed_str()))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.into_string()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

fn check_name(text: &str) -> Result<(), InvalidPath> {
    if text.is_empty() {
        return Err(InvalidPath::Empty);
    }
    if text == "." || text == ".." {
        return Err(InvalidPath::Dots);
    }
    if text.bytes().any(|byte| byte == 0 || byte == b'/') {
        return Err(InvalidPath::Separator);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(InvalidPath::TooLong);
    }
    Ok(())
}

/// A path below some root, as names joined by `/`, without slashes at its ends; the root itself is empty.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TreePath(String);

/// What stays as it is in an href: the unreserved characters and those sub-delimiters that every client keeps. `+` is encoded, because
/// ownCloud decodes it to a blank (`protocol/owncloud.md` 1.9).
const HREF_KEEPS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

impl TreePath {
    /// The root.
    pub const fn root() -> TreePath {
        TreePath(String::new())
    }

    /// Reads a decoded path such as `/Photos/a.jpg`; one leading and one trailing slash are allowed.
    pub fn parse(text: &str) -> Result<TreePath, InvalidPath> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Ok(TreePath::root());
        }
        if text.len() > PATH_BYTES_MAX {
            return Err(InvalidPath::TooLong);
        }
        let mut segments = 0;
        for segment in text.split('/') {
            check_name(segment)?;
            segments += 1;
        }
        if segments > PATH_SEGMENTS_MAX {
            return Err(InvalidPath::TooLong);
        }
        Ok(TreePath(text.to_owned()))
    }

    /// Reads a percent-encoded path of a URL or a `Destination`. A decoded slash or `..` inside a segment is refused, so that nothing
    /// means one thing before decoding and another after (attack D1).
    pub fn from_href(text: &str) -> Result<TreePath, InvalidPath> {
        let mut joined = String::with_capacity(text.len());
        let text = text.strip_prefix('/').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Ok(TreePath::root());
        }
        for segment in text.split('/') {
            let decoded = percent_decode_str(segment).decode_utf8().map_err(|_error| InvalidPath::Encoding)?;
            check_name(&decoded)?;
            if !joined.is_empty() {
                joined.push('/');
            }
            joined.push_str(&decoded);
        }
        TreePath::parse(&joined)
    }

    /// The path percent-encoded, without a slash at either end.
    pub fn to_href(&self) -> String {
        utf8_percent_encode(&self.0, HREF_KEEPS).to_string()
    }

    /// The decoded text, without a slash at either end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names from the root down.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// How many names.
    pub fn depth(&self) -> usize {
        self.segments().count()
    }

    /// The last name; none for the root.
    pub fn name(&self) -> Option<Name> {
        self.segments().next_back().map(|segment| Name(segment.into()))
    }

    /// The path without its last name; none for the root.
    pub fn parent(&self) -> Option<TreePath> {
        if self.is_root() {
            return None;
        }
        Some(TreePath(self.0.rsplit_once('/').map(|(parent, _)| parent.to_owned()).unwrap_or_default()))
    }

    /// Parent and last name at once; none for the root.
    pub fn split_last(&self) -> Option<(TreePath, Name)> {
        Some((self.parent()?, self.name()?))
    }

    /// This path and one more name.
    pub fn join(&self, name: &Name) -> TreePath {
        if self.is_root() { TreePath(name.0.to_string()) } else { TreePath([&self.0, "/", &name.0].concat()) }
    }

    /// This path and a path below it.
    pub fn join_path(&self, below: &TreePath) -> TreePath {
        if below.is_root() {
            self.clone()
        } else if self.is_root() {
            below.clone()
        } else {
            TreePath([&self.0, "/", &below.0].concat())
        }
    }

    /// What is left below `prefix`; none if this path does not lie in it. Whole names are compared: `share2` is not in `share` (attack L6).
    pub fn strip_prefix(&self, prefix: &TreePath) -> Option<TreePath> {
        if prefix.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(prefix.0.as_str())?;
        if rest.is_empty() {
            return Some(TreePath::root());
        }
        rest.strip_prefix('/').map(|rest| TreePath(rest.to_owned()))
    }

    /// Whether this path is `prefix` or lies below it.
    pub fn starts_with(&self, prefix: &TreePath) -> bool {
        self.strip_prefix(prefix).is_some()
    }
}

impl TryFrom<String> for TreePath {
    type Error = InvalidPath;
    fn try_from(text: String) -> Result<TreePath, InvalidPath> {
        TreePath::parse(&text)
    }
}

impl From<TreePath> for String {
    fn from(path: TreePath) -> String {
        path.0
    }
}

impl From<Name> for TreePath {
    fn from(name: Name) -> TreePath {
        TreePath(name.0.into_string())
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}", self.0)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// A place in a space: a path below a node. The node is the root of a home, or what a link points at, so that a link follows its node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct At {
    /// The node from which the path is walked.
    pub base: NodeId,
    /// The path below it.
    pub path: TreePath,
    /// Who asks: what is deleted or overwritten is kept with the name of who did it.
    pub by: Principal,
}

impl At {
    /// A path below the root of a space, asked for by nobody in particular.
    pub fn home(path: TreePath) -> At {
        At { base: NodeId::ROOT, path, by: Principal::Anonymous }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(href: &str, expected: Result<&str, InvalidPath>) {
        assert_eq!(TreePath::from_href(href).map(|path| path.as_str().to_owned()), expected.map(str::to_owned), "{href}");
    }

    #[test]
    fn d1_hrefs_decode_once_and_cannot_climb() {
        check("/Photos/a%20b.jpg", Ok("Photos/a b.jpg"));
        check("/Photos/", Ok("Photos"));
        check("/", Ok(""));
        check("/100%25/a%2520b", Ok("100%/a%20b"));
        check("/%e6%96%87", Ok("文"));
        check("/a+b", Ok("a+b"));
        check("/public/%2e%2e/secret", Err(InvalidPath::Dots));
        check("/a/../b", Err(InvalidPath::Dots));
        check("/a%2Fb", Err(InvalidPath::Separator));
        check("/a%00b", Err(InvalidPath::Separator));
        check("/a//b", Err(InvalidPath::Empty));
        check("//", Ok(""));
        check("/%ff", Err(InvalidPath::Encoding));
    }

    #[test]
    fn every_nasty_name_survives_the_round_trip() {
        for name in ["a+b", "100%", "#hash", "what?", "q\"uote", "lt<gt>", "new\nline", "semi;comma,at@", "😀", "é", "back\\slash"] {
            let path = TreePath::from(Name::parse(name).unwrap());
            assert_eq!(TreePath::from_href(&path.to_href()), Ok(path));
        }
    }

    #[test]
    fn l6_prefixes_end_at_names() {
        let path = |text| TreePath::parse(text).unwrap();
        assert!(path("/share/a").starts_with(&path("/share")));
        assert!(!path("/share2/a").starts_with(&path("/share")));
        assert_eq!(path("/share").strip_prefix(&path("/share")), Some(TreePath::root()));
    }
}
