//! `causeway doctor`: what is wrong, and what to do.

use std::process::ExitCode;

use super::Failure;
use super::args::PasswordArgs;
use super::manage::execute;
use super::output::Out;
use super::secrets::known_password;
use super::settings::Settings;
use crate::domain::{Clock, Timestamp};
use crate::server::{control, tls};
use crate::service::Reason;
use crate::service::admin::{CheckRow, Command, Health, Outcome};
use crate::wire::x509;

/// Days before the end of a certificate at which it is time to renew it.
const RENEW_DAYS: i64 = 14;
const DAY: i64 = 24 * 3600;

/// Checks the server, a link, or the server of a user. The exit code is 0 where nothing has failed, 1 where something of this server has, and for
/// others that of the first failure: 2 usage, 3 not found, 4 unreachable, 5 refused.
pub(super) async fn doctor(settings: &Settings, url: Option<String>, password: PasswordArgs, out: &Out) -> Result<ExitCode, Failure> {
    let link = url.is_some();
    let password = if password.password_stdin { Some(known_password(true, "the link")?) } else { None };
    let mut rows = if link { Vec::new() } else { own_rows(settings).await };
    match execute(settings, Command::Doctor { url, password }).await {
        Ok(Outcome::Checks(found)) => rows.extend(found),
        Ok(_other) => rows.push(CheckRow::failed("server", "the running server is another version")),
        Err(refusal) => rows.push(CheckRow::failed("data folder", refusal.text)),
    }
    let failed = rows.iter().find(|row| row.health == Health::Failed).map(|row| row.reason.filter(|_| link).unwrap_or(Reason::Failed));
    out.outcome(&Outcome::Checks(rows));
    Ok(failed.map_or(ExitCode::SUCCESS, |reason| ExitCode::from(reason.exit_code())))
}

/// What can be seen without the data folder.
async fn own_rows(settings: &Settings) -> Vec<CheckRow> {
    let file = settings.file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let mut rows = vec![CheckRow::ok("configuration", file)];
    let running = control::send(&settings.config.data, &Command::Ping).await.is_some();
    rows.push(if running { CheckRow::ok("server", "running") } else { CheckRow::warning("server", "not running on this data folder") });
    let Some(files) = &settings.config.tls else { return rows };
    rows.push(match tls::Certificate::load(files) {
        Ok(_certificate) => CheckRow::ok("TLS", "certificate and key belong together"),
        Err(error) => CheckRow::failed("TLS", error.to_string()),
    });
    let end = tls::read_chain(&files.certificate).ok().and_then(|chain| x509::not_after(chain.first()?));
    if let Some(end) = end {
        rows.push(expiry(end, Clock::System.now()));
    }
    rows
}

fn expiry(end: Timestamp, now: Timestamp) -> CheckRow {
    let days = end.saturating_sub(now) / DAY;
    match days {
        _ if end <= now => CheckRow::failed("certificate", "has expired; renew it: the server takes the new files in by itself"),
        0..RENEW_DAYS => CheckRow::warning("certificate", format!("expires in {days} days")),
        _ => CheckRow::ok("certificate", format!("expires in {days} days")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_renewed_in_time() {
        assert_eq!(expiry(100, 100).health, Health::Failed);
        assert_eq!(expiry(100 + 13 * DAY, 100).health, Health::Warning);
        assert_eq!(expiry(100 + 15 * DAY, 100).health, Health::Ok);
    }
}
