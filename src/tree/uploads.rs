//! Uploads in chunks: the chunks lie with the owner of the tree, wherever the file will go.

use std::sync::Arc;

use crate::domain::{Error, Permissions, PutRequest, Result, TreePath, UploadId};
use crate::remote::Whole;
use crate::space::{HeldUpload, Space};
use crate::tree::resolve::{MountTarget, Target};
use crate::tree::write::below;
use crate::tree::{Entry, View};

impl View {
    /// Where chunks of this principal are kept.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where nothing may be written at all.
    pub fn chunk_space(&self) -> Result<&Arc<Space>> {
        if self.granted.contains(Permissions::CREATE) || self.granted.contains(Permissions::UPDATE) {
            Ok(&self.space)
        } else {
            Err(Error::Forbidden("nothing may be changed here"))
        }
    }

    /// Refuses what would be refused at the end of an upload anyway: a target that may not be written, a folder, a file that is too large for
    /// a remote. What may change until then, such as a parent that is missing or a remote that is away, is no reason.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::IsCollection`], [`Error::InsufficientStorage`].
    pub async fn check_upload(&self, path: &TreePath, total: u64) -> Result<()> {
        if self.is_drop() {
            return Ok(());
        }
        match self.resolve(path).await? {
            Target::Home { node, .. } if node.is_collection() => Err(Error::IsCollection),
            Target::Home { .. } => self.demand(self.granted, Permissions::UPDATE),
            Target::HomeFree { .. } => self.demand(self.granted, Permissions::CREATE),
            Target::Shared(target) => Box::pin(target.view?.check_upload(&target.inner, total)).await,
            Target::Mount(target) => {
                if let Err(error @ Error::Forbidden(_)) = self.admit_any_lock(&target).await {
                    return Err(error);
                }
                let left = self.handle(target.mount)?.quota(&self.via).await?.available;
                if left.is_some_and(|left| left < total) { Err(Error::InsufficientStorage) } else { Ok(()) }
            }
        }
    }

    /// Sends what was uploaded in chunks into a mount. The remote's trouble leaves the upload as it was: the next try goes on.
    pub(super) async fn send_upload(&self, target: &MountTarget, upload: UploadId, request: PutRequest) -> Result<(bool, Entry)> {
        let held = self.hold_upload(upload, &request).await?;
        let written = self.send_held(target, &held, request).await?;
        held.finish().await?;
        Ok(written)
    }

    /// Puts what was uploaded in chunks into a share: its owner has the bytes from then on.
    pub(super) async fn hand_upload(&self, owner: View, inner: &TreePath, upload: UploadId, request: PutRequest) -> Result<(bool, Entry)> {
        let held = self.hold_upload(upload, &request).await?;
        let written = Box::pin(owner.put_held(inner, &held, request)).await?;
        held.finish().await?;
        Ok(written)
    }

    async fn hold_upload(&self, upload: UploadId, request: &PutRequest) -> Result<HeldUpload> {
        let held = self.space.hold_upload(upload).await?;
        if request.length.is_some_and(|length| length != held.length) {
            return Err(Error::BodyMismatch("the chunks do not add up to the length that was announced"));
        }
        Ok(held)
    }

    /// Writes what another tree of this server holds; into a mount in chunks, as from there.
    async fn put_held(&self, path: &TreePath, held: &HeldUpload, request: PutRequest) -> Result<(bool, Entry)> {
        match self.resolve(path).await? {
            Target::Mount(target) if !self.is_drop() => self.send_held(&target, held, request).await,
            Target::Shared(target) if !self.is_drop() => {
                self.check_home_locks(&target.at, &request.write.tokens).await?;
                let written = Box::pin(target.view?.put_held(&target.inner, held, request)).await;
                let (created, entry) = written.map_err(|error| below(error, &target.at))?;
                Ok((created, self.through(&target.inner, entry)))
            }
            Target::Home { .. } | Target::HomeFree { .. } | Target::Mount(_) | Target::Shared(_) => {
                let request = PutRequest { length: Some(held.length), ..request };
                Box::pin(self.put(path, request, held.read(0..held.length))).await
            }
        }
    }

    async fn send_held(&self, target: &MountTarget, held: &HeldUpload, request: PutRequest) -> Result<(bool, Entry)> {
        self.admit(target, Permissions::UPDATE, Permissions::CREATE, &request.write.tokens).await?;
        let handle = self.handle(target.mount)?;
        // A resumed transfer cannot be hashed as it goes by: before it, so that the other end can judge the whole.
        let checksum = held.checksum(request.checksum.as_ref()).await?;
        let whole = Whole { length: held.length, identity: held.identity, read: Box::new(|range| held.read(range)) };
        let written = Box::pin(handle.put_whole(&self.via, &target.inner, request, checksum, &whole)).await;
        let written = written.map_err(|error| below(error, &target.at))?;
        let access = self.mount_access(target.mount, &written.node, target.inner.is_root());
        Ok((written.created, Entry { node: written.node, access }))
    }
}
