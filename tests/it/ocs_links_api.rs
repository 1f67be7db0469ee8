//! The share API for public links, as tables of request and answer from `protocol/owncloud.md` 3.6 and `protocol/nextcloud.md` 2.1.

use causeway::config::PublicUrl;
use causeway::domain::Clock;
use causeway::service::admin::Command;
use serde_json::{Value, json};

use crate::ocs::json as parsed;
use crate::support::server::{TestServer, password};
use crate::support::sharing::{group_of, users};

const SHARES: &str = "/apps/files_sharing/api/v1/shares";

/// What a request says, and what of the answer's fields is to be so.
type Row = (&'static str, Value);

#[track_caller]
fn check(link: &Value, what: &str, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&link[name], value, "{what}: {name}");
    }
}

fn id(link: &Value) -> String {
    format!("{SHARES}/{}", link["id"].as_str().unwrap())
}

const DOWNLOADS_ALLOWED: &str = "attributes=%5B%7B%22scope%22%3A%22permissions%22%2C%22key%22%3A%22download%22%2C%22value%22%3Atrue%7D%5D";
const DOWNLOADS_FORBIDDEN: &str =
    "attributes=%5B%7B%22scope%22%3A%22permissions%22%2C%22key%22%3A%22download%22%2C%22enabled%22%3Afalse%7D%5D";

/// What is made, as the live servers answered; where the families differ, the comment says which one this is.
fn made() -> Vec<Row> {
    vec![
        ("path=/Photos", json!({"permissions": 1, "share_type": 3, "item_type": "folder", "password": null, "share_with": null})),
        ("path=/Photos&permissions=1", json!({"permissions": 1})),
        ("path=/Photos&permissions=3", json!({"permissions": 3})),
        ("path=/Photos&permissions=4", json!({"permissions": 4})),
        ("path=/Photos&permissions=5", json!({"permissions": 5})),
        ("path=/Photos&permissions=15", json!({"permissions": 15})),
        // ownCloud: what is no set of rights for a link silently becomes reading. Not so what does not read: its contents would be shown (attack F2).
        ("path=/Photos&permissions=7", json!({"permissions": 1})),
        ("path=/Photos&permissions=9", json!({"permissions": 1})),
        ("path=/Photos&permissions=6", json!({"permissions": 4})),
        ("path=/Photos&permissions=12", json!({"permissions": 4})),
        ("path=/Photos&permissions=14", json!({"permissions": 4})),
        ("path=/Photos&permissions=20", json!({"permissions": 4})),
        // Nextcloud: its defaults with the right to share, which means nothing for a link. ownCloud makes 1 of 31.
        ("path=/Photos&permissions=17", json!({"permissions": 1})),
        ("path=/Photos&permissions=31", json!({"permissions": 15})),
        ("path=/Photos&publicUpload=true", json!({"permissions": 15})),
        ("path=/Photos&publicUpload=true&permissions=1", json!({"permissions": 15})),
        ("path=/Photos&publicUpload=false", json!({"permissions": 1})),
        ("path=/Photos&publicUpload=false&permissions=15", json!({"permissions": 1})),
        (
            "path=/Photos/a.txt&permissions=15",
            json!({"permissions": 3, "item_type": "file", "mimetype": "text/plain", "file_target": "/Photos/a.txt"}),
        ),
        ("path=/Photos/a.txt&permissions=5", json!({"permissions": 1})),
        ("path=/Photos&name=for+all", json!({"name": "for all", "label": "for all"})),
        ("path=/Photos&label=lbl&note=hi", json!({"name": "lbl", "label": "lbl", "note": "hi"})),
        ("path=/Photos&password=s3cretPw", json!({"share_with": "***redacted***", "share_with_displayname": "***redacted***"})),
        ("path=/Photos&password=", json!({"share_with": null, "share_with_displayname": "(Shared link)"})),
        ("path=/Photos&expireDate=2099-12-31", json!({"expiration": "2099-12-31 00:00:00"})),
        ("path=/Photos&expireDate=2099-12-31T00:00:00.000Z", json!({"expiration": "2099-12-31 00:00:00"})),
        ("path=/Photos&expireDate=2099-12-31+00:00:00", json!({"expiration": "2099-12-31 00:00:00"})),
        ("path=/Photos&expireDate=", json!({"expiration": null})),
        // Not offered, and said so (attack L2): a page can hide a button, not the file that it shows.
        ("path=/Photos&hideDownload=true", json!({"hide_download": 0})),
        ("path=/Photos&sendPasswordByTalk=true", json!({"send_password_by_talk": false})),
        (
            "path=/Photos&attributes=%5B%7B%22scope%22%3A%22permissions%22%2C%22key%22%3A%22download%22%2C%22value%22%3Afalse%7D%5D",
            json!({"attributes": null}),
        ),
    ]
}

#[tokio::test]
async fn links_are_made_as_both_families_make_them() {
    let server = users(&["anna"]).await;
    for (form, expected) in made() {
        let link = server.ocs_ok("anna", "POST", SHARES, &format!("{form}&shareType=3")).await;
        check(&link, form, &expected);
        // The first version makes the same of it, in XML.
        let first = server.ask("POST", &format!("/ocs/v1.php{SHARES}")).basic("anna", &password("anna")).header("ocs-apirequest", "true");
        let first =
            first.header("content-type", "application/x-www-form-urlencoded").body(format!("{form}&shareType=3")).expect(200).await.text();
        assert!(first.contains("<statuscode>100</statuscode>"), "{form}: {first}");
        assert!(first.contains(&format!("<permissions>{}</permissions>", link["permissions"])), "{form}: {first}");
    }
    // Several links per node, each with an address of its own.
    let all = server.ocs_ok("anna", "GET", &format!("{SHARES}?path=/Photos"), "").await;
    let mut tokens: Vec<&str> = all.as_array().unwrap().iter().map(|link| link["token"].as_str().unwrap()).collect();
    let count = tokens.len();
    tokens.sort_unstable();
    tokens.dedup();
    assert!(tokens.len() == count && count > 40, "{count}");
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_link_is_refused_with_the_codes_of_both_families() {
    let server = users(&["anna"]).await;
    let drops = "Without public upload nothing is left of a link that only takes files: say permissions=1 for one that shows them";
    let neither = "A link shows something or takes files: permissions are 1, 3, 4, 5 or 15";
    let wrong: [(&str, u16, &str); 20] = [
        ("shareType=3", 404, "Please specify a file or folder path"),
        ("shareType=3&path=", 404, "Please specify a file or folder path"),
        ("shareType=3&path=/None", 404, "Wrong path, file/folder doesn't exist"),
        ("shareType=3&path=/Photos/../..", 404, "Wrong path, file/folder doesn't exist"),
        ("path=/Photos", 400, "Unknown share type"),
        ("shareType=2&path=/Photos", 400, "Unknown share type"),
        ("shareType=link&path=/Photos", 400, "Unknown share type"),
        ("shareType=3&path=/Photos/a.txt&permissions=4", 404, "Public upload is only possible for publicly shared folders"),
        ("shareType=3&path=/Photos/a.txt&publicUpload=true", 404, "Public upload is only possible for publicly shared folders"),
        ("shareType=3&path=/Photos&expireDate=2001-01-01", 404, "Expiration date is in the past"),
        ("shareType=3&path=/Photos&expireDate=31.12.2099", 404, "Invalid date, format must be YYYY-MM-DD"),
        ("shareType=3&path=/Photos&permissions=99", 404, "Invalid permissions"),
        ("shareType=3&path=/Photos&permissions=0", 400, neither),
        ("shareType=3&path=/Photos&permissions=2", 400, neither),
        ("shareType=3&path=/Photos&permissions=8", 400, neither),
        ("shareType=3&path=/Photos&permissions=10", 400, neither),
        ("shareType=3&path=/Photos&permissions=16", 400, neither),
        ("shareType=3&path=/Photos&permissions=4&publicUpload=false", 400, drops),
        ("shareType=3&path=/Photos/a.txt&permissions=6", 404, "Public upload is only possible for publicly shared folders"),
        ("shareType=3&path=/Photos/a.txt&permissions=14", 404, "Public upload is only possible for publicly shared folders"),
    ];
    for (form, code, message) in wrong {
        assert_eq!(server.ocs_fails("anna", "POST", SHARES, form, code).await, message, "{form}");
    }
    assert_eq!(server.ocs_ok("anna", "GET", SHARES, "").await, json!([]));
    // What the administrator does not allow is 403, whatever the rule.
    for (rule, value, form) in [
        ("link_passwords", "read,edit,drop", "shareType=3&path=/Photos"),
        ("public_upload", "off", "shareType=3&path=/Photos&permissions=15&password=s3cretPw"),
        ("link_expiry_max", "7", "shareType=3&path=/Photos&expireDate=2099-12-31&password=s3cretPw"),
        ("links", "off", "shareType=3&path=/Photos&password=s3cretPw"),
    ] {
        server.execute(Command::Sharing { set: Some((rule.to_owned(), value.to_owned())) }).await;
        server.ocs_fails("anna", "POST", SHARES, form, 403).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn links_are_changed_one_thing_at_a_time() {
    let server = users(&["anna"]).await;
    let link = server.ocs_ok("anna", "POST", SHARES, "path=/Photos&shareType=3&password=s3cretPw&expireDate=2099-12-31&name=lbl").await;
    let one = id(&link);
    let changes: Vec<Row> = vec![
        ("permissions=3", json!({"permissions": 3, "name": "lbl", "expiration": "2099-12-31 00:00:00", "share_with": "***redacted***"})),
        ("permissions=7", json!({"permissions": 7})),
        ("permissions=31", json!({"permissions": 15})),
        ("publicUpload=false", json!({"permissions": 1})),
        ("publicUpload=true", json!({"permissions": 15})),
        ("permissions=5&publicUpload=false", json!({"permissions": 1})),
        ("permissions=4", json!({"permissions": 4})),
        ("permissions=1", json!({"permissions": 1})),
        ("password=0therPw", json!({"share_with": "***redacted***", "permissions": 1})),
        ("password=", json!({"share_with": null, "name": "lbl"})),
        ("expireDate=2098-01-01T12:00:00Z", json!({"expiration": "2098-01-01 00:00:00"})),
        ("expireDate=", json!({"expiration": null})),
        ("label=other", json!({"label": "other", "name": "other"})),
        ("note=look", json!({"note": "look"})),
        ("hideDownload=false", json!({"hide_download": 0, "note": "look"})),
        (DOWNLOADS_ALLOWED, json!({"attributes": null, "note": "look"})),
        ("permissions=5&password=s3cretPw&note=&name=", json!({"permissions": 5, "note": "", "label": "", "share_with": "***redacted***"})),
    ];
    for (form, expected) in changes {
        check(&server.ocs_ok("anna", "PUT", &one, form).await, form, &expected);
    }
    for (form, code) in [
        ("permissions=0", 400),
        ("permissions=2", 400),
        ("permissions=6", 400),
        ("permissions=8", 400),
        ("permissions=12", 400),
        ("permissions=16", 400),
        ("permissions=4&publicUpload=false", 400),
        ("permissions=1&hideDownload=true", 400),
        (DOWNLOADS_FORBIDDEN, 400),
        ("", 400),
        ("somethingElse=1", 400),
        ("expireDate=2001-01-01", 404),
    ] {
        server.ocs_fails("anna", "PUT", &one, form, code).await;
    }
    assert_eq!(server.ocs_ok("anna", "GET", &one, "").await[0]["permissions"], 5, "what is refused changes nothing");
    server.ocs_ok("anna", "PUT", &one, "permissions=4").await;
    server.ocs_fails("anna", "PUT", &one, "publicUpload=false", 400).await;
    assert_eq!(server.ocs_ok("anna", "GET", &one, "").await[0]["permissions"], 4, "what takes files does not show them");
    for wrong in ["/999999", "/abc", "/-1"] {
        let message = server.ocs_fails("anna", "PUT", &format!("{SHARES}{wrong}"), "permissions=1", 404).await;
        assert_eq!(message, "Wrong share ID, share doesn't exist");
    }
    server.stop().await;
}

#[tokio::test]
async fn l2_hiding_downloads_is_not_offered_where_it_would_not_hold() {
    let server = users(&["anna"]).await;
    let link = server.ocs_ok("anna", "POST", SHARES, "path=/Photos/a.txt&shareType=3&hideDownload=true").await;
    assert_eq!((&link["hide_download"], &link["attributes"]), (&json!(0), &Value::Null));
    let page = server.ask("GET", &format!("/s/{}/download", link["token"].as_str().unwrap())).expect(200).await;
    assert_eq!(page.text(), "from anna");
    server.stop().await;
}

#[tokio::test]
async fn l10_links_begin_with_the_name_that_is_used_if_it_is_ours() {
    let server = TestServer::start_with(Clock::System, |config| {
        config.public_url = Some(PublicUrl::parse("https://cloud.example/dav").unwrap());
        config.trusted_domains = vec!["other.example:8443".to_owned()];
    })
    .await;
    server.add_user("anna").await;
    server.put("anna", "/a.txt", "x").await;
    let made = server.ocs_ok("anna", "POST", SHARES, "path=/a.txt&shareType=3").await;
    let token = made["token"].as_str().unwrap();
    let url = async |host: Option<&str>| {
        // The last header counts, as with a proxy that sets it.
        let mut ask = server.ask("GET", &format!("/ocs/v2.php{SHARES}?format=json"));
        ask = match host {
            Some(host) => crate::support::server::Ask::with_host(server.address(), host, &format!("/ocs/v2.php{SHARES}?format=json")),
            None => ask,
        };
        let answer = ask.basic("anna", &password("anna")).header("ocs-apirequest", "true").expect(200).await;
        parsed(&answer)["ocs"]["data"][0]["url"].as_str().unwrap().strip_suffix(&format!("/s/{token}")).unwrap().to_owned()
    };
    // An address of this machine is of no use to others.
    assert_eq!(url(None).await, "https://cloud.example/dav");
    assert_eq!(url(Some("cloud.example")).await, "https://cloud.example/dav");
    assert_eq!(url(Some("other.example:8443")).await, "https://other.example:8443/dav");
    assert_eq!(url(Some("evil.example")).await, "https://cloud.example/dav");
    server.stop().await;
}

#[tokio::test]
async fn lists_heed_what_clients_ask_for() {
    let server = users(&["anna", "bob"]).await;
    server.ocs_ok("anna", "POST", SHARES, "path=/Photos&shareType=3").await;
    server.ocs_ok("anna", "POST", SHARES, "path=/Photos&shareType=0&shareWith=bob").await;
    let kinds = async |query: &str| {
        let rows = server.ocs_ok("anna", "GET", &format!("{SHARES}?{query}"), "").await;
        rows.as_array().unwrap().iter().map(|row| row["share_type"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(kinds("").await, [0, 3]);
    assert_eq!(kinds("share_types=3").await, [3]);
    assert_eq!(kinds("share_types=0,1").await, [0]);
    assert_eq!(kinds("path=/Photos&reshares=true&share_types=0,3").await, [0, 3]);
    assert_eq!(kinds("path=/Photos&subfiles=true").await, Vec::<u64>::new());
    server.ocs_fails("anna", "GET", &format!("{SHARES}?path=/Photos/a.txt&subfiles=true"), "", 400).await;
    server.ocs_fails("anna", "GET", &format!("{SHARES}?path=/None"), "", 404).await;
    assert_eq!(server.ocs_ok("anna", "GET", &format!("{SHARES}?include_tags=true"), "").await[0]["tags"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn sharees_are_found_and_recommended() {
    let server = users(&["anna", "bob", "bert"]).await;
    group_of(&server, "band", &["bob"]).await;
    let sharees = "/apps/files_sharing/api/v1/sharees";
    let found = server.ocs_ok("anna", "GET", &format!("{sharees}?itemType=file&search=b&perPage=200&lookup=true"), "").await;
    for kind in ["remotes", "remote_groups", "emails", "circles", "rooms", "lookup"] {
        assert_eq!((&found[kind], &found["exact"][kind]), (&json!([]), &json!([])), "{kind}");
    }
    let names = |list: &Value| list.as_array().unwrap().iter().map(|one| one["value"]["shareWith"].clone()).collect::<Vec<_>>();
    let found = async |query: &str| server.ocs_ok("anna", "GET", &format!("{sharees}?itemType=file&{query}"), "").await;
    assert_eq!(names(&found("search=be").await["users"]), ["bert"]);
    assert_eq!(names(&found("search=bob").await["exact"]["users"]), ["bob"]);
    let remote = found("search=carol%40cloud.example").await;
    assert_eq!(
        remote["exact"]["remotes"][0]["value"],
        json!({"shareType": 6, "shareWith": "carol@cloud.example", "server": "cloud.example"})
    );
    for (query, message) in [("page=0", "Invalid page"), ("page=-1", "Invalid page"), ("perPage=0", "Invalid perPage argument")] {
        assert_eq!(server.ocs_fails("anna", "GET", &format!("{sharees}?itemType=file&search=b&{query}"), "", 400).await, message);
    }
    let recommended = "/apps/files_sharing/api/v1/sharees_recommended?itemType=file";
    let none = server.ocs_ok("anna", "GET", recommended, "").await;
    assert_eq!((&none["users"], &none["exact"]["users"]), (&json!([]), &json!([])));
    server.ocs_ok("anna", "POST", SHARES, "path=/Photos&shareType=0&shareWith=bert").await;
    server.ocs_ok("anna", "POST", SHARES, "path=/Photos/sub&shareType=0&shareWith=bert").await;
    server.ocs_ok("anna", "POST", SHARES, "path=/Photos&shareType=1&shareWith=band").await;
    let told = server.ocs_ok("anna", "GET", recommended, "").await;
    assert_eq!((names(&told["users"]), names(&told["groups"])), (vec![json!("bert")], vec![json!("band")]));
    assert_eq!(server.ocs_ok("bob", "GET", recommended, "").await["users"], json!([]), "what others do is not told");
    server.ocs_fails("anna", "POST", recommended, "", 405).await;
    server.stop().await;
}
