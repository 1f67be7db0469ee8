//! A mount of some remote, without a server around it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway::domain::{
    Clock, Error, Kind, Mount, MountId, MountState, Name, PutRequest, RemoteTrust, Result, Secret, SpaceId, TreePath, UserName, Vendor,
    Write,
};
use causeway::mount::{MountHandle, Mounts};
use causeway::remote::{Names, Policy, Remotes, Timeouts};
use causeway::store::{Options, Store};
use causeway::wire::{Incoming, Via};
use futures_util::TryStreamExt;

/// A mount and what it stands on.
pub(crate) struct Mounted {
    /// All mounts: this one.
    pub(crate) mounts: Mounts,
    /// The mount.
    pub(crate) handle: Arc<MountHandle>,
    /// The client of other servers.
    pub(crate) remotes: Remotes,
    _folder: tempfile::TempDir,
}

/// Limits that a test can wait for.
pub(crate) fn short() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(2),
        first_byte: Duration::from_millis(400),
        stall: Duration::from_millis(300),
        source_stall: Duration::from_secs(2),
        answer: Duration::from_secs(10),
        breaker_pause: Duration::from_millis(50),
        breaker_pause_max: Duration::from_millis(200),
        ..Timeouts::default()
    }
}

/// A client that may call these hosts though they are private.
pub(crate) fn remotes(trust: Vec<RemoteTrust>) -> Remotes {
    Remotes::new(Policy { instance_id: "ocself".to_owned(), trust, names: Names::System }, short())
}

/// What lets a test call loopback.
pub(crate) fn allowed(host: &str) -> RemoteTrust {
    RemoteTrust { host: host.to_owned(), fingerprints: vec![], authorities: vec![], allow_private: true }
}

impl Mounted {
    /// Mounts a collection at `url` as user `token` with password `pw`.
    pub(crate) fn new(url: &str, vendor: Vendor, trust: RemoteTrust) -> Mounted {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), Options::default()).unwrap();
        let remotes = remotes(vec![trust]);
        let mounts = Mounts::new(store, remotes.clone(), Clock::System, folder.path().join("spool"));
        let record = Mount {
            id: MountId(7),
            user: UserName::parse("bob").unwrap(),
            space: SpaceId(1),
            url: url.to_owned(),
            login: Secret::new("token"),
            password: vec![],
            vendor,
            kind: Kind::Collection,
            name: "Photos".to_owned(),
            owner: "alice".to_owned(),
            page: None,
            state: MountState::Online,
            root_etag: None,
            created: 1,
        };
        mounts.insert(record, Secret::new("pw"));
        let handle = mounts.get(MountId(7)).unwrap();
        Mounted { mounts, handle, remotes, _folder: folder }
    }

    /// The names in a collection.
    pub(crate) async fn names(&self, path: &str) -> Result<Vec<String>> {
        let (_, children) = self.handle.list(&Via::default(), &at(path)).await?;
        Ok(children.keys().map(Name::to_string).collect())
    }

    /// The whole content of a file.
    pub(crate) async fn read(&self, path: &str) -> Result<String> {
        self.read_range(path, 0, u64::MAX).await
    }

    /// Part of a file.
    pub(crate) async fn read_range(&self, path: &str, from: u64, to: u64) -> Result<String> {
        let (_, file) = self.handle.open(&Via::default(), &at(path)).await?;
        let body = file.stream(&Via::default(), from..to.min(file.size())).await?;
        let pieces: Vec<Bytes> = body.try_collect().await.map_err(|error| Error::Internal(format!("broke off: {error}")))?;
        Ok(String::from_utf8(pieces.concat()).unwrap())
    }

    /// Writes a file, its length announced.
    pub(crate) async fn put(&self, path: &str, content: &'static str) -> Result<()> {
        let request = PutRequest { length: Some(content.len() as u64), ..PutRequest::plain() };
        self.handle.put(&Via::default(), &at(path), request, body(content)).await.map(drop)
    }

    /// Writes a file without a look at its target; whether it is new.
    pub(crate) async fn put_unseen(&self, path: &str, content: &'static str) -> Result<bool> {
        let request = PutRequest { length: Some(content.len() as u64), ..PutRequest::plain() };
        assert!(self.handle.puts_unseen(&at(path), &request));
        self.handle.put_unseen(&Via::default(), &at(path), request, body(content)).await.map(|written| written.created)
    }

    /// Makes a collection.
    pub(crate) async fn mkcol(&self, path: &str) -> Result<()> {
        self.handle.mkcol(&Via::default(), &at(path), Write::unconditional()).await.map(drop)
    }

    /// Deletes.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        self.handle.delete(&Via::default(), &at(path), Write::unconditional()).await
    }

    /// Moves.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let free = Write::unconditional;
        self.handle.rename(&Via::default(), &at(from), &at(to), free(), free()).await.map(drop)
    }

    /// Copies.
    pub(crate) async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.handle.copy(&Via::default(), &at(from), &at(to), true, Write::unconditional()).await.map(drop)
    }
}

/// A path from a literal.
pub(crate) fn at(path: &str) -> TreePath {
    TreePath::parse(path).unwrap()
}

/// A body from a literal, in two pieces.
pub(crate) fn body(content: &'static str) -> Incoming {
    let (first, second) = content.split_at(content.len() / 2);
    let pieces = [first, second].map(|text| Ok(Bytes::from_static(text.as_bytes())));
    Box::pin(futures_util::stream::iter(pieces))
}
