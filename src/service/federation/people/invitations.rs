//! Invitations that our users make, and other servers that take them up.

use std::net::IpAddr;
use std::time::Duration;

use crate::domain::{CloudId, Contact, Invitation, Secret, ShareToken, Timestamp, User};
use crate::limits::{
    INVITATION_DAYS_DEFAULT, INVITATION_DAYS_MAX, INVITATION_KEPT_SECONDS, INVITATIONS_MAX, OCM_ID_BYTES_MAX, SHARE_NOTE_BYTES_MAX,
    USER_INVITATIONS_MAX,
};
use crate::remote::same_host;
use crate::service::federation::Federation;
use crate::service::federation::offers::shown;
use crate::service::refusal::Result;
use crate::service::secrets::digest;
use crate::service::{Reason, Refusal, random};
use crate::store::{self, Batch, Record, Table};
use crate::wire::invite::{ACCEPT_PAGE, Invite, InviteAccepted, Person};

const DAY_SECONDS: i64 = 24 * 3600;

impl Record for Invitation {
    const TABLE: Table = Table::Invitations;
    fn key(&self) -> Vec<u8> {
        self.digest.to_vec()
    }
}

/// What an inviter wants.
#[derive(Debug, Clone, Default)]
pub struct NewInvitation {
    /// For whom, in the inviter's words.
    pub note: String,
    /// The first second at which it is not taken any more; a week from now where nothing is said.
    pub expires: Option<Timestamp>,
    /// The server of who is invited, where that is known: the link then leads to its page.
    pub receiver: Option<String>,
}

/// A new invitation. What proves it is shown this once.
#[derive(Debug, Clone)]
pub struct MadeInvitation {
    /// The invitation as it is kept.
    pub invitation: Invitation,
    /// What people paste into a page of their server: base64 of `token@host`.
    pub string: Secret,
    /// A link to a page that takes it: of the receiver's server, where that is known, else of ours.
    pub link: Secret,
}

/// Why an invitation is not taken up.
#[derive(Debug, thiserror::Error)]
pub enum NotTakenUp {
    /// Fields are missing or cannot be read.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no such invitation, or not any more; which of these is not said.
    #[error("this invitation is not known here, or its time is over; ask for a new one")]
    Unknown,
    /// The administrator does not want it.
    #[error("the administrator of this server does not allow contacts with users of your server")]
    Refused,
    /// Somebody else was faster.
    #[error("somebody else has accepted this invitation; ask for a new one")]
    Taken,
    /// Too many guesses came from there.
    #[error("too many requests that could not be met; try again later")]
    Throttled(Duration),
    /// The store, or its user knows too many already.
    #[error("not now; try again later")]
    Failed(#[source] Refusal),
}

impl From<Refusal> for NotTakenUp {
    fn from(refusal: Refusal) -> NotTakenUp {
        NotTakenUp::Failed(refusal)
    }
}

impl From<store::Error> for NotTakenUp {
    fn from(error: store::Error) -> NotTakenUp {
        NotTakenUp::Failed(error.into())
    }
}

impl Federation {
    /// Makes an invitation.
    ///
    /// # Errors
    /// Where the user may not share with other servers, has made too many, or the terms make no sense; where a server is named and cannot be
    /// asked for its page.
    pub async fn invite(&self, user: &User, new: NewInvitation) -> Result<MadeInvitation> {
        self.may_know(user)?;
        let now = self.clock.now();
        let expires = new.expires.unwrap_or_else(|| now.saturating_add(INVITATION_DAYS_DEFAULT * DAY_SECONDS));
        if expires <= now || expires > now.saturating_add((INVITATION_DAYS_MAX + 1) * DAY_SECONDS) {
            return Err(Refusal::usage(format!("an invitation is good for a day at least and {INVITATION_DAYS_MAX} days at most")));
        }
        if new.note.len() > SHARE_NOTE_BYTES_MAX {
            return Err(Refusal::usage(format!("a note has {SHARE_NOTE_BYTES_MAX} bytes at most")));
        }
        let page = match &new.receiver {
            Some(server) => self.accept_page_of(server).await?,
            None => [self.public_url.trim_end_matches('/'), ACCEPT_PAGE].concat(),
        };
        let _changing = self.offers.people.lock().await;
        let all = self.store.list::<Invitation>()?;
        let (over, kept): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|known| known.expires.saturating_add(INVITATION_KEPT_SECONDS) <= now);
        if kept.len() >= INVITATIONS_MAX || kept.iter().filter(|known| known.space == user.space).count() >= USER_INVITATIONS_MAX {
            let text =
                format!("`{}` has {USER_INVITATIONS_MAX} invitations already; remove some: `causeway invite list` shows them", user.name);
            return Err(Refusal::refused(text));
        }
        let token = ShareToken::from_random(random::<64>()?).ok_or_else(|| Refusal::failed("no randomness for an invitation"))?;
        let invite = Invite { token: Secret::new(token.expose()), provider: self.provider()? };
        let invitation = Invitation {
            digest: digest(invite.token.expose()),
            id: self.store.next_id()?,
            user: user.name.clone(),
            space: user.space,
            note: new.note,
            created: now,
            expires,
            accepted: None,
        };
        let batch = over.iter().fold(Batch::new(), |batch, over| batch.delete::<Invitation>(&over.key()));
        self.store.commit(batch.put(&invitation)).await?;
        tracing::info!(invitation.id = invitation.id, user.id = %user.name, "an invitation was made");
        Ok(MadeInvitation { string: invite.string(), link: invite.link(&page), invitation })
    }

    /// Whether the administrator lets a user deal with users of other servers at all.
    pub(super) fn may_know(&self, user: &User) -> Result<()> {
        if self.policies.may_send(&user.name) || self.policies.may_receive(&user.name) {
            return Ok(());
        }
        Err(Refusal::refused("the administrator does not allow sharing with other servers"))
    }

    /// This server as others know it: `host[:port][/path]`, with a scheme only where it has no TLS. So it must stand in the lists of the reva
    /// family.
    pub(super) fn provider(&self) -> Result<String> {
        let ours = CloudId::at("x", &self.public_url).map_err(|_error| Refusal::failed("our own public URL is no address"))?;
        Ok(if ours.is_plain() { ours.url() } else { ours.host().to_owned() })
    }

    /// The page of another server that takes invitations.
    async fn accept_page_of(&self, server: &str) -> Result<String> {
        let address =
            CloudId::at("x", server.trim()).map_err(|_error| Refusal::usage(format!("`{server}` is no server such as cloud.example")))?;
        self.policies.partners().judge(&address)?;
        let peer = self.remotes.peer(&address).await.map_err(|error| {
            tracing::info!(remote.host = address.host(), %error, "the server of somebody who is invited cannot be asked");
            Refusal::new(Reason::RemoteUnreachable, format!("{} does not say where it takes invitations; leave it out", address.host()))
        })?;
        let named = peer.ocm.as_ref().and_then(|discovery| discovery.invite_page.clone());
        let missing = || {
            Refusal::refused(format!("{} names no page that takes invitations; leave it out, and send the text instead", address.host()))
        };
        let page = named.ok_or_else(missing)?;
        // A path is one of the host, as with WebDAV; a URL must stay with that server.
        let base = url::Url::parse(&[&peer.url, "/"].concat()).map_err(|_error| missing())?;
        let page = base.join(&page).map_err(|_error| missing())?;
        same_host(&peer.url, page.as_str()).map_err(|_error| missing())?;
        Ok(page.to_string())
    }

    /// The invitations of a user, oldest first; those that are over stay for a month.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn invitations_of(&self, user: &User) -> Result<Vec<Invitation>> {
        let mut all = self.store.list::<Invitation>()?;
        all.retain(|known| known.space == user.space);
        all.sort_by_key(|known| known.id);
        Ok(all)
    }

    /// Takes an invitation back, of this user or of anybody. Who has accepted it stays a contact.
    ///
    /// # Errors
    /// Where there is none of that number.
    pub async fn remove_invitation(&self, id: u64, of: Option<&User>) -> Result<Invitation> {
        let _changing = self.offers.people.lock().await;
        let own = |known: &Invitation| known.id == id && of.is_none_or(|user| user.space == known.space);
        let found = self.store.list::<Invitation>()?.into_iter().find(own);
        let found = found
            .ok_or_else(|| Refusal::not_found(format!("there is no invitation {id}; `causeway invite list USER` shows which there are")))?;
        self.store.commit(Batch::new().delete::<Invitation>(&found.key())).await?;
        Ok(found)
    }

    /// Somebody elsewhere takes an invitation up: they become a contact of the inviter, whom this gives. The same again changes nothing. Nobody
    /// is asked: that they are who they say is worth no more than the invitation, and gives them no rights.
    ///
    /// # Errors
    /// [`NotTakenUp`]. An unknown invitation counts as a guess.
    pub async fn invite_accepted(&self, accepted: &InviteAccepted, from: IpAddr) -> Result<Person, NotTakenUp> {
        if let Some(wait) = self.calls.address_waits(from) {
            return Err(NotTakenUp::Throttled(wait));
        }
        if accepted.token.is_empty() {
            return Err(NotTakenUp::Invalid("token is missing"));
        }
        let address = address(&accepted.user, &accepted.provider).map_err(NotTakenUp::Invalid)?;
        if self.is_ours(&address) {
            return Err(NotTakenUp::Invalid("recipientProvider is this server: its users know each other"));
        }
        if !self.policies.partners().takes_part(&address.url()) {
            return Err(NotTakenUp::Refused);
        }
        let _changing = self.offers.people.lock().await;
        let known = self.store.get::<Invitation>(&digest(accepted.token.expose()))?;
        let Some(known) = known else {
            self.guessed(from);
            return Err(NotTakenUp::Unknown);
        };
        let inviter = self.accounts.get(&known.user).filter(|user| user.space == known.space && self.accounts.is_enabled(&user.name));
        let inviter = inviter.ok_or(NotTakenUp::Unknown)?;
        match &known.accepted {
            Some(other) if other.is(&address) => {}
            Some(_) => return Err(NotTakenUp::Taken),
            None if known.expires <= self.clock.now() => return Err(NotTakenUp::Unknown),
            None => {
                self.may_know(&inviter).map_err(|_refusal| NotTakenUp::Refused)?;
                let contact = self.contact(&inviter, &address, &accepted.name, &accepted.email)?;
                let taken = Invitation { accepted: Some(address.clone()), ..known };
                self.store.commit(Batch::new().put(&taken).put(&contact)).await?;
                tracing::info!(invitation.id = taken.id, user.id = %inviter.name, remote.host = address.host(), "an invitation was accepted");
            }
        }
        Ok(self.person(&inviter)?)
    }

    /// One of our users as other servers are told. Nextcloud wants an address for mail.
    pub(super) fn person(&self, user: &User) -> Result<Person> {
        let email = self.accounts.profile(&user.name)?.email;
        Ok(Person { user: user.name.to_string(), email, name: shown(&user.display_name, user.name.as_str()) })
    }

    /// A contact as it is to be kept: a new one, or the one that is there, as it is. Name and e-mail are what somebody says of themselves: who is
    /// known by some is not renamed by whoever has another invitation. The caller has the turn to change something.
    pub(super) fn contact(&self, user: &User, address: &CloudId, name: &str, email: &str) -> Result<Contact> {
        let there = self.contacts_of(user)?;
        if let Some(known) = there.iter().find(|contact| contact.address.is(address)) {
            return Ok(known.clone());
        }
        if there.len() >= crate::limits::USER_CONTACTS_MAX {
            return Err(Refusal::refused(format!("`{}` has {} contacts already", user.name, there.len())));
        }
        let (id, since) = (self.store.next_id()?, self.clock.now());
        let email = if crate::service::accounts::usable_email(email).is_ok() { email.to_owned() } else { String::new() };
        let name = shown(name, address.user());
        Ok(Contact { id, user: user.name.clone(), space: user.space, address: address.clone(), name, email, since })
    }

    /// Forgets the invitations and contacts of a user who goes.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn forget_people_of(&self, user: &User) -> Result<()> {
        let _changing = self.offers.people.lock().await;
        let batch = self.invitations_of(user)?.iter().fold(Batch::new(), |batch, known| batch.delete::<Invitation>(&known.key()));
        let batch = self.contacts_of(user)?.iter().fold(batch, |batch, contact| batch.delete::<Contact>(&contact.key()));
        Ok(self.store.commit(batch).await?)
    }
}

/// The address of a user of a server, as the server writes the id: bare, or with the server itself behind an `@`, with or without its scheme, as
/// OpenCloud does. Any other `@` is part of the id.
pub(super) fn address(id: &str, provider: &str) -> Result<CloudId, &'static str> {
    let wrong = "recipientProvider is missing, or no server such as cloud.example";
    // A URL is read without line breaks, wherever they stand.
    let server = CloudId::at("x", provider.trim()).ok().filter(|_| !provider.trim().contains(char::is_control)).ok_or(wrong)?;
    let mut id = id.trim();
    if id.is_empty() || id.len() > OCM_ID_BYTES_MAX {
        return Err("userID is missing or too long");
    }
    while let Some((rest, _)) = id
        .rsplit_once('@')
        .filter(|(rest, host)| !rest.is_empty() && CloudId::at("x", host).is_ok_and(|named| named.host() == server.host()))
    {
        id = rest;
    }
    // An identity provider is named by its URL; a slash cannot stand in an address.
    let id = id.replace("https://", "").replace("http://", "");
    CloudId::at(id.trim_end_matches('/'), &server.url()).map_err(|_error| "userID cannot stand in an address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_servers_write_them() {
        let check = |id: &str, provider: &str, expected: Option<&str>| {
            assert_eq!(address(id, provider).ok().map(String::from).as_deref(), expected, "{id} {provider}");
        };
        check("bob", "b.example", Some("bob@b.example"));
        check("bob", "https://B.example/", Some("bob@b.example"));
        check("4c51-ada@https://b.example", "b.example", Some("4c51-ada@b.example"));
        check("4c51-ada@b.example@b.example", "https://b.example", Some("4c51-ada@b.example"));
        check("4c51-ada@https://idp.example", "b.example", Some("4c51-ada@idp.example@b.example"));
        check("bob@mail.example", "b.example:8443", Some("bob@mail.example@b.example:8443"));
        check("bob", "http://127.0.0.1:8080", Some("bob@http://127.0.0.1:8080"));
        check("@b.example", "b.example", Some("@b.example@b.example"));
        for (id, provider) in
            [("", "b.example"), ("bob", ""), ("a/b", "b.example"), ("a\nb", "b.example"), ("bob", "ftp://b"), ("bob", "a b")]
        {
            check(id, provider, None);
        }
        check(&"x".repeat(300), "b.example", None);
    }
}
