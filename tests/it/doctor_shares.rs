//! What the doctor says of shares that open: listing, reading, rights, and what works but not well. One test for each fault.

use causeway::service::doctor::{Fault, Patience};

use crate::support::exam::{Exam, Found};
use crate::support::raw::{Act, Asked, Raw, file, folder, get, healthy, multistatus, reply, response};

/// Looks at a server that is well but for what this answers.
async fn look(unwell: impl Fn(&Asked) -> Option<Act> + Send + Sync + 'static) -> Found {
    let remote = Raw::http(move |asked| unwell(asked).unwrap_or_else(|| healthy(asked))).await;
    let found = Exam::of(&remote.host()).look(&remote.url("/dav/")).await;
    assert!(
        remote.asked().iter().all(|asked| ["GET ", "PROPFIND ", "OPTIONS "].iter().any(|method| asked.starts_with(method))),
        "nothing is written"
    );
    found
}

/// The same, where the listing alone is not well.
async fn listing(answer: impl Fn() -> Act + Send + Sync + 'static) -> Found {
    look(move |asked| (asked.method == "PROPFIND" && asked.header("depth") == Some("1")).then(&answer)).await
}

/// The same, where reading alone is not well.
async fn reading(answer: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Found {
    look(move |asked| (asked.method == "GET" && asked.path == "/dav/a.txt").then(|| answer(asked))).await
}

#[tokio::test]
async fn a_share_that_is_well() {
    look(|_| None).await.is_well();
}

#[tokio::test]
async fn listings_that_are_none() {
    let xml = |text: &'static str| move || reply(207, &[("content-type", "application/xml")], text);
    listing(xml("<d:multistatus xmlns:d=\"DAV:\"><d:response>")).await.has(Fault::BadXml, "bad-xml");
    let found = listing(xml("<br/>Warning: fopen(): failed<d:multistatus/>")).await;
    assert!(found.has(Fault::BadXml, "bad-xml").contains("PHP"));
    listing(|| multistatus(&file("/other/a.txt", "\"1\"", 5))).await.has(Fault::OtherHrefs, "other-hrefs");
    let deep = listing(|| multistatus(&"<d:response>".repeat(100))).await;
    assert!(deep.has(Fault::ListTooLarge, "list-too-large").contains("too deep"));
    listing(|| Act::Say(b"HTTP/1.1 207 X\r\ncontent-length: 1000\r\n\r\n<d:multistatus xmlns:d=\"DAV:\">".to_vec()))
        .await
        .has(Fault::ListBrokeOff, "list-broke-off");
    listing(|| Act::Hold(b"HTTP/1.1 207 X\r\ncontent-length: 1000\r\n\r\n<d:multistatus xmlns:d=\"DAV:\">".to_vec()))
        .await
        .has(Fault::ListBrokeOff, "list-broke-off");
    listing(|| Act::Say(Vec::new())).await.has(Fault::ListBrokeOff, "list-broke-off");
    listing(|| reply(403, &[], "")).await.has(Fault::ListRefused, "list-refused");
    assert!(listing(|| reply(500, &[], "")).await.has(Fault::ListFails, "list-fails").contains("(500)"));
}

#[tokio::test]
async fn listings_of_the_wrong_place_are_told_from_the_first_question_on() {
    let found = look(|asked| (asked.method == "PROPFIND").then(|| multistatus(&file("/other/", "\"1\"", 5)))).await;
    assert!(found.has(Fault::OtherHrefs, "other-hrefs").contains("overwritewebroot"));
    look(|asked| (asked.method == "PROPFIND").then(|| reply(207, &[], "<html>"))).await.has(Fault::BadXml, "bad-xml");
}

#[tokio::test]
async fn names_that_cannot_be_used() {
    let found = listing(|| multistatus(&[folder(""), file("/dav/a.txt", "\"1\"", 5), file("/dav/a%00b", "\"1\"", 5)].concat())).await;
    assert!(found.has(Fault::NamesLeftOut, "names-left-out").contains("1 of them"));
}

#[tokio::test]
async fn files_that_cannot_be_read() {
    reading(|_| reply(403, &[], "")).await.has(Fault::ReadRefused, "read-refused");
    reading(|_| reply(405, &[], "")).await.has(Fault::ReadRefused, "read-refused");
    reading(|_| reply(404, &[], "")).await.has(Fault::ReadMissing, "read-missing");
    reading(|_| reply(500, &[], "")).await.has(Fault::ReadFails, "read-fails");
}

#[tokio::test]
async fn parts_that_are_not_those_that_were_asked_for() {
    reading(|_| reply(200, &[], "alpha")).await.has(Fault::RangeIgnored, "range-ignored");
    reading(|_| reply(206, &[("content-range", "bytes 3-3/5")], "h")).await.has(Fault::RangeWrong, "range-wrong");
    reading(|_| reply(206, &[], "l")).await.has(Fault::RangeWrong, "range-wrong");
}

#[tokio::test]
async fn lengths_that_lie() {
    reading(|_| reply(200, &[], "alphabet")).await.has(Fault::LengthDiffers, "length-differs");
    reading(|asked| if asked.header("range").is_some() { get(asked, b"alpha") } else { reply(200, &[], "alp") })
        .await
        .has(Fault::LengthDiffers, "length-differs");
}

#[tokio::test]
async fn bodies_that_end_too_early_or_not_at_all() {
    const HALF: &[u8] = b"HTTP/1.1 200 X\r\ncontent-length: 5\r\n\r\nal";
    let whole = |asked: &Asked| asked.header("range").is_none();
    reading(move |asked| if whole(asked) { Act::Say(HALF.to_vec()) } else { get(asked, b"alpha") })
        .await
        .has(Fault::BodyShort, "body-short");
    reading(move |asked| if whole(asked) { Act::Hold(HALF.to_vec()) } else { get(asked, b"alpha") })
        .await
        .has(Fault::BodyStalls, "body-stalls");
}

#[tokio::test]
async fn etags_that_flip_are_weak_or_missing() {
    reading(|asked| match get(asked, b"alpha") {
        Act::Say(bytes) => Act::Say(String::from_utf8(bytes).unwrap().replace("etag: \"1\"", "etag: \"2\"").into_bytes()),
        hold @ Act::Hold(_) => hold,
    })
    .await
    .has(Fault::EtagFlips, "etag-flips");
    listing(|| multistatus(&[folder(""), file("/dav/a.txt", "W/\"1\"", 5)].concat())).await.has(Fault::WeakEtags, "weak-etags");
    let bare = |href, kind| response(href, &format!("<d:resourcetype>{kind}</d:resourcetype>"));
    listing(move || multistatus(&[bare("/dav/", "<d:collection/>"), bare("/dav/a.txt", "")].concat()))
        .await
        .has(Fault::NoEtags, "no-etags");
}

#[tokio::test]
async fn a_slow_line() {
    let content = vec![b'a'; 100_000];
    let remote = Raw::http(move |asked| match (asked.method.as_str(), asked.header("depth")) {
        ("PROPFIND", Some("1")) => multistatus(&[folder(""), file("/dav/a.txt", "\"1\"", 100_000)].concat()),
        ("GET", _) => get(asked, &content),
        _ => healthy(asked),
    })
    .await;
    let exam = Exam::of(&remote.host());
    // No line is that fast.
    let exam = Exam { patience: Patience { slow_bytes_per_second: u64::MAX, ..exam.patience }, ..exam };
    let text = exam.look(&remote.url("/dav/")).await.has(Fault::Slow, "slow");
    assert!(text.contains("KiB per second"), "{text}");
}

#[tokio::test]
async fn rights_room_and_locks() {
    let own = |more: &'static str| move |asked: &Asked| (asked.method == "PROPFIND").then(|| multistatus(&folder(more)));
    look(own("<oc:id>1</oc:id><oc:permissions>G</oc:permissions>")).await.has(Fault::ReadOnly, "read-only");
    look(own("<d:quota-available-bytes>0</d:quota-available-bytes>")).await.has(Fault::Full, "full");
    look(own("<d:quota-available-bytes>-3</d:quota-available-bytes>")).await.is_well();
    look(|asked| (asked.method == "OPTIONS").then(|| reply(200, &[("dav", "1, 3")], ""))).await.has(Fault::NoLocks, "no-locks");
}
