use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::*;
use crate::domain::{At, Children, Etag, Expect, PutRequest, Write, Written};
use crate::store::Options;
use crate::wire::Incoming;

mod adoption;
mod basics;
mod crashes;
mod keeping;
mod killed;
mod locking;
mod random;
mod uploads;

const SPACE: SpaceId = SpaceId(1);

/// One home in a folder of its own.
pub(super) struct Home {
    directory: tempfile::TempDir,
    pub(super) spaces: Spaces,
    pub(super) space: Arc<Space>,
    pub(super) clock: Clock,
}

impl Home {
    pub(super) fn new() -> Home {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(1_700_000_000);
        let (spaces, space) = open(directory.path(), &clock, None);
        Home { directory, spaces, space, clock }
    }

    /// A home whose trash and versions have other bounds.
    pub(super) fn keeping(trash: Keep, versions: Keep) -> Home {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(1_700_000_000);
        let store = Store::open(&directory.path().join(".causeway/store"), Options::default()).unwrap();
        let options = SpaceOptions { trash, versions, ..SpaceOptions::default() };
        let spaces = Spaces::open(store, directory.path(), clock.clone(), options).unwrap();
        spaces.create(SPACE, &UserName::parse("anna").unwrap()).unwrap();
        let space = spaces.get(SPACE).unwrap();
        Home { directory, spaces, space, clock }
    }

    /// As after a stop and a start; with `stop`, writes from now on end after that step as if the process died.
    pub(super) fn reopen(self, stop: Option<Stop>) -> Home {
        let Home { directory, spaces, space, clock } = self;
        // Without closing the spaces: what was left to be settled is lost like after kill -9.
        drop((spaces, space));
        let (spaces, space) = open_when_free(directory.path(), &clock, stop);
        Home { directory, spaces, space, clock }
    }

    pub(super) fn disk(&self, path: &str) -> PathBuf {
        self.directory.path().join("anna").join(path)
    }

    pub(super) fn own(&self, path: &str) -> PathBuf {
        self.directory.path().join(".causeway").join(path)
    }

    pub(super) async fn put(&self, path: &str, text: &str) -> Result<Written> {
        self.put_with(path, text, PutRequest::plain()).await
    }

    pub(super) async fn put_with(&self, path: &str, text: &str, request: PutRequest) -> Result<Written> {
        self.space.put(&at(path), request, body(text)).await
    }

    pub(super) async fn mkcol(&self, path: &str) -> Result<Written> {
        self.space.mkcol(&at(path), Write::unconditional()).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Vec<MountId>> {
        self.space.delete(&at(path), Write::unconditional()).await
    }

    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<Written> {
        self.space.rename(&at(from), &at(to), Write::unconditional(), Write::unconditional()).await
    }

    pub(super) async fn copy(&self, from: &str, to: &str) -> Result<Written> {
        self.space.copy(&at(from), &at(to), true, Write::unconditional()).await
    }

    pub(super) async fn read(&self, path: &str) -> Result<String> {
        let (node, file) = self.space.open(&at(path)).await?;
        assert_eq!(node.size, file.size());
        let pieces: Vec<Bytes> = file.stream(0..file.size()).try_collect().await.unwrap();
        Ok(String::from_utf8(pieces.concat()).unwrap())
    }

    pub(super) async fn node(&self, path: &str) -> Option<Node> {
        match self.space.resolve(&at(path)).await.unwrap() {
            Resolved::Node(node) | Resolved::Mount { node, .. } => Some(node),
            Resolved::Missing { .. } => None,
        }
    }

    pub(super) async fn children(&self, path: &str) -> Arc<Children> {
        self.space.list(&at(path)).await.unwrap().1
    }

    pub(super) async fn names(&self, path: &str) -> Vec<String> {
        self.children(path).await.keys().map(ToString::to_string).collect()
    }

    /// Rows and files tell the same, sizes add up, and no collection is older than what is in it.
    pub(super) async fn check(&self) {
        let mut waiting = vec![TreePath::root()];
        while let Some(path) = waiting.pop() {
            let (node, children) = self.space.list(&At::home(path.clone())).await.unwrap();
            let mut on_disk = Vec::new();
            for entry in std::fs::read_dir(self.disk(path.as_str())).unwrap() {
                on_disk.push(entry.unwrap().file_name().into_string().unwrap());
            }
            on_disk.sort();
            let rows: Vec<String> =
                children.iter().filter(|(_, node)| node.kind != Kind::Mount).map(|(name, _)| name.to_string()).collect();
            assert_eq!(rows, on_disk, "{path}");
            assert_eq!(node.size, children.values().map(|child| child.size).sum::<u64>(), "size of {path}");
            for (name, child) in children.iter() {
                assert!(version(&child.etag) <= version(&node.etag), "{path} is older than {name}");
                let child_path = path.join(name);
                match child.kind {
                    Kind::Collection => waiting.push(child_path),
                    Kind::File => {
                        let bytes = std::fs::read(self.disk(child_path.as_str())).unwrap();
                        assert_eq!(self.read(child_path.as_str()).await.unwrap().into_bytes(), bytes);
                    }
                    Kind::Mount => {}
                }
            }
        }
        let staged = std::fs::read_dir(self.own("staging")).unwrap().count();
        assert_eq!(staged, 0, "staged files are left");
    }
}

fn open(davroot: &Path, clock: &Clock, stop: Option<Stop>) -> (Spaces, Arc<Space>) {
    begin(Store::open(&davroot.join(".causeway/store"), Options::default()).unwrap(), davroot, clock, stop)
}

fn begin(store: Store, davroot: &Path, clock: &Clock, stop: Option<Stop>) -> (Spaces, Arc<Space>) {
    let spaces = Spaces::open(store, davroot, clock.clone(), SpaceOptions { stop, ..SpaceOptions::default() }).unwrap();
    spaces.create(SPACE, &UserName::parse("anna").unwrap()).unwrap();
    let space = spaces.get(SPACE).unwrap();
    (spaces, space)
}

/// Background threads hold the store for a moment longer.
fn open_when_free(davroot: &Path, clock: &Clock, stop: Option<Stop>) -> (Spaces, Arc<Space>) {
    for _ in 0..1000 {
        match Store::open(&davroot.join(".causeway/store"), Options::default()) {
            Err(crate::store::Error::InUse) => std::thread::sleep(std::time::Duration::from_millis(5)),
            Err(error) => panic!("{error}"),
            Ok(store) => return begin(store, davroot, clock, stop),
        }
    }
    panic!("the store stays in use");
}

pub(super) fn at(path: &str) -> At {
    At::home(TreePath::parse(path).unwrap())
}

pub(super) fn body(text: &str) -> Incoming {
    let pieces: Vec<std::io::Result<Bytes>> = text.as_bytes().chunks(70_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Box::pin(futures_util::stream::iter(pieces))
}

pub(super) fn version(etag: &Etag) -> (u32, u64) {
    match etag {
        Etag::Version { epoch, version } => (*epoch, *version),
        Etag::Opaque(_) => panic!("an etag of a home is a version"),
    }
}

pub(super) fn expecting(expect: Expect) -> Write {
    Write { expect, tokens: Vec::new() }
}
