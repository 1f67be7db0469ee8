//! Writing: put, mkcol, delete, properties.

use crate::domain::{
    At, Error, Expect, LockDepth, LockToken, Name, Node, Permissions, PropertyChange, PutRequest, Result, TreePath, UploadId, Write,
    Written,
};
use crate::tree::resolve::{MountTarget, Target};
use crate::tree::{Entry, View};
use crate::wire::Incoming;

/// Where the bytes of a file come from.
enum Bytes {
    /// A body on its way in.
    Body(Incoming),
    /// Chunks that have come before.
    Upload(UploadId),
}

/// Names that a file drop tries before it gives up.
const DROP_NAMES_MAX: u32 = 1000;

impl View {
    /// Writes a file, whole or not at all. Returns whether the name was free, and the file.
    ///
    /// # Errors
    /// What [`Error`] lists for writes; the old content stays on every one of them.
    pub async fn put(&self, path: &TreePath, request: PutRequest, body: Incoming) -> Result<(bool, Entry)> {
        self.put_from(path, request, Bytes::Body(body)).await
    }

    /// Places what was uploaded in chunks; the upload ends with it. Returns whether the name was free, and the file.
    ///
    /// # Errors
    /// As of [`View::put`], and [`Error::NotFound`] where there is no such upload; on every one of them it stays.
    pub async fn place_upload(&self, path: &TreePath, upload: UploadId, request: PutRequest) -> Result<(bool, Entry)> {
        self.put_from(path, request, Bytes::Upload(upload)).await
    }

    async fn put_from(&self, path: &TreePath, request: PutRequest, body: Bytes) -> Result<(bool, Entry)> {
        if self.is_drop() {
            return self.put_dropped(path, request, body).await;
        }
        match self.resolve(path).await? {
            Target::Home { at, node } => {
                self.demand(self.granted, Permissions::UPDATE)?;
                if node.is_collection() {
                    return Err(Error::IsCollection);
                }
                let written = self.put_home(&at, request, body).await?;
                Ok((written.created, self.home_entry(written.node).await))
            }
            Target::HomeFree { at, parent_exists } => {
                self.demand(self.granted, Permissions::CREATE)?;
                if !parent_exists {
                    return Err(Error::ParentMissing);
                }
                let written = self.put_home(&at, request, body).await?;
                Ok((written.created, self.home_entry(written.node).await))
            }
            Target::Mount(target) => {
                let handle = self.handle(target.mount)?;
                let body = match body {
                    Bytes::Body(body) => body,
                    Bytes::Upload(upload) => return self.send_upload(&target, upload, request).await,
                };
                let all = Permissions::UPDATE | Permissions::CREATE;
                let written = if self.granted.contains(all) && handle.puts_unseen(&target.inner, &request) {
                    self.check_home_locks(&target.at, &request.write.tokens).await?;
                    handle.put_unseen(&self.via, &target.inner, request, body).await
                } else {
                    self.admit(&target, Permissions::UPDATE, Permissions::CREATE, &request.write.tokens).await?;
                    handle.put(&self.via, &target.inner, request, body).await
                };
                let written = written.map_err(|error| below(error, &target.at))?;
                let access = self.mount_access(target.mount, &written.node, target.inner.is_root());
                Ok((written.created, Entry { node: written.node, access }))
            }
            Target::Shared(target) => {
                self.check_home_locks(&target.at, &request.write.tokens).await?;
                let written = match body {
                    Bytes::Body(body) => Box::pin(target.view?.put(&target.inner, request, body)).await,
                    Bytes::Upload(upload) => self.hand_upload(target.view?, &target.inner, upload, request).await,
                };
                let (created, entry) = written.map_err(|error| below(error, &target.at))?;
                Ok((created, self.through(&target.inner, entry)))
            }
        }
    }

    async fn put_home(&self, at: &At, request: PutRequest, body: Bytes) -> Result<Written> {
        match body {
            Bytes::Body(body) => self.space.put(at, request, body).await,
            Bytes::Upload(upload) => self.space.place_upload(upload, at, request).await,
        }
    }

    /// A file drop never says what it holds: a taken name becomes `name (2).ext`.
    async fn put_dropped(&self, path: &TreePath, request: PutRequest, body: Bytes) -> Result<(bool, Entry)> {
        let Some(name) = path.name().filter(|_| path.depth() == 1) else {
            return Err(Error::Forbidden("this link takes files only, and only in its top folder"));
        };
        for number in 1..=DROP_NAMES_MAX {
            let candidate = TreePath::from(numbered(&name, number)?);
            if let Target::HomeFree { at, parent_exists: true } = self.resolve(&candidate).await? {
                let write = Write { expect: Expect::Absent, tokens: request.write.tokens.clone() };
                let written = self.put_home(&at, PutRequest { write, ..request }, body).await?;
                return Ok((true, self.home_entry(written.node).await));
            }
        }
        Err(Error::LimitReached("too many files of that name were dropped here"))
    }

    /// Makes a collection.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::ParentMissing`], and what [`Error`] lists for writes.
    pub async fn mkcol(&self, path: &TreePath, write: Write) -> Result<Entry> {
        if self.is_drop() {
            return Err(Error::Forbidden("this link takes files only"));
        }
        match self.resolve(path).await? {
            Target::Home { .. } => Err(Error::Exists),
            Target::HomeFree { at, parent_exists } => {
                self.demand(self.granted, Permissions::CREATE)?;
                if !parent_exists {
                    return Err(Error::ParentMissing);
                }
                Ok(self.home_entry(self.space.mkcol(&at, write).await?.node).await)
            }
            Target::Mount(target) if target.inner.is_root() => Err(Error::Exists),
            Target::Shared(target) if target.inner.is_root() => Err(Error::Exists),
            Target::Shared(target) => {
                self.check_home_locks(&target.at, &write.tokens).await?;
                let made = Box::pin(target.view?.mkcol(&target.inner, write)).await;
                made.map_err(|error| below(error, &target.at))
            }
            Target::Mount(target) => {
                self.admit(&target, Permissions::CREATE, Permissions::CREATE, &write.tokens).await?;
                let written = self.handle(target.mount)?.mkcol(&self.via, &target.inner, write).await;
                let node = written.map_err(|error| below(error, &target.at))?.node;
                let access = self.mount_access(target.mount, &node, false);
                Ok(Entry { node, access })
            }
        }
    }

    /// Deletes a node and all below it. Of a mount's root this unmounts, of a share's root it declines; those below a deleted folder go
    /// alike, and nothing is asked of remotes or deleted at owners.
    ///
    /// # Errors
    /// What [`Error`] lists for writes. The root of a view cannot be deleted.
    pub async fn delete(&self, path: &TreePath, write: Write) -> Result<()> {
        if path.is_root() {
            return Err(Error::Forbidden("the top folder cannot be deleted"));
        }
        match self.resolve(path).await? {
            Target::HomeFree { .. } => {
                self.demand(self.granted, Permissions::READ)?;
                Err(Error::NotFound)
            }
            Target::Home { at, node } => {
                self.demand(self.granted, Permissions::DELETE)?;
                let write = self.home_write(&node, write).await?;
                if !self.mounts_under(node.id).is_empty() {
                    self.demand_own_mount()?;
                }
                for mount in self.space.delete(&at, write).await? {
                    self.forest.mounts().remove(mount).await?;
                    if self.forest.shares().is_mounted(mount) {
                        self.decline(mount).await?;
                    }
                }
                self.forest.bury_shares(self.space.id(), (!node.is_collection()).then_some(node.id)).await
            }
            Target::Mount(target) if target.inner.is_root() => {
                self.demand_own_mount()?;
                self.check_home_locks(&target.at, &write.tokens).await?;
                // The row goes first: a mount without a row is invisible, a row without a mount would be a folder that never answers.
                self.space.remove_mount(target.mount).await?;
                self.forest.mounts().remove(target.mount).await
            }
            Target::Mount(target) => {
                self.admit(&target, Permissions::DELETE, Permissions::DELETE, &write.tokens).await?;
                let deleted = self.handle(target.mount)?.delete(&self.via, &target.inner, write).await;
                deleted.map_err(|error| below(error, &target.at))
            }
            Target::Shared(target) if target.inner.is_root() => {
                self.demand_own_mount()?;
                self.check_home_locks(&target.at, &write.tokens).await?;
                self.decline(target.mount).await
            }
            Target::Shared(target) => {
                self.check_home_locks(&target.at, &write.tokens).await?;
                let deleted = Box::pin(target.view?.delete(&target.inner, write)).await;
                deleted.map_err(|error| below(error, &target.at))
            }
        }
    }

    /// Removes what was made here under a name that nobody was told, and was not finished: not to the trash.
    pub(super) async fn erase_unfinished(&self, path: &TreePath, write: Write) -> Result<()> {
        match self.resolve(path).await? {
            Target::Home { at, .. } => {
                self.demand(self.granted, Permissions::DELETE)?;
                self.space.erase(&at, write).await.map(drop)
            }
            Target::HomeFree { .. } => Err(Error::NotFound),
            Target::Shared(target) => {
                let erased = Box::pin(target.view?.erase_unfinished(&target.inner, write)).await;
                erased.map_err(|error| below(error, &target.at))
            }
            Target::Mount(_) => self.delete(path, write).await,
        }
    }

    /// Changes dead properties and the modification time, all or none.
    ///
    /// # Errors
    /// What [`Error`] lists for writes.
    pub async fn patch_properties(&self, path: &TreePath, changes: Vec<PropertyChange>, write: Write) -> Result<Entry> {
        match self.resolve(path).await? {
            Target::HomeFree { .. } => {
                self.demand(self.granted, Permissions::READ)?;
                Err(Error::NotFound)
            }
            Target::Home { at, node } => {
                self.demand(self.granted, Permissions::UPDATE)?;
                let write = self.home_write(&node, write).await?;
                Ok(self.home_entry(self.space.patch_properties(&at, changes, write).await?).await)
            }
            Target::Shared(target) => {
                self.check_home_locks(&target.at, &write.tokens).await?;
                let patched = Box::pin(target.view?.patch_properties(&target.inner, changes, write)).await;
                let entry = patched.map_err(|error| below(error, &target.at))?;
                Ok(self.through(&target.inner, entry))
            }
            Target::Mount(target) => {
                self.admit(&target, Permissions::UPDATE, Permissions::UPDATE, &write.tokens).await?;
                let node = self.handle(target.mount)?.patch_properties(&self.via, &target.inner, changes, write).await;
                let node = node.map_err(|error| below(error, &target.at))?;
                let access = self.mount_access(target.mount, &node, target.inner.is_root());
                Ok(Entry { node, access })
            }
        }
    }

    /// Whether a write inside a mount is allowed: `existing` on what is there, `free` on its parent for a free name. Rights of the view and
    /// of the remote intersect; a lock on a folder above the mountpoint counts inside it too.
    pub(super) async fn admit(&self, target: &MountTarget, existing: Permissions, free: Permissions, tokens: &[LockToken]) -> Result<()> {
        self.admit_by(target, tokens, |there| if there.is_some() { existing } else { free }).await
    }

    /// As [`View::admit`], where what is needed depends on what is there.
    pub(super) async fn admit_by(
        &self,
        target: &MountTarget,
        tokens: &[LockToken],
        needed: impl FnOnce(Option<&Node>) -> Permissions,
    ) -> Result<()> {
        let handle = self.handle(target.mount)?;
        let (node, needed) = match handle.stat(&self.via, &target.inner).await {
            Ok(node) => {
                let needed = needed(Some(&node));
                (node, needed)
            }
            Err(Error::NotFound) => {
                let parent = target.inner.parent().ok_or(Error::NotFound)?;
                let parent = handle.stat(&self.via, &parent).await;
                (parent.map_err(|error| if matches!(error, Error::NotFound) { Error::ParentMissing } else { error })?, needed(None))
            }
            Err(error) => return Err(error),
        };
        self.demand(self.granted & node.permissions, needed)?;
        self.check_home_locks(&target.at, tokens).await
    }

    /// A lock of the home that reaches down to a mountpoint.
    pub(super) async fn check_home_locks(&self, mountpoint: &At, tokens: &[LockToken]) -> Result<()> {
        let locks = self.space.locks(mountpoint).await?;
        let reaching = locks.into_iter().find(|lock| lock.depth == LockDepth::Infinity && !tokens.contains(&lock.token));
        reaching.map_or(Ok(()), |lock| Err(Error::Locked(lock.root)))
    }
}

/// An error from inside a mount or a share, told in paths of the view.
pub(super) fn below(error: Error, mountpoint: &At) -> Error {
    if let Error::Locked(root) = error { Error::Locked(mountpoint.path.join_path(&root)) } else { error }
}

/// `single.txt`, `single (2).txt`, … as ownCloud counts (`protocol/owncloud.md` 2.4).
fn numbered(name: &Name, number: u32) -> Result<Name> {
    if number == 1 {
        return Ok(name.clone());
    }
    let text = name.as_str();
    let numbered = match text.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => format!("{stem} ({number}).{extension}"),
        Some(_) | None => format!("{text} ({number})"),
    };
    Name::parse(&numbered).map_err(|_error| Error::InvalidName("it is too long to be numbered"))
}
