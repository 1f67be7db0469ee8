//! Trusted, allowed and denied servers: who may share with users of this one, and what is taken without asking.

use std::time::{Duration, Instant};

use causeway::config::{Config, Network};
use causeway::domain::Clock;
use causeway::service::Reason;
use causeway::service::admin::{Command, FederationRow, FederationTerms, Outcome, ServersCommand, TrustedCommand, TrustedRow};
use causeway::service::partners::Mode;
use serde_json::{Value, json};

use crate::ocs::json as parsed;
use crate::server_cli::Cli;
use crate::support::federation::{PATIENCE, names, until};
use crate::support::sender::{SECRET, Sender};
use crate::support::server::{Answer, Pair, TestServer};
use crate::support::sharing::{create, group_of, received, share, shared};

/// As oCIS and CERNBox send it (`protocol/ocm.md` 1.3), from a server without TLS.
fn offer(server: &TestServer, sender: &Sender, id: &str) -> Value {
    let address = format!("einstein@http://{}", sender.host());
    json!({"shareWith": format!("bob@{}", server.host()), "shareType": "user", "name": "Folder", "resourceType": "folder", "providerId": id,
        "owner": address, "sender": address, "ownerDisplayName": "Albert", "senderDisplayName": "Albert",
        "protocol": {"name": "multi", "options": {}, "webdav": {"uri": sender.uri(), "sharedSecret": SECRET, "permissions": ["read"]}}})
}

async fn post(server: &TestServer, body: &Value) -> Answer {
    server.ask("POST", "/ocm/shares").header("content-type", "application/json").body(body.to_string()).send().await
}

pub(crate) async fn trust(server: &TestServer, host: &str, auto_accept: bool) {
    server.execute(Command::Servers(ServersCommand::Trusted(TrustedCommand::Add { host: host.to_owned(), auto_accept }))).await;
}

async fn trusted(server: &TestServer) -> Vec<TrustedRow> {
    let told = server.execute(Command::Servers(ServersCommand::Trusted(TrustedCommand::List))).await;
    let Outcome::Trusted(rows) = told else { panic!("{told:?}") };
    rows
}

/// A server without TLS is trusted by its scheme.
fn plain(sender: &Sender) -> String {
    format!("http://{}", sender.host())
}

fn with_secret(mut offer: Value, secret: &str) -> Value {
    offer["protocol"]["webdav"]["sharedSecret"] = json!(secret);
    offer
}

/// Changes the lists of servers.
async fn lists(server: &TestServer, terms: FederationTerms) -> FederationRow {
    let told = server.execute(Command::Servers(ServersCommand::Federation(terms))).await;
    let Outcome::Federation(row) = told else { panic!("{told:?}") };
    row
}

fn deny(host: &str) -> FederationTerms {
    FederationTerms { deny: vec![host.to_owned()], ..FederationTerms::default() }
}

fn forget(host: &str) -> FederationTerms {
    FederationTerms { forget: vec![host.to_owned()], ..FederationTerms::default() }
}

/// A server with bob, and one that shares with him.
async fn with_sender() -> (TestServer, Sender) {
    let (server, sender) = (TestServer::with_user("bob").await, Sender::start().await);
    server.execute(Command::RemoteAllowPrivate { host: sender.host() }).await;
    (server, sender)
}

async fn state(server: &TestServer) -> Vec<String> {
    received(server, "bob").await.into_iter().map(|row| row.state).collect()
}

#[tokio::test]
async fn what_a_trusted_server_shares_is_taken_without_asking() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "from anna").await;
    let to_bob = format!("bob@http://{}", pair.bob.host());
    // Trusted, but not so far.
    trust(&pair.bob, &format!("http://{}", pair.anna.host()), false).await;
    pair.anna.put("anna", "/one.txt", "one").await;
    share(&pair.anna, "anna", "/one.txt", &to_bob, "read").await;
    trust(&pair.bob, &format!("http://{}/", pair.anna.host()), true).await;
    assert_eq!(trusted(&pair.bob).await.iter().map(|row| row.auto_accept).collect::<Vec<_>>(), [true]);
    share(&pair.anna, "anna", "/Photos", &to_bob, "15").await;
    until("the share in bob's tree", PATIENCE, async || names(&pair.bob, "bob", "/").await == ["Photos"]).await;
    assert_eq!(pair.bob.get("bob", "/Photos/a.txt").await, "from anna");
    assert_eq!(state(&pair.bob).await, ["pending", "accepted"], "what came before waits for bob");
    let accepted = async || shared(&pair.anna, "anna").await.iter().any(|row| row.state.as_deref() == Some("accepted"));
    until("the answer at anna's", PATIENCE, accepted).await;
    pair.stop().await;
}

#[tokio::test]
async fn f8_no_answer_waits_for_a_trusted_server_and_a_restart_forgets_nothing() {
    let (server, sender) = with_sender().await;
    trust(&server, &plain(&sender), true).await;
    sender.stall_after(0);
    let begun = Instant::now();
    assert_eq!(post(&server, &offer(&server, &sender, "1")).await.status, 201);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    until("a question", PATIENCE, async || sender.folder_asked() > 0).await;
    assert_eq!(state(&server).await, ["pending"]);
    // Down when the share comes, and up at the next start.
    let server = server.restart().await;
    sender.leave().await;
    sender.stall_after(1_000);
    sender.come_back().await;
    let server = server.restart().await;
    until("the share in the tree", PATIENCE, async || state(&server).await == ["accepted"]).await;
    assert_eq!(names(&server, "bob", "/").await, ["Folder"]);
    server.stop().await;
}

#[tokio::test]
async fn f1_what_a_trusted_server_does_not_have_is_not_taken() {
    let (server, sender) = with_sender().await;
    trust(&server, &plain(&sender), true).await;
    assert_eq!(post(&server, &with_secret(offer(&server, &sender, "1"), "wrong")).await.status, 201);
    until("a question", PATIENCE, async || sender.folder_asked() > 0).await;
    // Somebody else's folder under the name of a trusted server: that one alone is asked, and not told of as trusted.
    let other = Sender::start().await;
    server.execute(Command::RemoteAllowPrivate { host: other.host() }).await;
    let mut body = with_secret(offer(&server, &other, "2"), "secret-2");
    body["owner"] = json!(format!("einstein@http://{}", sender.host()));
    assert_eq!(post(&server, &body).await.status, 201);
    let mut body = with_secret(offer(&server, &other, "3"), "secret-3");
    body["sender"] = json!(format!("einstein@http://{}", sender.host()));
    assert_eq!(post(&server, &body).await.status, 201);
    // Another port of the trusted host is another server.
    let mut body = with_secret(offer(&server, &sender, "4"), "secret-4");
    body["protocol"]["webdav"]["uri"] = json!(other.uri());
    assert_eq!(post(&server, &body).await.status, 201);
    let server = server.restart().await;
    // What comes last is taken: so the others would have been, that came before.
    sender.take_bearer();
    assert_eq!(post(&server, &offer(&server, &sender, "5")).await.status, 201);
    until("the last share", PATIENCE, async || state(&server).await[4] == "accepted").await;
    assert_eq!((&state(&server).await[1..4], other.folder_asked()), (&["pending", "pending", "pending"].map(str::to_owned)[..], 0));
    server.stop().await;
}

#[tokio::test]
async fn f1_what_others_offer_in_the_name_of_a_trusted_server_waits_for_its_receiver() {
    let proxied = |config: &mut Config| config.trusted_proxies = vec![Network::parse("127.0.0.0/8").unwrap()];
    let (server, sender) = (TestServer::start_with(Clock::System, proxied).await, Sender::start().await);
    server.add_user("bob").await;
    group_of(&server, "band", &["bob"]).await;
    server.execute(Command::RemoteAllowPrivate { host: sender.host() }).await;
    trust(&server, &plain(&sender), true).await;
    // Everything opens there: so do the links that a stranger knows.
    sender.take_anything();
    let asked = async |offer: Value, from: &str| {
        let ask = server.ask("POST", "/ocm/shares").header("content-type", "application/json").header("x-forwarded-for", from);
        ask.body(offer.to_string()).expect(201).await;
    };
    let new = |id: &str, secret: &str| with_secret(offer(&server, &sender, id), secret);
    asked(new("1", "a-link"), "203.0.113.9").await;
    asked(new("2", "a-share"), "127.0.0.1").await;
    until("the share of its server", PATIENCE, async || state(&server).await == ["pending", "accepted"]).await;
    // From its own address: a secret that is known, a user of another server as the sender, and a group.
    asked(new("3", "a-share"), "127.0.0.1").await;
    let mut other = new("4", "secret-4");
    other["sender"] = json!("eve@evil.example");
    asked(other, "127.0.0.1").await;
    let mut group = new("5", "secret-5");
    (group["shareType"], group["shareWith"]) = (json!("group"), json!(format!("band@{}", server.host())));
    asked(group, "127.0.0.1").await;
    asked(new("6", "secret-6"), "127.0.0.1").await;
    until("the last share", PATIENCE, async || state(&server).await[5] == "accepted").await;
    assert_eq!(state(&server).await, ["pending", "accepted", "pending", "pending", "pending", "accepted"]);
    server.stop().await;
}

#[tokio::test]
async fn f1_trust_in_a_server_with_tls_is_none_in_one_without() {
    let (server, sender) = with_sender().await;
    sender.take_anything();
    trust(&server, &sender.host(), true).await;
    assert_eq!(post(&server, &with_secret(offer(&server, &sender, "1"), "one")).await.status, 201);
    trust(&server, &plain(&sender), true).await;
    assert_eq!(post(&server, &offer(&server, &sender, "2")).await.status, 201);
    until("the second share", PATIENCE, async || state(&server).await == ["pending", "accepted"]).await;
    server.stop().await;
}

#[tokio::test]
async fn f4_the_lists_of_servers_cannot_be_guessed_through_without_end() {
    let server = TestServer::with_user("bob").await;
    lists(&server, deny("*.evil.example")).await;
    let body = json!({"shareWith": format!("bob@{}", server.host()), "shareType": "user", "name": "x", "resourceType": "file",
        "providerId": "7", "owner": "eve@a.evil.example", "protocol": {"name": "webdav", "options": {"sharedSecret": "s"}}});
    let mut statuses = Vec::new();
    for _ in 0..25 {
        statuses.push(post(&server, &body).await.status);
    }
    assert_eq!((statuses[0], statuses[24]), (403, 429), "{statuses:?}");
    server.stop().await;
}

#[tokio::test]
async fn f3_mounting_a_link_or_taking_a_share_changes_no_trust() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    let remotes = async || format!("{:?}", pair.bob.execute(Command::RemoteList).await);
    let before = (remotes().await, format!("{:?}", lists(&pair.bob, FederationTerms::default()).await));
    let link = pair.anna.link("anna", "/Photos", "edit").await;
    pair.bob.mount("bob", &link.url).await;
    share(&pair.anna, "anna", "/Photos", &format!("bob@http://{}", pair.bob.host()), "15").await;
    let id = received(&pair.bob, "bob").await[0].id;
    pair.bob.execute(Command::Share(causeway::service::admin::ShareCommand::Accept { user: "bob".to_owned(), id })).await;
    assert_eq!((remotes().await, format!("{:?}", lists(&pair.bob, FederationTerms::default()).await)), before);
    assert!(trusted(&pair.bob).await.is_empty() && trusted(&pair.anna).await.is_empty());
    pair.stop().await;
}

#[tokio::test]
async fn f1_denied_servers_offer_nothing_and_get_nothing() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "from anna").await;
    let (annas, bobs) = (pair.anna.host(), pair.bob.host());
    let to_bob = format!("bob@http://{bobs}");
    let link = pair.anna.link("anna", "/Photos", "edit").await;
    pair.bob.mount("bob", &link.url).await;
    share(&pair.anna, "anna", "/Photos/a.txt", &to_bob, "3").await;
    let id = received(&pair.bob, "bob").await[0].id;
    pair.bob.execute(Command::Share(causeway::service::admin::ShareCommand::Accept { user: "bob".to_owned(), id })).await;
    assert_eq!(names(&pair.bob, "bob", "/").await, ["Photos", "a.txt"]);
    // Deny wins over trust and over the other list; the dot of a whole name is no way round it.
    trust(&pair.bob, &annas, true).await;
    lists(&pair.bob, FederationTerms { allow: vec![annas.clone()], ..FederationTerms::default() }).await;
    let row = lists(&pair.bob, deny("127.0.0.1")).await;
    assert_eq!((row.mode.as_str(), row.allow, row.deny), ("open", vec![annas.clone()], vec!["127.0.0.1".to_owned()]));
    // What is there stays, closed.
    assert_eq!(names(&pair.bob, "bob", "/").await, ["Photos", "a.txt"]);
    pair.bob.ask_as("bob", "GET", "/Photos/a.txt").expect(503).await;
    pair.bob.ask_as("bob", "GET", "/a.txt").expect(503).await;
    let refusal = pair
        .bob
        .refuse(Command::MountAdd { user: "bob".to_owned(), url: link.url.clone(), name: None, password: None }, Reason::Refused)
        .await;
    assert_eq!(refusal.text, "the administrator does not allow mounts of that server");
    let refusal = pair.bob.refuse(create("bob", "/", "x@127.0.0.1:1", "read"), Reason::Refused).await;
    assert!(refusal.text.contains("top folder"), "{}", refusal.text);
    pair.bob.mkcol("bob", "/Mine").await;
    let refusal = pair.bob.refuse(create("bob", "/Mine", &format!("anna@http://{annas}"), "read"), Reason::Refused).await;
    assert_eq!(refusal.text, format!("the administrator does not allow sharing with users of {annas}"));
    let body = json!({"shareWith": format!("bob@{bobs}"), "shareType": "user", "name": "x", "resourceType": "file", "providerId": "7",
        "owner": format!("nobody@http://{annas}"), "protocol": {"name": "webdav", "options": {"sharedSecret": "s"}}});
    for with in ["bob", "nobody"] {
        let mut body = body.clone();
        body["shareWith"] = json!(format!("{with}@{bobs}"));
        let answer = post(&pair.bob, &body).await;
        assert_eq!((answer.status, &parsed(&answer)["message"]), (403, &json!(DENIED)), "{with} is not told apart");
    }
    let form = format!("shareWith=bob&token=t&name=x&remoteId=8&owner=anna&remote=http%3A%2F%2F{annas}%2F&shareType=6");
    let answer = pair.bob.ask("POST", "/ocs/v2.php/cloud/shares?format=json").body(form);
    let answer = answer.header("content-type", "application/x-www-form-urlencoded").expect(403).await;
    assert_eq!(parsed(&answer)["ocs"]["meta"]["message"], DENIED);
    assert_eq!(received(&pair.bob, "bob").await.len(), 1);
    // And back.
    lists(&pair.bob, forget("127.0.0.1")).await;
    assert_eq!(pair.bob.get("bob", "/Photos/a.txt").await, "from anna");
    assert_eq!(pair.bob.get("bob", "/a.txt").await, "from anna");
    // From the other side: the door is closed, and nothing is said to be gone.
    lists(&pair.anna, deny(&bobs)).await;
    pair.bob.ask_as("bob", "PUT", "/a.txt").body("from bob").expect(503).await;
    lists(&pair.anna, forget(&bobs)).await;
    let again = async || pair.bob.ask_as("bob", "PUT", "/a.txt").body("from bob").send().await.status == 204;
    until("the share again", PATIENCE, again).await;
    pair.stop().await;
}

const DENIED: &str = "shares of your server are not taken here; ask the administrator of this one";

#[tokio::test]
async fn f1_where_only_listed_servers_take_part_others_do_not() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    let to_bob = format!("bob@http://{}", pair.bob.host());
    lists(&pair.bob, FederationTerms { mode: Some(Mode::Listed), ..FederationTerms::default() }).await;
    let bob = pair.bob.restart().await;
    let to_bob_now = format!("bob@http://{}", bob.host());
    assert_ne!(to_bob, to_bob_now);
    pair.anna.execute(Command::RemoteAllowPrivate { host: bob.host() }).await;
    pair.anna.refuse(create("anna", "/Photos", &to_bob_now, "read"), Reason::Refused).await;
    assert!(shared(&pair.anna, "anna").await.is_empty());
    // Links are not shares: anybody's may be mounted who is not denied.
    let link = pair.anna.link("anna", "/Photos", "read").await;
    bob.mount("bob", &link.url).await;
    bob.ask_as("bob", "PROPFIND", "/Photos").header("depth", "1").expect(207).await;
    lists(&bob, FederationTerms { allow: vec![pair.anna.host()], ..FederationTerms::default() }).await;
    share(&pair.anna, "anna", "/Photos", &to_bob_now, "read").await;
    assert_eq!(received(&bob, "bob").await.len(), 1);
    lists(&bob, FederationTerms { forget: vec![pair.anna.host()], ..FederationTerms::default() }).await;
    let id = received(&bob, "bob").await[0].id;
    let accept = Command::Share(causeway::service::admin::ShareCommand::Accept { user: "bob".to_owned(), id });
    bob.refuse(accept, Reason::Refused).await;
    bob.stop().await;
    pair.anna.stop().await;
}

#[test]
fn administrators_of_other_servers_get_what_they_must_add() {
    let cli = Cli::new();
    cli.ok(&["user", "add", "anna", "--password-stdin"], "anna's password\n");
    for line in [&["remote", "ocmproviders"][..], &["--json", "remote", "ocmproviders"]] {
        let mut command = cli.command(line);
        let printed = command.env("CAUSEWAY_PUBLIC_URL", "https://h.example/cloud").output().unwrap();
        let entries: Value = serde_json::from_slice(&printed.stdout).unwrap();
        let entry = &entries[0];
        assert_eq!(entry["domain"], "h.example");
        let services: Vec<_> = entry["services"].as_array().unwrap().iter().map(|service| &service["endpoint"]).collect();
        assert_eq!((&services[0]["type"]["name"], &services[0]["path"]), (&json!("OCM"), &json!("https://h.example/cloud/ocm/")));
        assert_eq!(
            (&services[1]["type"]["name"], &services[1]["path"]),
            (&json!("Webdav"), &json!("https://h.example/cloud/remote.php/dav/ocm/"))
        );
    }
    cli.ok(&["remote", "trusted", "add", "friend.example", "--auto-accept"], "");
    assert!(cli.ok(&["remote", "trusted", "list"], "").contains("friend.example  yes"));
    let shown = cli.ok(&["sharing", "federation", "--deny", "*.evil.example", "x.example", "--mode", "listed"], "");
    assert_eq!(shown, "mode: listed\nallow: \ndeny: x.example *.evil.example\n");
    cli.fails(&["sharing", "federation", "--deny", "a b"], 2);
    cli.fails(&["remote", "rename", "nobody.example", "new.example"], 3);
    cli.ok(&["remote", "trusted", "remove", "friend.example"], "");
    cli.fails(&["remote", "trusted", "remove", "friend.example"], 3);
}
