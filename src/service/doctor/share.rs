//! What can be done with a share: it is listed, one of its files is read, and nothing is written.

use std::time::Instant;

use futures_util::StreamExt as _;

use super::{Doctor, Fault, Report, Stage, cause};
use crate::domain::{Kind, Permissions, TreePath};
use crate::remote::{Credentials, Error, Heard, Listing, Probe, Share};
use crate::service::sharing::permissions_word;
use crate::wire::Via;
use crate::wire::multistatus::reader::Properties;

/// Most bytes of a file that are read, to see how fast they come and whether they are all there.
const SAMPLE_BYTES_MAX: u64 = 1024 * 1024;
/// Fewer bytes say nothing of the speed of a line.
const SPEED_BYTES_MIN: u64 = 64 * 1024;

/// A file to try.
struct Sample {
    path: TreePath,
    size: u64,
    etag: Option<String>,
}

/// Looks at a share that was found.
pub(super) async fn look(doctor: &Doctor, probe: &Probe, report: &mut Report) {
    let credentials = Credentials::basic(probe.login.clone(), probe.password.clone());
    let credentials = (!credentials.login.is_empty()).then_some(credentials);
    let Ok(share) = Share::new(doctor.remotes.clone(), &probe.dav_url, credentials, probe.vendor, probe.kind) else {
        return report.add(Fault::NotAnAddress);
    };
    let (via, root) = (Via::default(), TreePath::root());
    let listed = if probe.kind == Kind::File { share.stat(&via, &root).await } else { share.list(&via, &root).await };
    let listing = match listed {
        Ok(listing) => listing,
        Err(error) => {
            let (fault, detail) = why_no_listing(&error, doctor.remotes.heard().last());
            return report.add_at(Stage::List, fault, &detail);
        }
    };
    report.ok(Stage::List, format!("{} entries", listing.members.len()));
    if listing.dropped > 0 {
        report.add_with(Fault::NamesLeftOut, &format!("{} of them, or they lie elsewhere", listing.dropped));
    }
    match sample(&listing, probe.kind) {
        None => report.ok(Stage::Read, "no file to read here"),
        Some(file) => {
            if read(doctor, &share, &file, report).await.is_some() {
                report.ok(Stage::Read, "files can be read");
            }
        }
    }
    write(&listing, probe.permissions, report);
    etags(&listing, report);
    if share.has_locks(&via).await.is_ok_and(|locks| !locks) {
        report.add(Fault::NoLocks);
    }
}

fn why_no_listing(error: &Error, last: Option<&Heard>) -> (Fault, String) {
    if let Some(bad) = last.and_then(|heard| heard.body) {
        return cause::listing(bad);
    }
    let status = last.and_then(Heard::status);
    let detail = status.map(|status| status.to_string()).unwrap_or_default();
    let fault = match error {
        Error::Unreachable { .. } | Error::NotAllowed | Error::Untrusted(_) => Fault::NoAnswer,
        Error::Redirected => return cause::redirects(&last.cloned().into_iter().collect::<Vec<_>>()),
        Error::SharingOff => Fault::EmptyAnswer,
        Error::Throttled { .. } => Fault::Throttled,
        Error::Loop => Fault::Loop,
        Error::Busy { .. } | Error::Full => Fault::ListFails,
        // The connection was closed before there was a head.
        Error::BadAnswer(_) if status.is_none() => Fault::ListBrokeOff,
        Error::BadAnswer(_)
        | Error::Unauthorized
        | Error::Forbidden
        | Error::NotFound
        | Error::Unsupported
        | Error::Conflict
        | Error::PreconditionFailed
        | Error::Locked
        | Error::Rejected(_)
        | Error::Changed
        | Error::SourceBroken => Fault::ListRefused,
    };
    (fault, detail)
}

/// The file that tells most: the largest that is read whole, else the smallest.
fn sample(listing: &Listing, kind: Kind) -> Option<Sample> {
    let root = TreePath::root();
    let size = |entry: &Properties| entry.length.or(entry.size).filter(|size| *size > 0);
    let of = |path: TreePath, entry: &Properties| Some(Sample { path, size: size(entry)?, etag: entry.etag.clone() });
    if kind == Kind::File {
        return of(root, &listing.own);
    }
    let files = listing.members.iter().filter(|(_, entry)| entry.collection != Some(true));
    let mut samples: Vec<Sample> = files.filter_map(|(name, entry)| of(root.join(name), entry)).collect();
    samples.sort_by_key(|sample| if sample.size <= SAMPLE_BYTES_MAX { (0, u64::MAX - sample.size) } else { (1, sample.size) });
    samples.into_iter().next()
}

/// Reads one byte, then the whole or its beginning; none where that failed.
async fn read(doctor: &Doctor, share: &Share, file: &Sample, report: &mut Report) -> Option<()> {
    let via = Via::default();
    let last = || doctor.remotes.heard().into_iter().rev().find(|heard| heard.method == http::Method::GET);
    if file.size > 1 {
        // Without the etag: whether that fits is another question.
        let part = share.get(&via, &file.path, 1..2, file.size, None).await;
        let status = last().and_then(|heard| heard.status());
        match part {
            Ok(_received) if status == Some(200) => report.add(Fault::RangeIgnored),
            Ok(_received) => {}
            Err(Error::BadAnswer(_)) if status == Some(206) => return ended(report, Fault::RangeWrong),
            Err(error) => return ended(report, why_no_file(&error, last().as_ref())),
        }
    }
    let flips = last().is_some_and(|heard| {
        let sent = heard.header("etag").map(bare);
        sent.is_some() && file.etag.is_some() && sent != file.etag.as_deref().map(bare)
    });
    if flips {
        report.add(Fault::EtagFlips);
    }
    let end = file.size.min(SAMPLE_BYTES_MAX);
    let started = Instant::now();
    let mut body = match share.get(&via, &file.path, 0..end, file.size, None).await {
        Ok(received) => received.body,
        Err(error) => return ended(report, why_no_file(&error, last().as_ref())),
    };
    let mut bytes = 0_u64;
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => bytes += piece.len() as u64,
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return ended(report, Fault::BodyStalls),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return ended(report, Fault::LengthDiffers),
            Err(_) => return ended(report, Fault::BodyShort),
        }
    }
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    let speed = bytes.saturating_mul(1000) / milliseconds;
    if bytes >= SPEED_BYTES_MIN && speed < doctor.patience.slow_bytes_per_second {
        report.add_with(Fault::Slow, &format!("{} KiB per second", speed / 1024));
    }
    Some(())
}

fn ended(report: &mut Report, fault: Fault) -> Option<()> {
    report.add(fault);
    None
}

/// An etag without its quotes, its weakness, and what compressing servers append.
fn bare(etag: &str) -> &str {
    let text = etag.trim().trim_start_matches("W/").trim_matches('"');
    text.strip_suffix("-gzip").unwrap_or(text)
}

fn why_no_file(error: &Error, last: Option<&Heard>) -> Fault {
    match error {
        Error::Unauthorized | Error::Forbidden | Error::Locked | Error::Unsupported | Error::SharingOff => Fault::ReadRefused,
        Error::NotFound => Fault::ReadMissing,
        // Servers say 405 of folders and of links that took their files away.
        Error::Changed if last.and_then(Heard::status).is_some_and(|status| status == 405 || status == 501) => Fault::ReadRefused,
        Error::Changed => Fault::LengthDiffers,
        Error::Throttled { .. } => Fault::Throttled,
        Error::Loop => Fault::Loop,
        Error::Redirected
        | Error::Unreachable { .. }
        | Error::NotAllowed
        | Error::Untrusted(_)
        | Error::BadAnswer(_)
        | Error::Conflict
        | Error::PreconditionFailed
        | Error::Full
        | Error::Busy { .. }
        | Error::Rejected(_)
        | Error::SourceBroken => Fault::ReadFails,
    }
}

/// Nothing is written to find out: the rights and the room tell.
fn write(listing: &Listing, permissions: Permissions, report: &mut Report) {
    if permissions_word(permissions) != "edit" {
        return report.add(Fault::ReadOnly);
    }
    report.ok(Stage::Write, "the rights allow it; it was not tried");
    // Negative numbers say that it is not known, or without bound.
    if listing.own.quota_available == Some(0) {
        report.add(Fault::Full);
    }
}

fn etags(listing: &Listing, report: &mut Report) {
    let files = listing.members.iter().filter(|(_, entry)| entry.collection != Some(true)).map(|(_, entry)| entry);
    let etags: Vec<Option<&str>> = files.chain([&listing.own]).map(|entry| entry.etag.as_deref()).collect();
    if etags.iter().all(Option::is_none) {
        report.add(Fault::NoEtags);
    } else if etags.iter().flatten().any(|etag| etag.starts_with("W/")) {
        report.add(Fault::WeakEtags);
    }
}
