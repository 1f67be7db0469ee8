//! What changed below a collection of the home since a token (RFC 6578).
//!
//! A token is the version of the collection when it was given out: whatever changes below raises it. What hangs there by a mount or a share is
//! not covered by it, because what changes in there is no version of this home: it, and collections above it, are always told as changed, and
//! nobody walks through it.
//!
//! A client may want a number of results at most (RFC 6578 3.6). Such an answer ends somewhere in the walk, and its token says where, beside the
//! two versions between which the walk goes: the one that the client had, and the one of when the walk began. From there it goes on, in the same order
//! ([`After`]), and at its end it gives out the token of when it began: what changed meanwhile is newer than that, and is told by the next one,
//! wherever in the walk it stands.
//!
//! Whoever holds a link must not learn by a token of their own making what went before they had the link: tokens of links are sealed, with a key
//! that lasts as long as the process.

use std::collections::HashSet;
use std::fmt;
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

use crate::domain::{Error, Etag, Name, Node, NodeId, Permissions, Principal, Result, TreePath};
use crate::space;
use crate::tree::resolve::Target;
use crate::tree::{Member, View};

/// What a client knows of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncToken {
    epoch: u32,
    version: u64,
    collection: NodeId,
    /// Of links alone.
    seal: Option<u64>,
}

/// The key of the seals of one process, made when it is first needed.
#[derive(Default)]
pub(super) struct Sealing(OnceLock<[u8; 32]>);

impl fmt::Debug for Sealing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sealing(..)")
    }
}

impl Sealing {
    fn key(&self) -> Result<[u8; 32]> {
        if let Some(key) = self.0.get() {
            return Ok(*key);
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(*self.0.get_or_init(|| key))
    }
}

/// Now, for the tokens of one view.
#[derive(Clone, Copy)]
pub struct Moment {
    at: space::Moment,
    /// What the seals of a link are made with: the key hashed with the link.
    seal: Option<[u8; 32]>,
}

impl Moment {
    fn token(&self, version: u64, collection: NodeId) -> SyncToken {
        let epoch = self.at.epoch;
        let seal = self.seal.map(|key| {
            let mut hash = Sha256::new_with_prefix(key);
            hash.update(epoch.to_be_bytes());
            hash.update(version.to_be_bytes());
            hash.update(collection.0.to_be_bytes());
            hash.finalize().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
        });
        SyncToken { epoch, version, collection, seal }
    }
}

/// Opaque to clients; a URI, because RFC 6578 6.2 wants one.
const SCHEME: &str = "urn:causeway:sync:";

impl fmt::Display for SyncToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{:x}.{:x}.{:x}", self.epoch, self.version, self.collection.0)?;
        self.seal.map_or(Ok(()), |seal| write!(formatter, ".{seal:x}"))
    }
}

impl SyncToken {
    /// The token of a node of the home that was looked at after a moment; none for files. It is the version of the collection itself, so that
    /// it changes only with what is below it; unless that is so old that nobody could say what changed since.
    pub fn of(moment: Moment, node: &Node) -> Option<SyncToken> {
        match &node.etag {
            Etag::Version { version, .. } if node.is_collection() => {
                let version = if *version < moment.at.known_since { moment.at.version } else { *version };
                Some(moment.token(version, node.id))
            }
            Etag::Version { .. } | Etag::Opaque(_) => None,
        }
    }

    /// What follows the scheme.
    fn parse(text: &str) -> Option<SyncToken> {
        let mut parts = text.split('.');
        let epoch = u32::from_str_radix(parts.next()?, 16).ok()?;
        let version = u64::from_str_radix(parts.next()?, 16).ok()?;
        let collection = NodeId(u64::from_str_radix(parts.next()?, 16).ok()?);
        let seal = parts.next().map(|seal| u64::from_str_radix(seal, 16)).transpose().ok()?;
        parts.next().is_none().then_some(SyncToken { epoch, version, collection, seal })
    }
}

/// Where an answer ended that had all the results that its client wanted. First the names that are gone are told, by their paths. Then the
/// members of each collection by their names, and after them what is in the collections among them, from the last to the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// After this path where nothing is any more.
    Gone(TreePath),
    /// After this member, and all that is gone.
    Member(TreePath),
}

impl After {
    /// Whether a path where nothing is any more was told.
    fn is_gone_told(&self, path: &TreePath) -> bool {
        match self {
            After::Gone(last) => path <= last,
            After::Member(_) => true,
        }
    }

    /// Whether the walk has left a member behind it.
    fn is_past(&self, path: &TreePath) -> bool {
        let After::Member(last) = self else { return false };
        match (parting(path, last), parting(last, path)) {
            // The last member itself, or a collection above it.
            (None, _) => true,
            // It is in the last member.
            (Some(_), None) => false,
            (Some((name, false)), Some((at, false))) => name < at,
            (Some((name, true)), Some((at, true))) => name > at,
            // Members come before what is in them.
            (Some((_, inner)), Some(_)) => !inner,
        }
    }

    /// Whether the walk has left behind it all that is in a collection.
    fn is_past_all_in(&self, path: &TreePath) -> bool {
        let After::Member(last) = self else { return false };
        matches!((parting(path, last), parting(last, path)), (Some((name, _)), Some((at, true))) if name > at)
    }
}

/// The first name of a path that is not one of another path, and whether more names follow; none where the other path goes that far.
fn parting<'path>(path: &'path TreePath, other: &TreePath) -> Option<(&'path str, bool)> {
    let shared = path.segments().zip(other.segments()).take_while(|(one, other)| one == other).count();
    let mut rest = path.segments().skip(shared);
    Some((rest.next()?, rest.next().is_some()))
}

/// A walk that was told in part.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// What the client knew before the walk; none where it knew nothing.
    since: Option<SyncToken>,
    after: After,
}

impl Part {
    /// Reads `TOKEN~SINCE~KIND~PATH` behind the scheme, or a mere token. The token is of when the walk began.
    fn parse(text: &str) -> Option<(SyncToken, Option<Part>)> {
        let mut parts = text.trim().strip_prefix(SCHEME)?.splitn(4, '~');
        let token = SyncToken::parse(parts.next()?)?;
        let Some(since) = parts.next() else { return Some((token, None)) };
        let since = if since.is_empty() { None } else { Some(SyncToken::parse(since)?) };
        let kind = parts.next()?;
        let path = TreePath::from_href(parts.next()?).ok()?;
        let after = match kind {
            "g" => After::Gone(path),
            "m" => After::Member(path),
            _ => return None,
        };
        Some((token, Some(Part { since, after })))
    }
}

/// How far a client looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncLevel {
    /// Members of the collection.
    One,
    /// All that is below it.
    Infinite,
}

/// What a client has not seen yet.
#[derive(Debug)]
pub struct Changed {
    /// For the next time. Taken before anything else was looked at; where the walk goes on, when it began.
    pub token: SyncToken,
    /// Paths where nothing is any more, below the root of the view.
    removed: Vec<TreePath>,
    /// Where the walk goes on.
    after: Option<After>,
    /// None tells everything.
    since: Option<SyncToken>,
    whole: HashSet<NodeId>,
}

/// Why no changes are told.
#[derive(Debug)]
pub enum NotTold {
    /// The token is not ours, too old, or from before a restart that was not clean: the client has to begin anew.
    Token,
    /// Changes cannot be told of this collection: it is none, or lies in a mount or a share.
    Unsupported,
    /// All levels cannot be told: something hangs below that is no part of this home.
    Endless,
    /// What any request may be refused for.
    Refused(Error),
}

impl From<Error> for NotTold {
    fn from(error: Error) -> NotTold {
        NotTold::Refused(error)
    }
}

impl Changed {
    /// Whether a member of a collection is told. `whole` says that the client knows nothing of that collection.
    pub fn tells(&self, member: &Member<'_>, whole: bool) -> bool {
        let Some(since) = self.since.filter(|_| !whole) else { return true };
        let remote = member.access.mount.is_some() || *member.etag != member.node.etag;
        remote || is_newer(&member.node.etag, since) || self.whole.contains(&member.node.id)
    }

    /// Whether a member was told by an earlier answer of the same walk.
    pub fn is_past(&self, path: &TreePath) -> bool {
        self.after.as_ref().is_some_and(|after| after.is_past(path))
    }

    /// Whether all that is in a collection was told by earlier answers of the same walk.
    pub fn is_past_all_in(&self, path: &TreePath) -> bool {
        self.after.as_ref().is_some_and(|after| after.is_past_all_in(path))
    }

    /// Takes out the paths where nothing is any more and which are still to be told, in order; these are among them.
    pub fn take_gone(&mut self, more: impl IntoIterator<Item = TreePath>) -> Vec<TreePath> {
        let mut gone = std::mem::take(&mut self.removed);
        gone.extend(more);
        gone.sort_unstable();
        gone.dedup();
        gone.retain(|path| self.after.as_ref().is_none_or(|after| !after.is_gone_told(path)));
        gone
    }

    /// The token from which the walk goes on.
    pub fn token_after(&self, after: &After) -> String {
        let since = self.since.map(|since| since.to_string()).unwrap_or_default();
        let since = since.strip_prefix(SCHEME).unwrap_or_default();
        let (kind, path) = match after {
            After::Gone(path) => ('g', path),
            After::Member(path) => ('m', path),
        };
        format!("{}~{since}~{kind}~{}", self.token, path.to_href())
    }

    /// Whether the client knows nothing at all.
    pub fn is_initial(&self) -> bool {
        self.since.is_none()
    }

    /// Whether the client knows nothing of what is in a collection that is told.
    pub fn is_whole(&self, node: &Node) -> bool {
        self.since.is_none() || self.whole.contains(&node.id)
    }
}

fn is_newer(etag: &Etag, since: SyncToken) -> bool {
    match etag {
        // Versions of earlier epochs were there when this token was given out.
        Etag::Version { epoch, version } => *epoch == since.epoch && *version > since.version,
        Etag::Opaque(_) => true,
    }
}

impl View {
    /// Now, for tokens of what is looked at afterwards.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn moment(&self) -> Result<Moment> {
        let seal = match &self.principal {
            Principal::User(_) => None,
            Principal::Link(link) => {
                let hash = Sha256::new_with_prefix(self.forest.inner.sealing.key()?);
                Some(hash.chain_update(link.0.to_be_bytes()).finalize().into())
            }
            Principal::Remote(share) => {
                let hash = Sha256::new_with_prefix(self.forest.inner.sealing.key()?).chain_update(b"share");
                Some(hash.chain_update(share.0.to_be_bytes()).finalize().into())
            }
            Principal::Anonymous => Some(self.forest.inner.sealing.key()?),
        };
        Ok(Moment { at: self.space.moment()?, seal })
    }

    /// The token of what stands at a path; none where there is none.
    ///
    /// # Errors
    /// As [`View::stat`].
    pub async fn sync_token(&self, moment: Moment, path: &TreePath) -> Result<Option<SyncToken>> {
        self.demand(self.granted, Permissions::READ)?;
        match self.resolve(path).await? {
            Target::Home { node, .. } => Ok(SyncToken::of(moment, &node)),
            Target::HomeFree { .. } | Target::Mount(_) | Target::Shared(_) => Ok(None),
        }
    }

    /// What changed below a collection since a token; everything, without one.
    ///
    /// # Errors
    /// [`NotTold`].
    pub async fn changed(&self, path: &TreePath, token: Option<&str>, level: SyncLevel) -> Result<Changed, NotTold> {
        self.demand(self.granted, Permissions::READ)?;
        let moment = self.moment()?;
        let node = match self.resolve(path).await? {
            Target::Home { node, .. } if node.is_collection() => node,
            Target::Home { .. } | Target::Mount(_) | Target::Shared(_) => return Err(NotTold::Unsupported),
            Target::HomeFree { .. } => return Err(Error::NotFound.into()),
        };
        if level == SyncLevel::Infinite && !self.mounts_under(node.id).is_empty() {
            return Err(NotTold::Endless);
        }
        let now = SyncToken::of(moment, &node).ok_or(NotTold::Unsupported)?;
        let (begun, since, after) = match token.map(|token| Part::parse(token).ok_or(NotTold::Token)).transpose()? {
            None => (now, None, None),
            Some((since, None)) => (now, Some(since), None),
            Some((begun, Some(part))) => (begun, part.since, Some(part.after)),
        };
        for token in since.iter().chain([&begun]) {
            // Made by this server for this link, or for a user.
            let ours = *token == moment.token(token.version, token.collection);
            let known = token.epoch == now.epoch && token.collection == now.collection;
            if !ours || !known || token.version > now.version.max(moment.at.version) {
                return Err(NotTold::Token);
            }
        }
        let Some(since) = since else {
            return Ok(Changed { token: begun, removed: Vec::new(), after, since: None, whole: HashSet::new() });
        };
        let moves = self.space.moves_since(since.version).await?.ok_or(NotTold::Token)?;
        let (removed, replaced) = match level {
            // What is in a member does not matter.
            SyncLevel::One => (self.paths_in(moves.removed, Some((node.id, path))).await?, Vec::new()),
            SyncLevel::Infinite => (self.paths_in(moves.removed, None).await?, self.paths_in(moves.replaced, None).await?),
        };
        let inside = |removed: &TreePath| removed.starts_with(path);
        if replaced.iter().any(inside) {
            // The client would keep what was in the old one.
            return Err(NotTold::Token);
        }
        let removed = removed.into_iter().filter(inside).collect();
        Ok(Changed { token: begun, removed, after, since: Some(since), whole: moves.whole })
    }

    /// Names of collections as paths of this view: of one collection, or of all that have a path.
    async fn paths_in(&self, names: Vec<(NodeId, Name)>, only: Option<(NodeId, &TreePath)>) -> Result<Vec<TreePath>> {
        if let Some((id, path)) = only {
            return Ok(names.into_iter().filter(|(parent, _)| *parent == id).map(|(_, name)| path.join(&name)).collect());
        }
        let mut ids: HashSet<NodeId> = names.iter().map(|(parent, _)| *parent).collect();
        ids.insert(self.base);
        let paths = self.space.paths_of(ids).await?;
        let base = paths.get(&self.base).ok_or(Error::NotFound)?;
        let in_view = |(parent, name): (NodeId, Name)| Some(paths.get(&parent)?.strip_prefix(base)?.join(&name));
        Ok(names.into_iter().filter_map(in_view).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_older_than_what_can_be_told() {
        let node = |version| Node { etag: Etag::Version { epoch: 2, version }, ..Node::bare(NodeId(7), crate::domain::Kind::Collection) };
        let moment = Moment { at: space::Moment { epoch: 3, version: 100, known_since: 50 }, seal: None };
        let version = |of| SyncToken::of(moment, &node(of)).map(|token| (token.epoch, token.version));
        assert_eq!((version(60), version(50), version(49)), (Some((3, 60)), Some((3, 50)), Some((3, 100))));
    }

    #[test]
    fn tokens_are_read_as_they_are_written() {
        let token = SyncToken { epoch: 3, version: 0xabc, collection: NodeId(1), seal: None };
        assert_eq!(token.to_string(), "urn:causeway:sync:3.abc.1");
        for token in [token, SyncToken { seal: Some(0x1f), ..token }] {
            assert_eq!(Part::parse(&token.to_string()), Some((token, None)));
        }
        for wrong in
            ["", "urn:causeway:sync:", "urn:causeway:sync:3.abc", "urn:causeway:sync:3.abc.1.2.3", "urn:causeway:sync:3.x.1", "3.abc.1"]
        {
            assert_eq!(Part::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tokens_of_parts_are_read_as_they_are_written() {
        let token = SyncToken { epoch: 3, version: 0xabc, collection: NodeId(1), seal: Some(0x1f) };
        let path = TreePath::parse("a b~c/d.e").unwrap();
        for since in [None, Some(SyncToken { version: 7, seal: Some(2), ..token })] {
            for after in [After::Gone(path.clone()), After::Member(path.clone())] {
                let changed = Changed { token, removed: Vec::new(), after: None, since, whole: HashSet::new() };
                let text = changed.token_after(&after);
                assert_eq!(Part::parse(&text), Some((token, Some(Part { since, after }))), "{text}");
            }
        }
        for wrong in [
            "urn:causeway:sync:3.abc.1~",
            "urn:causeway:sync:3.abc.1~~m",
            "urn:causeway:sync:3.abc.1~~x~a",
            "urn:causeway:sync:3.abc.1~7~m~a",
        ] {
            assert_eq!(Part::parse(wrong), None, "{wrong}");
        }
    }

    /// Every path of a tree in the order of a walk.
    fn walk(tree: &[&str], collection: &str, told: &mut Vec<TreePath>) {
        let members: Vec<&str> =
            tree.iter().copied().filter(|path| path.rsplit_once('/').map_or("", |(parent, _)| parent) == collection).collect();
        told.extend(members.iter().map(|path| TreePath::parse(path).unwrap()));
        for member in members.into_iter().rev() {
            walk(tree, member, told);
        }
    }

    #[test]
    fn a_walk_knows_what_it_has_left_behind() {
        let tree = ["a", "a/a", "a/a/x", "a/b", "a/b/x", "a/b/y", "a/c", "a/c/x", "b", "b/a", "b/a/x", "b/a/y", "c", "c/a", "c/a/x"];
        let mut told = Vec::new();
        walk(&tree, "", &mut told);
        assert_eq!(told.len(), tree.len());
        for (at, last) in told.iter().enumerate() {
            let after = After::Member(last.clone());
            for (number, path) in told.iter().enumerate() {
                assert_eq!(after.is_past(path), number <= at, "{path} after {last}");
                let below = told.iter().enumerate().filter(|(_, inner)| inner.starts_with(path) && *inner != path);
                let left: Vec<usize> = below.map(|(number, _)| number).collect();
                if after.is_past_all_in(path) {
                    assert!(left.iter().all(|number| *number <= at), "{path} after {last}");
                }
            }
            assert!(!After::Gone(last.clone()).is_past(last) && after.is_gone_told(last));
        }
        let done = After::Member(TreePath::parse("a/a/x").unwrap());
        assert!(done.is_past_all_in(&TreePath::parse("c").unwrap()) && !done.is_past_all_in(&TreePath::parse("a").unwrap()));
    }
}
