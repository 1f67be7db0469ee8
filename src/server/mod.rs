//! One server on its sockets: accept → TLS → request id and span → route → limits → authentication → protocol → access line.
//!
//! [`Server::start`] binds before it opens the data folder and returns when both are done, so that there is nothing to poll for. **Invariant**:
//! no global state; everything that runs is counted in [`tasks::Tasks`] and waited for by [`Running::stop`].

mod answers;
mod basic;
mod body;
mod browser;
mod clients;
pub mod control;
mod external;
mod give;
mod http;
pub mod listen;
mod login;
mod metrics;
mod pages;
mod peer;
mod prompt;
mod route;
mod sendfile;
mod sent;
mod serve;
mod servers;
mod site;
mod stream;
pub mod tasks;
pub mod tls;
mod web;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use self::http::App;
use self::listen::Listener;
use self::tasks::Tasks;
use self::tls::Certificate;
use crate::config::{Config, Listen};
use crate::domain::{Clock, Signing};
use crate::limits::SHUTDOWN_PATIENCE;
use crate::protocol::public::Passes;
use crate::service::{OpenError, Options, Services};

/// How often links whose nodes are gone are looked for.
const LINK_SWEEP_EVERY: Duration = Duration::from_secs(600);
/// How often the rows are exported.
const EXPORT_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How often homes are looked through for outside edits and left-overs.
const SPACE_SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket.
    #[error(transparent)]
    Listen(#[from] listen::Error),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The data folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The machine.
    #[error("the server cannot start: {0}")]
    Machine(String),
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    /// What can be done.
    pub services: Services,
    /// Where it listens, with the ports that the system chose.
    pub addresses: Vec<Listen>,
    /// URL before every root.
    pub base_url: String,
    /// The one-time code for the first administrator, where there is none yet.
    pub setup_code: Option<PathBuf>,
    tls: bool,
    tasks: Tasks,
}

impl Server {
    /// Binds, opens the data folder and serves. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`], which says what to do.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        Server::start_with(config, Clock::System, None).await
    }

    /// As [`Server::start`], with a clock that a test may set, and the file that the configuration came from.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_with(config: Config, clock: Clock, file: Option<PathBuf>) -> Result<Running, StartError> {
        let certificate = config.tls.as_ref().map(Certificate::load).transpose()?;
        let acceptor = certificate.as_ref().map(Certificate::acceptor).transpose()?;
        let listeners = config.listen.iter().map(|address| Listener::bind(address, &config.listen)).collect::<Result<Vec<_>, _>>()?;
        let addresses = listeners.iter().map(Listener::address).collect::<Result<Vec<_>, _>>().map_err(machine)?;
        let base_url = base_url(&config, &addresses);
        let options = Options { config_file: file, ..service_options(&config, &base_url, &addresses) };
        let services = Services::open(options, clock).await?;
        let setup_code = services.setup_code().map_err(machine)?;
        let tasks = Tasks::new();
        let control = control::bind(services.data()).map_err(machine)?;
        tasks.spawn(control::serve(control, services.clone(), tasks.clone()));
        let metrics = Arc::new(metrics::Metrics::new());
        let app = Arc::new(App {
            services: services.clone(),
            web: web::Web::new(services.clone(), Arc::clone(&metrics), tasks.stopping()),
            metrics,
            prefix: config.public_url.as_ref().map(|url| url.path().to_owned()).unwrap_or_default(),
            has_public_url: config.public_url.is_some(),
            trusted_proxies: config.trusted_proxies.clone(),
            upload_max: config.upload_max,
            passes: Passes::new().map_err(|error| StartError::Machine(error.to_string()))?,
            questions: servers::Questions::new(services.clock().clone()),
            counter: AtomicU64::new(1),
        });
        let door = serve::Door::new(app, acceptor, tasks.clone(), config.connections_max);
        for listener in listeners {
            tasks.spawn(door.clone().serve(listener));
        }
        if let Some(certificate) = certificate {
            tasks.spawn_until_stop(certificate.watch());
        }
        background(&tasks, &services);
        if config.signatures != Signing::Off && config.public_url.is_none() {
            tracing::warn!("calls between servers are signed, and there is no `public_url`: other servers find the keys by it");
        }
        tracing::info!(listen = ?addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), "started");
        Ok(Running { services, addresses, base_url, setup_code, tls: config.tls.is_some(), tasks })
    }
}

impl Running {
    /// The URLs of the listeners, as a person would type them.
    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.tls { "https" } else { "http" };
        let url = |address: &Listen| match address {
            Listen::Tcp(address) => format!("{scheme}://{address}"),
            Listen::Unix(path) => format!("unix:{}", path.display()),
        };
        self.addresses.iter().map(url).collect()
    }

    /// Stops: no new connections, running requests finish, everything is written. Says whether all finished in time.
    pub async fn stop(self) -> bool {
        let finished = self.tasks.finish(SHUTDOWN_PATIENCE).await;
        if !finished {
            tracing::warn!("some requests did not end in time and were cut off");
        }
        if let Err(error) = self.services.export().await {
            tracing::warn!(%error, "the rows could not be exported at the end");
        }
        self.services.close().await;
        tracing::info!("stopped");
        finished
    }
}

fn machine(error: std::io::Error) -> StartError {
    StartError::Machine(error.to_string())
}

/// What a configuration means for the services.
pub fn service_options(config: &Config, base_url: &str, addresses: &[Listen]) -> Options {
    let bound = addresses.iter().filter_map(|address| match address {
        Listen::Tcp(address) if !address.ip().is_unspecified() => Some(address.to_string()),
        Listen::Tcp(_) | Listen::Unix(_) => None,
    });
    let public = config.public_url.iter().map(crate::config::PublicUrl::authority);
    Options {
        data: config.data.clone(),
        durability: match config.durability {
            crate::config::Durability::PowerCut => crate::store::Durability::PowerCut,
            crate::config::Durability::Process => crate::store::Durability::Process,
        },
        cache_bytes: config.cache_size,
        public_url: base_url.to_owned(),
        config_file: None,
        own_hosts: bound.chain(public).chain(config.trusted_domains.iter().cloned()).collect(),
        client_version: config.client_version,
        auto_accept_shares: config.auto_accept_shares,
        signatures: config.signatures,
        remote_timeouts: config.remote_timeouts.clone(),
        trash: config.trash,
        versions: config.versions,
    }
}

/// URL before every root: the public one, else the first listener's.
pub fn base_url(config: &Config, addresses: &[Listen]) -> String {
    if let Some(url) = &config.public_url {
        return url.to_string();
    }
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let tcp = addresses.iter().find_map(|address| match address {
        Listen::Tcp(address) if address.ip().is_unspecified() => Some(format!("localhost:{}", address.port())),
        Listen::Tcp(address) => Some(address.to_string()),
        Listen::Unix(_) => None,
    });
    format!("{scheme}://{}", tcp.unwrap_or_else(|| "localhost".to_owned()))
}

/// What runs beside the requests.
fn background(tasks: &Tasks, services: &Services) {
    tasks.spawn(services.mounting().poll_loop(tasks.stopping()));
    let (watching, stopping) = (services.spaces().clone(), tasks.stopping());
    tasks.spawn(async move { watching.watch_loop(stopping.cancelled_owned()).await });
    let sweeping = services.clone();
    tasks.spawn_until_stop(async move {
        loop {
            tokio::time::sleep(SPACE_SWEEP_EVERY).await;
            // First, as the sweep collects the rows of what was purged: they tell what was purged.
            sweeping.mounting().detach_lost().await;
            sweeping.spaces().sweep().await;
            sweeping.uploads().sweep().await;
            sweeping.forest().detach_orphans().await;
        }
    });
    let links = services.clone();
    tasks.spawn_until_stop(async move {
        loop {
            tokio::time::sleep(LINK_SWEEP_EVERY).await;
            if let Err(error) = links.sharing().sweep().await {
                tracing::warn!(%error, "links could not be looked through");
            }
            if let Err(error) = links.shares().sweep().await {
                tracing::warn!(%error, "shares could not be looked through");
            }
        }
    });
    let federating = services.clone();
    tasks.spawn_until_stop(async move { federating.federation().run().await });
    let sent = services.clone();
    tasks.spawn_until_stop(async move { sent.federation().follow_ends().await });
    let trusting = services.clone();
    tasks.spawn_until_stop(async move { trusting.federation().follow_trusted().await });
    let asking = services.clone();
    tasks.spawn_until_stop(async move { asking.federation().follow_asked().await });
    let exporting = services.clone();
    tasks.spawn_until_stop(async move {
        loop {
            tokio::time::sleep(EXPORT_EVERY).await;
            if let Err(error) = exporting.export().await {
                tracing::error!(%error, "the daily export of the rows failed");
            }
        }
    });
}
