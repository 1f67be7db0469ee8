//! The plain page of a link: name, list, download. Everything a remote or a user named is text, never markup (attack L5).

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::DateTime;
use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::content::FilePart;
use crate::domain::{Error, Link, Permissions, TreePath};
use crate::protocol::public::zip;
use crate::tree::View;
use crate::wire::{Body, Incoming};

/// Most rows of a page; a plain page of more would be of no use to a person.
const ROWS_MAX: usize = 2000;

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;margin:0;background:Canvas;color:CanvasText;color-scheme:light dark}\
main{max-width:56rem;margin:2rem auto;padding:0 1rem}h1{overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid GrayText;overflow-wrap:anywhere}td+td,th+th{white-space:nowrap}\
.button,button{display:inline-block;padding:.5rem 1rem;border:1px solid;border-radius:.3rem;text-decoration:none;font:inherit}\
input{font:inherit;padding:.4rem}.wrong{font-weight:bold}code{overflow-wrap:anywhere}";

/// The style is allowed by its hash, so that nothing else inline runs or styles.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'");
    HeaderValue::from_str(&policy).unwrap_or_else(|_error| HeaderValue::from_static("default-src 'none'"))
});

/// Where a link's page stands and what it says of WebDAV.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The path of the page, `/s/TOKEN`, with the prefix of the public URL.
    pub base: &'a str,
    /// The link's WebDAV URL.
    pub dav: &'a str,
    /// Who shares, as people read it.
    pub owner: &'a str,
    /// Whether a visitor may take the link to another server.
    pub may_be_taken: bool,
}

#[derive(Template)]
#[template(path = "link.html")]
struct Page<'a> {
    title: &'a str,
    base: &'a str,
    dav: &'a str,
    owner: &'a str,
    may_be_taken: bool,
    style: &'static str,
    content: Content,
}

enum Content {
    Closed { wrong: bool },
    Drop,
    Gone,
    Later,
    File { size: String },
    Folder { trail: Vec<Step>, rows: Vec<Row>, here: String, rest: usize },
}

struct Step {
    name: String,
    query: String,
}

struct Row {
    name: String,
    link: String,
    size: String,
    modified: String,
}

/// The page that asks for the password; `wrong` after a try. The name is not told before.
pub fn ask_password(base: &str, wrong: bool) -> Response<Body> {
    let status = if wrong { StatusCode::FORBIDDEN } else { StatusCode::OK };
    render(
        status,
        &Page { title: "Shared link", base, dav: "", owner: "", may_be_taken: false, style: STYLE, content: Content::Closed { wrong } },
    )
}

/// The page of a link that is unknown or has ended: the same for both (attack L8).
pub fn gone() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "Nothing here", Content::Gone)
}

/// The page for what exists but cannot be reached now.
pub fn later() -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "Not now", Content::Later);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
    response
}

/// The page of an open link, at a folder below it.
pub async fn show(view: &View, link: &Link, path: &TreePath, place: Place<'_>) -> Response<Body> {
    let content = if link.permissions.contains(Permissions::READ) { read(view, path).await } else { Ok(Content::Drop) };
    match content {
        Ok(content) => {
            let title = path.name().map_or_else(|| link.name.clone(), |name| name.to_string());
            let Place { base, dav, owner, may_be_taken } = place;
            render(StatusCode::OK, &Page { title: &title, base, dav, owner, may_be_taken, style: STYLE, content })
        }
        Err(error) => refuse(&error),
    }
}

/// The file, or the folder as a zip. `etag` and ranges are for WebDAV clients; a person gets the whole.
pub async fn download(view: View, link: &Link, path: &TreePath) -> Response<Body> {
    let name = path.name().map_or_else(|| link.name.clone(), |name| name.to_string());
    match open(view, path, &name).await {
        Ok(content) => attachment(content),
        Err(error) => refuse(&error),
    }
}

/// What a visitor takes home.
struct Attachment {
    name: String,
    body: Incoming,
    /// Bytes; unknown of a zip.
    length: Option<u64>,
    /// Where the bytes lie, if they are a local file's.
    part: Option<FilePart>,
}

async fn open(view: View, path: &TreePath, name: &str) -> Result<Attachment, Error> {
    if view.stat(path).await?.node.is_collection() {
        let body = zip::stream(view, path.clone(), name).await?;
        return Ok(Attachment { name: format!("{name}.zip"), body, length: None, part: None });
    }
    let (_, source) = view.open(path).await?;
    let size = source.size();
    let body = source.stream(0..size).await?;
    Ok(Attachment { name: name.to_owned(), body, length: Some(size), part: source.part(0..size) })
}

fn attachment(content: Attachment) -> Response<Body> {
    let Attachment { name, body, length, part } = content;
    let body = StreamBody::new(body.map(|piece| piece.map(Frame::data)));
    let mut response = Response::new(body.boxed_unsync());
    if let Some(part) = part {
        response.extensions_mut().insert(part);
    }
    let headers = response.headers_mut();
    let encoded = utf8_percent_encode(&name, NON_ALPHANUMERIC);
    let disposition = format!("attachment; filename*=UTF-8''{encoded}");
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    let zip = length.is_none();
    let media = if zip { "application/zip" } else { "application/octet-stream" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    secure(&mut response, HeaderValue::from_static("sandbox; default-src 'none'"));
    response
}

async fn read(view: &View, path: &TreePath) -> Result<Content, Error> {
    let entry = view.stat(path).await?;
    if !entry.node.is_collection() {
        return Ok(Content::File { size: human(entry.node.size) });
    }
    let listing = view.list(path).await?;
    let rows = listing.members().take(ROWS_MAX).map(|member| {
        let below = path.join(member.name);
        let folder = member.node.is_collection();
        Row {
            name: if folder { format!("{}/", member.name) } else { member.name.to_string() },
            link: if folder { query(&below) } else { format!("/download{}", query(&below)) },
            size: human(member.node.size),
            modified: DateTime::from_timestamp(member.node.modified, 0)
                .map(|at| at.format("%Y-%m-%d %H:%M").to_string())
                .unwrap_or_default(),
        }
    });
    let rows = rows.collect();
    let rest = listing.len().saturating_sub(ROWS_MAX);
    Ok(Content::Folder { trail: trail(path), rows, here: query(path), rest })
}

fn trail(path: &TreePath) -> Vec<Step> {
    let mut steps = vec![Step { name: "Top".to_owned(), query: String::new() }];
    let mut above = TreePath::root();
    for segment in path.segments() {
        if let Ok(name) = crate::domain::Name::parse(segment) {
            above = above.join(&name);
            steps.push(Step { name: segment.to_owned(), query: query(&above) });
        }
    }
    steps
}

fn query(path: &TreePath) -> String {
    if path.is_root() { String::new() } else { format!("?path={}", utf8_percent_encode(path.as_str(), NON_ALPHANUMERIC)) }
}

/// The folder that a page's query names; none where it is not a path.
pub fn path_of_query(query: Option<&str>) -> Option<TreePath> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let path = pairs.into_iter().find(|(key, _)| key == "path").map(|(_, value)| value.into_owned());
    TreePath::parse(&path.unwrap_or_default()).ok()
}

fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (size, unit) in UNITS {
        if bytes >= size {
            let tenths = (bytes / (size / 10)).min(u64::MAX / 10);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// What a visitor sees of a fault: absence only for what is absent.
fn refuse(error: &Error) -> Response<Body> {
    match error {
        Error::NotFound | Error::Forbidden(_) | Error::NotCollection | Error::IsCollection | Error::InvalidName(_) => gone(),
        Error::ParentMissing
        | Error::Exists
        | Error::PreconditionFailed
        | Error::Locked(_)
        | Error::NoSuchLock
        | Error::LimitReached(_)
        | Error::InsufficientStorage
        | Error::BodyMismatch(_)
        | Error::BodyBroken
        | Error::Unavailable { .. }
        | Error::Loop
        | Error::Unsupported(_)
        | Error::Changed
        | Error::Internal(_) => later(),
    }
}

fn plain(status: StatusCode, title: &str, content: Content) -> Response<Body> {
    render(status, &Page { title, base: "", dav: "", owner: "", may_be_taken: false, style: STYLE, content })
}

fn render(status: StatusCode, page: &Page<'_>) -> Response<Body> {
    let html = page.render().unwrap_or_else(|_error| "This page could not be made.".to_owned());
    let mut response = Response::new(Full::new(Bytes::from(html)).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    secure(&mut response, POLICY.clone());
    response
}

/// A link's address is its secret: no referrer carries it on, no cache keeps the page.
fn secure(response: &mut Response<Body>, policy: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5_names_on_a_page_are_text() {
        let rows = vec![Row {
            name: "<script>alert(1)</script>".to_owned(),
            link: query(&TreePath::parse("a\"onmouseover=x").unwrap()),
            size: human(1536),
            modified: String::new(),
        }];
        let content = Content::Folder { trail: trail(&TreePath::parse("<b>/c").unwrap()), rows, here: String::new(), rest: 0 };
        let page = Page { title: "<img src=x>", base: "/s/abc", dav: "", owner: "<i>", may_be_taken: true, style: STYLE, content };
        let html = page.render().unwrap();
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("<i>") && !html.contains("<b>"));
        assert!(!html.contains("\"onmouseover"));
        assert!(html.contains("1.5 KiB"));
    }

    #[test]
    fn a_query_names_a_folder_or_nothing() {
        assert_eq!(path_of_query(None), Some(TreePath::root()));
        assert_eq!(path_of_query(Some("path=a%2Fb")), TreePath::parse("a/b").ok());
        assert_eq!(path_of_query(Some("path=..%2Fsecret")), None);
    }
}
