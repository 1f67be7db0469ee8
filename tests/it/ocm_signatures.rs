//! Signed calls between servers: ours, and those of servers that sign as Nextcloud 32 and as later ones do.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use causeway::domain::{Clock, Signing};
use causeway::service::Reason;
use causeway::service::admin::{Command, ShareCommand};
use causeway::wire::signature::{Algorithm, Announced, jwks};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::ocs::json as parsed;
use crate::support::federation::{PATIENCE, names, until};
use crate::support::server::{Answer, TestServer};
use crate::support::sharing::{received, remove, share, shared};
use crate::support::signer::{Call, Kind, Signer, send_as_is};

pub(crate) const BOTH: [Kind; 2] = [Kind::Cavage, Kind::Message];

pub(crate) async fn with(mode: Signing) -> TestServer {
    TestServer::start_with(Clock::System, |config| config.signatures = mode).await
}

/// A server that has bob and judges signatures, and one that signs.
pub(crate) async fn with_signer(mode: Signing, kind: Kind) -> (TestServer, Signer) {
    let (server, signer) = (with(mode).await, Signer::start(kind).await);
    server.add_user("bob").await;
    server.execute(Command::RemoteAllowPrivate { host: signer.host() }).await;
    (server, signer)
}

/// An offer to bob of a user of a server.
pub(crate) fn offer(server: &TestServer, host: &str, id: &str) -> Value {
    let alice = format!("alice@http://{host}");
    json!({"shareWith": format!("bob@{}", server.host()), "shareType": "user", "name": "pub", "resourceType": "file", "providerId": id,
        "owner": alice, "ownerDisplayName": "Alice", "sender": alice, "senderDisplayName": "Alice",
        "protocol": {"name": "webdav", "options": {"sharedSecret": format!("secret{id}"), "permissions": "x"}}})
}

fn unshared(id: &str) -> Value {
    json!({"notificationType": "SHARE_UNSHARED", "resourceType": "file", "providerId": id, "notification": {"sharedSecret": format!("secret{id}")}})
}

pub(crate) async fn unsigned(server: &TestServer, path: &str, body: &Value) -> Answer {
    server.ask("POST", path).header("content-type", "application/json").body(body.to_string()).send().await
}

/// Whether a call was refused in words: the status, and something that is said.
#[track_caller]
pub(crate) fn check_refused(answer: &Answer, status: u16, says: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let told = parsed(answer);
    assert!(told["message"].as_str().unwrap().contains(says), "{says}: {told}");
}

pub(crate) async fn offers(server: &TestServer) -> usize {
    received(server, "bob").await.len()
}

#[tokio::test]
async fn nothing_is_made_published_or_signed_unless_it_is_switched_on() {
    let (server, signer) = with_signer(Signing::Off, Kind::Cavage).await;
    assert!(!server.data().join(".causeway/keys/signing.keys").exists());
    for path in ["/ocm-provider/", "/.well-known/ocm"] {
        let document = parsed(&server.ask("GET", path).expect(200).await);
        for name in ["publicKey", "jwksUri", "tokenEndPoint", "criteria"] {
            assert!(document.get(name).is_none(), "{path}: {name}");
        }
        assert!(!document["capabilities"].as_array().unwrap().contains(&json!("http-sig")));
    }
    server.ask("GET", "/.well-known/jwks.json").expect(404).await;
    server.mkcol("bob", "/Docs").await;
    share(&server, "bob", "/Docs", &format!("amy@{}", signer.host()), "read").await;
    let call = signer.calls().pop().unwrap();
    assert!(["signature", "digest", "content-digest", "signature-input"].iter().all(|name| !call.headers.contains_key(*name)));
    // Signatures of others are not looked at, whatever stands in them.
    let mut draft = signer.draft(&server, "/ocm/shares", &offer(&server, &signer.host(), "1"));
    draft.at -= 10_000;
    assert_eq!(signer.send(&server, &draft).await.status, 201);
    server.stop().await;
}

#[tokio::test]
async fn what_is_published_is_what_other_servers_read() {
    for mode in [Signing::On, Signing::Required] {
        let server = with(mode).await;
        let base = format!("http://{}", server.host());
        let provider = parsed(&server.ask("GET", "/ocm-provider/").expect(200).await);
        assert_eq!(provider["publicKey"]["keyId"], format!("{base}/ocm#signature"));
        assert!(provider.get("jwksUri").is_none() && provider["resourceTypes"][0]["protocols"]["webdav"].is_string());
        assert_eq!(provider["resourceTypes"][0]["protocols"].as_object().unwrap().len(), 1, "older decoders fail at objects");
        let known = parsed(&server.ask("GET", "/.well-known/ocm").expect(200).await);
        assert_eq!(
            (&known["jwksUri"], &known["tokenEndPoint"]),
            (&json!(format!("{base}/.well-known/jwks.json")), &json!(format!("{base}/ocm/token")))
        );
        for capability in ["http-sig", "exchange-token", "notifications", "protocol-object"] {
            assert!(known["capabilities"].as_array().unwrap().contains(&json!(capability)), "{known}");
        }
        let criteria = if mode == Signing::Required { json!(["must-use-http-sig"]) } else { Value::Null };
        assert_eq!((&known["criteria"], &provider["criteria"]), (&criteria, &criteria));
        server.execute(Command::Maintenance { on: Some(true) }).await;
        let keys = parsed(&server.ask("GET", "/.well-known/jwks.json").expect(200).await);
        let told: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| (key["kid"].clone(), key["alg"].clone())).collect();
        let named = |name: &str, alg: &str| (json!(format!("{base}/ocm#{name}")), json!(alg));
        assert_eq!(told, [named("ed25519", "EdDSA"), named("ecdsa-p256-sha256", "ES256")]);
        server.ask("POST", "/ocm/token").expect(503).await;
        server.stop().await;
    }
}

/// Whether a call of ours is signed by the key that we publish, over what was sent.
async fn check_signed(server: &TestServer, signer: &Signer, call: &Call, kind: Kind) {
    let (length, date) = (call.body.len(), call.header("date"));
    assert_eq!((call.header("content-length"), call.header("host")), (&*length.to_string(), &*signer.host()));
    let age = httpdate::parse_http_date(date).unwrap().elapsed().unwrap_or_default();
    assert!(age.as_secs() < 60, "{date}");
    let value = call.header("signature");
    if kind == Kind::Cavage {
        let digest = format!("SHA-512={}", STANDARD.encode(Sha512::digest(&call.body)));
        let text = format!(
            "(request-target): post {}\ncontent-length: {length}\ndate: {date}\ndigest: {digest}\nhost: {}",
            call.path,
            signer.host()
        );
        let begin = format!(
            "keyId=\"http://{}/ocm#signature\",algorithm=\"rsa-sha512\",headers=\"(request-target) content-length date digest host\",signature=\"",
            server.host()
        );
        let signature = STANDARD.decode(value.strip_prefix(&begin).unwrap().strip_suffix('"').unwrap()).unwrap();
        let document = server.ask("GET", "/ocm-provider/").expect(200).await;
        let (_, key) = Announced::of_document(&document.body).unwrap().key.unwrap();
        assert!(key.verifies(Algorithm::RsaSha512, text.as_bytes(), &signature), "{text}");
    } else {
        let digest = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(&call.body)));
        assert_eq!(call.header("content-digest"), digest);
        let parameters = call.header("signature-input").strip_prefix("ocm=").unwrap();
        let expected = "(\"@method\" \"@target-uri\" \"content-digest\" \"content-length\" \"date\");created=";
        assert!(
            parameters.starts_with(expected)
                && parameters.ends_with(&format!("keyid=\"http://{}/ocm#ed25519\";tag=\"ocm\"", server.host()))
        );
        let text = format!(
            "\"@method\": POST\n\"@target-uri\": http://{}{}\n\"content-digest\": {digest}\n\"content-length\": {length}\n\"date\": {date}\n\
             \"@signature-params\": {parameters}",
            signer.host(),
            call.path
        );
        let signature = STANDARD.decode(value.strip_prefix("ocm=:").unwrap().strip_suffix(':').unwrap()).unwrap();
        let keys = jwks(&server.ask("GET", "/.well-known/jwks.json").expect(200).await.body).unwrap();
        assert!(keys[0].1.verifies(Algorithm::Ed25519, text.as_bytes(), &signature), "{text}");
    }
}

#[tokio::test]
async fn our_calls_are_signed_as_their_receiver_reads_it() {
    for kind in BOTH {
        let (server, signer) = with_signer(Signing::On, kind).await;
        server.mkcol("bob", "/Docs").await;
        let row = share(&server, "bob", "/Docs", &format!("amy@{}", signer.host()), "read").await;
        remove(&server, row.id).await;
        until("the end", PATIENCE, async || signer.calls().len() >= 2).await;
        let calls = signer.calls();
        assert_eq!(calls.iter().map(|call| call.path.as_str()).collect::<Vec<_>>(), ["/ocm/shares", "/ocm/notifications"]);
        for call in &calls {
            check_signed(&server, &signer, call, kind).await;
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn two_servers_that_demand_signatures_share_both_ways() {
    let (anna, bob) = (with(Signing::Required).await, with(Signing::Required).await);
    anna.add_user("anna").await;
    bob.add_user("bob").await;
    anna.execute(Command::RemoteAllowPrivate { host: bob.host() }).await;
    bob.execute(Command::RemoteAllowPrivate { host: anna.host() }).await;
    for (one, other, from, to) in [(&anna, &bob, "anna", "bob"), (&bob, &anna, "bob", "anna")] {
        one.mkcol(from, &format!("/Of_{from}")).await;
        one.put(from, &format!("/Of_{from}/a.txt"), from).await;
        let sent = share(one, from, &format!("/Of_{from}"), &format!("{to}@{}", other.host()), "edit").await;
        let offered = received(other, to).await.pop().unwrap();
        other.execute(Command::Share(ShareCommand::Accept { user: to.to_owned(), id: offered.id })).await;
        assert_eq!(other.get(to, &format!("/Of_{from}/a.txt")).await, from);
        until("the answer", PATIENCE, async || shared(one, from).await.iter().any(|row| row.state.as_deref() == Some("accepted"))).await;
        remove(one, sent.id).await;
        until("the end", PATIENCE, async || !names(other, to, "/").await.contains(&format!("Of_{from}"))).await;
    }
    let answer = unsigned(&bob, "/ocm/shares", &offer(&bob, &anna.host(), "1")).await;
    check_refused(&answer, 401, "must be signed here");
    bob.stop().await;
    anna.stop().await;
}

#[tokio::test]
async fn signed_calls_of_others_are_taken_and_their_keys_asked_for_once() {
    for kind in BOTH {
        let (server, signer) = with_signer(Signing::Required, kind).await;
        for id in ["1", "2"] {
            let answer = signer.post(&server, "/ocm/shares", &offer(&server, &signer.host(), id)).await;
            assert_eq!(answer.status, 201, "{kind:?}: {}", answer.text());
        }
        assert_eq!(signer.keys_asked(), 1);
        let server = server.restart().await;
        let answer = signer.post(&server, "/ocm/notifications", &unshared("1")).await;
        assert_eq!((answer.status, signer.keys_asked()), (201, 1), "they are kept: {}", answer.text());
        assert_eq!(offers(&server).await, 1);
        server.stop().await;
    }
}

#[tokio::test]
async fn f14_without_a_signature_only_who_never_signed_is_believed() {
    let (server, signer) = with_signer(Signing::On, Kind::Cavage).await;
    let body = |id: &str| offer(&server, &signer.host(), id);
    assert_eq!(unsigned(&server, "/ocm/shares", &body("1")).await.status, 201, "it never signed");
    assert_eq!(signer.post(&server, "/ocm/shares", &body("2")).await.status, 201);
    check_refused(&unsigned(&server, "/ocm/shares", &body("3")).await, 401, "has signed its calls before");
    check_refused(&unsigned(&server, "/ocm/notifications", &unshared("2")).await, 401, "has signed its calls before");
    // By the older calls neither, which cannot be signed.
    let form = format!("shareWith=bob&token=t&name=x&remoteId=9&owner=alice&remote=http://{}/", signer.host());
    let ocs = server.ask("POST", "/ocs/v2.php/cloud/shares?format=json").header("content-type", "application/x-www-form-urlencoded");
    ocs.body(form).expect(403).await;
    let ocs =
        server.ask("POST", "/ocs/v2.php/cloud/shares/2/unshare?format=json").header("content-type", "application/x-www-form-urlencoded");
    ocs.body("token=secret2").expect(403).await;
    // Nor as the sender of what lies elsewhere.
    let mut elsewhere = offer(&server, "a.example", "4");
    elsewhere["sender"] = json!(format!("alice@http://{}", signer.host()));
    check_refused(&unsigned(&server, "/ocm/shares", &elsewhere).await, 401, "has signed its calls before");
    let server = server.restart().await;
    let body = |id: &str| offer(&server, &signer.host(), id);
    check_refused(&unsigned(&server, "/ocm/shares", &body("3")).await, 401, "has signed its calls before");
    assert_eq!(offers(&server).await, 2);
    server.execute(Command::RemoteForgetKey { host: signer.host() }).await;
    assert_eq!(unsigned(&server, "/ocm/shares", &body("3")).await.status, 201);
    server.refuse(Command::RemoteForgetKey { host: signer.host() }, Reason::NotFound).await;
    server.stop().await;
}

#[tokio::test]
async fn f14_a_signature_is_taken_once() {
    for kind in BOTH {
        let (server, signer) = with_signer(Signing::On, kind).await;
        let draft = signer.draft(&server, "/ocm/shares", &offer(&server, &signer.host(), "1"));
        let headers = signer.headers(&draft);
        assert_eq!(send_as_is(&server, &draft, &headers).await.status, 201);
        check_refused(&send_as_is(&server, &draft, &headers).await, 401, "came before");
        assert_eq!(offers(&server).await, 1);
        server.stop().await;
    }
}

#[tokio::test]
async fn f14_what_was_signed_otherwise_than_sent_is_refused() {
    for kind in BOTH {
        let (server, signer) = with_signer(Signing::On, kind).await;
        let good = signer.draft(&server, "/ocm/shares", &offer(&server, &signer.host(), "1"));
        let check = async |change: &dyn Fn(&mut crate::support::signer::Draft), status: u16, says: &str| {
            let mut draft = good.clone();
            change(&mut draft);
            check_refused(&signer.send(&server, &draft).await, status, says);
        };
        check(&|draft| draft.at -= 3600, 401, "clocks").await;
        check(&|draft| draft.at += 3600, 401, "clocks").await;
        check(&|draft| draft.sent_body = draft.body.replace("pub", "pwn"), 401, "does not fit its digest").await;
        // Signed for another server: HTTP says who was meant, and that is not us.
        check(&|draft| draft.host = "elsewhere.example".to_owned(), 401, "does not fit the key").await;
        check(&|draft| draft.path = "/ocm/notifications".to_owned(), 401, "does not fit the key").await;
        check(&|draft| draft.sent_path = "/index.php/ocm/shares".to_owned(), 401, "does not fit the key").await;
        check(&|draft| draft.key_id = "https://elsewhere.example/ocm#signature".to_owned(), 403, "speaks for another server").await;
        check(&|draft| draft.key_id.push_str("-none"), 401, "publishes no key").await;
        check(&|draft| draft.key_id = String::new(), 401, "names no key").await;
        // Somebody else's key, and a body that speaks for a server that did not sign.
        let other = Signer::start(kind).await;
        other.change_keys();
        check_refused(&other.send(&server, &good).await, 401, "does not fit the key");
        let foreign = signer.draft(&server, "/ocm/shares", &offer(&server, "a.example", "2"));
        check_refused(&signer.send(&server, &foreign).await, 403, "speaks for another server");
        assert_eq!(offers(&server).await, 0);
        assert_eq!(signer.send(&server, &good).await.status, 201, "{kind:?}: and as it should be it is taken");
        server.stop().await;
    }
}

#[tokio::test]
async fn f14_a_host_that_is_not_ours_is_not_answered_for() {
    let (server, signer) = with_signer(Signing::On, Kind::Cavage).await;
    let mut draft = signer.draft(&server, "/ocm/shares", &offer(&server, &signer.host(), "1"));
    draft.host = "elsewhere.example".to_owned();
    let headers = signer.headers(&draft);
    let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let mut request = http::Request::builder().method("POST").uri("/ocm/shares").header("host", "elsewhere.example");
    for (name, value) in &headers {
        request = request.header(*name, value);
    }
    let request = request.body(http_body_util::Full::new(bytes::Bytes::from(draft.sent_body))).unwrap();
    let answer = crate::support::server::send_on(stream, request).await;
    check_refused(&answer, 403, "signed for another server");
    assert_eq!(offers(&server).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn f14_notifications_are_believed_of_the_other_end_alone() {
    let (server, signer) = with_signer(Signing::On, Kind::Message).await;
    assert_eq!(signer.post(&server, "/ocm/shares", &offer(&server, &signer.host(), "1")).await.status, 201);
    let other = Signer::start(Kind::Message).await;
    server.execute(Command::RemoteAllowPrivate { host: other.host() }).await;
    check_refused(&other.post(&server, "/ocm/notifications", &unshared("1")).await, 403, "speaks for another server");
    assert_eq!((offers(&server).await, other.keys_asked()), (1, 0), "nobody is asked for a key that would not count");
    assert_eq!(signer.post(&server, "/ocm/notifications", &unshared("1")).await.status, 201);
    assert_eq!(offers(&server).await, 0);
    // Of a share that we sent, its receiver's server.
    server.mkcol("bob", "/Docs").await;
    let row = share(&server, "bob", "/Docs", &format!("amy@{}", signer.host()), "read").await;
    let sent: Value = serde_json::from_slice(&signer.calls().pop().unwrap().body).unwrap();
    let secret = &sent["protocol"]["options"]["sharedSecret"];
    let accepted = json!({"notificationType": "SHARE_ACCEPTED", "resourceType": "file", "providerId": row.id.to_string(),
        "notification": {"sharedSecret": secret}});
    check_refused(&other.post(&server, "/ocm/notifications", &accepted).await, 403, "speaks for another server");
    assert_eq!(signer.post(&server, "/ocm/notifications", &accepted).await.status, 201);
    assert_eq!(shared(&server, "bob").await[0].state.as_deref(), Some("accepted"));
    server.stop().await;
}

#[tokio::test]
async fn f14_a_key_that_changed_is_refused_until_it_is_forgotten() {
    for kind in BOTH {
        let (server, signer) = with_signer(Signing::On, kind).await;
        assert_eq!(signer.post(&server, "/ocm/shares", &offer(&server, &signer.host(), "1")).await.status, 201);
        signer.change_keys();
        let refused = signer.post(&server, "/ocm/shares", &offer(&server, &signer.host(), "2")).await;
        check_refused(&refused, 401, &format!("causeway remote forget-key {}", signer.host()));
        // Another name for the new key does not help where there is no TLS.
        signer.rename_keys();
        let renamed = signer.post(&server, "/ocm/shares", &offer(&server, &signer.host(), "2")).await;
        check_refused(&renamed, 403, "over https only");
        assert_eq!(offers(&server).await, 1);
        server.execute(Command::RemoteForgetKey { host: signer.host() }).await;
        let taken = signer.post(&server, "/ocm/shares", &offer(&server, &signer.host(), "2")).await;
        assert_eq!((taken.status, offers(&server).await), (201, 2), "{}", taken.text());
        server.stop().await;
    }
}

#[tokio::test]
async fn f14_garbage_in_the_headers_of_a_signature_is_refused_in_words() {
    let (server, signer) = with_signer(Signing::On, Kind::Cavage).await;
    let draft = signer.draft(&server, "/ocm/shares", &offer(&server, &signer.host(), "1"));
    let good = signer.headers(&draft);
    let with = |name: &str, value: &str| {
        let mut headers = good.clone();
        headers.retain(|(known, _)| *known != name);
        headers.push((
            match name {
                "date" => "date",
                "digest" => "digest",
                "signature-input" => "signature-input",
                _ => "signature",
            },
            value.to_owned(),
        ));
        headers
    };
    for headers in [
        with("signature", "garbage"),
        with("signature", ""),
        with("signature", &"x".repeat(5000)),
        with("signature", &format!("{},keyId=\"x\"", good[2].1)),
        with("signature-input", "garbage"),
        with("signature-input", "ocm=(\"@method\""),
        with("signature-input", &"(".repeat(5000)),
        with("digest", "SHA-512"),
        with("digest", "MD5=AAAA"),
        with("date", "yesterday"),
        with("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        let answer = send_as_is(&server, &draft, &headers).await;
        assert_eq!(answer.status, 401, "{headers:?}: {}", answer.text());
        assert!(parsed(&answer)["message"].as_str().is_some_and(|text| text.len() > 20), "{headers:?}: {}", answer.text());
        assert_eq!(answer.header("www-authenticate"), Some("Signature realm=\"ocm\""));
    }
    let mut long = draft.clone();
    long.body = format!("{{\"description\":\"{}\"}}", "x".repeat(60_000));
    long.sent_body = long.body.clone();
    assert_eq!(signer.send(&server, &long).await.status, 400);
    assert_eq!((offers(&server).await, signer.keys_asked()), (0, 0), "nobody is asked for the key of what cannot be read");
    server.stop().await;
}

#[tokio::test]
async fn f9_a_key_that_cannot_be_asked_for_is_no_refusal_and_nobody_knocks_without_end() {
    let clock = Clock::fixed(1_800_000_000);
    let server = TestServer::start_with(clock, |config| config.signatures = Signing::On).await;
    server.add_user("bob").await;
    let signer = Signer::start(Kind::Cavage).await;
    // It is near, and nobody allowed that.
    let post = async |id: u32| signer.post(&server, "/ocm/shares", &offer(&server, &signer.host(), &id.to_string())).await;
    for id in 0..20 {
        let answer = post(id).await;
        check_refused(&answer, 503, "cannot be asked for now");
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(post(20).await.status, 429);
    assert_eq!((offers(&server).await, signer.keys_asked()), (0, 0));
    server.stop().await;
}

#[tokio::test]
async fn the_keys_are_in_the_backup_and_stay_the_same() {
    let server = with(Signing::On).await;
    server.add_user("bob").await;
    let file = server.data().join(".causeway/keys/signing.keys");
    let keys = std::fs::read(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let backup = server.data().join("../backup");
    server.execute(Command::Backup { folder: backup.display().to_string() }).await;
    assert_eq!(std::fs::read(backup.join("signing.keys")).unwrap(), keys);
    assert_eq!(std::fs::metadata(backup.join("signing.keys")).unwrap().permissions().mode() & 0o777, 0o600);
    let server = server.restart().await;
    assert_eq!(std::fs::read(&file).unwrap(), keys);
    let (folder, data) = (server.folder(), server.data().to_owned());
    server.stop().await;
    std::fs::write(&file, "other").unwrap();
    causeway::service::backup::restore(&data, &backup, &causeway::store::Options::default()).unwrap();
    // Into nothing, too: nobody else may read the rows.
    let elsewhere = data.join("../elsewhere");
    causeway::service::backup::restore(&elsewhere, &backup, &causeway::store::Options::default()).unwrap();
    for folder in [elsewhere.join(".causeway"), elsewhere.join(".causeway/keys")] {
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
    }
    assert_eq!(std::fs::read(&file).unwrap(), keys);
    let mut names: Vec<_> = std::fs::read_dir(data.join(".causeway/keys")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["secret.key", "signing.keys"], "nothing half-done is left");
    drop(folder);
}
