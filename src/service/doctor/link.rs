//! A link or a WebDAV URL, from what was typed to what it is.

use url::Url;

use super::{Doctor, Fault, Report, Stage, cause, reach, share};
use crate::domain::{Kind, Secret, Vendor};
use crate::remote::{Heard, Probe};
use crate::wire::date::parse_http_date;

/// How far clocks may be apart, in seconds.
const SKEW_SECONDS_MAX: i64 = 300;

/// Looks at a link or WebDAV URL.
pub(super) async fn look(doctor: &Doctor, text: &str, password: Option<Secret>, report: &mut Report) {
    let url = match address(text) {
        Ok(url) => url,
        Err(fault) => return report.add(fault),
    };
    if url.password().is_some_and(|password| !password.is_empty()) {
        report.add(Fault::PasswordInAddress);
    }
    for fault in doctor.forbidden.iter().filter(|fault| **fault == Fault::MountingOff) {
        report.add(*fault);
    }
    let Some(at) = reach::look(doctor, &url, report).await else { return };
    if doctor.is_ours(&url) {
        return report.add(Fault::ThisServer);
    }
    match doctor.remotes.probe(text, password).await {
        Ok(probe) => {
            if url.scheme() == "http" && !probe.dav_url.starts_with("https:") {
                report.add(Fault::PlainHttp);
            }
            report.ok(Stage::What, what(&probe));
            report.ok(Stage::Login, "accepted");
            share::look(doctor, &probe, report).await;
        }
        Err(fault) => {
            let (fault, detail) = cause::of(doctor, &url, at, &fault).await;
            report.add_with(fault, &detail);
        }
    }
    head_faults(doctor, report);
}

/// Reads what was typed, with the schemes that clients have for WebDAV.
fn address(text: &str) -> Result<Url, Fault> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let known = [("davs://", "https://"), ("webdavs://", "https://"), ("dav://", "http://"), ("webdav://", "http://")];
    let whole = match known.iter().find(|(prefix, _)| lower.starts_with(prefix)) {
        Some((prefix, scheme)) => [scheme, text.get(prefix.len()..).unwrap_or_default()].concat(),
        None if text.contains("://") => text.to_owned(),
        None => ["https://", text].concat(),
    };
    let url = Url::parse(&whole).map_err(|_error| Fault::NotAnAddress)?;
    match url.scheme() {
        "http" | "https" if url.host_str().is_some_and(|host| !host.is_empty()) => Ok(url),
        "http" | "https" => Err(Fault::NotAnAddress),
        _ => Err(Fault::UnknownScheme),
    }
}

fn what(probe: &Probe) -> String {
    let kind = if probe.kind == Kind::File { "file" } else { "folder" };
    let owner = if probe.owner.is_empty() { String::new() } else { format!(", shared by {}", probe.owner) };
    format!("the {kind} `{}` on {}{owner}", probe.name, vendor(probe.vendor))
}

/// What a server is called.
pub(super) fn vendor(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Causeway => "a Causeway",
        Vendor::OwnCloud => "an ownCloud",
        Vendor::Nextcloud => "a Nextcloud",
        Vendor::Ocis => "an oCIS or OpenCloud",
        Vendor::Other => "a WebDAV server",
    }
}

/// What the heads of all answers tell of the server.
pub(super) fn head_faults(doctor: &Doctor, report: &mut Report) {
    let heard = doctor.remotes.heard();
    if heard.iter().any(|heard| heard.head.as_ref().is_ok_and(|head| head.version < http::Version::HTTP_11)) {
        report.add(Fault::Http10);
    }
    // A cache in front gives old dates to old answers; the newest is nearest to its clock.
    let newest = heard.iter().filter_map(date).max();
    let Some(skew) = newest.map(|date| date.saturating_sub(doctor.now)).filter(|skew| skew.abs() > SKEW_SECONDS_MAX) else { return };
    let way = if skew > 0 { "ahead of" } else { "behind" };
    report.add_with(Fault::ClockSkew, &format!("it is {} minutes {way} ours", skew.abs() / 60));
}

fn date(heard: &Heard) -> Option<i64> {
    heard.header("date").and_then(parse_http_date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_told_from_a_foreign_scheme() {
        for text in ["https://", "http://[", "a b", ""] {
            assert_eq!(address(text), Err(Fault::NotAnAddress), "{text}");
        }
        for text in ["ftp://a.example/", "smb://a.example/x", "file:///etc/passwd"] {
            assert_eq!(address(text), Err(Fault::UnknownScheme), "{text}");
        }
        for text in ["a.example/s/x", "davs://a.example/", "HTTP://a.example"] {
            assert!(address(text).is_ok(), "{text}");
        }
    }
}
