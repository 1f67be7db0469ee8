//! App passwords: made and revoked by clients and by administrators; a revoked one stops at once.

use causeway::domain::Secret;
use causeway::service::Reason;
use causeway::service::admin::{AccountCommand, AppPasswordRow, Command, Outcome};

use crate::ocs::json;
use crate::support::server::{TestServer, password};

async fn rows(server: &TestServer) -> Vec<AppPasswordRow> {
    let listed = server.execute(Command::Account { name: "anna".to_owned(), what: AccountCommand::AppPasswords }).await;
    let Outcome::AppPasswords(rows) = listed else { panic!("{listed:?}") };
    rows
}

fn revoke(name: &str, id: u64) -> Command {
    Command::Account { name: name.to_owned(), what: AccountCommand::Revoke { id } }
}

async fn status(server: &TestServer, password: &str) -> u16 {
    server.ask("PROPFIND", "/remote.php/webdav/").header("depth", "0").basic("anna", password).send().await.status
}

#[tokio::test]
async fn a_client_swaps_the_password_for_one_of_its_own_and_logs_out_with_it() {
    let server = TestServer::with_user("anna").await;
    let make = |secret: &str| {
        let ask = server.ask("GET", "/ocs/v2.php/core/getapppassword?format=json").basic("anna", secret);
        ask.header("ocs-apirequest", "true").header("user-agent", "Mozilla/5.0 (Android) phone")
    };
    let made = make(&password("anna")).expect(200).await;
    let app = json(&made)["ocs"]["data"]["apppassword"].as_str().unwrap().to_owned();
    assert_eq!(status(&server, &app).await, 207);
    assert_eq!(rows(&server).await[0].label, "Mozilla/5.0 (Android) phone");
    // A password that was revoked must not live on in others.
    assert_eq!(json(&make(&app).expect(403).await)["ocs"]["meta"]["statuscode"], 403);
    server.ask("GET", "/ocs/v2.php/core/getapppassword").expect(401).await;
    let ask = |method: &str, secret: &str| {
        server.ask(method, "/ocs/v2.php/core/apppassword?format=json").basic("anna", secret).header("ocs-apirequest", "true")
    };
    let out = |secret: &str| ask("DELETE", secret);
    out(&password("anna")).expect(403).await;
    ask("POST", &app).expect(405).await;
    out(&app).expect(200).await;
    assert_eq!(status(&server, &app).await, 401);
    out(&app).expect(401).await;
    assert_eq!(status(&server, &password("anna")).await, 207);
    assert!(rows(&server).await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_revoked_password_stops_at_once_and_stays_so() {
    let server = TestServer::with_user("anna").await;
    server.add_user("bob").await;
    let mut apps = Vec::new();
    for label in ["phone", "laptop"] {
        let made = server.execute(Command::UserAppPassword { name: "anna".to_owned(), label: label.to_owned() }).await;
        let Outcome::Secret(app) = made else { panic!("{made:?}") };
        assert_eq!(status(&server, app.expose()).await, 207);
        apps.push(app);
    }
    let listed = rows(&server).await;
    assert_eq!(listed.iter().map(|row| row.label.as_str()).collect::<Vec<_>>(), ["phone", "laptop"]);
    let id = listed[0].id;
    // Numbers of others are nobody's business.
    server.refuse(revoke("bob", id), Reason::NotFound).await;
    server.refuse(revoke("nobody", id), Reason::NotFound).await;
    server.execute(revoke("anna", id)).await;
    server.refuse(revoke("anna", id), Reason::NotFound).await;
    assert_eq!(status(&server, apps[0].expose()).await, 401);
    assert_eq!(status(&server, apps[1].expose()).await, 207);
    let server = server.restart().await;
    assert_eq!(status(&server, apps[0].expose()).await, 401);
    assert_eq!(status(&server, apps[1].expose()).await, 207);
    assert_eq!(rows(&server).await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_new_password_of_the_account_leaves_app_passwords_alone() {
    let server = TestServer::with_user("anna").await;
    let made = server.execute(Command::UserAppPassword { name: "anna".to_owned(), label: String::new() }).await;
    let Outcome::Secret(app) = made else { panic!("{made:?}") };
    server.execute(Command::UserPassword { name: "anna".to_owned(), password: Secret::new("another") }).await;
    assert_eq!(status(&server, app.expose()).await, 207);
    server.stop().await;
}
