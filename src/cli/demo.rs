//! `causeway demo`: two servers over TLS in this process, a link of one mounted in the other, and lines to paste.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::Failure;
use super::args::DemoArgs;
use super::demo_tls::{Made, make};
use super::output::Out;
use super::serve::{Stop, refused};
use crate::config::Config;
use crate::domain::{Clock, Kind, RemoteTrust, Secret, TreePath, Vendor};
use crate::remote::{Credentials, Names, Policy, Remotes, Share, Timeouts};
use crate::server::{Running, Server};
use crate::service::admin::{Command, LinkTerms, Outcome};
use crate::service::{Refusal, random_password};
use crate::wire::Via;

/// A folder that is gone when the demo ends.
struct Folder(PathBuf);

impl Folder {
    fn make() -> anyhow::Result<Folder> {
        let suffix: String = random_password()?.expose().chars().filter(char::is_ascii_alphanumeric).take(10).collect();
        let path = std::env::temp_dir().join(format!("causeway-demo-{suffix}"));
        std::fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the demo's folder could not be removed");
        }
    }
}

/// One of the two servers and its user.
struct Side {
    running: Running,
    user: &'static str,
    password: Secret,
}

/// Runs until Ctrl-C.
pub(super) async fn demo(args: &DemoArgs, out: &Out) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    let folder = Folder::make()?;
    let tls = make(&folder.0)?;
    write_samples(&folder.0)?;
    let alice = side("alice", &folder.0, &tls).await?;
    let bob = side("bob", &folder.0, &tls).await?;
    let shown = Box::pin(connect(&alice, &bob, &tls)).await;
    if let Ok(link) = &shown {
        explain(out, &alice, &bob, &tls, link);
        out.line("ready");
        if !args.check {
            stop.wait().await;
            out.line("stopping");
        }
    }
    bob.running.stop().await;
    alice.running.stop().await;
    shown.map(|_link| ())
}

fn write_samples(folder: &Path) -> anyhow::Result<()> {
    let files = [
        ("alice-server/alice/Photos/lake.txt", "A lake, early in the morning.\n"),
        ("alice-server/alice/Photos/2026/harbour.txt", "The harbour, in the rain.\n"),
        ("alice-server/alice/Notes/today.txt", "Share the photos with Bob.\n"),
        ("bob-server/bob/Letters/draft.txt", "Dear Alice,\n"),
    ];
    for (file, text) in files {
        let file = folder.join(file);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(file, text)?;
    }
    Ok(())
}

async fn side(user: &'static str, folder: &Path, tls: &Made) -> Result<Side, Failure> {
    let config = Config { tls: Some(tls.files.clone()), ..Config::for_data(folder.join(format!("{user}-server"))) };
    let running = Server::start(config).await.map_err(refused)?;
    let password = random_password().map_err(Refusal::from)?;
    let add = Command::UserAdd { name: user.to_owned(), admin: true, display_name: None, quota: None, password: password.clone() };
    running.services.execute(add).await?;
    Ok(Side { running, user, password })
}

/// Shares on one side, mounts on the other, and looks through the mount once: what is printed works.
async fn connect(alice: &Side, bob: &Side, tls: &Made) -> Result<String, Failure> {
    let terms = LinkTerms { permissions: Some("edit".to_owned()), ..LinkTerms::default() };
    let create = Command::LinkCreate { user: alice.user.to_owned(), path: "/Photos".to_owned(), terms };
    let Outcome::Link(link) = alice.running.services.execute(create).await? else {
        return Err(Refusal::failed("the link was not made").into());
    };
    let host = alice.host();
    let trust = Command::RemoteTrust { host: host.clone(), fingerprint: None, authorities: vec![tls.authority_der.clone()] };
    bob.running.services.execute(trust).await?;
    bob.running.services.execute(Command::RemoteAllowPrivate { host }).await?;
    let add = Command::MountAdd { user: bob.user.to_owned(), url: link.url.clone(), name: Some("From Alice".to_owned()), password: None };
    bob.running.services.execute(add).await?;
    let names = bob.look(tls).await.context("the mounted folder cannot be listed through bob's server")?;
    if !names.contains(&"lake.txt".to_owned()) {
        return Err(anyhow::anyhow!("bob does not see alice's file, but {names:?}").into());
    }
    Ok(link.url)
}

impl Side {
    fn host(&self) -> String {
        self.running.base_url.trim_start_matches("https://").to_owned()
    }

    fn dav(&self) -> String {
        format!("{}/remote.php/webdav/", self.running.base_url)
    }

    /// Lists the mounted folder as any client would: over TLS, with name and password.
    async fn look(&self, tls: &Made) -> anyhow::Result<Vec<String>> {
        let host = self.host();
        let trust = vec![RemoteTrust { host, fingerprints: Vec::new(), authorities: vec![tls.authority_der.clone()], allow_private: true }];
        let remotes = Remotes::new(Policy { instance_id: "demo".to_owned(), trust, names: Names::System }, Timeouts::default());
        let credentials = Credentials::basic(Secret::new(self.user), self.password.clone());
        let share = Share::new(remotes, &self.dav(), Some(credentials), Vendor::Other, Kind::Collection)?;
        let listing = share.list(&Via::default(), &TreePath::parse("From Alice")?).await?;
        if listing.members.is_empty() {
            bail!("it is empty");
        }
        Ok(listing.members.into_iter().map(|(name, _)| name.to_string()).collect())
    }
}

fn explain(out: &Out, alice: &Side, bob: &Side, tls: &Made, link: &str) {
    let ca = tls.authority.display();
    let (url, password) = (bob.dav(), bob.password.expose());
    let davs = url.replacen("https:", "davs:", 1);
    let lines = [
        format!("alice  {}  password {}", alice.dav(), alice.password.expose()),
        format!("bob    {url}  password {password}"),
        format!("alice shares /Photos by {link}; on bob's server it is the folder `From Alice`."),
        format!("The servers' certificate authority is {ca} (since {}).", today()),
        String::new(),
        "curl:".to_owned(),
        format!("  curl --cacert {ca} -u bob:{password} '{url}From%20Alice/lake.txt'"),
        format!("  echo hello | curl --cacert {ca} -u bob:{password} -T - '{url}From%20Alice/hello.txt'"),
        "rclone:".to_owned(),
        format!(
            "  rclone --ca-cert {ca} --webdav-url {url} --webdav-user bob --webdav-pass \"$(rclone obscure {password})\" lsf -R :webdav:"
        ),
        "cadaver (accept the certificate, or give ca.pem to your system):".to_owned(),
        format!("  cadaver {url}"),
        "file managers (GNOME Files; after the authority is in your system's store):".to_owned(),
        format!("  {davs}"),
        String::new(),
    ];
    lines.iter().for_each(|line| out.line(line));
    out.line("Ctrl-C stops both servers and removes everything.");
}

fn today() -> String {
    chrono::DateTime::from_timestamp(Clock::System.now(), 0).map(|now| now.format("%H:%M:%S UTC").to_string()).unwrap_or_default()
}
