//! COPY and MOVE: native inside one backend, streamed across backends. A source is deleted only after its copy is whole (DESIGN 5).

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::domain::{Error, Expect, LockToken, Name, Node, OfflineCause, Permissions, PutRequest, Result, TreePath, Write};
use crate::limits::{PATH_SEGMENTS_MAX, PROPFIND_NODES_MAX};
use crate::tree::etags::is_online;
use crate::tree::resolve::{MountTarget, Target};
use crate::tree::write::below_mount;
use crate::tree::{Entry, View};

type Step<'view> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'view>>;

impl View {
    /// Moves a node. Returns whether the target name was free, and the node at its new place.
    ///
    /// # Errors
    /// What [`Error`] lists for writes; on each of them source and target are as before.
    pub async fn rename(&self, from: &TreePath, to: &TreePath, source: Write, target: Write) -> Result<(bool, Entry)> {
        refuse_nesting(from, to)?;
        match (self.resolve(from).await?, self.resolve(to).await?) {
            (Target::HomeFree { .. }, _) => {
                self.demand(self.granted, Permissions::READ)?;
                Err(Error::NotFound)
            }
            (_, Target::HomeFree { parent_exists: false, .. }) => Err(Error::ParentMissing),
            (_, Target::Mount(point)) if point.inner.is_root() => Err(Error::Forbidden("a mount cannot be overwritten; remove it first")),
            (Target::Home { at: from_at, node }, Target::Home { at, .. } | Target::HomeFree { at, .. }) => {
                self.demand_rename(from, to).await?;
                let source = self.home_write(&node, source)?;
                let written = self.space.rename(&from_at, &at, source, target).await?;
                Ok((written.created, self.home_entry(written.node)))
            }
            (Target::Mount(point), Target::Home { at, .. } | Target::HomeFree { at, .. }) if point.inner.is_root() => {
                self.demand_own_mount()?;
                let written = self.space.rename(&point.at, &at, source, target).await?;
                Ok((written.created, self.mounted_entry(point.mount, &point.row)))
            }
            (Target::Mount(point), Target::Mount(_)) if point.inner.is_root() => {
                Err(Error::Forbidden("a mount cannot be moved into another mount"))
            }
            (Target::Mount(one), Target::Mount(other)) if one.mount == other.mount => {
                self.admit(&one, Permissions::UPDATE, Permissions::UPDATE, &source.tokens).await?;
                self.admit(&other, Permissions::UPDATE, Permissions::CREATE, &target.tokens).await?;
                let handle = self.handle(one.mount)?;
                let written = handle.rename(&self.via, &one.inner, &other.inner, source, target).await;
                let written = written.map_err(|error| below_mount(error, &one))?;
                let access = self.mount_access(one.mount, &written.node, false);
                Ok((written.created, Entry { node: written.node, access }))
            }
            (Target::Home { node, .. }, Target::Mount(_)) => {
                if !self.mounts_under(node.id).is_empty() {
                    return Err(Error::Forbidden("a folder that holds mounts cannot be moved into a mount"));
                }
                self.move_across(from, to, source, target).await
            }
            (Target::Mount(_), Target::Mount(_) | Target::Home { .. } | Target::HomeFree { .. }) => {
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
        match (self.resolve(from).await?, self.resolve(to).await?) {
            (Target::HomeFree { .. }, _) => Err(Error::NotFound),
            (_, Target::HomeFree { parent_exists: false, .. }) => Err(Error::ParentMissing),
            (_, Target::Mount(point)) if point.inner.is_root() => Err(Error::Forbidden("a mount cannot be overwritten; remove it first")),
            (Target::Home { at: from_at, node }, Target::Home { at, .. } | Target::HomeFree { at, .. })
                if !deep || self.mounts_under(node.id).is_empty() =>
            {
                self.demand_target(to).await?;
                let written = self.space.copy(&from_at, &at, deep, target).await?;
                Ok((written.created, self.home_entry(written.node)))
            }
            (Target::Mount(one), Target::Mount(other)) if one.mount == other.mount => {
                self.admit(&other, Permissions::UPDATE, Permissions::CREATE, &target.tokens).await?;
                let handle = self.handle(one.mount)?;
                let written = handle.copy(&self.via, &one.inner, &other.inner, deep, target).await;
                let written = written.map_err(|error| below_mount(error, &other))?;
                let access = self.mount_access(one.mount, &written.node, false);
                Ok((written.created, Entry { node: written.node, access }))
            }
            (Target::Home { node, .. }, Target::Home { .. } | Target::HomeFree { .. } | Target::Mount(_)) => {
                self.demand_reachable(&node)?;
                self.copy_across(from, to, deep, target).await
            }
            (Target::Mount(_), Target::Home { .. } | Target::HomeFree { .. } | Target::Mount(_)) => {
                self.copy_across(from, to, deep, target).await
            }
        }
    }

    /// Inside one collection a rename changes; between two it deletes here and creates there.
    async fn demand_rename(&self, from: &TreePath, to: &TreePath) -> Result<()> {
        if from.parent() == to.parent() {
            self.demand(self.granted, Permissions::UPDATE)
        } else {
            self.demand(self.granted, Permissions::DELETE)?;
            self.demand_target(to).await
        }
    }

    /// What a COPY or MOVE needs at its target.
    async fn demand_target(&self, to: &TreePath) -> Result<()> {
        match self.resolve(to).await? {
            Target::HomeFree { .. } => self.demand(self.granted, Permissions::CREATE),
            Target::Home { node, .. } if node.is_collection() => self.demand(self.granted, Permissions::DELETE),
            Target::Home { .. } => self.demand(self.granted, Permissions::UPDATE),
            Target::Mount(target) => self.admit_any_lock(&target).await,
        }
    }

    async fn admit_any_lock(&self, target: &MountTarget) -> Result<()> {
        let tokens: Vec<_> = self.space.locks(&target.at).await?.into_iter().map(|lock| lock.token).collect();
        self.admit(target, Permissions::UPDATE, Permissions::CREATE, &tokens).await
    }

    /// A copy over an unreachable mount fails before its first byte.
    fn demand_reachable(&self, node: &Node) -> Result<()> {
        for (mount, _) in self.mounts_under(node.id) {
            if !is_online(self.handle(mount)?.as_ref()) {
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
            Target::Home { node, .. } => self.demand_reachable(&node),
            Target::Mount(target) => self.stat_mounted(&target).await.map(|_entry| ()),
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
        let mounted = before.access.mount.is_some() && before.node.is_collection();
        let listed = if mounted { Some(self.inventory(from).await?) } else { None };
        let copied = self.copy_across(from, to, true, target).await?;
        // Only what was copied is deleted: a source that changed meanwhile stays.
        if let Some(mount) = before.access.mount {
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
        let swept = self.delete(staging, Write { expect: Expect::Anything, tokens }).await;
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
    if from.starts_with(to) || to.starts_with(from) {
        return Err(Error::Forbidden("source and destination lie in one another"));
    }
    Ok(())
}

/// A name beside the target for a copy that is not yet whole.
fn staging_name(to: &TreePath) -> Result<TreePath> {
    let (parent, name) = to.split_last().ok_or(Error::Forbidden("the top folder cannot be replaced"))?;
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| Error::Internal(error.to_string()))?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let short: String = name.as_str().chars().take(40).collect();
    let name = Name::parse(&format!(".{short}.causeway-{digits}.part")).map_err(|_error| Error::InvalidName("it is too long"))?;
    Ok(parent.join(&name))
}
