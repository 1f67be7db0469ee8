//! The commands. They talk to the server that runs on the data folder, or open the folder themselves when none does.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 remote unreachable, 5 refused.

mod args;
mod demo;
mod demo_tls;
mod doctor;
mod manage;
mod output;
mod people;
mod secrets;
mod serve;
mod settings;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use self::args::{Args, Verb};
use self::output::Out;
use crate::service::Refusal;
use crate::service::admin::{Command, ServersCommand};

/// Why a command ends without having done its work.
#[derive(Debug)]
enum Failure {
    /// A refusal with its exit code.
    Refused(Refusal),
    /// Anything else.
    Other(anyhow::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Other(error)
    }
}

/// Runs the program with these arguments, the first of which is its name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // clap chooses stdout for --help and --version, and stderr with exit code 2 for the rest. A closed pipe is nobody's fault.
            let _printed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let out = Out::new(args.json);
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(error.into()))
        .and_then(|runtime| runtime.block_on(dispatch(args, &out)));
    match outcome {
        Ok(code) => code,
        Err(Failure::Refused(refusal)) => {
            out.error(&refusal.text);
            ExitCode::from(refusal.reason.exit_code())
        }
        Err(Failure::Other(error)) => {
            out.error(&format!("{error:#}"));
            ExitCode::from(1)
        }
    }
}

async fn dispatch(args: Args, out: &Out) -> Result<ExitCode, Failure> {
    let settings = settings::read(&args)?;
    match args.verb {
        Verb::Serve(_) => serve::serve(settings, out).await?,
        Verb::Demo(demo) => Box::pin(demo::demo(&demo, out)).await?,
        Verb::Doctor { url, password } => return doctor::doctor(&settings, url, password, out).await,
        Verb::Config(command) => settings::config(&settings, &command, out)?,
        Verb::Restore { folder } => manage::restore(&settings, &folder, out)?,
        Verb::User(command) => manage::user(&settings, command, out).await?,
        Verb::Group(command) => manage::print(&settings, Command::Group(command), out).await?,
        Verb::Share(command) => manage::print(&settings, Command::Share(command), out).await?,
        Verb::Invite(command) => manage::print(&settings, Command::Invite(command), out).await?,
        Verb::Contact(command) => manage::print(&settings, Command::Contact(command), out).await?,
        Verb::Link(command) => manage::link(&settings, command, out).await?,
        Verb::Mount(command) => manage::mount(&settings, command, out).await?,
        Verb::Trash(command) => manage::print(&settings, command.into(), out).await?,
        Verb::Remote(command) => manage::remote(&settings, command, out).await?,
        Verb::Sharing(command) => {
            let command = match command {
                args::SharingVerb::Show => Command::Sharing { set: None },
                args::SharingVerb::Set { rule, value } => Command::Sharing { set: Some((rule, value)) },
                args::SharingVerb::Federation(terms) => Command::Servers(ServersCommand::Federation(terms)),
            };
            manage::print(&settings, command, out).await?;
        }
        Verb::Maintenance { what } => manage::maintenance(&settings, what, out).await?,
        Verb::Scan { user } => manage::scan(&settings, user, out).await?,
        Verb::Backup { folder } => manage::backup(&settings, &folder, out).await?,
    }
    Ok(ExitCode::SUCCESS)
}
