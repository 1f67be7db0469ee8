//! The client of one share: everything below one URL, read side. Writing stands in `write`, locks in `lock`.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::Stream;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, Event};
use sha2::{Digest as _, Sha256};
use tokio_util::io::StreamReader;
use url::Url;

use crate::domain::{AuthScheme, Kind, Name, PropertyName, Secret, TreePath, Vendor};
use crate::remote::call::{Answer, Call, Payload};
use crate::remote::heard::BadBody;
use crate::remote::{Error, Remotes, Traits};
use crate::wire::multistatus::reader::{self, Bounds, DAV, OC, OCS, Properties};
use crate::wire::{CONTAINS_HEADER, CONTAINS_MAX, Incoming, Via};

/// What a request is authenticated with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The link's token, the name of an account, or the secret of a share that was offered.
    pub login: Secret,
    /// The password of Basic; may be empty.
    pub password: Secret,
    /// How they are sent.
    pub scheme: AuthScheme,
    /// URL of the server that exchanges the secret for a token, where it does.
    pub server: Option<Box<str>>,
}

impl Credentials {
    /// Name and password of Basic (RFC 7617).
    pub fn basic(login: Secret, password: Secret) -> Credentials {
        Credentials { login, password, scheme: AuthScheme::Basic, server: None }
    }

    /// The secret of a share that was offered, as its server takes it.
    pub fn of_offer(secret: Secret, scheme: AuthScheme) -> Credentials {
        Credentials { login: secret, password: Secret::default(), scheme, server: None }
    }

    /// The same of the server at a URL, which may want the secret to be exchanged first.
    #[must_use]
    pub fn at_server(self, url: &str) -> Credentials {
        Credentials { server: (self.scheme == AuthScheme::Exchanged).then(|| url.into()), ..self }
    }

    /// What is sent for them; a secret that is exchanged is not.
    pub(super) fn header(&self) -> Result<HeaderValue, Error> {
        let text = match self.scheme {
            AuthScheme::Exchanged => return Err(Error::Unauthorized),
            AuthScheme::Basic => ["Basic ", &STANDARD.encode([self.login.expose(), ":", self.password.expose()].concat())].concat(),
            AuthScheme::Bearer => ["Bearer ", self.login.expose()].concat(),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_error| Error::Unauthorized)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// One share at a remote: a collection, or a file whose URL is the share itself.
#[derive(Debug, Clone)]
pub struct Share {
    pub(super) remotes: Remotes,
    base: Url,
    pub(super) credentials: Option<Credentials>,
    /// What the server is.
    pub vendor: Vendor,
    /// File or collection.
    pub kind: Kind,
}

/// What makes two shares one: a hash of where they are and who asks, so that it keeps no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShareKey([u8; 32]);

/// A collection, or one resource, as the remote lists it.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// What was asked for.
    pub own: Properties,
    /// Its members, with names that can be used.
    pub members: Vec<(Name, Properties)>,
    /// Entries that were left out: outside of the collection, or with names that cannot be used.
    pub dropped: usize,
    /// The instance ids that the answer says it passed through or contains.
    pub contains: Vec<String>,
}

/// What must hold at the remote for a write.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// `If-Match`, as the remote spells its etag.
    pub if_match: Option<String>,
    /// `If-None-Match: *`, or `Overwrite: F`.
    pub absent: bool,
    /// Lock tokens of the remote, each with the root of its lock.
    pub tokens: Vec<(TreePath, Kind, String)>,
}

/// What a PUT says of its body.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// Bytes, where known.
    pub length: Option<u64>,
    /// Modification time, seconds since 1970.
    pub modified: Option<i64>,
    /// `OC-Checksum`, passed along.
    pub checksum: Option<String>,
}

/// A file on its way from the remote: exactly the bytes asked for, or an error at its end.
pub struct Received {
    /// The bytes.
    pub body: Incoming,
}

impl std::fmt::Debug for Received {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Received")
    }
}

/// What is asked of every resource.
const ASKED: [(&str, &str); 13] = [
    (DAV, "resourcetype"),
    (DAV, "getetag"),
    (DAV, "getcontentlength"),
    (DAV, "getlastmodified"),
    (DAV, "creationdate"),
    (DAV, "getcontenttype"),
    (DAV, "quota-available-bytes"),
    (DAV, "quota-used-bytes"),
    (OC, "id"),
    (OC, "permissions"),
    (OC, "size"),
    (OC, "checksums"),
    (OCS, "share-permissions"),
];

/// How a share is called.
const NAMED: [(&str, &str); 2] = [(DAV, "displayname"), (OC, "owner-display-name")];

/// How deep a PROPFIND goes; infinity is never asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    Zero,
    One,
}

/// What a PROPFIND asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// What a listing shows.
    Usual,
    /// That, and how the share and its owner are called.
    Identity,
    /// Everything that the server keeps.
    All,
}

impl Share {
    /// A share whose root is at `url` (no credentials in it).
    pub fn new(remotes: Remotes, url: &str, credentials: Option<Credentials>, vendor: Vendor, kind: Kind) -> Result<Share, Error> {
        let mut base = Url::parse(url).map_err(|_error| Error::BadAnswer("the URL cannot be read"))?;
        base.set_query(None);
        base.set_fragment(None);
        Ok(Share { remotes, base, credentials, vendor, kind })
    }

    /// What this share has in common with every other that gets the same answers.
    pub fn key(&self) -> ShareKey {
        let (login, password) = self.credentials.as_ref().map_or(("", ""), |asks| (asks.login.expose(), asks.password.expose()));
        let scheme = match self.credentials.as_ref().map(|asks| asks.scheme) {
            Some(AuthScheme::Bearer) => "bearer",
            Some(AuthScheme::Exchanged) => "exchanged",
            Some(AuthScheme::Basic) | None => "",
        };
        let kind = if self.kind == Kind::File { "file" } else { "" };
        let mut hash = Sha256::new();
        for part in [self.base.as_str(), login, password, kind, scheme] {
            hash.update(part);
            // No part holds this byte: it is not UTF-8.
            hash.update([0xff]);
        }
        ShareKey(hash.finalize().into())
    }

    /// How the remote behaves.
    pub fn traits(&self) -> Traits {
        Traits::of(self.vendor)
    }

    /// The password that is sent; empty where none is.
    pub fn password(&self) -> Secret {
        self.credentials.as_ref().map(|credentials| credentials.password.clone()).unwrap_or_default()
    }

    /// The same share with another password.
    pub fn with_password(&self, password: Secret) -> Share {
        let credentials = self.credentials.clone().map(|credentials| Credentials { password, ..credentials });
        Share { credentials, ..self.clone() }
    }

    pub(super) fn url(&self, path: &TreePath, kind: Kind) -> Result<Url, Error> {
        let mut url = self.base.clone();
        if self.kind == Kind::File {
            return if path.is_root() { Ok(url) } else { Err(Error::NotFound) };
        }
        let mut text = url.path().trim_end_matches('/').to_owned();
        text.push('/');
        text.push_str(&path.to_href());
        // Some servers (nginx) want the slash for collections, and none wants it to be missing.
        if kind != Kind::File && !text.ends_with('/') {
            text.push('/');
        }
        url.set_path(&text);
        Ok(url)
    }

    /// One resource.
    pub async fn stat(&self, via: &Via, path: &TreePath) -> Result<Listing, Error> {
        let kind = if path.is_root() { self.kind } else { Kind::File };
        self.propfind(via, self.url(path, kind)?, Depth::Zero, Asked::Usual).await
    }

    /// A collection and its members.
    pub async fn list(&self, via: &Via, path: &TreePath) -> Result<Listing, Error> {
        self.propfind(via, self.url(path, Kind::Collection)?, Depth::One, Asked::Usual).await
    }

    /// The dead properties of one resource, as XML text.
    pub async fn dead_properties(&self, via: &Via, path: &TreePath) -> Result<Vec<(PropertyName, Box<str>)>, Error> {
        let kind = if path.is_root() { self.kind } else { Kind::File };
        Ok(self.propfind(via, self.url(path, kind)?, Depth::Zero, Asked::All).await?.own.other)
    }

    async fn propfind(&self, via: &Via, url: Url, depth: Depth, asked: Asked) -> Result<Listing, Error> {
        let answer = self.propfind_answer(via, url, depth, asked).await?;
        if answer.status() != StatusCode::MULTI_STATUS {
            return Err(self.why_no_listing(answer).await);
        }
        let bounds = Bounds { keep_other: asked == Asked::All, ..Bounds::default() };
        read_listing(&self.remotes, answer, depth, bounds).await
    }

    pub(super) async fn propfind_answer(&self, via: &Via, url: Url, depth: Depth, asked: Asked) -> Result<Answer, Error> {
        let mut call = Call::new(propfind_method()?, url, self.credentials.as_ref(), via)
            .header("depth", if depth == Depth::Zero { "0" } else { "1" })?
            .header(CONTENT_TYPE, "application/xml; charset=utf-8")?;
        call.payload = Payload::Small(question(asked)?);
        self.remotes.call(call).await
    }

    /// The bytes `range` of a file that is `size` bytes long and had this etag when it was listed.
    ///
    /// # Errors
    /// [`Error::Changed`] where etag or size are not those any more.
    pub async fn get(&self, via: &Via, path: &TreePath, range: Range<u64>, size: u64, etag: Option<&str>) -> Result<Received, Error> {
        let mut call = Call::new(Method::GET, self.url(path, Kind::File)?, self.credentials.as_ref(), via).header(ACCEPT, "*/*")?;
        let whole = range == (0..size);
        let last = range.end.checked_sub(1).ok_or(Error::Changed)?;
        if !whole {
            call = call.header(RANGE, &format!("bytes={}-{last}", range.start))?;
        }
        call.payload = Payload::Fetch;
        let answer = self.remotes.call(call).await?;
        // The last two: a folder took the file's place, or the link is one for uploads only now. A second look tells which.
        let changed = [StatusCode::RANGE_NOT_SATISFIABLE, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
        if changed.contains(&answer.status()) {
            return Err(Error::Changed);
        }
        let answer = answer.success()?;
        if let (Some(listed), Some(sent)) = (etag, answer.text_of(ETAG.as_str()))
            && etags_differ(listed, sent)
        {
            return Err(Error::Changed);
        }
        let skip = match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let told = answer.text_of(CONTENT_RANGE.as_str()).and_then(content_range);
                let (first, end, total) = told.ok_or(Error::BadAnswer("a part has no usable Content-Range"))?;
                if total.is_some_and(|total| total != size) {
                    return Err(Error::Changed);
                }
                if whole || first != range.start || end != last {
                    return Err(Error::BadAnswer("a part is not the one that was asked for"));
                }
                0
            }
            StatusCode::OK => {
                let length = answer.text_of(CONTENT_LENGTH.as_str()).and_then(|text| text.parse::<u64>().ok());
                if length.is_some_and(|length| length != size) {
                    return Err(Error::Changed);
                }
                range.start
            }
            _ => return Err(Error::BadAnswer("a file was answered with an unknown status")),
        };
        let expected_total = if answer.status() == StatusCode::OK { size } else { range.end - range.start };
        let body = Exact {
            inner: Box::pin(answer.stream(&self.remotes)),
            skip,
            left: range.end - range.start,
            after: expected_total - skip - (range.end - range.start),
        };
        Ok(Received { body: Box::pin(body) })
    }

    /// What the server's OPTIONS says of its classes (`DAV` header).
    pub async fn has_locks(&self, via: &Via) -> Result<bool, Error> {
        let url = self.url(&TreePath::root(), self.kind)?;
        let answer = self.remotes.call(Call::new(Method::OPTIONS, url, self.credentials.as_ref(), via)).await?.success()?;
        let classes = answer.headers().get_all("dav").into_iter().filter_map(|value| value.to_str().ok());
        Ok(classes.flat_map(|value| value.split(',')).any(|class| class.trim() == "2"))
    }

    /// Sends a prepared call of this share.
    pub(super) async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        self.remotes.call(call).await
    }
}

fn propfind_method() -> Result<Method, Error> {
    method("PROPFIND")
}

pub(super) fn method(name: &'static str) -> Result<Method, Error> {
    Method::from_bytes(name.as_bytes()).map_err(|_error| Error::BadAnswer("the method cannot be sent"))
}

fn question(asked: Asked) -> Result<Bytes, Error> {
    let mut writer = Writer::new(Vec::new());
    let mut write = |event: Event<'_>| writer.write_event(event);
    let result: io::Result<()> = (|| {
        write(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)))?;
        let root = [("xmlns:d", DAV), ("xmlns:oc", OC), ("xmlns:ocs", OCS)];
        write(Event::Start(BytesStart::new("d:propfind").with_attributes(root)))?;
        if asked == Asked::All {
            write(Event::Empty(BytesStart::new("d:allprop")))?;
        } else {
            write(Event::Start(BytesStart::new("d:prop")))?;
            let more = if asked == Asked::Identity { &NAMED[..] } else { &[] };
            for (namespace, local) in ASKED.iter().chain(more) {
                let prefix = match *namespace {
                    OC => "oc:",
                    OCS => "ocs:",
                    _ => "d:",
                };
                write(Event::Empty(BytesStart::new([prefix, local].concat())))?;
            }
            write(Event::End(BytesEnd::new("d:prop")))?;
        }
        write(Event::End(BytesEnd::new("d:propfind")))
    })();
    result.map_err(|_error| Error::BadAnswer("the question cannot be written"))?;
    Ok(Bytes::from(writer.into_inner()))
}

/// Reads a listing; what was asked for is found by its href, never by its position.
pub(super) async fn read_listing(remotes: &Remotes, answer: Answer, depth: Depth, bounds: Bounds) -> Result<Listing, Error> {
    let place = Place::of(&answer.url).ok_or(Error::BadAnswer("the URL cannot be read"))?;
    let contains =
        answer.text_of(CONTAINS_HEADER).map(|value| value.split(',').map(|id| id.trim().to_owned()).take(CONTAINS_MAX).collect());
    let mut listing = Listing { contains: contains.unwrap_or_default(), ..Listing::default() };
    let mut own = None;
    let limit = remotes.timeouts().answer;
    let body = StreamReader::new(answer.stream(remotes));
    let reading = reader::read(body, bounds, |response| {
        let failed = response.status.is_some_and(|status| !(200..300).contains(&status));
        match place.locate(&response.href) {
            Some(Located::Own) if own.is_none() && !failed => own = Some(response.properties),
            Some(Located::Member(name)) if depth == Depth::One && !failed && !response.properties.bad_length => {
                listing.members.push((name, response.properties));
            }
            Some(Located::Own | Located::Member(_)) | None => listing.dropped += 1,
        }
    });
    let bad = |bad: BadBody, text: &'static str| {
        remotes.hear_body(bad);
        Error::BadAnswer(text)
    };
    let read = tokio::time::timeout(limit, reading).await.map_err(|_elapsed| bad(BadBody::Endless, "it does not end"))?;
    read.map_err(|error| match error {
        reader::Error::Io(_) => bad(BadBody::BrokeOff, "it broke off"),
        reader::Error::Malformed(text) => bad(BadBody::Malformed(text), text),
        reader::Error::TooLarge(text) => bad(BadBody::TooLarge(text), text),
    })?;
    if listing.dropped > 0 {
        tracing::debug!(dropped = listing.dropped, "a remote listed names that cannot be used, or places outside of what was asked");
    }
    listing.own = own.ok_or_else(|| bad(BadBody::Elsewhere, "the listing does not hold what was asked for"))?;
    Ok(listing)
}

/// Where a request went, to judge the hrefs of its answer.
struct Place {
    host: String,
    segments: Vec<String>,
}

enum Located {
    Own,
    Member(Name),
}

impl Place {
    fn of(url: &Url) -> Option<Place> {
        Some(Place { host: url.host_str()?.to_ascii_lowercase(), segments: decoded(url.path())? })
    }

    /// What an href names: the place itself, a direct member with a usable name, or nothing that concerns us.
    fn locate(&self, href: &str) -> Option<Located> {
        let path = if href.starts_with('/') && !href.starts_with("//") {
            href.split(['?', '#']).next()?
        } else {
            // The raw text is judged, not a parsed URL: parsing would resolve `..` away.
            let (scheme, rest) = href.split_once("://")?;
            let (authority, _) = rest.split_once('/')?;
            let host = Url::parse(&[scheme, "://", authority].concat()).ok()?.host_str()?.to_ascii_lowercase();
            if host != self.host {
                return None;
            }
            rest.strip_prefix(authority)?.split(['?', '#']).next()?
        };
        let segments = decoded(path)?;
        let below = segments.strip_prefix(self.segments.as_slice())?;
        match below {
            [] => Some(Located::Own),
            [name] => Name::parse(name).ok().map(Located::Member),
            _ => None,
        }
    }
}

/// The segments of a path, each decoded once; none where one is not UTF-8 or could climb.
fn decoded(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(Vec::new());
    }
    let decode = |segment: &str| {
        let text = percent_decode_str(segment).decode_utf8().ok()?;
        (!text.is_empty() && text != "." && text != "..").then(|| text.into_owned())
    };
    path.split('/').map(decode).collect()
}

/// `bytes 5-9/20`: first, last and total.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

/// Whether two spellings cannot be the same etag: weakness and quotes are left aside, as is what compressing servers append.
fn etags_differ(listed: &str, sent: &str) -> bool {
    let bare = |text: &str| {
        let text = text.trim().trim_start_matches("W/").trim_matches('"');
        text.strip_suffix("-gzip").unwrap_or(text).to_owned()
    };
    bare(listed) != bare(sent)
}

/// Exactly the bytes that were asked for: skips what comes before, and ends in an error where the body is shorter or longer.
struct Exact {
    inner: Incoming,
    skip: u64,
    left: u64,
    after: u64,
}

impl Stream for Exact {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if self.left == 0 && self.after > 0 {
                return Poll::Ready(None);
            }
            let piece = match self.inner.as_mut().poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) if self.left == 0 => return Poll::Ready(None),
                Poll::Ready(None) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Poll::Ready(Some(Ok(piece))) => piece,
            };
            let mut piece = piece;
            let skipped = self.skip.min(piece.len() as u64);
            self.skip -= skipped;
            let mut piece = piece.split_off(usize::try_from(skipped).unwrap_or(usize::MAX).min(piece.len()));
            if piece.is_empty() {
                continue;
            }
            let taken = self.left.min(piece.len() as u64);
            if self.after == 0 && taken < piece.len() as u64 {
                return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, "the body is longer than announced"))));
            }
            piece.truncate(usize::try_from(taken).unwrap_or(usize::MAX));
            self.left -= taken;
            return Poll::Ready(Some(Ok(piece)));
        }
    }
}

#[cfg(test)]
mod tests;
