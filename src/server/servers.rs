//! What servers that mount links ask beside them, and pages for their users: where things are, and whether a server is one of theirs.

use std::sync::Arc;
use std::time::Duration;

use http::header::{LOCATION, REFERRER_POLICY};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::answers;
use super::http::Asked;
use super::site::is_foreign;
use crate::domain::Clock;
use crate::protocol::public;
use crate::remote::Receiver;
use crate::service::throttle::Throttle;
use crate::wire::Body;

/// How long other servers are asked for a visitor; what fails is said at the end of it, whatever the reason (attack F9).
const QUESTION_TIME: Duration = Duration::from_secs(4);
/// Most such questions at a time.
const QUESTIONS_MAX: usize = 16;

/// Bounds of what anybody may have this server ask other servers.
#[derive(Debug)]
pub(super) struct Questions {
    /// Apart from that of guesses: who asks much shall still come to his files.
    asked: Throttle,
    places: Arc<Semaphore>,
}

impl Questions {
    /// Nothing asked yet.
    pub(super) fn new(clock: Clock) -> Questions {
        Questions { asked: Throttle::new(clock), places: Arc::new(Semaphore::new(QUESTIONS_MAX)) }
    }
}

impl Asked<'_> {
    /// `GET /index.php/apps/files_sharing/testremote?remote=ADDRESS`: whether a server of the family answers there.
    pub(super) async fn test_remote(self, request: Request<Body>) -> Response<Body> {
        if request.method() != Method::GET {
            return answers::not_allowed("GET");
        }
        let services = &self.app.services;
        // No other site makes its visitors ask for it.
        if is_foreign(&request, &services.options().own_hosts) {
            return answers::text(StatusCode::FORBIDDEN, "This is for pages of this server.\n");
        }
        let query = request.uri().query().unwrap_or_default().as_bytes();
        let address = url::form_urlencoded::parse(query).find(|(name, _)| name == "remote").map(|(_, address)| address.into_owned());
        match self.ask_receiver(address.as_deref().unwrap_or_default()).await {
            Ok(found) => public::reachable(found.map(|found| found.scheme)),
            Err(wait) => slower(wait),
        }
    }

    /// What answers at an address that a visitor typed.
    ///
    /// # Errors
    /// How long whoever asks too often has to wait.
    pub(super) async fn ask_receiver(&self, address: &str) -> Result<Option<Receiver>, Duration> {
        if let Some(wait) = self.asking_waits("testremote") {
            return Err(wait);
        }
        let Ok(_place) = Arc::clone(&self.app.questions.places).try_acquire_owned() else { return Err(QUESTION_TIME) };
        let end = Instant::now() + QUESTION_TIME;
        let asking = self.app.services.mounting().receiver_at(address);
        let found = timeout_at(end, Box::pin(asking)).await.ok().flatten();
        if found.is_none() {
            sleep_until(end).await;
        }
        Ok(found)
    }

    /// Whether whoever asks has had others asked too often; if not, this time is counted.
    pub(super) fn asks_too_often(&self, what: &str) -> bool {
        self.asking_waits(what).is_some()
    }

    fn asking_waits(&self, what: &str) -> Option<Duration> {
        let asked = &self.app.questions.asked;
        let waits = asked.address_waits(self.client.address);
        if waits.is_none() {
            asked.failed(self.client.address, what);
        }
        waits
    }

    /// `GET /ocs-provider/`.
    pub(super) fn provider(&self, method: &Method) -> Response<Body> {
        match *method {
            Method::GET | Method::HEAD => public::provider(),
            _ => answers::not_allowed("GET, HEAD"),
        }
    }

    /// `GET /public.php?service=files&t=TOKEN`: a link as ownCloud 7 wrote it.
    pub(super) fn old_page(&self, request: &Request<Body>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return answers::not_allowed("GET, HEAD");
        }
        let page = public::page_of_old_link(request.uri().query().unwrap_or_default());
        let location = page.and_then(|page| HeaderValue::from_str(&[&self.app.prefix, page.as_str()].concat()).ok());
        let Some(location) = location else { return public::gone() };
        let mut response = answers::text(StatusCode::SEE_OTHER, "");
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

fn slower(wait: Duration) -> Response<Body> {
    answers::retry_after(answers::text(StatusCode::TOO_MANY_REQUESTS, "Too many questions. Ask again later.\n"), wait)
}
