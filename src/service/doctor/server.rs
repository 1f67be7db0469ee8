//! What is wrong with this server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::domain::Timestamp;
use crate::service::Services;
use crate::service::admin::CheckRow;

/// Free space below which a server is in danger, in bytes.
const FREE_BYTES_LOW: u64 = 1 << 30;
/// A clock before this is wrong: 2026-01-01.
const CLOCK_EARLIEST: Timestamp = 1_767_225_600;

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
