//! What sync clients ask before they sync: `status.php`, capabilities, who they are; and what they probe for in passing.

use causeway::config::PublicUrl;
use causeway::domain::{ClientVersion, Clock};
use causeway::service::admin::{AccountCommand, Command};
use serde_json::Value;

use crate::support::server::{Answer, Ask, TestServer, password};

/// JSON of an answer.
pub(crate) fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// A request of anna's.
fn anna(server: &TestServer, method: &str, path: &str) -> Ask {
    server.ask(method, path).basic("anna", &password("anna"))
}

#[tokio::test]
async fn status_says_what_both_families_accept() {
    let server = TestServer::start().await;
    let answer = server.ask("GET", "/status.php").expect(200).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let status = json(&answer);
    assert_eq!(status["version"], ClientVersion::DEFAULT.to_string());
    assert_eq!(status["versionstring"], ClientVersion::DEFAULT.short());
    assert_eq!(status["productname"], "Causeway");
    assert_eq!((&status["installed"], &status["maintenance"], &status["needsDbUpgrade"]), (&true.into(), &false.into(), &false.into()));
    server.ask("HEAD", "/status.php").expect(200).await;
    server.ask("POST", "/status.php").expect(405).await;
    server.stop().await;
}

#[tokio::test]
async fn the_version_that_clients_are_told_can_be_configured() {
    let server = TestServer::start_with(Clock::System, |config| config.client_version = ClientVersion::parse("10.15.0.0").unwrap()).await;
    assert_eq!(json(&server.ask("GET", "/status.php").expect(200).await)["versionstring"], "10.15.0");
    let capabilities = json(&server.ask("GET", "/ocs/v1.php/cloud/capabilities?format=json").expect(200).await);
    assert_eq!(capabilities["ocs"]["data"]["version"]["string"], "10.15.0");
    assert_eq!(capabilities["ocs"]["data"]["capabilities"]["core"]["status"]["version"], "10.15.0.0");
    server.stop().await;
}

#[tokio::test]
async fn capabilities_are_short_for_strangers_and_whole_for_users() {
    let server = TestServer::with_user("anna").await;
    let path = "/ocs/v2.php/cloud/capabilities?format=json";
    let stranger = json(&server.ask("GET", path).expect(200).await);
    let known = stranger["ocs"]["data"]["capabilities"].as_object().unwrap();
    assert_eq!(known.keys().collect::<Vec<_>>(), ["core"]);
    let answer = anna(&server, "GET", path).expect(200).await;
    assert!(answer.text().contains("\"statuscode\":200,"), "clients look for it without a blank: {}", answer.text());
    let capabilities = &json(&answer)["ocs"]["data"]["capabilities"];
    assert_eq!(capabilities["core"]["webdav-root"], "remote.php/webdav");
    assert_eq!(capabilities["dav"]["chunking"], "1.0");
    assert_eq!(capabilities["checksums"]["supportedTypes"], serde_json::json!(["SHA1"]));
    assert_eq!(capabilities["files"]["bigfilechunking"], true);
    assert_eq!(capabilities["files"]["file_locking_support"], true);
    assert_eq!(capabilities["files_sharing"]["federation"]["incoming"], true);
    assert!(capabilities["files"].get("tus_support").is_none());
    server.ask("GET", path).basic("anna", "wrong").expect(401).await;
    server.stop().await;
}

#[tokio::test]
async fn capabilities_name_trash_and_versions_only_where_they_are_kept() {
    type Change = fn(&mut causeway::config::Config);
    let cases: [(Change, bool, bool); 3] = [
        (|_config| {}, true, true),
        (|config| config.trash = causeway::domain::Keep::NOTHING, false, true),
        (|config| config.versions.max_share = 0, true, false),
    ];
    for (change, trash, versions) in cases {
        let server = TestServer::start_with(Clock::System, change).await;
        server.add_user("anna").await;
        let answer = json(&anna(&server, "GET", "/ocs/v2.php/cloud/capabilities?format=json").expect(200).await);
        let capabilities = &answer["ocs"]["data"]["capabilities"];
        assert_eq!((&capabilities["files"]["undelete"], &capabilities["files"]["versioning"]), (&trash.into(), &versions.into()));
        assert_eq!(capabilities["dav"].get("trashbin").is_some(), trash);
        server.stop().await;
    }
}

#[tokio::test]
async fn both_versions_and_both_formats_wrap_the_same_answer() {
    let server = TestServer::with_user("anna").await;
    for root in ["/ocs", "/index.php/ocs"] {
        for (version, code) in [("v1.php", 100), ("v2.php", 200)] {
            let path = format!("{root}/{version}/cloud/user");
            let answer = anna(&server, "GET", &format!("{path}?format=json")).expect(200).await;
            let envelope = json(&answer);
            assert_eq!((&envelope["ocs"]["meta"]["statuscode"], &envelope["ocs"]["meta"]["status"]), (&code.into(), &"ok".into()));
            let data = &envelope["ocs"]["data"];
            assert_eq!((&data["id"], &data["display-name"], &data["enabled"]), (&"anna".into(), &"anna".into(), &true.into()));
            assert_eq!(data["quota"]["quota"], -3);
            let answer = anna(&server, "GET", &path).expect(200).await;
            assert_eq!(answer.header("content-type"), Some("application/xml; charset=utf-8"));
            causeway::wire::xml::parse(&answer.body).unwrap();
            assert!(answer.text().contains(&format!("<statuscode>{code}</statuscode>")), "{}", answer.text());
            assert!(answer.text().contains("<id>anna</id>"), "{}", answer.text());
            let accepted = anna(&server, "GET", &path).header("accept", "application/json").expect(200).await;
            assert_eq!(json(&accepted)["ocs"]["data"]["id"], "anna");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_log_in_is_challenged_but_scripts_in_pages_are_not() {
    let server = TestServer::with_user("anna").await;
    for version in ["v1.php", "v2.php"] {
        let path = format!("/ocs/{version}/cloud/user?format=json");
        for ask in
            [server.ask("GET", &path), server.ask("GET", &path).basic("anna", "wrong"), server.ask("GET", &path).basic("nobody", "x")]
        {
            let refused = ask.expect(401).await;
            assert_eq!(json(&refused)["ocs"]["meta"]["statuscode"], 997);
            assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"Causeway\", charset=\"UTF-8\""));
        }
        let scripted = server.ask("GET", &path).header("x-requested-with", "XMLHttpRequest").expect(401).await;
        assert_eq!(scripted.header("www-authenticate"), None);
    }
    server.stop().await;
}

#[tokio::test]
async fn f4_logins_at_ocs_count_like_any_other() {
    let server = TestServer::start_with(Clock::fixed(1_800_000_000), |_config| {}).await;
    server.add_user("anna").await;
    for number in 0..20 {
        server.ask("GET", "/ocs/v1.php/cloud/user").basic("anna", &format!("guess {number}")).expect(401).await;
    }
    let slowed = server.ask("GET", "/ocs/v1.php/cloud/user?format=json").basic("anna", "another").expect(429).await;
    assert_eq!(json(&slowed)["ocs"]["meta"]["statuscode"], 429);
    assert!(slowed.header("retry-after").is_some());
    server.ask("GET", "/webdav/").basic("anna", &password("anna")).expect(429).await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_in_an_envelope() {
    let server = TestServer::with_user("anna").await;
    for path in ["apps/user_status/api/v1/user_status", "apps/notifications/api/v2/notifications", "cloud/nothing", ""] {
        let two = anna(&server, "GET", &format!("/ocs/v2.php/{path}?format=json")).expect(404).await;
        assert_eq!(json(&two)["ocs"]["meta"]["statuscode"], 998);
        let one = anna(&server, "GET", &format!("/ocs/v1.php/{path}?format=json")).expect(200).await;
        assert_eq!((&json(&one)["ocs"]["meta"]["statuscode"], &json(&one)["ocs"]["meta"]["status"]), (&998.into(), &"failure".into()));
    }
    for path in ["/ocs/", "/ocs/v3.php/cloud/user", "/ocs/v1.phpx/cloud/user", "/ocs/v2.php/cloud/%ff"] {
        assert!(anna(&server, "GET", path).expect(404).await.text().contains("<statuscode>998</statuscode>"), "{path}");
    }
    let refused = anna(&server, "DELETE", "/ocs/v2.php/cloud/capabilities?format=json").header("ocs-apirequest", "true").expect(405).await;
    assert_eq!(json(&refused)["ocs"]["meta"]["statuscode"], 405);
    server.stop().await;
}

#[tokio::test]
async fn probes_of_clients_are_answered_cleanly() {
    let server = TestServer::with_user("anna").await;
    let apps = anna(&server, "GET", "/ocs/v2.php/core/navigation/apps?absolute=true&format=json").expect(200).await;
    assert_eq!(json(&apps)["ocs"]["data"], serde_json::json!([]));
    server.ask("GET", "/ocs/v2.php/core/navigation/apps").expect(401).await;
    let config = server.ask("GET", "/ocs/v1.php/config?format=json").expect(200).await;
    assert_eq!((&json(&config)["ocs"]["data"]["version"], &json(&config)["ocs"]["data"]["ssl"]), (&"1.7".into(), &"false".into()));
    for path in ["/index.php/204", "/204"] {
        let nothing = server.ask("GET", path).expect(204).await;
        assert!(nothing.body.is_empty());
    }
    for path in ["/remote.php/dav/avatars/anna/128.png", "/.well-known/caldav", "/.well-known/carddav", "/.well-known/webfinger"] {
        anna(&server, "GET", path).expect(404).await;
    }
    for path in ["calendars/anna/", "addressbooks/anna/", "principals/users/anna/"] {
        let missing = anna(&server, "PROPFIND", &format!("/remote.php/dav/{path}")).header("depth", "0").expect(404).await;
        assert!(missing.text().contains("Sabre\\DAV\\Exception\\NotFound"), "{}", missing.text());
    }
    // The desktop client finds out by this how to log in: without body, Depth and password.
    let probe = server.ask("PROPFIND", "/remote.php/dav/files/anna/").expect(401).await;
    assert!(probe.header("www-authenticate").unwrap().starts_with("Basic "));
    server.ask("GET", "/").expect(200).await;
    server.stop().await;
}

#[tokio::test]
async fn everything_stands_below_the_path_of_the_public_url() {
    let server = TestServer::start_with(Clock::System, |config| {
        config.public_url = Some(PublicUrl::parse("https://cloud.example/files").unwrap());
    })
    .await;
    server.add_user("anna").await;
    for prefix in ["", "/files"] {
        server.ask("GET", &format!("{prefix}/status.php")).expect(200).await;
        anna(&server, "GET", &format!("{prefix}/ocs/v1.php/cloud/user")).expect(200).await;
        anna(&server, "GET", &format!("{prefix}/index.php/ocs/v1.php/cloud/user")).expect(200).await;
        server.ask("GET", &format!("{prefix}/index.php/204")).expect(204).await;
        let config = server.ask("GET", &format!("{prefix}/ocs/v2.php/config?format=json")).expect(200).await;
        assert_eq!(
            (&json(&config)["ocs"]["data"]["host"], &json(&config)["ocs"]["data"]["ssl"]),
            (&"cloud.example".into(), &"true".into())
        );
    }
    server.ask("GET", "/filesx/status.php").expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn l7_another_sites_page_cannot_use_a_remembered_password() {
    let server = TestServer::with_user("anna").await;
    let path = "/ocs/v2.php/core/getapppassword?format=json";
    for (name, value) in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example")] {
        let refused = anna(&server, "GET", path).header(name, value).expect(412).await;
        assert_eq!(json(&refused)["ocs"]["meta"]["statuscode"], 412);
    }
    server.execute(Command::Account { name: "anna".to_owned(), what: AccountCommand::AppPasswords }).await;
    anna(&server, "GET", path).header("sec-fetch-site", "same-origin").expect(200).await;
    server.stop().await;
}

#[tokio::test]
async fn a_quota_is_told_in_bytes() {
    let server = TestServer::start().await;
    let add = Command::UserAdd {
        name: "anna".to_owned(),
        admin: false,
        display_name: Some("Anna <&> Söhne".to_owned()),
        quota: Some(1000),
        password: causeway::domain::Secret::new(password("anna")),
    };
    server.execute(add).await;
    server.put("anna", "/a.txt", &"x".repeat(250)).await;
    let answer = anna(&server, "GET", "/ocs/v1.php/cloud/user?format=json").expect(200).await;
    let data = &json(&answer)["ocs"]["data"];
    assert_eq!(data["display-name"], "Anna <&> Söhne");
    assert_eq!(data["quota"], serde_json::json!({"free": 750, "used": 250, "total": 1000, "relative": 25, "quota": 1000}));
    assert!(anna(&server, "GET", "/ocs/v1.php/cloud/user").expect(200).await.text().contains("Anna &lt;&amp;&gt; Söhne"));
    server.stop().await;
}

#[tokio::test]
async fn l7_a_browser_that_does_not_say_where_a_request_is_from_must_prove_that_a_program_made_it() {
    let server = TestServer::with_user("anna").await;
    let form = |body: &str| {
        let ask =
            anna(&server, "PUT", "/ocs/v2.php/cloud/users/anna?format=json").header("content-type", "application/x-www-form-urlencoded");
        ask.body(body)
    };
    let stolen = "key=password&value=stolen";
    let refused = form(stolen).expect(412).await;
    assert_eq!(json(&refused)["ocs"]["meta"]["statuscode"], 412);
    assert!(refused.text().contains("OCS-APIRequest"), "{}", refused.text());
    form(stolen).header("origin", "null").expect(412).await;
    form(stolen).header("origin", "null").header("ocs-apirequest", "true").expect(412).await;
    form(stolen).header("sec-fetch-site", "none").expect(412).await;
    let plain = anna(&server, "POST", "/ocs/v2.php/cloud/users").header("content-type", "text/plain");
    plain.body(r#"{"userid":"x","password":"y"}"#).expect(412).await;
    for path in ["core/getapppassword", "core/getapppass%77ord"] {
        anna(&server, "GET", &format!("/ocs/v2.php/{path}")).expect(412).await;
        anna(&server, "GET", &format!("/index.php/ocs/v2.php/{path}")).header("sec-fetch-site", "none").expect(412).await;
    }
    form("key=email&value=a@example.org").header("ocs-apirequest", "true").expect(200).await;
    form("key=email&value=b@example.org").header("origin", &format!("http://{}", server.host())).expect(200).await;
    let put = anna(&server, "PUT", "/ocs/v2.php/cloud/users/anna").header("content-type", "application/json; charset=utf-8");
    put.body(r#"{"key":"email","value":"c@example.org"}"#).expect(200).await;
    // Nothing is changed by looking.
    anna(&server, "GET", "/ocs/v2.php/cloud/user").expect(200).await;
    server.stop().await;
}
