//! `causeway serve`.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::output::Out;
use super::settings::Settings;
use crate::config::{Config, LogFormat, log_filter};
use crate::server::{Server, StartError};
use crate::service::Refusal;

/// Serves until SIGTERM or SIGINT; a second one ends at once.
pub(super) async fn serve(settings: Settings, out: &Out) -> Result<(), Failure> {
    log_to_stderr(&settings.config);
    let mask = rustix::fs::Mode::from_raw_mode(settings.config.umask);
    // The old mask is nobody's concern.
    let _old = rustix::process::umask(mask);
    let mut stop = Stop::new()?;
    let running = Server::start_with(settings.config, crate::domain::Clock::System, settings.file).await.map_err(refused)?;
    for url in running.urls() {
        out.line(&format!("listening on {url}"));
    }
    if let Some(file) = &running.setup_code {
        out.line(&format!(
            "nobody may administer this server yet: `causeway user add NAME --admin` does that; the set-up code is in {}",
            file.display()
        ));
    }
    stop.wait().await;
    tokio::select! {
        _finished = running.stop() => {}
        () = stop.wait() => tracing::warn!("stopped without waiting"),
    }
    Ok(())
}

/// Refusals of a start say what to do; their causes follow.
pub(super) fn refused(error: StartError) -> Failure {
    let error = anyhow::Error::from(error);
    Failure::Refused(Refusal::failed(format!("{error:#}")))
}

/// The signals that end a server.
pub(super) struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    /// Listens from now on.
    pub(super) fn new() -> Result<Stop, Failure> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Stop { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Log lines go to standard error; standard output is for what a program may wait for.
fn log_to_stderr(config: &Config) {
    let log = tracing_subscriber::fmt().with_env_filter(log_filter(&config.log_level)).with_writer(std::io::stderr);
    // Somebody else's logger in this process stays.
    let _set = match config.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
