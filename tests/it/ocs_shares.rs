//! The share API as clients of both families use it.

use causeway::domain::Clock;
use serde_json::{Value, json};

use crate::ocs::json as parsed;
use crate::support::federation::names;
use crate::support::server::{Answer, TestServer, password};
use crate::support::sharing::{group_of, share, users};

const SHARES: &str = "/apps/files_sharing/api/v1/shares";

impl TestServer {
    /// A request to the second version, with a form.
    pub(crate) async fn ocs(&self, user: &str, method: &str, path: &str, form: &str) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let ask = self.ask(method, &format!("/ocs/v2.php{path}?format=json&{query}")).basic(user, &password(user));
        ask.header("ocs-apirequest", "true").header("content-type", "application/x-www-form-urlencoded").body(form).send().await
    }

    /// The data of a request that must succeed.
    pub(crate) async fn ocs_ok(&self, user: &str, method: &str, path: &str, form: &str) -> Value {
        let answer = self.ocs(user, method, path, form).await;
        assert_eq!(answer.status, 200, "{method} {path} {form}: {}", answer.text());
        assert!(!answer.text().contains("argon2"), "a hash is shown: {}", answer.text());
        parsed(&answer)["ocs"]["data"].clone()
    }

    /// Makes a request that must be refused with a code, in both versions.
    pub(crate) async fn ocs_fails(&self, user: &str, method: &str, path: &str, form: &str, code: u16) -> String {
        let answer = self.ocs(user, method, path, form).await;
        assert_eq!(answer.status, code, "{method} {path} {form}: {}", answer.text());
        let meta = parsed(&answer)["ocs"]["meta"].clone();
        assert_eq!((&meta["statuscode"], &meta["status"]), (&json!(code), &json!("failure")), "{path}");
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let first = self.ask(method, &format!("/ocs/v1.php{bare}?format=json&{query}")).basic(user, &password(user));
        let first = first.header("ocs-apirequest", "true").header("content-type", "application/x-www-form-urlencoded");
        let first = first.body(form).expect(200).await;
        assert_eq!(parsed(&first)["ocs"]["meta"]["statuscode"], json!(code), "{path}");
        meta["message"].as_str().unwrap().to_owned()
    }
}

/// The numbers and receivers of a list.
fn rows(list: &Value) -> Vec<(String, u64, Value)> {
    let row = |row: &Value| (row["path"].as_str().unwrap().to_owned(), row["share_type"].as_u64().unwrap(), row["share_with"].clone());
    list.as_array().unwrap().iter().map(row).collect()
}

#[tokio::test]
async fn a_public_link_is_made_changed_and_ended() {
    let server = users(&["anna", "bob"]).await;
    let form = "path=%2FPhotos&shareType=3&permissions=15&publicUpload=true&password=s3cretPw&expireDate=2099-12-31&label=lbl";
    let link = server.ocs_ok("anna", "POST", SHARES, form).await;
    let expected = json!({
        "share_type": 3, "uid_owner": "anna", "uid_file_owner": "anna", "displayname_owner": "anna", "permissions": 15, "path": "/Photos",
        "file_target": "/Photos", "item_type": "folder", "expiration": "2099-12-31 00:00:00", "label": "lbl", "name": "lbl", "note": "",
        "share_with": "***redacted***", "password": "***redacted***", "mimetype": "httpd/unix-directory", "parent": null, "mail_send": 0,
        "storage_id": "home::anna", "hide_download": 0, "can_edit": true, "can_delete": true, "attributes": null, "item_permissions": 31,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&link[name], value, "{name}");
    }
    let token = link["token"].as_str().unwrap();
    assert!(link["url"].as_str().unwrap().ends_with(&format!("/s/{token}")), "{link}");
    assert!(link["id"].is_string() && link["item_source"].is_u64() && link["file_parent"].is_u64() && link["item_size"] == 18, "{link}");
    server.ask("PUT", "/public.php/webdav/new.txt").basic(token, "s3cretPw").body("x").expect(201).await;
    let one = format!("{SHARES}/{}", link["id"].as_str().unwrap());
    assert_eq!(server.ocs_ok("anna", "GET", &one, "").await[0]["token"], token);
    // As ownCloud's and Nextcloud's clients change one thing each.
    assert_eq!(server.ocs_ok("anna", "PUT", &one, "permissions=1").await["permissions"], 1);
    server.ask("PUT", "/public.php/webdav/newer.txt").basic(token, "s3cretPw").body("x").expect(403).await;
    assert_eq!(server.ocs_ok("anna", "PUT", &one, "publicUpload=true").await["permissions"], 15);
    let changed = server.ocs_ok("anna", "PUT", &one, "password=&expireDate=&name=other").await;
    assert_eq!((&changed["share_with"], &changed["expiration"], &changed["name"]), (&Value::Null, &Value::Null, &json!("other")));
    server.ask("GET", "/public.php/webdav/a.txt").basic(token, "").expect(200).await;
    let text = server.ask("GET", &format!("/ocs/v1.php{one}")).basic("anna", &password("anna")).expect(200).await.text();
    assert!(text.contains("<statuscode>100</statuscode>") && text.contains("<data><element><id>"), "{text}");
    // Nobody else sees or touches it.
    for method in ["GET", "DELETE", "PUT"] {
        server.ocs_fails("bob", method, &one, "permissions=1", 404).await;
    }
    assert_eq!(server.ocs_ok("anna", "DELETE", &one, "").await, json!([]));
    server.ask("GET", "/public.php/webdav/a.txt").basic(token, "").expect(401).await;
    server.ocs_fails("anna", "GET", &one, "", 404).await;
    server.stop().await;
}

#[tokio::test]
async fn rights_of_links_are_kept_as_sent_or_refused() {
    let server = users(&["anna"]).await;
    for (sent, kept) in [("1", 1), ("3", 3), ("4", 4), ("5", 5), ("15", 15), ("17", 1), ("31", 15)] {
        let link = server.ocs_ok("anna", "POST", SHARES, &format!("path=/Photos&shareType=3&permissions={sent}")).await;
        assert_eq!(link["permissions"], kept, "{sent}");
    }
    let file = server.ocs_ok("anna", "POST", SHARES, "path=/Photos/a.txt&shareType=3&permissions=15").await;
    assert_eq!((&file["permissions"], &file["mimetype"], &file["item_type"]), (&json!(3), &json!("text/plain"), &json!("file")));
    server.ocs_fails("anna", "POST", SHARES, "path=/Photos/a.txt&shareType=3&permissions=4", 404).await;
    server.ocs_fails("anna", "POST", SHARES, "path=/Photos/a.txt&shareType=3&publicUpload=true", 404).await;
    // Reading and adding, without changing what is there.
    let link = server.ocs_ok("anna", "POST", SHARES, "path=/Photos&shareType=3&permissions=5").await;
    let token = link["token"].as_str().unwrap();
    server.ask("PUT", "/public.php/webdav/added.txt").basic(token, "").body("x").expect(201).await;
    server.ask("PUT", "/public.php/webdav/a.txt").basic(token, "").body("x").expect(403).await;
    server.ask("DELETE", "/public.php/webdav/a.txt").basic(token, "").expect(403).await;
    server.stop().await;
}

#[tokio::test]
async fn a_share_with_a_user_lives_from_offer_to_end() {
    let server = users(&["anna", "bob", "carol"]).await;
    let made = server.ocs_ok("anna", "POST", SHARES, "path=/Photos&shareType=0&shareWith=bob&permissions=17&note=hi").await;
    let expected = json!({
        "share_type": 0, "share_with": "bob", "share_with_displayname": "bob", "uid_owner": "anna", "uid_file_owner": "anna",
        "permissions": 17, "path": "/Photos", "note": "hi", "token": null, "expiration": null, "item_type": "folder",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    let one = format!("{SHARES}/{}", made["id"].as_str().unwrap());
    assert_eq!(names(&server, "bob", "/").await, ["Photos"]);
    let received = server.ocs_ok("bob", "GET", &format!("{SHARES}?shared_with_me=true"), "").await;
    assert_eq!(
        (&received[0]["state"], &received[0]["path"], &received[0]["file_target"]),
        (&json!(0), &json!("/Photos"), &json!("/Photos"))
    );
    assert_eq!((&received[0]["is-mount-root"], &received[0]["mount-type"]), (&json!(true), &json!("shared")));
    assert_eq!(server.ocs_ok("bob", "GET", &one, "").await[0]["permissions"], 17);
    assert_eq!(server.ocs_ok("bob", "GET", SHARES, "").await, json!([]));
    // Nobody gives themselves more (attack F7), and strangers see nothing.
    server.ocs_fails("bob", "PUT", &one, "permissions=31", 403).await;
    server.ocs_fails("bob", "POST", SHARES, "path=/Photos&shareType=0&shareWith=carol&permissions=31", 403).await;
    server.ocs_fails("carol", "GET", &one, "", 404).await;
    server.ocs_fails("carol", "DELETE", &one, "", 404).await;
    server.ocs_fails("carol", "POST", &format!("{SHARES}/pending/{}", made["id"].as_str().unwrap()), "", 404).await;
    assert_eq!(server.ocs_ok("anna", "PUT", &one, "permissions=31&expireDate=2099-12-31").await["expiration"], "2099-12-31 00:00:00");
    server.put("bob", "/Photos/b.txt", "now bob may").await;
    // Unshared from oneself, looked for, and taken back.
    assert_eq!(server.ocs_ok("bob", "DELETE", &one, "").await, json!([]));
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new());
    assert_eq!(server.ocs_ok("bob", "GET", &format!("{SHARES}?shared_with_me=true"), "").await, json!([]));
    assert_eq!(server.ocs_ok("bob", "GET", &format!("{SHARES}?shared_with_me=true&state=all"), "").await[0]["state"], 2);
    let pending = format!("{SHARES}/pending/{}", made["id"].as_str().unwrap());
    assert_eq!(server.ocs_ok("bob", "POST", &pending, "").await[0]["state"], 0);
    assert_eq!(names(&server, "bob", "/Photos").await, ["a.txt", "b.txt", "sub"]);
    server.ocs_ok("bob", "DELETE", &pending, "").await;
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new());
    server.ocs_ok("anna", "DELETE", &one, "").await;
    server.ocs_fails("bob", "POST", &pending, "", 404).await;
    assert_eq!(names(&server, "anna", "/Photos").await, ["a.txt", "b.txt", "sub"]);
    server.stop().await;
}

#[tokio::test]
async fn what_waits_is_listed_as_pending() {
    let server = TestServer::start_with(Clock::System, |config| config.auto_accept_shares = false).await;
    server.add_user("anna").await;
    server.add_user("bob").await;
    server.mkcol("anna", "/Photos").await;
    let made = server.ocs_ok("anna", "POST", SHARES, "path=/Photos&shareType=0&shareWith=bob").await;
    assert_eq!(made["permissions"], 31);
    let pending = server.ocs_ok("bob", "GET", &format!("{SHARES}/pending"), "").await;
    assert_eq!((&pending[0]["id"], &pending[0]["state"], &pending[0]["file_target"]), (&made["id"], &json!(1), &json!("/Photos")));
    assert_eq!(server.ocs_ok("bob", "GET", &format!("{SHARES}?shared_with_me=true&state=1"), "").await[0]["id"], made["id"]);
    server.ocs_ok("bob", "POST", &format!("{SHARES}/pending/{}", made["id"].as_str().unwrap()), "").await;
    assert_eq!(server.ocs_ok("bob", "GET", &format!("{SHARES}/pending"), "").await, json!([]));
    assert_eq!(names(&server, "bob", "/").await, ["Photos"]);
    server.stop().await;
}

#[tokio::test]
async fn l2_lists_are_complete_for_owners_and_narrow_for_the_rest() {
    let server = users(&["anna", "bob", "carol"]).await;
    group_of(&server, "team", &["carol"]).await;
    server.ocs_ok("anna", "POST", SHARES, "path=/Photos&shareType=0&shareWith=bob").await;
    server.ocs_ok("anna", "POST", SHARES, "path=/Photos/a.txt&shareType=3").await;
    let shared_on = server.ocs_ok("bob", "POST", SHARES, "path=/Photos/sub&shareType=1&shareWith=team&permissions=1").await;
    assert_eq!((&shared_on["uid_owner"], &shared_on["uid_file_owner"]), (&json!("bob"), &json!("anna")));
    assert_eq!((&shared_on["share_with"], &shared_on["path"]), (&json!("team"), &json!("/Photos/sub")));
    let own = |name: &str| json!(name);
    for query in ["", "?reshares=true"] {
        let all = rows(&server.ocs_ok("anna", "GET", &format!("{SHARES}{query}"), "").await);
        let expected = [("/Photos", 0, own("bob")), ("/Photos/sub", 1, own("team")), ("/Photos/a.txt", 3, Value::Null)];
        assert_eq!(all, expected.map(|(path, kind, with)| (path.to_owned(), kind, with)));
    }
    assert_eq!(rows(&server.ocs_ok("anna", "GET", &format!("{SHARES}?path=/Photos&reshares=true"), "").await).len(), 1);
    let below = rows(&server.ocs_ok("anna", "GET", &format!("{SHARES}?path=/Photos&subfiles=true"), "").await);
    assert_eq!(below.iter().map(|(path, ..)| path.as_str()).collect::<Vec<_>>(), ["/Photos/sub", "/Photos/a.txt"]);
    assert_eq!(rows(&server.ocs_ok("bob", "GET", SHARES, "").await).len(), 1);
    assert_eq!(server.ocs_ok("bob", "GET", &format!("{SHARES}?path=/Photos"), "").await, json!([]));
    assert_eq!(rows(&server.ocs_ok("carol", "GET", &format!("{SHARES}?shared_with_me=true&path=/sub"), "").await)[0].0, "/sub");
    // The owner may end what was shared on.
    server.ocs_ok("anna", "DELETE", &format!("{SHARES}/{}", shared_on["id"].as_str().unwrap()), "").await;
    assert_eq!(names(&server, "carol", "/").await, Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn a_receivers_link_is_seen_by_its_maker_and_by_the_owner_alone() {
    let server = users(&["anna", "bob", "carol"]).await;
    share(&server, "anna", "/Photos", "bob", "19").await;
    share(&server, "anna", "/Photos", "carol", "31").await;
    server.ask_as("bob", "MOVE", "/Photos").header("destination", "/remote.php/webdav/Hers").expect(201).await;
    let link = server.ocs_ok("bob", "POST", SHARES, "path=/Hers/a.txt&shareType=3&permissions=1&name=for+all").await;
    let expected = [("uid_owner", "bob"), ("uid_file_owner", "anna"), ("path", "/Hers/a.txt"), ("label", "for all"), ("item_type", "file")];
    for (name, value) in expected {
        assert_eq!(link[name], value, "{name}");
    }
    let page = format!("/s/{}", link["token"].as_str().unwrap());
    server.ask("GET", &page).expect(200).await;
    let seen = |list: &Value| {
        let row = |row: &Value| (row["share_type"] == 3).then(|| (row["path"].as_str().unwrap().to_owned(), row["uid_owner"].clone()));
        list.as_array().unwrap().iter().filter_map(row).collect::<Vec<_>>()
    };
    assert_eq!(seen(&server.ocs_ok("bob", "GET", SHARES, "").await), [("/Hers/a.txt".to_owned(), json!("bob"))]);
    assert_eq!(seen(&server.ocs_ok("anna", "GET", SHARES, "").await), [("/Photos/a.txt".to_owned(), json!("bob"))]);
    assert_eq!(seen(&server.ocs_ok("carol", "GET", SHARES, "").await), []);
    let one = format!("{SHARES}/{}", link["id"].as_str().unwrap());
    for method in ["GET", "PUT", "DELETE"] {
        server.ocs_fails("carol", method, &one, "permissions=1", 404).await;
    }
    // More than bob may do: not when it is made, nor later.
    server.ocs_fails("bob", "POST", SHARES, "path=/Hers&shareType=3&permissions=15", 403).await;
    server.ocs_fails("bob", "POST", SHARES, "path=/Hers&shareType=3&permissions=4", 403).await;
    let folder = server.ocs_ok("bob", "POST", SHARES, "path=/Hers&shareType=3&permissions=3").await;
    server.ocs_fails("bob", "PUT", &format!("{SHARES}/{}", folder["id"].as_str().unwrap()), "permissions=15", 403).await;
    server.ocs_fails("anna", "PUT", &format!("{SHARES}/{}", folder["id"].as_str().unwrap()), "publicUpload=true", 403).await;
    server.ocs_ok("anna", "PUT", &one, "expireDate=2038-01-01").await;
    server.ocs_ok("anna", "DELETE", &one, "").await;
    server.ask("GET", &page).expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_shared_is_said_with_the_codes_that_clients_know() {
    let server = users(&["anna", "bob"]).await;
    share(&server, "anna", "/Photos", "bob", "read").await;
    for (method, path, form, code) in [
        ("POST", "", "shareType=3", 404),
        ("POST", "", "path=/nothing&shareType=3", 404),
        ("POST", "", "path=/../x&shareType=3", 404),
        ("POST", "", "path=/Photos", 400),
        ("POST", "", "path=/Photos&shareType=9", 400),
        ("POST", "", "path=/Photos&shareType=6&shareWith=bob", 404),
        ("POST", "", "path=/Photos&shareType=0", 404),
        ("POST", "", "path=/Photos&shareType=0&shareWith=nobody", 404),
        ("POST", "", "path=/Photos&shareType=1&shareWith=nobody", 404),
        ("POST", "", "path=/Photos&shareType=0&shareWith=anna", 403),
        ("POST", "", "path=/Photos&shareType=0&shareWith=bob", 403),
        ("POST", "", "path=/Photos/sub&shareType=0&shareWith=bob&permissions=32", 404),
        ("POST", "", "path=/Photos/sub&shareType=0&shareWith=bob&permissions=4", 400),
        ("POST", "", "path=/&shareType=0&shareWith=bob", 403),
        ("POST", "", "path=/Photos&shareType=3&expireDate=2001-01-01", 404),
        ("POST", "", "path=/Photos&shareType=3&expireDate=tomorrow", 404),
        ("GET", "?path=/nothing", "", 404),
        ("GET", "?path=/Photos/a.txt&subfiles=true", "", 400),
        ("GET", "/12345", "", 404),
        ("GET", "/x", "", 404),
        ("PUT", "/12345", "permissions=1", 404),
        ("DELETE", "/12345", "", 404),
        ("PUT", "", "", 405),
        ("DELETE", "/pending", "", 405),
    ] {
        let text = server.ocs_fails("anna", method, &format!("{SHARES}{path}"), form, code).await;
        assert!(!text.is_empty(), "{form}");
    }
    let link = server.ocs_ok("anna", "POST", SHARES, "path=/Photos&shareType=3").await;
    server.ocs_fails("anna", "PUT", &format!("{SHARES}/{}", link["id"].as_str().unwrap()), "", 400).await;
    server.ocs_fails("anna", "PUT", &format!("{SHARES}/{}", link["id"].as_str().unwrap()), "permissions=8", 400).await;
    // A receiver without the right, and a link in what was shared.
    server.ocs_fails("bob", "POST", SHARES, "path=/Photos&shareType=0&shareWith=anna", 403).await;
    let text = server.ocs_fails("bob", "POST", SHARES, "path=/Photos&shareType=3", 403).await;
    assert!(text.contains("may not be shared on"), "{text}");
    let stranger = server.ask("GET", &format!("/ocs/v2.php{SHARES}?format=json")).header("ocs-apirequest", "true").expect(401).await;
    assert_eq!(parsed(&stranger)["ocs"]["meta"]["statuscode"], 997);
    server.stop().await;
}

#[tokio::test]
async fn sharees_are_found_by_parts_of_their_names() {
    let server = users(&["anna", "bob", "bobby"]).await;
    group_of(&server, "bobsled", &["anna"]).await;
    let sharees = "/apps/files_sharing/api/v1/sharees";
    let found = async |query: &str| server.ocs_ok("anna", "GET", &format!("{sharees}?{query}"), "").await;
    let all = found("search=BOB&itemType=folder&perPage=50").await;
    assert_eq!(all["exact"]["users"][0]["value"], json!({ "shareType": 0, "shareWith": "bob" }));
    assert_eq!(all["users"][0]["label"], "bobby");
    assert_eq!(all["groups"][0]["value"], json!({ "shareType": 1, "shareWith": "bobsled" }));
    assert_eq!((&all["remotes"], &all["exact"]["groups"]), (&json!([]), &json!([])));
    assert_eq!(found("search=bob&shareType[]=1").await["exact"]["users"], json!([]));
    assert_eq!(found("search=anna").await["exact"]["users"], json!([]), "nobody shares with themselves");
    assert_eq!(found("search=b").await["users"], json!([]), "two letters are the least");
    assert_eq!(found("search=bob&perPage=1&page=2&shareType=0").await["users"][0]["label"], "bobby");
    assert_eq!(found("search=").await["users"], json!([]));
    server.ocs_fails("anna", "POST", sharees, "search=bob", 405).await;
    let capabilities = server.ocs_ok("anna", "GET", "/cloud/capabilities", "").await["capabilities"]["files_sharing"].clone();
    for name in ["api_enabled", "resharing", "group_sharing", "can_share", "auto_accept_share"] {
        assert_eq!(capabilities[name], true, "{name}");
    }
    assert_eq!(capabilities["search_min_length"], 2);
    server.stop().await;
}
