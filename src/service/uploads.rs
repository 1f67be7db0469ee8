//! Uploads in chunks as sessions: who began which, and when they end unfinished. Their bytes lie in `space`.
//!
//! A session is a record and a folder of chunks. The folder is made first and ends first: what has a record and no folder is over. **Invariant:**
//! a session is found by whoever began it alone, in the space where it was begun.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{ChunkName, Clock, Error, Principal, PutRequest, Result, SpaceId, TreePath, Upload, UploadId, UploadName};
use crate::limits::{LINK_CHUNKS_MAX, UPLOAD_IDLE_MAX, UPLOADS_MAX, USER_CHUNKS_MAX};
use crate::space::Spaces;
use crate::store::{Batch, Record as _, Store};
use crate::tree::{Entry, View};

/// The sessions of one server. Clones share them.
#[derive(Debug, Clone)]
pub struct Uploads {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    spaces: Spaces,
    clock: Clock,
    sessions: Mutex<HashMap<(Principal, UploadName), Arc<Upload>>>,
    /// Two that begin the same session do it one after the other.
    beginning: tokio::sync::Mutex<()>,
}

/// What a client says of its upload when it begins.
#[derive(Debug, Clone, Copy, Default)]
pub struct Announced {
    /// Bytes of the whole.
    pub total: Option<u64>,
    /// Number of chunks.
    pub count: Option<u32>,
}

impl Uploads {
    /// Reads the sessions and lets go of what is half there. Blocks. Every space is registered before.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn open(store: Store, spaces: Spaces, clock: Clock) -> Result<Uploads> {
        let mut sessions = HashMap::new();
        for upload in store.list::<Upload>()? {
            // In the order of their numbers: of two that have one name the older one is over.
            let older: Option<Arc<Upload>> = sessions.insert((upload.principal.clone(), upload.name.clone()), Arc::new(upload));
            if let Some(older) = older {
                store.commit_blocking(Batch::new().delete::<Upload>(&older.key()))?;
            }
        }
        let inner = Inner { store, spaces, clock, sessions: Mutex::new(sessions), beginning: tokio::sync::Mutex::default() };
        Ok(Uploads { inner: Arc::new(inner) })
    }

    /// Begins a session.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::InsufficientStorage`] where the whole cannot fit; [`Error::Forbidden`] where nothing may be written.
    pub async fn begin(&self, view: &View, name: UploadName, announced: Announced) -> Result<Arc<Upload>> {
        let space = view.chunk_space()?;
        let _beginning = self.inner.beginning.lock().await;
        if self.find(view, &name).is_ok() {
            return Err(Error::Exists);
        }
        let own = self.sessions().keys().filter(|(principal, _)| principal == view.principal()).count();
        if own >= UPLOADS_MAX {
            return Err(Error::LimitReached("too many uploads are unfinished"));
        }
        let id = UploadId(self.inner.store.next_id()?);
        let Announced { total, count } = announced;
        space.begin_upload(id, view.principal(), total).await?;
        let (principal, begun) = (view.principal().clone(), self.inner.clock.now());
        let upload = Upload { id, principal: principal.clone(), space: space.id(), name: name.clone(), total, count, begun };
        let mut batch = Batch::new().put(&upload);
        // One of that name whose end nobody waited for.
        if let Some(over) = self.sessions().get(&(principal.clone(), name.clone())) {
            batch = batch.delete::<Upload>(&over.key());
        }
        if let Err(error) = self.inner.store.commit(batch).await {
            space.drop_upload(id).await?;
            return Err(error.into());
        }
        let upload = Arc::new(upload);
        self.sessions().insert((principal, name), Arc::clone(&upload));
        Ok(upload)
    }

    /// A session of whoever looks.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn find(&self, view: &View, name: &UploadName) -> Result<Arc<Upload>> {
        let space = view.chunk_space()?;
        let found = self.sessions().get(&(view.principal().clone(), name.clone())).cloned();
        // An account that was removed and made again has another space.
        let found = found.filter(|upload| upload.space == space.id()).ok_or(Error::NotFound)?;
        space.has_upload(found.id).then_some(found).ok_or(Error::NotFound)
    }

    /// The sessions of whoever looks, by name.
    pub fn list(&self, view: &View) -> Vec<Arc<Upload>> {
        let sessions = self.sessions();
        sessions.values().filter(|upload| upload.principal == *view.principal()).cloned().collect()
    }

    /// Refuses one chunk more of somebody who has too many unfinished. Each principal has a number of their own, so that nobody who holds a
    /// link keeps the owner from uploading (attack D9).
    ///
    /// # Errors
    /// [`Error::LimitReached`].
    pub fn admit_chunk(&self, view: &View, upload: &Upload, chunk: &ChunkName) -> Result<()> {
        let space = view.chunk_space()?;
        let most = match view.principal() {
            Principal::User(_) => USER_CHUNKS_MAX,
            Principal::Link(_) | Principal::Anonymous | Principal::Remote(_) => LINK_CHUNKS_MAX,
        };
        let have: usize = self.list(view).iter().map(|upload| space.chunk_count(upload.id)).sum();
        if have < most || space.has_chunk(upload.id, chunk) {
            return Ok(());
        }
        Err(Error::LimitReached("too many chunks are unfinished"))
    }

    /// Puts a file together and places it; the session ends with it.
    ///
    /// # Errors
    /// As of [`View::place_upload`]; then the session stays.
    pub async fn place(&self, view: &View, upload: &Upload, path: &TreePath, request: PutRequest) -> Result<(bool, Entry)> {
        let placed = Box::pin(view.place_upload(path, upload.id, request)).await?;
        self.forget(upload).await;
        Ok(placed)
    }

    /// Ends a session without a file.
    ///
    /// # Errors
    /// [`Error::NotFound`] where it has ended already.
    pub async fn abort(&self, view: &View, upload: &Upload) -> Result<()> {
        view.chunk_space()?.drop_upload(upload.id).await?;
        self.forget(upload).await;
        Ok(())
    }

    /// Ends what nobody has added to for long, and what is only half there.
    pub async fn sweep(&self) {
        let idle_max = i64::try_from(UPLOAD_IDLE_MAX.as_secs()).unwrap_or(i64::MAX);
        let now = self.inner.clock.now();
        let mut there: HashSet<(SpaceId, UploadId)> = HashSet::new();
        let known: HashSet<(SpaceId, UploadId)> = self.sessions().values().map(|upload| (upload.space, upload.id)).collect();
        for space in self.inner.spaces.all() {
            for (id, used) in space.uploads() {
                let idle = now.saturating_sub(used) > idle_max;
                // One that begins has its folder before its record.
                let lost = !known.contains(&(space.id(), id)) && now.saturating_sub(used) > LOST_S;
                if (idle || lost) && space.drop_upload(id).await.is_ok() {
                    tracing::info!(user.id = %space.user(), "an unfinished upload was removed");
                } else {
                    there.insert((space.id(), id));
                }
            }
        }
        let over: Vec<Arc<Upload>> = {
            let sessions = self.sessions();
            // One that has just begun was not looked at.
            let looked = |upload: &&Arc<Upload>| known.contains(&(upload.space, upload.id)) && !there.contains(&(upload.space, upload.id));
            sessions.values().filter(looked).cloned().collect()
        };
        for upload in over {
            self.forget(&upload).await;
        }
    }

    async fn forget(&self, upload: &Upload) {
        let key = (upload.principal.clone(), upload.name.clone());
        {
            let mut sessions = self.sessions();
            if sessions.get(&key).is_some_and(|known| known.id == upload.id) {
                sessions.remove(&key);
            }
        }
        if let Err(error) = self.inner.store.commit(Batch::new().delete::<Upload>(&upload.key())).await {
            tracing::warn!(%error, "the record of a finished upload stays; a sweep removes it");
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<(Principal, UploadName), Arc<Upload>>> {
        self.inner.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds after which a folder without a record belongs to nobody.
const LOST_S: i64 = 60;
