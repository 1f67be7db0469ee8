//! The plan of a response: constant XML with holes. What a request asks for, the kind of a node, what may be done with it and which
//! properties it has fix all of a response but a few short texts. So a listing makes a plan for each shape of node that turns up in it,
//! two or three at most, and an entry is a few copies.

use crate::domain::{Kind, Letters, Permissions, Principal, PropertyName, Timestamp};
use crate::protocol::dav::properties::{Asked, Form, Live, LiveSet};
use crate::protocol::dav::render::seconds;
use crate::tree::{Access, View};
use crate::wire::multistatus::writer::{self, Status};
use crate::wire::xml::Writer;

/// What a request fixes.
pub(super) struct Terms {
    pub(super) asked: Asked,
    pub(super) view: View,
    pub(super) now: Timestamp,
    /// 404 propstats are left out (`Prefer: return=minimal`, RFC 8144 2.1).
    pub(super) minimal: bool,
}

/// What a node fixes: nodes of one shape have one plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) access: Access,
    /// The live properties that it has.
    pub(super) available: LiveSet,
}

/// What differs between nodes of one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hole {
    Size,
    LastModified,
    Etag,
    ContentType,
    CreationDate,
    DisplayName,
    Locks,
    QuotaAvailable,
    QuotaUsed,
    SyncToken,
    /// The number of `oc:id`; the id of the server comes after it.
    Id,
    FileId,
    Checksum,
    /// The whole element.
    ShareTypes,
    LockOwner,
    LockOwnerDisplayName,
    LockTimeout,
}

/// A response from the end of its href on.
pub(super) struct Plan {
    /// All constants, one after the other.
    xml: Vec<u8>,
    /// Where in the constants each hole lies.
    holes: Vec<(usize, Hole)>,
}

impl Plan {
    /// Plans the responses of a shape; `dead` is what was set on the node.
    pub(super) fn new(terms: &Terms, shape: &Shape, dead: &[(PropertyName, Box<str>)]) -> Plan {
        let mut draft = Draft { terms, shape, xml: Writer::new(), holes: Vec::new() };
        writer::end_href(&mut draft.xml);
        match terms.asked.form {
            Form::Names => draft.names(dead),
            Form::Named | Form::All => draft.values(dead),
        }
        writer::end_response(&mut draft.xml);
        Plan { xml: draft.xml.into_bytes(), holes: draft.holes }
    }

    /// The holes, each with the constant before it.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&[u8], Hole)> {
        let mut from = 0;
        self.holes.iter().map(move |(at, hole)| {
            let constant = self.xml.get(from..*at).unwrap_or_default();
            from = *at;
            (constant, *hole)
        })
    }

    /// The constant after the last hole.
    pub(super) fn end(&self) -> &[u8] {
        let from = self.holes.last().map_or(0, |(at, _)| *at);
        self.xml.get(from..).unwrap_or_default()
    }
}

/// A plan that writes nothing.
pub(super) static NOTHING: Plan = Plan { xml: Vec::new(), holes: Vec::new() };

/// A plan in the making.
struct Draft<'terms> {
    terms: &'terms Terms,
    shape: &'terms Shape,
    xml: Writer,
    holes: Vec<(usize, Hole)>,
}

impl Draft<'_> {
    fn names(&mut self, dead: &[(PropertyName, Box<str>)]) {
        writer::begin_propstat(&mut self.xml);
        for (_, element) in self.shape.available.iter() {
            self.xml.markup(element);
        }
        for (name, _) in dead.iter().filter(|(name, _)| Live::by_name(name).is_none()) {
            self.xml.empty_named(name);
        }
        writer::end_propstat(&mut self.xml, Status::Ok);
    }

    fn values(&mut self, dead: &[(PropertyName, Box<str>)]) {
        let asked = &self.terms.asked;
        let mut found = asked.live.and(self.shape.available);
        let all = asked.form == Form::All;
        writer::begin_propstat(&mut self.xml);
        for (name, xml) in dead {
            let wanted = match Live::by_name(name) {
                Some(live) if live.may_be_set() => {
                    let wanted = found.contains(live);
                    found.remove(live);
                    wanted
                }
                Some(_) => false,
                None => all || asked.others.contains(name),
            };
            if wanted {
                self.xml.written(xml.as_bytes());
            }
        }
        for (live, _) in found.iter() {
            self.value(live);
        }
        writer::end_propstat(&mut self.xml, Status::Ok);
        if !all && !self.terms.minimal {
            self.not_found(dead);
        }
    }

    /// The 404 propstat, where something is missing.
    fn not_found(&mut self, dead: &[(PropertyName, Box<str>)]) {
        let asked = &self.terms.asked;
        let missing = asked.live.minus(self.shape.available);
        let mut unknown = asked.others.iter().filter(|wanted| !dead.iter().any(|(name, _)| name == *wanted)).peekable();
        if missing.is_empty() && unknown.peek().is_none() {
            return;
        }
        writer::begin_propstat(&mut self.xml);
        for (_, element) in missing.iter() {
            self.xml.markup(element);
        }
        for name in unknown {
            self.xml.empty_named(name);
        }
        writer::end_propstat(&mut self.xml, Status::NotFound);
    }

    /// `<open>hole</close>`.
    fn around(&mut self, open: &'static str, hole: Hole, close: &'static str) {
        self.xml.markup(open);
        self.holes.push((self.xml.len(), hole));
        self.xml.markup(close);
    }

    fn count(&mut self, open: &'static str, number: u64, close: &'static str) {
        self.xml.markup(open);
        self.xml.number(number);
        self.xml.markup(close);
    }

    fn value(&mut self, live: Live) {
        let Draft { terms, shape, .. } = *self;
        let (view, access) = (&terms.view, &shape.access);
        let collection = shape.kind == Kind::Collection;
        match live {
            Live::ResourceType if collection => self.xml.markup("<d:resourcetype><d:collection/></d:resourcetype>"),
            Live::ResourceType => self.xml.markup("<d:resourcetype/>"),
            Live::ContentLength => self.around("<d:getcontentlength>", Hole::Size, "</d:getcontentlength>"),
            Live::LastModified => self.around("<d:getlastmodified>", Hole::LastModified, "</d:getlastmodified>"),
            Live::Etag => self.around("<d:getetag>&quot;", Hole::Etag, "&quot;</d:getetag>"),
            Live::ContentType => self.around("<d:getcontenttype>", Hole::ContentType, "</d:getcontenttype>"),
            Live::CreationDate => self.around("<d:creationdate>", Hole::CreationDate, "</d:creationdate>"),
            Live::DisplayName => self.around("<d:displayname>", Hole::DisplayName, "</d:displayname>"),
            Live::SupportedLock => self.xml.markup(SUPPORTED_LOCK),
            Live::LockDiscovery => self.around("<d:lockdiscovery>", Hole::Locks, "</d:lockdiscovery>"),
            Live::QuotaAvailable => self.around("<d:quota-available-bytes>", Hole::QuotaAvailable, "</d:quota-available-bytes>"),
            Live::QuotaUsed => self.around("<d:quota-used-bytes>", Hole::QuotaUsed, "</d:quota-used-bytes>"),
            Live::SupportedReportSet if collection && access.mount.is_none() => self.xml.markup(SUPPORTED_REPORTS),
            Live::SupportedReportSet => self.xml.markup("<d:supported-report-set/>"),
            Live::SyncToken => self.around("<d:sync-token>", Hole::SyncToken, "</d:sync-token>"),
            Live::Id => {
                self.around("<oc:id>", Hole::Id, "");
                self.xml.plain(view.instance_id().as_bytes());
                self.xml.markup("</oc:id>");
            }
            Live::FileId => self.around("<oc:fileid>", Hole::FileId, "</oc:fileid>"),
            Live::Permissions => self.xml.leaf("<oc:permissions>", &self.letters().to_string(), "</oc:permissions>"),
            Live::Size => self.around("<oc:size>", Hole::Size, "</oc:size>"),
            Live::Checksums => self.around("<oc:checksums><oc:checksum>", Hole::Checksum, "</oc:checksum></oc:checksums>"),
            Live::OwnerId => {
                let other = view.owner_of(access);
                self.xml.leaf("<oc:owner-id>", &other.as_ref().unwrap_or(view.owner()).id, "</oc:owner-id>");
            }
            Live::OwnerDisplayName => {
                let other = view.owner_of(access);
                let name = &other.as_ref().unwrap_or(view.owner()).display_name;
                self.xml.leaf("<oc:owner-display-name>", name, "</oc:owner-display-name>");
            }
            Live::ShareTypes if view.shares_nothing(access) => self.xml.markup("<oc:share-types/>"),
            Live::ShareTypes => self.around("", Hole::ShareTypes, ""),
            // Of a favourite the property was set, and has been written as it was set.
            Live::Favorite => self.xml.markup("<oc:favorite>0</oc:favorite>"),
            Live::DataFingerprint => self.xml.leaf("<oc:data-fingerprint>", view.fingerprint(), "</oc:data-fingerprint>"),
            Live::OcsSharePermissions => {
                self.count("<ocs:share-permissions>", u64::from(self.shareable().0), "</ocs:share-permissions>");
            }
            Live::OcmSharePermissions => self.ocm_permissions(),
            Live::MountType => self.xml.markup(if access.mount.is_some() { MOUNTED } else { "<nc:mount-type></nc:mount-type>" }),
            Live::IsMountRoot if access.mount_root => self.xml.markup("<nc:is-mount-root>true</nc:is-mount-root>"),
            Live::IsMountRoot => self.xml.markup("<nc:is-mount-root>false</nc:is-mount-root>"),
            Live::HasPreview => self.xml.markup("<nc:has-preview>false</nc:has-preview>"),
            Live::ShareAttributes => self.xml.markup("<nc:share-attributes>[]</nc:share-attributes>"),
            Live::LockHeld => self.xml.markup("<nc:lock>1</nc:lock>"),
            Live::LockOwner => self.around("<nc:lock-owner>", Hole::LockOwner, "</nc:lock-owner>"),
            Live::LockOwnerDisplayName => {
                self.around("<nc:lock-owner-displayname>", Hole::LockOwnerDisplayName, "</nc:lock-owner-displayname>");
            }
            // Taken with a token, by LOCK; 0 is a user's lock without one.
            Live::LockOwnerType => self.xml.markup("<nc:lock-owner-type>2</nc:lock-owner-type>"),
            // Nextcloud's client takes the sum of time and timeout for the end of the lock: so now, and what is left.
            Live::LockTime => self.count("<nc:lock-time>", seconds(terms.now), "</nc:lock-time>"),
            Live::LockTimeout => self.around("<nc:lock-timeout>", Hole::LockTimeout, "</nc:lock-timeout>"),
        }
    }

    /// Who comes by a link has no part in the owner's shares, and takes no mount of the owner away: `S`, and the letters of mounts beyond what is
    /// granted, would be read as rights (`protocol/owncloud.md` 2.5, 3.6).
    fn letters(&self) -> Letters {
        let letters = letters(self.shape.kind, &self.shape.access);
        match self.terms.view.principal() {
            Principal::User(_) => letters,
            Principal::Link(_) | Principal::Anonymous | Principal::Remote(_) => Letters { shared: false, mount_root: false, ..letters },
        }
    }

    /// Rights as a share of the node would have them: a file can be neither added to nor deleted. Servers that mount a link read its mask on
    /// every node, files included, and take it for their own rights (`protocol/owncloud.md` 1.5).
    fn shareable(&self) -> Permissions {
        let file = Permissions(Permissions::READ.0 | Permissions::UPDATE.0 | Permissions::SHARE.0);
        let granted = self.shape.access.granted;
        match (self.terms.view.principal(), self.shape.kind) {
            (Principal::User(_), Kind::File) => granted & file,
            (Principal::User(_), Kind::Collection | Kind::Mount)
            | (Principal::Link(_) | Principal::Anonymous | Principal::Remote(_), _) => granted,
        }
    }

    fn ocm_permissions(&mut self) {
        let granted = self.shareable();
        let has = |bit| granted.contains(bit);
        let words = [
            (has(Permissions::SHARE), "\"share\""),
            (has(Permissions::READ), "\"read\""),
            (has(Permissions::UPDATE) || has(Permissions::CREATE), "\"write\""),
        ];
        let words: Vec<&str> = words.into_iter().filter(|(granted, _)| *granted).map(|(_, word)| word).collect();
        self.xml.leaf("<ocm:share-permissions>[", &words.join(","), "]</ocm:share-permissions>");
    }
}

/// What `oc:permissions` says of a node.
pub(super) fn letters(kind: Kind, access: &Access) -> Letters {
    Letters { granted: access.granted, kind, shared: access.shared, mount_root: access.mount_root }
}

const MOUNTED: &str = "<nc:mount-type>shared</nc:mount-type>";

const SUPPORTED_LOCK: &str = concat!(
    "<d:supportedlock><d:lockentry><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockentry>",
    "<d:lockentry><d:lockscope><d:shared/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockentry></d:supportedlock>"
);

const SUPPORTED_REPORTS: &str = concat!(
    "<d:supported-report-set><d:supported-report><d:report><d:sync-collection/></d:report></d:supported-report>",
    "</d:supported-report-set>"
);
