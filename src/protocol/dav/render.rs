//! One response of a multistatus. A listing has thousands, so nothing is allocated for a property, and what the last entry had is kept:
//! its date, its media type, its letters, its list of missing properties.

use crate::domain::{Etag, Kind, Letters, Lock, LockDepth, LockScope, Node, Permissions, Principal, PropertyName, Quota, Timestamp};
use crate::protocol::dav::properties::{Asked, Form, Live, LiveSet};
use crate::tree::{Access, SyncToken, View};
use crate::wire::multistatus::writer::{self, Status};
use crate::wire::xml::Writer;
use crate::wire::{date, href};

/// Kinds of missing sets that are kept: files and collections, with and without a checksum.
const MISSING_KEPT_MAX: usize = 8;

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

/// What `oc:permissions` says of a node.
pub(super) fn letters(node: &Node, access: &Access) -> Letters {
    Letters { granted: access.granted, kind: node.kind, shared: access.shared, mount_root: access.mount_root }
}

/// Writes responses one after the other.
pub(super) struct Renderer {
    pub(super) out: Writer,
    asked: Asked,
    view: View,
    now: Timestamp,
    /// 404 propstats are left out (`Prefer: return=minimal`, RFC 8144 2.1).
    minimal: bool,
    date: (Timestamp, [u8; 29]),
    letters: Option<(Letters, String)>,
    media: (String, &'static str),
    missing: Vec<(LiveSet, Vec<u8>)>,
}

impl Renderer {
    pub(super) fn new(asked: Asked, view: View, now: Timestamp, minimal: bool, bytes: usize) -> Renderer {
        Renderer {
            out: Writer::with_capacity(bytes),
            asked,
            view,
            now,
            minimal,
            date: (0, date::http_date(0)),
            letters: None,
            media: (String::new(), OCTETS),
            missing: Vec::new(),
        }
    }

    pub(super) fn asked(&self) -> &Asked {
        &self.asked
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

    /// Writes one response.
    pub(super) fn response(&mut self, shown: &Shown<'_>, extras: &Extras) {
        writer::begin_response(&mut self.out);
        self.out.text(shown.base);
        if let Some(name) = shown.name {
            for piece in href::segment_pieces(name) {
                self.out.plain(piece.as_bytes());
            }
            if shown.node.is_collection() {
                self.out.markup("/");
            }
        }
        writer::end_href(&mut self.out);
        let available = available(shown, extras);
        match self.asked.form {
            Form::Names => self.names(available, extras),
            Form::Named | Form::All => self.values(shown, extras, available),
        }
        writer::end_response(&mut self.out);
    }

    fn names(&mut self, available: LiveSet, extras: &Extras) {
        writer::begin_propstat(&mut self.out);
        for (_, element) in available.iter() {
            self.out.markup(element);
        }
        for (name, _) in extras.dead.iter().filter(|(name, _)| Live::by_name(name).is_none()) {
            self.out.empty_named(name);
        }
        writer::end_propstat(&mut self.out, Status::Ok);
    }

    fn values(&mut self, shown: &Shown<'_>, extras: &Extras, available: LiveSet) {
        let mut found = self.asked.live.and(available);
        let missing = self.asked.live.minus(available);
        let all = self.asked.form == Form::All;
        writer::begin_propstat(&mut self.out);
        for (name, xml) in &extras.dead {
            let wanted = match Live::by_name(name) {
                Some(live) if live.may_be_set() => {
                    let wanted = found.contains(live);
                    found.remove(live);
                    wanted
                }
                Some(_) => false,
                None => all || self.asked.others.contains(name),
            };
            if wanted {
                self.out.written(xml.as_bytes());
            }
        }
        for (live, _) in found.iter() {
            self.value(live, shown, extras);
        }
        writer::end_propstat(&mut self.out, Status::Ok);
        if !all && !self.minimal {
            self.not_found(missing, extras);
        }
    }

    /// The 404 propstat. Without dead properties it is the same for every node that lacks the same, so it is kept.
    fn not_found(&mut self, missing: LiveSet, extras: &Extras) {
        if missing.is_empty() && self.asked.others.is_empty() {
            return;
        }
        if extras.dead.is_empty()
            && let Some((_, kept)) = self.missing.iter().find(|(set, _)| *set == missing)
        {
            self.out.written(kept);
            return;
        }
        let mut propstat = Writer::new();
        let mut unknown = self.asked.others.iter().filter(|wanted| !extras.dead.iter().any(|(name, _)| name == *wanted)).peekable();
        if missing.is_empty() && unknown.peek().is_none() {
            return;
        }
        writer::begin_propstat(&mut propstat);
        for (_, element) in missing.iter() {
            propstat.markup(element);
        }
        for name in unknown {
            propstat.empty_named(name);
        }
        writer::end_propstat(&mut propstat, Status::NotFound);
        let propstat = propstat.into_bytes();
        self.out.written(&propstat);
        if extras.dead.is_empty() && self.missing.len() < MISSING_KEPT_MAX {
            self.missing.push((missing, propstat));
        }
    }

    fn value(&mut self, live: Live, shown: &Shown<'_>, extras: &Extras) {
        let node = shown.node;
        let access = &shown.access;
        match live {
            Live::ResourceType if node.is_collection() => self.out.markup("<d:resourcetype><d:collection/></d:resourcetype>"),
            Live::ResourceType => self.out.markup("<d:resourcetype/>"),
            Live::ContentLength => self.count("<d:getcontentlength>", node.size, "</d:getcontentlength>"),
            Live::LastModified => self.last_modified(node.modified),
            Live::Etag => self.etag(shown.etag),
            Live::ContentType => self.content_type(node, shown.name.unwrap_or(shown.display_name)),
            Live::CreationDate => {
                self.out.markup("<d:creationdate>");
                self.out.plain(&date::iso_date(node.created));
                self.out.markup("</d:creationdate>");
            }
            Live::DisplayName => self.out.leaf("<d:displayname>", shown.display_name, "</d:displayname>"),
            Live::SupportedLock => self.out.markup(SUPPORTED_LOCK),
            Live::LockDiscovery => self.locks(extras),
            Live::QuotaAvailable => {
                let available = extras.quota.and_then(|quota| quota.available).unwrap_or_default();
                self.count("<d:quota-available-bytes>", available, "</d:quota-available-bytes>");
            }
            Live::QuotaUsed => {
                self.count("<d:quota-used-bytes>", extras.quota.map_or(0, |quota| quota.used), "</d:quota-used-bytes>");
            }
            Live::SupportedReportSet if node.is_collection() && access.mount.is_none() => self.out.markup(SUPPORTED_REPORTS),
            Live::SupportedReportSet => self.out.markup("<d:supported-report-set/>"),
            Live::SyncToken => {
                let token = extras.sync_token.map(|token| token.to_string()).unwrap_or_default();
                self.out.leaf("<d:sync-token>", &token, "</d:sync-token>");
            }
            Live::Id => self.id(node),
            Live::FileId => self.count("<oc:fileid>", node.id.0, "</oc:fileid>"),
            Live::Permissions => self.permissions(shown),
            Live::Size => self.count("<oc:size>", node.size, "</oc:size>"),
            Live::Checksums => self.checksum(node),
            Live::OwnerId => {
                let other = self.view.owner_of(access);
                let owner = other.as_ref().unwrap_or(self.view.owner());
                self.out.leaf("<oc:owner-id>", &owner.id, "</oc:owner-id>");
            }
            Live::OwnerDisplayName => {
                let other = self.view.owner_of(access);
                let owner = other.as_ref().unwrap_or(self.view.owner());
                self.out.leaf("<oc:owner-display-name>", &owner.display_name, "</oc:owner-display-name>");
            }
            Live::ShareTypes => self.share_types(node, access),
            // Of a favourite the property was set, and has been written as it was set.
            Live::Favorite => self.out.markup("<oc:favorite>0</oc:favorite>"),
            Live::DataFingerprint => self.out.leaf("<oc:data-fingerprint>", self.view.fingerprint(), "</oc:data-fingerprint>"),
            Live::OcsSharePermissions => {
                self.count("<ocs:share-permissions>", u64::from(self.shareable(shown).0), "</ocs:share-permissions>");
            }
            Live::OcmSharePermissions => self.ocm_permissions(self.shareable(shown)),
            Live::MountType => self.out.leaf("<nc:mount-type>", if access.mount.is_some() { "shared" } else { "" }, "</nc:mount-type>"),
            Live::IsMountRoot => {
                self.out.leaf("<nc:is-mount-root>", if access.mount_root { "true" } else { "false" }, "</nc:is-mount-root>")
            }
            Live::HasPreview => self.out.markup("<nc:has-preview>false</nc:has-preview>"),
            Live::ShareAttributes => self.out.markup("<nc:share-attributes>[]</nc:share-attributes>"),
            Live::LockHeld => self.out.markup("<nc:lock>1</nc:lock>"),
            Live::LockOwner => self.out.leaf("<nc:lock-owner>", lock_owner(extras), "</nc:lock-owner>"),
            Live::LockOwnerDisplayName => {
                let owner = self.view.owner();
                let shown = Some(lock_owner(extras)).filter(|name| *name != owner.id).unwrap_or(&owner.display_name);
                self.out.leaf("<nc:lock-owner-displayname>", shown, "</nc:lock-owner-displayname>");
            }
            // Taken with a token, by LOCK; 0 is a user's lock without one.
            Live::LockOwnerType => self.out.markup("<nc:lock-owner-type>2</nc:lock-owner-type>"),
            // Nextcloud's client takes the sum of time and timeout for the end of the lock: so now, and what is left.
            Live::LockTime => self.count("<nc:lock-time>", seconds(self.now), "</nc:lock-time>"),
            Live::LockTimeout => self.count("<nc:lock-timeout>", seconds(lock_end(extras) - self.now), "</nc:lock-timeout>"),
        }
    }

    /// Rights as a share of the node would have them: a file can be neither added to nor deleted. Servers that mount a link read its mask on
    /// every node, files included, and take it for their own rights (`protocol/owncloud.md` 1.5).
    fn shareable(&self, shown: &Shown<'_>) -> Permissions {
        let file = Permissions(Permissions::READ.0 | Permissions::UPDATE.0 | Permissions::SHARE.0);
        match (self.view.principal(), shown.node.kind) {
            (Principal::User(_), Kind::File) => shown.access.granted & file,
            (Principal::User(_), Kind::Collection | Kind::Mount) | (Principal::Link(_) | Principal::Anonymous, _) => shown.access.granted,
        }
    }

    /// 0 shared with users, 1 with groups, 3 by public links.
    fn share_types(&mut self, node: &Node, access: &Access) {
        let (users, groups) = self.view.shared_with(node, access);
        let types = [
            (users, "<oc:share-type>0</oc:share-type>"),
            (groups, "<oc:share-type>1</oc:share-type>"),
            (self.view.has_link(node, access), "<oc:share-type>3</oc:share-type>"),
        ];
        if types.iter().all(|(shared, _)| !shared) {
            return self.out.markup("<oc:share-types/>");
        }
        self.out.markup("<oc:share-types>");
        types.into_iter().filter(|(shared, _)| *shared).for_each(|(_, element)| self.out.markup(element));
        self.out.markup("</oc:share-types>");
    }

    fn last_modified(&mut self, modified: Timestamp) {
        if self.date.0 != modified {
            self.date = (modified, date::http_date(modified));
        }
        self.out.markup("<d:getlastmodified>");
        self.out.plain(&self.date.1);
        self.out.markup("</d:getlastmodified>");
    }

    /// Eight digits at least, as ownCloud pads them, and the server's id.
    fn id(&mut self, node: &Node) {
        self.out.markup("<oc:id>");
        let digits = node.id.0.checked_ilog10().map_or(1, |log| log + 1);
        for _ in digits..8 {
            self.out.markup("0");
        }
        self.out.number(node.id.0);
        self.out.plain(self.view.instance_id().as_bytes());
        self.out.markup("</oc:id>");
    }

    fn checksum(&mut self, node: &Node) {
        self.out.markup("<oc:checksums><oc:checksum>");
        if let Some(checksum) = &node.checksum {
            self.out.markup(checksum.algorithm.name());
            self.out.markup(":");
            self.out.plain(checksum.hex.as_bytes());
        }
        self.out.markup("</oc:checksum></oc:checksums>");
    }

    fn count(&mut self, open: &'static str, number: u64, close: &'static str) {
        self.out.markup(open);
        self.out.number(number);
        self.out.markup(close);
    }

    fn etag(&mut self, etag: &Etag) {
        self.out.markup("<d:getetag>&quot;");
        match etag {
            Etag::Version { epoch, version } => {
                self.out.hexadecimal(u64::from(*epoch));
                self.out.markup(".");
                self.out.hexadecimal(*version);
            }
            Etag::Opaque(text) => self.out.text(text),
        }
        self.out.markup("&quot;</d:getetag>");
    }

    fn content_type(&mut self, node: &Node, name: &str) {
        self.out.markup("<d:getcontenttype>");
        match &node.media_type {
            Some(media) => self.out.text(media),
            None => {
                let extension = extension(name);
                if self.media.0 != extension {
                    self.media = (extension.to_owned(), by_extension(extension));
                }
                self.out.text(self.media.1);
            }
        }
        self.out.markup("</d:getcontenttype>");
    }

    fn permissions(&mut self, shown: &Shown<'_>) {
        let letters = letters(shown.node, &shown.access);
        self.out.markup("<oc:permissions>");
        match &self.letters {
            Some((kept, text)) if *kept == letters => self.out.text(text),
            Some(_) | None => {
                let text = letters.to_string();
                self.out.text(&text);
                self.letters = Some((letters, text));
            }
        }
        self.out.markup("</oc:permissions>");
    }

    fn ocm_permissions(&mut self, granted: Permissions) {
        let has = |bit| granted.contains(bit);
        let words = [
            (has(Permissions::SHARE), "\"share\""),
            (has(Permissions::READ), "\"read\""),
            (has(Permissions::UPDATE) || has(Permissions::CREATE), "\"write\""),
        ];
        let words: Vec<&str> = words.into_iter().filter(|(granted, _)| *granted).map(|(_, word)| word).collect();
        self.out.leaf("<ocm:share-permissions>[", &words.join(","), "]</ocm:share-permissions>");
    }

    /// The locks that cover a node. A token shows to who took the lock only: with it anybody could write (attack D5).
    fn locks(&mut self, extras: &Extras) {
        self.out.markup("<d:lockdiscovery>");
        for (lock, root) in &extras.locks {
            active_lock(&mut self.out, lock, root, self.now, lock.principal == *self.view.principal());
        }
        self.out.markup("</d:lockdiscovery>");
    }
}

/// The account that holds the first lock; none for who came by a link.
fn lock_owner(extras: &Extras) -> &str {
    match extras.locks.first().map(|(lock, _)| &lock.principal) {
        Some(Principal::User(name)) => name.as_str(),
        Some(Principal::Link(_) | Principal::Anonymous) | None => "",
    }
}

fn lock_end(extras: &Extras) -> Timestamp {
    extras.locks.first().map_or(0, |(lock, _)| lock.expires)
}

fn seconds(time: Timestamp) -> u64 {
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

const SUPPORTED_LOCK: &str = concat!(
    "<d:supportedlock><d:lockentry><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockentry>",
    "<d:lockentry><d:lockscope><d:shared/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockentry></d:supportedlock>"
);

const SUPPORTED_REPORTS: &str = concat!(
    "<d:supported-report-set><d:supported-report><d:report><d:sync-collection/></d:report></d:supported-report>",
    "</d:supported-report-set>"
);

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
