//! The load driver of `scripts/bench`: one workload against one WebDAV server, as one JSON line.
//!
//! It measures what users wait for (GET, PUT, PROPFIND) and what that costs the server: processor time of the
//! server's processes, split into user and kernel, and their peak memory. Every answer is checked, so that a fast
//! wrong answer counts as a failure. It talks to loopback only, and every run is bounded in count and in time.
//!
//! One thread drives all connections: on a small machine the driver must not take the cores of the server. The
//! share of one core that the driver itself used is reported beside each figure, because a driver near 100 % is
//! what was measured then.

mod content;
mod http;
mod multistatus;
mod process;
mod run;
mod table;
mod tls;
mod workload;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Drives a WebDAV server on this machine and prints what it measured.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one workload and print one line of JSON.
    Run(Box<run::Options>),
    /// Make the tree that every server serves.
    Prepare {
        /// Folder to fill; it is created.
        #[arg(long)]
        dir: PathBuf,
        /// Size of the big file.
        #[arg(long, default_value_t = content::BIG_BYTES)]
        big_bytes: u64,
    },
    /// Write a self-signed certificate for loopback: `cert.pem` and `key.pem`.
    Cert {
        /// Folder for the two files.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Print a loopback port that is free now, for servers that cannot take port 0.
    Port,
    /// Read the JSON lines of many runs and print medians and ratios.
    Table(table::Options),
}

fn main() -> Result<()> {
    // `cargo bench` and `cargo test --benches` start every bench: without a workload there is nothing to measure.
    if std::env::args().skip(1).all(|arg| arg == "--bench" || arg == "--test") {
        return say("load: nothing to do without a server; scripts/bench starts servers and runs this driver");
    }
    match Cli::parse().command {
        Command::Run(options) => say(&serde_json::to_string(&run::run(&options)?)?),
        Command::Prepare { dir, big_bytes } => content::prepare(&dir, big_bytes),
        Command::Cert { dir } => tls::write_certificate(&dir),
        Command::Port => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            say(&listener.local_addr()?.port().to_string())
        }
        Command::Table(options) => say(&table::table(&options)?),
    }
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}
