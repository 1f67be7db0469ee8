//! A link of another server, as the page of the link hands it on: its user is here, and wants it in their tree.

use std::net::IpAddr;

use super::mounts::NewMount;
use super::refusal::Result;
use super::{Reason, Refusal, Services};
use crate::domain::{Mount, Name, Secret, User};
use crate::remote::ProbeFault;

/// What a page of another server says of its link (`protocol/owncloud.md` 2.2, 2.3).
#[derive(Debug, Clone)]
pub struct RemoteLink {
    /// The URL of the other server, with its scheme.
    pub remote: String,
    /// What stands behind `/s/`.
    pub token: Secret,
    /// How its owner is shown.
    pub owner: String,
    /// What it is called there, and is to be called here.
    pub name: String,
    /// Its password, where it has one.
    pub password: Option<Secret>,
}

impl Services {
    /// Mounts a link for a user who came with it from the page of another server. What fails counts against the address: nobody scans a network
    /// through us (attack F9).
    ///
    /// # Errors
    /// In the words that pages of ownCloud show.
    pub async fn add_remote_link(&self, user: &User, link: RemoteLink, address: IpAddr) -> Result<Mount> {
        if !self.policies().may_receive(&user.name) {
            return Err(Refusal::refused("Server to server sharing is not enabled on this server"));
        }
        if Name::parse(&link.name).is_err() {
            return Err(Refusal::usage("The mountpoint name contains invalid characters."));
        }
        let token = link.token.expose();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let remote = link.remote.split(['?', '#']).next().unwrap_or_default().trim().trim_end_matches('/');
        if token.is_empty() || !token.bytes().all(plain) || remote.is_empty() {
            return Err(Refusal::usage("Couldn't add remote share"));
        }
        let knocks = self.federation().knocks();
        if knocks.address_waits(address).is_some() {
            return Err(Refusal::refused("Too many shares could not be added from here. Try again later."));
        }
        let url = format!("{remote}/index.php/s/{token}");
        let new =
            NewMount { url: &url, name: Some(&link.name), password: link.password.filter(|given| !given.is_empty()), owner: &link.owner };
        let added = self.mounting().add_as(user, new, explain).await;
        if added.is_err() {
            knocks.failed(address, "remote link");
        }
        added
    }
}

/// Why a link cannot be mounted, for users: by their words, and nothing of what stands at an address that only this server sees.
fn explain(fault: &ProbeFault, _given: bool) -> Refusal {
    let text = match fault.clone().for_users() {
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
