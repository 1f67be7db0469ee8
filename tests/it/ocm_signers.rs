//! For whom a signature counts, and what is kept of who signs.

use causeway::domain::Signing;
use causeway::service::Reason;
use causeway::service::admin::Command;
use serde_json::{Value, json};

use crate::ocm_signatures::{BOTH, check_refused, offer, offers, unsigned, with_signer};
use crate::support::server::TestServer;
use crate::support::signer::{FOLDER, Kind, Signer, send_as_is};

#[tokio::test]
async fn f14_keys_in_a_folder_of_a_host_are_no_keys_of_that_host() {
    for kind in BOTH {
        let (server, signer) = with_signer(Signing::On, kind).await;
        // A stranger has a folder there, by a public link, and may write what is wanted into it.
        let stranger = Signer::start(kind).await;
        stranger.change_keys();
        let folder = [&signer.host(), FOLDER].concat();
        let body = |id: &str| offer(&server, &signer.host(), id);
        let draft = signer.draft(&server, "/ocm/shares", &offer(&server, &folder, "1"));
        let answer = stranger.send(&server, &draft).await;
        assert_eq!(answer.status, 201, "{kind:?}: who signs there speaks for what is there: {}", answer.text());
        assert_eq!(unsigned(&server, "/ocm/shares", &body("2")).await.status, 201, "the host itself never signed");
        let pretended = signer.draft(&server, "/ocm/shares", &body("3"));
        check_refused(&stranger.send(&server, &pretended).await, 401, "does not fit the key");
        let answer = signer.post(&server, "/ocm/shares", &body("3")).await;
        assert_eq!(answer.status, 201, "{kind:?}: its key is its own: {}", answer.text());
        check_refused(&stranger.send(&server, &signer.draft(&server, "/ocm/shares", &body("4"))).await, 401, "does not fit the key");
        // Who signs is forgotten by the name that was kept.
        check_refused(&unsigned(&server, "/ocm/shares", &offer(&server, &folder, "5")).await, 401, "has signed its calls before");
        assert_eq!(offers(&server).await, 3);
        server.execute(Command::RemoteForgetKey { host: format!("http://{folder}") }).await;
        server.refuse(Command::RemoteForgetKey { host: folder }, Reason::NotFound).await;
        server.execute(Command::RemoteForgetKey { host: signer.host() }).await;
        server.stop().await;
    }
}

/// An offer of something at a sender, which is said to be somebody else's.
fn of_another(server: &TestServer, owner: &Signer, sender: &Signer, id: &str) -> Value {
    let mut body = offer(server, &owner.host(), id);
    body["sender"] = json!(format!("mallory@http://{}", sender.host()));
    body["protocol"] = json!({"name": "multi", "webdav": {"uri": format!("http://{}/dav/", sender.host()), "sharedSecret": "s",
        "permissions": ["read"]}});
    body
}

#[tokio::test]
async fn f14_whose_a_share_is_only_the_owners_server_says() {
    let (server, evil) = with_signer(Signing::On, Kind::Message).await;
    let good = Signer::start(Kind::Cavage).await;
    server.execute(Command::RemoteAllowPrivate { host: good.host() }).await;
    // Both have one host, and differ by their ports: it lies at the sender, who signs.
    let answer = evil.post(&server, "/ocm/shares", &of_another(&server, &good, &evil, "1")).await;
    assert_eq!(answer.status, 201, "the owner's server never signed: {}", answer.text());
    assert_eq!(good.post(&server, "/ocm/shares", &offer(&server, &good.host(), "2")).await.status, 201);
    let refused = evil.post(&server, "/ocm/shares", &of_another(&server, &good, &evil, "3")).await;
    check_refused(&refused, 403, "speaks for another server");
    // The owner's server may name a sender elsewhere: so it shares on.
    let mut on = offer(&server, &good.host(), "4");
    on["sender"] = json!(format!("mallory@http://{}", evil.host()));
    assert_eq!(good.post(&server, "/ocm/shares", &on).await.status, 201);
    assert_eq!(offers(&server).await, 3);
    server.stop().await;

    let (server, evil) = with_signer(Signing::Required, Kind::Message).await;
    let refused = evil.post(&server, "/ocm/shares", &of_another(&server, &good, &evil, "1")).await;
    check_refused(&refused, 403, "speaks for another server");
    assert_eq!(evil.post(&server, "/ocm/shares", &of_another(&server, &evil, &evil, "1")).await.status, 201);
    server.stop().await;
}

#[tokio::test]
async fn f14_keys_are_kept_of_who_has_said_something_that_was_taken() {
    for kind in BOTH {
        let (server, signer) = with_signer(Signing::On, kind).await;
        let mut nobody = offer(&server, &signer.host(), "1");
        nobody["shareWith"] = json!(format!("nobody@{}", server.host()));
        assert_eq!(signer.post(&server, "/ocm/shares", &nobody).await.status, 400);
        server.refuse(Command::RemoteForgetKey { host: signer.host() }, Reason::NotFound).await;
        assert_eq!(signer.post(&server, "/ocm/shares", &offer(&server, &signer.host(), "2")).await.status, 201);
        // However it is written.
        let host = format!("http://{}/", signer.host().to_uppercase());
        server.execute(Command::RemoteForgetKey { host }).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn f14_another_writing_of_the_same_signature_is_the_same() {
    let (server, signer) = with_signer(Signing::On, Kind::Message).await;
    let draft = signer.draft(&server, "/ocm/shares", &offer(&server, &signer.host(), "1"));
    let headers = signer.headers(&draft);
    let other = signer.headers_rewritten(&headers);
    assert_eq!(send_as_is(&server, &draft, &headers).await.status, 201);
    check_refused(&send_as_is(&server, &draft, &other).await, 401, "came before");
    // It is one that fits: of a call that never came it is taken.
    let draft = signer.draft(&server, "/ocm/shares", &offer(&server, &signer.host(), "2"));
    let other = signer.headers_rewritten(&signer.headers(&draft));
    assert_eq!(send_as_is(&server, &draft, &other).await.status, 201);
    server.stop().await;
}

#[tokio::test]
async fn a_document_that_fails_hides_no_key_that_stands_in_another() {
    for (kind, broken) in [(Kind::Cavage, "/.well-known/ocm"), (Kind::Cavage, "/.well-known/jwks.json"), (Kind::Message, "/ocm-provider/")]
    {
        let (server, signer) = with_signer(Signing::On, kind).await;
        signer.break_at(broken);
        let answer = signer.post(&server, "/ocm/shares", &offer(&server, &signer.host(), "1")).await;
        assert_eq!(answer.status, 201, "{broken}: {}", answer.text());
        server.stop().await;
    }
    let (server, signer) = with_signer(Signing::On, Kind::Cavage).await;
    signer.break_at("/ocm-provider/");
    let answer = signer.post(&server, "/ocm/shares", &offer(&server, &signer.host(), "1")).await;
    check_refused(&answer, 503, "cannot be asked for now");
    server.stop().await;
}
