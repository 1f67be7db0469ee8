//! Invitations between servers: made, accepted, and what strangers try with them (`protocol/ocm.md` 1.7).

use causeway::config::PublicUrl;
use causeway::domain::{Clock, Secret};
use causeway::limits::USER_INVITATIONS_MAX;
use causeway::service::Reason;
use causeway::service::admin::{
    AccountCommand, Command, ContactCommand, ContactRow, FederationTerms, InviteCommand, InviteRow, Outcome, ServersCommand,
};
use causeway::wire::invite::Invite;
use serde_json::{Value, json};

use crate::ocs::json as parsed;
use crate::support::server::{Answer, Pair, TestServer, password};
use crate::support::sharing::{create, received, share};

fn creating(user: &str) -> Command {
    Command::Invite(InviteCommand::Create { user: user.to_owned(), note: "for Bob".to_owned(), expires: None, server: None })
}

/// An invitation of anna's, or of whoever.
async fn invite(server: &TestServer, user: &str) -> InviteRow {
    let made = server.execute(creating(user)).await;
    let Outcome::Invitation(row) = made else { panic!("{made:?}") };
    row
}

fn accepting(user: &str, invite: &str) -> Command {
    Command::Invite(InviteCommand::Accept { user: user.to_owned(), invite: Secret::new(invite) })
}

async fn accept(server: &TestServer, user: &str, invite: &str) -> ContactRow {
    let made = server.execute(accepting(user, invite)).await;
    let Outcome::Contact(row) = made else { panic!("{made:?}") };
    row
}

async fn invitations(server: &TestServer, user: &str) -> Vec<InviteRow> {
    let told = server.execute(Command::Invite(InviteCommand::List { user: user.to_owned() })).await;
    let Outcome::Invitations(rows) = told else { panic!("{told:?}") };
    rows
}

async fn contacts(server: &TestServer, user: &str) -> Vec<ContactRow> {
    let told = server.execute(Command::Contact(ContactCommand::List { user: user.to_owned() })).await;
    let Outcome::Contacts(rows) = told else { panic!("{told:?}") };
    rows
}

fn token(row: &InviteRow) -> String {
    Invite::parse(row.invite.as_ref().unwrap().expose()).unwrap().token.expose().to_owned()
}

/// What a server of the reva family sends when its user accepts.
fn acceptance(token: &str, user: &str) -> Value {
    json!({"recipientProvider": "cloud.example", "token": token, "userID": user, "email": "", "name": "Albert Einstein"})
}

async fn post(server: &TestServer, body: &Value) -> Answer {
    server.ask("POST", "/ocm/invite-accepted").header("content-type", "application/json").body(body.to_string()).send().await
}

#[tokio::test]
async fn two_users_become_contacts_and_share() {
    let pair = Pair::start().await;
    let Pair { anna, bob } = &pair;
    anna.execute(Command::Account { name: "anna".to_owned(), what: AccountCommand::Email("anna@mail.example".to_owned()) }).await;
    anna.execute(Command::Account { name: "anna".to_owned(), what: AccountCommand::DisplayName("Anna A".to_owned()) }).await;
    let made = invite(anna, "anna").await;
    assert_eq!((made.state.as_str(), made.note.as_str()), ("open", "for Bob"));
    let link = made.link.clone().unwrap();
    assert!(link.expose().starts_with(&format!("http://{}/ocm/accept-invite?token=", anna.host())), "the page of the inviter");
    let row = accept(bob, "bob", made.invite.as_ref().unwrap().expose()).await;
    let anna_at = format!("anna@http://{}", anna.host());
    assert_eq!((row.address.as_str(), row.name.as_str(), row.email.as_str()), (&*anna_at, "Anna A", "anna@mail.example"));
    let theirs = contacts(anna, "anna").await;
    assert_eq!((theirs.len(), theirs[0].address.as_str(), theirs[0].name.as_str()), (1, &*format!("bob@http://{}", bob.host()), "bob"));
    assert_eq!(
        (invitations(anna, "anna").await[0].state.as_str(), invitations(anna, "anna").await[0].invite.is_none()),
        ("accepted", true)
    );
    // Once more by the link, as after an answer that was lost: nothing changes.
    assert_eq!(accept(bob, "bob", link.expose()).await.id, row.id);
    assert_eq!((contacts(anna, "anna").await.len(), contacts(bob, "bob").await.len()), (1, 1));
    // Contacts are offered while a name is typed, and shared with by their address.
    let sharees = |search: &str| format!("/ocs/v2.php/apps/files_sharing/api/v1/sharees?format=json&itemType=file&search={search}");
    let told = bob.ask("GET", &sharees("nna")).basic("bob", &password("bob")).header("ocs-apirequest", "true").expect(200).await;
    let remotes = parsed(&told)["ocs"]["data"]["remotes"].clone();
    assert_eq!((remotes.as_array().unwrap().len(), &remotes[0]["value"]["shareWith"]), (1, &json!(anna_at)));
    assert_eq!((&remotes[0]["value"]["shareType"], &remotes[0]["label"]), (&json!(6), &json!(format!("Anna A ({})", anna.host()))));
    let told = bob.ask("GET", &sharees("Anna%20A")).basic("bob", &password("bob")).header("ocs-apirequest", "true").expect(200).await;
    assert_eq!(parsed(&told)["ocs"]["data"]["exact"]["remotes"][0]["value"]["shareWith"], json!(anna_at));
    // An e-mail address is what anna says of herself: it finds her, and is not taken for who is meant.
    let told =
        bob.ask("GET", &sharees("anna@mail.example")).basic("bob", &password("bob")).header("ocs-apirequest", "true").expect(200).await;
    let (exact, others) = (&parsed(&told)["ocs"]["data"]["exact"]["remotes"], &parsed(&told)["ocs"]["data"]["remotes"]);
    assert_eq!((others.as_array().unwrap().len(), &others[0]["value"]["shareWith"]), (1, &json!(anna_at)));
    assert!(
        exact.as_array().unwrap().iter().all(|row| row["value"]["shareWith"] == "anna@mail.example"),
        "the address as it was typed: {exact}"
    );
    bob.mkcol("bob", "/Docs").await;
    share(bob, "bob", "/Docs", &anna_at, "read").await;
    assert_eq!(received(anna, "anna").await[0].state, "pending", "a contact has no rights by being one");
    // What is known of people survives a restart, and goes with its user or by their wish.
    let Pair { anna, bob } = pair;
    let anna = anna.restart().await;
    assert_eq!(contacts(&anna, "anna").await.len(), 1);
    anna.execute(Command::UserRemove { name: "anna".to_owned(), purge: true }).await;
    anna.add_user("anna").await;
    assert!(contacts(&anna, "anna").await.is_empty() && invitations(&anna, "anna").await.is_empty());
    bob.execute(Command::Contact(ContactCommand::Remove { user: "bob".to_owned(), id: row.id })).await;
    assert!(contacts(&bob, "bob").await.is_empty());
    bob.refuse(Command::Contact(ContactCommand::Remove { user: "bob".to_owned(), id: row.id }), Reason::NotFound).await;
    bob.stop().await;
    anna.stop().await;
}

#[tokio::test]
async fn f5_an_invitation_is_good_for_one_and_kept_as_a_hash() {
    let clock = Clock::fixed(1_800_000_000);
    let server = TestServer::start_with(clock.clone(), |_config| {}).await;
    server.add_user("anna").await;
    let made = invite(&server, "anna").await;
    let first = post(&server, &acceptance(&token(&made), "4c51@idp.example")).await;
    assert_eq!((first.status, parsed(&first)), (200, json!({"userID": "anna", "userId": "anna", "email": "", "name": "anna"})));
    let row = contacts(&server, "anna").await.remove(0);
    assert_eq!((row.address.as_str(), row.name.as_str()), ("4c51@idp.example@cloud.example", "Albert Einstein"));
    // The same again is fine, by every spelling, even when its time is over; somebody else comes too late.
    clock.advance(8 * 86_400);
    let mut again = acceptance(&token(&made), "4c51@idp.example@https://cloud.example");
    again["recipientProvider"] = json!("https://Cloud.example/");
    assert_eq!(post(&server, &again).await.status, 200);
    assert_eq!(post(&server, &acceptance(&token(&made), "marie")).await.status, 409);
    let mut foreign = acceptance(&token(&made), "4c51@idp.example");
    foreign["recipientProvider"] = json!("evil.example");
    assert_eq!(post(&server, &foreign).await.status, 409);
    assert_eq!(contacts(&server, "anna").await.len(), 1);
    // One that nobody took in time looks like one that never was.
    let late = invite(&server, "anna").await;
    clock.advance(7 * 86_400);
    let expired = post(&server, &acceptance(&token(&late), "marie")).await;
    let unknown = post(&server, &acceptance("n0such", "marie")).await;
    assert_eq!((expired.status, expired.text()), (unknown.status, unknown.text()));
    assert_eq!((expired.status, invitations(&server, "anna").await[1].state.as_str()), (400, "expired"));
    // What was taken back, too.
    let back = invite(&server, "anna").await;
    server.execute(Command::Invite(InviteCommand::Remove { id: back.id })).await;
    assert_eq!(post(&server, &acceptance(&token(&back), "marie")).await.status, 400);
    server.refuse(Command::Invite(InviteCommand::Remove { id: back.id }), Reason::NotFound).await;
    // That of a disabled user, until they are back.
    let waits = invite(&server, "anna").await;
    let enable = |on| Command::Account { name: "anna".to_owned(), what: AccountCommand::Enable(on) };
    server.execute(enable(false)).await;
    assert_eq!(post(&server, &acceptance(&token(&waits), "marie")).await.status, 400);
    server.execute(enable(true)).await;
    // And where the administrator wants nobody to know anybody.
    let rule = |key: &str, value: &str| Command::Sharing { set: Some((key.to_owned(), value.to_owned())) };
    server.execute(rule("incoming", "off")).await;
    server.execute(rule("outgoing", "off")).await;
    assert_eq!(post(&server, &acceptance(&token(&waits), "marie")).await.status, 403);
    server.refuse(creating("anna"), Reason::Refused).await;
    server.refuse(accepting("anna", "dEBiLmV4YW1wbGU="), Reason::Refused).await;
    server.execute(rule("incoming", "on")).await;
    assert_eq!(post(&server, &acceptance(&token(&waits), "marie")).await.status, 200);
    // No token lies in the rows.
    server.running().services.export().await.unwrap();
    let rows = std::fs::read_to_string(server.data().join(".causeway/export.jsonl")).unwrap();
    assert!(![&made, &late, &waits].iter().any(|row| rows.contains(&token(row))));
    server.stop().await;
}

#[tokio::test]
async fn f3_a_second_invitation_does_not_rename_a_contact() {
    let server = TestServer::with_user("anna").await;
    let first = invite(&server, "anna").await;
    assert_eq!(post(&server, &acceptance(&token(&first), "marie")).await.status, 200);
    let before = contacts(&server, "anna").await.remove(0);
    let second = invite(&server, "anna").await;
    let mut other = acceptance(&token(&second), "marie");
    (other["name"], other["email"]) = (json!("The Boss"), json!("boss@corp.example"));
    assert_eq!(post(&server, &other).await.status, 200);
    let after = contacts(&server, "anna").await;
    assert_eq!((after.len(), &after[0].name, &after[0].email, after[0].id), (1, &before.name, &before.email, before.id));
    assert_eq!(invitations(&server, "anna").await[1].state, "accepted", "it is used up all the same");
    server.stop().await;
}

#[tokio::test]
async fn f3_a_denied_server_becomes_no_contact_and_is_asked_nothing() {
    let pair = Pair::start().await;
    let Pair { anna, bob } = &pair;
    let lists = |deny: &str, forget: &str| {
        let some = |host: &str| Some(host.to_owned()).filter(|host| !host.is_empty()).into_iter().collect();
        Command::Servers(ServersCommand::Federation(FederationTerms {
            deny: some(deny),
            forget: some(forget),
            ..FederationTerms::default()
        }))
    };
    // Who is denied here takes up no invitation of ours, and ours take up none of theirs.
    anna.execute(lists("cloud.example", "")).await;
    let made = invite(anna, "anna").await;
    let refused = post(anna, &acceptance(&token(&made), "marie")).await;
    assert_eq!((refused.status, contacts(anna, "anna").await.len()), (403, 0), "{}", refused.text());
    assert_eq!(invitations(anna, "anna").await[0].state, "open", "it waits for whom it was meant");
    bob.execute(lists(&anna.host(), "")).await;
    let string = made.invite.as_ref().unwrap().expose();
    let refusal = bob.refuse(accepting("bob", string), Reason::Refused).await;
    assert!(refusal.text.contains("the administrator of this server"), "{}", refusal.text);
    let create = InviteCommand::Create { user: "bob".to_owned(), note: String::new(), expires: None, server: Some(anna.host()) };
    let refusal = bob.refuse(Command::Invite(create), Reason::Refused).await;
    assert!(refusal.text.contains("the administrator"), "{}", refusal.text);
    assert!(contacts(bob, "bob").await.is_empty() && invitations(bob, "bob").await.is_empty());
    assert_eq!((invitations(anna, "anna").await[0].state.as_str(), contacts(anna, "anna").await.len()), ("open", 0), "nobody was asked");
    // And if it is allowed again, so.
    bob.execute(lists("", &anna.host())).await;
    accept(bob, "bob", string).await;
    anna.execute(lists("", "cloud.example")).await;
    let made = invite(anna, "anna").await;
    assert_eq!(post(anna, &acceptance(&token(&made), "marie")).await.status, 200);
    pair.stop().await;
}

#[tokio::test]
async fn f4_guessing_invitations_is_slow() {
    let clock = Clock::fixed(1_800_000_000);
    let server = TestServer::start_with(clock.clone(), |_config| {}).await;
    server.add_user("anna").await;
    let made = invite(&server, "anna").await;
    for number in 0..20 {
        assert_eq!(post(&server, &acceptance(&format!("guess{number}"), "marie")).await.status, 400);
    }
    let slowed = post(&server, &acceptance(&token(&made), "marie")).await;
    assert_eq!((slowed.status, slowed.header("retry-after").is_some()), (429, true));
    assert!(contacts(&server, "anna").await.is_empty());
    clock.advance(60);
    assert_eq!(post(&server, &acceptance(&token(&made), "marie")).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn f11_hostile_acceptances_do_no_harm() {
    let server = TestServer::with_user("anna").await;
    let made = invite(&server, "anna").await;
    let good = acceptance(&token(&made), "marie");
    let check = async |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value.clone();
        let answer = post(&server, &body).await;
        assert_eq!(answer.status, 400, "{field} {value}: {}", answer.text());
        assert!(parsed(&answer)["message"].as_str().is_some_and(|text| !text.is_empty()));
    };
    for provider in ["", "a b", "ftp://x", "x?y", "https://me:pw@x/", "javascript:alert(1)", &server.host(), "x\ny"] {
        check("recipientProvider", json!(provider)).await;
    }
    for user in [json!(""), json!(["a"]), json!("a/../b"), json!("a\u{0}b"), json!("x".repeat(300)), json!(null)] {
        check("userID", user).await;
    }
    check("token", json!("")).await;
    for body in ["", "[]", "{", "7", "null"] {
        server.ask("POST", "/ocm/invite-accepted").body(body).expect(400).await;
    }
    server.ask("POST", "/ocm/invite-accepted").body("x".repeat(60_000)).expect(400).await;
    server.ask("GET", "/ocm/invite-accepted").expect(405).await;
    assert!(contacts(&server, "anna").await.is_empty());
    // Names are shown as text, cut and without signs that are not seen; an address for mail is one or none.
    let mut hostile = good.clone();
    hostile["name"] = json!(format!("<script>alert(1)</script>\u{202e}{}", "x".repeat(5000)));
    hostile["email"] = json!("a@b\r\nBcc: c@d");
    let answer = server.ask("POST", "/index.php/ocm/invite-accepted").body(hostile.to_string()).expect(200).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let row = contacts(&server, "anna").await.remove(0);
    assert!(row.name.starts_with("<script>alert(1)</script>x") && row.name.len() <= 256 && row.email.is_empty(), "{row:?}");
    server.execute(Command::Maintenance { on: Some(true) }).await;
    assert_eq!(post(&server, &good).await.status, 503);
    server.stop().await;
}

#[tokio::test]
async fn f9_an_invitation_to_private_addresses_or_to_nowhere_has_one_sentence() {
    let server = TestServer::with_user("bob").await;
    let user = server.running().services.accounts().require("bob").unwrap();
    let federation = server.running().services.federation();
    // Loopback, private and link-local addresses that no administrator allowed, in every spelling, and no server at all.
    let nobody = TestServer::start().await;
    let closed = nobody.host();
    let hosts = [&*closed, "10.0.0.1", "169.254.169.254", "http://127.0.0.1:1", "https://[::1]:1", "2130706433", "0x7f.1"];
    let mut texts = Vec::new();
    for host in hosts {
        let error = federation.accept_invitation(&user, &Secret::new("t"), host).await.unwrap_err();
        let named = causeway::domain::CloudId::at("x", host).unwrap();
        texts.push(error.to_string().replace(named.host(), "HOST"));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    nobody.stop().await;
    // An administrator is told the reason.
    let invite = |provider: &str| Invite { token: Secret::new("t"), provider: provider.to_owned() }.string().expose().to_owned();
    let refusal = server.refuse(accepting("bob", &invite("10.0.0.1")), Reason::Refused).await;
    assert!(refusal.text.contains("causeway remote allow-private 10.0.0.1"), "{}", refusal.text);
    for pasted in ["", "nothing", "dG9rZW4=", "https://b.example/wayf", "t@a b", "t@ftp://x"] {
        server.refuse(accepting("bob", pasted), Reason::Usage).await;
    }
    let refusal = server.refuse(accepting("bob", &invite(&server.host())), Reason::Refused).await;
    assert!(refusal.text.contains("this server itself"), "{}", refusal.text);
    assert!(contacts(&server, "bob").await.is_empty());
    // Who makes this server knock without end is slowed.
    for _ in 0..40 {
        federation.accept_invitation(&user, &Secret::new("t"), "10.0.0.1").await.unwrap_err();
    }
    let error = federation.accept_invitation(&user, &Secret::new("t"), "10.0.0.1").await.unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn what_the_other_server_answers_is_said_plainly() {
    let pair = Pair::start().await;
    let Pair { anna, bob } = &pair;
    bob.add_user("carol").await;
    let made = invite(anna, "anna").await;
    let string = made.invite.as_ref().unwrap().expose();
    accept(bob, "bob", string).await;
    let taken = bob.refuse(accepting("carol", string), Reason::Refused).await;
    assert!(taken.text.contains("accepted already"), "{}", taken.text);
    let forged = Invite { token: Secret::new("x"), provider: anna.host() }.string();
    let unknown = bob.refuse(accepting("carol", forged.expose()), Reason::NotFound).await;
    assert!(unknown.text.contains("ask for a new one"), "{}", unknown.text);
    let closed = |on: &str| Command::Sharing { set: Some((on.to_owned(), "off".to_owned())) };
    let other = invite(anna, "anna").await;
    anna.execute(closed("incoming")).await;
    anna.execute(closed("outgoing")).await;
    let untrusted = bob.refuse(accepting("carol", other.invite.unwrap().expose()), Reason::Refused).await;
    assert!(untrusted.text.contains("causeway remote ocmproviders"), "{}", untrusted.text);
    assert!(contacts(bob, "carol").await.is_empty());
    pair.stop().await;
}

#[tokio::test]
async fn invitations_are_bounded_and_lead_to_the_page_of_the_receiver() {
    let clock = Clock::fixed(1_800_000_000);
    let server = TestServer::start_with(clock.clone(), |config| {
        config.public_url = Some(PublicUrl::parse("https://h.example/cloud").unwrap());
    })
    .await;
    server.add_user("anna").await;
    let first = invite(&server, "anna").await;
    let read = Invite::parse(first.invite.as_ref().unwrap().expose()).unwrap();
    assert_eq!((read.provider.as_str(), read.token.expose().len()), ("h.example/cloud", 22));
    let link = first.link.unwrap();
    assert!(link.expose().starts_with("https://h.example/cloud/ocm/accept-invite?token="), "the folder is part of it");
    assert!(link.expose().ends_with("&providerDomain=h.example%2Fcloud"));
    let answer = parsed(&server.ask("GET", "/.well-known/ocm").expect(200).await);
    assert_eq!(answer["inviteAcceptDialog"], "/cloud/ocm/accept-invite");
    // The page of another server, where it is known.
    let other = TestServer::start().await;
    server.execute(Command::RemoteAllowPrivate { host: other.host() }).await;
    let to = |host: String| {
        Command::Invite(InviteCommand::Create { user: "anna".to_owned(), note: String::new(), expires: None, server: Some(host) })
    };
    let made = server.execute(to(other.host())).await;
    let Outcome::Invitation(row) = made else { panic!("{made:?}") };
    assert!(row.link.unwrap().expose().starts_with(&format!("http://{}/ocm/accept-invite?token=", other.host())));
    other.stop().await;
    server.refuse(to("10.0.0.1".to_owned()), Reason::RemoteUnreachable).await;
    let until = |day: &str| {
        let expires = Some(day.to_owned());
        Command::Invite(InviteCommand::Create { user: "anna".to_owned(), note: String::new(), expires, server: None })
    };
    server.refuse(until("2020-01-01"), Reason::Usage).await;
    server.refuse(until("2999-01-01"), Reason::Usage).await;
    for _ in 2..USER_INVITATIONS_MAX {
        invite(&server, "anna").await;
    }
    server.refuse(creating("anna"), Reason::Refused).await;
    // Those that are over make room after a month.
    clock.advance(38 * 86_400);
    invite(&server, "anna").await;
    assert_eq!(invitations(&server, "anna").await.len(), 1);
    server.refuse(create("anna", "/", "nobody@h.example/cloud", "read"), Reason::NotFound).await;
    server.stop().await;
}
