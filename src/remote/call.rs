//! One call: admission, credentials, redirects by hand, first-byte limit, and the head of the answer.

use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use url::Url;

use crate::domain::AuthScheme;
use crate::limits::{REMOTE_PAGE_BYTES_MAX, REMOTE_REDIRECTS_MAX};
use crate::remote::body::{Download, Upload};
use crate::remote::origin::{Lane, Origin, OriginKey};
use crate::remote::{Credentials, Error, Remotes};
use crate::wire::{Incoming, VIA_HEADER, Via};

/// A request to another server.
pub(super) struct Call<'call> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) credentials: Option<&'call Credentials>,
    pub(super) via: &'call Via,
    pub(super) payload: Payload,
    /// Bytes that the remote has to hash and copy before it answers.
    pub(super) stores: u64,
}

/// What is sent along.
pub(super) enum Payload {
    /// A question: nothing, or a short text that can be sent again to where a redirect leads.
    Small(Bytes),
    /// A question whose answer is a file.
    Fetch,
    /// A file, and its length where known.
    Stream(Incoming, Option<u64>),
}

/// The head of an answer, with its body still to come.
pub(super) struct Answer {
    pub(super) response: reqwest::Response,
    /// Where it came from, after redirects.
    pub(super) url: Url,
    permit: OwnedSemaphorePermit,
}

/// What a client waits whose upload met a token that had ended: its body cannot be sent twice.
const TOKEN_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// What uploads may take at the remote after their last byte, on top of the first-byte limit: it may hash and copy them.
const BYTES_PER_SECOND_STORED: u64 = 10 * 1024 * 1024;

impl<'call> Call<'call> {
    pub(super) fn new(method: Method, url: Url, credentials: Option<&'call Credentials>, via: &'call Via) -> Call<'call> {
        Call { method, url, headers: HeaderMap::new(), credentials, via, payload: Payload::Small(Bytes::new()), stores: 0 }
    }

    pub(super) fn header(mut self, name: impl http::header::IntoHeaderName, value: &str) -> Result<Call<'call>, Error> {
        // A value that cannot stand in a header came from outside; it is refused, never altered.
        let value = HeaderValue::from_str(value).map_err(|_error| Error::BadAnswer("a value cannot be sent in a header"))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    fn follows(&self) -> bool {
        let method = self.method.as_str();
        matches!(method, "GET" | "HEAD" | "PROPFIND") && !matches!(self.payload, Payload::Stream(..))
    }
}

impl Remotes {
    /// Sends a request and follows its redirects as far as they may be followed. An answer of any other status is given back.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        let follows = call.follows();
        // Taken apart, since a body may be sent to another thread but not shared with one.
        let Call { method, mut url, mut headers, credentials, via, mut payload, stores } = call;
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let via = HeaderValue::from_str(&via.through(self.instance_id())).map_err(|_error| Error::Loop)?;
        headers.insert(VIA_HEADER, via);
        let mut token = None;
        if let Some(credentials) = credentials {
            let asks = if credentials.scheme == AuthScheme::Exchanged {
                Credentials::of_offer(token.insert(self.token(credentials).await?).clone(), AuthScheme::Bearer).header()?
            } else {
                credentials.header()?
            };
            headers.insert(AUTHORIZATION, asks);
        }
        for _ in 0..=REMOTE_REDIRECTS_MAX {
            let sending = match &mut payload {
                Payload::Small(text) => Payload::Small(text.clone()),
                Payload::Fetch => Payload::Fetch,
                Payload::Stream(body, length) => Payload::Stream(std::mem::replace(body, Box::pin(futures_util::stream::empty())), *length),
            };
            let streams = matches!(sending, Payload::Stream(..));
            let answer = self.send(&method, &url, &headers, sending, stores).await?;
            // A token may end before its time: once, another one is asked for.
            if answer.response.status() == StatusCode::UNAUTHORIZED
                && let (Some(refused), Some(credentials)) = (token.take(), credentials)
            {
                self.drop_token(credentials, &refused).await;
                if streams {
                    return Err(Error::Busy { retry_after: TOKEN_PAUSE });
                }
                let fresh = Credentials::of_offer(self.token(credentials).await?, AuthScheme::Bearer);
                headers.insert(AUTHORIZATION, fresh.header()?);
                continue;
            }
            let redirects = matches!(
                answer.response.status(),
                StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
            );
            if !follows || !redirects {
                return Ok(answer);
            }
            url = redirect_target(&url, answer.response.headers())?;
        }
        Err(Error::Redirected)
    }

    async fn send(&self, method: &Method, url: &Url, headers: &HeaderMap, payload: Payload, stores: u64) -> Result<Answer, Error> {
        let key = OriginKey::of(url).ok_or(Error::BadAnswer("it is neither http nor https"))?;
        let origin = self.origin(&key)?;
        origin.admit(url)?;
        let lane = if matches!(payload, Payload::Small(_)) { Lane::Request } else { Lane::Transfer };
        let permit = origin.place(lane).await?;
        let request = origin.client().request(method.clone(), url.clone()).headers(headers.clone());
        self.hear_request(method, url);
        let sent = match payload {
            Payload::Small(text) if text.is_empty() => self.head(&origin, request, stores).await,
            Payload::Small(text) => self.head(&origin, request.body(text), stores).await,
            Payload::Fetch => self.head(&origin, request, stores).await,
            Payload::Stream(body, length) => self.upload(&origin, request, body, length).await,
        };
        let response = origin.note(sent)?;
        self.hear_head(&response);
        Ok(Answer { response, url: url.clone(), permit })
    }

    async fn head(&self, origin: &Origin, request: reqwest::RequestBuilder, stores: u64) -> Result<reqwest::Response, Error> {
        let limit = self.timeouts().connect + self.timeouts().first_byte + storing(stores);
        match timeout(limit, request.send()).await {
            Ok(sent) => sent.inspect_err(|error| self.hear_error(error)).map_err(|error| origin.fault(&error)),
            Err(_elapsed) => Err(origin.unreachable()),
        }
    }

    async fn upload(
        &self,
        origin: &Origin,
        request: reqwest::RequestBuilder,
        body: Incoming,
        length: Option<u64>,
    ) -> Result<reqwest::Response, Error> {
        let timeouts = self.timeouts();
        let (body, progress) = Upload::new(body, length);
        let request = match length {
            Some(length) => request.header(CONTENT_LENGTH, length),
            None => request,
        };
        let storing = storing(length.unwrap_or(0));
        let watch = progress.stalled(timeouts.connect + timeouts.stall, timeouts.source_stall, timeouts.first_byte + storing);
        tokio::select! {
            sent = request.body(reqwest::Body::wrap(body)).send() => sent.map_err(|error| {
                if progress.source_broken() { Error::SourceBroken } else { origin.fault(&error) }
            }),
            remote = watch => Err(if remote { origin.unreachable() } else { Error::SourceBroken }),
        }
    }
}

fn storing(bytes: u64) -> std::time::Duration {
    std::time::Duration::from_secs(bytes / BYTES_PER_SECOND_STORED)
}

/// Where a redirect leads, if it may be followed: the same origin, or from http to https of the same host (attack F10).
fn redirect_target(from: &Url, headers: &HeaderMap) -> Result<Url, Error> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).ok_or(Error::Redirected)?;
    let mut to = from.join(location).map_err(|_error| Error::Redirected)?;
    to.set_fragment(None);
    let (old, new) = (OriginKey::of(from).ok_or(Error::Redirected)?, OriginKey::of(&to).ok_or(Error::Redirected)?);
    let upgraded = !old.https && new.https && old.host == new.host && (new.port == 443 || new.port == old.port);
    let credentials = !to.username().is_empty() || to.password().is_some();
    if credentials || (old != new && !upgraded) {
        return Err(Error::Redirected);
    }
    Ok(to)
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The value of a header, where it is text.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// The answer, if its status is a success; else what the status means.
    pub(super) fn success(self) -> Result<Answer, Error> {
        if self.status().is_success() { Ok(self) } else { Err(Error::from_status(self.status(), self.headers())) }
    }

    /// The body as it comes.
    pub(super) fn stream(self, remotes: &Remotes) -> Download {
        Download::new(self.response, remotes.timeouts().stall, self.permit)
    }

    /// The body, where it is short.
    pub(super) async fn page(self, remotes: &Remotes) -> Result<Vec<u8>, Error> {
        let limit = remotes.timeouts().answer;
        let mut stream = self.stream(remotes);
        let collect = async {
            let mut page = Vec::new();
            while let Some(piece) = stream.next().await {
                let piece = piece.map_err(|_error| Error::BadAnswer("it broke off"))?;
                if page.len() + piece.len() > REMOTE_PAGE_BYTES_MAX {
                    return Err(Error::BadAnswer("it is too long"));
                }
                page.extend_from_slice(&piece);
            }
            Ok(page)
        };
        timeout(limit, collect).await.map_err(|_elapsed| Error::BadAnswer("it does not end"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, location: &str, expected: Option<&str>) {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).unwrap())]);
        let target = redirect_target(&Url::parse(from).unwrap(), &headers).ok().map(String::from);
        assert_eq!(target.as_deref(), expected, "{from} -> {location}");
    }

    #[test]
    fn f10_redirects_stay_with_their_host_and_never_leave_tls() {
        check("https://a.example/x", "/y", Some("https://a.example/y"));
        check("http://a.example/x", "https://a.example/x", Some("https://a.example/x"));
        check("http://a.example:8080/x", "https://a.example:8080/x", Some("https://a.example:8080/x"));
        check("http://a.example/x", "https://a.example:8443/x", None);
        check("https://a.example/x", "http://a.example/x", None);
        check("https://a.example/x", "https://b.example/x", None);
        check("https://a.example/x", "https://a.example:444/x", None);
        check("https://a.example/x", "//b.example/x", None);
        check("https://a.example/x", "https://me:pw@a.example/x", None);
        check("http://a.example/x", "file:///etc/passwd", None);
        check("http://a.example/x", "http://127.0.0.1/", None);
    }
}
