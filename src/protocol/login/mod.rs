//! The pages and answers of login flow v2: who may see them was judged before, by the server and `service::login_flow`.
//!
//! The pages need no script. No other site may show them in a frame, and nothing but what stands in them may run or style (attacks L5, L7).
//! What a client calls itself is text.

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::service::login_flow::{Issued, Started, Visitor};
use crate::wire::Body;

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;margin:0;background:Canvas;color:CanvasText;color-scheme:light dark}\
main{max-width:28rem;margin:2rem auto;padding:0 1rem}h1,p{overflow-wrap:anywhere}label{display:block;margin-top:1rem}\
button{display:inline-block;margin-top:1.5rem;padding:.6rem 1.2rem;border:1px solid;border-radius:.3rem;font:inherit}\
input{box-sizing:border-box;width:100%;font:inherit;padding:.5rem}.wrong{font-weight:bold}";

/// The style is allowed by its hash, so that nothing else inline runs or styles.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'");
    HeaderValue::from_str(&policy).unwrap_or_else(|_error| HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
});

#[derive(Template)]
#[template(path = "login.html")]
struct Page<'a> {
    title: &'a str,
    style: &'static str,
    content: Content<'a>,
}

enum Content<'a> {
    SignIn { base: &'a str, client: &'a str, problem: Option<&'static str> },
    Grant { base: &'a str, client: &'a str, user: &'a str, state: &'a str },
    Done { client: &'a str },
    Full,
    Over,
    Later,
}

/// Why the form is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Name or password are wrong.
    Wrong,
    /// An app password gives no other one.
    AppPassword,
}

/// The page that says which client asks, with the form for name and password.
pub fn sign_in(base: &str, client: &str, again: Option<Again>) -> Response<Body> {
    let problem = again.map(|again| match again {
        Again::Wrong => "Name or password are wrong. Please try again.",
        Again::AppPassword => "This is the password of one device. Please use the password of your account.",
    });
    let status = if again.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    render(status, &Page { title: "Connect to your account", style: STYLE, content: Content::SignIn { base, client, problem } })
}

/// The page with the button.
pub fn ask_grant(base: &str, visitor: &Visitor) -> Response<Body> {
    let content = Content::Grant { base, client: &visitor.client, user: visitor.user.as_str(), state: visitor.state.expose() };
    render(StatusCode::OK, &Page { title: "Grant access", style: STYLE, content })
}

/// The page after the button.
pub fn done(visitor: &Visitor) -> Response<Body> {
    render(StatusCode::OK, &Page { title: "Access granted", style: STYLE, content: Content::Done { client: &visitor.client } })
}

/// The page instead of the button's, for an account that can have no more app passwords. The flow goes on once one of them is revoked.
pub fn full() -> Response<Body> {
    render(StatusCode::FORBIDDEN, &Page { title: "No room for another client", style: STYLE, content: Content::Full })
}

/// The page of a flow that is unknown or over, 404, or that this browser may not grant, 403.
pub fn over(status: StatusCode) -> Response<Body> {
    render(status, &Page { title: "Nothing to connect", style: STYLE, content: Content::Over })
}

/// The page of a server that cannot now.
pub fn later(status: StatusCode) -> Response<Body> {
    render(status, &Page { title: "Not now", style: STYLE, content: Content::Later })
}

/// What a client gets that begins: where to poll, and the page for the browser.
pub fn started(base: &str, started: &Started) -> Response<Body> {
    let body = json!({
        "poll": { "token": started.poll.expose(), "endpoint": format!("{base}/login/v2/poll") },
        "login": format!("{base}/login/v2/flow/{}", started.login.expose()),
    });
    answer(StatusCode::OK, "application/json; charset=utf-8", body.to_string())
}

/// What a client gets that polls: 404 until it was granted access.
pub fn polled(issued: Option<&Issued>) -> Response<Body> {
    const JSON: &str = "application/json; charset=utf-8";
    let Some(Issued { server, user, password }) = issued else { return answer(StatusCode::NOT_FOUND, JSON, "[]".to_owned()) };
    answer(StatusCode::OK, JSON, json!({ "server": server, "loginName": user.as_str(), "appPassword": password.expose() }).to_string())
}

fn render(status: StatusCode, page: &Page<'_>) -> Response<Body> {
    let html = page.render().unwrap_or_else(|_error| "This page could not be made.".to_owned());
    answer(status, "text/html; charset=utf-8", html)
}

/// The page's address is a secret and the poll's answer is one: no cache keeps them, no referrer carries them on.
fn answer(status: StatusCode, media: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5_names_of_clients_are_text() {
        let client = "<script>alert(1)</script>\"><img src=x>";
        for content in [
            Content::SignIn { base: "/login/v2/flow/x", client, problem: None },
            Content::Grant { base: "/login/v2/flow/x", client, user: "<b>", state: "\"" },
            Content::Done { client },
        ] {
            let html = Page { title: "x", style: STYLE, content }.render().unwrap();
            assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("<b>"), "{html}");
        }
    }
}
