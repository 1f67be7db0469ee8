//! GET and HEAD.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::domain::{Error, Node, Result as TreeResult};
use crate::protocol::dav::conditions::{self, Outcome};
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::ranges::{self, Wanted};
use crate::protocol::dav::render::media_type;
use crate::protocol::dav::request::{Call, empty, full, streamed};
use crate::protocol::dav::{last_modified, node_headers};
use crate::tree::Source;
use crate::wire::{Body, href};

/// What a browser gets where a collection stands. Existence checks by HEAD need a 200 here (`protocol/clients.md` 4), and nothing is listed.
const COLLECTION_PAGE: &str =
    "<!DOCTYPE html><meta charset=\"utf-8\"><title>WebDAV</title><p>This is a WebDAV folder. Open its address in a WebDAV client.</p>\n";

/// Nothing of a user's file runs in this origin (attack L5).
const POLICY: &str = "default-src 'none'; sandbox";

/// GET and HEAD of files and collections.
pub(super) async fn read(call: &Call) -> Result<Response<Body>> {
    match attempt(call).await {
        // A remote file was replaced between the look and the read: look again, once.
        Err(Error::Changed) => Ok(attempt(call).await?),
        answer => Ok(answer?),
    }
}

async fn attempt(call: &Call) -> TreeResult<Response<Body>> {
    let (entry, source) = if call.method == Method::HEAD {
        (call.view.stat(&call.path).await?, None)
    } else {
        match call.view.open(&call.path).await {
            Ok((entry, source)) => (entry, Some(source)),
            Err(Error::IsCollection) => (call.view.stat(&call.path).await?, None),
            Err(error) => return Err(error),
        }
    };
    answer(call, &entry.node, source).await
}

/// The answer to GET with a source, or to HEAD, whatever the node stands for.
pub(super) async fn answer(call: &Call, node: &Node, source: Option<Source>) -> TreeResult<Response<Body>> {
    match conditions::judge_read(&call.headers, node) {
        Outcome::Holds => {}
        Outcome::Failed => return Ok(Problem::precondition_failed().into_response(call)),
        Outcome::NotModified => {
            let mut response = Response::new(empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            node_headers(response.headers_mut(), call, node);
            last_modified(response.headers_mut(), node);
            return Ok(response);
        }
    }
    if node.is_collection() {
        return Ok(collection(call, node));
    }
    match source {
        Some(source) => file(call, node, source).await,
        None => {
            let mut response = Response::new(empty());
            file_headers(response.headers_mut(), call, node, &content_type(call, node));
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(node.size));
            Ok(response)
        }
    }
}

fn collection(call: &Call, node: &Node) -> Response<Body> {
    let head = call.method == Method::HEAD;
    let mut response = Response::new(if head { empty() } else { full(Bytes::from_static(COLLECTION_PAGE.as_bytes())) });
    let headers = response.headers_mut();
    node_headers(headers, call, node);
    last_modified(headers, node);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("dav", HeaderValue::from_static(super::options::CLASSES));
    if head {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(COLLECTION_PAGE.len()));
    }
    response
}

async fn file(call: &Call, node: &Node, source: Source) -> TreeResult<Response<Body>> {
    let size = source.size();
    let media = content_type(call, node);
    let range = call.header(&http::header::RANGE).filter(|_| conditions::range_allowed(&call.headers, node));
    let wanted = range.map_or(Wanted::Whole, |range| ranges::wanted(range, size));
    let mut response = match wanted {
        Wanted::Whole => part(&source, 0..size).await?,
        Wanted::Nothing => {
            let mut response = Problem::range_not_satisfiable().into_response(call);
            set(response.headers_mut(), CONTENT_RANGE.as_str(), &format!("bytes */{size}"));
            return Ok(response);
        }
        Wanted::Parts(parts) => match parts.as_slice() {
            [only] => {
                let mut response = part(&source, only.clone()).await?;
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let headers = response.headers_mut();
                set(headers, CONTENT_RANGE.as_str(), &content_range(only, size));
                headers.insert(CONTENT_LENGTH, HeaderValue::from(only.end - only.start));
                response
            }
            _ => return several(call, node, source, parts, &media),
        },
    };
    let headers = response.headers_mut();
    file_headers(headers, call, node, &media);
    if !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    Ok(response)
}

/// An answer with the bytes of one part: in one piece where the file is small, else as they come.
async fn part(source: &Source, range: Range<u64>) -> TreeResult<Response<Body>> {
    if range.is_empty() {
        return Ok(Response::new(empty()));
    }
    if let Some(bytes) = source.small().await? {
        let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
        if at(range.end) <= bytes.len() {
            return Ok(Response::new(full(bytes.slice(at(range.start)..at(range.end)))));
        }
    }
    let mut response = Response::new(streamed(source.stream(range.clone()).await?));
    if let Some(part) = source.part(range) {
        response.extensions_mut().insert(part);
    }
    Ok(response)
}

/// `multipart/byteranges` (RFC 9110 14.6), with a boundary that no content can guess.
fn several(call: &Call, node: &Node, source: Source, parts: Vec<Range<u64>>, media: &str) -> TreeResult<Response<Body>> {
    let size = source.size();
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(|error| Error::Internal(error.to_string()))?;
    let boundary: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let heads: Vec<(Bytes, Range<u64>)> = parts
        .into_iter()
        .map(|part| {
            let range = content_range(&part, size);
            let head = format!("\r\n--{boundary}\r\nContent-Type: {media}\r\nContent-Range: {range}\r\n\r\n");
            (Bytes::from(head), part)
        })
        .collect();
    let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let length = |bytes: &Bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let total: u64 = heads.iter().map(|(head, part)| length(head) + (part.end - part.start)).sum();
    let total = total + length(&tail);
    let source = Arc::new(source);
    let body = stream::iter(heads)
        .then(move |(head, part)| {
            let source = Arc::clone(&source);
            async move {
                let bytes = source.stream(part).await.map_err(io::Error::other)?;
                Ok::<_, io::Error>(stream::once(async move { Ok(head) }).chain(bytes))
            }
        })
        .try_flatten()
        .chain(stream::once(async move { Ok(tail) }));
    let mut response = Response::new(streamed(body));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    file_headers(headers, call, node, &format!("multipart/byteranges; boundary={boundary}"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(total));
    Ok(response)
}

fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1))
}

fn content_type(call: &Call, node: &Node) -> String {
    media_type(node, file_name(call).as_deref().unwrap_or_default()).to_owned()
}

fn file_name(call: &Call) -> Option<String> {
    call.path.name().map(|name| name.as_str().to_owned()).or_else(|| call.root.name.clone())
}

fn file_headers(headers: &mut HeaderMap, call: &Call, node: &Node, media: &str) {
    node_headers(headers, call, node);
    last_modified(headers, node);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    set(headers, CONTENT_TYPE.as_str(), media);
    set(headers, CONTENT_DISPOSITION.as_str(), &disposition(file_name(call).as_deref()));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if let Some(checksum) = &node.checksum {
        set(headers, "oc-checksum", &checksum.to_string());
    }
}

/// `attachment` with the name in both spellings (RFC 6266 4.3); nothing in a name can end the value.
fn disposition(name: Option<&str>) -> String {
    let Some(name) = name else { return "attachment".to_owned() };
    let mut encoded = String::new();
    href::push_segment(&mut encoded, name);
    let keeps = |letter: char| (letter.is_ascii_graphic() || letter == ' ') && !"\"\\%;".contains(letter);
    let ascii: String = name.chars().map(|letter| if keeps(letter) { letter } else { '_' }).collect();
    format!("attachment; filename*=UTF-8''{encoded}; filename=\"{ascii}\"")
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5_names_cannot_end_the_disposition() {
        let value = disposition(Some("a\"; filename=\"x.exe\r\nSet-Cookie: é"));
        assert!(HeaderValue::from_str(&value).is_ok());
        assert_eq!(
            value,
            "attachment; filename*=UTF-8''a%22%3B%20filename%3D%22x.exe%0D%0ASet-Cookie%3A%20%C3%A9; filename=\"a__ filename=_x.exe__Set-Cookie: _\""
        );
    }
}
