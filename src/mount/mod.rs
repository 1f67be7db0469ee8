//! Remote shares as backends: state, listing cache, locks, and the poll loop that makes remote changes visible.
//!
//! **Invariants:** [`MountHandle::root`] and [`MountHandle::state`] make no outbound call, so that no listing of a parent ever waits for a
//! remote; what cannot be reached is [`Unavailable`](crate::domain::Error::Unavailable), never absence; no fault removes a mount; the root's
//! etag is raised only after its listing was replaced.

mod again;
mod cache;
mod chunks;
mod contents;
mod faults;
mod handle;
mod locks;
mod nodes;
mod poll;
mod read;
mod root;
mod spool;
mod write;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

pub use handle::MountHandle;
pub use read::RemoteFile;

use crate::domain::{Clock, Mount, MountId, Result, Secret};
use crate::remote::{Credentials, Remotes, Share};
use crate::store::{Batch, Record as _, Store};

/// Every mount of a server. Cheap to clone.
#[derive(Clone)]
pub struct Mounts {
    inner: Arc<Inner>,
}

pub(in crate::mount) struct Inner {
    store: Store,
    remotes: Remotes,
    clock: Clock,
    /// Where bodies of unknown length wait for remotes that need the length.
    spool: PathBuf,
    roots: root::Roots,
    contents: contents::Contents,
    handles: RwLock<HashMap<MountId, Arc<MountHandle>>>,
    /// Told when a mount is removed.
    removed: Notify,
}

impl std::fmt::Debug for Mounts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Mounts({})", self.all().len())
    }
}

impl Mounts {
    /// No mounts yet; `spool` is a folder for bodies of unknown length.
    pub fn new(store: Store, remotes: Remotes, clock: Clock, spool: PathBuf) -> Mounts {
        let (roots, contents) = (root::Roots::default(), contents::Contents::default());
        let inner = Inner { store, remotes, clock, spool, roots, contents, handles: RwLock::default(), removed: Notify::new() };
        Mounts { inner: Arc::new(inner) }
    }

    /// Attaches a mount whose record is stored. Makes no outbound call; a mount whose URL no longer parses is attached as unreachable.
    pub fn insert(&self, record: Mount, password: Secret) {
        let handle = MountHandle::new(&self.inner, self.share(&record, password), record);
        self.write().insert(handle.id(), Arc::new(handle));
    }

    /// Attaches the mount of a share that another server offered, whose record is stored. Its secret is none of a person's to give: where it
    /// is no longer taken, the share is gone.
    pub fn insert_offered(&self, record: Mount, credentials: Credentials) {
        let share = Share::new(self.inner.remotes.clone(), &record.url, Some(credentials), record.vendor, record.kind).ok();
        let handle = MountHandle::new(&self.inner, share, record).of_offer();
        self.write().insert(handle.id(), Arc::new(handle));
    }

    /// Waits until a mount is removed; one that was removed since the last wait counts.
    pub async fn removed(&self) {
        self.inner.removed.notified().await;
    }

    /// The handle of a mount.
    pub fn get(&self, mount: MountId) -> Option<Arc<MountHandle>> {
        self.inner.handles.read().unwrap_or_else(PoisonError::into_inner).get(&mount).cloned()
    }

    /// All handles.
    pub fn all(&self) -> Vec<Arc<MountHandle>> {
        self.inner.handles.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Forgets a mount: handle, record and cached listings. Nothing is asked of the remote.
    ///
    /// # Errors
    /// Where the store refuses; then everything is as before.
    pub async fn remove(&self, mount: MountId) -> Result<()> {
        let Some(handle) = self.get(mount) else { return Ok(()) };
        let batch = again::forget(locks::forget(Batch::new().delete::<Mount>(&handle.record().key()), mount), mount);
        self.inner.store.commit(batch).await?;
        drop(self.write().remove(&mount));
        cache::forget(&self.inner.store, mount);
        self.inner.contents.forget(mount);
        self.inner.removed.notify_one();
        Ok(())
    }

    /// Lets go of every handle at the end of a server: they hold what holds them.
    pub fn close(&self) {
        self.write().clear();
    }

    /// Gives a mount another password. The caller stores the record.
    pub fn set_password(&self, mount: MountId, password: Secret, record: Mount) {
        if let Some(handle) = self.get(mount) {
            let share = self.share(&record, password);
            handle.replace(share, record);
        }
    }

    /// Lets a mount go on at another address, or with other credentials. The caller stores the record.
    pub fn readdress(&self, record: Mount, credentials: Option<Credentials>) {
        if let Some(handle) = self.get(record.id) {
            let share = Share::new(self.inner.remotes.clone(), &record.url, credentials, record.vendor, record.kind).ok();
            handle.replace(share, record);
        }
    }

    fn share(&self, record: &Mount, password: Secret) -> Option<Share> {
        let credentials = (!record.login.is_empty()).then(|| Credentials::basic(record.login.clone(), password));
        Share::new(self.inner.remotes.clone(), &record.url, credentials, record.vendor, record.kind).ok()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<MountId, Arc<MountHandle>>> {
        self.inner.handles.write().unwrap_or_else(PoisonError::into_inner)
    }
}
