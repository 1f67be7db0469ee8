//! Why a place is no share: what a probe says in a word, told apart by what the server answered meanwhile, and by one closer look at its page.

use std::net::SocketAddr;

use url::Url;

use super::{Doctor, Fault, reach};
use crate::remote::{BadBody, Broke, Heard, Page, ProbeFault, TlsFault};

type Found = (Fault, String);

/// The cause, and what is known of it in this case.
pub(super) async fn of(doctor: &Doctor, url: &Url, at: SocketAddr, fault: &ProbeFault) -> Found {
    let heard = doctor.remotes.heard();
    let plain = |fault| (fault, String::new());
    let asked: Vec<&Heard> = heard.iter().filter(|heard| heard.method.as_str() == "PROPFIND").collect();
    let last = asked.last().copied().or(heard.last());
    // The files app sends who is not logged in to its login page, or asks for a password.
    let page = matches!(fault, ProbeFault::NotFound | ProbeFault::NotWebdav | ProbeFault::TooManyRedirects | ProbeFault::NeedsPassword);
    if page && files_page(url) {
        return plain(Fault::FilesPage);
    }
    match fault {
        ProbeFault::NotAnAddress => plain(Fault::NotAnAddress),
        ProbeFault::NotFound | ProbeFault::NotWebdav => nothing(doctor, url, at, &asked).await,
        // The page asks for a password, and so does every other place: it is not the link's.
        ProbeFault::NeedsPassword | ProbeFault::WrongPassword if !asked.iter().any(|heard| matches!(heard.status(), Some(401 | 403))) => {
            nothing(doctor, url, at, &asked).await
        }
        ProbeFault::NeedsPassword | ProbeFault::WrongPassword => {
            let wrong = *fault == ProbeFault::WrongPassword;
            login(url, last).unwrap_or_else(|| plain(if wrong { Fault::WrongPassword } else { Fault::NeedsPassword }))
        }
        ProbeFault::UntrustedCertificate { .. } => untrusted(doctor, &heard).await,
        ProbeFault::PrivateAddress { host } => (Fault::PrivateAddress, host.clone()),
        ProbeFault::UploadOnly => plain(Fault::UploadOnly),
        ProbeFault::SharingSwitchedOff => plain(Fault::SharingOff),
        ProbeFault::SingleFile => plain(Fault::SingleFile),
        ProbeFault::Throttled => (Fault::Throttled, retry_after(&heard)),
        ProbeFault::Unreachable => unreachable(doctor, url, at, &heard).await,
        ProbeFault::Busy => busy(doctor, url, &heard, last).await,
        ProbeFault::Loop => plain(Fault::Loop),
        ProbeFault::TooManyRedirects => redirects(&heard),
    }
}

/// The certificate of the place to which the server redirects, from http to https: that of the address itself was seen before.
async fn untrusted(doctor: &Doctor, heard: &[Heard]) -> Found {
    let unusable = (Fault::CertificateUnusable, String::new());
    let Some(last) = heard.last() else { return unusable };
    let Some(address) = doctor.remotes.addresses_of(&last.url).await.ok().and_then(|found| found.first().copied()) else { return unusable };
    doctor.remotes.shake_hands(&last.url, address).await.map_or_else(reach::explained, |_shaken| unusable)
}

/// What the server asks for, in words.
fn retry_after(heard: &[Heard]) -> String {
    let told = heard.iter().rev().find_map(|heard| heard.header("retry-after"));
    let seconds = told.and_then(|told| told.trim().parse::<u64>().ok());
    match seconds {
        None => "it does not say how long; an hour is usual".to_owned(),
        Some(seconds) if seconds < 120 => format!("for {seconds} seconds"),
        Some(seconds) => format!("for {} minutes", seconds.div_ceil(60)),
    }
}

/// 401 and 403.
fn login(url: &Url, last: Option<&Heard>) -> Option<Found> {
    let last = last?;
    let schemes = || last.head.as_ref().ok().map(|head| head.headers.get_all("www-authenticate"));
    let offers: Vec<&str> = schemes().into_iter().flatten().filter_map(|value| value.to_str().ok()).collect();
    let basic = offers.iter().any(|offer| offer.to_ascii_lowercase().contains("basic"));
    let names = || offers.iter().filter_map(|offer| offer.split_whitespace().next()).collect::<Vec<_>>().join(", ");
    match last.status()? {
        403 if robots(last) => Some((Fault::RobotCheck, String::new())),
        // Servers of the ownCloud family say 403 of links, too, where a password is wrong.
        403 if !is_link(url) => Some((Fault::Forbidden, String::new())),
        401 if !offers.is_empty() && !basic => Some((Fault::LoginKind, format!("it offers {}", names()))),
        _ => None,
    }
}

fn is_link(url: &Url) -> bool {
    let path = url.path();
    path.contains("/s/") || path.contains("/public.php") || path.contains("/public-files/")
}

/// A check for robots in front of the server, by the headers that the known ones send.
fn robots(heard: &Heard) -> bool {
    let server = heard.header("server").unwrap_or_default().to_ascii_lowercase();
    let known = ["cf-mitigated", "x-sucuri-block", "x-datadome", "x-amzn-waf-action"].iter().any(|name| heard.header(name).is_some());
    let html = heard.header("content-type").unwrap_or_default().starts_with("text/html");
    known || (html && ["cloudflare", "sucuri", "ddos-guard"].iter().any(|name| server.contains(name)))
}

/// There is a server and no share.
async fn nothing(doctor: &Doctor, url: &Url, at: SocketAddr, asked: &[&Heard]) -> Found {
    let plain = |fault| (fault, String::new());
    let status = |wanted: u16| asked.iter().any(|heard| heard.status() == Some(wanted));
    if let Some(bad) = asked.iter().rev().find_map(|heard| heard.body) {
        return listing(bad);
    }
    if asked.iter().any(|heard| robots(heard)) {
        return plain(Fault::RobotCheck);
    }
    if status(410) {
        return plain(Fault::LinkWithdrawn);
    }
    if asked.iter().any(|heard| heard.head.is_err()) {
        return unreachable(doctor, url, at, &asked.iter().map(|heard| (**heard).clone()).collect::<Vec<_>>()).await;
    }
    let page = doctor.remotes.read_page(url).await.ok();
    if let Some(found) = page.as_ref().and_then(spoken) {
        return found;
    }
    if status(400) && url.scheme() == "http" && answers_tls(doctor, url, at).await {
        return plain(Fault::TlsOnHttpPort);
    }
    if status(404) || status(401) {
        return plain(if is_link(url) { Fault::LinkUnknown } else { Fault::NothingThere });
    }
    if status(200) {
        let empty =
            asked.iter().rev().find(|heard| heard.status() == Some(200)).and_then(|heard| heard.header("content-length")) == Some("0");
        return plain(if empty { Fault::EmptyAnswer } else { Fault::WebPage });
    }
    let last = asked.last().and_then(|heard| heard.status());
    (Fault::NoWebdav, last.map(|status| format!("it answers {status}")).unwrap_or_default())
}

/// Addresses that people copy from where they look at their own files.
fn files_page(url: &Url) -> bool {
    let path = url.path().strip_prefix("/index.php").unwrap_or(url.path());
    let after = |part: &str| path.split_once(part).is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('/'));
    let internal = path.split_once("/f/").is_some_and(|(_, rest)| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
    after("/apps/files") || internal || path.starts_with("/files/spaces/")
}

/// What the page of a server says in words.
fn spoken(page: &Page) -> Option<Found> {
    let text = String::from_utf8_lossy(&page.body).to_ascii_lowercase();
    // Nextcloud and ownCloud say so to a host name that is not in their `trusted_domains`.
    if page.status == 400 && text.contains("untrusted domain") {
        return Some((Fault::UntrustedDomain, String::new()));
    }
    let asks = page.status == 200 && text.contains("type=\"password\"");
    asks.then(|| (Fault::LoginPage, String::new()))
}

/// What is wrong with a listing.
pub(super) fn listing(bad: BadBody) -> Found {
    match bad {
        BadBody::BrokeOff | BadBody::Endless => (Fault::ListBrokeOff, String::new()),
        BadBody::Malformed(text) => (Fault::BadXml, text.to_owned()),
        BadBody::TooLarge(text) => (Fault::ListTooLarge, text.to_owned()),
        BadBody::Elsewhere => (Fault::OtherHrefs, String::new()),
    }
}

async fn answers_tls(doctor: &Doctor, url: &Url, at: SocketAddr) -> bool {
    matches!(doctor.remotes.shake_hands(url, at).await, Ok(_) | Err(TlsFault::Certificate { .. } | TlsFault::TooOld))
}

/// The port is open, TLS stands, and there is no answer.
async fn unreachable(doctor: &Doctor, url: &Url, at: SocketAddr, heard: &[Heard]) -> Found {
    if url.scheme() == "http" && answers_tls(doctor, url, at).await {
        return (Fault::TlsOnHttpPort, String::new());
    }
    broken(heard)
}

fn broken(heard: &[Heard]) -> Found {
    let broke = heard.iter().rev().find_map(|heard| heard.head.as_ref().err().copied());
    let fault = match broke {
        Some(Broke::NotHttp) => Fault::NotHttp,
        Some(Broke::HeadTooLarge) => Fault::HeadTooLarge,
        Some(Broke::Closed) => Fault::ClosedEarly,
        Some(Broke::Private) => Fault::PrivateAddress,
        Some(Broke::Tls) => Fault::TlsClosed,
        Some(Broke::NoConnection | Broke::Silent) | None => Fault::NoAnswer,
    };
    (fault, String::new())
}

/// 5xx and the like.
async fn busy(doctor: &Doctor, url: &Url, heard: &[Heard], last: Option<&Heard>) -> Found {
    let status = last.and_then(Heard::status).unwrap_or_default();
    let told = heard.iter().rev().any(|heard| heard.header("retry-after").is_some());
    let again = if told { retry_after(heard) } else { String::new() };
    if last.is_some_and(robots) {
        return (Fault::RobotCheck, String::new());
    }
    if maintained(doctor, heard, url).await {
        return (Fault::Maintenance, again);
    }
    match status {
        // 520 to 527 are those of Cloudflare.
        502 | 504 | 520..=527 => (Fault::BadGateway, format!("{status}")),
        503 | 408 | 425 => (Fault::Overloaded, again),
        _ => (Fault::ServerError, format!("{status}")),
    }
}

/// Whether `status.php` says so; it is asked where the probe asked for it, else beside the entry points of WebDAV.
async fn maintained(doctor: &Doctor, heard: &[Heard], url: &Url) -> bool {
    let asked = heard.iter().find(|heard| heard.url.path().ends_with("/status.php")).map(|heard| heard.url.clone());
    let front = ["/remote.php/", "/public.php/", "/dav/"].iter().find_map(|entry| url.path().find(entry));
    let beside = || {
        let mut status = url.clone();
        status.set_path(&format!("{}/status.php", front.and_then(|end| url.path().get(..end)).unwrap_or_default()));
        status.set_query(None);
        status
    };
    let Ok(page) = doctor.remotes.read_page(&asked.unwrap_or_else(beside)).await else { return false };
    let told: serde_json::Value = serde_json::from_slice(&page.body).unwrap_or_default();
    let maintenance = told.get("maintenance");
    maintenance.and_then(serde_json::Value::as_bool) == Some(true) || maintenance.and_then(serde_json::Value::as_str) == Some("true")
}

fn is_login(word: &str) -> bool {
    matches!(
        word,
        "login" | "signin" | "auth" | "authelia" | "sso" | "saml" | "saml2" | "oauth" | "oauth2" | "openid" | "idp" | "cas" | "adfs"
    )
}

/// Where the redirects lead.
pub(super) fn redirects(heard: &[Heard]) -> Found {
    let leads = |heard: &&Heard| heard.status().is_some_and(|status| (300..400).contains(&status));
    let asked = heard.iter().rev().filter(|heard| heard.method.as_str() == "PROPFIND").find(leads);
    let hop = asked.or_else(|| heard.iter().rev().find(leads));
    let target = hop.and_then(|hop| Some((hop, hop.url.join(hop.header("location")?).ok()?)));
    let Some((hop, to)) = target else { return (Fault::RedirectElsewhere, String::new()) };
    let host = to.host_str().unwrap_or_default();
    // Proxies that want a login send everybody there; the servers' own pages of login are pages for browsers alone, too.
    let login =
        [host, to.path()].iter().any(|text| text.to_ascii_lowercase().split(|letter: char| !letter.is_alphanumeric()).any(is_login));
    let same = to.host_str() == hop.url.host_str();
    let place = to.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    match () {
        () if login => (Fault::LoginProxy, format!("at {place}")),
        () if same && hop.url.scheme() == "https" && to.scheme() == "http" => (Fault::RedirectToHttp, String::new()),
        () if same && to.port_or_known_default() == hop.url.port_or_known_default() => (Fault::RedirectLoop, String::new()),
        () => (Fault::RedirectElsewhere, format!("to {}://{place}", to.scheme())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_files_app_are_known() {
        let is = |url: &str| files_page(&Url::parse(url).unwrap());
        for url in [
            "https://a.example/apps/files/?dir=/x",
            "https://a.example/index.php/apps/files/files/12",
            "https://a.example/index.php/f/1234",
        ] {
            assert!(is(url), "{url}");
        }
        for url in
            ["https://a.example/s/TOKEN", "https://a.example/apps/files_sharing/x", "https://a.example/f/me", "https://a.example/dav/f"]
        {
            assert!(!is(url), "{url}");
        }
    }
}
