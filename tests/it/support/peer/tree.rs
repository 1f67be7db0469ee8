//! The files of a recorded peer, in memory: each change gives the node and all above it another etag, as servers of the ownCloud family do.

use std::collections::BTreeMap;

use bytes::Bytes;

/// A file or a folder.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// The content; none for a folder.
    pub(crate) content: Option<Bytes>,
    /// The etag without quotes.
    pub(crate) etag: String,
    /// Seconds since 1970.
    pub(crate) modified: i64,
    /// Number.
    pub(crate) id: u64,
}

/// Everything below a share's root, and the root: by path without slashes at its ends.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    items: BTreeMap<String, Item>,
    changes: u64,
    ids: u64,
}

/// When the recorded servers were set up: 22 November 2026.
const BEGAN: i64 = 1_795_312_000;

impl Tree {
    /// A folder with `a.txt` and `sub/b.txt`.
    pub(crate) fn folder() -> Tree {
        let mut tree = Tree::default();
        tree.put("", None);
        tree.put("a.txt", Some(Bytes::from_static(b"alpha")));
        tree.put("sub", None);
        tree.put("sub/b.txt", Some(Bytes::from_static(b"beta beta beta")));
        tree
    }

    /// A single file, which is the root.
    pub(crate) fn file() -> Tree {
        let mut tree = Tree::default();
        tree.put("", Some(Bytes::from_static(b"the only one")));
        tree
    }

    /// What stands at a path.
    pub(crate) fn get(&self, path: &str) -> Option<&Item> {
        self.items.get(path)
    }

    /// The content of a file as text.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        Some(String::from_utf8_lossy(self.items.get(path)?.content.as_ref()?).into_owned())
    }

    /// All paths but the root's.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.items.keys().filter(|path| !path.is_empty()).cloned().collect()
    }

    /// The members of a folder.
    pub(crate) fn members(&self, folder: &str) -> Vec<(&str, &Item)> {
        let inside = |path: &str| !path.is_empty() && parent(path) == folder;
        self.items.iter().filter(|(path, _)| inside(path)).map(|(path, item)| (path.as_str(), item)).collect()
    }

    /// Writes a file, or makes a folder.
    pub(crate) fn put(&mut self, path: &str, content: Option<Bytes>) {
        let id = self.items.get(path).map_or_else(
            || {
                self.ids += 1;
                self.ids
            },
            |item| item.id,
        );
        self.items.insert(path.to_owned(), Item { content, etag: String::new(), modified: 0, id });
        self.changed(path);
    }

    /// Sets a modification time.
    pub(crate) fn touch(&mut self, path: &str, modified: i64) {
        self.changed(path);
        if let Some(item) = self.items.get_mut(path) {
            item.modified = modified;
        }
    }

    fn changed(&mut self, path: &str) {
        self.changes += 1;
        let mut at = path;
        loop {
            if let Some(item) = self.items.get_mut(at) {
                item.etag = format!("6b0249{:07x}", self.changes);
                item.modified = BEGAN + i64::try_from(self.changes).unwrap();
            }
            if at.is_empty() {
                return;
            }
            at = parent(at);
        }
    }

    /// Removes a node and all below it; whether there was one.
    pub(crate) fn remove(&mut self, path: &str) -> bool {
        let gone = self.below(path);
        for at in &gone {
            self.items.remove(at);
        }
        self.changed(path);
        !gone.is_empty()
    }

    /// Copies a node and all below it.
    pub(crate) fn copy(&mut self, from: &str, to: &str) {
        for at in self.below(from) {
            let content = self.items[&at].content.clone();
            self.put(&[to, at.strip_prefix(from).unwrap()].concat(), content);
        }
    }

    /// Moves a node and all below it; everything keeps its number.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        for at in self.below(from) {
            let Item { content, id, .. } = self.items.remove(&at).unwrap();
            let target = [to, at.strip_prefix(from).unwrap()].concat();
            self.items.insert(target.clone(), Item { content, etag: String::new(), modified: 0, id });
            self.changed(&target);
        }
        self.changed(from);
    }

    fn below(&self, path: &str) -> Vec<String> {
        let inside = |at: &&String| *at == path || at.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        self.items.keys().filter(inside).cloned().collect()
    }
}

/// The folder that holds a path.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
