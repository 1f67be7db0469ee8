//! A collection and its members, from one snapshot, without copying the members.

use std::collections::{HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::domain::{Children, Etag, Kind, MountId, Name, Node, NodeId};
use crate::tree::{Access, Entry};

/// A collection and its members.
#[derive(Debug)]
pub struct Listing {
    /// The collection itself.
    pub own: Entry,
    pub(super) children: Arc<Children>,
    pub(super) access: Access,
    /// What stands at the mountpoints among the members.
    pub(super) mounted: HashMap<MountId, Entry>,
    /// Composed etags of members that have mounts below them.
    pub(super) composed: HashMap<NodeId, Etag>,
    /// Mountpoints at which this principal sees nothing.
    pub(super) hidden: HashSet<MountId>,
}

/// One member of a collection.
#[derive(Debug)]
pub struct Member<'listing> {
    /// Its name.
    pub name: &'listing Name,
    /// The node; read the etag from [`Member::etag`].
    pub node: &'listing Node,
    /// The etag, composed where mounts hang below.
    pub etag: &'listing Etag,
    /// What may be done with it.
    pub access: Access,
}

impl Listing {
    /// How many members.
    pub fn len(&self) -> usize {
        self.children.len().saturating_sub(self.hidden.len())
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The members by name.
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        self.children.iter().filter(|(_, node)| self.is_shown(node)).map(|(name, node)| self.member(name, node))
    }

    /// The members whose names come after `last`, so that a long listing can be written in pieces.
    pub fn members_after(&self, last: Option<&Name>) -> impl Iterator<Item = Member<'_>> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.children.range::<Name, _>((from, Bound::Unbounded));
        range.filter(|(_, node)| self.is_shown(node)).map(|(name, node)| self.member(name, node))
    }

    /// Names of mountpoints at which this principal sees nothing.
    pub fn hidden_names(&self) -> impl Iterator<Item = &Name> {
        self.children.iter().filter(|(_, node)| !self.is_shown(node)).map(|(name, _)| name)
    }

    fn is_shown(&self, node: &Node) -> bool {
        self.hidden.is_empty() || node.kind != Kind::Mount || !self.hidden.contains(&MountId(node.id.0))
    }

    fn member<'listing>(&'listing self, name: &'listing Name, node: &'listing Node) -> Member<'listing> {
        match node.kind {
            Kind::Mount => match self.mounted.get(&MountId(node.id.0)) {
                Some(entry) => Member { name, node: &entry.node, etag: &entry.node.etag, access: entry.access },
                None => Member { name, node, etag: &node.etag, access: self.access },
            },
            Kind::File | Kind::Collection => {
                let etag = if self.composed.is_empty() { &node.etag } else { self.composed.get(&node.id).unwrap_or(&node.etag) };
                let access = Access { granted: self.access.granted & node.permissions, ..self.access };
                Member { name, node, etag, access }
            }
        }
    }
}
