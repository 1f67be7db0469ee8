//! From a data folder to a server without sockets: what is made on the first start, and what stops a start.

use std::collections::HashSet;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::accounts::{Accounts, Disabled, Gate};
use super::federation::{Federation, Ledger, Offers, Outbox, open_signatures};
use super::groups::Groups;
use super::login_flow::LoginFlows;
use super::maintenance::Maintenance;
use super::mounts::Mounting;
use super::passwords::Passwords;
use super::policy::Policies;
use super::secrets::Vault;
use super::sessions::Sessions;
use super::shares::UserShares;
use super::sharing::Sharing;
use super::throttle::Throttle;
use super::uploads::Uploads;
use super::{Inner, Refusal, Services, random_password};
use crate::domain::{ClientVersion, Clock, Keep, Signing};
use crate::remote::Timeouts;
use crate::space::{SpaceOptions, Spaces};
use crate::store::{self, Durability, Store};
use crate::tree::{Forest, Shares};

/// How services are opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder.
    pub data: PathBuf,
    /// What an answered write survives.
    pub durability: Durability,
    /// Memory for the store's cache, in bytes.
    pub cache_bytes: u64,
    /// URL before every link, without a slash at its end.
    pub public_url: String,
    /// The configuration file, for backups.
    pub config_file: Option<PathBuf>,
    /// Further names of this server, lower case, as `host[:port]`.
    pub own_hosts: Vec<String>,
    /// What sync clients are told.
    pub client_version: ClientVersion,
    /// Whether what is shared with users appears in their trees at once.
    pub auto_accept_shares: bool,
    /// Whether calls between servers are signed.
    pub signatures: Signing,
    /// How long other servers may take.
    pub remote_timeouts: Timeouts,
    /// What of the deleted is kept.
    pub trash: Keep,
    /// What of the overwritten is kept.
    pub versions: Keep,
}

/// Why a data folder cannot be used; says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process serves it.
    #[error("the data folder {} is in use by another causeway; stop that one, or choose another folder with --data", .0.display())]
    InUse(PathBuf),
    /// It cannot be made or written.
    #[error("the data folder {} cannot be written by this user; change its owner, or choose another folder with --data", .0.display())]
    NotWritable(PathBuf, #[source] std::io::Error),
    /// Written by a newer program.
    #[error("the data folder was written by a newer causeway (format {0}); use that version")]
    Newer(u32),
    /// The rows cannot be opened.
    #[error("the store in the data folder cannot be opened")]
    Store(#[source] store::Error),
    /// A home, a key or a record cannot be read.
    #[error("the data folder cannot be opened: {0}")]
    Other(String),
}

/// The folder of all state in a data folder.
pub fn state_folder(data: &Path) -> PathBuf {
    data.join(".causeway")
}

/// The folder of the rows in a data folder.
pub fn store_folder(data: &Path) -> PathBuf {
    state_folder(data).join("store")
}

/// The keys by which calls to other servers are signed, in a data folder.
pub fn signing_keys_file(data: &Path) -> PathBuf {
    state_folder(data).join("keys/signing.keys")
}

/// The daily logical export of the rows.
pub fn export_file(data: &Path) -> PathBuf {
    state_folder(data).join("export.jsonl")
}

impl Services {
    /// Opens a data folder, making what is missing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(options: Options, clock: Clock) -> Result<Services, OpenError> {
        prepare_folders(&options.data)?;
        let store = open_store(&options, &clock).await?;
        let other = |error: Refusal| OpenError::Other(error.to_string());
        let vault = open_vault(&options.data)?;
        let (trash, versions) = (options.trash, options.versions);
        let space_options = SpaceOptions { durability: options.durability, trash, versions, ..SpaceOptions::default() };
        let spaces = open_spaces(&store, &options.data, &clock, space_options).await?;
        let (remotes, mounts) = super::mounts::open_mounts(&store, &vault, &clock, &options).map_err(other)?;
        let fingerprint = format!("{:016x}", store.fingerprint());
        let shares = Shares::open(store.clone(), clock.clone()).map_err(|error| OpenError::Other(error.to_string()))?;
        let forest = Forest::new(spaces.clone(), mounts.clone(), shares, store.instance_id().to_owned(), fingerprint);
        let gate = open_gate(&store, &clock).map_err(other)?;
        let throttle = Arc::clone(&gate.throttle);
        let accounts = open_accounts(&store, &spaces, &clock, &gate).await?;
        let groups = Arc::new(Groups::open(store.clone()).map_err(other)?);
        let policies = Arc::new(Policies::open(store.clone(), Arc::clone(&groups)).map_err(other)?);
        let users = (Arc::clone(&accounts), Arc::clone(&groups));
        let shares = Arc::new(UserShares::new(store.clone(), forest.clone(), clock.clone(), users, options.auto_accept_shares));
        shares.follow_groups();
        // Before anything is hung, and before the rows of what was purged are collected: they tell what was purged.
        forest.detach_lost().await;
        shares.finish().await.map_err(other)?;
        let judges = (gate.clone(), Arc::clone(&policies));
        let sharing = Sharing::open(store.clone(), forest.clone(), clock.clone(), judges, Arc::clone(&shares)).map_err(other)?;
        let own_hosts = options.own_hosts.clone();
        let mounting = Mounting::new(store.clone(), forest.clone(), remotes.clone(), Arc::clone(&vault), clock.clone(), own_hosts);
        let mounting = Arc::new(mounting.under(Arc::clone(&policies)));
        let federation = Federation {
            signatures: open_signatures(&options, &store, &remotes, &clock).await.map_err(other)?,
            store: store.clone(),
            forest: forest.clone(),
            remotes,
            vault,
            calls: Throttle::new(clock.clone()),
            clock: clock.clone(),
            accounts: Arc::clone(&accounts),
            shares: Arc::clone(&shares),
            mounting: Arc::clone(&mounting),
            gate,
            policies: Arc::clone(&policies),
            sent: Ledger::open(&store).map_err(other)?,
            public_url: options.public_url.clone(),
            own_hosts: options.own_hosts.clone(),
            offers: Offers::open(&store, clock.clone()).map_err(|error| OpenError::Other(error.to_string()))?,
            outbox: Outbox::default(),
            knocks: Throttle::new(clock.clone()),
        };
        federation.finish().await.map_err(other)?;
        let uploads = Uploads::open(store.clone(), spaces.clone(), clock.clone()).map_err(|error| OpenError::Other(error.to_string()))?;
        let login_flows = LoginFlows::new(clock.clone()).map_err(|error| OpenError::Other(error.to_string()))?;
        let inner = Inner {
            maintenance: Maintenance::open(store.clone()).map_err(other)?,
            options,
            clock,
            store,
            spaces,
            forest,
            accounts,
            groups,
            shares,
            sharing,
            mounting,
            federation,
            throttle,
            uploads,
            login_flows,
            policies,
        };
        Ok(Services { inner: Arc::new(inner) })
    }

    /// Where a set-up code was written, on a server that nobody may administer yet: a person at the machine reads it once.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn setup_code(&self) -> std::io::Result<Option<PathBuf>> {
        let file = self.state_folder().join("setup-code");
        if self.accounts().has_admin() {
            // The code dies with the first administrator.
            return match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(None),
            };
        }
        if !file.exists() {
            let code = random_password().map_err(std::io::Error::other)?;
            let mut created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
            writeln!(created, "{}", code.expose())?;
        }
        Ok(Some(file))
    }

    /// Writes the rows as an export, from which a store that cannot be read is rebuilt.
    ///
    /// # Errors
    /// Where the disk fails.
    pub async fn export(&self) -> Result<(), store::Error> {
        let (store, file) = (self.store().clone(), export_file(self.data()));
        tokio::task::spawn_blocking(move || store.export(&file)).await.map_err(|_gone| store::Error::Closed)?
    }

    /// Writes what is left; nothing can be written afterwards.
    pub async fn close(&self) {
        self.forest().mounts().close();
        let (store, spaces) = (self.store().clone(), self.spaces().clone());
        let closed = tokio::task::spawn_blocking(move || {
            spaces.close();
            store.close();
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "the store could not be closed");
        }
    }

    /// Folders in the data folder that belong to no user: files that were put there, or homes of users that do not exist yet.
    pub fn strangers(&self) -> Vec<String> {
        let known: HashSet<String> = self.accounts().list().iter().map(|user| user.name.to_string()).collect();
        let Ok(entries) = std::fs::read_dir(self.data()) else { return Vec::new() };
        let names = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with('.') && name != "README.md" && !known.contains(name)).collect()
    }
}

pub(super) fn prepare_folders(data: &Path) -> Result<(), OpenError> {
    let not_writable = |error| OpenError::NotWritable(data.to_owned(), error);
    std::fs::create_dir_all(data).map_err(not_writable)?;
    let state = state_folder(data);
    for folder in [state.clone(), state.join("keys")] {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(not_writable)?;
    }
    // A folder that can be read but not written would show only at the first upload.
    let probe = state.join("writable");
    std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)).map_err(not_writable)
}

fn open_vault(data: &Path) -> Result<Arc<Vault>, OpenError> {
    let vault = Vault::open(&state_folder(data).join("keys/secret.key"));
    vault.map(Arc::new).map_err(|error| OpenError::Other(error.to_string()))
}

fn open_gate(store: &Store, clock: &Clock) -> Result<Gate, Refusal> {
    Ok(Gate {
        passwords: Arc::new(Passwords::new(clock.clone()).map_err(|error| Refusal::failed(error.to_string()))?),
        throttle: Arc::new(Throttle::new(clock.clone())),
        disabled: Disabled::open(store)?,
        sessions: Arc::new(Sessions::open(store.clone(), clock.clone())?),
    })
}

async fn open_spaces(store: &Store, data: &Path, clock: &Clock, options: SpaceOptions) -> Result<Spaces, OpenError> {
    let (store, data, clock) = (store.clone(), data.to_owned(), clock.clone());
    let opened = tokio::task::spawn_blocking(move || Spaces::open(store, &data, clock, options)).await;
    opened.map_err(|gone| OpenError::Other(gone.to_string()))?.map_err(|error| OpenError::Other(error.to_string()))
}

async fn open_accounts(store: &Store, spaces: &Spaces, clock: &Clock, gate: &Gate) -> Result<Arc<Accounts>, OpenError> {
    let (store, spaces, clock, gate) = (store.clone(), spaces.clone(), clock.clone(), gate.clone());
    // Registering a home reads it from the disk.
    let opened = tokio::task::spawn_blocking(move || Accounts::open(store, spaces, clock, gate)).await;
    let accounts = opened.map_err(|gone| OpenError::Other(gone.to_string()))?.map_err(|error| OpenError::Other(error.to_string()))?;
    Ok(Arc::new(accounts))
}

async fn open_store(options: &Options, clock: &Clock) -> Result<Store, OpenError> {
    let folder = store_folder(&options.data);
    let store_options = store::Options {
        cache_bytes: options.cache_bytes,
        durability: options.durability,
        export: Some(export_file(&options.data)),
        clock: clock.clone(),
    };
    let opened = tokio::task::spawn_blocking(move || Store::open(&folder, store_options)).await;
    opened.map_err(|gone| OpenError::Other(gone.to_string()))?.map_err(|error| match error {
        store::Error::InUse => OpenError::InUse(options.data.clone()),
        store::Error::Newer(format) => OpenError::Newer(format),
        store::Error::Io(error) => OpenError::NotWritable(options.data.clone(), error),
        store::Error::Corrupt(_) | store::Error::Conflict | store::Error::Closed => OpenError::Store(error),
    })
}
