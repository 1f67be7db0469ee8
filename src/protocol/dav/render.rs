//! One response of a multistatus. A listing has thousands, so each is written after a [`Plan`]: constant XML that the nodes of one shape
//! share, with holes for what differs. This file fills the holes; nothing is allocated for them, and what the last node had is kept.

use crate::domain::{Etag, Lock, LockDepth, LockScope, Node, Principal, PropertyName, Quota, Timestamp};
use crate::protocol::dav::plan::{Hole, NOTHING, Plan, Shape, Terms};
use crate::protocol::dav::properties::{Asked, Live, LiveSet};
use crate::tree::{Access, SyncToken, View};
use crate::wire::date::{self, HttpDates};
use crate::wire::href;
use crate::wire::multistatus::writer::{self, Status};
use crate::wire::xml::Writer;

/// Plans that are kept: files and collections, with and without a checksum, and mounts.
const PLANS_MAX: usize = 16;

/// Digits of an `oc:id` at least, as ownCloud pads them.
const ID_DIGITS_MIN: usize = 8;

/// What cannot be read off a node.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) dead: Vec<(PropertyName, Box<str>)>,
    /// Locks with the href of each one's root.
    pub(super) locks: Vec<(Lock, String)>,
    pub(super) quota: Option<Quota>,
    /// The token of a collection, where it is asked for.
    pub(super) sync_token: Option<SyncToken>,
}

/// One node in its place.
pub(super) struct Shown<'node> {
    /// Href of the collection that holds it, with a slash at its end; or the node's own href.
    pub(super) base: &'node str,
    /// Name below `base`; none if `base` is the whole href.
    pub(super) name: Option<&'node str>,
    /// What `displayname` says.
    pub(super) display_name: &'node str,
    pub(super) node: &'node Node,
    pub(super) etag: &'node Etag,
    pub(super) access: Access,
}

/// Writes responses one after the other.
pub(super) struct Renderer {
    pub(super) out: Writer,
    terms: Terms,
    values: Values,
    plans: Vec<(Shape, Plan)>,
    opening: Opening,
}

impl Renderer {
    pub(super) fn new(asked: Asked, view: View, now: Timestamp, minimal: bool, bytes: usize) -> Renderer {
        Renderer {
            out: Writer::with_capacity(bytes),
            terms: Terms { asked, view, now, minimal },
            values: Values { dates: HttpDates::new(), media: (String::new(), OCTETS) },
            plans: Vec::new(),
            opening: Opening::default(),
        }
    }

    pub(super) fn asked(&self) -> &Asked {
        &self.terms.asked
    }

    /// Says that nothing is at an href any more (RFC 6578 3.5.2).
    pub(super) fn gone(&mut self, href: &str) {
        writer::begin_response(&mut self.out);
        self.out.text(href);
        writer::end_href(&mut self.out);
        self.out.markup("<d:status>");
        self.out.markup(Status::NotFound.line());
        self.out.markup("</d:status>");
        writer::end_response(&mut self.out);
    }

    /// Writes one response: the href, and from there on what the plan of its shape says.
    pub(super) fn response(&mut self, shown: &Shown<'_>, extras: &Extras) {
        let Renderer { out, terms, values, plans, opening } = self;
        opening.write(out, shown);
        let shape = Shape { kind: shown.node.kind, access: shown.access, available: available(shown, extras) };
        let own;
        let plan = if extras.dead.is_empty() {
            kept(plans, terms, &shape)
        } else {
            // What was set on this node stands among the constants, so the plan is of no use to others.
            own = Plan::new(terms, &shape, &extras.dead);
            &own
        };
        for (xml, hole) in plan.steps() {
            out.written(xml);
            values.fill(out, hole, &Source { terms, shown, extras });
        }
        out.written(plan.end());
    }
}

/// The plan of a shape, made when the shape comes first.
fn kept<'plans>(plans: &'plans mut Vec<(Shape, Plan)>, terms: &Terms, shape: &Shape) -> &'plans Plan {
    let at = plans.iter().position(|(kept, _)| kept == shape).unwrap_or_else(|| {
        if plans.len() >= PLANS_MAX {
            plans.clear();
        }
        plans.push((*shape, Plan::new(terms, shape, &[])));
        plans.len() - 1
    });
    plans.get(at).map_or(&NOTHING, |(_, plan)| plan)
}

/// How a response begins, as the last member of a collection had it: all members of it have the same.
#[derive(Default)]
struct Opening {
    base: String,
    xml: Vec<u8>,
}

impl Opening {
    fn write(&mut self, out: &mut Writer, shown: &Shown<'_>) {
        let Some(name) = shown.name else {
            writer::begin_response(out);
            return out.text(shown.base);
        };
        if self.xml.is_empty() || self.base != shown.base {
            let mut xml = Writer::new();
            writer::begin_response(&mut xml);
            xml.text(shown.base);
            *self = Opening { base: shown.base.to_owned(), xml: xml.into_bytes() };
        }
        out.written(&self.xml);
        for piece in href::segment_pieces(name) {
            out.plain(piece.as_bytes());
        }
        if shown.node.is_collection() {
            out.markup("/");
        }
    }
}

/// Where the values of one response come from.
struct Source<'node> {
    terms: &'node Terms,
    shown: &'node Shown<'node>,
    extras: &'node Extras,
}

/// Fills holes, and keeps what the last node had.
struct Values {
    dates: HttpDates,
    /// An extension and its media type.
    media: (String, &'static str),
}

impl Values {
    fn fill(&mut self, out: &mut Writer, hole: Hole, source: &Source<'_>) {
        let Source { terms, shown, extras } = source;
        let node = shown.node;
        match hole {
            Hole::Size => out.number(node.size),
            Hole::LastModified => out.plain(self.dates.at(node.modified)),
            Hole::Etag => etag(out, shown.etag),
            Hole::ContentType => self.content_type(out, node, shown.name.unwrap_or(shown.display_name)),
            Hole::CreationDate => out.plain(&date::iso_date(node.created)),
            Hole::DisplayName => out.text(shown.display_name),
            Hole::Locks => locks(out, terms, extras),
            Hole::QuotaAvailable => out.number(extras.quota.and_then(|quota| quota.available).unwrap_or_default()),
            Hole::QuotaUsed => out.number(extras.quota.map_or(0, |quota| quota.used)),
            Hole::SyncToken => out.text(&extras.sync_token.map(|token| token.to_string()).unwrap_or_default()),
            Hole::Id => out.padded_number(node.id.0, ID_DIGITS_MIN),
            Hole::FileId => out.number(node.id.0),
            Hole::Checksum => {
                if let Some(checksum) = &node.checksum {
                    out.markup(checksum.algorithm.name());
                    out.markup(":");
                    out.plain(checksum.hex.as_bytes());
                }
            }
            Hole::ShareTypes => share_types(out, &terms.view, shown),
            Hole::LockOwner => out.text(lock_owner(extras)),
            Hole::LockOwnerDisplayName => {
                let owner = terms.view.owner();
                out.text(Some(lock_owner(extras)).filter(|name| *name != owner.id).unwrap_or(&owner.display_name));
            }
            Hole::LockTimeout => out.number(seconds(lock_end(extras) - terms.now)),
        }
    }

    fn content_type(&mut self, out: &mut Writer, node: &Node, name: &str) {
        if let Some(media) = &node.media_type {
            return out.text(media);
        }
        let extension = extension(name);
        if self.media.0 != extension {
            self.media = (extension.to_owned(), by_extension(extension));
        }
        out.plain(self.media.1.as_bytes());
    }
}

/// 0 shared with users, 1 with groups, 3 by public links, 6 with users of other servers.
fn share_types(out: &mut Writer, view: &View, shown: &Shown<'_>) {
    let with = view.shared_with(shown.node, &shown.access);
    let types = [
        (with.users, "<oc:share-type>0</oc:share-type>"),
        (with.groups, "<oc:share-type>1</oc:share-type>"),
        (view.has_link(shown.node, &shown.access), "<oc:share-type>3</oc:share-type>"),
        (with.remotes, "<oc:share-type>6</oc:share-type>"),
    ];
    if types.iter().all(|(shared, _)| !shared) {
        return out.markup("<oc:share-types/>");
    }
    out.markup("<oc:share-types>");
    types.into_iter().filter(|(shared, _)| *shared).for_each(|(_, element)| out.markup(element));
    out.markup("</oc:share-types>");
}

fn etag(out: &mut Writer, etag: &Etag) {
    match etag {
        Etag::Version { epoch, version } => {
            out.hexadecimal(u64::from(*epoch));
            out.markup(".");
            out.hexadecimal(*version);
        }
        Etag::Opaque(text) => out.text(text),
    }
}

/// The locks that cover a node. A token shows to who took the lock only: with it anybody could write (attack D5).
fn locks(out: &mut Writer, terms: &Terms, extras: &Extras) {
    for (lock, root) in &extras.locks {
        active_lock(out, lock, root, terms.now, lock.principal == *terms.view.principal());
    }
}

/// The account that holds the first lock; none for who came by a link.
fn lock_owner(extras: &Extras) -> &str {
    match extras.locks.first().map(|(lock, _)| &lock.principal) {
        Some(Principal::User(name)) => name.as_str(),
        Some(Principal::Link(_) | Principal::Anonymous | Principal::Remote(_)) | None => "",
    }
}

fn lock_end(extras: &Extras) -> Timestamp {
    extras.locks.first().map_or(0, |(lock, _)| lock.expires)
}

/// Seconds since 1970, or left; none of them are negative.
pub(super) fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time).unwrap_or_default()
}

/// One `activelock` (RFC 4918 14.1); `root` is the href of where it was taken.
pub(super) fn active_lock(out: &mut Writer, lock: &Lock, root: &str, now: Timestamp, with_token: bool) {
    out.markup("<d:activelock><d:locktype><d:write/></d:locktype>");
    out.markup(match lock.scope {
        LockScope::Exclusive => "<d:lockscope><d:exclusive/></d:lockscope>",
        LockScope::Shared => "<d:lockscope><d:shared/></d:lockscope>",
    });
    out.markup(match lock.depth {
        LockDepth::Zero => "<d:depth>0</d:depth>",
        LockDepth::Infinity => "<d:depth>infinity</d:depth>",
    });
    out.written(lock.owner.as_bytes());
    out.markup("<d:timeout>Second-");
    out.number(u64::try_from(lock.expires.saturating_sub(now)).unwrap_or_default());
    out.markup("</d:timeout>");
    if with_token {
        out.leaf("<d:locktoken><d:href>", &lock.token.0, "</d:href></d:locktoken>");
    }
    out.leaf("<d:lockroot><d:href>", root, "</d:href></d:lockroot></d:activelock>");
}

/// What a node has of the live properties.
fn available(shown: &Shown<'_>, extras: &Extras) -> LiveSet {
    let mut set = LiveSet::EVERY;
    if shown.node.is_collection() {
        set.remove(Live::ContentLength);
        set.remove(Live::ContentType);
    }
    if extras.quota.is_none() {
        set.remove(Live::QuotaUsed);
    }
    if extras.quota.and_then(|quota| quota.available).is_none() {
        set.remove(Live::QuotaAvailable);
    }
    if extras.sync_token.is_none() {
        set.remove(Live::SyncToken);
    }
    if shown.node.checksum.is_none() {
        set.remove(Live::Checksums);
    }
    if extras.locks.is_empty() {
        set = set.minus(LiveSet::NEXTCLOUD_LOCK);
    }
    set
}

const OCTETS: &str = "application/octet-stream";

fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn by_extension(extension: &str) -> &'static str {
    mime_guess::from_ext(extension).first_raw().unwrap_or(OCTETS)
}

/// The media type of a file, as a remote says it or by its name.
pub(super) fn media_type<'node>(node: &'node Node, name: &str) -> &'node str {
    node.media_type.as_deref().unwrap_or_else(|| by_extension(extension(name)))
}
