//! REPORT (RFC 3253 3.6): `sync-collection` of RFC 6578, of the collections of homes and of what links open.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::limits::XML_BODY_BYTES_MAX;
use crate::protocol::dav::problem::{Condition, Problem, Result};
use crate::protocol::dav::properties::Asked;
use crate::protocol::dav::propfind::{Walk, pieces};
use crate::protocol::dav::request::{Call, Depth, Payload, depth, full, streamed};
use crate::tree::{NotTold, SyncLevel};
use crate::wire::multistatus::writer;
use crate::wire::xml::Element;
use crate::wire::{Body, xml};

/// Answers REPORT.
pub(super) async fn report(call: &Call, payload: &Payload) -> Result<Response<Body>> {
    let body = xml::parse(&payload.bytes(XML_BODY_BYTES_MAX).await?)?;
    if body.is_dav("sync-collection") { sync_collection(call, &body).await } else { Err(not_offered()) }
}

fn not_offered() -> Problem {
    Problem::forbidden("This report is not offered here").condition(Condition::SupportedReport)
}

/// RFC 6578 3.2 to 3.8.
async fn sync_collection(call: &Call, body: &Element) -> Result<Response<Body>> {
    let level = level(call, body)?;
    let limit = limit(body)?;
    let asked = Asked::named(body.dav_child("prop"))?;
    let token = body.dav_child("sync-token").ok_or_else(|| Problem::bad_request("The sync-token is missing"))?.text();
    let token = Some(token.trim()).filter(|token| !token.is_empty());
    let changed = call.view.changed(&call.path, token, level).await.map_err(|not_told| match not_told {
        NotTold::Token => Problem::forbidden("This token is not known any more; begin without one").condition(Condition::ValidSyncToken),
        NotTold::Endless => Problem::forbidden("A walk without end would leave this home").condition(Condition::SyncTraversalSupported),
        NotTold::Unsupported => not_offered(),
        NotTold::Refused(error) => error.into(),
    })?;
    let mut walk = Walk::of_changes(call, asked, changed, level, limit).await?;
    let first = walk.piece().await?;
    if walk.is_stuck() {
        let problem = Problem::forbidden("There are changes, and none may be told; ask without a limit, or with a higher one");
        return Err(problem.condition(Condition::NumberOfMatchesWithinLimits).status(StatusCode::INSUFFICIENT_STORAGE));
    }
    let body = if walk.unfinished() { streamed(pieces(first, walk)) } else { full(first) };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::MULTI_STATUS;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(writer::CONTENT_TYPE));
    Ok(response)
}

/// `sync-level`, or, in the words of the drafts before the RFC, Depth.
fn level(call: &Call, body: &Element) -> Result<SyncLevel> {
    match body.dav_child("sync-level").map(Element::text) {
        None if depth(call)? == Some(Depth::Infinity) => Ok(SyncLevel::Infinite),
        None => Ok(SyncLevel::One),
        // RFC 6578 3.2: the level says how deep, and Depth has to be 0.
        Some(_) if matches!(depth(call)?, Some(Depth::One | Depth::Infinity)) => {
            Err(Problem::bad_request("A sync-collection with sync-level has Depth 0"))
        }
        Some(level) if level.trim() == "1" => Ok(SyncLevel::One),
        Some(level) if level.trim() == "infinite" => Ok(SyncLevel::Infinite),
        Some(_) => Err(Problem::bad_request("The sync-level is 1 or infinite")),
    }
}

fn limit(body: &Element) -> Result<Option<usize>> {
    let Some(limit) = body.dav_child("limit") else { return Ok(None) };
    let number = limit.dav_child("nresults").and_then(|number| number.text().trim().parse().ok());
    number.map(Some).ok_or_else(|| Problem::bad_request("The limit is not a number of results"))
}
