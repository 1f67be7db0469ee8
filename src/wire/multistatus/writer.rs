//! Writing a multistatus piece by piece.

use crate::wire::xml::Writer;

/// The media type that sync clients insist on (`protocol/clients.md` 1.4).
pub const CONTENT_TYPE: &str = "application/xml; charset=utf-8";

/// Begins the document. Prefixes: `d` WebDAV, `oc` ownCloud, `nc` Nextcloud, `ocs` and `ocm` their sharing namespaces, `s` SabreDAV.
pub fn begin(writer: &mut Writer) {
    writer.markup(concat!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:multistatus xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\" ",
        "xmlns:oc=\"http://owncloud.org/ns\" xmlns:nc=\"http://nextcloud.org/ns\" ",
        "xmlns:ocs=\"http://open-collaboration-services.org/ns\" xmlns:ocm=\"http://open-cloud-mesh.org/ns\">"
    ));
}

/// Ends the document.
pub fn end(writer: &mut Writer) {
    writer.markup("</d:multistatus>\n");
}

/// Begins a response; the href follows.
pub fn begin_response(writer: &mut Writer) {
    writer.markup("<d:response><d:href>");
}

/// Ends the href.
pub fn end_href(writer: &mut Writer) {
    writer.markup("</d:href>");
}

/// Ends a response.
pub fn end_response(writer: &mut Writer) {
    writer.markup("</d:response>");
}

/// Writes the response that says that there is more than the client wanted (RFC 6578 3.6); `href` is that of the request.
pub fn too_many(writer: &mut Writer, href: &str) {
    begin_response(writer);
    writer.text(href);
    end_href(writer);
    writer.markup("<d:status>HTTP/1.1 507 Insufficient Storage</d:status><d:error><d:number-of-matches-within-limits/></d:error>");
    end_response(writer);
}

/// Begins the properties of one status.
pub fn begin_propstat(writer: &mut Writer) {
    writer.markup("<d:propstat><d:prop>");
}

/// Ends the properties that have this status. It reads `HTTP/1.1` whatever the transport (`protocol/clients.md` 1.4).
pub fn end_propstat(writer: &mut Writer, status: Status) {
    writer.markup("</d:prop><d:status>");
    writer.markup(status.line());
    writer.markup("</d:status></d:propstat>");
}

/// The statuses that properties have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 409
    Conflict,
    /// 424
    FailedDependency,
    /// 507
    InsufficientStorage,
}

impl Status {
    /// The status line in a propstat.
    pub fn line(self) -> &'static str {
        match self {
            Status::Ok => "HTTP/1.1 200 OK",
            Status::Forbidden => "HTTP/1.1 403 Forbidden",
            Status::NotFound => "HTTP/1.1 404 Not Found",
            Status::Conflict => "HTTP/1.1 409 Conflict",
            Status::FailedDependency => "HTTP/1.1 424 Failed Dependency",
            Status::InsufficientStorage => "HTTP/1.1 507 Insufficient Storage",
        }
    }
}
