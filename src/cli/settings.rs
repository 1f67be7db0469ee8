//! The configuration of a command: defaults, file, environment, flags.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::Failure;
use super::args::{Args, ConfigVerb, Verb};
use super::output::Out;
use crate::config::{Config, Layers};
use crate::server::{base_url, service_options, tls};
use crate::service::setup::state_folder;
use crate::service::{Options, Refusal};

/// What a command works with.
#[derive(Debug)]
pub(super) struct Settings {
    /// The effective configuration.
    pub(super) config: Config,
    /// Where its values came from.
    pub(super) layers: Layers,
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
}

impl Settings {
    /// How services are opened without a server.
    pub(super) fn options(&self) -> Options {
        let url = base_url(&self.config, &self.config.listen);
        Options { config_file: self.file.clone(), ..service_options(&self.config, &url, &self.config.listen) }
    }
}

/// Reads every layer.
pub(super) fn read(args: &Args) -> Result<Settings, Failure> {
    let mut layers = Layers::defaults();
    let file = file(args)?;
    let usage = |error: crate::config::Error| {
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text = format!("{text}: {source}");
        }
        Failure::Refused(Refusal::usage(text))
    };
    if let Some(file) = &file {
        layers.file(file).map_err(usage)?;
    }
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    layers.environment(variables).map_err(usage)?;
    let text = |path: &PathBuf| path.display().to_string();
    layers.flag("data", args.data.iter().map(text).collect());
    if let Verb::Serve(serve) = &args.verb {
        layers.flag("listen", serve.listen.clone());
        layers.flag("trusted_proxies", serve.trusted_proxies.clone());
        let single = [
            ("public_url", &serve.public_url),
            ("tls_cert", &serve.tls_cert),
            ("tls_key", &serve.tls_key),
            ("log_level", &serve.log_level),
            ("log_format", &serve.log_format),
            ("umask", &serve.umask),
            ("durability", &serve.durability),
        ];
        single.into_iter().for_each(|(name, value)| layers.flag(name, value.iter().cloned().collect()));
    }
    let config = Config::from_layers(&layers).map_err(usage)?;
    Ok(Settings { config, layers, file })
}

/// The file that was named, or the one in the data folder, if it is there.
fn file(args: &Args) -> Result<Option<PathBuf>, Failure> {
    if let Some(file) = args.config.clone().or_else(|| std::env::var_os("CAUSEWAY_CONFIG").map(PathBuf::from)) {
        // Messages and relative paths in the file need its whole name.
        return Ok(Some(std::path::absolute(&file).with_context(|| format!("{} is no file name", file.display()))?));
    }
    let data = args.data.clone().or_else(|| std::env::var_os("CAUSEWAY_DATA").map(PathBuf::from));
    let file = state_folder(&data.unwrap_or_else(|| Path::new("davroot").to_owned())).join("causeway.toml");
    Ok(file.is_file().then_some(file))
}

/// `config show` and `config check`.
pub(super) fn config(settings: &Settings, command: &ConfigVerb, out: &Out) -> Result<(), Failure> {
    match command {
        ConfigVerb::Show if out.is_json() => {
            let rows = settings.layers.effective().map(|(key, setting)| {
                let value = if key.many { json!(setting.values) } else { json!(setting.values.last()) };
                json!({ "key": key.name, "value": value, "source": setting.source.to_string() })
            });
            out.json(&rows.collect::<Vec<_>>());
        }
        ConfigVerb::Show => {
            let rows = settings.layers.effective().map(|(key, setting)| {
                let value = if setting.values.is_empty() { "-".to_owned() } else { setting.values.join(", ") };
                vec![key.name.to_owned(), value, setting.source.to_string(), key.help.to_owned()]
            });
            out.table(&["KEY", "VALUE", "FROM", "MEANING"], rows);
        }
        ConfigVerb::Check => {
            if let Some(files) = &settings.config.tls {
                tls::Certificate::load(files).context("the certificate cannot be used")?;
            }
            out.line("the configuration is sound");
        }
    }
    Ok(())
}
