//! A server that stands under another name now: what is known of it here moves there.
//!
//! **Invariants:** before anything moves, the new server has opened one of the shares of the old one (or the administrator said that this need not
//! be proved); all of it moves in one durable batch; the old name is told nothing.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::Federation;
use super::asking::AskedShare;
use super::outbox::Message;
use crate::domain::{
    Asked, CloudId, Mount, MountState, Offer, OfferedAt, ReceivedState, RemoteTrust, SentShare, Share, ShareWith, TreePath,
};
use crate::remote::{self, Credentials};
use crate::service::partners::Servers;
use crate::service::refusal::Result;
use crate::service::secrets::SealedIn;
use crate::service::{Reason, Refusal};
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
}

impl Federation {
    /// Moves everything that is known of a server to its new `host[:port]`; running mounts go on there.
    ///
    /// # Errors
    /// Where nothing is known of the old one, or the new one opens none of its shares, unless `force` says that this need not be proved.
    pub async fn rename_server(&self, old: &str, new: &str, force: bool) -> Result<Moved> {
        let names = Names { old: Servers::one(old)?, new: Servers::one(new)? };
        if names.old == names.new {
            return Err(Refusal::usage("both names are the same"));
        }
        let ours = |own: &String| names.new.is(&["https://", own].concat());
        if names.new.is(&self.public_url) || self.own_hosts.iter().any(ours) {
            return Err(Refusal::refused(format!("{} is this server itself", names.new)));
        }
        let (_, trusts) = self.moved_trusts(&names)?;
        let plan = self.plan(&names)?;
        let listed = self.policies.partners().current();
        let known = listed.trusted.contains_key(&names.old.to_string()) || listed.allow.contains(&names.old);
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
        let mut offers: Vec<&Offer> = plan.offers.iter().filter(|offer| names.new.is(&offer.server().url())).collect();
        offers.sort_by_key(|offer| offer.state != ReceivedState::Accepted);
        let accepted: Vec<_> = plan.offers.iter().filter_map(|offer| offer.mount).collect();
        let links = plan.mounts.iter().filter(|mount| !accepted.contains(&mount.id) && mount.state != MountState::Withdrawn);
        let mut asked = 0;
        for offer in offers.into_iter().take(PROOFS_MAX) {
            asked += 1;
            self.remotes.forget_failures(&offer.server().url());
            let secret = self.vault.open_sealed(SealedIn::Offer(offer.id), &offer.secret)?;
            if self.open_offer(offer, &secret).await.is_ok() {
                return Ok(());
            }
        }
        for mount in links.take(PROOFS_MAX.saturating_sub(asked)) {
            asked += 1;
            self.remotes.forget_failures(&mount.url);
            let share = remote::Share::new(self.remotes.clone(), &mount.url, self.credentials(mount)?, mount.vendor, mount.kind);
            let Ok(share) = share else { continue };
            if share.stat(&Via::default(), &TreePath::root()).await.is_ok() {
                return Ok(());
            }
        }
        let Names { old, new } = names;
        if asked == 0 {
            let text = format!(
                "no share of {old} is mounted or offered here, so nothing proves that {new} is the same server; --force moves the rest all the same"
            );
            return Err(Refusal::refused(text));
        }
        let text = format!("{new} opens nothing of what {old} shared; check the name and that it runs, or move all the same with --force");
        Err(Refusal::new(Reason::RemoteUnreachable, text))
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

    /// Writes everything under the new name, at once, and lets it hold.
    async fn move_to(&self, names: &Names) -> Result<Moved> {
        let offering = self.offers.changing.lock().await;
        let mounting = self.mounting.changing.lock().await;
        let changing = self.forest.shares().change().await;
        let listing = self.policies.partners().turn().await;
        let plan = self.plan(names)?;
        let (lists, record) = self.policies.partners().renamed(&names.old, &names.new)?;
        let listed = lists != *self.policies.partners().current();
        let (trusts, trusted) = self.moved_trusts(names)?;
        let mut batch = Batch::new().put(&record);
        if trusted {
            batch = batch.delete::<RemoteTrust>(names.old.to_string().as_bytes());
        }
        batch = trusts.iter().filter(|trust| trust.host == names.new.to_string()).fold(batch, Batch::put);
        batch = plan.offers.iter().fold(batch, Batch::put);
        batch = plan.mounts.iter().fold(batch, Batch::put);
        batch = plan.sent.iter().fold(batch, Batch::put);
        batch = plan.asked.iter().fold(batch, |batch, asked| batch.present::<AskedShare>(&asked.key()).put(asked));
        // One that was told meanwhile must not come back.
        batch = plan.messages.iter().fold(batch, |batch, message| batch.present::<Message>(&message.key()).put(message));
        let moved = plan.moved(trusted || listed);
        changing.readdress(plan.shares, batch).await?;
        self.policies.partners().publish(lists);
        drop((listing, changing));
        plan.sent.into_iter().for_each(|sent| self.sent.insert(sent));
        let offers: Vec<Arc<Offer>> = plan.offers.into_iter().map(|offer| self.offers.keep(offer)).collect();
        self.mounting.apply_trust()?;
        let mut running = Vec::with_capacity(plan.mounts.len());
        for mount in plan.mounts {
            running.push(mount.id);
            self.remotes.forget_failures(&mount.url);
            let credentials = match offers.iter().find(|offer| offer.mount == Some(mount.id)) {
                Some(offer) => {
                    let secret = self.vault.open_sealed(SealedIn::Offer(offer.id), &offer.secret)?;
                    Some(Credentials::of_offer(secret, offer.scheme))
                }
                None => self.credentials(&mount)?,
            };
            self.forest.mounts().readdress(mount, credentials);
        }
        drop((mounting, offering));
        self.outbox.wake();
        stream::iter(running).for_each_concurrent(LOOKS_AT_ONCE, |mount| self.mounting.look_first(mount)).await;
        Ok(moved)
    }
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.moved(false) == Moved::default()
    }

    fn moved(&self, trusts: bool) -> Moved {
        let (mounts, offers, sent) = (self.mounts.len(), self.offers.len(), self.sent.len() + self.asked.len());
        Moved { mounts, offers, sent, messages: self.messages.len(), trusts }
    }
}
