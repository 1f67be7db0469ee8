//! The pages for people with an account: one frame around all of them.
//!
//! Who may see a page and what it does was judged before, by the server. The pages need no script, but for taking over what ownCloud puts behind `#`. No
//! other site may show them in a frame, nothing but what stands in them may run, and what others named is text (attacks L5, L7).

mod assets;
mod invite;
mod pages;
mod words;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};

pub use assets::{ASSETS_ROOT, asset};
pub use invite::{Invite, NotAccepted, invite, invited, no_invite};
pub use pages::{
    Again, Elsewhere, Incoming, LoginForm, Message, MountRow, Notice, NowhereToGo, Pending, Start, add, elsewhere, login, message, start,
};
pub use words::Words;

use crate::service::random;
use crate::service::sessions::Visitor;
use crate::wire::Body;

/// What is around every page: the reader's language, where the server stands, and who is logged in.
#[derive(Debug)]
pub struct Frame {
    words: &'static Words,
    prefix: String,
    nonce: Option<String>,
    user: Option<LoggedIn>,
}

/// Who is named at the top.
#[derive(Debug)]
pub(super) struct LoggedIn {
    name: String,
    token: String,
}

/// Where a page's forms may lead a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forms {
    /// To this server.
    Here,
    /// To this server, which sends the browser on to the reader's own. Browsers hold the whole way to the page's rule.
    Anywhere,
}

impl Frame {
    /// A frame for a reader with this `Accept-Language`; `prefix` is the path of the public URL.
    pub fn new(prefix: &str, accept_language: Option<&str>, visitor: Option<&Visitor>) -> Frame {
        let user = visitor.map(|visitor| LoggedIn { name: visitor.user.display_name.clone(), token: visitor.token.expose().to_owned() });
        // Without it the page comes without its script.
        let nonce = random::<16>().ok().map(|bytes| STANDARD.encode(bytes));
        Frame { words: Words::of(accept_language), prefix: prefix.to_owned(), nonce, user }
    }

    fn words(&self) -> &'static Words {
        self.words
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    fn user(&self) -> Option<&LoggedIn> {
        self.user.as_ref()
    }

    fn style(&self) -> &'static str {
        &assets::ASSETS.style.path
    }

    fn script(&self) -> &'static str {
        &assets::ASSETS.script.path
    }

    fn icon(&self) -> &'static str {
        &assets::ASSETS.icon.path
    }

    /// The token of the forms; empty where nobody is logged in.
    fn token(&self) -> &str {
        self.user.as_ref().map_or("", |user| &user.token)
    }

    fn render(&self, status: StatusCode, page: &impl Template, forms: Forms) -> Response<Body> {
        let html = page.render().unwrap_or_else(|_error| "This page could not be made.".to_owned());
        let mut response = Response::new(Full::new(Bytes::from(html)).map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        guard(&mut response, &self.policy(forms));
        response
    }

    /// Scripts run by a number that is new with each page: what users keep on this server stands at the same origin.
    fn policy(&self, forms: Forms) -> String {
        let script = self.nonce.as_ref().map_or_else(|| "'none'".to_owned(), |nonce| format!("'nonce-{nonce}'"));
        let forms = match forms {
            Forms::Here => "'self'",
            Forms::Anywhere => "'self' http: https:",
        };
        format!(
            "default-src 'none'; style-src 'self'; img-src 'self'; script-src {script}; form-action {forms}; frame-ancestors 'none'; base-uri 'none'"
        )
    }
}

/// An answer without a page: on to another place.
pub fn see_other(place: &str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(location) = HeaderValue::from_str(place) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    guard(&mut response, "default-src 'none'; frame-ancestors 'none'");
    response
}

/// A page may show what is secret, and its address may hold a link's token: no cache keeps it, no other site is told where its visitor comes
/// from. To ourselves the browser does say where a form comes from, which is looked at.
fn guard(response: &mut Response<Body>, policy: &str) {
    let headers = response.headers_mut();
    let policy =
        HeaderValue::from_str(policy).unwrap_or_else(|_error| HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow"));
}
