//! Writing through a mount. Conditions are judged here against the exposed etags, and sent on as the remote's own.

use std::sync::Arc;
use std::time::Instant;

use crate::domain::{
    Error, Expect, Kind, LockToken, Name, Node, Permissions, PropertyChange, PutRequest, Result, TreePath, Write, Written,
};
use crate::mount::MountHandle;
use crate::mount::locks::{Reach, RemoteTokens};
use crate::mount::spool::spool;
use crate::remote::{Conditions, Content, Verified};
use crate::wire::{Incoming, Via};

/// What stands at the target of a write, after its conditions were judged.
pub(super) struct Judged {
    pub(super) found: Option<Kind>,
    /// The remote's etag, to be sent as `If-Match`.
    if_match: Option<String>,
    absent: bool,
}

impl Judged {
    pub(super) fn conditions(&self, tokens: RemoteTokens) -> Conditions {
        Conditions { if_match: self.if_match.clone(), absent: self.absent, tokens }
    }
}

impl MountHandle {
    pub(super) async fn judge(&self, via: &Via, path: &TreePath, expect: &Expect) -> Result<Judged> {
        let found = match self.look(via, path).await {
            Ok(found) => Some(found),
            Err(Error::NotFound) => None,
            Err(error) => return Err(error),
        };
        let plain = Judged { found: found.as_ref().map(|(node, _)| node.kind), if_match: None, absent: false };
        match (expect, found) {
            (Expect::Anything, _) => Ok(plain),
            (Expect::Absent | Expect::Unchanged(None), None) => Ok(Judged { absent: true, ..plain }),
            (Expect::Absent | Expect::Unchanged(None), Some(_)) => Err(Error::PreconditionFailed),
            (Expect::Unchanged(Some(_)), None) => Err(Error::PreconditionFailed),
            (Expect::Unchanged(Some(etag)), Some((node, raw))) => {
                if self.exposed(path, node.clone()).etag != *etag {
                    return Err(Error::PreconditionFailed);
                }
                // Servers answer 412 to If-Match on collections that they give no etag, and a weak one never matches (RFC 9110 13.1.1).
                let raw = raw.unwrap_or_else(|| node.etag.quoted());
                let usable = !node.is_collection() && raw.starts_with('"');
                Ok(Judged { if_match: usable.then_some(raw), ..plain })
            }
        }
    }

    /// What a write made untrue is forgotten, before and after it: an answer that was on its way must not come back.
    pub(super) fn wrote(&self, paths: &[&TreePath]) {
        let mut live = self.live();
        live.written = Some(Instant::now());
        live.next_poll = Instant::now();
        for path in paths {
            live.cache.wrote(path);
        }
    }

    pub(super) async fn written(&self, via: &Via, path: &TreePath, created: bool) -> Result<Written> {
        let node: Node = self.stat(via, path).await?;
        Ok(Written { created, node })
    }

    /// Writes a file.
    ///
    /// # Errors
    /// What [`Error`] lists for writes; the remote's old content stays.
    pub async fn put(&self, via: &Via, path: &TreePath, request: PutRequest, body: Incoming) -> Result<Written> {
        let judged = self.judge(via, path, &request.write.expect).await?;
        let created = judged.found.is_none();
        if judged.found == Some(Kind::Collection) {
            return Err(Error::IsCollection);
        }
        let reach = if created { Reach::Member } else { Reach::Node };
        let conditions = judged.conditions(self.admit_locks(path, reach, &request.write.tokens)?);
        let (body, verdict) = Verified::wrap(body, request.length, request.checksum.clone());
        let (body, length) = match request.length {
            None if !self.traits().takes_chunked => {
                let (body, length) = spool(&self.server.spool, body).await.map_err(|error| mismatch(&verdict, error))?;
                (body, Some(length))
            }
            length => (body, length),
        };
        let content = Content { length, modified: request.modified, checksum: request.checksum.map(|checksum| checksum.to_string()) };
        let sent = if self.traits().put_is_atomic || path.is_root() {
            self.ask(via, path, |share| async move { share.put(via, path, body, content, &conditions).await }).await.map(drop)
        } else {
            self.put_aside(via, path, body, content, &conditions, &verdict).await
        };
        self.wrote(&[path]);
        sent.map_err(|error| mismatch(&verdict, error))?;
        if let Some(modified) = request.modified.filter(|_| !self.traits().sets_modified) {
            self.try_modified(via, path, modified).await;
        }
        self.written(via, path, created).await
    }

    /// Whether a file may be sent before its target is asked for: to a server of the ownCloud family, which judges a PUT by itself and places it
    /// at once, where no condition and no lock has to be judged here.
    pub fn puts_unseen(&self, path: &TreePath, request: &PutRequest) -> bool {
        let traits = self.traits();
        let judged_there = traits.put_is_atomic && traits.etags_propagate && (request.length.is_some() || traits.takes_chunked);
        let all = Permissions::CREATE | Permissions::UPDATE;
        judged_there
            && !path.is_root()
            && request.write.expect == Expect::Anything
            && self.live().root.permissions.contains(all)
            && !self.has_locks()
    }

    /// Writes a file where [`MountHandle::puts_unseen`] says so: two requests, where [`MountHandle::put`] needs up to six.
    ///
    /// # Errors
    /// As of [`MountHandle::put`].
    pub async fn put_unseen(&self, via: &Via, path: &TreePath, request: PutRequest, body: Incoming) -> Result<Written> {
        let (body, verdict) = Verified::wrap(body, request.length, request.checksum.clone());
        let checksum = request.checksum.map(|checksum| checksum.to_string());
        let content = Content { length: request.length, modified: request.modified, checksum };
        let conditions = &Conditions::default();
        let sent = self.ask(via, path, |share| async move { share.put(via, path, body, content, conditions).await }).await;
        self.wrote(&[path]);
        match sent {
            Ok(created) => self.written(via, path, created).await,
            Err(error) => Err(self.why_not(via, path, mismatch(&verdict, error)).await),
        }
    }

    /// What a server that took no file means: a folder stands there, or none that could hold it.
    async fn why_not(&self, via: &Via, path: &TreePath, error: Error) -> Error {
        if !matches!(error, Error::NotFound | Error::ParentMissing | Error::Unsupported(_) | Error::Forbidden(_)) {
            return error;
        }
        match self.look(via, path).await {
            Ok((node, _)) if node.is_collection() => Error::IsCollection,
            Err(Error::NotFound) if matches!(error, Error::NotFound) => Error::ParentMissing,
            Ok(_) | Err(Error::NotFound) => error,
            Err(away) => away,
        }
    }

    /// To a server that writes in place: under another name first, measured, then moved, so that nobody sees a part of it.
    async fn put_aside(
        &self,
        via: &Via,
        path: &TreePath,
        body: Incoming,
        content: Content,
        conditions: &Conditions,
        verdict: &Verified,
    ) -> Result<()> {
        let aside = &aside(path)?;
        let mut guard = Aside { handle: self, path: aside.clone(), gone: false };
        let placed = self
            .ask(via, path, |share| async move {
                let tokens = Conditions { tokens: conditions.tokens.clone(), ..Conditions::default() };
                share.put(via, aside, body, content, &tokens).await?;
                let arrived = share.stat(via, aside).await?.own.length;
                if arrived != Some(verdict.bytes()) {
                    return Err(crate::remote::Error::BadAnswer("an upload did not arrive whole"));
                }
                let conditions = Conditions { if_match: None, ..conditions.clone() };
                share.rename(via, aside, path, Kind::File, &conditions).await
            })
            .await;
        guard.gone = placed.is_ok();
        if placed.is_err()
            && let Some(share) = self.share()
        {
            // At once, else by the poll.
            guard.gone = share.delete(via, aside, Kind::File, &Conditions::default()).await.is_ok();
        }
        placed.map(drop)
    }

    /// A remote that does not keep the time of a file keeps its bytes all the same.
    async fn try_modified(&self, via: &Via, path: &TreePath, modified: crate::domain::Timestamp) {
        let change = [PropertyChange::Modified(modified)];
        if let Some(share) = self.share()
            && let Err(error) = share.proppatch(via, path, Kind::File, &change, &Conditions::default()).await
        {
            tracing::debug!(%error, mount.id = self.id().0, "a remote does not keep modification times");
        }
    }

    /// Makes a collection.
    ///
    /// # Errors
    /// What [`Error`] lists for writes.
    pub async fn mkcol(&self, via: &Via, path: &TreePath, write: Write) -> Result<Written> {
        // Not every server says 405 to MKCOL on what is there (rclone says 201).
        if self.judge(via, path, &Expect::Anything).await?.found.is_some() {
            return Err(Error::Exists);
        }
        let tokens = self.admit_locks(path, Reach::Member, &write.tokens)?;
        let conditions = &Conditions { tokens, ..Conditions::default() };
        let made = self.ask(via, path, |share| async move { share.mkcol(via, path, conditions).await }).await;
        self.wrote(&[path]);
        made.map_err(|error| {
            if matches!(error, Error::NotFound) {
                // A collection that cannot be made for want of a parent is 404 at some servers.
                Error::ParentMissing
            } else if matches!(error, Error::Unsupported(_)) {
                // 405 (RFC 4918 9.3.1).
                Error::Exists
            } else {
                error
            }
        })?;
        self.written(via, path, true).await
    }

    /// Deletes a node at the remote. The root of a mount is never deleted.
    ///
    /// # Errors
    /// What [`Error`] lists for writes.
    pub async fn delete(&self, via: &Via, path: &TreePath, write: Write) -> Result<()> {
        if path.is_root() {
            return Err(Error::Forbidden("the root of a mount is removed, not deleted"));
        }
        let judged = self.judge(via, path, &write.expect).await?;
        let kind = judged.found.ok_or(Error::NotFound)?;
        let conditions = &judged.conditions(self.admit_locks(path, Reach::Tree, &write.tokens)?);
        let deleted = self.ask(via, path, |share| async move { share.delete(via, path, kind, conditions).await }).await;
        self.wrote(&[path]);
        deleted?;
        self.drop_locks(path).await
    }

    /// Moves a node inside the mount.
    ///
    /// # Errors
    /// What [`Error`] lists for writes.
    pub async fn rename(&self, via: &Via, from: &TreePath, to: &TreePath, source: Write, target: Write) -> Result<Written> {
        if from.is_root() || to.is_root() {
            return Err(Error::Forbidden("the root of a mount stays"));
        }
        let kind = self.judge(via, from, &source.expect).await?.found.ok_or(Error::NotFound)?;
        let judged = self.judge(via, to, &target.expect).await?;
        let both: Vec<LockToken> = source.tokens.iter().chain(&target.tokens).cloned().collect();
        let mut tokens = self.admit_locks(from, Reach::Tree, &both)?;
        for token in self.admit_locks(to, reach(&judged), &both)? {
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
        let conditions = &Conditions { if_match: None, ..judged.conditions(tokens) };
        let moved = self.ask(via, from, |share| async move { share.rename(via, from, to, kind, conditions).await }).await;
        self.wrote(&[from, to]);
        moved?;
        self.drop_locks(from).await?;
        self.written(via, to, judged.found.is_none()).await
    }

    /// Copies a node inside the mount.
    ///
    /// # Errors
    /// What [`Error`] lists for writes.
    pub async fn copy(&self, via: &Via, from: &TreePath, to: &TreePath, deep: bool, target: Write) -> Result<Written> {
        if to.is_root() {
            return Err(Error::Forbidden("the root of a mount stays"));
        }
        let kind = self.judge(via, from, &Expect::Anything).await?.found.ok_or(Error::NotFound)?;
        let judged = self.judge(via, to, &target.expect).await?;
        let tokens = self.admit_locks(to, reach(&judged), &target.tokens)?;
        let conditions = &Conditions { if_match: None, ..judged.conditions(tokens) };
        let copied = self.ask(via, from, |share| async move { share.copy(via, from, to, kind, deep, conditions).await }).await;
        self.wrote(&[from, to]);
        copied?;
        self.written(via, to, judged.found.is_none()).await
    }

    /// Changes properties: the dead ones first, all or none, then the modification time.
    ///
    /// # Errors
    /// What [`Error`] lists for writes; [`Error::Unsupported`] where the remote keeps no such properties.
    pub async fn patch_properties(&self, via: &Via, path: &TreePath, changes: Vec<PropertyChange>, write: Write) -> Result<Node> {
        let kind = self.judge(via, path, &write.expect).await?.found.ok_or(Error::NotFound)?;
        let tokens = self.admit_locks(path, Reach::Node, &write.tokens)?;
        let conditions = &Conditions { tokens, ..Conditions::default() };
        let changes = &changes;
        let patched = self.ask(via, path, |share| async move { share.proppatch(via, path, kind, changes, conditions).await }).await;
        self.wrote(&[path]);
        patched?;
        self.stat(via, path).await
    }

    /// Tries the remote at once, whatever the state, and tells what state that led to.
    pub async fn retry(self: &Arc<Self>) -> crate::domain::MountState {
        {
            let mut live = self.live();
            live.next_try = Instant::now();
            self.server.remotes.forget_failures(&live.record.url);
        }
        self.poll(Instant::now()).await;
        self.state()
    }

    /// Asks the remote for the root as a poll does, only sooner, and tells what state that led to: for what others say of the share. It takes back
    /// nothing of what was learnt of failures: none while the remote is not to be asked.
    pub async fn look_early(self: &Arc<Self>) -> Option<crate::domain::MountState> {
        let paused = {
            let live = self.live();
            live.record.state != crate::domain::MountState::Online && Instant::now() < live.next_try
        };
        if paused {
            return None;
        }
        self.poll(Instant::now()).await;
        Some(self.state())
    }

    /// Asks for the root and what is in it, whatever its etag says: the rights of a share may change without it.
    ///
    /// # Errors
    /// Where the remote does not tell.
    pub async fn relist(&self) -> Result<()> {
        let (via, root) = (Via::default(), TreePath::root());
        if self.root().kind == Kind::File {
            return self.stat(&via, &root).await.map(drop);
        }
        self.fetch(&via, &root).await.map(drop)
    }
}

/// A file beside its target that is not yet whole. If the request ends before it is in place, however it ends, the poll removes it.
struct Aside<'handle> {
    handle: &'handle MountHandle,
    path: TreePath,
    gone: bool,
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        if !self.gone {
            self.handle.live().litter.push(self.path.clone());
        }
    }
}

fn reach(judged: &Judged) -> Reach {
    if judged.found.is_some() { Reach::Tree } else { Reach::Member }
}

/// A body that was not what its client announced is the client's fault, whatever the remote said of the broken upload.
fn mismatch(verdict: &Verified, error: Error) -> Error {
    verdict.mismatch().map_or(error, Error::BodyMismatch)
}

/// A hidden name beside the target. ownCloud 10 and Nextcloud refuse names that end in `.part`.
fn aside(path: &TreePath) -> Result<TreePath> {
    let (parent, name) = path.split_last().ok_or(Error::IsCollection)?;
    let mut random = [0_u8; 6];
    getrandom::fill(&mut random).map_err(|error| Error::Internal(error.to_string()))?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let short: String = name.as_str().chars().take(40).collect();
    let name = Name::parse(&format!(".{short}.causeway-{digits}.tmp")).map_err(|_error| Error::InvalidName("it is too long"))?;
    Ok(parent.join(&name))
}
