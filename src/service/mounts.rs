//! Mounts: made from any link or WebDAV URL, kept with their passwords encrypted, and retried.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::policy::Policies;
use super::refusal::Result;
use super::secrets::{SealedIn, Vault};
use super::setup::{Options, state_folder};
use super::{Reason, Refusal};
use crate::domain::{At, Clock, Mount, MountId, MountState, Name, Offer, OfflineCause, Secret, TreePath, User, UserName, Write};
use crate::limits::USER_MOUNTS_MAX;
use crate::mount::{MountHandle, Mounts};
use crate::remote::{Credentials, Names, Opened, Policy, Probe, ProbeFault, Remotes};
use crate::store::{Batch, Store};
use crate::tree::Forest;

/// How long whoever mounts something waits for the first look at it; after that the poll looks.
const FIRST_LOOK_TIME: Duration = Duration::from_secs(10);
/// Most of an owner's name that is kept, in characters, where somebody else than the remote says it.
const OWNER_CHARS_MAX: usize = 64;

/// The mounts of a server as users and administrators change them.
pub struct Mounting {
    pub(super) store: Store,
    pub(super) remotes: Remotes,
    forest: Forest,
    vault: Arc<Vault>,
    clock: Clock,
    own_hosts: Vec<String>,
    policies: Option<Arc<Policies>>,
    /// One change at a time. Not held while a remote is asked.
    pub(super) changing: tokio::sync::Mutex<()>,
}

/// A share that another server offered, as it is mounted.
pub(super) struct Offered {
    /// What was found at its address.
    pub(super) opened: Opened,
    /// What opens it. The offer keeps it, sealed; the mount's record does not.
    pub(super) credentials: Credentials,
    /// What the mountpoint is called.
    pub(super) name: Name,
    /// How the owner is shown.
    pub(super) owner: String,
}

/// The remotes and mounts of a store, with the passwords decrypted. A mount whose password cannot be read will want a new one.
pub(super) fn open_mounts(store: &Store, vault: &Vault, clock: &Clock, options: &Options) -> Result<(Remotes, Mounts)> {
    let policy = Policy { instance_id: store.instance_id().to_owned(), trust: store.list()?, names: Names::System };
    let remotes = Remotes::new(policy, options.remote_timeouts.clone());
    let spool = state_folder(&options.data).join("spool");
    std::fs::create_dir_all(&spool).map_err(|error| Refusal::failed(format!("the spool folder cannot be made: {error}")))?;
    let mounts = Mounts::new(store.clone(), remotes.clone(), clock.clone(), spool);
    let offers: HashMap<MountId, Offer> = store.list::<Offer>()?.into_iter().filter_map(|offer| Some((offer.mount?, offer))).collect();
    for mount in store.list::<Mount>()? {
        if let Some(offer) = offers.get(&mount.id) {
            let secret = vault.open_sealed(SealedIn::Offer(offer.id), &offer.secret).unwrap_or_else(|error| {
                tracing::error!(mount.id = mount.id.0, %error, "the secret of a share of another server cannot be read");
                Secret::default()
            });
            mounts.insert_offered(mount, Credentials::of_offer(secret, offer.scheme).at_server(&offer.server().url()));
            continue;
        }
        let password = vault.open_sealed(SealedIn::Mount(mount.id), &mount.password).unwrap_or_else(|error| {
            tracing::error!(mount.id = mount.id.0, %error, "the password of a mount cannot be read");
            Secret::default()
        });
        mounts.insert(mount, password);
    }
    Ok((remotes, mounts))
}

impl Mounting {
    /// The mounts of a forest.
    pub(super) fn new(store: Store, forest: Forest, remotes: Remotes, vault: Arc<Vault>, clock: Clock, own_hosts: Vec<String>) -> Mounting {
        Mounting { store, remotes, forest, vault, clock, own_hosts, policies: None, changing: Default::default() }
    }

    /// The same under the administrator's rules: who may mount, and whose mounts open.
    pub(super) fn under(mut self, policies: Arc<Policies>) -> Mounting {
        let judge = Arc::clone(&policies);
        self.forest.judge_mounts(move |mount| is_open(&judge, mount));
        self.policies = Some(policies);
        self
    }

    fn mounts(&self) -> &Mounts {
        self.forest.mounts()
    }

    /// Watches the remotes until the sign to stop.
    pub fn poll_loop(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let mounts = self.mounts().clone();
        async move { mounts.poll_loop(stop.cancelled_owned()).await }
    }

    /// Finds out what stands at a URL and mounts it at the root of a user's tree.
    ///
    /// # Errors
    /// Why it cannot be mounted, and what to do about it; [`Reason::NeedsPassword`] where a password is all that is missing.
    pub async fn add(&self, user: &User, url: &str, name: Option<&str>, password: Option<Secret>) -> Result<Mount> {
        if !self.may_mount(&user.name) {
            return Err(Refusal::refused("the administrator does not allow users to mount public link shares"));
        }
        self.not_ourselves(url)?;
        self.not_denied(url)?;
        let given = password.is_some();
        let probe = self.remotes.probe(url, password).await.map_err(|fault| explain(&fault, given))?;
        self.add_probed(user, probe, name, "").await
    }

    /// Mounts what was found at a URL at the root of a user's tree. `owner` is what is shown where the other server does not say whose it is.
    pub(super) async fn add_probed(&self, user: &User, probe: Probe, name: Option<&str>, owner: &str) -> Result<Mount> {
        self.not_denied(&probe.dav_url)?;
        let wanted = wanted_name(name, &probe)?;
        let changing = self.changing.lock().await;
        if self.list(user).len() >= USER_MOUNTS_MAX {
            return Err(Refusal::refused(format!("`{}` has {USER_MOUNTS_MAX} mounts already", user.name)));
        }
        let id = MountId(self.store.next_id()?);
        let mount = Mount {
            id,
            user: user.name.clone(),
            space: user.space,
            url: probe.dav_url,
            login: probe.login,
            password: self.vault.seal(SealedIn::Mount(id), &probe.password)?,
            vendor: probe.vendor,
            kind: probe.kind,
            name: probe.name,
            owner: if probe.owner.is_empty() {
                owner.chars().filter(|letter| !letter.is_control()).take(OWNER_CHARS_MAX).collect()
            } else {
                probe.owner
            },
            page: probe.page,
            state: MountState::Online,
            root_etag: None,
            created: self.clock.now(),
        };
        self.store.commit(Batch::new().put(&mount)).await?;
        self.mounts().insert(mount.clone(), probe.password);
        self.hang(user, mount, &wanted).await?;
        drop(changing);
        self.look_first(id).await;
        self.get(id)
    }

    /// Mounts what another server offered. `also` is stored together with the record; it runs just before that. The remote is not asked: that is
    /// for [`Mounting::look_first`].
    ///
    /// # Errors
    /// Where the user has too many mounts, or the tree cannot be written: then the mount is gone again.
    pub(super) async fn add_offered(&self, user: &User, offered: Offered, also: impl FnOnce(MountId) -> Batch + Send) -> Result<Mount> {
        self.not_ourselves(&offered.opened.url)?;
        let _changing = self.changing.lock().await;
        if self.list(user).len() >= USER_MOUNTS_MAX {
            return Err(Refusal::refused(format!("`{}` has {USER_MOUNTS_MAX} mounts already", user.name)));
        }
        let id = MountId(self.store.next_id()?);
        let mount = Mount {
            id,
            user: user.name.clone(),
            space: user.space,
            url: offered.opened.url,
            login: Secret::default(),
            password: Vec::new(),
            vendor: offered.opened.vendor,
            kind: offered.opened.kind,
            name: offered.name.to_string(),
            owner: offered.owner,
            page: None,
            state: MountState::Online,
            root_etag: None,
            created: self.clock.now(),
        };
        self.store.commit(also(id).put(&mount)).await?;
        self.mounts().insert_offered(mount.clone(), offered.credentials);
        self.hang(user, mount, &offered.name).await
    }

    /// Hangs a mount whose record is stored into its user's tree: a mountpoint without a record would show a folder that nobody can reach.
    async fn hang(&self, user: &User, mount: Mount, wanted: &Name) -> Result<Mount> {
        let id = mount.id;
        let hung = match self.forest.spaces().get(user.space) {
            Some(space) => space.add_mount(&At::home(TreePath::root()), id, wanted).await.map_err(Refusal::from),
            None => Err(Refusal::failed("the user's home is not open")),
        };
        if let Err(refusal) = hung {
            self.mounts().remove(id).await?;
            return Err(refusal);
        }
        tracing::info!(mount.id = id.0, user.id = %user.name, remote.host = host_of(&mount.url), "a mount was added");
        self.get(id)
    }

    /// Looks at a new mount, for a bounded time. Its rights and etag are those of an empty folder until then; clients should not meet it in that
    /// state. No lock may be held: its server may answer as slowly as it likes.
    pub(super) async fn look_first(&self, id: MountId) {
        if let Some(handle) = self.mounts().get(id)
            && timeout(FIRST_LOOK_TIME, handle.retry()).await.is_err()
        {
            tracing::info!(mount.id = id.0, "a new mount has not answered yet");
        }
    }

    /// A mount of ourselves would answer itself; what is here is shared here.
    pub(super) fn not_ourselves(&self, url: &str) -> Result<()> {
        let authority = Url::parse(url).ok().and_then(|url| {
            let host = url.host_str()?.to_ascii_lowercase();
            Some(url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
        });
        match authority {
            Some(authority) if self.own_hosts.contains(&authority) => Err(Refusal::refused("this link leads to this server itself")),
            Some(_) | None => Ok(()),
        }
    }

    /// The administrator's list of servers with which nothing is exchanged holds for links as well.
    pub(super) fn not_denied(&self, url: &str) -> Result<()> {
        match &self.policies {
            Some(policies) if policies.partners().is_denied(url) => {
                Err(Refusal::refused("the administrator does not allow mounts of that server"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The mounts of a user, oldest first.
    pub fn list(&self, user: &User) -> Vec<Mount> {
        let mut all: Vec<Mount> =
            self.mounts().all().iter().map(|mount| mount.record()).filter(|mount| mount.space == user.space).collect();
        all.sort_by_key(|mount| mount.id);
        all
    }

    /// The mount of a number.
    ///
    /// # Errors
    /// Where there is none.
    pub fn get(&self, id: MountId) -> Result<Mount> {
        let found = self.mounts().get(id).map(|mount| mount.record());
        found.ok_or_else(|| Refusal::not_found(format!("there is no mount {}", id.0)))
    }

    /// Where a mount hangs.
    pub fn path_of(&self, mount: &Mount) -> Option<TreePath> {
        let points = self.forest.spaces().get(mount.space)?.mountpoints();
        points.iter().find(|point| point.mount == mount.id).map(|point| point.path.clone())
    }

    /// Asks the remote again now, whatever the state was.
    ///
    /// # Errors
    /// Where the remote still does not answer, with the reason.
    pub async fn retry(&self, id: MountId) -> Result<Mount> {
        self.get(id)?;
        if let Some(handle) = self.mounts().get(id) {
            handle.retry().await;
        }
        let mount = self.get(id)?;
        match &mount.state {
            MountState::Online => Ok(mount),
            MountState::NeedsPassword => Err(Refusal::new(Reason::NeedsPassword, self.describe(&mount).1)),
            MountState::Offline { .. } | MountState::Loop => Err(Refusal::new(Reason::RemoteUnreachable, self.describe(&mount).1)),
            MountState::Withdrawn => Err(Refusal::not_found(self.describe(&mount).1)),
        }
    }

    /// Gives a mount another password and asks the remote with it.
    ///
    /// # Errors
    /// Where the remote does not take it.
    pub async fn set_password(&self, id: MountId, password: Secret) -> Result<Mount> {
        if self.mounts().get(id).is_some_and(|mount| mount.is_offered()) {
            return Err(Refusal::refused("the other server offered this share; it has no password that could be changed"));
        }
        let changing = self.changing.lock().await;
        let changed = Mount { password: self.vault.seal(SealedIn::Mount(id), &password)?, ..self.get(id)? };
        self.store.commit(Batch::new().put(&changed)).await?;
        self.mounts().set_password(id, password, changed);
        drop(changing);
        tracing::info!(mount.id = id.0, "the password of a mount was changed");
        self.retry(id).await
    }

    /// Gives a mountpoint another name; the remote sees nothing of it.
    ///
    /// # Errors
    /// Where the name is taken or cannot be used.
    pub async fn rename(&self, id: MountId, name: String) -> Result<Mount> {
        let name = Name::parse(&name).map_err(|error| Refusal::usage(format!("`{name}` cannot be a name: {error}")))?;
        let mount = self.get(id)?;
        let from = self.path_of(&mount).ok_or_else(|| Refusal::not_found("the mount hangs nowhere; wait for the next scan"))?;
        let to = from.parent().unwrap_or_default().join(&name);
        let space = self.forest.spaces().get(mount.space).ok_or_else(|| Refusal::failed("the user's home is not open"))?;
        let absent = Write { expect: crate::domain::Expect::Absent, tokens: Vec::new() };
        let renamed = space.rename(&At::home(from), &At::home(to), Write::unconditional(), absent).await;
        if let Err(crate::domain::Error::PreconditionFailed) = renamed {
            return Err(Refusal::refused(format!("there is something called `{name}` already")));
        }
        renamed?;
        self.get(id)
    }

    /// Unmounts; the remote keeps everything.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn remove(&self, id: MountId) -> Result<()> {
        let _changing = self.changing.lock().await;
        let mount = self.get(id)?;
        if let Some(space) = self.forest.spaces().get(mount.space) {
            space.remove_mount(id).await?;
        }
        self.mounts().remove(id).await?;
        tracing::info!(mount.id = id.0, user.id = %mount.user, "a mount was removed");
        Ok(())
    }

    /// Removes the mounts that hang nowhere and never will; none that is being added.
    pub async fn detach_lost(&self) {
        let _changing = self.changing.lock().await;
        self.forest.detach_lost().await;
    }

    /// The mounts that the administrator's rules keep closed.
    pub(super) fn closed(&self) -> Vec<MountId> {
        let all = self.mounts().all();
        all.iter().filter(|mount| !self.is_open(mount)).map(|mount| mount.id()).collect()
    }

    /// Lets clients look through the mounts that were closed and no longer are: what changed there meanwhile they were refused.
    pub(super) fn look_again(&self, closed: &[MountId]) {
        let opened = closed.iter().filter_map(|id| self.mounts().get(*id)).filter(|mount| self.is_open(mount));
        opened.for_each(|mount| mount.note_reopened());
    }

    fn is_open(&self, mount: &MountHandle) -> bool {
        self.policies.as_ref().is_none_or(|policies| is_open(policies, mount))
    }

    pub(super) fn may_mount(&self, user: &UserName) -> bool {
        self.policies.as_ref().is_none_or(|policies| policies.may_receive(user))
    }

    /// The state of a mount in a word, and what it means.
    pub fn describe(&self, mount: &Mount) -> (&'static str, String) {
        let id = mount.id.0;
        match &mount.state {
            MountState::Online => ("online", String::new()),
            MountState::Offline { cause, .. } => ("offline", offline(*cause, mount)),
            MountState::NeedsPassword => {
                ("needs_password", format!("the link wants another password; `causeway mount password {id}` takes it"))
            }
            MountState::Withdrawn => {
                let hint = format!("the other server says that the share is gone; `causeway mount retry {id}` asks again");
                ("withdrawn", hint)
            }
            MountState::Loop => ("loop", "the mounted folder leads back to this server".to_owned()),
        }
    }
}

/// Whether the administrator lets a mount be looked into: by its user, and by its server. Denied servers are so for links as well; the other
/// list is for what is offered alone.
fn is_open(policies: &Policies, mount: &MountHandle) -> bool {
    let (policy, partners) = (policies.current(), policies.partners());
    // The usual case needs no look at the record.
    if policy.incoming.on && policy.incoming.except.is_empty() && partners.is_open() {
        return true;
    }
    let record = mount.record();
    let server = if mount.is_offered() { partners.takes_part(&record.url) } else { !partners.is_denied(&record.url) };
    server && policies.may_receive(&record.user)
}

fn offline(cause: OfflineCause, mount: &Mount) -> String {
    let host = host_of(&mount.url);
    match cause {
        OfflineCause::Unreachable => format!("{host} does not answer; `causeway doctor URL` looks where it fails"),
        OfflineCause::BadAnswer => format!("{host} answers, but not as a WebDAV server does"),
        OfflineCause::RemoteBusy => format!("{host} says that it cannot now"),
        OfflineCause::NeedsPassword => "the link wants another password".to_owned(),
        OfflineCause::Withdrawn => "the link is gone".to_owned(),
        OfflineCause::NotAllowed => {
            format!("{host} has a private address; `causeway remote allow-private {host}` allows that")
        }
        OfflineCause::Untrusted => {
            format!("the certificate of {host} is not trusted; `causeway doctor URL` shows its fingerprint")
        }
        OfflineCause::SharingOff => {
            format!(
                "{host} has the link, but does not let other servers mount it; its administrator can allow that (outgoing federated sharing)"
            )
        }
    }
}

/// The host of a URL as commands take it.
pub(super) fn host_of(url: &str) -> String {
    Url::parse(url)
        .ok()
        .and_then(|url| {
            let host = url.host_str()?.to_owned();
            Some(url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
        })
        .unwrap_or_default()
}

/// The name of a mountpoint: what the user wants, else what the remote calls it, made fit for a name.
fn wanted_name(name: Option<&str>, probe: &Probe) -> Result<Name> {
    if let Some(name) = name {
        return Name::parse(name).map_err(|error| Refusal::usage(format!("`{name}` cannot be a name: {error}")));
    }
    let mut shown: String = probe.name.chars().filter(|letter| !letter.is_control() && *letter != '/').collect();
    while shown.len() > 200 {
        shown.pop();
    }
    Name::parse(shown.trim()).or_else(|_error| Name::parse("Mounted")).map_err(|error| Refusal::failed(error.to_string()))
}

/// Why a URL cannot be mounted, for administrators: they are told what to do about it.
fn explain(fault: &ProbeFault, given: bool) -> Refusal {
    let reason = match fault {
        ProbeFault::NotAnAddress => Reason::Usage,
        ProbeFault::NotFound => Reason::NotFound,
        ProbeFault::NeedsPassword if given => Reason::Refused,
        ProbeFault::NeedsPassword => Reason::NeedsPassword,
        ProbeFault::Unreachable | ProbeFault::Busy | ProbeFault::Throttled => Reason::RemoteUnreachable,
        ProbeFault::WrongPassword
        | ProbeFault::UntrustedCertificate { .. }
        | ProbeFault::PrivateAddress { .. }
        | ProbeFault::UploadOnly
        | ProbeFault::SharingSwitchedOff
        | ProbeFault::SingleFile
        | ProbeFault::NotWebdav
        | ProbeFault::Loop
        | ProbeFault::TooManyRedirects => Reason::Refused,
    };
    Refusal::new(reason, fault.to_string())
}
