//! DELETE (RFC 4918 9.6).

use http::{Response, StatusCode};

use crate::protocol::dav::conditions;
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::request::{Call, Depth, depth, empty};
use crate::wire::Body;

/// Deletes a node and what is below it; 204, because sync clients take nothing else.
pub(super) async fn delete(call: &Call) -> Result<Response<Body>> {
    match depth(call)? {
        None | Some(Depth::Infinity) => {}
        Some(Depth::Zero | Depth::One) => {
            if call.view.stat(&call.path).await?.node.is_collection() {
                return Err(Problem::bad_request("A collection is deleted with Depth infinity"));
            }
        }
    }
    let judged = conditions::judge(call).await?;
    call.view.delete(&call.path, judged.write()).await?;
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
