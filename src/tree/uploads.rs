//! Uploads in chunks: the chunks lie with the owner of the tree, wherever the file will go.

use std::sync::Arc;

use crate::domain::{Error, Permissions, PutRequest, Result, TreePath, UploadId};
use crate::space::Space;
use crate::tree::resolve::MountTarget;
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

    /// Sends what was uploaded in chunks into a mount.
    pub(super) async fn send_upload(&self, target: &MountTarget, upload: UploadId, request: PutRequest) -> Result<(bool, Entry)> {
        self.admit(target, Permissions::UPDATE, Permissions::CREATE, &request.write.tokens).await?;
        let handle = self.handle(target.mount)?;
        let (body, length) = self.space.read_upload(upload).await?;
        let request = PutRequest { length: Some(length), ..request };
        let written = handle.put(&self.via, &target.inner, request, body).await;
        let written = written.map_err(|error| super::write::below(error, &target.at))?;
        self.space.drop_upload(upload).await?;
        let access = self.mount_access(target.mount, &written.node, target.inner.is_root());
        Ok((written.created, Entry { node: written.node, access }))
    }

    /// Puts what was uploaded in chunks into a share: its owner has the bytes from then on.
    pub(super) async fn hand_upload(&self, owner: View, inner: &TreePath, upload: UploadId, request: PutRequest) -> Result<(bool, Entry)> {
        let (body, length) = self.space.read_upload(upload).await?;
        let request = PutRequest { length: Some(length), ..request };
        let written = Box::pin(owner.put(inner, request, body)).await?;
        self.space.drop_upload(upload).await?;
        Ok(written)
    }
}
