//! Accounts by OCS: what administrators, subadmins and owners may do, in the codes of the interface; and what a disabled account is.

use causeway::domain::Secret;
use causeway::service::Reason;
use causeway::service::admin::{AccountCommand, Command, GroupCommand, LinkTerms, Outcome};
use serde_json::{Value, json};

use crate::ocs::json as read;
use crate::support::server::{Ask, TestServer, password};

/// A server with the administrator `root`, the users `anna`, `bob` and `carl`, and the group `staff` of anna and bob, which anna administers.
pub(crate) async fn with_staff() -> TestServer {
    let server = TestServer::start().await;
    let add =
        Command::UserAdd { name: "root".to_owned(), admin: true, display_name: None, quota: None, password: Secret::new(password("root")) };
    server.execute(add).await;
    for name in ["anna", "bob", "carl"] {
        server.add_user(name).await;
    }
    let staff = || "staff".to_owned();
    server.execute(Command::Group(GroupCommand::Add { name: staff(), display_name: None })).await;
    for user in ["anna", "bob"] {
        server.execute(Command::Group(GroupCommand::AddMember { name: staff(), user: user.to_owned() })).await;
    }
    server.execute(Command::Group(GroupCommand::AddSubadmin { name: staff(), user: "anna".to_owned() })).await;
    server
}

/// A request to version 1, whose code alone tells what happened.
pub(crate) fn ocs(server: &TestServer, who: &str, method: &str, path: &str, body: &str) -> Ask {
    let mark = if path.contains('?') { '&' } else { '?' };
    let ask = server.ask(method, &format!("/ocs/v1.php/cloud/{path}{mark}format=json")).basic(who, &password(who));
    ask.header("content-type", "application/x-www-form-urlencoded").header("ocs-apirequest", "true").body(body)
}

/// The code and the data of an answer.
pub(crate) async fn done(ask: Ask) -> (i64, Value) {
    let envelope = read(&ask.expect(200).await);
    (envelope["ocs"]["meta"]["statuscode"].as_i64().unwrap(), envelope["ocs"]["data"].clone())
}

/// The code of an answer.
pub(crate) async fn code(server: &TestServer, who: &str, method: &str, path: &str, body: &str) -> i64 {
    done(ocs(server, who, method, path, body)).await.0
}

async fn logs_in(server: &TestServer, name: &str, password: &str) -> u16 {
    server.ask("PROPFIND", "/remote.php/webdav/").header("depth", "0").basic(name, password).send().await.status
}

#[tokio::test]
async fn administrators_make_find_and_remove_accounts() {
    let server = with_staff().await;
    let body = "userid=dora&password=secret+word&displayName=Dora+D.&email=dora@example.org&quota=5+GB&groups[]=staff&subadmin[]=staff";
    let (code_made, made) = done(ocs(&server, "root", "POST", "users", body)).await;
    assert_eq!((code_made, &made["id"]), (100, &"dora".into()));
    assert_eq!(logs_in(&server, "dora", "secret word").await, 207);
    let (_, dora) = done(ocs(&server, "root", "GET", "users/dora", "")).await;
    assert_eq!((&dora["displayname"], &dora["email"], &dora["enabled"]), (&"Dora D.".into(), &"dora@example.org".into(), &true.into()));
    assert_eq!(
        (&dora["groups"], &dora["subadmin"], &dora["quota"]["quota"]),
        (&json!(["staff"]), &json!(["staff"]), &(5_i64 << 30).into())
    );
    let users = |query: &str| done(ocs(&server, "root", "GET", &format!("users{query}"), ""));
    assert_eq!(users("").await.1["users"], json!(["anna", "bob", "carl", "dora", "root"]));
    assert_eq!(users("?search=DORA+D").await.1["users"], json!(["dora"]));
    assert_eq!(users("?offset=1&limit=2").await.1["users"], json!(["bob", "carl"]));
    assert_eq!(users("?offset=9").await.1["users"], json!([]));
    assert_eq!(users("?limit=x").await.0, 400);
    assert_eq!(code(&server, "root", "DELETE", "users/dora", "").await, 100);
    assert_eq!(logs_in(&server, "dora", "secret word").await, 401);
    assert_eq!(code(&server, "root", "GET", "users/dora", "").await, 998);
    server.ask("GET", "/ocs/v2.php/cloud/users/dora").basic("root", &password("root")).expect(404).await;
    assert_eq!(code(&server, "root", "DELETE", "users/dora", "").await, 101);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_made_says_why_in_its_code() {
    let server = with_staff().await;
    for (body, expected) in [
        ("userid=&password=x", 101),
        ("userid=..&password=x", 101),
        ("password=x", 101),
        ("userid=ANNA&password=x", 102),
        ("userid=dora&password=x&groups[]=nothing", 104),
        ("userid=dora", 108),
        ("userid=dora&password=x&subadmin[]=nothing", 109),
        ("userid=dora&password=x&subadmin[]=admin", 103),
        ("userid=dora&password=x&email=nonsense", 101),
        ("userid=dora&password=x&quota=lots", 101),
        ("userid=dora&password=x&displayName=a%0Ab", 101),
    ] {
        assert_eq!(code(&server, "root", "POST", "users", body).await, expected, "{body}");
    }
    assert_eq!(code(&server, "root", "GET", "users/dora", "").await, 998, "nothing is half made");
    // The same in version 2, where the status says it.
    let refused = server.ask("POST", "/ocs/v2.php/cloud/users?format=json").basic("root", &password("root"));
    let refused = refused.header("ocs-apirequest", "true").body("userid=anna&password=x");
    assert_eq!(read(&refused.expect(400).await)["ocs"]["meta"]["statuscode"], 102);
    server.stop().await;
}

#[tokio::test]
async fn administrators_change_accounts_field_by_field() {
    let server = with_staff().await;
    let put = |body: &'static str| code(&server, "root", "PUT", "users/bob", body);
    assert_eq!(put("key=displayname&value=Bob+B.").await, 100);
    assert_eq!(put("key=email&value=bob@example.org").await, 100);
    assert_eq!(put("key=quota&value=1+kB").await, 100);
    assert_eq!(put("key=password&value=another").await, 100);
    let (_, bob) = done(ocs(&server, "root", "GET", "users/bob", "")).await;
    assert_eq!((&bob["displayname"], &bob["email"], &bob["quota"]["quota"]), (&"Bob B.".into(), &"bob@example.org".into(), &1024.into()));
    assert_eq!(logs_in(&server, "bob", &password("bob")).await, 401);
    let upload = |size: usize| server.ask("PUT", "/remote.php/webdav/big").basic("bob", "another").body("x".repeat(size));
    upload(2000).expect(507).await;
    assert_eq!(put("key=quota&value=none").await, 100);
    upload(2000).expect(201).await;
    assert_eq!(put("key=display&value=").await, 100);
    assert_eq!(done(ocs(&server, "root", "GET", "users/bob", "")).await.1["displayname"], "bob");
    for (body, expected) in [
        ("key=email&value=nonsense", 102),
        ("key=quota&value=lots", 102),
        ("key=password&value=", 102),
        ("key=display", 102),
        ("value=x", 102),
        ("key=uid&value=x", 103),
        ("key=admin&value=true", 103),
    ] {
        assert_eq!(put(body).await, expected, "{body}");
    }
    assert_eq!(code(&server, "root", "PUT", "users/nobody", "key=email&value=").await, 101);
    assert_eq!(code(&server, "root", "PATCH", "users/bob", "").await, 405);
    assert_eq!(code(&server, "root", "GET", "users/bob/nothing", "").await, 998);
    let server = server.restart().await;
    assert_eq!(done(ocs(&server, "root", "GET", "users/bob", "")).await.1["email"], "bob@example.org");
    server.stop().await;
}

#[tokio::test]
async fn owners_change_what_is_theirs_and_see_nobody_else() {
    let server = with_staff().await;
    let (_, own) = done(ocs(&server, "carl", "GET", "users/carl", "")).await;
    assert_eq!(own["id"], "carl");
    assert_eq!(code(&server, "carl", "PUT", "users/CARL", "key=displayname&value=Carl").await, 100);
    assert_eq!(code(&server, "carl", "PUT", "users/carl", "key=email&value=carl@example.org").await, 100);
    assert_eq!(done(ocs(&server, "carl", "GET", "user", "")).await.1["email"], "carl@example.org");
    for (method, path, body) in [
        ("PUT", "users/carl", "key=quota&value=none"),
        ("GET", "users", ""),
        ("GET", "users/anna", ""),
        ("GET", "users/nobody", ""),
        ("PUT", "users/anna", "key=email&value="),
        ("PUT", "users/nobody", "key=email&value="),
        ("POST", "users", "userid=x&password=y"),
        ("DELETE", "users/anna", ""),
        ("DELETE", "users/carl", ""),
        ("PUT", "users/carl/disable", ""),
        ("PUT", "users/anna/disable", ""),
        ("GET", "users/anna/groups", ""),
        ("POST", "users/carl/groups", "groupid=admin"),
        ("POST", "users/carl/groups", "groupid=staff"),
        ("DELETE", "users/anna/groups", "groupid=staff"),
        ("POST", "users/carl/subadmins", "groupid=staff"),
        ("GET", "users/carl/subadmins", ""),
        ("GET", "groups", ""),
        ("GET", "groups/staff", ""),
        ("POST", "groups", "groupid=mine"),
        ("DELETE", "groups/staff", ""),
    ] {
        assert_eq!(code(&server, "carl", method, path, body).await, 403, "{method} {path} {body}");
        // Nobody is asked for a password that is right.
        let ask = server.ask(method, &format!("/ocs/v2.php/cloud/{path}")).basic("carl", &password("carl"));
        let answer = ask.header("ocs-apirequest", "true").body(body).send().await;
        assert_eq!(answer.status, 403, "{method} {path}");
        let stranger = server.ask(method, &format!("/ocs/v1.php/cloud/{path}")).body(body).send().await;
        assert_eq!(stranger.status, 401, "{method} {path}");
    }
    assert_eq!(done(ocs(&server, "carl", "GET", "users/carl/groups", "")).await.1["groups"], json!([]));
    assert_eq!(code(&server, "carl", "PUT", "users/carl", "key=password&value=mine").await, 100);
    assert_eq!(logs_in(&server, "carl", "mine").await, 207);
    assert_eq!(logs_in(&server, "carl", &password("carl")).await, 401);
    server.stop().await;
}

#[tokio::test]
async fn an_app_password_does_not_become_the_accounts_password() {
    let server = with_staff().await;
    for name in ["carl", "root"] {
        let made = server.execute(Command::UserAppPassword { name: name.to_owned(), label: String::new() }).await;
        let Outcome::Secret(app) = made else { panic!("{made:?}") };
        let put = |body: &'static str| {
            let ask = server.ask("PUT", &format!("/ocs/v2.php/cloud/users/{name}")).basic(name, app.expose());
            ask.header("content-type", "application/x-www-form-urlencoded").header("ocs-apirequest", "true").body(body)
        };
        put("key=password&value=stolen").expect(403).await;
        put("key=displayname&value=X").expect(200).await;
        assert_eq!(logs_in(&server, name, &password(name)).await, 207);
    }
    server.stop().await;
}

#[tokio::test]
async fn d11_subadmins_reach_the_members_of_their_groups_and_nobody_else() {
    let server = with_staff().await;
    assert_eq!(done(ocs(&server, "anna", "GET", "users", "")).await.1["users"], json!(["anna", "bob"]));
    assert_eq!(done(ocs(&server, "anna", "GET", "users/bob", "")).await.1["id"], "bob");
    assert_eq!(code(&server, "anna", "PUT", "users/bob", "key=quota&value=10+MB").await, 100);
    assert_eq!(code(&server, "anna", "PUT", "users/bob", "key=password&value=reset").await, 100);
    assert_eq!(logs_in(&server, "bob", "reset").await, 207);
    assert_eq!(code(&server, "anna", "PUT", "users/anna", "key=quota&value=none").await, 403, "nobody raises their own quota");
    // Others, and what is not there, look alike.
    for (method, path, body, expected) in [
        ("GET", "users/carl", "", 998),
        ("GET", "users/nobody", "", 998),
        ("PUT", "users/carl", "key=password&value=x", 101),
        ("PUT", "users/root", "key=password&value=x", 101),
        ("PUT", "users/nobody", "key=password&value=x", 101),
        ("DELETE", "users/carl", "", 101),
        ("PUT", "users/root/disable", "", 101),
        ("PUT", "users/anna/disable", "", 101),
        ("GET", "users/carl/groups", "", 998),
        ("POST", "users/carl/groups", "groupid=staff", 103),
        ("POST", "users/bob/groups", "groupid=admin", 104),
        ("POST", "users/bob/groups", "groupid=", 101),
        ("POST", "users/bob/groups", "groupid=nothing", 102),
        ("DELETE", "users/bob/groups", "groupid=staff", 105),
        ("POST", "users/bob/subadmins", "groupid=staff", 403),
        ("POST", "users", "userid=dora&password=x", 106),
        ("POST", "users", "userid=dora&password=x&groups[]=admin", 105),
        ("POST", "users", "userid=dora&password=x&groups[]=staff&subadmin[]=staff", 105),
        ("GET", "groups/admin", "", 998),
        ("POST", "groups", "groupid=mine", 403),
        ("DELETE", "groups/staff", "", 403),
    ] {
        assert_eq!(code(&server, "anna", method, path, body).await, expected, "{method} {path} {body}");
    }
    assert_eq!(logs_in(&server, "carl", &password("carl")).await, 207);
    assert_eq!(code(&server, "anna", "POST", "users", "userid=dora&password=x&groups[]=staff").await, 100);
    assert_eq!(done(ocs(&server, "anna", "GET", "groups/staff", "")).await.1["users"], json!(["anna", "bob", "dora"]));
    assert_eq!(done(ocs(&server, "anna", "GET", "groups", "")).await.1["groups"], json!(["staff"]));
    assert_eq!(code(&server, "anna", "PUT", "users/dora/disable", "").await, 100);
    assert_eq!(code(&server, "anna", "DELETE", "users/dora", "").await, 100);
    // An administrator who is in the group is out of a subadmin's reach.
    assert_eq!(code(&server, "root", "POST", "users/root/groups", "groupid=staff").await, 100);
    assert_eq!(code(&server, "anna", "PUT", "users/root", "key=password&value=x").await, 101);
    assert_eq!(done(ocs(&server, "anna", "GET", "users", "")).await.1["users"], json!(["anna", "bob"]));
    server.stop().await;
}

#[tokio::test]
async fn a_disabled_account_is_closed_with_its_links_and_comes_back_whole() {
    let server = with_staff().await;
    server.mkcol("bob", "/Photos").await;
    server.put("bob", "/Photos/a.txt", "content").await;
    let link = server.link("bob", "/Photos", "read").await;
    let token = link.url.rsplit('/').next().unwrap().to_owned();
    let made = server.execute(Command::UserAppPassword { name: "bob".to_owned(), label: String::new() }).await;
    let Outcome::Secret(app) = made else { panic!("{made:?}") };
    assert_eq!(code(&server, "root", "PUT", "users/bob/disable", "").await, 100);
    let server = server.restart().await;
    assert_eq!(logs_in(&server, "bob", &password("bob")).await, 401);
    assert_eq!(logs_in(&server, "bob", app.expose()).await, 401);
    server.ask("GET", "/ocs/v1.php/cloud/user").basic("bob", &password("bob")).expect(401).await;
    for ask in [
        server.ask("GET", &format!("/s/{token}")),
        server.ask("GET", &format!("/s/{token}")).basic("public", "x"),
        server.ask("GET", &format!("/s/{token}/download")),
        server.ask("GET", &format!("/public.php/dav/files/{token}/a.txt")),
        server.ask("MKCOL", &format!("/public.php/dav/uploads/{token}/s")),
        server.ask("PROPFIND", "/public.php/webdav/").basic(&token, ""),
        server.ask("POST", &format!("/index.php/apps/files_sharing/shareinfo?t={token}")).body("password="),
    ] {
        // Gone would make other servers drop their mounts of it.
        let away = ask.expect(503).await;
        assert!(away.header("retry-after").is_some());
        assert!(!away.text().contains("bob") && !away.text().contains("a.txt"), "{}", away.text());
    }
    let (_, bob) = done(ocs(&server, "root", "GET", "users/bob", "")).await;
    assert_eq!((&bob["enabled"], &bob["groups"]), (&false.into(), &json!(["staff"])));
    assert_eq!(code(&server, "root", "PUT", "users/bob/enable", "").await, 100);
    assert_eq!(logs_in(&server, "bob", &password("bob")).await, 207);
    assert_eq!(logs_in(&server, "bob", app.expose()).await, 207);
    server.ask("GET", &format!("/s/{token}")).expect(200).await;
    assert_eq!(code(&server, "root", "PUT", "users/root/disable", "").await, 101, "nobody locks themselves out");
    assert_eq!(code(&server, "root", "DELETE", "users/root", "").await, 101);
    assert_eq!(code(&server, "root", "PUT", "users/nobody/enable", "").await, 101);
    assert_eq!(code(&server, "root", "POST", "users/bob/enable", "").await, 405);
    server.stop().await;
}

#[tokio::test]
async fn a_name_that_is_used_again_has_nothing_of_the_old_account() {
    let server = with_staff().await;
    let about = |what| Command::Account { name: "bob".to_owned(), what };
    server.execute(about(AccountCommand::Email("bob@example.org".to_owned()))).await;
    server.execute(about(AccountCommand::Enable(false))).await;
    server.refuse(about(AccountCommand::DisplayName("a\nb".to_owned())), Reason::Usage).await;
    server.execute(Command::UserRemove { name: "bob".to_owned(), purge: true }).await;
    server.add_user("bob").await;
    assert_eq!(logs_in(&server, "bob", &password("bob")).await, 207);
    let (_, bob) = done(ocs(&server, "root", "GET", "users/bob", "")).await;
    assert_eq!((&bob["email"], &bob["enabled"], &bob["groups"]), (&"".into(), &true.into(), &json!([])));
    server.stop().await;
}

#[tokio::test]
async fn parameters_may_come_in_any_kind_of_body() {
    let server = with_staff().await;
    let post = |media: &str, body: String| {
        let ask = server.ask("POST", "/ocs/v2.php/cloud/users?format=json").basic("root", &password("root"));
        ask.header("content-type", media).header("ocs-apirequest", "true").body(body)
    };
    post("application/json", r#"{"userid":"u1","password":"x","groups":["staff"]}"#.to_owned()).expect(200).await;
    let part = |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let body = [part("userid", "u2"), part("password", "x"), part("groups[]", "staff"), "--b--\r\n".to_owned()].concat();
    post("multipart/form-data; boundary=b", body).expect(200).await;
    let ask = server.ask("POST", "/ocs/v2.php/cloud/users?userid=u3&password=x&groups[]=staff").basic("root", &password("root"));
    ask.header("ocs-apirequest", "true").expect(200).await;
    assert_eq!(done(ocs(&server, "root", "GET", "groups/staff", "")).await.1["users"], json!(["anna", "bob", "u1", "u2", "u3"]));
    post("application/json", "[]".to_owned()).expect(400).await;
    post("application/x-www-form-urlencoded", "x".repeat(100_000)).expect(400).await;
    server.stop().await;
}

#[tokio::test]
async fn f4_that_an_account_is_disabled_is_told_to_who_knows_the_password_of_its_link() {
    let server = with_staff().await;
    server.mkcol("bob", "/Photos").await;
    let terms = LinkTerms { password: Some(Secret::new("open up")), ..LinkTerms::default() };
    let link = server.link_with("bob", "/Photos", terms).await;
    let token = link.url.rsplit('/').next().unwrap();
    let page = format!("/s/{token}");
    let login = |password: &str| {
        let ask = server.ask("POST", &format!("{page}/authenticate")).header("content-type", "application/x-www-form-urlencoded");
        ask.body(format!("password={password}"))
    };
    let pass = login("open+up").expect(303).await.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(code(&server, "root", "PUT", "users/bob/disable", "").await, 100);
    let dav = |password: &str| server.ask("PROPFIND", "/public.php/webdav/").header("depth", "0").basic(token, password);
    dav("").expect(401).await;
    dav("wrong").expect(401).await;
    assert!(server.ask("GET", &page).send().await.text().contains("type=\"password\""));
    let info = |password: &str| server.ask("POST", &format!("/index.php/apps/files_sharing/shareinfo?t={token}")).body(password);
    info("password=wrong").expect(403).await;
    // More often than anybody may guess.
    for _ in 0..25 {
        dav("open up").expect(503).await;
    }
    info("password=open+up").expect(503).await;
    login("open+up").expect(503).await;
    server.ask("GET", &page).header("cookie", &pass).expect(503).await;
    assert_eq!(code(&server, "root", "PUT", "users/bob/enable", "").await, 100);
    dav("open up").expect(207).await;
    server.ask("GET", &page).header("cookie", &pass).expect(200).await;
    server.stop().await;
}

#[tokio::test]
async fn d11_a_subadmin_does_not_get_a_folder_that_lies_in_the_data_folder() {
    let server = with_staff().await;
    let stray = server.data().join("dora");
    std::fs::create_dir(&stray).unwrap();
    std::fs::write(stray.join("secret.txt"), "of somebody else").unwrap();
    let body = "userid=dora&password=secret+word&groups[]=staff";
    assert_eq!(code(&server, "anna", "POST", "users", body).await, 103);
    assert_eq!(logs_in(&server, "dora", "secret word").await, 401);
    std::fs::create_dir(server.data().join("emil")).unwrap();
    let empty = body.replace("dora", "emil");
    assert_eq!(code(&server, "anna", "POST", "users", &empty).await, 100, "nothing is in it");
    // As with the command: this is how files are taken in.
    assert_eq!(code(&server, "root", "POST", "users", body).await, 100);
    let got = server.ask("GET", "/remote.php/webdav/secret.txt").basic("dora", "secret word").expect(200).await;
    assert_eq!(got.text(), "of somebody else");
    server.stop().await;
}

#[tokio::test]
async fn an_app_password_makes_no_administrator_and_resets_no_password() {
    let server = with_staff().await;
    for (name, member) in [("root", "carl"), ("anna", "bob")] {
        let made = server.execute(Command::UserAppPassword { name: name.to_owned(), label: String::new() }).await;
        let Outcome::Secret(app) = made else { panic!("{made:?}") };
        let by_app = async |method: &str, path: &str, body: &str| {
            let ask = server.ask(method, &format!("/ocs/v2.php/cloud/{path}")).basic(name, app.expose());
            ask.header("content-type", "application/x-www-form-urlencoded").header("ocs-apirequest", "true").body(body).send().await
        };
        let reset = by_app("PUT", &format!("users/{member}"), "key=password&value=stolen").await;
        assert_eq!((reset.status, reset.text().contains("password of the account")), (403, true), "{}", reset.text());
        assert_eq!(logs_in(&server, member, &password(member)).await, 207);
        assert_eq!(by_app("PUT", &format!("users/{member}"), "key=email&value=x@example.org").await.status, 200);
        if name == "root" {
            assert_eq!(by_app("POST", "users", "userid=mallory&password=x&groups[]=admin").await.status, 403);
            assert_eq!(code(&server, "root", "GET", "users/mallory", "").await, 998);
            assert_eq!(by_app("POST", "users/carl/groups", "groupid=admin").await.status, 403);
            assert_eq!(by_app("POST", "users/carl/groups", "groupid=staff").await.status, 200);
            assert_eq!(by_app("POST", "users", "userid=dora&password=x").await.status, 200);
        }
    }
    assert_eq!(done(ocs(&server, "root", "GET", "groups/admin", "")).await.1["users"], json!(["root"]));
    server.stop().await;
}

#[tokio::test]
async fn d11_subadmins_learn_of_no_groups_but_theirs() {
    let server = with_staff().await;
    for command in ["secret", "other"] {
        server.execute(Command::Group(GroupCommand::Add { name: command.to_owned(), display_name: None })).await;
        server.execute(Command::Group(GroupCommand::AddMember { name: command.to_owned(), user: "bob".to_owned() })).await;
        server.execute(Command::Group(GroupCommand::AddSubadmin { name: command.to_owned(), user: "bob".to_owned() })).await;
    }
    let (_, seen) = done(ocs(&server, "anna", "GET", "users/bob", "")).await;
    assert_eq!((&seen["groups"], &seen["subadmin"]), (&json!(["staff"]), &json!([])));
    for (who, path) in [("root", "users/bob"), ("bob", "users/bob"), ("bob", "user")] {
        let (_, all) = done(ocs(&server, who, "GET", path, "")).await;
        assert_eq!((&all["groups"], &all["subadmin"]), (&json!(["other", "secret", "staff"]), &json!(["other", "secret"])), "{who} {path}");
    }
    server.stop().await;
}
