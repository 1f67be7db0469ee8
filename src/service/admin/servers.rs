//! Commands about other servers as partners: which are trusted, which take part, and how they learn of this one.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Outcome;
use crate::service::partners::{ListChange, Mode, Trusted};
use crate::service::refusal::Result;
use crate::service::{Refusal, Services};

/// What is asked for, through the control socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ServersCommand {
    /// Trusted servers.
    Trusted(TrustedCommand),
    /// Who takes part in federated sharing.
    Federation(FederationTerms),
    /// What administrators of oCIS and the like must add.
    OcmProviders,
    /// A server has another name.
    Rename {
        /// `host[:port]`.
        old: String,
        /// `host[:port]`.
        new: String,
        /// Without a proof that it is the same.
        force: bool,
    },
}

/// Trusted servers: on the command line, whose help these comments are.
#[derive(Debug, Clone, Serialize, Deserialize, Subcommand)]
pub enum TrustedCommand {
    /// Trust a server: it takes part in sharing whatever the mode, unless it is denied
    Add {
        /// host or host:port, with http:// before it for a server without TLS, and with its folder if it lives in one
        host: String,
        /// Take what its users share without asking the receivers; offers must be signed by it or come from its address
        #[arg(long)]
        auto_accept: bool,
    },
    /// Trust a server no longer; what was taken stays
    Remove {
        /// host or host:port, with http:// before it for a server without TLS, and with its folder if it lives in one
        host: String,
    },
    /// List the trusted servers
    List,
}

/// What is to change about who takes part; nothing shows what is. On the command line, whose help these comments are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, Args)]
pub struct FederationTerms {
    /// open: every server that is not denied; listed: only servers that are allowed or trusted
    #[arg(long)]
    pub mode: Option<Mode>,
    /// Let servers take part: host, host:port, or *.example.org for every name below
    #[arg(long, value_name = "HOST", num_args = 1..)]
    pub allow: Vec<String>,
    /// Exchange nothing with servers, mounts of their links included; this wins over everything
    #[arg(long, value_name = "HOST", num_args = 1..)]
    pub deny: Vec<String>,
    /// Take servers off both lists
    #[arg(long, value_name = "HOST", num_args = 1..)]
    pub forget: Vec<String>,
}

/// A trusted server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrustedRow {
    /// `[http://]host[:port][/folder]`.
    pub host: String,
    /// Whether what its users share is taken without asking.
    pub auto_accept: bool,
}

/// Who takes part in federated sharing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FederationRow {
    /// `open` or `listed`.
    pub mode: String,
    /// Who takes part in any mode.
    pub allow: Vec<String>,
    /// Who takes no part.
    pub deny: Vec<String>,
}

impl Services {
    /// Does a command about other servers as partners.
    pub(super) async fn servers(&self, command: ServersCommand) -> Result<Outcome> {
        match command {
            ServersCommand::Trusted(TrustedCommand::Add { host, auto_accept }) => {
                let host = self.policies().partners().trust(&host, Trusted { auto_accept }).await?;
                let how = if auto_accept { "; what its users share is taken without asking" } else { "" };
                Ok(Outcome::Done(format!("{host} is trusted from now on{how}")))
            }
            ServersCommand::Trusted(TrustedCommand::Remove { host }) => {
                let host = self.policies().partners().distrust(&host).await?;
                Ok(Outcome::Done(format!("{host} is not trusted any more; what was taken stays")))
            }
            ServersCommand::Trusted(TrustedCommand::List) => {
                let row = |(host, trusted): (&String, &Trusted)| TrustedRow { host: host.clone(), auto_accept: trusted.auto_accept };
                Ok(Outcome::Trusted(self.policies().partners().current().trusted.iter().map(row).collect()))
            }
            ServersCommand::Federation(terms) => self.take_part(terms).await,
            ServersCommand::OcmProviders => self.ocm_providers().map(Outcome::Document),
            ServersCommand::Rename { old, new, force } => {
                let moved = Box::pin(self.federation().rename_server(&old, &new, force)).await?;
                let trusts = if moved.trusts { ", and what was decided about it" } else { "" };
                Ok(Outcome::Done(format!(
                    "{old} is {new} now: {} mounts, {} offered and {} sent shares, {} messages moved{trusts}",
                    moved.mounts, moved.offers, moved.sent, moved.messages
                )))
            }
        }
    }

    async fn take_part(&self, terms: FederationTerms) -> Result<Outcome> {
        let FederationTerms { mode, allow, deny, forget } = terms;
        if mode.is_some() || !allow.is_empty() || !deny.is_empty() || !forget.is_empty() {
            let closed = self.mounting().closed();
            self.policies().partners().set(ListChange { mode, allow, deny, forget }).await?;
            self.mounting().look_again(&closed);
        }
        let lists = self.policies().partners().current();
        let texts = |all: &std::collections::BTreeSet<_>| all.iter().map(ToString::to_string).collect();
        Ok(Outcome::Federation(FederationRow { mode: lists.mode.to_string(), allow: texts(&lists.allow), deny: texts(&lists.deny) }))
    }

    /// What the administrator of oCIS, OpenCloud or CERNBox adds to `ocmproviders.json`, so that its users may share with ours (`protocol/ocm.md`
    /// 1.7). The file is a list of such entries.
    fn ocm_providers(&self) -> Result<String> {
        let public = &self.options().public_url;
        let domain = crate::domain::CloudId::at("anybody", public).map_err(|_error| Refusal::failed("the public URL is no address"))?;
        let service = |name: &str, what: &str, path: &str| {
            let domain = domain.authority();
            json!({
                "endpoint": {
                    "type": { "name": name, "description": format!("{domain} {what} API") },
                    "name": format!("{domain} - {what} API"),
                    "path": format!("{public}{path}"),
                    "is_monitored": false,
                },
                "api_version": "0.0.1",
                "host": format!("{public}/"),
            })
        };
        let entry = json!([{
            "name": domain.authority(),
            "full_name": domain.authority(),
            "organization": domain.authority(),
            "domain": domain.authority(),
            "homepage": public,
            "description": "Causeway",
            "services": [service("OCM", "Open Cloud Mesh", "/ocm/"), service("Webdav", "Webdav", "/remote.php/dav/ocm/")],
        }]);
        serde_json::to_string_pretty(&entry).map_err(|error| Refusal::failed(error.to_string()))
    }
}
