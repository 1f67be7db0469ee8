//! One origin: its pool, its breaker, its concurrency bound.

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::Url;

use crate::domain::RemoteTrust;
use crate::limits::{REMOTE_HEADERS_MAX, REMOTE_REQUESTS_MAX};
use crate::remote::address::{Guard, PrivateAddress, is_private_literal};
use crate::remote::breaker::Breaker;
use crate::remote::{Error, Inner, Timeouts, tls};

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct OriginKey {
    pub(super) https: bool,
    /// Lower case, without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
}

impl OriginKey {
    /// The origin of a URL; none but http and https have one.
    pub(super) fn of(url: &Url) -> Option<OriginKey> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = url.host_str()?.trim_matches(['[', ']']).to_ascii_lowercase();
        Some(OriginKey { https, host, port: url.port_or_known_default()? })
    }

    pub(super) fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

#[derive(Debug)]
pub(super) struct Origin {
    client: reqwest::Client,
    requests: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    refused: tls::Refused,
    allow_private: bool,
    timeouts: Timeouts,
}

/// What a call needs a place for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// A short question.
    Request,
    /// A file body, which may take hours: those must not keep questions waiting.
    Transfer,
}

impl Origin {
    pub(super) fn new(remotes: &Inner, trust: RemoteTrust) -> Result<Origin, Error> {
        let refused = tls::Refused::default();
        let config = tls::client_config(&remotes.platform, trust.fingerprints, &trust.authorities, Arc::clone(&refused));
        let config = config.ok_or(Error::Untrusted(None))?;
        let guard = Guard { names: remotes.names.clone(), allow_private: trust.allow_private };
        // HTTP/1.1 only: a connection per transfer keeps uploads and downloads out of each other's flow control, and is what every WebDAV
        // server speaks best. No automatic retry: a PUT must not be sent twice.
        let client = reqwest::Client::builder()
            .user_agent(concat!("Causeway/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .http1_only()
            .http1_max_headers(REMOTE_HEADERS_MAX)
            .tcp_nodelay(true)
            .connect_timeout(remotes.timeouts.connect)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(8)
            .tls_backend_preconfigured(config)
            .dns_resolver(Arc::new(guard))
            .build()
            .map_err(|_error| Error::Untrusted(None))?;
        Ok(Origin {
            client,
            requests: Arc::new(Semaphore::new(REMOTE_REQUESTS_MAX)),
            transfers: Arc::new(Semaphore::new(REMOTE_REQUESTS_MAX)),
            breaker: Mutex::default(),
            refused,
            allow_private: trust.allow_private,
            timeouts: remotes.timeouts.clone(),
        })
    }

    /// Lets the next call through, whatever failed before.
    pub(super) fn forget_failures(&self) {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner).succeed();
    }

    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Whether a call to this URL may go out now.
    pub(super) fn admit(&self, url: &Url) -> Result<(), Error> {
        if !self.allow_private && is_private_literal(url) {
            return Err(Error::NotAllowed);
        }
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        breaker.admit(Instant::now(), self.timeouts.breaker_pause).map_err(|retry_after| Error::Unreachable { retry_after })
    }

    /// A place among the calls of this origin; a queue that does not move counts as a busy server.
    pub(super) async fn place(&self, lane: Lane) -> Result<OwnedSemaphorePermit, Error> {
        let lane = match lane {
            Lane::Request => &self.requests,
            Lane::Transfer => &self.transfers,
        };
        let permit = tokio::time::timeout(self.timeouts.first_byte, Arc::clone(lane).acquire_owned()).await;
        let busy = Error::Busy { retry_after: self.timeouts.first_byte };
        permit.map_err(|_elapsed| busy.clone())?.map_err(|_closed| busy)
    }

    /// Takes note of how a call ended.
    pub(super) fn note<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Err(error) if error.is_connection() => {
                breaker.fail(Instant::now(), self.timeouts.breaker_pause, self.timeouts.breaker_pause_max);
            }
            // Neither says anything about the server.
            Err(Error::NotAllowed | Error::SourceBroken) => {}
            Ok(_) | Err(_) => breaker.succeed(),
        }
        outcome
    }

    /// What went wrong before there was an answer.
    pub(super) fn fault(&self, error: &reqwest::Error) -> Error {
        let mut cause = error.source();
        while let Some(error) = cause {
            if error.is::<PrivateAddress>() {
                return Error::NotAllowed;
            }
            if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref::<rustls::Error>() {
                let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Error::Untrusted(refused.map(|refused| refused.fingerprint));
            }
            // An io::Error names as its source what is below the error that it wraps, not that error itself.
            let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            cause = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped));
        }
        if error.is_connect() || error.is_timeout() {
            return self.unreachable();
        }
        // The server took the connection and closed it, or does not speak HTTP.
        Error::BadAnswer("it broke off before its head was complete")
    }

    pub(super) fn unreachable(&self) -> Error {
        Error::Unreachable { retry_after: self.timeouts.breaker_pause }
    }
}
