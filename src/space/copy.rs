//! COPY: a staged copy of the whole tree, then one rename and one batch. Nothing is locked while bytes are copied.

use std::sync::Arc;

use crate::content::{DiskPath, Staged, Stat};
use crate::domain::{At, Children, Error, FileStamp, Kind, Node, NodeId, Result, TreePath, Write, Written};
use crate::space::lookup::{Resolved, fits};
use crate::space::place::apart;
use crate::space::{Space, place, state};
use crate::store::{Change, Place, Step};

/// A copied tree that is not placed yet.
struct Copied {
    staged: Staged,
    stat: Stat,
    /// The copy of the root of the tree, without a place yet.
    root: Node,
    root_properties: Option<Change>,
    /// Rows below it.
    inner: Vec<Change>,
}

impl Space {
    /// Copies a file, or a collection with (`deep`) or without what is in it. Ids are new, times and dead properties are copied; mountpoints
    /// below the source are left out.
    pub async fn copy(&self, from: &At, to: &At, deep: bool, target: Write) -> Result<Written> {
        let node = match self.resolve(from).await? {
            Resolved::Node(node) => node,
            Resolved::Mount { .. } => return Err(Error::Unsupported("a mount is asked where it is, not in its home")),
            Resolved::Missing { .. } => return Err(Error::NotFound),
        };
        let replaced = self.before_copy(from, to, &target).await?;
        self.make_fit(&to.by, node.size.saturating_sub(replaced), node.size).await?;
        let copied = match node.kind {
            Kind::Collection => self.copy_tree(from, node.clone(), deep).await?,
            Kind::File | Kind::Mount => self.copy_single(from).await?,
        };
        let copied = Arc::new(std::sync::Mutex::new(Some(copied)));
        loop {
            let exclusive = node.is_collection() || matches!(self.resolve(to).await?, Resolved::Node(node) if node.is_collection());
            let held = self.hold(to, exclusive).await?;
            let (to, target, copied) = (to.clone(), target.clone(), Arc::clone(&copied));
            let placed = self.blocking(move |space| {
                let placed = space.place_copy(&to, &target, &copied, exclusive);
                drop(held);
                placed
            });
            if let Some(written) = placed.await? {
                return Ok(written);
            }
        }
    }

    /// What can be refused before anything is copied; returns the size of what will be replaced.
    async fn before_copy(&self, from: &At, to: &At, target: &Write) -> Result<u64> {
        let path_of = |walk| -> Result<TreePath> {
            match walk {
                state::Walk::Found { path, .. } => Ok(path),
                walk @ (state::Walk::Mount { .. } | state::Walk::Missing { .. } | state::Walk::Load(_) | state::Walk::Unplaced(_)) => {
                    self.slot(walk).map(|(_, path)| path)
                }
            }
        };
        let from_path = path_of(self.walk_fresh(from).await?)?;
        let to_path = path_of(self.walk_fresh(to).await?)?;
        apart(&from_path, &to_path)?;
        self.check_write_early(to, target)?;
        match self.resolve(to).await? {
            Resolved::Node(old) => {
                crate::space::put::expect(&target.expect, Some(&old))?;
                Ok(old.size)
            }
            Resolved::Mount { .. } => Err(Error::Forbidden("a mount is in the way; remove it first")),
            Resolved::Missing { .. } => Ok(0),
        }
    }

    async fn copy_single(&self, from: &At) -> Result<Copied> {
        for _ in 0..4 {
            // Adopts what others did to the source in place, so that row and bytes fit.
            let (node, _) = self.open(from).await?;
            let path = self.path_of(node.id).await?.ok_or(Error::NotFound)?;
            let copied = self.blocking(move |space| {
                let to = space.files.staging_path();
                let staged = space.files.adopt_staged(to.clone());
                let Some((before, stat)) = space.files.copy_file(&space.disk(&path), &to)? else {
                    return Ok(None);
                };
                let root = space.copied_row(&node, &before, &stat)?;
                let root_properties = space.copied_properties(&node, Place::root())?;
                Ok(Some(Copied { staged, stat, root, root_properties, inner: Vec::new() }))
            });
            if let Some(copied) = copied.await? {
                return Ok(copied);
            }
        }
        Err(Error::Changed)
    }

    async fn copy_tree(&self, from: &At, node: Node, deep: bool) -> Result<Copied> {
        let (staged, stat) = self.blocking(|space| Ok(space.files.stage_folder()?)).await?;
        let (root, root_properties) = {
            let (source, stamp) = (node.clone(), stat.stamp);
            self.blocking(move |space| {
                let root = Node {
                    modified: source.modified,
                    has_properties: source.has_properties,
                    ..space.new_node(Kind::Collection, 0, stamp)?
                };
                Ok((root, space.copied_properties(&source, Place::root())?))
            })
            .await?
        };
        let mut inner = Vec::new();
        let mut folders = vec![(node.modified, staged.path().clone())];
        let mut waiting = if deep { vec![(from.clone(), root.id, staged.path().clone())] } else { Vec::new() };
        while let Some((at, copy, disk)) = waiting.pop() {
            let (listed, children) = self.list(&at).await?;
            let source = self.path_of(listed.id).await?.ok_or(Error::NotFound)?;
            let below = at.clone();
            let (changes, next) = self.blocking(move |space| space.copy_members(&source, &children, copy, &disk)).await?;
            inner.extend(changes);
            for (name, modified, id, disk) in next {
                folders.push((modified, disk.clone()));
                waiting.push((At { path: below.path.join(&name), ..below.clone() }, id, disk));
            }
        }
        let stat = self
            .blocking(move |space| {
                // The deepest first: what is made in a folder changes its time.
                for (modified, disk) in folders.iter().rev() {
                    space.files.finish_folder(disk, *modified)?;
                }
                let top = folders.first().map(|(_, disk)| space.files.stat(disk)).transpose()?.flatten();
                top.ok_or(Error::Changed)
            })
            .await?;
        Ok(Copied { staged, stat, root: Node { stamp: FileStamp { ctime_ns: 0, ..stat.stamp }, ..root }, root_properties, inner })
    }

    /// Copies the files of one collection and makes its collections; returns those to be filled.
    #[expect(clippy::type_complexity, reason = "read once, right above")]
    fn copy_members(
        &self,
        source: &TreePath,
        children: &Children,
        copy: NodeId,
        disk: &DiskPath,
    ) -> Result<(Vec<Change>, Vec<(crate::domain::Name, i64, NodeId, DiskPath)>)> {
        let (mut changes, mut folders) = (Vec::new(), Vec::new());
        for (name, node) in children {
            let place = Place::new(copy, name);
            match node.kind {
                Kind::Mount => continue,
                Kind::Collection => {
                    let inner = self.files.make_inner(disk, name)?;
                    let stat = self.files.stat(&inner)?.ok_or(Error::Changed)?;
                    let made = self.new_node(Kind::Collection, 0, stat.stamp)?;
                    folders.push((name.clone(), node.modified, made.id, inner));
                    let made = Node { modified: node.modified, has_properties: node.has_properties, ..made };
                    changes.push(Change::Put { place: place.clone(), node: made });
                }
                Kind::File => {
                    let Some((before, stat)) = self.files.copy_file(&self.disk(&source.join(name)), &disk.join(name))? else {
                        // Gone since the listing: as if the copy had begun a moment later.
                        continue;
                    };
                    changes.push(Change::Put { place: place.clone(), node: self.copied_row(node, &before, &stat)? });
                }
            }
            changes.extend(self.copied_properties(node, place)?);
        }
        Ok((changes, folders))
    }

    /// The row of a copied file. The checksum is copied if the source's bytes were those of its row.
    fn copied_row(&self, node: &Node, before: &Stat, stat: &Stat) -> Result<Node> {
        let checksum = node.checksum.clone().filter(|_| fits(node, before));
        let made = self.new_node(Kind::File, stat.size, stat.stamp)?;
        Ok(Node { checksum, has_properties: node.has_properties, ..made })
    }

    fn copied_properties(&self, node: &Node, place: Place) -> Result<Option<Change>> {
        if !node.has_properties {
            return Ok(None);
        }
        let changes = self.store.properties(self.id, node.id)?.into_iter().map(|(name, value)| (name, Some(value))).collect();
        Ok(Some(Change::Properties { place, changes, any: true }))
    }

    /// None if a collection stands at the target now and `structure` is only shared.
    fn place_copy(&self, to: &At, write: &Write, copied: &std::sync::Mutex<Option<Copied>>, exclusive: bool) -> Result<Option<Written>> {
        let target = self.target(to)?;
        if target.row.as_ref().is_some_and(Node::is_collection) && !exclusive {
            return Ok(None);
        }
        self.check_replaced(&target, write)?;
        let Some(Copied { staged, stat, mut root, root_properties, mut inner }) = crate::space::lock(copied).take() else {
            return Err(Error::Internal("a copy was placed twice".to_owned()));
        };
        root.stamp.ctime_ns = 0;
        let mut changes = Vec::with_capacity(inner.len() + 3);
        let from = staged.path().as_str().to_owned();
        let at = self.disk(&target.path).as_str().to_owned();
        let inode = stat.stamp.file();
        let mut steps = vec![Step::Move { from: from.clone(), to: at.clone(), inode }];
        if let Some(old) = &target.row {
            changes.extend(self.locks_handed_over(old.id, root.id)?);
            if let Some(replaced) = self.replaced(&target, (root.id, root.kind))? {
                if !replaced.overwritten {
                    let to = replaced.to.as_str().to_owned();
                    steps = vec![Step::Swap { from: from.clone(), to: at, inode }, Step::Move { from, to, inode: replaced.inode }];
                }
                changes.extend(replaced.changes);
            }
        }
        changes.push(Change::Put { place: target.place.clone(), node: root });
        if let Some(Change::Properties { changes: values, any, .. }) = root_properties {
            changes.push(Change::Properties { place: target.place.clone(), changes: values, any });
        }
        changes.append(&mut inner);
        let committed = self.carry_out(place::Write {
            checks: vec![target.check()],
            changes,
            steps,
            staged: vec![staged],
            folders: vec![(target.place.parent, target.folder.clone())],
            moved: vec![(target.place.clone(), target.path.clone())],
        })?;
        if target.row.is_some() {
            self.settler.purge();
        }
        let node = committed.nodes.into_iter().next().ok_or_else(|| Error::Internal("a row was not committed".to_owned()))?;
        Ok(Some(Written { created: target.row.is_none(), node }))
    }
}
