//! Single oddities of real servers, each replayed as it was recorded: what they leave out of a listing, how they spell things, in which order.

use std::sync::{Arc, Mutex};

use causeway::domain::{Error, Etag, MountState, OfflineCause, Permissions, Secret, Vendor};
use causeway::remote::{LinkState, ProbeFault};
use causeway::wire::Via;

use crate::support::mounted::{Mounted, allowed, at, remotes};
use crate::support::peer::dav::sabre;
use crate::support::peer::{Peer, Reply, Seen};

/// Folder and members as a server lists them, to be changed under way.
#[derive(Default)]
struct Told {
    own: String,
    members: Vec<String>,
    /// The members come first.
    reversed: bool,
}

/// One response of a multistatus.
fn response(href: &str, properties: &str) -> String {
    format!(
        "<d:response><d:href>{href}</d:href><d:propstat><d:prop>{properties}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>\
         </d:response>"
    )
}

const FOLDER: &str = "<d:resourcetype><d:collection/></d:resourcetype><d:getlastmodified>Sun, 22 Nov 2026 01:45:54 GMT</d:getlastmodified>\
                      <oc:permissions>RGDNVCK</oc:permissions><d:getetag>&quot;6b024952bf4ae&quot;</d:getetag>";
const FILE: &str = "<d:resourcetype/><d:getlastmodified>Sun, 22 Nov 2026 01:45:54 GMT</d:getlastmodified><oc:permissions>RGDNVW</oc:permissions>\
                    <d:getetag>&quot;11&quot;</d:getetag><d:getcontentlength>5</d:getcontentlength>";

/// A server that lists what it is told, mounted.
async fn mounted(vendor: Vendor, told: Told) -> (Peer, Mounted, Arc<Mutex<Told>>) {
    let told = Arc::new(Mutex::new(told));
    let telling = Arc::clone(&told);
    let peer = Peer::start(move |seen: &Seen| {
        if seen.method != "PROPFIND" {
            return Err("it is only listed".to_owned());
        }
        let told = telling.lock().unwrap();
        let members = if seen.header("depth") == Some("1") { told.members.concat() } else { String::new() };
        let parts = if told.reversed { [members, told.own.clone()] } else { [told.own.clone(), members] };
        Ok(Reply::multistatus(&parts.concat()))
    })
    .await;
    let mounted = Mounted::new(&peer.url("/public.php/webdav/"), vendor, allowed(&peer.host()));
    (peer, mounted, told)
}

async fn listed(vendor: Vendor, own: &str, members: &[(&str, &str)]) -> (Peer, Mounted, Arc<Mutex<Told>>) {
    let members = members.iter().map(|(name, properties)| response(&format!("/public.php/webdav/{name}"), properties)).collect();
    mounted(vendor, Told { own: response("/public.php/webdav/", own), members, reversed: false }).await
}

#[tokio::test]
async fn a_collection_may_come_last_and_hrefs_may_be_whole_urls() {
    let (peer, mount, told) = listed(Vendor::Nextcloud, FOLDER, &[("a%20b.txt", FILE)]).await;
    told.lock().unwrap().reversed = true;
    assert_eq!(mount.names("").await.unwrap(), ["a b.txt"]);
    let base = peer.url("/public.php/webdav/");
    *told.lock().unwrap() = Told {
        own: response(&base, FOLDER),
        // With another port and in capitals, as proxies make them.
        members: vec![response(&format!("{base}c.txt"), FILE), response("HTTP://127.0.0.1/public.php/webdav/d.txt", FILE)],
        reversed: false,
    };
    mount.handle.look_again();
    assert_eq!(mount.names("").await.unwrap(), ["c.txt", "d.txt"]);
}

#[tokio::test]
async fn a_404_propstat_before_or_after_the_other_tells_nothing() {
    let missing = "<d:propstat><d:prop><d:getetag/><d:getcontentlength/><x1:share-permissions/></d:prop><d:status>HTTP/1.1 404 Not \
                   Found</d:status></d:propstat>";
    let both = [missing, "<d:propstat><d:prop>", FILE, "</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>", missing].concat();
    let member = format!("<d:response><d:href>/public.php/webdav/a.txt</d:href>{both}</d:response>");
    let own = response("/public.php/webdav/", FOLDER);
    let (_peer, mount, _told) = mounted(Vendor::OwnCloud, Told { own, members: vec![member], reversed: false }).await;
    let (_, children) = mount.handle.list(&Via::default(), &at("")).await.unwrap();
    let file = children.get("a.txt").unwrap();
    assert_eq!((file.size, file.etag.quoted().as_str(), file.permissions), (5, "\"11\"", Permissions(27)));
}

#[tokio::test]
async fn ocis_tells_of_files_that_it_still_looks_at_and_they_are_not_empty() {
    let member = response("/public.php/webdav/a.txt", FILE).replace("200 OK", "425 TOO EARLY");
    let own = response("/public.php/webdav/", FOLDER);
    let peer = Peer::start(move |seen: &Seen| {
        Ok(match (seen.method.as_str(), seen.path.as_str()) {
            ("PROPFIND", "/public.php/webdav/") => Reply::multistatus(&[own.clone(), member.clone()].concat()),
            ("PROPFIND", _) => Reply::multistatus(&member),
            _ => Reply::new(425),
        })
    })
    .await;
    let mount = Mounted::new(&peer.url("/public.php/webdav/"), Vendor::Ocis, allowed(&peer.host()));
    let (_, children) = mount.handle.list(&Via::default(), &at("")).await.unwrap();
    let file = children.get("a.txt").unwrap();
    assert_eq!((file.size, file.etag.quoted().as_str()), (5, "\"11\""));
    let refused = mount.read("a.txt").await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { cause: OfflineCause::RemoteBusy, .. }), "{refused:?}");
    assert_eq!(mount.handle.state(), MountState::Online);
}

#[tokio::test]
async fn minus_three_is_no_number_of_bytes() {
    for text in ["-3", "-2", "-1", ""] {
        let quota = format!("<d:quota-available-bytes>{text}</d:quota-available-bytes><d:quota-used-bytes>19</d:quota-used-bytes>");
        let (_peer, mount, _told) = listed(Vendor::OwnCloud, &[FOLDER, &quota].concat(), &[]).await;
        mount.names("").await.unwrap();
        let quota = mount.handle.quota(&Via::default()).await.unwrap();
        assert_eq!((quota.used, quota.available), (19, None), "{text}");
    }
}

/// What is granted on the root and on a file, by what is told of rights.
async fn check_rights(vendor: Vendor, told: &str, expected: Permissions) {
    let own = FOLDER.replace("<oc:permissions>RGDNVCK</oc:permissions>", told);
    let file = FILE.replace("<oc:permissions>RGDNVW</oc:permissions>", told);
    let (_peer, mount, _told) = listed(vendor, &own, &[("a.txt", &file)]).await;
    let (root, children) = mount.handle.list(&Via::default(), &at("")).await.unwrap();
    let file = children.get("a.txt").unwrap();
    assert_eq!((root.permissions, file.permissions), (expected, expected), "{vendor:?}: {told}");
}

#[tokio::test]
async fn rights_are_read_from_bits_letters_or_their_absence() {
    let edit = Permissions::EDIT;
    check_rights(Vendor::OwnCloud, "", edit).await;
    check_rights(Vendor::Nextcloud, "", Permissions::READ).await;
    for vendor in [Vendor::OwnCloud, Vendor::Nextcloud, Vendor::Ocis] {
        // ownCloud 10 and oCIS say this of a link for reading.
        check_rights(vendor, "<oc:permissions></oc:permissions>", Permissions::READ).await;
        check_rights(vendor, "<oc:permissions/>", Permissions::READ).await;
        check_rights(vendor, "<oc:permissions>RG</oc:permissions>", Permissions(17)).await;
        check_rights(vendor, "<oc:permissions>SMRDNVCKW</oc:permissions>", Permissions::ALL).await;
        check_rights(vendor, "<oc:permissions>RDNVCK</oc:permissions><x1:share-permissions>15</x1:share-permissions>", edit).await;
        check_rights(vendor, "<x1:share-permissions>1</x1:share-permissions>", Permissions::READ).await;
        check_rights(vendor, "<x1:share-permissions>none</x1:share-permissions><oc:permissions>R</oc:permissions>", Permissions(17)).await;
    }
}

/// How an etag of a remote is shown, where it can be shown as it is.
async fn check_etag(told: &str, shown: Option<&str>) {
    let file = FILE.replace("&quot;11&quot;", told);
    let (_peer, mount, _told) = listed(Vendor::OwnCloud, FOLDER, &[("a.txt", &file)]).await;
    let (_, children) = mount.handle.list(&Via::default(), &at("")).await.unwrap();
    let etag = children.get("a.txt").unwrap().etag.quoted();
    assert!(Etag::strong(&etag).is_some() && etag.len() <= 42, "{told}: {etag}");
    if let Some(shown) = shown {
        assert_eq!(etag, shown, "{told}");
    }
}

#[tokio::test]
async fn etags_become_strong_quoted_and_short() {
    check_etag("&quot;6b024952bf4ae&quot;", Some("\"6b024952bf4ae\"")).await;
    check_etag("6b024952bf4ae", Some("\"6b024952bf4ae\"")).await;
    check_etag("W/&quot;6b024952bf4ae&quot;", None).await;
    check_etag(&format!("&quot;{}&quot;", "6b02".repeat(30)), None).await;
    check_etag("", None).await;
}

#[tokio::test]
async fn times_are_read_as_servers_write_them() {
    for (told, expected) in [
        ("Sun, 22 Nov 2026 01:45:54 GMT", 1_795_311_954),
        ("Sunday, 22-Nov-26 01:45:54 GMT", 1_795_311_954),
        ("Sun Nov 22 01:45:54 2026", 1_795_311_954),
        ("2026-11-22T01:45:54Z", 1_795_311_954),
        ("2026-11-22T02:45:54+01:00", 1_795_311_954),
        ("Sun, 22 Nov 2026 02:45:54 +0100", 1_795_311_954),
        ("yesterday", 0),
        ("", 0),
    ] {
        let file = FILE.replace("Sun, 22 Nov 2026 01:45:54 GMT", told);
        let (_peer, mount, _told) = listed(Vendor::Nextcloud, FOLDER, &[("a.txt", &file)]).await;
        let (_, children) = mount.handle.list(&Via::default(), &at("")).await.unwrap();
        assert_eq!(children.get("a.txt").unwrap().modified, expected, "{told}");
    }
}

#[tokio::test]
async fn what_has_no_etag_is_asked_for_again_and_changes_show_all_the_same() {
    let nameless = FOLDER.replace("<d:getetag>&quot;6b024952bf4ae&quot;</d:getetag>", "");
    let (_peer, mount, told) = listed(Vendor::OwnCloud, &nameless, &[("a.txt", FILE)]).await;
    assert_eq!(mount.names("").await.unwrap(), ["a.txt"]);
    mount.handle.retry().await;
    let before = mount.handle.root().etag;
    mount.handle.retry().await;
    assert_eq!(mount.handle.root().etag, before, "nothing changed");
    // Not even its time changes.
    told.lock().unwrap().members.push(response("/public.php/webdav/b.txt", FILE));
    mount.handle.retry().await;
    assert_ne!(mount.handle.root().etag, before);
    assert_eq!(mount.names("").await.unwrap(), ["a.txt", "b.txt"]);
}

#[tokio::test]
async fn a_listing_is_not_older_than_the_etag_above_it() {
    let etag = |text: &str| FOLDER.replace("6b024952bf4ae", text);
    let below = Arc::new(Mutex::new(("one".to_owned(), String::new())));
    let telling = Arc::clone(&below);
    let peer = Peer::start(move |seen: &Seen| {
        let (version, more) = telling.lock().unwrap().clone();
        let (root, sub) = ("/public.php/webdav/", "/public.php/webdav/sub/");
        let text = match seen.path.as_str() {
            path if path == root => [response(root, &etag(&version)), response(sub, &etag(&version))].concat(),
            path if path.starts_with("/public.php/webdav/sub") => [response(sub, &etag(&version)), more].concat(),
            _ => return Err("nobody knows of that".to_owned()),
        };
        Ok(Reply::multistatus(&text))
    })
    .await;
    let mount = Mounted::new(&peer.url("/public.php/webdav/"), Vendor::Nextcloud, allowed(&peer.host()));
    assert_eq!(mount.names("").await.unwrap(), ["sub"]);
    assert!(mount.names("sub").await.unwrap().is_empty());
    // Within the two seconds for which an answer counts as present.
    *below.lock().unwrap() = ("two".to_owned(), response("/public.php/webdav/sub/late.txt", FILE));
    mount.handle.retry().await;
    assert_eq!(mount.handle.root().etag.quoted(), "\"two\"");
    assert_eq!(mount.names("sub").await.unwrap(), ["late.txt"], "a client that saw the new etag looks here once and never again");
}

#[tokio::test]
async fn a_503_that_says_not_found_is_a_link_that_is_gone() {
    let peer = Peer::start(|_seen: &Seen| Ok(sabre(503, "NotFound", ""))).await;
    let mount = Mounted::new(&peer.url("/public.php/dav/files/token/"), Vendor::Nextcloud, allowed(&peer.host()));
    let error = mount.names("").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { cause: OfflineCause::Withdrawn, .. }), "{error:?}");
    assert_eq!(mount.handle.state(), MountState::Withdrawn);
    let peer = Peer::start(|_seen: &Seen| Ok(sabre(503, "ServiceUnavailable", "System in maintenance mode."))).await;
    let mount = Mounted::new(&peer.url("/public.php/dav/files/token/"), Vendor::Nextcloud, allowed(&peer.host()));
    let error = mount.names("").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { cause: OfflineCause::RemoteBusy, .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_hides_what_it_is_is_known_by_its_properties() {
    for status in [404, 403, 500] {
        let peer = Peer::start(move |seen: &Seen| {
            Ok(match (seen.method.as_str(), seen.path.as_str()) {
                ("GET", "/cloud/status.php") => Reply::html(status, "no"),
                ("PROPFIND", "/cloud/public.php/webdav/") => {
                    Reply::multistatus(&response("/cloud/public.php/webdav/", &[FOLDER, "<oc:id>00000005ociclky0xdc1</oc:id>"].concat()))
                }
                ("GET", "/cloud/index.php/s/9j4HFNpiXNFqoX3") => Reply::html(200, "<div data-name=\"Photos\"></div>"),
                _ => return Err("this is not where it is".to_owned()),
            })
        })
        .await;
        let probe = remotes(vec![allowed(&peer.host())]).probe(&peer.url("/cloud/s/9j4HFNpiXNFqoX3"), None).await.unwrap();
        assert_eq!((probe.vendor, probe.name.as_str()), (Vendor::OwnCloud, "Photos"), "PHP stores nothing of a body without a length");
    }
}

#[tokio::test]
async fn a_server_is_known_by_its_status() {
    for (status, vendor) in [
        (r#"{"installed":"true","version":"7.0.15.2","versionstring":"7.0.15","edition":""}"#, Vendor::OwnCloud),
        (r#"{"installed":"true","maintenance":"false","version":"8.0.16.2","versionstring":"8.0.16","edition":null}"#, Vendor::OwnCloud),
        (
            r#"{"installed":true,"maintenance":false,"version":"32.0.1.2","productname":"Nextcloud","extendedSupport":false}"#,
            Vendor::Nextcloud,
        ),
        (r#"{"installed":true,"version":"10.11.0.0","productname":"Infinite Scale","product":"Infinite Scale"}"#, Vendor::Ocis),
        (r#"{"installed":true,"version":"10.11.0.0","productname":"OpenCloud","product":"OpenCloud"}"#, Vendor::Ocis),
        // A provider's name in place of the product's.
        (r#"{"installed":true,"version":"11.0.0.0","productname":"Example Drive","product":"ownCloud"}"#, Vendor::OwnCloud),
    ] {
        let own = response("HREF", &[FOLDER, "<oc:id>00000005ociclky0xdc1</oc:id>"].concat());
        let peer = Peer::start(move |seen: &Seen| {
            Ok(match (seen.method.as_str(), seen.path.as_str()) {
                ("GET", "/status.php") => Reply::json(200, status),
                ("PROPFIND", path) => Reply::multistatus(&own.replace("HREF", path)),
                _ => Reply::html(200, ""),
            })
        })
        .await;
        let probe = remotes(vec![allowed(&peer.host())]).probe(&peer.url("/s/9j4HFNpiXNFqoX3"), None).await.unwrap();
        assert_eq!(probe.vendor, vendor, "{status}");
    }
    let peer = Peer::start(|seen: &Seen| match seen.path.as_str() {
        "/status.php" => Ok(Reply::json(200, r#"{"installed":true,"maintenance":true,"version":"11.0.0.0"}"#)),
        _ => Err("a server that is maintained is asked nothing more".to_owned()),
    })
    .await;
    let fault = remotes(vec![allowed(&peer.host())]).probe(&peer.url("/s/9j4HFNpiXNFqoX3"), None).await.unwrap_err();
    assert_eq!(fault, ProbeFault::Busy);
}

/// What a page and what stands beside it say of a link.
async fn check_page(link: &str, answer: fn(&str) -> Reply, expected: impl FnOnce(&Result<LinkState, causeway::remote::Error>) -> bool) {
    let peer = Peer::start(move |seen: &Seen| Ok(answer(&seen.to_string()))).await;
    let state = remotes(vec![allowed(&peer.host())]).link_state(&peer.url(link), Vendor::OwnCloud, &Secret::default(), false).await;
    assert!(expected(&state), "{link}: {state:?}");
}

#[tokio::test]
async fn a_link_is_gone_only_where_nothing_says_otherwise() {
    const OLD: &str = "/index.php/s/0123456789abcdef0123456789abcdef";
    let gone = |state: &Result<LinkState, _>| matches!(state, Ok(LinkState::Gone));
    let unknown = |state: &Result<LinkState, _>| state.is_err();
    check_page("/index.php/s/abc", |_| Reply::html(404, ""), gone).await;
    check_page("/index.php/s/abc", |asked| Reply::html(if asked.starts_with("GET /s/") { 503 } else { 404 }, ""), unknown).await;
    check_page(
        "/index.php/s/abc",
        |asked| Reply::html(if asked.starts_with("GET /s/") { 200 } else { 404 }, ""),
        |state| matches!(state, Ok(LinkState::Open)),
    )
    .await;
    check_page(OLD, |_| Reply::html(404, ""), gone).await;
    // ownCloud 7 while its database is away.
    check_page(OLD, |asked| Reply::html(if asked.contains("/s/") { 404 } else { 503 }, ""), unknown).await;
    // A Nextcloud that was an ownCloud 7 once: it keeps the token and has forgotten the form.
    check_page(OLD, |asked| Reply::html(if asked.starts_with("GET /public.php?service=files") { 500 } else { 404 }, ""), gone).await;
}

#[tokio::test]
async fn faults_of_a_probe_are_one_sentence_each() {
    for fault in [ProbeFault::SingleFile, ProbeFault::Throttled, ProbeFault::SharingSwitchedOff, ProbeFault::UploadOnly] {
        let text = fault.to_string();
        assert!(text.contains(": ") && !text.contains('\n') && !text.ends_with('.') && text.len() < 200, "{text}");
        assert_eq!(fault.clone().for_users(), fault, "it tells nothing of networks");
    }
}
