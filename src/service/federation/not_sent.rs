//! Why a share was not sent, in words for its user, and in more for administrators.
//!
//! A user names hosts, and must not learn what stands at addresses that only this server sees: whatever lies between us and an endpoint for
//! shares has one text (attack F9).

use super::sent::Undelivered;
use crate::domain::{CloudId, Error};
use crate::remote;
use crate::service::{Reason, Refusal};

/// Why a share was not sent.
#[derive(Debug)]
pub enum NotSent {
    /// It may not be shared.
    Refused(Refusal),
    /// The other server did not take it.
    Undelivered {
        /// What was to be shared.
        name: String,
        /// With whom.
        to: CloudId,
        /// Why not.
        fault: Undelivered,
    },
}

impl NotSent {
    /// In words for administrators.
    pub fn for_administrators(self) -> Refusal {
        let NotSent::Undelivered { name, to, fault } = self else { return self.into() };
        let host = to.host();
        let (reason, why) = match &fault.error {
            remote::Error::Unreachable { .. } => {
                (Reason::RemoteUnreachable, format!("{host} does not answer; check the address, and try again once that server runs"))
            }
            remote::Error::NotAllowed => {
                (Reason::Refused, format!("{host} has a private address; `causeway remote allow-private {host}` allows that"))
            }
            remote::Error::Untrusted(_) => {
                let url = to.url();
                let hint = format!("the certificate of {host} is not trusted; `causeway doctor {url}` shows its fingerprint");
                (Reason::Refused, hint)
            }
            remote::Error::Busy { .. } | remote::Error::Throttled { .. } => {
                (Reason::RemoteUnreachable, format!("{host} cannot take it now; try again later"))
            }
            remote::Error::BadAnswer(_)
            | remote::Error::Redirected
            | remote::Error::Unauthorized
            | remote::Error::Forbidden
            | remote::Error::SharingOff
            | remote::Error::NotFound
            | remote::Error::Unsupported
            | remote::Error::Conflict
            | remote::Error::PreconditionFailed
            | remote::Error::Locked
            | remote::Error::Full
            | remote::Error::Loop
            | remote::Error::Rejected(_)
            | remote::Error::Changed
            | remote::Error::SourceBroken => (Reason::Refused, not_taken(&fault, &to)),
        };
        Refusal::new(reason, format!("sharing {name} with {to} failed: {why}"))
    }
}

impl From<Refusal> for NotSent {
    fn from(refusal: Refusal) -> NotSent {
        NotSent::Refused(refusal)
    }
}

impl From<NotSent> for Refusal {
    /// In words for users, as ownCloud and Nextcloud say it (`protocol/owncloud.md` 3.2).
    fn from(not_sent: NotSent) -> Refusal {
        match not_sent {
            NotSent::Refused(refusal) => refusal,
            NotSent::Undelivered { name, to, fault } if fault.found && is_distrust(&fault.error) => Refusal::refused(format!(
                "Sharing {name} failed, the server of {to} does not trust this one, ask its administrator to add it, or send {to} an invitation first"
            )),
            NotSent::Undelivered { name, to, fault } if fault.found && is_answer(&fault.error) => {
                Refusal::refused(format!("Sharing {name} failed, the server of {to} refused it, check the name or ask its administrator"))
            }
            NotSent::Undelivered { name, to, .. } => {
                Refusal::refused(format!("Sharing {name} failed, could not find {to}, maybe the server is currently unreachable"))
            }
        }
    }
}

impl From<Error> for NotSent {
    fn from(error: Error) -> NotSent {
        NotSent::Refused(error.into())
    }
}

fn not_taken(fault: &Undelivered, to: &CloudId) -> String {
    let (host, user, error) = (to.host(), to.user(), &fault.error);
    if fault.found && is_distrust(error) {
        format!(
            "{host} does not trust this server: ask its administrator to add this server (`causeway remote ocmproviders` prints what to add), or \
             exchange an invitation with `{user}` first (`causeway invite create`)"
        )
    } else if fault.found {
        format!("{host} refuses it: {error}; is there a user `{user}`, and may they receive shares?")
    } else {
        format!("{host} takes no shares of other servers: {error}")
    }
}

/// Whether an endpoint for shares does not want any of ours: oCIS, OpenCloud and CERNBox take those of servers in a list, and of contacts, alone
/// (`protocol/ocm.md` 1.7).
fn is_distrust(error: &remote::Error) -> bool {
    matches!(error, remote::Error::Unauthorized | remote::Error::Forbidden)
}

/// Whether an endpoint for shares said no.
fn is_answer(error: &remote::Error) -> bool {
    error.is_final() || matches!(error, remote::Error::Locked | remote::Error::Full)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn both(found: bool, error: remote::Error) -> (String, String) {
        let to = CloudId::parse("bob@b.example").unwrap();
        let not_sent = |error| NotSent::Undelivered { name: "Photos".to_owned(), to: to.clone(), fault: Undelivered { found, error } };
        (Refusal::from(not_sent(error.clone())).text, not_sent(error).for_administrators().text)
    }

    #[test]
    fn f9_users_do_not_learn_what_stands_at_an_address() {
        let wait = Duration::from_secs(1);
        let faults = [
            remote::Error::Unreachable { retry_after: wait },
            remote::Error::NotAllowed,
            remote::Error::Untrusted(None),
            remote::Error::Redirected,
            remote::Error::BadAnswer("it does not take shares of other servers"),
            remote::Error::NotFound,
        ];
        let texts: Vec<(String, String)> = faults.into_iter().map(|error| both(false, error)).collect();
        for (user, _) in &texts {
            assert_eq!(user, "Sharing Photos failed, could not find bob@b.example, maybe the server is currently unreachable");
        }
        assert!(texts[1].1.contains("causeway remote allow-private b.example"), "{}", texts[1].1);
        assert!(texts[2].1.contains("certificate"), "{}", texts[2].1);
    }

    #[test]
    fn distrust_of_the_other_server_is_told_with_its_remedy() {
        let (user, administrator) = both(true, remote::Error::Forbidden);
        assert!(
            user.contains("does not trust this one") && administrator.contains("causeway remote ocmproviders"),
            "{user} {administrator}"
        );
    }

    #[test]
    fn a_refusal_of_the_other_server_is_told_as_one() {
        let (user, administrator) = both(true, remote::Error::Rejected(400));
        assert!(user.contains("refused it") && administrator.contains("is there a user `bob`"), "{user} {administrator}");
    }
}
