//! Accounts, links, mounts, remotes, scans and backups: through the running server, or alone with the data folder.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::Failure;
use super::args::{LinkVerb, MaintenanceVerb, MountVerb, RemoteVerb, TermArgs, UserVerb};
use super::output::Out;
use super::secrets::{can_ask, known_password, new_password};
use super::settings::Settings;
use crate::domain::{Clock, Secret};
use crate::server::{control, tls};
use crate::service::admin::{AccountCommand, Command, LinkTerms, Outcome, ServersCommand};
use crate::service::setup::state_folder;
use crate::service::{OpenError, Reason, Refusal, Services};
use crate::store;

/// How long a command waits for a server that is starting or stopping.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// Does a command, wherever it can be done.
pub(super) async fn execute(settings: &Settings, command: Command) -> Result<Outcome, Refusal> {
    let data = &settings.config.data;
    let makes_the_folder = matches!(command, Command::UserAdd { .. });
    if !makes_the_folder && !data.is_dir() {
        let text = format!("there is no data folder {}; name it with --data, or make it with `causeway serve`", data.display());
        return Err(Refusal::not_found(text));
    }
    let mut waited = Duration::ZERO;
    loop {
        if let Some(answer) = control::send(data, &command).await {
            return answer;
        }
        own_folder(data)?;
        match Services::open(settings.options(), Clock::System).await {
            Ok(services) => {
                let outcome = services.execute(command).await;
                services.close().await;
                return outcome;
            }
            // A server that holds the folder but does not listen yet, or no longer.
            Err(OpenError::InUse(_)) if waited < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            Err(error) => return Err(Refusal::failed(chain(&error))),
        }
    }
}

/// Refuses to write as somebody else than the server: what root makes here, the server's user could not open later.
fn own_folder(data: &Path) -> Result<(), Refusal> {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(meta) = std::fs::metadata(state_folder(data)) else { return Ok(()) };
    let own = rustix::process::geteuid().as_raw();
    if meta.uid() == own {
        return Ok(());
    }
    let text = "the data folder belongs to the user with the number {owner}: start the server, or run this as that user (`sudo -u '#{owner}' causeway …`)";
    Err(Refusal::refused(text.replace("{owner}", &meta.uid().to_string())))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Does a command and prints what came of it.
pub(super) async fn print(settings: &Settings, command: Command, out: &Out) -> Result<(), Failure> {
    out.outcome(&execute(settings, command).await?);
    Ok(())
}

fn about(name: String, what: AccountCommand) -> Command {
    Command::Account { name, what }
}

/// `causeway user …`
pub(super) async fn user(settings: &Settings, verb: UserVerb, out: &Out) -> Result<(), Failure> {
    let command = match verb {
        UserVerb::Add { name, admin, display_name, quota, password } => {
            let password = new_password(password.password_stdin, &name)?;
            Command::UserAdd { name, admin, display_name, quota, password }
        }
        UserVerb::List => Command::UserList,
        UserVerb::Password { name, password } => {
            let password = new_password(password.password_stdin, &name)?;
            Command::UserPassword { name, password }
        }
        UserVerb::AppPassword { name, label } => Command::UserAppPassword { name, label },
        UserVerb::AppPasswords { name } => about(name, AccountCommand::AppPasswords),
        UserVerb::Revoke { name, id } => about(name, AccountCommand::Revoke { id }),
        UserVerb::Enable { name } => about(name, AccountCommand::Enable(true)),
        UserVerb::Disable { name } => about(name, AccountCommand::Enable(false)),
        UserVerb::Quota { name, size } => about(name, AccountCommand::Quota(size.0)),
        UserVerb::DisplayName { name, display_name } => about(name, AccountCommand::DisplayName(display_name)),
        UserVerb::Email { name, address } => about(name, AccountCommand::Email(address)),
        UserVerb::Remove { name, purge } => Command::UserRemove { name, purge },
    };
    print(settings, command, out).await
}

fn terms(terms: TermArgs) -> Result<LinkTerms, Refusal> {
    let protect = terms.password || terms.password_stdin;
    Ok(LinkTerms {
        permissions: terms.permissions.map(super::args::Rights::word),
        password: if protect { Some(new_password(terms.password_stdin, "the link")?) } else { None },
        expires: terms.expires,
        label: terms.label,
        downloads: terms.downloads,
    })
}

/// `causeway link …`
pub(super) async fn link(settings: &Settings, verb: LinkVerb, out: &Out) -> Result<(), Failure> {
    let command = match verb {
        LinkVerb::Create { user, path, terms: given } => Command::LinkCreate { user, path, terms: terms(given)? },
        LinkVerb::List { user } => Command::LinkList { user },
        LinkVerb::Update { id, terms: given, no_password, no_expiry } => {
            let mut terms = terms(given)?;
            if no_password {
                terms.password = Some(Secret::default());
            }
            if no_expiry {
                terms.expires = Some(String::new());
            }
            Command::LinkUpdate { id, terms }
        }
        LinkVerb::Remove { id } => Command::LinkRemove { id },
    };
    print(settings, command, out).await
}

/// `causeway mount …`
pub(super) async fn mount(settings: &Settings, verb: MountVerb, out: &Out) -> Result<(), Failure> {
    let command = match verb {
        MountVerb::Add { user, url, name, password } => {
            let password = if password.password_stdin { Some(known_password(true, "the link")?) } else { None };
            return add_mount(settings, user, url, name, password, out).await;
        }
        MountVerb::List { user } => Command::MountList { user },
        MountVerb::Retry { id } => Command::MountRetry { id },
        MountVerb::Password { id, password } => {
            Command::MountPassword { password: known_password(password.password_stdin, "the link")?, id }
        }
        MountVerb::Rename { id, name } => Command::MountRename { id, name },
        MountVerb::Remove { id } => Command::MountRemove { id },
    };
    print(settings, command, out).await
}

/// Tries without a password first, and asks for one when the remote wants it.
async fn add_mount(
    settings: &Settings,
    user: String,
    url: String,
    name: Option<String>,
    password: Option<Secret>,
    out: &Out,
) -> Result<(), Failure> {
    let given = password.is_some();
    let command = |password| Command::MountAdd { user: user.clone(), url: url.clone(), name: name.clone(), password };
    let outcome = match execute(settings, command(password)).await {
        Err(refusal) if refusal.reason == Reason::NeedsPassword && !given && can_ask() => {
            execute(settings, command(Some(known_password(false, "the link")?))).await?
        }
        other => other?,
    };
    out.outcome(&outcome);
    Ok(())
}

/// `causeway remote …`
pub(super) async fn remote(settings: &Settings, verb: RemoteVerb, out: &Out) -> Result<(), Failure> {
    let command = match verb {
        RemoteVerb::List => Command::RemoteList,
        RemoteVerb::Trust { host, fingerprint, ca } => {
            let authorities = ca.as_deref().map(authorities).transpose()?.unwrap_or_default();
            Command::RemoteTrust { host, fingerprint, authorities }
        }
        RemoteVerb::AllowPrivate { host } => Command::RemoteAllowPrivate { host },
        RemoteVerb::ForgetKey { host } => Command::RemoteForgetKey { host },
        RemoteVerb::Remove { host } => Command::RemoteRemove { host },
        RemoteVerb::Trusted(command) => Command::Servers(ServersCommand::Trusted(command)),
        RemoteVerb::Ocmproviders => Command::Servers(ServersCommand::OcmProviders),
        RemoteVerb::Rename { old, new, force } => Command::Servers(ServersCommand::Rename { old, new, force }),
    };
    print(settings, command, out).await
}

fn authorities(file: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let found = tls::certificates_in(&text);
    if found.is_empty() {
        return Err(Refusal::usage(format!("{} holds no certificate in PEM form (BEGIN CERTIFICATE)", file.display())).into());
    }
    Ok(found)
}

/// `causeway scan`
pub(super) async fn scan(settings: &Settings, user: Option<String>, out: &Out) -> Result<(), Failure> {
    print(settings, Command::Scan { user }, out).await
}

/// `causeway maintenance`
pub(super) async fn maintenance(settings: &Settings, what: MaintenanceVerb, out: &Out) -> Result<(), Failure> {
    let on = match what {
        MaintenanceVerb::On => Some(true),
        MaintenanceVerb::Off => Some(false),
        MaintenanceVerb::Status => None,
    };
    print(settings, Command::Maintenance { on }, out).await
}

/// `causeway backup`
pub(super) async fn backup(settings: &Settings, folder: &Path, out: &Out) -> Result<(), Failure> {
    // The server has another working folder.
    let folder = std::path::absolute(folder).context("the folder has no absolute name")?;
    print(settings, Command::Backup { folder: folder.display().to_string() }, out).await
}

/// `causeway restore`
pub(super) fn restore(settings: &Settings, folder: &Path, out: &Out) -> Result<(), Failure> {
    let options = settings.options();
    let store = store::Options { cache_bytes: options.cache_bytes, durability: options.durability, export: None, clock: Clock::System };
    let aside = crate::service::backup::restore(&options.data, folder, &store)?;
    out.line(&format!("restored; what was there before is in {}", aside.display()));
    Ok(())
}
