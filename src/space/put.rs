//! PUT: bytes to a staged file beside their checksum, then one commit.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::content::{Staged, Stat};
use crate::domain::{At, Checksum, Error, Expect, FileStamp, Kind, Node, NodeId, Principal, PutRequest, Result, TreePath, Write, Written};
use crate::limits::PUT_COLLECTED_BYTES_MAX;
use crate::space::hash::Hashing;
use crate::space::lookup::Resolved;
use crate::space::state::{Parent, Walk};
use crate::space::{Space, place};
use crate::store::{Change, Check, Place, Step};
use crate::wire::Incoming;

/// Where a write goes, and what is there.
pub(super) struct Target {
    pub(super) place: Place,
    /// From the root of the space.
    pub(super) path: TreePath,
    /// The collection that holds it.
    pub(super) folder: TreePath,
    /// Ids from the root to that collection.
    pub(super) chain: Vec<NodeId>,
    pub(super) row: Option<Node>,
    /// The base of the request, from the root of the space: paths of locks are told below it.
    pub(super) base: TreePath,
    /// Who writes.
    pub(super) by: Principal,
}

impl Target {
    /// What the row must still be when the write is committed.
    pub(super) fn check(&self) -> Check {
        Check { place: self.place.clone(), seen: self.row.as_ref().map(|node| (node.id, node.etag.clone())) }
    }
}

/// The bytes of a body, when all have come.
pub(super) enum Content {
    Collected(Vec<Bytes>),
    /// In a staged file; `counted` of its bytes already count towards the quota, as chunks of an upload.
    Staged {
        staged: Staged,
        stat: Stat,
        checksum: Checksum,
        counted: u64,
    },
}

/// Pieces of a body that are written at once: about half a megabyte, or what was left.
pub(super) struct Gathered {
    pub(super) pieces: Vec<Bytes>,
    pub(super) bytes: u64,
    /// Nothing follows.
    pub(super) ended: bool,
}

impl Gathered {
    /// Reads on until there is more than [`PUT_COLLECTED_BYTES_MAX`], or no more.
    pub(super) async fn from(body: &mut Incoming) -> Result<Gathered> {
        let mut gathered = Gathered { pieces: Vec::new(), bytes: 0, ended: false };
        while gathered.bytes <= PUT_COLLECTED_BYTES_MAX as u64 {
            let Some(piece) = body.next().await else {
                gathered.ended = true;
                break;
            };
            let piece = piece.map_err(|_broken| Error::BodyBroken)?;
            gathered.bytes += piece.len() as u64;
            gathered.pieces.push(piece);
        }
        Ok(gathered)
    }
}

impl Space {
    /// Writes a file, new or over the old one.
    pub async fn put(&self, at: &At, request: PutRequest, body: Incoming) -> Result<Written> {
        let old_size = self.before_body(at, &request).await?;
        let content = self.receive(&request, body, (&at.by, old_size)).await?;
        let held = self.hold(at, false).await?;
        let at = at.clone();
        self.blocking(move |space| {
            let written = space.put_now(&at, &request, content);
            drop(held);
            written
        })
        .await
    }

    /// Refuses what can be refused before the body is read; everything is checked again under the lock of the name.
    async fn before_body(&self, at: &At, request: &PutRequest) -> Result<u64> {
        let old_size = self.may_put(at, &request.write).await?;
        if let Some(length) = request.length {
            self.may_fit(&at.by, length.saturating_sub(old_size), length)?;
        }
        Ok(old_size)
    }

    /// Whether a file may be written there, as far as can be said without the lock of the name; the size of the old one.
    pub(super) async fn may_put(&self, at: &At, write: &Write) -> Result<u64> {
        let old = match self.resolve_for_write(at).await? {
            Resolved::Node(node) if node.kind == Kind::Collection => return Err(Error::IsCollection),
            Resolved::Node(node) => Some(node),
            Resolved::Mount { .. } => return Err(Error::Unsupported("a mount is asked where it is, not in its home")),
            Resolved::Missing { parent_exists: true } => None,
            Resolved::Missing { parent_exists: false } => return Err(Error::ParentMissing),
        };
        self.check_write_early(at, write)?;
        if old.as_ref().is_none_or(|node| node.size > 0) {
            expect(&write.expect, old.as_ref())?;
        }
        Ok(old.map_or(0, |node| node.size))
    }

    /// Reads the body: a small one into memory, a large one into a staged file. Room is made for what has come, not for what is announced.
    async fn receive(&self, request: &PutRequest, mut body: Incoming, (by, old_size): (&Principal, u64)) -> Result<Content> {
        let first = Gathered::from(&mut body).await?;
        if !first.ended {
            return self.receive_large(request, body, first, (by, old_size)).await;
        }
        check_length(request, first.bytes)?;
        self.make_fit(by, 0, first.bytes).await?;
        Ok(Content::Collected(first.pieces))
    }

    /// Writes and hashes pieces of half a megabyte while the next one comes. No thread waits for the client.
    async fn receive_large(
        &self,
        request: &PutRequest,
        mut body: Incoming,
        mut gathered: Gathered,
        (by, old_size): (&Principal, u64),
    ) -> Result<Content> {
        // Reserved only where it is free anyway: for what is announced nothing is given up, it may never come.
        let reserved = request.length.filter(|length| self.files.free_bytes().is_ok_and(|free| *length <= free));
        let (staged, file) = self.blocking(move |space| Ok(space.files.stage(reserved)?)).await?;
        let mut work = Work { file: Arc::new(file), hashing: Hashing::for_body(request.checksum.as_ref()) };
        let mut total = gathered.bytes;
        while !gathered.ended {
            if request.length.is_some_and(|length| total > length) {
                return Err(Error::BodyMismatch("the body is longer than announced"));
            }
            if request.length.is_none() {
                self.fits_quota(total.saturating_sub(old_size), 0)?;
            }
            if reserved.is_none() {
                // What is staged already has left the free disk.
                self.make_fit(by, 0, gathered.bytes).await?;
            }
            let job = work.begin(gathered.pieces);
            gathered = Gathered::from(&mut body).await?;
            total += gathered.bytes;
            work.hashing = job.end().await?;
        }
        work.hashing = work.begin(gathered.pieces).end().await?;
        check_length(request, total)?;
        let modified = request.modified;
        self.blocking(move |space| {
            let stat = space.files.finish(&work.file, modified)?;
            Ok(Content::Staged { staged, stat, checksum: work.hashing.finish(), counted: 0 })
        })
        .await
    }

    pub(super) fn put_now(&self, at: &At, request: &PutRequest, content: Content) -> Result<Written> {
        let (staged, stat, checksum, counted) = match content {
            Content::Staged { staged, stat, checksum, counted } => (staged, stat, checksum, counted),
            Content::Collected(pieces) => {
                let mut hashing = Hashing::for_body(request.checksum.as_ref());
                hashing.update(&pieces);
                let (staged, stat) = self.files.stage_bytes(&pieces, request.modified)?;
                (staged, stat, hashing.finish(), 0)
            }
        };
        if request.checksum.as_ref().is_some_and(|sent| *sent != checksum) {
            return Err(Error::BodyMismatch("the checksum of the body is not the one that was sent"));
        }
        let target = self.target(at)?;
        match target.row.as_ref().map(|row| row.kind) {
            Some(Kind::Collection) => return Err(Error::IsCollection),
            Some(Kind::Mount) => return Err(Error::Unsupported("a mount is asked where it is, not in its home")),
            Some(Kind::File) | None => {}
        }
        let unborn = self.check_write(&target, &request.write)?;
        let old_size = target.row.as_ref().map_or(0, |row| row.size);
        // The staged file is on the disk already: only the quota is left to ask.
        self.fits_quota(stat.size.saturating_sub(old_size), counted)?;
        // An empty file that LOCK made for this upload was a free name to the client (davfs2 wants 201).
        let created = target.row.is_none() || !unborn.is_empty();
        // The rename will change the change time: unknown until then.
        let stamp = FileStamp { ctime_ns: 0, ..stat.stamp };
        let node = match &target.row {
            Some(row) => Node { size: stat.size, modified: stat.modified(), stamp, checksum: Some(checksum), ..row.clone() },
            None => Node { checksum: Some(checksum), ..self.new_node(Kind::File, stat.size, stamp)? },
        };
        let mut changes = vec![Change::Put { place: target.place.clone(), node }];
        changes.extend(unborn.into_iter().map(Change::PutLock));
        let written = self.place_staged(&target, staged, stat, changes)?;
        Ok(Written { created, node: written })
    }

    /// Commits changes whose first writes a row, and renames its staged file or folder into place. The content of a file that is there becomes
    /// an old version.
    pub(super) fn place_staged(&self, target: &Target, staged: Staged, stat: Stat, mut changes: Vec<Change>) -> Result<Node> {
        let (from, to) = (staged.path().as_str().to_owned(), self.disk(&target.path).as_str().to_owned());
        let inode = stat.stamp.file();
        let mut steps = vec![Step::Move { from: from.clone(), to: to.clone(), inode }];
        if let Some(old) = target.row.as_ref().filter(|old| !is_same_content(old, changes.first()))
            && let Some((row, version)) = self.keep_version(old, &target.by)?
        {
            // Exchanged first, so that no moment lacks a target.
            let kept = Step::Move { from: from.clone(), to: version.as_str().to_owned(), inode: old.stamp.file() };
            steps = vec![Step::Swap { from, to, inode }, kept];
            changes.push(Change::PutVersion(row));
        }
        let committed = self.carry_out(place::Write {
            checks: vec![target.check()],
            changes,
            steps,
            staged: vec![staged],
            folders: vec![(target.place.parent, target.folder.clone())],
            moved: vec![(target.place.clone(), target.path.clone())],
        })?;
        committed.nodes.into_iter().next().ok_or_else(|| Error::Internal("a row was not committed".to_owned()))
    }

    /// Where a path leads for a writer, with what others did there adopted. The name must be held; on a blocking thread.
    pub(super) fn target(&self, at: &At) -> Result<Target> {
        for _ in 0..4 {
            // The name itself is looked at below: its directory need not be.
            let walk = match self.walk_now(at)? {
                Walk::Missing { parent: None, .. } => self.walk_fresh_now(at)?,
                walk @ (Walk::Found { .. } | Walk::Mount { .. } | Walk::Missing { .. } | Walk::Load(_) | Walk::Unplaced(_)) => walk,
            };
            let base = self.path_now(at.base)?.ok_or(Error::NotFound)?;
            let target = match walk {
                Walk::Found { place, node, path, chain } => {
                    let folder = path.parent().ok_or(Error::Forbidden("the root of a home stays where it is"))?;
                    Target { place, path, folder, chain, row: Some(node), base, by: at.by.clone() }
                }
                Walk::Mount { place, node, path, inner, chain } if inner.is_root() => {
                    let folder = path.parent().unwrap_or_default();
                    Target { place, path, folder, chain, row: Some(node), base, by: at.by.clone() }
                }
                Walk::Mount { .. } => return Err(Error::Unsupported("a mount is asked where it is, not in its home")),
                Walk::Missing { parent: Some(Parent { id, path, name, chain }), .. } => {
                    Target { place: Place::new(id, &name), path: path.join(&name), folder: path, chain, row: None, base, by: at.by.clone() }
                }
                Walk::Missing { parent: None, .. } => return Err(Error::ParentMissing),
                Walk::Load(_) | Walk::Unplaced(_) => return Err(Error::NotFound),
            };
            if self.is_as_on_disk(&target)? {
                return Ok(target);
            }
            let name = target.path.name().ok_or(Error::NotFound)?;
            self.adopt_one(target.place.parent, &target.folder, name)?;
        }
        Err(Error::Changed)
    }

    fn is_as_on_disk(&self, target: &Target) -> Result<bool> {
        use crate::content::Entry;
        use crate::space::lookup::{fits, unreadable};
        let stat = self.files.stat(&self.disk(&target.path)).map_err(unreadable)?;
        if stat.as_ref().is_some_and(|stat| !self.files.is_ours(stat)) {
            return Err(Error::Forbidden("another file system is mounted here"));
        }
        let row = target.row.as_ref().map(|row| (row.kind, row));
        match (row, stat.map(|stat| (stat.entry, stat))) {
            (Some((Kind::Mount, _)), _) => Ok(true),
            (None, None) => self.is_ours(&target.folder),
            (None, Some((Entry::Other, _))) => Err(Error::Forbidden("something that is no file stands there")),
            (None, Some((Entry::File | Entry::Directory, _))) => Ok(false),
            (Some((Kind::File, row)), Some((_, stat))) => Ok(fits(row, &stat)),
            (Some((Kind::Collection, row)), Some((entry, stat))) => Ok(entry == Entry::Directory && row.stamp.inode == stat.stamp.inode),
            (Some((Kind::File | Kind::Collection, _)), None) => Ok(false),
        }
    }

    /// Whether a folder is there and takes what was staged; false if it is gone.
    fn is_ours(&self, folder: &TreePath) -> Result<bool> {
        use crate::space::lookup::unreadable;
        match self.files.stat(&self.disk(folder)).map_err(unreadable)? {
            Some(stat) if self.files.is_ours(&stat) => Ok(true),
            Some(_) => Err(Error::Forbidden("another file system is mounted here")),
            None => Ok(false),
        }
    }

    /// Whether `grown` more bytes fit into the quota, and `bytes` on the disk, until what was there before may go. Where the disk has no room,
    /// trash and versions make some: for the user whose home this is, and for nobody else, to whom it is not theirs to give.
    pub(super) async fn make_fit(&self, by: &Principal, grown: u64, bytes: u64) -> Result<()> {
        self.fits_quota(grown, 0)?;
        let free = self.files.free_bytes()?;
        if bytes <= free {
            return Ok(());
        }
        if !self.is_owner(by) {
            return Err(Error::InsufficientStorage);
        }
        self.blocking(move |space| space.make_room(bytes - free)).await?;
        // What goes may be on its way out by another hand, which purges after each deletion: the disk has its room a moment later.
        for _ in 0..ROOM_LOOKS {
            if bytes <= self.files.free_bytes()? {
                return Ok(());
            }
            tokio::time::sleep(ROOM_PAUSE).await;
        }
        if bytes <= self.files.free_bytes()? { Ok(()) } else { Err(Error::InsufficientStorage) }
    }

    /// Whether [`Space::make_fit`] can find room for what is only announced yet. Nothing goes for it.
    pub(super) fn may_fit(&self, by: &Principal, grown: u64, bytes: u64) -> Result<()> {
        self.fits_quota(grown, 0)?;
        let free = self.files.free_bytes()?;
        let kept = if bytes > free && self.is_owner(by) { self.kept_bytes() } else { 0 };
        if bytes <= free.saturating_add(kept) { Ok(()) } else { Err(Error::InsufficientStorage) }
    }

    pub(super) fn is_owner(&self, by: &Principal) -> bool {
        matches!(by, Principal::User(user) if *user == self.user)
    }

    /// Whether `grown` more bytes fit into the quota, `counted` of what is counted already being the same bytes.
    pub(super) fn fits_quota(&self, grown: u64, counted: u64) -> Result<()> {
        let quota = self.quota.load(std::sync::atomic::Ordering::Relaxed).saturating_add(counted);
        let left = quota.saturating_sub(self.counted());
        if grown <= left { Ok(()) } else { Err(Error::InsufficientStorage) }
    }

    /// Judges the locks and conditions of a write on one name, without what is below it. Returns the locks that made an empty file which this
    /// write fills.
    pub(super) fn check_write(&self, target: &Target, write: &Write) -> Result<Vec<crate::store::LockRow>> {
        self.check_locks(target, &write.tokens)?;
        let unborn = target.row.as_ref().map(|row| self.placeholders(row.id, &write.tokens)).unwrap_or_default();
        expect(&write.expect, target.row.as_ref().filter(|_| unborn.is_empty() || matches!(write.expect, Expect::Unchanged(Some(_)))))?;
        Ok(unborn)
    }
}

/// How often, and how long apart, the disk is looked at for room that was just made.
const ROOM_LOOKS: usize = 40;
const ROOM_PAUSE: std::time::Duration = std::time::Duration::from_millis(25);

/// Judges what must be there.
pub(super) fn expect(expect: &Expect, row: Option<&Node>) -> Result<()> {
    let holds = match expect {
        Expect::Anything => true,
        Expect::Absent => row.is_none(),
        Expect::Unchanged(etag) => row.map(|row| &row.etag) == etag.as_ref(),
    };
    if holds { Ok(()) } else { Err(Error::PreconditionFailed) }
}

/// Whether a file is written with the bytes that it has, as far as their checksums tell.
fn is_same_content(old: &Node, change: Option<&Change>) -> bool {
    let Some(Change::Put { node, .. }) = change else { return false };
    old.size == node.size && old.checksum.is_some() && old.checksum == node.checksum
}

fn check_length(request: &PutRequest, total: u64) -> Result<()> {
    match request.length {
        Some(length) if length != total => Err(Error::BodyMismatch("the body has not the length that was announced")),
        Some(_) | None => Ok(()),
    }
}

/// Writing and hashing of one staged file.
struct Work {
    file: Arc<File>,
    hashing: Hashing,
}

/// Two jobs on their way.
struct Running {
    writing: tokio::task::JoinHandle<std::io::Result<()>>,
    hashing: tokio::task::JoinHandle<Hashing>,
}

impl Work {
    fn begin(&self, pieces: Vec<Bytes>) -> Running {
        let (file, to_write, mut hashing) = (Arc::clone(&self.file), pieces.clone(), self.hashing.clone());
        let writing = tokio::task::spawn_blocking(move || {
            let mut file = &*file;
            to_write.iter().try_for_each(|piece| file.write_all(piece))
        });
        let hashing = tokio::task::spawn_blocking(move || {
            hashing.update(&pieces);
            hashing
        });
        Running { writing, hashing }
    }
}

impl Running {
    async fn end(self) -> Result<Hashing> {
        let ended = |error: tokio::task::JoinError| Error::Internal(format!("a job ended early: {error}"));
        self.writing.await.map_err(ended)??;
        self.hashing.await.map_err(ended)
    }
}
