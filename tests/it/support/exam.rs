//! A doctor with little patience, and what it found.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use causeway::domain::{Clock, RemoteTrust, Secret, Timestamp};
use causeway::remote::{Names, Policy, Remotes, Timeouts};
use causeway::service::admin::{CheckRow, Health};
use causeway::service::doctor::{Doctor, Fault, Patience};

use super::mounted::allowed;

/// Our own instance id.
pub(crate) const OURSELVES: &str = "ocself";

/// What is looked at, and how.
pub(crate) struct Exam {
    /// What the administrator decided.
    pub(crate) trust: Vec<RemoteTrust>,
    /// The names that there are.
    pub(crate) names: HashMap<String, Vec<IpAddr>>,
    /// How long is waited.
    pub(crate) patience: Patience,
    /// What time it is.
    pub(crate) now: Timestamp,
    /// The password that is given.
    pub(crate) password: Option<Secret>,
}

impl Exam {
    /// A doctor who may look at a host though it is private.
    pub(crate) fn of(host: &str) -> Exam {
        Exam::trusting(allowed(host))
    }

    /// A doctor with one decision of the administrator.
    pub(crate) fn trusting(trust: RemoteTrust) -> Exam {
        // Nothing but a body that stands still is waited for; the rest is for a machine that is busy.
        let timeouts = Timeouts {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(10),
            stall: Duration::from_secs(1),
            source_stall: Duration::from_secs(10),
            answer: Duration::from_secs(10),
            breaker_pause: Duration::ZERO,
            breaker_pause_max: Duration::ZERO,
            ..Timeouts::default()
        };
        let patience = Patience { timeouts, whole: Duration::from_secs(30), slow_bytes_per_second: 0 };
        Exam { trust: vec![trust], names: HashMap::new(), patience, now: Clock::System.now(), password: None }
    }

    /// The same, where silence itself is looked for.
    pub(crate) fn hasty(mut self) -> Exam {
        (self.patience.timeouts.connect, self.patience.timeouts.first_byte) = (Duration::from_millis(300), Duration::from_millis(300));
        self
    }

    /// Looks at a text.
    pub(crate) async fn look(self, text: &str) -> Found {
        let policy = Policy { instance_id: OURSELVES.to_owned(), trust: self.trust, names: Names::Fixed(Arc::new(self.names)) };
        let timeouts = self.patience.timeouts.clone();
        let doctor = Doctor::new(&Remotes::new(policy, timeouts), self.patience, self.now);
        Found(doctor.look(text, self.password).await)
    }
}

/// The rows of a doctor.
#[derive(Debug)]
pub(crate) struct Found(pub(crate) Vec<CheckRow>);

impl Found {
    /// The row of a fault: with its code, at its place, saying what is wrong and what to do. A failure is the only one.
    #[track_caller]
    pub(crate) fn has(&self, fault: Fault, code: &str) -> String {
        let about = fault.about();
        assert_eq!(about.code, code);
        let row = self.0.iter().find(|row| row.code == code).unwrap_or_else(|| panic!("no {code} in {self:#?}"));
        let advice = about.advice.split("HOST").next().unwrap();
        assert!(row.text.starts_with(about.wrong) && row.text.contains(&format!("; {advice}")), "{}", row.text);
        assert_eq!(row.health, about.health);
        let failed: Vec<&str> = self.0.iter().filter(|row| row.health == Health::Failed).map(|row| row.code.as_str()).collect();
        if about.health == Health::Failed {
            assert_eq!(failed, [code], "one cause, one row: {self:#?}");
            assert_eq!(row.reason, Some(about.reason));
        } else {
            assert_eq!(failed, [""; 0], "{self:#?}");
        }
        row.text.clone()
    }

    /// Whether nothing is to be said, but that http is plain.
    #[track_caller]
    pub(crate) fn is_well(&self) {
        let codes: Vec<&str> = self.0.iter().map(|row| row.code.as_str()).filter(|code| !matches!(*code, "ok" | "plain-http")).collect();
        assert_eq!(codes, [""; 0], "{self:#?}");
    }
}
