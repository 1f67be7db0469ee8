//! One request to OCS: who asks, for what, with which parameters.

use std::net::IpAddr;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Limited};
use percent_encoding::percent_decode_str;

use crate::limits::OCS_BODY_BYTES_MAX;
use crate::protocol::ocs::envelope::Problem;
use crate::protocol::ocs::parameters::Parameters;
use crate::service::Services;
use crate::service::accounts::Session;
use crate::service::login_flow::label;
use crate::wire::{Body, Via};

/// Who asks.
#[derive(Debug)]
pub struct Caller {
    /// The login; none where the caller did not send one.
    pub session: Option<Session>,
    /// The servers that the request came by.
    pub via: Via,
    /// Where it came from: failures count against it.
    pub address: IpAddr,
    /// What links begin with in answers, without a slash at its end.
    pub base: String,
    /// Whether it is sure that no page of another site made a browser send this with a password that it remembers (attack L7).
    pub may_change: bool,
}

impl Caller {
    /// Refuses what changes something, where a page of another site may have sent it.
    fn demand_proof(&self) -> Result<(), Problem> {
        if self.may_change || self.session.is_none() { Ok(()) } else { Err(Problem::undeclared()) }
    }
}

/// What a call is read for.
#[derive(Debug)]
pub(super) struct Context {
    /// What can be done.
    pub(super) services: Services,
    /// Who asks.
    pub(super) caller: Caller,
}

/// One request.
#[derive(Debug)]
pub(super) struct Call {
    /// What can be done.
    pub(super) services: Services,
    /// Who asks.
    caller: Caller,
    /// The method.
    pub(super) method: Method,
    /// The path behind the version, decoded.
    pub(super) segments: Vec<String>,
    /// What the query and the body say.
    pub(super) parameters: Parameters,
    /// What the client calls itself.
    pub(super) client: String,
}

impl Call {
    /// Reads a request; `path` is what stands behind `/ocs/`.
    pub(super) async fn read(request: Request<Body>, path: &str, context: Context) -> Result<Call, Problem> {
        let (parts, body) = request.into_parts();
        let (version, rest) = path.split_once('/').unwrap_or((path, ""));
        if version != "v1.php" && version != "v2.php" {
            return Err(Problem::unknown());
        }
        let decoded = |segment: &str| percent_decode_str(segment).decode_utf8().map(String::from);
        let segments: Result<Vec<String>, _> = rest.trim_end_matches('/').split('/').map(decoded).collect();
        let segments = segments.map_err(|_error| Problem::unknown())?;
        let mut parameters = Parameters::of_query(parts.uri.query().unwrap_or_default())?;
        let has_body = !matches!(parts.method, Method::GET | Method::HEAD);
        if has_body {
            context.caller.demand_proof()?;
        }
        // Nobody who has not logged in makes the server read a body, but for other servers, who prove themselves by what stands in it.
        let of_servers = segments.first().map(String::as_str) == Some("cloud") && segments.get(1).map(String::as_str) == Some("shares");
        if has_body && (context.caller.session.is_some() || of_servers) {
            let body = Limited::new(body, OCS_BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|_error| Problem::bad_request("The body is too long or broke off."))?.to_bytes();
            parameters.add_body(header(&parts.headers, &CONTENT_TYPE), &body)?;
        }
        let client = label(header(&parts.headers, &USER_AGENT));
        let Context { services, caller } = context;
        Ok(Call { services, caller, method: parts.method, segments, parameters, client })
    }

    /// The login of the caller.
    ///
    /// # Errors
    /// 997 where there is none.
    pub(super) fn session(&self) -> Result<&Session, Problem> {
        self.caller.session.as_ref().ok_or_else(Problem::unauthorised)
    }

    /// Refuses a change that is asked for by GET, where a page of another site may have sent it.
    ///
    /// # Errors
    /// 412.
    pub(super) fn demand_proof(&self) -> Result<(), Problem> {
        self.caller.demand_proof()
    }

    /// Whether the caller has logged in.
    pub(super) fn is_known(&self) -> bool {
        self.caller.session.is_some()
    }

    /// Where the request came from.
    pub(super) fn address(&self) -> IpAddr {
        self.caller.address
    }

    /// What links begin with in answers.
    pub(super) fn base(&self) -> &str {
        &self.caller.base
    }

    /// The servers that the request came by.
    pub(super) fn via(&self) -> Via {
        self.caller.via.clone()
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
