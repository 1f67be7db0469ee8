//! The server of a user: whether it can be reached, what it is, and how it takes shares of other servers (`protocol/ocm.md` 1.2). Nothing is
//! offered to it: an empty message shows whether it would listen.

use serde_json::Value;
use url::Url;

use super::link::{head_faults, vendor};
use super::{Doctor, Fault, Report, Stage, reach};
use crate::domain::{CloudId, Vendor};
use crate::limits::OCM_BODY_BYTES_MAX;
use crate::remote::{Broke, Error, Heard, Page, same_host};

/// Where servers say how they take shares, newest first.
const DOCUMENTS: [&str; 2] = ["/.well-known/ocm", "/ocm-provider/"];

/// What stands at one of those places.
enum Document {
    Found(serde_json::Map<String, Value>),
    Absent,
    Bad(Fault),
}

/// Looks at the server of a user.
pub(super) async fn look(doctor: &Doctor, id: &CloudId, report: &mut Report) {
    for fault in &doctor.forbidden {
        report.add(*fault);
    }
    let Ok(https) = Url::parse(&id.url()) else { return report.add(Fault::NotAnAddress) };
    let ours = doctor.is_ours(&https);
    let Some(root) = reached(doctor, id, https, report).await else { return };
    if ours {
        return report.add(Fault::ThisServer);
    }
    match document(doctor, &root).await {
        Document::Found(document) => {
            report.ok(Stage::What, kind(doctor, &root, Some(&document)).await);
            if let Some(end_point) = judged(&root, &document, report) {
                knock(doctor, &end_point, report).await;
            }
        }
        Document::Bad(fault) => report.add(fault),
        Document::Absent => older(doctor, &root, report).await,
    }
    head_faults(doctor, report);
}

/// The root of the server, without a slash at its end; by http where the administrator said that the host is near and it has no TLS.
async fn reached(doctor: &Doctor, id: &CloudId, https: Url, report: &mut Report) -> Option<String> {
    let before = report.rows.len();
    if reach::look(doctor, &https, report).await.is_some() {
        if id.is_plain() {
            report.add(Fault::PlainHttp);
        }
        return Some(id.url());
    }
    let plain = report.rows.last().is_some_and(|row| row.code == Fault::PlainHttpPort.about().code);
    if !plain || !doctor.remotes.is_near(&https) {
        return None;
    }
    report.rows.truncate(before);
    let root = ["http://", id.host()].concat();
    reach::look(doctor, &Url::parse(&root).ok()?, report).await?;
    report.add(Fault::PlainHttp);
    Some(root)
}

/// Looks for the document at both places; what is wrong with the first is told if the second is not there.
async fn document(doctor: &Doctor, root: &str) -> Document {
    let mut bad = None;
    for path in DOCUMENTS {
        match one_document(doctor, root, path).await {
            Document::Found(document) => return Document::Found(document),
            Document::Bad(fault @ (Fault::DiscoveryHangs | Fault::DiscoveryFails)) => return Document::Bad(fault),
            Document::Bad(fault) => bad = bad.or(Some(fault)),
            Document::Absent => {}
        }
    }
    bad.map_or(Document::Absent, Document::Bad)
}

async fn one_document(doctor: &Doctor, root: &str, path: &str) -> Document {
    let Ok(url) = Url::parse(&[root, path].concat()) else { return Document::Absent };
    let page = match doctor.remotes.read_page(&url).await {
        Ok(page) => page,
        Err(Error::Redirected) => return Document::Bad(Fault::DiscoveryRedirects),
        Err(_) => {
            let broke = doctor.remotes.heard().last().and_then(|heard| heard.head.as_ref().err().copied());
            return Document::Bad(if broke == Some(Broke::Silent) { Fault::DiscoveryHangs } else { Fault::DiscoveryFails });
        }
    };
    match page.status {
        200 if !page.whole || page.body.len() > OCM_BODY_BYTES_MAX => Document::Bad(Fault::DiscoveryTooLong),
        200 => match serde_json::from_slice(&page.body) {
            Ok(Value::Object(document)) => Document::Found(document),
            Ok(_) | Err(_) => Document::Bad(Fault::DiscoveryNotJson),
        },
        401 | 403 => Document::Bad(Fault::DiscoveryRefused),
        300..=399 => Document::Bad(Fault::DiscoveryRedirects),
        429 => Document::Bad(Fault::Throttled),
        500..=599 => Document::Bad(Fault::DiscoveryFails),
        _ => Document::Absent,
    }
}

fn text<'document>(document: &'document serde_json::Map<String, Value>, name: &str) -> &'document str {
    document.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whether what a document says can be used; then where shares are sent.
fn judged(root: &str, document: &serde_json::Map<String, Value>, report: &mut Report) -> Option<String> {
    if document.get("enabled").and_then(Value::as_bool) != Some(true) {
        report.add(Fault::DiscoveryOff);
        return None;
    }
    let end_point = text(document, "endPoint").trim_end_matches('/');
    if end_point.is_empty() {
        report.add(Fault::DiscoveryNoEndpoint);
        return None;
    }
    if same_host(root, end_point).is_err() {
        let named = Url::parse(end_point).ok();
        let host = |url: &Option<Url>| url.as_ref().and_then(|url| url.host_str()).unwrap_or_default().to_owned();
        let same = host(&named) == host(&Url::parse(root).ok());
        let fault = if same && end_point.starts_with("http:") { Fault::DiscoveryToHttp } else { Fault::DiscoveryElsewhere };
        report.add_with(fault, &host(&named));
        return None;
    }
    let resources = document.get("resourceTypes").or_else(|| document.get("shareTypes")).and_then(Value::as_array);
    let webdav = resources.into_iter().flatten().any(|resource| {
        let files = resource.get("name").and_then(Value::as_str).is_some_and(|name| matches!(name, "file" | "folder"));
        files && resource.pointer("/protocols/webdav").is_some()
    });
    if !webdav {
        report.add(Fault::DiscoveryNoWebdav);
        return None;
    }
    let version = text(document, "apiVersion");
    if version.is_empty() {
        report.add(Fault::DiscoveryNoVersion);
    } else {
        report.ok(Stage::Discovery, format!("it takes shares of files, by Open Cloud Mesh {version}"));
    }
    Some(end_point.to_owned())
}

/// What kind of server it is, by what it says of itself.
async fn kind(doctor: &Doctor, root: &str, document: Option<&serde_json::Map<String, Value>>) -> String {
    let provider = document.map(|document| text(document, "provider")).unwrap_or_default();
    let status = match Url::parse(&[root, "/status.php"].concat()) {
        Ok(url) => doctor.remotes.read_page(&url).await.ok(),
        Err(_) => None,
    };
    let status: Value = status.and_then(|page| serde_json::from_slice(&page.body).ok()).unwrap_or_default();
    let field = |name: &str| status.get(name).and_then(Value::as_str).unwrap_or_default();
    let named = [provider, " ", field("productname"), " ", field("product")].concat().to_ascii_lowercase();
    let is = |word: &str| named.contains(word);
    let found = match () {
        () if is("causeway") => vendor(Vendor::Causeway),
        () if is("nextcloud") => vendor(Vendor::Nextcloud),
        () if is("infinite scale") || is("ocis") || is("opencloud") => vendor(Vendor::Ocis),
        () if is("cernbox") || is("reva") || is("sciencemesh") => "a server of the reva family",
        () if is("owncloud") || !field("version").is_empty() => vendor(Vendor::OwnCloud),
        () => "a server that does not say what it is",
    };
    let version = if field("versionstring").is_empty() { field("version") } else { field("versionstring") };
    format!("{found} {version}").trim_end().to_owned()
}

/// Servers without a document: ownCloud 8 and 9 say where their calls are, older ones have a status page alone.
async fn older(doctor: &Doctor, root: &str, report: &mut Report) {
    let mut known = false;
    for path in ["/ocs-provider/", "/status.php"] {
        let Ok(url) = Url::parse(&[root, path].concat()) else { continue };
        known |= doctor.remotes.read_page(&url).await.is_ok_and(|page| json(&page));
    }
    if !known {
        return report.add(Fault::NoPeer);
    }
    report.ok(Stage::What, kind(doctor, root, None).await);
    report.add(Fault::OlderCalls);
}

fn json(page: &Page) -> bool {
    page.status == 200 && matches!(serde_json::from_slice(&page.body), Ok(Value::Object(_)))
}

/// Sends an empty message to where shares are sent: a server that would listen says what is missing in it.
async fn knock(doctor: &Doctor, end_point: &str, report: &mut Report) {
    let Ok(url) = Url::parse(&[end_point, "/shares"].concat()) else { return report.add(Fault::DiscoveryNoEndpoint) };
    let answer = doctor.remotes.send_json(&url, "{}").await;
    let status = answer.as_ref().map_or(0, |page| page.status);
    match status {
        401 | 403 => report.add_with(Fault::PeerRefuses, &status.to_string()),
        404 | 405 => report.add_with(Fault::PeerNoShares, &status.to_string()),
        501 => report.add(Fault::PeerTakesNone),
        429 => report.add(Fault::Throttled),
        0 | 300..=399 | 500..=599 => {
            let heard = doctor.remotes.heard();
            report.add_with(Fault::PeerFails, &heard.last().and_then(Heard::status).map(|status| status.to_string()).unwrap_or_default());
        }
        _ => report.ok(Stage::Discovery, "it listens where shares are sent; none was offered"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_out_of_tls_is_told_from_one_on_another_host() {
        for (end_point, code) in [
            ("http://b.example/ocm", "discovery-to-http"),
            ("https://evil.example/ocm", "discovery-elsewhere"),
            ("https://me:pw@b.example/ocm", "discovery-elsewhere"),
            ("", "discovery-no-endpoint"),
        ] {
            let Value::Object(document) = serde_json::json!({"enabled": true, "endPoint": end_point}) else { panic!() };
            let mut report = Report::default();
            assert_eq!(judged("https://b.example", &document, &mut report), None);
            assert_eq!(report.rows.first().unwrap().code, code, "{end_point}");
        }
    }
}
