//! What a server answered while it was examined: the head of each answer, or how there was none. Nothing but an examination keeps it, and only
//! administrators are shown what follows from it (attack F9).

use std::sync::PoisonError;

use http::{HeaderMap, Method, StatusCode, Version};
use url::Url;

use crate::remote::Remotes;
use crate::remote::address::PrivateAddress;

/// One request and what came of it. Its `Debug` leaves the URL out, for a link's is a secret.
#[derive(Clone)]
pub struct Heard {
    /// The method.
    pub method: Method,
    /// Where it went.
    pub url: Url,
    /// The head of the answer, or why there is none.
    pub head: Result<Head, Broke>,
    /// What was wrong with the body of a listing.
    pub body: Option<BadBody>,
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// Status.
    pub status: StatusCode,
    /// The version of HTTP in which it came.
    pub version: Version,
    /// Headers.
    pub headers: HeaderMap,
}

/// Why there was no head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broke {
    /// No connection came about.
    NoConnection,
    /// The address is private, and that is not allowed.
    Private,
    /// TLS did not come about.
    Tls,
    /// What came was no HTTP.
    NotHttp,
    /// The head was larger than is taken.
    HeadTooLarge,
    /// The connection was closed.
    Closed,
    /// Nothing came in time.
    Silent,
}

/// Why the body of a listing is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadBody {
    /// It broke off or stood still.
    BrokeOff,
    /// It was not whole in time.
    Endless,
    /// It is no multistatus: why.
    Malformed(&'static str),
    /// It goes over a bound: which.
    TooLarge(&'static str),
    /// It lists other places than the one that was asked for.
    Elsewhere,
}

impl std::fmt::Debug for Heard {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Heard")
            .field("method", &self.method)
            .field("head", &self.head)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl Heard {
    /// The status of the answer, where there was one.
    pub fn status(&self) -> Option<u16> {
        self.head.as_ref().ok().map(|head| head.status.as_u16())
    }

    /// A header of the answer, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.as_ref().ok()?.headers.get(name)?.to_str().ok()
    }
}

/// Most answers that are kept; the oldest go first.
const HEARD_MAX: usize = 64;

impl Remotes {
    /// What was answered so far, oldest first; always empty but in an examination.
    pub fn heard(&self) -> Vec<Heard> {
        let Some(heard) = &self.inner.heard else { return Vec::new() };
        heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a request goes out; what comes of it is noted on it, for an examination asks one thing at a time.
    pub(super) fn hear_request(&self, method: &Method, url: &Url) {
        let Some(heard) = &self.inner.heard else { return };
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() >= HEARD_MAX {
            heard.remove(0);
        }
        heard.push(Heard { method: method.clone(), url: url.clone(), head: Err(Broke::Silent), body: None });
    }

    pub(super) fn hear_head(&self, response: &reqwest::Response) {
        let head = || Head { status: response.status(), version: response.version(), headers: response.headers().clone() };
        self.hear(|last| last.head = Ok(head()));
    }

    pub(super) fn hear_error(&self, error: &reqwest::Error) {
        self.hear(|last| last.head = Err(broke(error)));
    }

    pub(super) fn hear_body(&self, bad: BadBody) {
        self.hear(|last| last.body = Some(bad));
    }

    fn hear(&self, note: impl FnOnce(&mut Heard)) {
        let Some(heard) = &self.inner.heard else { return };
        if let Some(last) = heard.lock().unwrap_or_else(PoisonError::into_inner).last_mut() {
            note(last);
        }
    }
}

/// What the chain of causes says.
fn broke(error: &reqwest::Error) -> Broke {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<PrivateAddress>() {
            return Broke::Private;
        }
        if error.is::<rustls::Error>() {
            return Broke::Tls;
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_parse_too_large() {
                return Broke::HeadTooLarge;
            }
            if error.is_parse() {
                return Broke::NotHttp;
            }
        }
        // An io::Error names as its source what is below the error that it wraps, not that error itself.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped));
    }
    match () {
        () if error.is_timeout() => Broke::Silent,
        () if error.is_connect() => Broke::NoConnection,
        () => Broke::Closed,
    }
}
