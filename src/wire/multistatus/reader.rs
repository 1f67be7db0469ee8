//! Reads a multistatus as a stream, bounded in every direction: what a hostile server sends costs a fixed amount of memory (attack F11).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;
use quick_xml::writer::Writer;
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use crate::domain::{PropertyName, Timestamp};
use crate::limits::{PROPERTY_BYTES_MAX, REMOTE_ANSWER_BYTES_MAX, REMOTE_EVENT_BYTES_MAX, REMOTE_VALUE_BYTES_MAX, XML_DEPTH_MAX};

/// Namespace of WebDAV.
pub const DAV: &str = "DAV:";
/// Namespace of ownCloud's properties.
pub const OC: &str = "http://owncloud.org/ns";
/// Namespace of the OCS share permissions.
pub const OCS: &str = "http://open-collaboration-services.org/ns";

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body broke off or stalled.
    #[error("the answer broke off")]
    Io(#[source] io::Error),
    /// It is not a well-formed multistatus.
    #[error("the answer is not a WebDAV listing: {0}")]
    Malformed(&'static str),
    /// It goes over a bound.
    #[error("the answer is too large: {0}")]
    TooLarge(&'static str),
}

/// How much is taken.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of the whole document.
    pub bytes: u64,
    /// Bytes of one tag or run of text.
    pub event_bytes: u64,
    /// Nesting, in elements.
    pub depth: usize,
    /// Responses.
    pub entries: usize,
    /// Whether properties that this reader does not know are kept, as XML text.
    pub keep_other: bool,
}

impl Default for Bounds {
    fn default() -> Bounds {
        let entries = crate::limits::REMOTE_ENTRIES_MAX;
        Bounds { bytes: REMOTE_ANSWER_BYTES_MAX, event_bytes: REMOTE_EVENT_BYTES_MAX, depth: XML_DEPTH_MAX, entries, keep_other: false }
    }
}

/// What is known of one resource; only properties with a status of success count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// `resourcetype`: whether it is a collection.
    pub collection: Option<bool>,
    /// `getetag`, as sent.
    pub etag: Option<String>,
    /// `getcontentlength`.
    pub length: Option<u64>,
    /// A length was sent that is no length (negative, or beyond 2⁶³).
    pub bad_length: bool,
    /// `getlastmodified`.
    pub modified: Option<Timestamp>,
    /// `creationdate`.
    pub created: Option<Timestamp>,
    /// `getcontenttype`.
    pub media_type: Option<String>,
    /// `displayname`.
    pub display_name: Option<String>,
    /// `oc:id`.
    pub id: Option<String>,
    /// `oc:permissions`: letters.
    pub letters: Option<String>,
    /// `ocs:share-permissions`: bits.
    pub bits: Option<u8>,
    /// `oc:size`.
    pub size: Option<u64>,
    /// `oc:checksums`: the text of the first checksum element.
    pub checksums: Option<String>,
    /// `oc:owner-display-name`.
    pub owner: Option<String>,
    /// `quota-available-bytes`; negative where unknown or unlimited.
    pub quota_available: Option<i64>,
    /// `quota-used-bytes`.
    pub quota_used: Option<i64>,
    /// Everything else, as XML text, where asked for.
    pub other: Vec<(PropertyName, Box<str>)>,
}

/// One `DAV:response`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The href as sent, without its entities; empty where it was too long.
    pub href: String,
    /// The status of the whole response, where it has one.
    pub status: Option<u16>,
    /// Properties found.
    pub properties: Properties,
    /// The first status of a failed propstat, for PROPPATCH.
    pub failed: Option<u16>,
}

/// Reads a document, handing on each response as it ends. `each` stops the reading by its error.
///
/// # Errors
/// What [`Error`] lists.
pub async fn read(body: impl AsyncBufRead + Unpin, bounds: Bounds, mut each: impl FnMut(Response)) -> Result<(), Error> {
    let mut reader = NsReader::from_reader(Meter { inner: body, total: 0, event: 0, bounds });
    let mut state = State::new(bounds);
    let mut buffer = Vec::new();
    let mut entries = 0_usize;
    loop {
        buffer.clear();
        reader.get_mut().event = 0;
        let event = reader.read_event_into_async(&mut buffer).await.map_err(xml_error)?;
        let resolver = reader.resolver();
        let ended = match event {
            Event::Start(element) => {
                state.open(&element, resolver.resolve_element(element.name()).0)?;
                None
            }
            Event::Empty(element) => {
                state.open(&element, resolver.resolve_element(element.name()).0)?;
                state.close()
            }
            Event::End(_) => state.close(),
            Event::Text(text) => {
                state.text(&text.xml10_content().map_err(|_error| Error::Malformed("it is not UTF-8"))?);
                None
            }
            Event::CData(text) => {
                state.text(&text.decode().map_err(|_error| Error::Malformed("it is not UTF-8"))?);
                None
            }
            Event::GeneralRef(entity) => {
                state.text(character(&entity)?.encode_utf8(&mut [0; 4]));
                None
            }
            Event::DocType(_) => return Err(Error::Malformed("it has a document type")),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => None,
        };
        if let Some(response) = ended {
            entries += 1;
            if entries > bounds.entries {
                return Err(Error::TooLarge("it has too many entries"));
            }
            each(response);
        }
    }
    if state.complete { Ok(()) } else { Err(Error::Malformed("it ends too early")) }
}

fn xml_error(error: quick_xml::Error) -> Error {
    let quick_xml::Error::Io(error) = error else { return Error::Malformed("it is not well-formed XML") };
    if error.kind() == io::ErrorKind::FileTooLarge {
        return Error::TooLarge("it has too many bytes");
    }
    Error::Io(io::Error::new(error.kind(), error))
}

fn character(entity: &BytesRef<'_>) -> Result<char, Error> {
    if let Some(character) = entity.resolve_char_ref().map_err(|_error| Error::Malformed("it has a bad character reference"))? {
        return Ok(character);
    }
    // No other entities: without a document type there are none (attack F11, "bomb").
    let name: &[u8] = entity;
    match name {
        b"lt" => Ok('<'),
        b"gt" => Ok('>'),
        b"amp" => Ok('&'),
        b"quot" => Ok('"'),
        b"apos" => Ok('\''),
        _ => Err(Error::Malformed("it has an unknown entity")),
    }
}

/// Where the parser stands below `multistatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Outside,
    Multistatus,
    Response,
    Href,
    Status,
    Propstat,
    PropstatStatus,
    Prop,
    Property,
}

struct State {
    bounds: Bounds,
    at: At,
    depth: usize,
    /// Elements below the current place that are only passed over or captured.
    inside: usize,
    text: String,
    too_long: bool,
    property: Option<PropertyName>,
    fragment: Option<Writer<Vec<u8>>>,
    fragment_names: Vec<String>,
    collection: bool,
    response: Response,
    pending: Properties,
    pending_status: Option<u16>,
    complete: bool,
}

impl State {
    fn new(bounds: Bounds) -> State {
        State {
            bounds,
            at: At::Outside,
            depth: 0,
            inside: 0,
            text: String::new(),
            too_long: false,
            property: None,
            fragment: None,
            fragment_names: Vec::new(),
            collection: false,
            response: Response::default(),
            pending: Properties::default(),
            pending_status: None,
            complete: false,
        }
    }

    fn open(&mut self, element: &BytesStart<'_>, namespace: ResolveResult<'_>) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > self.bounds.depth {
            return Err(Error::TooLarge("it is nested too deep"));
        }
        let namespace: &[u8] = match namespace {
            ResolveResult::Bound(namespace) => namespace.0,
            ResolveResult::Unbound => b"",
            ResolveResult::Unknown(_) => return Err(Error::Malformed("it uses a prefix that it does not declare")),
        };
        let local = element.local_name();
        let dav = (namespace == DAV.as_bytes()).then_some(local.as_ref());
        if self.inside > 0 || matches!(self.at, At::Href | At::Status | At::PropstatStatus) {
            self.inside += 1;
            return Ok(());
        }
        match (self.at, dav) {
            (At::Outside, Some(b"multistatus")) if !self.complete => self.at = At::Multistatus,
            (At::Outside, _) => return Err(Error::Malformed("it is no multistatus")),
            (At::Multistatus, Some(b"response")) => {
                self.response = Response::default();
                self.at = At::Response;
            }
            (At::Response, Some(b"href")) => self.begin_text(At::Href),
            (At::Response, Some(b"status")) => self.begin_text(At::Status),
            (At::Response, Some(b"propstat")) => {
                self.pending = Properties::default();
                self.pending_status = None;
                self.at = At::Propstat;
            }
            (At::Propstat, Some(b"status")) => self.begin_text(At::PropstatStatus),
            (At::Propstat, Some(b"prop")) => self.at = At::Prop,
            (At::Prop, _) => self.begin_property(namespace, local.as_ref(), element),
            (At::Property, _) => {
                if dav == Some(b"collection") {
                    self.collection = true;
                }
                self.write_start(namespace, local.as_ref(), element);
            }
            _ => self.inside += 1,
        }
        Ok(())
    }

    fn begin_text(&mut self, at: At) {
        self.at = at;
        self.text.clear();
        self.too_long = false;
    }

    fn begin_property(&mut self, namespace: &[u8], local: &[u8], element: &BytesStart<'_>) {
        self.begin_text(At::Property);
        self.collection = false;
        let name = PropertyName { namespace: lossy(namespace), local: lossy(local) };
        self.fragment = (self.bounds.keep_other && !is_known(&name)).then(|| Writer::new(Vec::new()));
        self.property = Some(name);
        self.fragment_names.clear();
        self.write_start(namespace, local, element);
    }

    /// Copies a start tag into the kept fragment, with its namespace spelled out, so that the fragment stands alone.
    fn write_start(&mut self, namespace: &[u8], local: &[u8], element: &BytesStart<'_>) {
        let name = lossy(local).into_string();
        if let Some(writer) = &mut self.fragment {
            let mut start = BytesStart::new(name.clone());
            start.push_attribute(("xmlns", &*lossy(namespace)));
            for attribute in element.attributes().with_checks(false).flatten() {
                let key = attribute.key.as_ref();
                if key == b"xml:lang" || (key != b"xmlns" && !key.contains(&b':')) {
                    start.push_attribute(attribute);
                }
            }
            if writer.write_event(Event::Start(start)).is_err() {
                self.fragment = None;
            }
        }
        self.fragment_names.push(name);
    }

    fn text(&mut self, text: &str) {
        if self.inside > 0 || !matches!(self.at, At::Href | At::Status | At::PropstatStatus | At::Property) {
            return;
        }
        if self.text.len() + text.len() > REMOTE_VALUE_BYTES_MAX {
            self.too_long = true;
            return;
        }
        self.text.push_str(text);
        if let Some(writer) = &mut self.fragment {
            let written = writer.write_event(Event::Text(quick_xml::events::BytesText::new(text)));
            if written.is_err() || writer.get_ref().len() > PROPERTY_BYTES_MAX {
                self.fragment = None;
            }
        }
    }

    fn close(&mut self) -> Option<Response> {
        self.depth = self.depth.saturating_sub(1);
        if self.inside > 0 {
            self.inside -= 1;
            return None;
        }
        match self.at {
            At::Outside => {}
            At::Multistatus => {
                self.complete = true;
                self.at = At::Outside;
            }
            At::Response => {
                self.at = At::Multistatus;
                return Some(std::mem::take(&mut self.response));
            }
            At::Href => {
                // The first href counts: an answer to DELETE may list several (RFC 4918 14.24).
                if self.response.href.is_empty() && !self.too_long {
                    self.response.href = self.text.trim().to_owned();
                }
                self.at = At::Response;
            }
            At::Status => {
                self.response.status = status_code(&self.text);
                self.at = At::Response;
            }
            At::PropstatStatus => {
                self.pending_status = status_code(&self.text);
                self.at = At::Propstat;
            }
            At::Propstat => {
                let pending = std::mem::take(&mut self.pending);
                if self.pending_status.is_some_and(is_told) {
                    self.response.properties.merge(pending);
                } else if self.response.failed.is_none() {
                    self.response.failed = self.pending_status;
                }
                self.at = At::Response;
            }
            At::Prop => self.at = At::Propstat,
            At::Property => self.close_property(),
        }
        None
    }

    fn close_property(&mut self) {
        let name = self.fragment_names.pop().unwrap_or_default();
        if let Some(writer) = &mut self.fragment
            && writer.write_event(Event::End(quick_xml::events::BytesEnd::new(name))).is_err()
        {
            self.fragment = None;
        }
        if !self.fragment_names.is_empty() {
            return;
        }
        self.at = At::Prop;
        let Some(property) = self.property.take() else { return };
        let fragment = self.fragment.take();
        if let Some(xml) = fragment.and_then(|writer| String::from_utf8(writer.into_inner()).ok()) {
            if self.pending.other.len() < crate::limits::NODE_PROPERTIES_MAX {
                self.pending.other.push((property, xml.into_boxed_str()));
            }
        } else if !self.too_long {
            self.pending.set(&property, self.text.trim(), self.collection);
        }
    }
}

impl Properties {
    fn set(&mut self, name: &PropertyName, text: &str, collection: bool) {
        let some = || (!text.is_empty()).then(|| text.to_owned());
        match (&*name.namespace, &*name.local) {
            (DAV, "resourcetype") => self.collection = Some(collection),
            (DAV, "getetag") => self.etag = some(),
            (DAV, "getcontentlength") => {
                self.length = text.parse().ok().filter(|length| i64::try_from(*length).is_ok());
                self.bad_length = self.length.is_none() && !text.is_empty();
            }
            (DAV, "getlastmodified") => self.modified = http_date(text),
            (DAV, "creationdate") => {
                self.created = chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp()).or_else(|| http_date(text));
            }
            (DAV, "getcontenttype") => self.media_type = some(),
            (DAV, "displayname") => self.display_name = some(),
            (DAV, "quota-available-bytes") => self.quota_available = text.parse().ok(),
            (DAV, "quota-used-bytes") => self.quota_used = text.parse().ok(),
            (OC, "id") => self.id = some(),
            (OC, "permissions") => self.letters = Some(text.to_owned()),
            (OC, "size") => self.size = text.parse().ok().filter(|length| i64::try_from(*length).is_ok()),
            (OC, "checksums") => self.checksums = some(),
            (OC, "owner-display-name") => self.owner = some(),
            (OCS, "share-permissions") => self.bits = text.parse().ok(),
            _ => {}
        }
    }

    fn merge(&mut self, other: Properties) {
        fn keep<T>(own: &mut Option<T>, other: Option<T>) {
            if own.is_none() {
                *own = other;
            }
        }
        keep(&mut self.collection, other.collection);
        keep(&mut self.etag, other.etag);
        keep(&mut self.length, other.length);
        self.bad_length |= other.bad_length;
        keep(&mut self.modified, other.modified);
        keep(&mut self.created, other.created);
        keep(&mut self.media_type, other.media_type);
        keep(&mut self.display_name, other.display_name);
        keep(&mut self.id, other.id);
        keep(&mut self.letters, other.letters);
        keep(&mut self.bits, other.bits);
        keep(&mut self.size, other.size);
        keep(&mut self.checksums, other.checksums);
        keep(&mut self.owner, other.owner);
        keep(&mut self.quota_available, other.quota_available);
        keep(&mut self.quota_used, other.quota_used);
        self.other.extend(other.other);
    }
}

fn is_known(name: &PropertyName) -> bool {
    // Live properties of WebDAV, ownCloud, Nextcloud and Apache are not ours to show as dead ones.
    matches!(&*name.namespace, DAV | OC | OCS | "http://nextcloud.org/ns" | "http://apache.org/dav/props/")
        || name.namespace.starts_with("http://subversion.tigris.org/")
}

fn lossy(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into_owned().into_boxed_str()
}

fn http_date(text: &str) -> Option<Timestamp> {
    if let Ok(time) = httpdate::parse_http_date(text) {
        return time.duration_since(std::time::UNIX_EPOCH).ok().and_then(|since| Timestamp::try_from(since.as_secs()).ok());
    }
    let other = chrono::DateTime::parse_from_rfc3339(text).or_else(|_error| chrono::DateTime::parse_from_rfc2822(text));
    other.ok().map(|at| at.timestamp())
}

/// Whether the properties of a propstat are told. oCIS says 425 for a file whose upload it still looks at, and tells what it will be.
fn is_told(status: u16) -> bool {
    matches!(status, 200..300 | 425)
}

/// The code of `HTTP/1.1 200 OK`.
fn status_code(text: &str) -> Option<u16> {
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Counts what the parser takes, so that neither the whole nor a single piece can grow without end.
struct Meter<R> {
    inner: R,
    total: u64,
    event: u64,
    bounds: Bounds,
}

impl<R: AsyncBufRead + Unpin> AsyncRead for Meter<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = target.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, target);
        self.total += (target.filled().len() - before) as u64;
        read
    }
}

impl<R: AsyncBufRead + Unpin> AsyncBufRead for Meter<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.total > self.bounds.bytes || self.event > self.bounds.event_bytes {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        Pin::new(&mut self.get_mut().inner).poll_fill_buf(context)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.total += amount as u64;
        self.event += amount as u64;
        Pin::new(&mut self.inner).consume(amount);
    }
}

#[cfg(test)]
mod tests;
