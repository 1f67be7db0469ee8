//! What is wrong with this server, with a link, or with the server of a user: one row for each thing that was looked at, in the order in which
//! they fail. `reach` looks at name, connection and TLS, `link` and `cause` at what answers, `share` at what can be done with it, `peer` at
//! how another server takes shares; `fault` is the closed list of what can be found.
//!
//! **Invariants:** nothing is written at the other side; an examination as a whole and each of its steps have an end; what is found goes to
//! administrators alone, for it says more of networks than users may know (attack F9).

mod cause;
mod fault;
mod link;
mod peer;
mod reach;
mod server;
mod share;

use std::time::Duration;

pub use fault::{About, Fault, Stage};

use tokio::time::timeout;
use url::Url;

use crate::domain::{CloudId, Secret, Timestamp};
use crate::remote::{Remotes, Timeouts};
use crate::service::Services;
use crate::service::admin::{CheckRow, Health};

/// How long the doctor waits.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For single steps.
    pub timeouts: Timeouts,
    /// For everything together.
    pub whole: Duration,
    /// Below this files are slow, in bytes per second.
    pub slow_bytes_per_second: u64,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            timeouts: Timeouts {
                connect: Duration::from_secs(5),
                first_byte: Duration::from_secs(10),
                stall: Duration::from_secs(10),
                source_stall: Duration::from_secs(10),
                answer: Duration::from_secs(20),
                ask: Duration::from_secs(20),
                // Each step is tried, whatever failed before.
                breaker_pause: Duration::ZERO,
                breaker_pause_max: Duration::ZERO,
            },
            whole: Duration::from_secs(60),
            slow_bytes_per_second: 32 * 1024,
        }
    }
}

/// A doctor with instruments of its own: nothing that is remembered of a server, such as that it was down a minute ago, spoils the picture.
#[derive(Debug)]
pub struct Doctor {
    remotes: Remotes,
    patience: Patience,
    now: Timestamp,
    own_hosts: Vec<String>,
    /// What our own rules forbid.
    forbidden: Vec<Fault>,
}

impl Services {
    /// Looks where a link, a WebDAV URL or a user of another server (`bob@cloud.example`) fails.
    pub async fn check_link(&self, text: &str, password: Option<Secret>) -> Vec<CheckRow> {
        let policy = self.policies().current();
        let off = |on: bool, excepts: bool, fault| (!on && !excepts).then_some(fault);
        let (incoming, outgoing) = (&policy.incoming, &policy.outgoing);
        let forbidden = [
            off(incoming.on, !incoming.except.is_empty(), Fault::MountingOff),
            off(outgoing.on, !outgoing.except.is_empty(), Fault::OutgoingOff),
        ];
        let doctor = Doctor {
            own_hosts: self.options().own_hosts.clone(),
            forbidden: forbidden.into_iter().flatten().collect(),
            ..Doctor::new(&self.mounting().remotes, Patience::default(), self.clock().now())
        };
        doctor.look(text, password).await
    }
}

impl Doctor {
    /// A doctor who trusts what these remotes trust; `now` is what certificates and clocks are compared with.
    pub fn new(remotes: &Remotes, patience: Patience, now: Timestamp) -> Doctor {
        Doctor { remotes: remotes.examining(patience.timeouts.clone()), patience, now, own_hosts: Vec::new(), forbidden: Vec::new() }
    }

    /// Looks at a link, a WebDAV URL or a user of another server.
    pub async fn look(&self, text: &str, password: Option<Secret>) -> Vec<CheckRow> {
        let mut report = Report::default();
        let looking = async {
            match cloud_id(text) {
                Some(id) => peer::look(self, &id, &mut report).await,
                None => link::look(self, text, password, &mut report).await,
            }
        };
        let ended = timeout(self.patience.whole, Box::pin(looking)).await;
        if ended.is_err() {
            report.add(Fault::TookTooLong);
        }
        report.rows
    }

    /// Whether a URL is of this server, as far as it knows its names.
    fn is_ours(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        self.own_hosts.contains(&authority)
    }
}

/// The user that a text names, if it is no link and no WebDAV address with a user name.
fn cloud_id(text: &str) -> Option<CloudId> {
    let text = text.trim();
    let at = text.find('@')?;
    // `https://bob@cloud.example/dav` is an address; `bob@https://cloud.example` is a user, as ownCloud writes them.
    if text.get(..at)?.contains("://") {
        return None;
    }
    let id = CloudId::parse(text).ok()?;
    let path = id.host().split_once('/').map_or("", |(_, path)| path);
    let webdav = path.split('/').any(|segment| segment.ends_with(".php") || matches!(segment, "s" | "dav" | "webdav"));
    (!webdav).then_some(id)
}

/// The rows so far.
#[derive(Debug, Default)]
struct Report {
    /// `host[:port]`, for the advice.
    host: String,
    rows: Vec<CheckRow>,
}

impl Report {
    /// Something is as it should be.
    fn ok(&mut self, stage: Stage, text: impl Into<String>) {
        self.rows.push(CheckRow::ok(stage.name(), text));
    }

    fn add(&mut self, fault: Fault) {
        self.add_with(fault, "");
    }

    /// A fault, and what is known of it in this case.
    fn add_with(&mut self, fault: Fault, detail: &str) {
        self.add_at(fault.about().stage, fault, detail);
    }

    /// A fault that was met at another stage than is usual.
    fn add_at(&mut self, stage: Stage, fault: Fault, detail: &str) {
        let about = fault.about();
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        let host = if self.host.is_empty() { "HOST" } else { &self.host };
        let text = format!("{}{detail}; {}", about.wrong, about.advice.replace("HOST", host));
        let reason = (about.health == Health::Failed).then_some(about.reason);
        self.rows.push(CheckRow { name: stage.name().to_owned(), health: about.health, code: about.code.to_owned(), text, reason });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_told_from_addresses() {
        for text in ["bob@cloud.example", "bob@cloud.example:8443/owncloud", "a@b@cloud.example", "bob@https://cloud.example/"] {
            assert!(cloud_id(text).is_some(), "{text}");
        }
        for text in ["https://bob@cloud.example/dav", "bob@cloud.example/remote.php/webdav/", "cloud.example/s/TOKEN", "bob@", ""] {
            assert!(cloud_id(text).is_none(), "{text}");
        }
    }
}
