//! What changed below a collection of the home since a token (RFC 6578).
//!
//! A token is the version of the collection when it was given out: whatever changes below raises it. What hangs there by a mount or a share is
//! not covered by it, because what changes in there is no version of this home: it, and collections above it, are always told as changed, and
//! nobody walks through it.
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

    fn parse(text: &str) -> Option<SyncToken> {
        let mut parts = text.trim().strip_prefix(SCHEME)?.split('.');
        let epoch = u32::from_str_radix(parts.next()?, 16).ok()?;
        let version = u64::from_str_radix(parts.next()?, 16).ok()?;
        let collection = NodeId(u64::from_str_radix(parts.next()?, 16).ok()?);
        let seal = parts.next().map(|seal| u64::from_str_radix(seal, 16)).transpose().ok()?;
        parts.next().is_none().then_some(SyncToken { epoch, version, collection, seal })
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
    /// For the next time. Taken before anything else was looked at.
    pub token: SyncToken,
    /// Paths where nothing is any more, below the root of the view.
    pub removed: Vec<TreePath>,
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
        let Some(token) = token else {
            return Ok(Changed { token: now, removed: Vec::new(), since: None, whole: HashSet::new() });
        };
        let since = SyncToken::parse(token).ok_or(NotTold::Token)?;
        // Made by this server for this link, or for a user.
        if since != moment.token(since.version, since.collection) {
            return Err(NotTold::Token);
        }
        if since.epoch != now.epoch || since.collection != now.collection || since.version > now.version.max(moment.at.version) {
            return Err(NotTold::Token);
        }
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
        Ok(Changed { token: now, removed, since: Some(since), whole: moves.whole })
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
            assert_eq!(SyncToken::parse(&token.to_string()), Some(token));
        }
        for wrong in
            ["", "urn:causeway:sync:", "urn:causeway:sync:3.abc", "urn:causeway:sync:3.abc.1.2.3", "urn:causeway:sync:3.x.1", "3.abc.1"]
        {
            assert_eq!(SyncToken::parse(wrong), None, "{wrong}");
        }
    }
}
