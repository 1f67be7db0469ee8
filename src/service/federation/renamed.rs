//! A server that stands under another name now: what is known of it here moves there.
//!
//! **Invariants:** before anything moves, the new server has opened one of the shares of the old one that are mounted here, and has refused a
//! secret that nobody made (or the administrator said that this need not be proved); all of it moves in one durable batch; the old name is
//! told nothing.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::Federation;
use super::asking::AskedShare;
use super::outbox::Message;
use super::signing::Signer;
use crate::domain::{
    Asked, CloudId, Contact, Invitation, Mount, MountId, MountState, Offer, OfferedAt, ReceivedState, RemoteTrust, Secret, SentShare,
    Share, ShareWith, TreePath,
};
use crate::limits::OCM_SECRET_BYTES_MAX;
use crate::remote::{self, Credentials};
use crate::service::partners::Servers;
use crate::service::refusal::Result;
use crate::service::secrets::SealedIn;
use crate::service::{Reason, Refusal, random};
use crate::store::{Batch, Record as _};
use crate::wire::Via;

/// Most secrets that a server is shown that claims to be another one's new name.
const PROOFS_MAX: usize = 3;
/// How many mounts are looked at at once, when they have moved.
const LOOKS_AT_ONCE: usize = 8;

/// How much moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Mounts of links, folders and accepted shares.
    pub mounts: usize,
    /// Shares that users there offered to ours, accepted or not.
    pub offers: usize,
    /// Shares with users there, or that users there asked for.
    pub sent: usize,
    /// What is still to be told to it.
    pub messages: usize,
    /// Whether certificates, authorities or a private address were decided about it, or it is trusted or allowed.
    pub trusts: bool,
}

/// From which name to which.
struct Names {
    old: Servers,
    new: Servers,
}

impl Names {
    /// A URL under the new name; none of another server.
    fn url(&self, url: &str) -> Option<String> {
        if self.old.is(url) { self.new.put_into(url) } else { None }
    }

    fn address(&self, address: &CloudId) -> Option<CloudId> {
        CloudId::at(address.user(), &self.url(&address.url())?).ok()
    }

    fn offer(&self, offer: &Offer) -> Option<Offer> {
        let (owner, sender) = (self.address(&offer.owner), self.address(&offer.sender));
        let at = match &offer.at {
            OfferedAt::Url(url) => self.url(url).map(OfferedAt::Url),
            OfferedAt::Discovered => None,
        };
        if owner.is_none() && sender.is_none() && at.is_none() {
            return None;
        }
        let mut moved = offer.clone();
        moved.owner = owner.unwrap_or(moved.owner);
        moved.sender = sender.unwrap_or(moved.sender);
        moved.at = at.unwrap_or(moved.at);
        Some(moved)
    }

    fn mount(&self, mount: Mount) -> Option<Mount> {
        let url = self.url(&mount.url)?;
        let page = mount.page.as_deref().map(|page| self.url(page).unwrap_or_else(|| page.to_owned()));
        let owner = match mount.owner.rsplit_once('@') {
            Some((name, host)) if self.old.is(&["https://", host].concat()) => format!("{name}@{}", self.new),
            Some(_) | None => mount.owner.clone(),
        };
        Some(Mount { url, page, owner, ..mount })
    }

    fn sent(&self, sent: &SentShare) -> Option<SentShare> {
        let to = self.address(&sent.to);
        let by = sent.asked.as_ref().and_then(|asked| self.address(&asked.by));
        if to.is_none() && by.is_none() {
            return None;
        }
        let mut moved = sent.clone();
        moved.to = to.unwrap_or(moved.to);
        moved.asked = moved.asked.map(|asked| Asked { by: by.unwrap_or(asked.by), ..asked });
        Some(moved)
    }

    fn share(&self, share: &Share) -> Option<Share> {
        let ShareWith::Remote(to) = &share.with else { return None };
        Some(Share { with: ShareWith::Remote(self.address(to)?), ..share.clone() })
    }
}

/// What is to move, as it was found.
#[derive(Default)]
struct Plan {
    offers: Vec<Offer>,
    mounts: Vec<Mount>,
    sent: Vec<SentShare>,
    shares: Vec<Share>,
    asked: Vec<AskedShare>,
    messages: Vec<Message>,
    contacts: Vec<Contact>,
    invitations: Vec<Invitation>,
    /// Who has signed, under the old name and under the new one: the keys stay those that are known.
    signers: Vec<(Signer, Signer)>,
}

/// What opens a mount: the secret of an offer, or what a link or folder is opened with.
enum Opener {
    Offer(Secret),
    Mount(Option<Credentials>),
}

impl Federation {
    /// Moves everything that is known of a server to its new `host[:port]`; running mounts go on there.
    ///
    /// # Errors
    /// Where nothing is known of the old one, or the new one opens none of its shares, unless `force` says that this need not be proved.
    pub async fn rename_server(&self, old: &str, new: &str, force: bool) -> Result<Moved> {
        let names = Names { old: Servers::whole(old)?, new: Servers::whole(new)? };
        if names.old == names.new {
            return Err(Refusal::usage("both names are the same"));
        }
        let ours = |own: &String| names.new.is(&["https://", own].concat());
        if names.new.is(&self.public_url) || self.own_hosts.iter().any(ours) {
            return Err(Refusal::refused(format!("{} is this server itself", names.new)));
        }
        let (_, trusts) = self.moved_trusts(&names)?;
        let plan = self.plan(&names)?;
        let partners = self.policies.partners();
        let known = partners.renamed(&names.old, &names.new)?.0 != *partners.current();
        if plan.is_empty() && !trusts && !known {
            return Err(Refusal::not_found(format!("nothing here is of {}", names.old)));
        }
        if !force {
            self.proved(&names, &plan).await?;
        }
        let moved = self.move_to(&names).await?;
        tracing::info!(remote.host = %names.new, mounts = moved.mounts, offers = moved.offers, sent = moved.sent, "a server has another name");
        Ok(moved)
    }

    /// What is of the old server now.
    fn plan(&self, names: &Names) -> Result<Plan> {
        let handles = self.forest.mounts().all();
        Ok(Plan {
            offers: self.offers.all().iter().filter_map(|offer| names.offer(offer)).collect(),
            mounts: handles.iter().filter_map(|mount| names.mount(mount.record())).collect(),
            sent: self.sent.all().iter().filter_map(|sent| names.sent(sent)).collect(),
            shares: self.forest.shares().all().iter().filter_map(|share| names.share(share)).collect(),
            asked: self
                .store
                .list::<AskedShare>()?
                .into_iter()
                .filter_map(|asked| names.address(&asked.to).map(|to| asked.readdressed(to)))
                .collect(),
            messages: self
                .store
                .list::<Message>()?
                .into_iter()
                .filter_map(|message| names.address(&message.to).map(|to| message.readdressed(to)))
                .collect(),
            contacts: {
                let moved = |contact: Contact| names.address(&contact.address).map(|address| Contact { address, ..contact });
                self.store.list::<Contact>()?.into_iter().filter_map(moved).collect()
            },
            invitations: {
                let moved = |invitation: Invitation| {
                    let accepted = names.address(invitation.accepted.as_ref()?)?;
                    Some(Invitation { accepted: Some(accepted), ..invitation })
                };
                self.store.list::<Invitation>()?.into_iter().filter_map(moved).collect()
            },
            signers: self.moved_signers(|url| names.url(url))?,
        })
    }

    /// Whether the new server opens something of the old one's. It is asked under the decisions that will hold for it.
    async fn proved(&self, names: &Names, plan: &Plan) -> Result<()> {
        let (trusts, _) = self.moved_trusts(names)?;
        self.remotes.set_trust(trusts);
        let proved = self.opens_one(names, plan).await;
        if proved.is_err() {
            self.mounting.apply_trust()?;
        }
        proved
    }

    async fn opens_one(&self, names: &Names, plan: &Plan) -> Result<()> {
        let Names { old, new } = names;
        let accepted = |offer: &&Offer| offer.state == ReceivedState::Accepted && new.is(&offer.server().url());
        let offered: Vec<_> = plan.offers.iter().filter_map(|offer| offer.mount).collect();
        // What opens without a secret proves nothing.
        let closed = |mount: &&Mount| !offered.contains(&mount.id) && mount.state != MountState::Withdrawn && !mount.login.is_empty();
        let offers: Vec<_> = plan.offers.iter().filter(accepted).take(PROOFS_MAX).collect();
        let links: Vec<_> = plan.mounts.iter().filter(closed).take(PROOFS_MAX.saturating_sub(offers.len())).collect();
        if offers.is_empty() && links.is_empty() {
            let text = format!(
                "no share of {old} that a secret opens is mounted here, so nothing proves that {new} is the same server; --force moves the rest all the same"
            );
            return Err(Refusal::refused(text));
        }
        for offer in offers {
            self.remotes.forget_failures(&offer.server().url());
            let secret = self.vault.open_sealed(SealedIn::Offer(offer.id), &offer.secret)?;
            match self.open_offer(offer, &nobodys(&secret)?).await {
                Ok(_opened) => return Err(opens_anything(new)),
                // Who does not answer as a server does that has shares is shown nothing.
                Err(refusal) if refusal.reason == Reason::RemoteUnreachable => continue,
                Err(_refused) => {}
            }
            if self.open_offer(offer, &secret).await.is_ok() {
                return Ok(());
            }
        }
        for mount in links {
            self.remotes.forget_failures(&mount.url);
            let password = self.vault.open_sealed(SealedIn::Mount(mount.id), &mount.password)?;
            let login = nobodys(&mount.login)?;
            let random = Credentials::basic(login, nobodys(&password)?);
            match self.opens(mount, Some(random)).await {
                Ok(()) => return Err(opens_anything(new)),
                Err(remote::Error::Unauthorized | remote::Error::Forbidden | remote::Error::NotFound) => {}
                Err(_elsewise) => continue,
            }
            if self.opens(mount, self.credentials(mount)?).await.is_ok() {
                return Ok(());
            }
        }
        let text = format!("{new} opens nothing of what {old} shared; check the name and that it runs, or move all the same with --force");
        Err(Refusal::new(Reason::RemoteUnreachable, text))
    }

    async fn opens(&self, mount: &Mount, credentials: Option<Credentials>) -> Result<(), remote::Error> {
        let share = remote::Share::new(self.remotes.clone(), &mount.url, credentials, mount.vendor, mount.kind)?;
        share.stat(&Via::default(), &TreePath::root()).await.map(drop)
    }

    /// What opens a mount that was not offered.
    fn credentials(&self, mount: &Mount) -> Result<Option<Credentials>> {
        let password = self.vault.open_sealed(SealedIn::Mount(mount.id), &mount.password)?;
        Ok((!mount.login.is_empty()).then(|| Credentials::basic(mount.login.clone(), password)))
    }

    /// What was decided about certificates and addresses, with that of the old server under the new name; and whether there is any.
    fn moved_trusts(&self, names: &Names) -> Result<(Vec<RemoteTrust>, bool)> {
        let mut all = self.store.list::<RemoteTrust>()?;
        let (old, new) = (names.old.to_string(), names.new.to_string());
        // What holds for every port of a host stays there, and holds for the new name as well.
        let own = all.iter().position(|trust| trust.host == old);
        let Some(found) = own.or_else(|| all.iter().position(|trust| trust.host == names.old.host())) else { return Ok((all, false)) };
        let Some(decided) = (if own.is_some() { Some(all.swap_remove(found)) } else { all.get(found).cloned() }) else {
            return Ok((all, false));
        };
        let there = all.iter().position(|trust| trust.host == new).map(|there| all.swap_remove(there));
        let mut merged = RemoteTrust { host: new, ..decided };
        if let Some(there) = there {
            merged.allow_private |= there.allow_private;
            merged.fingerprints.extend(there.fingerprints.into_iter().filter(|one| !merged.fingerprints.contains(one)).collect::<Vec<_>>());
            merged.authorities.extend(there.authorities.into_iter().filter(|one| !merged.authorities.contains(one)).collect::<Vec<_>>());
        }
        all.push(merged);
        Ok((all, own.is_some()))
    }

    /// What opens the mounts that move.
    fn openers(&self, plan: &Plan) -> Result<HashMap<MountId, Opener>> {
        let opener = |mount: &Mount| match plan.offers.iter().find(|offer| offer.mount == Some(mount.id)) {
            Some(offer) => Ok((mount.id, Opener::Offer(self.vault.open_sealed(SealedIn::Offer(offer.id), &offer.secret)?))),
            None => Ok((mount.id, Opener::Mount(self.credentials(mount)?))),
        };
        plan.mounts.iter().map(opener).collect()
    }

    /// Writes everything under the new name, at once, and lets it hold.
    async fn move_to(&self, names: &Names) -> Result<Moved> {
        let knowing = self.offers.people.lock().await;
        let offering = self.offers.changing.lock().await;
        let mounting = self.mounting.changing.lock().await;
        let changing = self.forest.shares().change().await;
        let listing = self.policies.partners().turn().await;
        let plan = self.plan(names)?;
        let (lists, record) = self.policies.partners().renamed(&names.old, &names.new)?;
        let listed = lists != *self.policies.partners().current();
        let (trusts, trusted) = self.moved_trusts(names)?;
        // Whatever may fail comes before the commit: after it, all of it holds.
        let mut openers = self.openers(&plan)?;
        let mut batch = Batch::new().put(&record);
        if trusted {
            batch = batch.delete::<RemoteTrust>(names.old.to_string().as_bytes());
        }
        batch = trusts.iter().filter(|trust| trust.host == names.new.to_string()).fold(batch, Batch::put);
        batch = plan.offers.iter().fold(batch, Batch::put);
        batch = plan.mounts.iter().fold(batch, Batch::put);
        batch = plan.sent.iter().fold(batch, Batch::put);
        batch = plan.asked.iter().fold(batch, |batch, asked| batch.present::<AskedShare>(&asked.key()).put(asked));
        batch = plan.contacts.iter().fold(batch, Batch::put);
        batch = plan.invitations.iter().fold(batch, Batch::put);
        batch = plan.signers.iter().fold(batch, |batch, (old, new)| batch.delete::<Signer>(&old.key()).put(new));
        // One that was told meanwhile must not come back.
        batch = plan.messages.iter().fold(batch, |batch, message| batch.present::<Message>(&message.key()).put(message));
        let moved = plan.moved(trusted || listed);
        changing.readdress(plan.shares, batch).await?;
        self.policies.partners().publish(lists);
        // Before shares change again: what is changed by its old address would be written back.
        plan.sent.into_iter().for_each(|sent| self.sent.insert(sent));
        drop((listing, changing));
        let offers: Vec<Arc<Offer>> = plan.offers.into_iter().map(|offer| self.offers.keep(offer)).collect();
        self.remotes.set_trust(trusts);
        let mut running = Vec::with_capacity(plan.mounts.len());
        for mount in plan.mounts {
            running.push(mount.id);
            self.remotes.forget_failures(&mount.url);
            let offer = offers.iter().find(|offer| offer.mount == Some(mount.id));
            let credentials = match openers.remove(&mount.id) {
                Some(Opener::Offer(secret)) => {
                    offer.map(|offer| Credentials::of_offer(secret, offer.scheme).at_server(&offer.server().url()))
                }
                Some(Opener::Mount(credentials)) => credentials,
                None => None,
            };
            self.forest.mounts().readdress(mount, credentials);
        }
        drop((mounting, offering, knowing));
        self.outbox.wake();
        stream::iter(running).for_each_concurrent(LOOKS_AT_ONCE, |mount| self.mounting.look_first(mount)).await;
        Ok(moved)
    }
}

/// A secret of the same shape that nobody made.
fn nobodys(secret: &Secret) -> Result<Secret> {
    const SIGNS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789xy";
    let sign = |byte: u8| SIGNS.get(usize::from(byte % 64)).map_or('a', |sign| char::from(*sign));
    Ok(Secret::new(random::<OCM_SECRET_BYTES_MAX>()?.into_iter().take(secret.expose().len()).map(sign).collect::<String>()))
}

fn opens_anything(new: &Servers) -> Refusal {
    Refusal::refused(format!("{new} opens with any secret, so nothing proves that it is the same server; --force moves all the same"))
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.moved(false) == Moved::default() && self.contacts.is_empty() && self.invitations.is_empty() && self.signers.is_empty()
    }

    fn moved(&self, trusts: bool) -> Moved {
        let (mounts, offers, sent) = (self.mounts.len(), self.offers.len(), self.sent.len() + self.asked.len());
        Moved { mounts, offers, sent, messages: self.messages.len(), trusts }
    }
}
