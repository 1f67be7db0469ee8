//! Dead properties and the modification time (PROPPATCH).

use std::collections::BTreeMap;

use crate::domain::{At, Error, Kind, Node, NodeId, Principal, PropertyChange, PropertyName, Result, Timestamp, Write};
use crate::limits::{NODE_PROPERTIES_MAX, PROPERTY_BYTES_MAX};
use crate::space::Space;
use crate::space::put::Target;
use crate::space::state::Walk;
use crate::store::{Change, NodeJob, Place};

impl Space {
    /// The dead properties of a node.
    pub async fn properties(&self, node: NodeId) -> Result<Vec<(PropertyName, Box<str>)>> {
        self.blocking(move |space| Ok(space.store.properties(space.id, node)?)).await
    }

    /// Changes properties, all or none (RFC 4918 9.2). The version of the node changes with its modification time alone.
    pub async fn patch_properties(&self, at: &At, changes: Vec<PropertyChange>, write: Write) -> Result<Node> {
        let is_root = matches!(self.walk_fresh(at).await?, Walk::Found { path, .. } if path.is_root());
        let held = if is_root { None } else { Some(self.hold(at, false).await?) };
        let at = at.clone();
        self.blocking(move |space| {
            let patched = space.patch_now(&at, is_root, changes, &write);
            drop(held);
            patched
        })
        .await
    }

    fn patch_now(&self, at: &At, is_root: bool, changes: Vec<PropertyChange>, write: &Write) -> Result<Node> {
        let target = if is_root { self.root_target() } else { self.target(at)? };
        let row = target.row.clone().ok_or(Error::NotFound)?;
        if row.kind == Kind::Mount {
            return Err(Error::Unsupported("a mount is asked where it is, not in its home"));
        }
        self.check_write(&target, write)?;
        let mut dead = Vec::new();
        let mut modified: Option<Timestamp> = None;
        for change in changes {
            match change {
                PropertyChange::Set(name, value) if value.len() <= PROPERTY_BYTES_MAX => dead.push((name, Some(value))),
                PropertyChange::Set(..) => return Err(Error::LimitReached("the value of a property is too long")),
                PropertyChange::Remove(name) => dead.push((name, None)),
                PropertyChange::Modified(time) => modified = Some(time),
            }
        }
        let mut job = NodeJob::new(self.id, Vec::new());
        job.checks.push(target.check());
        if !dead.is_empty() {
            let any = self.any_after(row.id, &dead)?;
            job.changes.push(Change::Properties { place: target.place.clone(), changes: dead, any });
        }
        if let Some(modified) = modified {
            // On disk first: if the commit is lost, the file is adopted with its new time.
            let stat = self.files.set_modified(&self.disk(&target.path), modified)?.ok_or(Error::Changed)?;
            job.changes.push(Change::Modified { place: target.place.clone(), modified, stamp: stat.stamp });
        }
        if !job.changes.is_empty() {
            self.store.commit_nodes(job)?;
        }
        self.row_now(&target.place)?.ok_or(Error::NotFound)
    }

    fn root_target(&self) -> Target {
        let root = self.state().root.clone();
        let path = crate::domain::TreePath::root();
        Target {
            place: Place::root(),
            path: path.clone(),
            folder: path.clone(),
            chain: Vec::new(),
            row: Some(root),
            base: path,
            by: Principal::Anonymous,
        }
    }

    /// Whether a node has properties after these changes, within the bound.
    fn any_after(&self, node: NodeId, changes: &[(PropertyName, Option<Box<str>>)]) -> Result<bool> {
        let mut names: BTreeMap<PropertyName, ()> = self.store.properties(self.id, node)?.into_iter().map(|(name, _)| (name, ())).collect();
        for (name, value) in changes {
            match value {
                Some(_) => drop(names.insert(name.clone(), ())),
                None => drop(names.remove(name)),
            }
        }
        if names.len() > NODE_PROPERTIES_MAX {
            return Err(Error::LimitReached("too many properties"));
        }
        Ok(!names.is_empty())
    }
}
