//! The live properties, and what a PROPFIND asks for.

use crate::domain::PropertyName;
use crate::limits::XML_PROPERTIES_MAX;
use crate::protocol::dav::problem::{Problem, Result};
use crate::wire::xml::{self, DAV, Element};

/// ownCloud's namespace.
pub(super) const OWNCLOUD: &str = "http://owncloud.org/ns";
/// Nextcloud's namespace.
pub(super) const NEXTCLOUD: &str = "http://nextcloud.org/ns";
const OCS: &str = "http://open-collaboration-services.org/ns";
const OCM: &str = "http://open-cloud-mesh.org/ns";
/// The namespace of Explorer's file times and attributes.
pub(super) const MICROSOFT: &str = "urn:schemas-microsoft-com:";

/// A property that the server computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Live {
    ResourceType,
    ContentLength,
    LastModified,
    Etag,
    ContentType,
    CreationDate,
    DisplayName,
    SupportedLock,
    LockDiscovery,
    QuotaAvailable,
    QuotaUsed,
    SupportedReportSet,
    SyncToken,
    Id,
    FileId,
    Permissions,
    Size,
    Checksums,
    OwnerId,
    OwnerDisplayName,
    ShareTypes,
    Favorite,
    DataFingerprint,
    OcsSharePermissions,
    OcmSharePermissions,
    MountType,
    IsMountRoot,
    HasPreview,
    ShareAttributes,
    LockHeld,
    LockOwner,
    LockOwnerDisplayName,
    LockOwnerType,
    LockTime,
    LockTimeout,
}

/// Every live property with its namespace, its local name and its empty element; in the order of the enum, in which they are written.
pub(super) const TABLE: [(Live, &str, &str, &str); 35] = [
    (Live::ResourceType, DAV, "resourcetype", "<d:resourcetype/>"),
    (Live::ContentLength, DAV, "getcontentlength", "<d:getcontentlength/>"),
    (Live::LastModified, DAV, "getlastmodified", "<d:getlastmodified/>"),
    (Live::Etag, DAV, "getetag", "<d:getetag/>"),
    (Live::ContentType, DAV, "getcontenttype", "<d:getcontenttype/>"),
    (Live::CreationDate, DAV, "creationdate", "<d:creationdate/>"),
    (Live::DisplayName, DAV, "displayname", "<d:displayname/>"),
    (Live::SupportedLock, DAV, "supportedlock", "<d:supportedlock/>"),
    (Live::LockDiscovery, DAV, "lockdiscovery", "<d:lockdiscovery/>"),
    (Live::QuotaAvailable, DAV, "quota-available-bytes", "<d:quota-available-bytes/>"),
    (Live::QuotaUsed, DAV, "quota-used-bytes", "<d:quota-used-bytes/>"),
    (Live::SupportedReportSet, DAV, "supported-report-set", "<d:supported-report-set/>"),
    (Live::SyncToken, DAV, "sync-token", "<d:sync-token/>"),
    (Live::Id, OWNCLOUD, "id", "<oc:id/>"),
    (Live::FileId, OWNCLOUD, "fileid", "<oc:fileid/>"),
    (Live::Permissions, OWNCLOUD, "permissions", "<oc:permissions/>"),
    (Live::Size, OWNCLOUD, "size", "<oc:size/>"),
    (Live::Checksums, OWNCLOUD, "checksums", "<oc:checksums/>"),
    (Live::OwnerId, OWNCLOUD, "owner-id", "<oc:owner-id/>"),
    (Live::OwnerDisplayName, OWNCLOUD, "owner-display-name", "<oc:owner-display-name/>"),
    (Live::ShareTypes, OWNCLOUD, "share-types", "<oc:share-types/>"),
    (Live::Favorite, OWNCLOUD, "favorite", "<oc:favorite/>"),
    (Live::DataFingerprint, OWNCLOUD, "data-fingerprint", "<oc:data-fingerprint/>"),
    (Live::OcsSharePermissions, OCS, "share-permissions", "<ocs:share-permissions/>"),
    (Live::OcmSharePermissions, OCM, "share-permissions", "<ocm:share-permissions/>"),
    (Live::MountType, NEXTCLOUD, "mount-type", "<nc:mount-type/>"),
    (Live::IsMountRoot, NEXTCLOUD, "is-mount-root", "<nc:is-mount-root/>"),
    (Live::HasPreview, NEXTCLOUD, "has-preview", "<nc:has-preview/>"),
    (Live::ShareAttributes, NEXTCLOUD, "share-attributes", "<nc:share-attributes/>"),
    (Live::LockHeld, NEXTCLOUD, "lock", "<nc:lock/>"),
    (Live::LockOwner, NEXTCLOUD, "lock-owner", "<nc:lock-owner/>"),
    (Live::LockOwnerDisplayName, NEXTCLOUD, "lock-owner-displayname", "<nc:lock-owner-displayname/>"),
    (Live::LockOwnerType, NEXTCLOUD, "lock-owner-type", "<nc:lock-owner-type/>"),
    (Live::LockTime, NEXTCLOUD, "lock-time", "<nc:lock-time/>"),
    (Live::LockTimeout, NEXTCLOUD, "lock-timeout", "<nc:lock-timeout/>"),
];

impl Live {
    /// The live property by that name.
    pub(super) fn by_name(name: &PropertyName) -> Option<Live> {
        let found = TABLE.iter().find(|(_, namespace, local, _)| **local == *name.local && **namespace == *name.namespace);
        found.map(|(live, ..)| *live)
    }

    /// Whether a client may set it all the same, as a dead property that is then shown instead.
    pub(super) fn may_be_set(self) -> bool {
        matches!(self, Live::DisplayName | Live::Favorite)
    }
}

/// A set of live properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct LiveSet(u64);

impl LiveSet {
    /// The properties of RFC 4918 15 and RFC 4331, for `allprop`.
    pub(super) const ALLPROP: LiveSet = LiveSet((1 << Live::SupportedReportSet as u64) - 1);
    /// All of them.
    pub(super) const EVERY: LiveSet = LiveSet((1 << TABLE.len()) - 1);

    /// What the Nextcloud client reads of a lock.
    pub(super) const NEXTCLOUD_LOCK: LiveSet = LiveSet(((1 << TABLE.len()) - 1) & !((1 << Live::LockHeld as u64) - 1));

    pub(super) fn insert(&mut self, live: Live) {
        self.0 |= 1 << live as u64;
    }

    pub(super) fn remove(&mut self, live: Live) {
        self.0 &= !(1 << live as u64);
    }

    pub(super) fn contains(self, live: Live) -> bool {
        self.0 & (1 << live as u64) != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn minus(self, other: LiveSet) -> LiveSet {
        LiveSet(self.0 & !other.0)
    }

    pub(super) fn and(self, other: LiveSet) -> LiveSet {
        LiveSet(self.0 & other.0)
    }

    /// The properties in the order of [`TABLE`], with their empty elements.
    pub(super) fn iter(self) -> impl Iterator<Item = (Live, &'static str)> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let at = usize::try_from(left.trailing_zeros()).ok()?;
            let (live, _, _, element) = TABLE.get(at)?;
            left &= left - 1;
            Some((*live, *element))
        })
    }
}

/// Which form of PROPFIND (RFC 4918 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `prop`: these, and 404 for what is not there.
    Named,
    /// `propname`: only names.
    Names,
    /// `allprop`, with `include`.
    All,
}

/// What a PROPFIND asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) form: Form,
    pub(super) live: LiveSet,
    /// Names that are no live properties.
    pub(super) others: Vec<PropertyName>,
}

impl Asked {
    /// Reads the body; no body is `allprop`.
    pub(super) fn parse(body: &[u8]) -> Result<Asked> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Asked { form: Form::All, live: LiveSet::ALLPROP, others: Vec::new() });
        }
        let root = xml::parse(body)?;
        if !root.is_dav("propfind") {
            return Err(Problem::bad_request("The body is not a propfind"));
        }
        if let Some(prop) = root.dav_child("prop") {
            let mut asked = Asked { form: Form::Named, live: LiveSet::default(), others: Vec::new() };
            asked.add(prop)?;
            return Ok(asked);
        }
        if root.dav_child("allprop").is_some() {
            let mut asked = Asked { form: Form::All, live: LiveSet::ALLPROP, others: Vec::new() };
            if let Some(include) = root.dav_child("include") {
                asked.add(include)?;
            }
            return Ok(asked);
        }
        if root.dav_child("propname").is_some() {
            return Ok(Asked { form: Form::Names, live: LiveSet::EVERY, others: Vec::new() });
        }
        Err(Problem::bad_request("The propfind asks for nothing"))
    }

    /// The properties of a `prop` element, as reports have them (RFC 6578 6.3).
    pub(super) fn named(names: Option<&Element>) -> Result<Asked> {
        let mut asked = Asked { form: Form::Named, live: LiveSet::default(), others: Vec::new() };
        names.map_or(Ok(()), |names| asked.add(names))?;
        Ok(asked)
    }

    fn add(&mut self, names: &Element) -> Result<()> {
        for (count, element) in names.elements().enumerate() {
            if count >= XML_PROPERTIES_MAX {
                return Err(Problem::too_large("Too many properties are asked for"));
            }
            match Live::by_name(&element.name) {
                Some(live) => self.live.insert(live),
                None if self.others.contains(&element.name) => {}
                None => self.others.push(element.name.clone()),
            }
        }
        Ok(())
    }

    /// Whether dead properties matter to the answer.
    pub(super) fn wants_dead(&self) -> bool {
        match self.form {
            Form::Names | Form::All => true,
            Form::Named => !self.others.is_empty() || self.live.contains(Live::DisplayName) || self.live.contains(Live::Favorite),
        }
    }

    /// Whether locks matter to the answer.
    pub(super) fn wants_locks(&self) -> bool {
        self.form != Form::Names && (self.live.contains(Live::LockDiscovery) || !self.live.and(LiveSet::NEXTCLOUD_LOCK).is_empty())
    }

    /// Whether tokens of collections matter to the answer.
    pub(super) fn wants_sync_token(&self) -> bool {
        self.form != Form::Names && self.live.contains(Live::SyncToken)
    }

    /// Whether the quota matters to the answer.
    pub(super) fn wants_quota(&self) -> bool {
        self.live.contains(Live::QuotaAvailable) || self.live.contains(Live::QuotaUsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Asked {
        Asked::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn the_table_follows_the_enum() {
        for (at, (live, namespace, local, element)) in TABLE.into_iter().enumerate() {
            assert_eq!(live as usize, at);
            assert_eq!(Live::by_name(&PropertyName { namespace: namespace.into(), local: local.into() }), Some(live));
            assert!(element.ends_with(&format!("{local}/>")));
        }
        assert_eq!(LiveSet::EVERY.iter().count(), TABLE.len());
        assert_eq!(LiveSet::ALLPROP.iter().last().unwrap().0, Live::QuotaUsed);
    }

    #[test]
    fn bodies_are_read_as_clients_send_them() {
        assert_eq!(parse("").form, Form::All);
        let owncloud = r#"<d:propfind xmlns:d="DAV:"><d:prop><d:getetag/><id xmlns="http://owncloud.org/ns"/><dDC xmlns="http://owncloud.org/ns"/></d:prop>M</d:propfind>"#;
        let asked = parse(owncloud);
        assert!(asked.live.contains(Live::Etag) && asked.live.contains(Live::Id) && asked.live.iter().count() == 2);
        assert_eq!(asked.others.len(), 1);
        // Nextcloud re-declares a prefix on the child (`protocol/nextcloud.md` 1.6).
        let redeclared = r#"<d:propfind xmlns:d="DAV:"><d:prop xmlns:x="http://owncloud.org/ns" xmlns:x1="http://open-collaboration-services.org/ns">
            <x:permissions xmlns:x="http://owncloud.org/ns"/><x1:share-permissions xmlns:x="http://open-collaboration-services.org/ns"/></d:prop></d:propfind>"#;
        assert!(parse(redeclared).live.contains(Live::Permissions) && parse(redeclared).live.contains(Live::OcsSharePermissions));
        let included = r#"<propfind xmlns="DAV:"><allprop/><include><supported-report-set/></include></propfind>"#;
        assert!(parse(included).live.contains(Live::SupportedReportSet));
        assert_eq!(parse(r#"<propfind xmlns="DAV:"><propname/></propfind>"#).form, Form::Names);
    }

    #[test]
    fn d3_bodies_are_bounded() {
        let many: String = (0..100_000).map(|_| "<a/>").collect();
        assert!(Asked::parse(format!(r#"<propfind xmlns="DAV:"><prop>{many}</prop></propfind>"#).as_bytes()).is_err());
        for body in ["<propfind/>", r#"<propfind xmlns="DAV:"/>"#, r#"<x xmlns="DAV:"><prop/></x>"#, "x"] {
            assert!(Asked::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
