//! Uploads in chunks, as sync clients send big files (`protocol/nextcloud.md` 3.1, `protocol/owncloud.md` 4), and many small files at once.
//!
//! A session is a collection beside the tree: MKCOL begins it, PUT adds a chunk, PROPFIND tells what has come, DELETE ends it, and MOVE of
//! its `.file` to a Destination in the tree puts the chunks together in the order of their names. What the headers of that MOVE ask for is
//! judged as if it were a PUT to the Destination; whatever it refuses leaves the session and the old file.

mod bulk;
mod listing;
mod multipart;
mod numbered;

pub(super) use bulk::bulk;
pub(super) use numbered::put_numbered;

use std::sync::Arc;

use http::header::CONTENT_RANGE;
use http::{Response, StatusCode};

use crate::domain::{ChunkName, PutRequest, TreePath, Upload, UploadName};
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::request::{Call, Payload, empty, overwrite};
use crate::protocol::dav::{conditions, options, put};
use crate::service::uploads::{Announced, Uploads};
use crate::wire::{Body, href};

/// What stands for the assembled file.
const WHOLE: &str = ".file";

/// What of the uploads a request is about.
enum Place {
    /// All of them.
    Root,
    /// One session.
    Session(UploadName),
    /// What its chunks make together.
    Whole(UploadName),
    /// One chunk.
    Chunk(UploadName, ChunkName),
}

/// Answers a request below the root of the uploads.
pub(super) async fn dispatch(call: &Call, payload: &Payload, prefix: &str) -> Result<Response<Body>> {
    let uploads = offered(call)?;
    if call.method == http::Method::OPTIONS {
        return Ok(options::options());
    }
    match (call.method.as_str(), place(call, prefix)?) {
        ("PROPFIND", place) => listing::propfind(call, payload, uploads, place).await,
        ("MKCOL", Place::Session(name)) => begin(call, uploads, name).await,
        ("PUT", Place::Chunk(session, chunk)) => put_chunk(call, payload, &*uploads.find(&call.view, &session)?, chunk).await,
        ("MOVE", Place::Whole(name)) => finish(call, uploads, &name).await,
        ("DELETE", Place::Session(name)) => {
            let upload = uploads.find(&call.view, &name)?;
            uploads.abort(&call.view, &upload).await?;
            Ok(status(StatusCode::NO_CONTENT))
        }
        ("DELETE", Place::Chunk(session, chunk)) => {
            let upload = uploads.find(&call.view, &session)?;
            call.view.chunk_space()?.remove_chunk(upload.id, chunk).await?;
            Ok(status(StatusCode::NO_CONTENT))
        }
        _ => Err(Problem::method_not_allowed("This is an unfinished upload: begun by MKCOL, filled by PUT, finished by MOVE of .file")),
    }
}

fn offered(call: &Call) -> Result<&Uploads> {
    call.root.uploads.as_ref().ok_or_else(|| Problem::not_implemented("Uploads in chunks are not offered here"))
}

fn place(call: &Call, prefix: &str) -> Result<Place> {
    let rest = href::strip_prefix(&call.spelled, prefix).ok_or_else(Problem::not_found)?;
    let path = TreePath::from_href(rest)?;
    let mut names = path.segments();
    let Some(session) = names.next() else { return Ok(Place::Root) };
    let session =
        UploadName::session(session).ok_or_else(|| Problem::bad_request("An upload is named by up to 128 letters, digits, . _ and -"))?;
    let place = match names.next() {
        None => Place::Session(session),
        Some(WHOLE) => Place::Whole(session),
        Some(chunk) => {
            let chunk = ChunkName::parse(chunk);
            Place::Chunk(session, chunk.ok_or_else(|| Problem::bad_request("A chunk is named by up to 64 letters, digits, . _ and -"))?)
        }
    };
    if names.next().is_some() { Err(Problem::not_found()) } else { Ok(place) }
}

async fn begin(call: &Call, uploads: &Uploads, name: UploadName) -> Result<Response<Body>> {
    let total = announced(call)?;
    demand_size(call, total.unwrap_or(0))?;
    // Newer clients say where it will go with every step.
    if call.headers.contains_key("destination") {
        call.view.check_upload(&destination(call)?, total.unwrap_or(0)).await?;
    }
    uploads.begin(&call.view, name, Announced { total, count: None }).await?;
    Ok(status(StatusCode::CREATED))
}

/// The size of the whole file, as clients say it at any step.
fn announced(call: &Call) -> Result<Option<u64>> {
    let text = call.named("oc-total-length").or_else(|| call.named("oc-total-file-length"));
    let parse = |text: &str| text.trim().parse().map_err(|_error| Problem::bad_request("OC-Total-Length is not a number"));
    text.map(parse).transpose()
}

fn demand_size(call: &Call, bytes: u64) -> Result<()> {
    match call.root.upload_max {
        Some(most) if bytes > most => Err(Problem::too_large("The file is larger than this server takes")),
        Some(_) | None => Ok(()),
    }
}

async fn put_chunk(call: &Call, payload: &Payload, upload: &Upload, chunk: ChunkName) -> Result<Response<Body>> {
    if call.headers.contains_key(CONTENT_RANGE) {
        return Err(Problem::bad_request("A chunk is written whole; Content-Range is not offered"));
    }
    let (new, _) = keep(call, payload, upload, chunk).await?;
    Ok(status(if new { StatusCode::CREATED } else { StatusCode::NO_CONTENT }))
}

/// Takes a chunk. Whether its name was new, and how many there are then.
async fn keep(call: &Call, payload: &Payload, upload: &Upload, chunk: ChunkName) -> Result<(bool, usize)> {
    let space = call.view.chunk_space()?;
    let so_far = space.upload_bytes(upload.id)?;
    demand_size(call, so_far.saturating_add(payload.length.unwrap_or(0)))?;
    offered(call)?.admit_chunk(&call.view, upload, &chunk)?;
    Ok(Box::pin(space.put_chunk((upload.id, &upload.principal), chunk, payload.length, payload.stream())).await?)
}

async fn finish(call: &Call, uploads: &Uploads, name: &UploadName) -> Result<Response<Body>> {
    let upload = uploads.find(&call.view, name)?;
    let mut writing = call.writing(destination(call)?);
    // A MOVE says so in its own way (RFC 4918 10.6).
    if !overwrite(call)? {
        writing.headers.insert(http::header::IF_NONE_MATCH, http::HeaderValue::from_static("*"));
    }
    place_whole(&writing, uploads, &upload, announced(call)?).await
}

/// Where the file will go, in the tree beside which the upload lies.
fn destination(call: &Call) -> Result<TreePath> {
    let header = call.headers.get("destination").ok_or_else(|| Problem::bad_request("The Destination header is missing"))?;
    let text = header.to_str().map_err(|_error| Problem::bad_request("The Destination is not an encoded URL"))?;
    let to = call.locate(text).ok_or_else(Problem::bad_gateway)??;
    if to.is_root() && !call.root.single_file {
        return Err(Problem::method_not_allowed("This is a collection"));
    }
    Ok(to)
}

/// Puts the chunks together and places them as a PUT of the whole would.
async fn place_whole(call: &Call, uploads: &Uploads, upload: &Arc<Upload>, announced: Option<u64>) -> Result<Response<Body>> {
    let modified = put::modified(call)?;
    let checksum = put::checksum(call)?;
    let sum = call.view.chunk_space()?.upload_bytes(upload.id)?;
    demand_size(call, sum)?;
    for total in announced.into_iter().chain(upload.total) {
        if total != sum {
            // The words of the field (`protocol/nextcloud.md` 3.5).
            return Err(Problem::bad_request(format!("Chunks on server do not sum up to {total} but to {sum}")));
        }
    }
    let judged = conditions::judge(call).await?;
    let request = PutRequest { write: judged.write(), length: Some(sum), modified, checksum };
    if call.named("x-nc-webdav-auto-mkcol") == Some("1") {
        put::make_parents(call, &request.write).await?;
    }
    let (created, entry) = Box::pin(uploads.place(&call.view, upload, &call.path, request)).await?;
    Ok(put::stored(call, created, &entry.node, modified))
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}
