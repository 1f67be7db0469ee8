//! A link of another server, as a page of ownCloud or a program hands it over: its user is here, and wants it in their tree.

use std::net::IpAddr;

use super::adding::{Handed, NotAdded, RemoteLink};
use super::refusal::Result;
use super::{Reason, Refusal, Services};
use crate::domain::{Mount, Name, Secret, User};
use crate::remote::ProbeFault;

impl Services {
    /// Mounts a link for a user who came with it from the page of another server. What fails counts against the address: nobody scans a network
    /// through us (attack F9).
    ///
    /// # Errors
    /// In the words that pages of ownCloud show.
    pub async fn add_remote_link(&self, user: &User, handed: Handed<'_>, password: Option<Secret>, address: IpAddr) -> Result<Mount> {
        if !self.policies().may_receive(&user.name) {
            return Err(Refusal::refused("Server to server sharing is not enabled on this server"));
        }
        if Name::parse(handed.name).is_err() {
            return Err(Refusal::usage("The mountpoint name contains invalid characters."));
        }
        let link = RemoteLink::parse(handed).map_err(|_no_link| Refusal::usage("Couldn't add remote share"))?;
        let knocks = self.federation().knocks();
        if knocks.address_waits(address).is_some() {
            return Err(Refusal::refused("Too many shares could not be added from here. Try again later."));
        }
        let added = self.mounting().add_link(user, &link, password.filter(|given| !given.is_empty())).await;
        added.map_err(|not_added| {
            knocks.failed(address, "remote link");
            match not_added {
                NotAdded::Fault(fault) => explain(&fault),
                NotAdded::Refused(refusal) => refusal,
                NotAdded::NotAllowed | NotAdded::Ourselves => Refusal::refused(not_added.to_string()),
            }
        })
    }
}

/// Why a link cannot be mounted, for users: by their words, and nothing of what stands at an address that only this server sees.
fn explain(fault: &ProbeFault) -> Refusal {
    let text = match fault {
        ProbeFault::NotFound | ProbeFault::NeedsPassword | ProbeFault::WrongPassword => {
            "Could not authenticate to remote share, password might be wrong"
        }
        ProbeFault::UploadOnly => "The remote share takes files and shows nothing, so that it cannot be mounted",
        ProbeFault::SharingSwitchedOff => "The other server does not let its links be mounted; its administrator can allow that",
        ProbeFault::SingleFile => "The other server gives folders to other servers, but no single files",
        ProbeFault::Loop => "This link leads back to this server",
        ProbeFault::Throttled => "The other server wants to be left alone for a while. Try again later.",
        ProbeFault::NotAnAddress
        | ProbeFault::UntrustedCertificate { .. }
        | ProbeFault::PrivateAddress { .. }
        | ProbeFault::NotWebdav
        | ProbeFault::Unreachable
        | ProbeFault::Busy
        | ProbeFault::TooManyRedirects => "Remote is unreachable",
    };
    Refusal::new(Reason::Refused, text)
}
