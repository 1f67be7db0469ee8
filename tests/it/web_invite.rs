//! The page on which an invitation of another server is accepted, as a browser without scripts goes through it.

use causeway::service::admin::{Command, ContactCommand, ContactRow, InviteCommand, InviteRow, Outcome};

use crate::support::browsing::{Browser, form_of, location};
use crate::support::server::{Pair, TestServer};

async fn invite(server: &TestServer) -> InviteRow {
    let create = InviteCommand::Create { user: "anna".to_owned(), note: String::new(), expires: None, server: None };
    let made = server.execute(Command::Invite(create)).await;
    let Outcome::Invitation(row) = made else { panic!("{made:?}") };
    row
}

async fn contacts(server: &TestServer, user: &str) -> Vec<ContactRow> {
    let told = server.execute(Command::Contact(ContactCommand::List { user: user.to_owned() })).await;
    let Outcome::Contacts(rows) = told else { panic!("{told:?}") };
    rows
}

/// The page of bob's server for an invitation of anna's.
fn page(pair: &Pair, row: &InviteRow) -> String {
    let link = row.link.as_ref().unwrap().expose();
    link.strip_prefix(&format!("http://{}", pair.anna.host())).unwrap().to_owned()
}

#[tokio::test]
async fn an_invitation_is_accepted_by_a_click_and_by_nothing_else() {
    let pair = Pair::start().await;
    let place = page(&pair, &invite(&pair.anna).await);
    let mut browser = Browser::new();
    // Not logged in: first that, then back with the same invitation.
    let login = location(&browser.open(&pair.bob, &place, 303).await);
    let back = location(&browser.log_in(&pair.bob, "bob", &login).await);
    assert_eq!(back, place);
    let asked = browser.open(&pair.bob, &back, 200).await.text();
    assert!(asked.contains(&pair.anna.host()) && asked.contains("Accept the invitation</button>"), "{asked}");
    assert!(contacts(&pair.bob, "bob").await.is_empty() && contacts(&pair.anna, "anna").await.is_empty(), "nothing comes of looking");
    let form = form_of(&asked, "/ocm/accept-invite");
    // Neither without the session's token, nor from a page of another site (attack L7).
    browser.send(&pair.bob, &form.clone().with("requesttoken", "x"), 403).await;
    browser.send_from(&pair.bob, &form, &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")], 403).await;
    assert!(contacts(&pair.bob, "bob").await.is_empty());
    let done = browser.send(&pair.bob, &form, 200).await.text();
    assert!(done.contains("Invitation accepted") && done.contains(&format!("(anna@{})", pair.anna.host())), "{done}");
    assert_eq!((contacts(&pair.bob, "bob").await.len(), contacts(&pair.anna, "anna").await.len()), (1, 1));
    pair.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_an_invitation_is_said_on_its_page() {
    let pair = Pair::start().await;
    let place = page(&pair, &invite(&pair.anna).await);
    let mut browser = Browser::new();
    browser.log_in(&pair.bob, "bob", "/login").await;
    let form = form_of(&browser.open(&pair.bob, &place, 200).await.text(), "/ocm/accept-invite");
    let unknown = browser.send(&pair.bob, &form.clone().with("token", "NoSuchInvitation"), 400).await.text();
    assert!(unknown.contains("does not know this invitation"), "{unknown}");
    let ours = browser.send(&pair.bob, &form.clone().with("providerDomain", &pair.bob.host()), 400).await.text();
    assert!(ours.contains("an invitation of this server itself"), "{ours}");
    for place in ["/ocm/accept-invite", "/ocm/accept-invite?token=t", "/ocm/accept-invite?token=t&providerDomain=%3Cb%3E"] {
        let none = browser.open(&pair.bob, place, 400).await.text();
        assert!(none.contains("This is no invitation") && !none.contains("<b>"), "{none}");
    }
    browser.send(&pair.bob, &form, 200).await;
    let again = browser.send(&pair.bob, &form, 200).await.text();
    assert!(again.contains("Invitation accepted"), "the same once more changes nothing: {again}");
    assert_eq!(contacts(&pair.anna, "anna").await.len(), 1);
    pair.stop().await;
}
