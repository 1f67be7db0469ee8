//! `POST /index.php/apps/files_sharing/external`, as pages of ownCloud 7 to 10 send it.

use causeway::domain::Secret;
use causeway::service::admin::{Command, FederationTerms, LinkTerms, ServersCommand};
use serde_json::{Value, json};

use crate::ocs::json as parsed;
use crate::support::federation::{mounts, names};
use crate::support::server::{Ask, Pair, password};

const PATH: &str = "/index.php/apps/files_sharing/external";

fn ask(pair: &Pair, form: &str) -> Ask {
    let ask = pair.bob.ask("POST", PATH).basic("bob", &password("bob")).header("ocs-apirequest", "true");
    ask.header("content-type", "application/x-www-form-urlencoded").body(form)
}

/// The form that a page of the other server leads to.
fn form(pair: &Pair, token: &str, name: &str, password: &str) -> String {
    let remote = format!("http%3A%2F%2F{}%2F", pair.anna.host());
    format!("remote={remote}&token={token}&owner=anna&ownerDisplayName=Anna+A&name={name}&password={password}")
}

async fn answer(pair: &Pair, form: &str) -> Value {
    parsed(&ask(pair, form).expect(200).await)
}

fn error(message: &str) -> Value {
    json!({"data": {"message": message}, "status": "error"})
}

#[tokio::test]
async fn a_link_is_mounted_as_a_page_of_owncloud_asks_for_it() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "from anna").await;
    let token = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    let open = token(&pair.anna.link("anna", "/Photos", "read").await.url);
    let terms = LinkTerms { permissions: Some("read".to_owned()), password: Some(Secret::new("s3cretPw")), ..LinkTerms::default() };
    let closed = token(&pair.anna.link_with("anna", "/Photos", terms).await.url);
    assert_eq!(answer(&pair, &form(&pair, &open, "Photos", "")).await, json!({"status": "success"}));
    assert_eq!(answer(&pair, &form(&pair, &closed, "Photos", "s3cretPw")).await, json!({"status": "success"}));
    assert_eq!(names(&pair.bob, "bob", "/").await, ["Photos", "Photos%20%282%29"]);
    assert_eq!(pair.bob.get("bob", "/Photos/a.txt").await, "from anna");
    assert_eq!(mounts(&pair.bob, "bob").await.len(), 2);
    // In the words of those pages.
    let wrong = "Could not authenticate to remote share, password might be wrong";
    for (form, message) in [
        (form(&pair, &closed, "Photos", ""), wrong),
        (form(&pair, &closed, "Photos", "guess"), wrong),
        (form(&pair, "NoSuchToken1234", "Photos", ""), wrong),
        (form(&pair, &open, "a%2Fb", ""), "The mountpoint name contains invalid characters."),
        (form(&pair, &open, "..", ""), "The mountpoint name contains invalid characters."),
        (form(&pair, "..%2F..", "x", ""), "Couldn't add remote share"),
        (String::from("name=x"), "Couldn't add remote share"),
        // Closed ports and private addresses look alike (attack F9).
        (format!("remote=http%3A%2F%2F127.0.0.1%3A1&token={open}&owner=a&name=x&password="), "Remote is unreachable"),
        (format!("remote=http%3A%2F%2F169.254.169.254&token={open}&owner=a&name=x&password="), "Remote is unreachable"),
    ] {
        assert_eq!(answer(&pair, &form).await, error(message), "{form}");
    }
    pair.bob
        .execute(Command::Servers(ServersCommand::Federation(FederationTerms {
            deny: vec![pair.anna.host()],
            ..FederationTerms::default()
        })))
        .await;
    let denied = error("the administrator does not allow mounts of that server");
    assert_eq!(answer(&pair, &form(&pair, &open, "Photos", "")).await, denied);
    pair.bob.execute(Command::Sharing { set: Some(("incoming".to_owned(), "off".to_owned())) }).await;
    let off = error("Server to server sharing is not enabled on this server");
    assert_eq!(answer(&pair, &form(&pair, &open, "Photos", "")).await, off);
    assert_eq!(mounts(&pair.bob, "bob").await.len(), 2);
    pair.stop().await;
}

#[tokio::test]
async fn l7_no_page_of_another_site_mounts_anything() {
    let pair = Pair::start().await;
    pair.anna.put("anna", "/a.txt", "x").await;
    let url = pair.anna.link("anna", "/a.txt", "read").await.url;
    let form = form(&pair, url.rsplit('/').next().unwrap(), "a.txt", "");
    let bare = || pair.bob.ask("POST", PATH).header("content-type", "application/x-www-form-urlencoded").body(&form);
    let logged_in = || bare().basic("bob", &password("bob"));
    let expired = json!({"data": {"message": "Token expired. Please reload page.", "error": "token_expired"}, "status": "error"});
    assert_eq!(parsed(&logged_in().expect(200).await), expired);
    let foreign = logged_in().header("origin", "https://evil.example").header("ocs-apirequest", "true");
    assert_eq!(parsed(&foreign.expect(200).await), expired);
    bare().header("ocs-apirequest", "true").expect(401).await;
    // A browser without a session is led to the login.
    assert!(bare().expect(303).await.header("location").unwrap().starts_with("/login"));
    bare().basic("bob", "wrong").header("ocs-apirequest", "true").expect(401).await;
    pair.bob.ask("GET", PATH).basic("bob", &password("bob")).expect(405).await;
    assert!(mounts(&pair.bob, "bob").await.is_empty());
    pair.stop().await;
}
