//! OCS, the interface by which ownCloud and Nextcloud clients ask about the server and its accounts, in XML and JSON, and `status.php`.
//!
//! An endpoint is one file that turns a [`Call`] into an [`Answer`], and a line in [`answer`]. The server has judged the login before;
//! [`envelope`] renders whatever comes of it for the version and the format that were asked for.
//!
//! **Invariants:** only what is true is offered ([`features`]); an anonymous caller learns nothing of accounts; what is below `/ocs` and not
//! known answers 998 in an envelope, never a bare 404.

mod actor;
mod call;
mod capabilities;
mod cloud_shares;
mod downloads;
mod envelope;
pub mod features;
mod groups;
mod membership;
mod parameters;
mod passwords;
mod recommended;
mod remote_shares;
mod share_rows;
mod sharees;
mod shares;
mod status;
mod user;
mod users;

use http::{Method, Request, Response};

pub use call::Caller;
use call::{Call, Context};
use envelope::{Answer, Value};
pub use envelope::{Form, Format, Problem, Version};
pub use status::status;

use crate::service::Services;
use crate::wire::Body;

/// Reads parameters as a request would, for the fuzz targets: what is read is bounded.
#[cfg(fuzzing)]
pub fn fuzzed_parameters(content_type: &str, body: &[u8]) {
    let mut parameters = parameters::Parameters::default();
    if parameters.add_body(content_type, body).is_ok() {
        let found = parameters.all("a").map(str::len).sum::<usize>() + parameters.get("a").map_or(0, str::len);
        assert!(found <= 8 * body.len(), "{found} bytes came out of {}", body.len());
    }
}

/// Answers one request whose login was judged. `path` is what stands behind `/ocs/`.
pub async fn handle(request: Request<Body>, path: &str, services: &Services, caller: Caller) -> Response<Body> {
    let form = Form::of(path, &request);
    let context = Context { services: services.clone(), caller };
    let answer = match Call::read(request, path, context).await {
        Ok(call) => answer(&call).await,
        Err(problem) => Err(problem),
    };
    form.render(answer)
}

/// Every endpoint there is.
async fn answer(call: &Call) -> Answer {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["config"] => reading(call, status::config),
        ["cloud", "capabilities"] => reading(call, capabilities::capabilities),
        ["cloud", "user"] => user::own(call).await,
        ["cloud", "users", rest @ ..] => users::answer(call, rest).await,
        ["cloud", "groups", rest @ ..] => groups::answer(call, rest).await,
        ["cloud", "shares", rest @ ..] => cloud_shares::answer(call, rest).await,
        ["core", "getapppassword"] => passwords::make(call).await,
        ["core", "apppassword"] => passwords::revoke(call).await,
        ["apps", "files_sharing", "api", "v1", "shares", rest @ ..] => shares::answer(call, rest).await,
        ["apps", "files_downloadlimit", "api", "v1", token, "limit"] => downloads::limit(call, token).await,
        ["apps", "files_sharing", "api", "v1", "remote_shares", rest @ ..] => remote_shares::answer(call, rest).await,
        ["apps", "files_sharing", "api", "v1", "sharees"] => sharees::sharees(call),
        ["apps", "files_sharing", "api", "v1", "sharees_recommended"] => recommended::recommended(call),
        // Clients ask which applications a web interface would show; there are none.
        ["core", "navigation", "apps"] => call.session().map(|_session| Value::nothing()),
        _ => Err(Problem::unknown()),
    }
}

fn reading(call: &Call, value: fn(&Call) -> Value) -> Answer {
    match call.method {
        Method::GET | Method::HEAD => Ok(value(call)),
        _ => Err(Problem::not_allowed()),
    }
}
