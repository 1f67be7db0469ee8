//! COPY and MOVE: native inside one backend, streamed across backends. A source is deleted only after its copy is whole (DESIGN 5).

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::domain::{
    At, Error, Expect, Kind, LockToken, MountId, Name, Node, NodeId, OfflineCause, Permissions, PutRequest, Result, SpaceId, TreePath,
    Write,
};
use crate::limits::{PATH_SEGMENTS_MAX, PROPFIND_NODES_MAX};
use crate::tree::etags::is_online;
use crate::tree::resolve::{MountTarget, Target};
use crate::tree::write::below;
use crate::tree::{Entry, View};

const IN_ONE_ANOTHER: Error = Error::Forbidden("source and destination lie in one another");
const INTO_ANOTHER: Error = Error::Forbidden("a mount cannot be moved into another mount");

type Step<'view> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'view>>;

impl View {
    /// Moves a node. Returns whether the target name was free, and the node at its new place.
    ///
    /// # Errors
    /// What [`Error`] lists for writes; on each of them source and target are as before.
    pub async fn rename(&self, from: &TreePath, to: &TreePath, source: Write, target: Write) -> Result<(bool, Entry)> {
        refuse_nesting(from, to)?;
        let (from_target, to_target) = (self.resolve(from).await?, self.resolve(to).await?);
        refuse_overwritten_mount(&to_target)?;
        match (from_target, to_target) {
            (Target::HomeFree { .. }, _) => {
                self.demand(self.granted, Permissions::READ)?;
                Err(Error::NotFound)
            }
            (_, Target::HomeFree { parent_exists: false, .. }) => Err(Error::ParentMissing),
            (Target::Home { at: from_at, node }, Target::Home { at, .. } | Target::HomeFree { at, .. }) => {
                self.demand_rename(from, to).await?;
                let source = self.home_write(&node, source).await?;
                let written = self.space.rename(&from_at, &at, source, target).await?;
                self.replaced(written.created).await?;
                Ok((written.created, self.home_entry(written.node).await))
            }
            (Target::Mount(MountTarget { mount, at: point, inner, row }), Target::Home { at, .. } | Target::HomeFree { at, .. })
                if inner.is_root() =>
            {
                self.move_mountpoint(mount, &row, [&point, &at], [source, target]).await
            }
            (Target::Shared(shared), Target::Home { at, .. } | Target::HomeFree { at, .. }) if shared.inner.is_root() => {
                self.move_mountpoint(shared.mount, &shared.row, [&shared.at, &at], [source, target]).await
            }
            (Target::Mount(MountTarget { inner, .. }), Target::Mount(_) | Target::Shared(_)) if inner.is_root() => Err(INTO_ANOTHER),
            (Target::Shared(shared), Target::Mount(_) | Target::Shared(_)) if shared.inner.is_root() => Err(INTO_ANOTHER),
            (Target::Shared(one), Target::Shared(other)) if one.mount == other.mount => {
                self.check_home_locks(&one.at, &source.tokens).await?;
                let renamed = Box::pin(one.view?.rename(&one.inner, &other.inner, source, target)).await;
                renamed.map_err(|error| below(error, &one.at))
            }
            (Target::Mount(one), Target::Mount(other)) if one.mount == other.mount => {
                let needed = if one.inner.parent() == other.inner.parent() { Permissions::UPDATE } else { Permissions::DELETE };
                self.admit(&one, needed, needed, &source.tokens).await?;
                self.admit_by(&other, &target.tokens, needed_at_target).await?;
                let handle = self.handle(one.mount)?;
                let written = handle.rename(&self.via, &one.inner, &other.inner, source, target).await;
                let written = written.map_err(|error| below(error, &one.at))?;
                let access = self.mount_access(one.mount, &written.node, false);
                Ok((written.created, Entry { node: written.node, access }))
            }
            (Target::Home { .. } | Target::Shared(_), Target::Mount(_) | Target::Shared(_))
            | (Target::Mount(_), Target::Mount(_) | Target::Shared(_) | Target::Home { .. } | Target::HomeFree { .. })
            | (Target::Shared(_), Target::Home { .. } | Target::HomeFree { .. }) => {
                if self.holds_mounts(from).await? {
                    return Err(Error::Forbidden("a folder that holds mounts cannot be moved into or out of another one"));
                }
                self.refuse_entwined(from, to).await?;
                self.move_across(from, to, source, target).await
            }
        }
    }

    /// Copies a node; of a collection its members only if `deep`. Returns whether the target name was free, and the copy.
    ///
    /// # Errors
    /// What [`Error`] lists for writes; on each of them the target is as before.
    pub async fn copy(&self, from: &TreePath, to: &TreePath, deep: bool, target: Write) -> Result<(bool, Entry)> {
        refuse_nesting(from, to)?;
        self.demand(self.granted, Permissions::READ)?;
        let (from_target, to_target) = (self.resolve(from).await?, self.resolve(to).await?);
        refuse_overwritten_mount(&to_target)?;
        match (from_target, to_target) {
            (Target::HomeFree { .. }, _) => Err(Error::NotFound),
            (_, Target::HomeFree { parent_exists: false, .. }) => Err(Error::ParentMissing),
            (Target::Home { at: from_at, node }, Target::Home { at, .. } | Target::HomeFree { at, .. })
                if !deep || self.mounts_under(node.id).is_empty() =>
            {
                self.demand_target(to).await?;
                let written = self.space.copy(&from_at, &at, deep, target).await?;
                self.replaced(written.created).await?;
                Ok((written.created, self.home_entry(written.node).await))
            }
            (Target::Shared(one), Target::Shared(other)) if one.mount == other.mount => {
                self.check_home_locks(&other.at, &target.tokens).await?;
                let copied = Box::pin(one.view?.copy(&one.inner, &other.inner, deep, target)).await;
                copied.map_err(|error| below(error, &one.at))
            }
            (Target::Mount(one), Target::Mount(other)) if one.mount == other.mount => {
                self.admit_by(&other, &target.tokens, needed_at_target).await?;
                let handle = self.handle(one.mount)?;
                let written = handle.copy(&self.via, &one.inner, &other.inner, deep, target).await;
                let written = written.map_err(|error| below(error, &other.at))?;
                let access = self.mount_access(one.mount, &written.node, false);
                Ok((written.created, Entry { node: written.node, access }))
            }
            (
                Target::Home { .. } | Target::Shared(_),
                Target::Home { .. } | Target::HomeFree { .. } | Target::Mount(_) | Target::Shared(_),
            ) => {
                self.check_reachable(from).await?;
                self.refuse_entwined(from, to).await?;
                self.copy_across(from, to, deep, target).await
            }
            (Target::Mount(_), Target::Home { .. } | Target::HomeFree { .. } | Target::Mount(_) | Target::Shared(_)) => {
                self.copy_across(from, to, deep, target).await
            }
        }
    }

    /// Inside one collection a rename changes; between two it deletes here and creates there. What stands at the target goes (attack F7).
    async fn demand_rename(&self, from: &TreePath, to: &TreePath) -> Result<()> {
        if from.parent() != to.parent() {
            self.demand(self.granted, Permissions::DELETE)?;
            return self.demand_target(to).await;
        }
        self.demand(self.granted, Permissions::UPDATE)?;
        match self.resolve(to).await? {
            Target::HomeFree { .. } => Ok(()),
            Target::Home { .. } | Target::Mount(_) | Target::Shared(_) => self.demand_target(to).await,
        }
    }

    /// What a COPY or MOVE needs at its target.
    async fn demand_target(&self, to: &TreePath) -> Result<()> {
        match self.resolve(to).await? {
            Target::HomeFree { .. } => self.demand(self.granted, needed_at_target(None)),
            Target::Home { node, .. } => self.demand(self.granted, needed_at_target(Some(&node))),
            Target::Mount(target) => {
                let tokens = self.tokens_at(&target).await?;
                self.admit_by(&target, &tokens, needed_at_target).await
            }
            Target::Shared(target) => Box::pin(target.view?.demand_target(&target.inner)).await,
        }
    }

    /// What a mountpoint is moved to is again a row of this home; nobody else sees anything of it.
    async fn move_mountpoint(&self, mount: MountId, row: &Node, path: [&At; 2], writes: [Write; 2]) -> Result<(bool, Entry)> {
        self.demand_own_mount()?;
        let ([from, to], [source, target]) = (path, writes);
        let written = self.space.rename(from, to, source, target).await?;
        self.replaced(written.created).await?;
        let bare = Node { kind: Kind::Collection, ..written.node };
        let access = self.home_access();
        Ok((written.created, self.mounted_entry(mount, row).await.unwrap_or(Entry { node: bare, access })))
    }

    /// What was replaced is gone, and so are its shares.
    async fn replaced(&self, free: bool) -> Result<()> {
        if free { Ok(()) } else { self.forest.bury_shares(self.space.id(), None).await }
    }

    /// Whether anything hangs below a path, in the home that really holds it: mounts, or what others shared.
    async fn holds_mounts(&self, path: &TreePath) -> Result<bool> {
        match self.resolve(path).await? {
            Target::Home { node, .. } => Ok(!self.mounts_under(node.id).is_empty()),
            Target::HomeFree { .. } | Target::Mount(_) => Ok(false),
            Target::Shared(target) => Box::pin(target.view?.holds_mounts(&target.inner)).await,
        }
    }

    /// Where a path really is: the home that holds it, and its place there.
    async fn standing(&self, path: &TreePath) -> Result<(SpaceId, TreePath)> {
        match self.resolve(path).await? {
            Target::Home { .. } | Target::HomeFree { .. } | Target::Mount(_) => {
                let base = self.space.path_of(self.base).await?.ok_or(Error::NotFound)?;
                Ok((self.space.id(), base.join_path(path)))
            }
            Target::Shared(target) => Box::pin(target.view?.standing(&target.inner)).await,
        }
    }

    /// Two paths that do not lie in one another may lead through shares to places that do.
    async fn refuse_entwined(&self, from: &TreePath, to: &TreePath) -> Result<()> {
        let (space, there) = self.standing(to).await?;
        let mut sources = vec![self.standing(from).await?];
        if let Target::Home { node, .. } = self.resolve(from).await? {
            for (mount, _) in self.mounts_under(node.id) {
                for share in self.forest.shares().mounted(mount).into_iter().take(1) {
                    let home = self.forest.spaces().get(share.space);
                    let path = match home {
                        Some(home) => home.path_of(share.node).await?,
                        None => None,
                    };
                    sources.extend(path.map(|path| (share.space, path)));
                }
            }
        }
        let entwined = |(home, path): &(SpaceId, TreePath)| *home == space && (path.starts_with(&there) || there.starts_with(path));
        if sources.iter().any(entwined) { Err(IN_ONE_ANOTHER) } else { Ok(()) }
    }

    /// Whether a file may be written in a mount by somebody who has the tokens.
    pub(super) async fn admit_any_lock(&self, target: &MountTarget) -> Result<()> {
        let tokens = self.tokens_at(target).await?;
        self.admit(target, Permissions::UPDATE, Permissions::CREATE, &tokens).await
    }

    async fn tokens_at(&self, target: &MountTarget) -> Result<Vec<LockToken>> {
        Ok(self.space.locks(&target.at).await?.into_iter().map(|lock| lock.token).collect())
    }

    /// A copy over an unreachable mount fails before its first byte.
    async fn demand_reachable(&self, collection: NodeId) -> Result<()> {
        for (mount, _) in self.mounts_under(collection) {
            if self.forest.shares().is_mounted(mount) {
                match self.enter(mount).await {
                    Ok(view) => Box::pin(view.demand_reachable(view.base)).await?,
                    // What is not seen is not copied either.
                    Err(Error::NotFound | Error::Forbidden(_) | Error::Loop) => {}
                    Err(error) => return Err(error),
                }
            } else if !is_online(self.handle(mount)?.as_ref()) {
                return Err(Error::Unavailable { cause: OfflineCause::Unreachable, retry_after: Duration::from_secs(30) });
            }
        }
        Ok(())
    }

    /// Whether everything below a path can be read now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where a mount at or below the path is not online, [`Error::NotFound`].
    pub async fn check_reachable(&self, path: &TreePath) -> Result<()> {
        match self.resolve(path).await? {
            Target::HomeFree { .. } => Err(Error::NotFound),
            Target::Home { node, .. } => self.demand_reachable(node.id).await,
            Target::Mount(target) => self.stat_mounted(&target).await.map(|_entry| ()),
            Target::Shared(target) => Box::pin(target.view?.check_reachable(&target.inner)).await,
        }
    }

    async fn move_across(&self, from: &TreePath, to: &TreePath, source: Write, target: Write) -> Result<(bool, Entry)> {
        let before = self.stat(from).await?;
        if let Expect::Unchanged(expected) = &source.expect
            && expected.as_ref() != Some(&before.node.etag)
        {
            return Err(Error::PreconditionFailed);
        }
        self.demand(before.access.granted, Permissions::DELETE)?;
        let remote = before.access.mount.filter(|mount| !self.forest.shares().is_mounted(*mount));
        let mounted = remote.is_some() && before.node.is_collection();
        let listed = if mounted { Some(self.inventory(from).await?) } else { None };
        let copied = self.copy_across(from, to, true, target).await?;
        // Only what was copied is deleted: a source that changed meanwhile stays.
        if let Some(mount) = remote {
            self.handle(mount)?.look_again();
        }
        let expect = match listed {
            None => Expect::Unchanged(Some(before.node.etag)),
            // The etag of a remote folder need not tell of what is below it.
            Some(listed) if self.inventory(from).await? == listed => Expect::Anything,
            Some(_) => return Err(Error::Changed),
        };
        self.delete(from, Write { expect, tokens: source.tokens }).await?;
        Ok(copied)
    }

    /// A hash of every name and version below a collection.
    async fn inventory(&self, top: &TreePath) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        let (mut pending, mut left) = (vec![top.clone()], PROPFIND_NODES_MAX);
        while let Some(path) = pending.pop() {
            for member in self.list(&path).await?.members() {
                left = left.checked_sub(1).ok_or(Error::LimitReached("the tree is too large to be moved"))?;
                let at = path.join(member.name);
                hash.update(at.as_str());
                hash.update([0]);
                if member.node.is_collection() {
                    pending.push(at);
                } else {
                    hash.update(member.etag.to_string());
                    hash.update([0]);
                }
            }
        }
        Ok(hash.finalize().into())
    }

    async fn copy_across(&self, from: &TreePath, to: &TreePath, deep: bool, target: Write) -> Result<(bool, Entry)> {
        self.demand_target(to).await?;
        let entry = self.stat(from).await?;
        let there = match self.stat(to).await {
            Ok(there) => Some(there.node.is_collection()),
            Err(Error::NotFound) => None,
            Err(error) => return Err(error),
        };
        let taken = there.is_some();
        if taken && target.expect == Expect::Absent {
            return Err(Error::PreconditionFailed);
        }
        if !entry.node.is_collection() && there != Some(true) {
            return self.stream_file(from, to, target).await;
        }
        // Replaced as a whole, and only by what is whole itself (RFC 4918 9.8.4).
        let staging = staging_name(to)?;
        let mut unfinished = Unfinished { view: self, path: &staging, tokens: &target.tokens, over: false };
        let placed = match self.copy_aside(from, &staging, entry.node.is_collection(), deep, &target).await {
            Ok(()) => {
                let source = Write { expect: Expect::Anything, tokens: target.tokens.clone() };
                Box::pin(self.rename(&staging, to, source, target.clone())).await
            }
            Err(error) => Err(error),
        };
        unfinished.over = true;
        if placed.is_err() {
            self.remove_unfinished(&staging, target.tokens.clone()).await;
        }
        placed.map(|(_, entry)| (!taken, entry))
    }

    async fn remove_unfinished(&self, staging: &TreePath, tokens: Vec<LockToken>) {
        let swept = self.erase_unfinished(staging, Write { expect: Expect::Anything, tokens }).await;
        if let Err(error) = swept
            && !matches!(error, Error::NotFound)
        {
            tracing::warn!(%error, "an unfinished copy could not be removed");
        }
    }

    async fn copy_aside(&self, from: &TreePath, staging: &TreePath, collection: bool, deep: bool, target: &Write) -> Result<()> {
        let free = Write { expect: Expect::Absent, tokens: target.tokens.clone() };
        if !collection {
            return self.stream_file(from, staging, free).await.map(|_written| ());
        }
        let made = self.mkcol(staging, free).await;
        made.map_err(|error| if matches!(error, Error::Exists) { Error::PreconditionFailed } else { error })?;
        let mut left = PROPFIND_NODES_MAX;
        if deep { self.copy_members(from, staging, target, &mut left, 0).await } else { Ok(()) }
    }

    fn copy_members<'view>(
        &'view self,
        from: &'view TreePath,
        to: &'view TreePath,
        target: &'view Write,
        left: &'view mut usize,
        depth: usize,
    ) -> Step<'view> {
        Box::pin(async move {
            if depth > PATH_SEGMENTS_MAX {
                return Err(Error::LimitReached("the tree is too deep to be copied"));
            }
            let members: Vec<(Name, bool)> =
                self.list(from).await?.members().map(|member| (member.name.clone(), member.node.is_collection())).collect();
            for (name, collection) in members {
                *left = left.checked_sub(1).ok_or(Error::LimitReached("the tree is too large to be copied"))?;
                let (source, copy) = (from.join(&name), to.join(&name));
                let write = Write { expect: Expect::Absent, tokens: target.tokens.clone() };
                if collection {
                    self.mkcol(&copy, write).await?;
                    self.copy_members(&source, &copy, target, left, depth + 1).await?;
                } else {
                    self.stream_file(&source, &copy, write).await?;
                }
            }
            Ok(())
        })
    }

    /// One file, streamed. Its length is announced, so that a source that breaks off leaves nothing behind.
    async fn stream_file(&self, from: &TreePath, to: &TreePath, target: Write) -> Result<(bool, Entry)> {
        let (entry, source) = self.open(from).await?;
        let length = source.size();
        let body = source.stream(0..length).await?;
        let request =
            PutRequest { write: target, length: Some(length), modified: Some(entry.node.modified), checksum: entry.node.checksum.clone() };
        Box::pin(self.put(to, request, body)).await
    }
}

/// A copy that is not yet in its place. If the request ends before that, its client having hung up, what there is of it goes.
struct Unfinished<'copy> {
    view: &'copy View,
    path: &'copy TreePath,
    tokens: &'copy [LockToken],
    over: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.over
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (view, path, tokens) = (self.view.clone(), self.path.clone(), self.tokens.to_vec());
            drop(runtime.spawn(async move { view.remove_unfinished(&path, tokens).await }));
        }
    }
}

/// A tree cannot be moved or copied into itself, nor onto a folder that holds it (RFC 4918 9.8.5, 9.9.4; attack D2).
fn refuse_nesting(from: &TreePath, to: &TreePath) -> Result<()> {
    if from.starts_with(to) || to.starts_with(from) { Err(IN_ONE_ANOTHER) } else { Ok(()) }
}

/// A mountpoint gives way to nothing: whoever wants its name removes it first.
fn refuse_overwritten_mount(target: &Target) -> Result<()> {
    let taken = match target {
        Target::Mount(target) => target.inner.is_root(),
        Target::Shared(target) => target.inner.is_root(),
        Target::Home { .. } | Target::HomeFree { .. } => false,
    };
    if taken { Err(Error::Forbidden("a mount cannot be overwritten; remove it first")) } else { Ok(()) }
}

/// What a COPY or MOVE needs where it ends: a file is changed, but with a folder all goes that is in it.
fn needed_at_target(there: Option<&Node>) -> Permissions {
    match there {
        None => Permissions::CREATE,
        Some(node) if node.is_collection() => Permissions::DELETE,
        Some(_) => Permissions::UPDATE,
    }
}

/// A name beside the target for a copy that is not yet whole. ownCloud 10 and Nextcloud refuse names that end in `.part`.
fn staging_name(to: &TreePath) -> Result<TreePath> {
    let (parent, name) = to.split_last().ok_or(Error::Forbidden("the top folder cannot be replaced"))?;
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| Error::Internal(error.to_string()))?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let short: String = name.as_str().chars().take(40).collect();
    let name = Name::parse(&format!(".{short}.causeway-{digits}.tmp")).map_err(|_error| Error::InvalidName("it is too long"))?;
    Ok(parent.join(&name))
}
