//! Big files into a mount: in chunks where the remote takes them, so that what a lost connection has cost is not sent again.

use crate::domain::{Checksum, Error, Expect, Kind, PutRequest, Result, TreePath, Written};
use crate::limits::REMOTE_CHUNK_BYTES;
use crate::mount::MountHandle;
use crate::mount::locks::Reach;
use crate::remote::{Content, Whole};
use crate::wire::Via;

impl MountHandle {
    /// Writes a file that lies here whole. `checksum` is that of its bytes.
    ///
    /// # Errors
    /// As of [`MountHandle::put`]. After one that passes, the next call sends what is missing.
    pub async fn put_whole(
        &self,
        via: &Via,
        path: &TreePath,
        request: PutRequest,
        checksum: Checksum,
        whole: &Whole<'_>,
    ) -> Result<Written> {
        if let Some(written) = self.arrived(via, path, &request, &checksum, whole.length).await? {
            return Ok(written);
        }
        if self.traits().takes_chunks && whole.length > REMOTE_CHUNK_BYTES {
            match self.put_chunks(via, path, &request, &checksum, whole).await {
                // That server does not, after all, and nothing was sent.
                Err(Error::Unsupported(_)) => {}
                done => return done,
            }
        }
        let request = PutRequest { length: Some(whole.length), checksum: Some(checksum), ..request };
        self.put(via, path, request, (whole.read)(0..whole.length)).await
    }

    async fn put_chunks(
        &self,
        via: &Via,
        path: &TreePath,
        request: &PutRequest,
        checksum: &Checksum,
        whole: &Whole<'_>,
    ) -> Result<Written> {
        let judged = self.judge(via, path, &request.write.expect).await?;
        let created = judged.found.is_none();
        if judged.found == Some(Kind::Collection) {
            return Err(Error::IsCollection);
        }
        let reach = if created { Reach::Member } else { Reach::Node };
        let conditions = &judged.conditions(self.admit_locks(path, reach, &request.write.tokens)?);
        let content = Content { length: Some(whole.length), modified: request.modified, checksum: Some(checksum.to_string()) };
        let sent = self.ask(via, path, |share| async move { share.put_chunks(via, path, whole, content, conditions).await }).await;
        self.wrote(&[path]);
        sent?;
        self.written(via, path, created).await
    }

    /// Whether these very bytes, with this time, are there already: an earlier try of the same upload came through, and only its answer was
    /// lost. To its client the file is as it wanted it, whatever etag it expected.
    async fn arrived(&self, via: &Via, path: &TreePath, request: &PutRequest, checksum: &Checksum, length: u64) -> Result<Option<Written>> {
        if request.write.expect == Expect::Absent || request.modified.is_none() {
            return Ok(None);
        }
        let node = match self.stat(via, path).await {
            Ok(node) => node,
            Err(Error::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let same = node.size == length && node.checksum.as_ref() == Some(checksum) && Some(node.modified) == request.modified;
        Ok(same.then_some(Written { created: false, node }))
    }
}
