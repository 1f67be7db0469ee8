//! The configuration: one TOML file, the environment (`CAUSEWAY_*`) and flags, later ones winning; every value knows where it came from.
//!
//! **Invariant**: a key that is not in [`keys::KEYS`] is an error, wherever it stands, and the error names the nearest known one.

mod address;
mod keys;
mod layers;

use std::path::PathBuf;

use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::domain::{ClientVersion, Keep, Signing};
use crate::remote::Timeouts;

pub use address::{Listen, Network, PublicUrl};
pub use keys::{KEYS, Key};
pub use layers::{Layers, Setting, Source};

/// Why a configuration cannot be used. The texts are for the administrator, whose own words they repeat.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key that does not exist.
    #[error("unknown key `{key}` in {place}{}", nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    UnknownKey {
        /// What was written.
        key: String,
        /// Where.
        place: String,
        /// The nearest key that does exist.
        nearest: Option<&'static str>,
    },
    /// A value that cannot be read.
    #[error("{place}: `{key}` {problem}")]
    Value {
        /// Which key.
        key: &'static str,
        /// Where the value came from.
        place: String,
        /// What is wrong with it, and what it should look like.
        problem: String,
    },
    /// The file cannot be opened.
    #[error("cannot read the configuration file {}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not valid TOML: {message}", file.display())]
    Syntax {
        /// Which file.
        file: PathBuf,
        /// What the parser says.
        message: String,
    },
    /// Two values do not go together.
    #[error("{0}")]
    Together(&'static str),
}

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// When it survives a power cut.
    PowerCut,
    /// When it survives the end of the process; the operating system writes later.
    Process,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Certificate chain and private key of the server, PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The effective configuration of one server.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// The URL by which others reach this server.
    pub public_url: Option<PublicUrl>,
    /// Further host names of this server.
    pub trusted_domains: Vec<String>,
    /// Networks whose `Forwarded` and `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// TLS, where it is wanted.
    pub tls: Option<TlsFiles>,
    /// Filter of the log, as `tracing` reads it.
    pub log_level: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Umask of the process.
    pub umask: u32,
    /// When a write counts as done.
    pub durability: Durability,
    /// Cache of the store, in bytes.
    pub cache_size: u64,
    /// Largest upload, in bytes; none is unlimited.
    pub upload_max: Option<u64>,
    /// What of the deleted is kept.
    pub trash: Keep,
    /// What of the overwritten is kept.
    pub versions: Keep,
    /// Whether what is shared with users appears in their trees at once.
    pub auto_accept_shares: bool,
    /// Whether calls between servers are signed.
    pub signatures: Signing,
    /// Most connections at once.
    pub connections_max: usize,
    /// The version that sync clients are told.
    pub client_version: ClientVersion,
    /// How long other servers may take. No key sets it; tests cannot wait as long as users must.
    pub remote_timeouts: Timeouts,
}

impl Config {
    /// A configuration with defaults for a data folder: for tests and the demo.
    pub fn for_data(data: impl Into<PathBuf>) -> Config {
        Config {
            data: data.into(),
            listen: vec![Listen::loopback_any_port()],
            public_url: None,
            trusted_domains: Vec::new(),
            trusted_proxies: Vec::new(),
            tls: None,
            log_level: "info".to_owned(),
            log_format: LogFormat::Text,
            umask: 0o027,
            durability: Durability::PowerCut,
            cache_size: 8 << 20,
            upload_max: None,
            trash: Keep::TRASH,
            versions: Keep::VERSIONS,
            auto_accept_shares: true,
            signatures: Signing::Off,
            connections_max: 4096,
            client_version: ClientVersion::DEFAULT,
            remote_timeouts: Timeouts::default(),
        }
    }

    /// Reads the merged layers.
    pub fn from_layers(layers: &Layers) -> Result<Config, Error> {
        let tls = match (layers.path("tls_cert")?, layers.path("tls_key")?) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err(Error::Together("`tls_cert` is given without `tls_key`; TLS needs both")),
            (None, Some(_)) => return Err(Error::Together("`tls_key` is given without `tls_cert`; TLS needs both")),
        };
        Ok(Config {
            data: layers.path("data")?.unwrap_or_else(|| PathBuf::from("davroot")),
            listen: layers.list("listen", Listen::parse)?,
            public_url: layers.one("public_url", PublicUrl::parse)?,
            trusted_domains: layers.list("trusted_domains", |text| Ok(text.to_ascii_lowercase()))?,
            trusted_proxies: layers.list("trusted_proxies", Network::parse)?,
            tls,
            log_level: layers.one("log_level", log_level)?.unwrap_or_else(|| "info".to_owned()),
            log_format: layers.one("log_format", log_format)?.unwrap_or(LogFormat::Text),
            umask: layers.one("umask", umask)?.unwrap_or(0o027),
            durability: layers.one("durability", durability)?.unwrap_or(Durability::PowerCut),
            cache_size: layers.one("cache_size", bytes)?.unwrap_or(8 << 20),
            upload_max: layers.one("upload_max", bytes)?,
            trash: Keep {
                max_age: layers.one("trash_max_age", age)?.unwrap_or(Keep::TRASH.max_age),
                max_share: layers.one("trash_max_share", percent)?.unwrap_or(Keep::TRASH.max_share),
            },
            versions: Keep {
                max_age: layers.one("versions_max_age", age)?.unwrap_or(Keep::VERSIONS.max_age),
                max_share: layers.one("versions_max_share", percent)?.unwrap_or(Keep::VERSIONS.max_share),
            },
            auto_accept_shares: layers.one("auto_accept_shares", switch)?.unwrap_or(true),
            signatures: layers.one("federation_signatures", signing)?.unwrap_or_default(),
            connections_max: layers.one("connections_max", count)?.unwrap_or(4096),
            client_version: layers.one("client_version", client_version)?.unwrap_or(ClientVersion::DEFAULT),
            remote_timeouts: Timeouts::default(),
        })
    }
}

fn log_level(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text)
        .map(|_filter| text.to_owned())
        .map_err(|_error| "is a level (error, warn, info, debug, trace) or a list such as `info,causeway::remote=debug`".to_owned())
}

/// What is logged at a `log_level`. A bare level is ours: the crates below say little that helps. The store's engine, which writes whole rows
/// into its log, and so the secrets in them, never says more than warnings, whatever was asked for (attack F6).
pub fn log_filter(level: &str) -> EnvFilter {
    let plain = level.bytes().all(|byte| byte.is_ascii_alphabetic());
    let wanted = if plain {
        format!("warn,causeway={level}")
    } else {
        let parts = level.split(',').filter(|part| !part.trim_start().starts_with("sled"));
        parts.chain(["sled=warn"]).collect::<Vec<_>>().join(",")
    };
    EnvFilter::try_new(wanted).unwrap_or_else(|_error| EnvFilter::new("info"))
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is `text` or `json`".to_owned()),
    }
}

fn umask(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text.trim_start_matches("0o"), 8)
        .ok()
        .filter(|mask| *mask <= 0o777)
        .ok_or_else(|| "is an octal number in quotes such as \"027\"".to_owned())
}

fn durability(text: &str) -> Result<Durability, String> {
    match text {
        "power-cut" => Ok(Durability::PowerCut),
        "process" => Ok(Durability::Process),
        _ => Err("is `power-cut` or `process`".to_owned()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    crate::domain::parse_bytes(text).ok_or_else(|| "is a size such as `8MiB`".to_owned())
}

fn age(text: &str) -> Result<i64, String> {
    crate::domain::parse_age(text).ok_or_else(|| "is an age such as `30d` or `12h`, or 0".to_owned())
}

fn percent(text: &str) -> Result<u8, String> {
    text.parse().ok().filter(|percent| *percent <= 100).ok_or_else(|| "is a number of percent, 0 to 100".to_owned())
}

fn client_version(text: &str) -> Result<ClientVersion, String> {
    ClientVersion::parse(text).ok_or_else(|| "is three or four numbers such as \"32.0.1.2\"".to_owned())
}

fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_error| "is true or false".to_owned())
}

fn signing(text: &str) -> Result<Signing, String> {
    match text {
        "off" => Ok(Signing::Off),
        "on" => Ok(Signing::On),
        "required" => Ok(Signing::Required),
        _ => Err("is `off`, `on` or `required`".to_owned()),
    }
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "is a number above 0".to_owned())
}

#[cfg(test)]
mod tests;
