//! What is wrong with this server, or with a link: one line for each thing that was looked at.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::Url;

use super::Services;
use super::admin::CheckRow;
use super::sharing::permissions_word;
use crate::domain::{Kind, Permissions, Secret, Timestamp, TreePath, Vendor};
use crate::remote::{Credentials, Probe, ProbeFault, Remotes, Share};
use crate::wire::Via;

/// Free space below which a server is in danger, in bytes.
const FREE_BYTES_LOW: u64 = 1 << 30;
/// A clock before this is wrong: 2026-01-01.
const CLOCK_EARLIEST: Timestamp = 1_767_225_600;
const STAGE_PATIENCE: Duration = Duration::from_secs(10);

impl Services {
    /// Looks at the data folder, the store, the homes and the clock.
    pub async fn check_server(&self) -> Vec<CheckRow> {
        let mut rows = vec![
            CheckRow::ok("data folder", format!("{} can be written", self.data().display())),
            private("state folder", &self.state_folder(), 0o700),
            private("key", &self.state_folder().join("keys/secret.key"), 0o600),
            free_disk(self.data()),
            match self.store().recovery() {
                None => CheckRow::ok("store", "the rows could be read"),
                Some(recovery) => CheckRow::warning("store", format!("the rows were rebuilt: {}", recovery.cause)),
            },
            self.clock_row(),
            self.users_row(),
        ];
        let strangers = self.strangers();
        if !strangers.is_empty() {
            let names = strangers.join(", ");
            rows.push(CheckRow::warning("folders", format!("nobody's: {names}; `causeway user add NAME` takes a folder of that name in")));
        }
        for user in self.accounts().list() {
            let name = format!("home of {}", user.name);
            rows.push(match self.spaces().scan(user.space).await {
                Ok(report) if report.skipped.is_empty() => CheckRow::ok(name, "every file can be listed"),
                Ok(report) => CheckRow::warning(name, format!("not listed: {}", report.skipped.join("; "))),
                Err(error) => CheckRow::failed(name, error.to_string()),
            });
        }
        rows
    }

    fn users_row(&self) -> CheckRow {
        let count = self.accounts().list().len();
        match (count, self.accounts().has_admin()) {
            (0, _) => CheckRow::warning("users", "there is none yet; `causeway user add NAME --admin` adds one"),
            (_, false) => CheckRow::warning("users", format!("{count}, none of whom may administer the server")),
            (_, true) => CheckRow::ok("users", count.to_string()),
        }
    }

    fn clock_row(&self) -> CheckRow {
        let now = self.clock().now();
        // The folder changed when the store was opened: a clock that stands before that was set back.
        let last = std::fs::metadata(self.state_folder()).and_then(|meta| meta.modified()).ok();
        let last =
            last.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).and_then(|since| i64::try_from(since.as_secs()).ok());
        if now < CLOCK_EARLIEST || last.is_some_and(|last| last > now.saturating_add(300)) {
            return CheckRow::failed("clock", "the clock of this machine is wrong: expiry, TLS and sync need the right time");
        }
        CheckRow::ok("clock", "plausible")
    }

    /// Looks where a link or WebDAV URL fails: name, connection, TLS, what it is, login, listing, reading, writing.
    pub async fn check_link(&self, url: &str, password: Option<Secret>) -> Vec<CheckRow> {
        check_link(&self.mounting().remotes, url, password).await
    }
}

fn private(name: &'static str, path: &Path, most: u32) -> CheckRow {
    match std::fs::metadata(path) {
        Ok(meta) if meta.permissions().mode() & 0o777 & !most == 0 => CheckRow::ok(name, "only the server's user may read it"),
        Ok(meta) => {
            let mode = meta.permissions().mode() & 0o777;
            CheckRow::failed(name, format!("{} has mode {mode:o}; `chmod {most:o}` it: it holds secrets", path.display()))
        }
        Err(error) => CheckRow::failed(name, format!("{} cannot be read: {error}", path.display())),
    }
}

fn free_disk(data: &Path) -> CheckRow {
    match rustix::fs::statvfs(data) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let text = format!("{} MiB free", free >> 20);
            if free < FREE_BYTES_LOW { CheckRow::warning("disk", text) } else { CheckRow::ok("disk", text) }
        }
        Err(error) => CheckRow::failed("disk", format!("free space cannot be read: {error}")),
    }
}

async fn check_link(remotes: &Remotes, text: &str, password: Option<Secret>) -> Vec<CheckRow> {
    let parsed = Url::parse(text).or_else(|_relative| Url::parse(&format!("https://{text}")));
    let Some((url, host, port)) = parsed.ok().and_then(|url| {
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default()?;
        Some((url, host, port))
    }) else {
        return vec![CheckRow::failed("address", ProbeFault::NotAnAddress.to_string())];
    };
    let mut rows = Vec::new();
    let addresses = match timeout(STAGE_PATIENCE, lookup_host((host.as_str(), port))).await {
        Ok(Ok(addresses)) => addresses.collect::<Vec<_>>(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    if addresses.is_empty() {
        rows.push(CheckRow::failed("DNS", format!("{host} has no address")));
        return rows;
    }
    let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    rows.push(CheckRow::ok("DNS", format!("{host} is {}", shown.join(", "))));
    match timeout(STAGE_PATIENCE, TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(_stream)) => rows.push(CheckRow::ok("TCP", format!("port {port} is open"))),
        Ok(Err(error)) => {
            rows.push(CheckRow::failed("TCP", format!("port {port}: {error}")));
            return rows;
        }
        Err(_elapsed) => {
            rows.push(CheckRow::failed("TCP", format!("port {port} does not answer: a firewall, or another port")));
            return rows;
        }
    }
    let tls = url.scheme() == "https";
    match remotes.probe(text, password).await {
        Ok(probe) => {
            rows.push(if tls {
                CheckRow::ok("TLS", "the certificate is trusted")
            } else {
                CheckRow::warning("TLS", "plain http: everybody on the way reads along")
            });
            rows.push(CheckRow::ok("what it is", what(&probe)));
            rows.push(CheckRow::ok("login", "accepted"));
            share_rows(remotes, &probe, &mut rows).await;
        }
        Err(fault) => rows.push(CheckRow::failed(stage(&fault, tls), fault.to_string())),
    }
    rows
}

/// At which stage a fault shows.
fn stage(fault: &ProbeFault, tls: bool) -> &'static str {
    match fault {
        ProbeFault::UntrustedCertificate { .. } => "TLS",
        ProbeFault::Unreachable if tls => "TLS",
        ProbeFault::PrivateAddress { .. } => "address",
        ProbeFault::NeedsPassword | ProbeFault::WrongPassword => "login",
        ProbeFault::NotAnAddress
        | ProbeFault::NotFound
        | ProbeFault::UploadOnly
        | ProbeFault::SharingSwitchedOff
        | ProbeFault::SingleFile
        | ProbeFault::Throttled
        | ProbeFault::NotWebdav
        | ProbeFault::Unreachable
        | ProbeFault::Busy
        | ProbeFault::Loop
        | ProbeFault::TooManyRedirects => "what it is",
    }
}

fn what(probe: &Probe) -> String {
    let kind = if probe.kind == Kind::File { "file" } else { "folder" };
    let vendor = match probe.vendor {
        Vendor::Causeway => "a Causeway",
        Vendor::OwnCloud => "an ownCloud",
        Vendor::Nextcloud => "a Nextcloud",
        Vendor::Ocis => "an oCIS or OpenCloud",
        Vendor::Other => "a WebDAV server",
    };
    let owner = if probe.owner.is_empty() { String::new() } else { format!(", shared by {}", probe.owner) };
    format!("the {kind} `{}` on {vendor}{owner}", probe.name)
}

async fn share_rows(remotes: &Remotes, probe: &Probe, rows: &mut Vec<CheckRow>) {
    let credentials = Credentials::basic(probe.login.clone(), probe.password.clone());
    let credentials = (!credentials.login.is_empty()).then_some(credentials);
    let share = match Share::new(remotes.clone(), &probe.dav_url, credentials, probe.vendor, probe.kind) {
        Ok(share) => share,
        Err(error) => return rows.push(CheckRow::failed("list", error.to_string())),
    };
    let (via, root) = (Via::default(), TreePath::root());
    let listed = if probe.kind == Kind::File { share.stat(&via, &root).await } else { share.list(&via, &root).await };
    let listing = match listed {
        Ok(listing) => listing,
        Err(error) => return rows.push(CheckRow::failed("list", error.to_string())),
    };
    rows.push(CheckRow::ok("list", format!("{} entries", listing.members.len())));
    let own = (probe.kind == Kind::File).then_some((root.clone(), &listing.own));
    let members = listing.members.iter().filter(|(_, entry)| entry.collection != Some(true)).map(|(name, entry)| (root.join(name), entry));
    let file = own
        .into_iter()
        .chain(members)
        .find_map(|(path, entry)| Some((path, entry.length.or(entry.size).filter(|size| *size > 0)?, entry.etag.clone())));
    rows.push(match file {
        None => CheckRow::ok("read", "no file to read here"),
        Some((path, size, etag)) => match share.get(&via, &path, 0..1, size, etag.as_deref()).await {
            Ok(_received) => CheckRow::ok("read", "files can be read"),
            Err(error) => CheckRow::failed("read", error.to_string()),
        },
    });
    rows.push(write_row(probe.permissions));
}

/// Nothing is written to find out: the rights tell.
fn write_row(permissions: Permissions) -> CheckRow {
    CheckRow::ok(
        "write",
        match permissions_word(permissions) {
            "edit" => "the rights allow it; it was not tried",
            _ => "the rights do not allow it",
        },
    )
}
