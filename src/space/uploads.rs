//! Uploads in chunks: files of their own beside the home until they are put together and placed like any other write.
//!
//! Chunks are not fsynced: nobody is promised more than the file that they become, which is. What a power cut left of one is noticed,
//! because its size is part of its name, and the client sends it again. Putting together copies: on XFS and Btrfs the copy shares its
//! extents, elsewhere it stays in the kernel, and whatever fails afterwards (conditions, checksum, a full disk) leaves every chunk as it was.
//!
//! **Invariant:** from the sum of the sizes to the placing no chunk changes: chunks come in under the shared side of [`Upload::gate`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use futures_util::{StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedRwLockWriteGuard;

use crate::content::{DiskPath, Entry, Files, OpenFile, Staged, Stat};
use crate::domain::{At, Checksum, ChunkName, Error, Principal, PutRequest, Result, SpaceId, Timestamp, UploadId, Written};
use crate::limits::{PUT_COLLECTED_BYTES_MAX, UPLOAD_CHUNKS_MAX, UPLOAD_EMPTY_CHUNKS_MAX};
use crate::space::hash::Hashing;
use crate::space::put::{Content, Gathered};
use crate::space::{Inner, Space, lock};
use crate::wire::Incoming;

/// One chunk that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// What the client calls it.
    pub name: ChunkName,
    /// Bytes.
    pub size: u64,
    /// When it came.
    pub modified: Timestamp,
}

/// One upload.
#[derive(Debug)]
pub(super) struct Upload {
    folder: DiskPath,
    chunks: Mutex<BTreeMap<ChunkName, (u64, Timestamp)>>,
    used: AtomicI64,
    /// Held shared by what adds a chunk, alone by what ends the upload; true once it has ended.
    gate: Arc<tokio::sync::RwLock<bool>>,
}

/// The uploads of one space.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    known: Mutex<std::collections::HashMap<UploadId, Arc<Upload>>>,
    /// Bytes of all their chunks: they count towards the quota.
    pub(super) bytes: AtomicU64,
}

impl Upload {
    fn sizes(&self) -> Vec<(ChunkName, u64)> {
        lock(&self.chunks).iter().map(|(name, (size, _))| (name.clone(), *size)).collect()
    }

    fn bytes(&self) -> u64 {
        lock(&self.chunks).values().map(|(size, _)| *size).sum()
    }
}

impl Uploads {
    /// What earlier runs left. Blocks.
    pub(super) fn load(inner: &Inner, space: SpaceId) -> Result<Uploads> {
        let uploads = Uploads::default();
        let Some(listing) = inner.files.list(&DiskPath::uploads(space))? else { return Ok(uploads) };
        for (name, _) in listing.entries {
            let Ok(id) = name.as_str().parse().map(UploadId) else { continue };
            let upload = load_one(&inner.files, DiskPath::upload(space, id), inner.clock.now())?;
            uploads.bytes.fetch_add(upload.bytes(), Ordering::Relaxed);
            drop(lock(&uploads.known).insert(id, Arc::new(upload)));
        }
        Ok(uploads)
    }

    fn get(&self, id: UploadId) -> Result<Arc<Upload>> {
        lock(&self.known).get(&id).cloned().ok_or(Error::NotFound)
    }
}

fn load_one(files: &Files, folder: DiskPath, now: Timestamp) -> Result<Upload> {
    let mut chunks: BTreeMap<ChunkName, (u64, Timestamp, i64)> = BTreeMap::new();
    for (file, stat) in files.list(&folder)?.unwrap_or_default().entries {
        let told = file.as_str().split_once('~').and_then(|(name, size)| {
            let size = u64::from_str_radix(size, 16).ok()?;
            Some((ChunkName::parse(name)?, size))
        });
        let Some((name, size)) = told.filter(|(_, size)| stat.entry == Entry::File && stat.size == *size) else {
            // A power cut, or something that is not ours.
            tracing::info!("a chunk of an upload is not whole; its client has to send it again");
            files.remove(&folder.join(&file))?;
            continue;
        };
        // Two of one name: the server died between the new one and the end of the old one.
        let older = chunks.get(&name).filter(|(_, _, changed)| *changed > stat.stamp.ctime_ns).is_some();
        let gone =
            if older { Some(size) } else { chunks.insert(name.clone(), (size, stat.modified(), stat.stamp.ctime_ns)).map(|old| old.0) };
        if let Some(gone) = gone {
            files.remove(&folder.chunk(&name, gone))?;
        }
    }
    let used = chunks.values().map(|(_, modified, _)| *modified).max().unwrap_or(now);
    let chunks = chunks.into_iter().map(|(name, (size, modified, _))| (name, (size, modified))).collect();
    Ok(Upload { folder, chunks: Mutex::new(chunks), used: AtomicI64::new(used), gate: Arc::default() })
}

impl Space {
    /// Begins an upload. `total` is what its client announces; what cannot fit is refused at once.
    pub async fn begin_upload(&self, id: UploadId, by: &Principal, total: Option<u64>) -> Result<()> {
        let total = total.unwrap_or(0);
        self.may_fit(by, total, total)?;
        self.blocking(move |space| {
            space.files.make_folder(&DiskPath::uploads(space.id))?;
            let folder = DiskPath::upload(space.id, id);
            space.files.make_folder(&folder)?;
            let used = AtomicI64::new(space.clock.now());
            let upload = Upload { folder, chunks: Mutex::default(), used, gate: Arc::default() };
            drop(lock(&space.uploads.known).insert(id, Arc::new(upload)));
            Ok(())
        })
        .await
    }

    /// The numbers of the uploads that are there, and when each was last used.
    pub fn uploads(&self) -> Vec<(UploadId, Timestamp)> {
        lock(&self.uploads.known).iter().map(|(id, upload)| (*id, upload.used.load(Ordering::Relaxed))).collect()
    }

    /// Whether there is such an upload.
    pub fn has_upload(&self, id: UploadId) -> bool {
        self.uploads.get(id).is_ok()
    }

    /// Bytes of all chunks of an upload.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such upload, or it has ended.
    pub fn upload_bytes(&self, id: UploadId) -> Result<u64> {
        Ok(self.uploads.get(id)?.bytes())
    }

    /// How many chunks of an upload have come; none where it has ended.
    pub fn chunk_count(&self, id: UploadId) -> usize {
        self.uploads.get(id).map_or(0, |upload| lock(&upload.chunks).len())
    }

    /// Whether a chunk of that name has come.
    pub fn has_chunk(&self, id: UploadId, name: &ChunkName) -> bool {
        self.uploads.get(id).is_ok_and(|upload| lock(&upload.chunks).contains_key(name))
    }

    /// The chunks of an upload, in the order of their bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such upload, or it has ended.
    pub fn chunks(&self, id: UploadId) -> Result<Vec<Chunk>> {
        let upload = self.uploads.get(id)?;
        let chunks = lock(&upload.chunks);
        Ok(chunks.iter().map(|(name, (size, modified))| Chunk { name: name.clone(), size: *size, modified: *modified }).collect())
    }

    /// Takes a chunk, new or instead of an older one of that name, whole or not at all. Returns whether the name was new, and how many
    /// chunks there are then.
    pub async fn put_chunk(
        &self,
        (id, by): (UploadId, &Principal),
        name: ChunkName,
        length: Option<u64>,
        body: Incoming,
    ) -> Result<(bool, usize)> {
        let upload = self.uploads.get(id)?;
        let old = lock(&upload.chunks).get(&name).map(|(size, _)| *size);
        if old.is_none() && lock(&upload.chunks).len() >= UPLOAD_CHUNKS_MAX {
            return Err(Error::LimitReached("the upload has too many chunks"));
        }
        let old = old.unwrap_or(0);
        let announced = length.unwrap_or(0);
        self.may_fit(by, announced.saturating_sub(old), announced)?;
        let (staged, size) = self.receive_chunk(length, body, (by, old)).await?;
        let open = Arc::clone(&upload.gate).read_owned().await;
        if *open {
            return Err(Error::NotFound);
        }
        self.blocking(move |space| {
            let kept = space.keep_chunk(&upload, name, staged, size);
            drop(open);
            kept
        })
        .await
    }

    /// Room is made for what has come, not for what is announced; the older chunk of that name goes only when this one is whole.
    async fn receive_chunk(&self, length: Option<u64>, mut body: Incoming, (by, old): (&Principal, u64)) -> Result<(Staged, u64)> {
        // Not reserved: what was reserved and not written would look whole after a power cut.
        let (staged, file) = self.blocking(|space| Ok(space.files.stage(None)?)).await?;
        let file = Arc::new(file);
        let (mut total, mut ended) = (0_u64, false);
        while !ended {
            let gathered = Gathered::from(&mut body).await?;
            ended = gathered.ended;
            total += gathered.bytes;
            if length.is_some_and(|length| total > length || (ended && total < length)) {
                return Err(Error::BodyMismatch("the chunk has not the length that was announced"));
            }
            self.make_fit(by, total.saturating_sub(old), gathered.bytes).await?;
            let file = Arc::clone(&file);
            self.blocking(move |_space| Ok(gathered.pieces.iter().try_for_each(|piece| (&*file).write_all(piece))?)).await?;
        }
        Ok((staged, total))
    }

    /// With the gate held, so that the upload does not end meanwhile.
    fn keep_chunk(&self, upload: &Upload, name: ChunkName, staged: Staged, size: u64) -> Result<(bool, usize)> {
        let mut chunks = lock(&upload.chunks);
        let old = chunks.get(&name).map(|(size, _)| *size);
        if old.is_none() && chunks.len() >= UPLOAD_CHUNKS_MAX {
            return Err(Error::LimitReached("the upload has too many chunks"));
        }
        let empty = |chunks: &BTreeMap<ChunkName, (u64, Timestamp)>| chunks.values().filter(|(size, _)| *size == 0).count();
        if size == 0 && old != Some(0) && empty(&chunks) >= UPLOAD_EMPTY_CHUNKS_MAX {
            return Err(Error::LimitReached("the upload has too many chunks without a byte"));
        }
        // Counted before it is compared, so that chunks which come together cannot pass together.
        self.uploads.bytes.fetch_add(size, Ordering::Relaxed);
        let fits = self.fits_quota(size, size.saturating_add(old.unwrap_or(0)));
        let kept = fits.and_then(|()| Ok(self.files.rename(staged.path(), &upload.folder.chunk(&name, size))?));
        if let Err(error) = kept {
            self.uploads.bytes.fetch_sub(size, Ordering::Relaxed);
            return Err(error);
        }
        staged.committed();
        let now = self.clock.now();
        upload.used.store(now, Ordering::Relaxed);
        if let Some(old) = old {
            self.uploads.bytes.fetch_sub(old, Ordering::Relaxed);
            if old != size
                && let Err(error) = self.files.remove(&upload.folder.chunk(&name, old))
            {
                tracing::warn!(%error, "an older chunk could not be removed; the next start does it");
            }
        }
        chunks.insert(name, (size, now));
        Ok((old.is_none(), chunks.len()))
    }

    /// Removes one chunk.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn remove_chunk(&self, id: UploadId, name: ChunkName) -> Result<()> {
        let upload = self.uploads.get(id)?;
        let open = Arc::clone(&upload.gate).read_owned().await;
        self.blocking(move |space| {
            let mut chunks = lock(&upload.chunks);
            let (size, _) = *chunks.get(&name).filter(|_| !*open).ok_or(Error::NotFound)?;
            space.files.remove(&upload.folder.chunk(&name, size))?;
            space.uploads.bytes.fetch_sub(size, Ordering::Relaxed);
            chunks.remove(&name);
            Ok(())
        })
        .await
    }

    /// Ends an upload; its chunks go.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn drop_upload(&self, id: UploadId) -> Result<()> {
        let upload = self.uploads.get(id)?;
        let mut ended = Arc::clone(&upload.gate).write_owned().await;
        if *ended {
            return Err(Error::NotFound);
        }
        self.blocking(move |space| {
            *ended = true;
            space.forget_upload(id, &upload);
            Ok(())
        })
        .await
    }

    /// With the gate held alone. What cannot be removed now is found without its record at the next start.
    fn forget_upload(&self, id: UploadId, upload: &Upload) {
        drop(lock(&self.uploads.known).remove(&id));
        self.uploads.bytes.fetch_sub(upload.bytes(), Ordering::Relaxed);
        if let Err(error) = self.files.rename(&upload.folder, &self.files.purge_path()) {
            tracing::warn!(%error, "the chunks of an upload could not be removed; the next start does it");
        }
        self.settler.purge();
    }

    /// Puts the chunks together and places the file as [`Space::put`] does; the upload ends with it. On every error it stays, and so does
    /// the old content.
    pub async fn place_upload(&self, id: UploadId, at: &At, request: PutRequest) -> Result<Written> {
        let upload = self.uploads.get(id)?;
        let mut ended = Arc::clone(&upload.gate).write_owned().await;
        if *ended {
            return Err(Error::NotFound);
        }
        upload.used.store(self.clock.now(), Ordering::Relaxed);
        let total = upload.bytes();
        if request.length.is_some_and(|length| length != total) {
            return Err(Error::BodyMismatch("the chunks do not add up to the length that was announced"));
        }
        self.may_put(at, &request.write).await?;
        self.make_fit(&at.by, 0, total).await?;
        let (parts, sent, modified) = (Arc::clone(&upload), request.checksum.clone(), request.modified);
        let (staged, stat, checksum) = self.blocking(move |space| space.assemble(&parts, sent.as_ref(), modified)).await?;
        let held = self.hold(at, false).await?;
        let at = at.clone();
        self.blocking(move |space| {
            let written = space.put_now(&at, &request, Content::Staged { staged, stat, checksum, counted: total })?;
            drop(held);
            *ended = true;
            space.forget_upload(id, &upload);
            Ok(written)
        })
        .await
    }

    /// Takes an upload for somebody who reads it whole: until that is dropped no chunk changes, and nobody else finishes it.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such upload, or it has ended.
    pub async fn hold_upload(&self, id: UploadId) -> Result<HeldUpload> {
        let upload = self.uploads.get(id)?;
        let ended = Arc::clone(&upload.gate).write_owned().await;
        if *ended {
            return Err(Error::NotFound);
        }
        upload.used.store(self.clock.now(), Ordering::Relaxed);
        self.blocking(move |space| {
            let mut identity = Sha256::new_with_prefix(id.0.to_be_bytes());
            let mut parts = Vec::new();
            let mut length = 0;
            for (name, size) in upload.sizes() {
                let path = upload.folder.chunk(&name, size);
                let stat = space.files.stat(&path)?.ok_or(Error::Changed)?;
                // A chunk that is sent again is another file.
                for number in [size, stat.stamp.inode, stat.stamp.mtime_ns.cast_unsigned()] {
                    identity.update(number.to_be_bytes());
                }
                parts.push((length, size, path));
                length += size;
            }
            let space = space.me.upgrade().ok_or_else(|| Error::Internal("the space was removed".to_owned()))?;
            Ok(HeldUpload { space, id, upload, ended, parts: Arc::new(parts), length, identity: identity.finalize().into() })
        })
        .await
    }

    /// The chunks as one staged file; what they hash to is found out beside the copying.
    fn assemble(&self, upload: &Upload, sent: Option<&Checksum>, modified: Option<Timestamp>) -> Result<(Staged, Stat, Checksum)> {
        let sizes = upload.sizes();
        let total: u64 = sizes.iter().map(|(_, size)| *size).sum();
        let (staged, file) = self.files.stage(None)?;
        let hashing = Hashing::for_body(sent);
        let checksum = std::thread::scope(|scope| -> Result<Checksum> {
            // Few files are open at a time, however many chunks there are.
            let (copied, to_hash) = sync_channel(4);
            let hashing = std::thread::Builder::new().spawn_scoped(scope, move || hash_all(hashing, &to_hash))?;
            for (name, size) in sizes {
                let found = self.files.append(&upload.folder.chunk(&name, size), &file)?;
                let (chunk, stat) = found.ok_or(Error::Changed)?;
                if stat.size != size || copied.send((chunk, size)).is_err() {
                    return Err(Error::Changed);
                }
            }
            drop(copied);
            let hashed = hashing.join().map_err(|_panic| Error::Internal("hashing ended early".to_owned()))?;
            Ok(hashed?)
        })?;
        let stat = self.files.finish(&file, modified)?;
        if stat.size != total {
            return Err(Error::Changed);
        }
        Ok((staged, stat, checksum))
    }
}

/// An upload that is being read.
#[derive(Debug)]
pub struct HeldUpload {
    space: Arc<Space>,
    id: UploadId,
    upload: Arc<Upload>,
    ended: OwnedRwLockWriteGuard<bool>,
    /// Where each chunk begins, its size and its place.
    parts: Arc<Vec<(u64, u64, DiskPath)>>,
    /// Bytes of all chunks.
    pub length: u64,
    /// The same as long as no chunk changed, after a restart too.
    pub identity: [u8; 32],
}

impl HeldUpload {
    /// The bytes of a range of the whole.
    pub fn read(&self, range: Range<u64>) -> Incoming {
        let (files, parts) = (self.space.files.clone(), Arc::clone(&self.parts));
        let first = parts.partition_point(|(begin, size, _)| begin + size <= range.start);
        let pieces =
            futures_util::stream::iter(first..parts.len()).map(move |index| parts.get(index).cloned()).filter_map(std::future::ready);
        let wanted = pieces.take_while(move |(begin, _, _)| std::future::ready(*begin < range.end));
        let opened = wanted.then(move |(begin, size, path)| {
            let files = files.clone();
            async move {
                let opened = tokio::task::spawn_blocking(move || files.open_file(&path)).await.map_err(std::io::Error::other)??;
                let (file, _) = opened.filter(|(_, stat)| stat.size == size).ok_or(std::io::ErrorKind::NotFound)?;
                let inner = range.start.saturating_sub(begin)..size.min(range.end - begin);
                Ok::<Incoming, std::io::Error>(OpenFile::new(file, size).stream(inner))
            }
        });
        Box::pin(opened.try_flatten())
    }

    /// What the whole hashes to, by the algorithm of the checksum that the client sent.
    ///
    /// # Errors
    /// [`Error::BodyMismatch`] where it is not that.
    pub async fn checksum(&self, sent: Option<&Checksum>) -> Result<Checksum> {
        let (parts, mut hashing) = (Arc::clone(&self.parts), Hashing::for_body(sent));
        let checksum = self.space.blocking(move |space| {
            for (_, size, path) in parts.iter() {
                let (file, _) = space.files.open_file(path)?.ok_or(Error::Changed)?;
                hash_file(&mut hashing, &file, *size)?;
            }
            Ok(hashing.finish())
        });
        let checksum = checksum.await?;
        if sent.is_some_and(|sent| *sent != checksum) {
            return Err(Error::BodyMismatch("the checksum of the body is not the one that was sent"));
        }
        Ok(checksum)
    }

    /// Ends the upload: what it was for is done.
    pub async fn finish(self) -> Result<()> {
        let HeldUpload { space, id, upload, mut ended, .. } = self;
        *ended = true;
        space
            .blocking(move |space| {
                space.forget_upload(id, &upload);
                drop(ended);
                Ok(())
            })
            .await
    }
}

fn hash_all(mut hashing: Hashing, chunks: &Receiver<(File, u64)>) -> std::io::Result<Checksum> {
    while let Ok((file, size)) = chunks.recv() {
        hash_file(&mut hashing, &file, size)?;
    }
    Ok(hashing.finish())
}

fn hash_file(hashing: &mut Hashing, file: &File, size: u64) -> std::io::Result<()> {
    let mut buffer = BytesMut::new();
    let mut at = 0;
    while at < size {
        let want = usize::try_from(size - at).unwrap_or(usize::MAX).min(PUT_COLLECTED_BYTES_MAX);
        buffer.resize(want, 0);
        file.read_exact_at(&mut buffer, at)?;
        at += want as u64;
        hashing.update(&[buffer.split().freeze()]);
    }
    Ok(())
}
