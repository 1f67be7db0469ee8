//! Every fault of a remote against every operation of a mount: the answer is an error that does not claim absence, the mount stays, and it
//! recovers.

use causeway::domain::{Error, Expect, MountState, OfflineCause, PutRequest, Vendor, Write};
use causeway::wire::Via;

use crate::support::bad_remote::{BadRemote, Fault};
use crate::support::mounted::{Mounted, allowed, at};

/// What is asked of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    List,
    Read,
    Put,
    PutUnseen,
    Mkcol,
    Delete,
    Rename,
    Copy,
}

const ALL: [Ask; 8] = [Ask::List, Ask::Read, Ask::Put, Ask::PutUnseen, Ask::Mkcol, Ask::Delete, Ask::Rename, Ask::Copy];

async fn ask(mounted: &Mounted, what: Ask) -> Result<(), Error> {
    match what {
        Ask::List => mounted.names("sub").await.map(drop),
        Ask::Read => mounted.read("sub/b.txt").await.map(drop),
        Ask::Put => mounted.put("sub/b.txt", "new content of b").await,
        Ask::PutUnseen => mounted.put_unseen("sub/b.txt", "new content of b").await.map(drop),
        Ask::Mkcol => mounted.mkcol("sub/new").await,
        Ask::Delete => mounted.delete("sub/b.txt").await,
        Ask::Rename => mounted.rename("sub/b.txt", "sub/c.txt").await,
        Ask::Copy => mounted.copy("sub/b.txt", "sub/c.txt").await,
    }
}

async fn start() -> (BadRemote, Mounted) {
    let remote = BadRemote::start().await;
    let mounted = Mounted::new(&remote.url(), Vendor::OwnCloud, allowed(&remote.host()));
    (remote, mounted)
}

/// Runs every operation against a fault. Each starts from a healthy mount; after each the remote is well again, and so must the mount be.
async fn check(fault: Fault, operations: &[Ask], expected: impl Fn(Ask, &Error) -> bool) {
    for what in operations {
        let (remote, mounted) = start().await;
        assert_eq!(mounted.names("").await.unwrap(), ["a.txt", "sub"]);
        let before = mounted.handle.root();
        remote.set(fault).await;
        let error = ask(&mounted, *what).await.expect_err(&format!("{what:?} under {fault:?}"));
        assert!(!matches!(error, Error::NotFound | Error::Internal(_)) || *what == Ask::Read, "{what:?} under {fault:?}: {error:?}");
        assert!(!matches!(error, Error::NotFound), "{what:?} under {fault:?}: nothing may vanish");
        assert!(expected(*what, &error), "{what:?} under {fault:?}: {error:?}");
        let root = mounted.handle.root();
        assert_eq!((root.id, root.kind), (before.id, before.kind), "the root stays listed");
        assert!(mounted.mounts.get(mounted.handle.record().id).is_some(), "the mount stays");
        remote.set(Fault::None).await;
        mounted.handle.retry().await;
        assert_eq!(mounted.handle.state(), MountState::Online, "{what:?} after {fault:?}");
        assert_eq!(mounted.names("").await.unwrap(), ["a.txt", "sub"], "{what:?} after {fault:?}");
        assert_eq!(mounted.read("a.txt").await.unwrap(), "alpha", "{what:?} after {fault:?}");
    }
}

fn down(cause: OfflineCause) -> impl Fn(Ask, &Error) -> bool {
    move |_, error| matches!(error, Error::Unavailable { cause: found, .. } if *found == cause)
}

fn unavailable(_: Ask, error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. })
}

/// A broken body shows while it is read.
fn unavailable_or_broken(what: Ask, error: &Error) -> bool {
    unavailable(what, error) || what == Ask::Read && matches!(error, Error::Internal(text) if text.starts_with("broke off"))
}

#[tokio::test]
async fn f12_a_refused_connection_is_unavailable() {
    check(Fault::Refused, &ALL, down(OfflineCause::Unreachable)).await;
}

#[tokio::test]
async fn f12_a_black_hole_ends_in_time() {
    check(Fault::BlackHole, &ALL, down(OfflineCause::Unreachable)).await;
}

#[tokio::test]
async fn a_reset_in_the_middle_is_unavailable() {
    check(Fault::ResetMidBody, &[Ask::List, Ask::Read], unavailable_or_broken).await;
}

#[tokio::test]
async fn f12_a_stall_ends_in_time() {
    check(Fault::Stall, &[Ask::List, Ask::Read], unavailable_or_broken).await;
}

#[tokio::test]
async fn a_short_body_is_never_taken_for_the_whole() {
    check(Fault::ShortBody, &[Ask::List, Ask::Read], |what, error| {
        // A length that is not the listed one shows before the first byte.
        unavailable_or_broken(what, error) || matches!(error, Error::Changed)
    })
    .await;
}

#[tokio::test]
async fn a_wrong_length_is_never_taken_for_the_whole() {
    check(Fault::WrongLength, &[Ask::List, Ask::Read], |what, error| unavailable(what, error) || matches!(error, Error::Changed)).await;
}

#[tokio::test]
async fn a_401_asks_for_the_password() {
    check(Fault::Status(401), &ALL, down(OfflineCause::NeedsPassword)).await;
}

#[tokio::test]
async fn a_404_on_everything_is_a_withdrawn_share_not_an_absent_node() {
    // DELETE of what is gone is done (RFC 9110 9.3.5); see below.
    let asked: Vec<Ask> = ALL.into_iter().filter(|what| *what != Ask::Delete).collect();
    check(Fault::Status(404), &asked, down(OfflineCause::Withdrawn)).await;
}

#[tokio::test]
async fn statuses_keep_their_meaning() {
    check(Fault::Status(403), &ALL, |_, error| matches!(error, Error::Forbidden(_))).await;
    check(Fault::Status(423), &[Ask::Put, Ask::PutUnseen, Ask::Mkcol, Ask::Delete, Ask::Rename], |_, error| {
        matches!(error, Error::Locked(_))
    })
    .await;
    check(Fault::Status(507), &[Ask::Put, Ask::PutUnseen, Ask::Mkcol, Ask::Copy], |_, error| matches!(error, Error::InsufficientStorage))
        .await;
    check(Fault::Status(508), &ALL, |_, error| matches!(error, Error::Loop)).await;
}

#[tokio::test]
async fn passing_faults_are_busy() {
    for status in [429, 500, 502, 503] {
        check(Fault::Status(status), &ALL, down(OfflineCause::RemoteBusy)).await;
    }
}

#[tokio::test]
async fn f10_redirects_elsewhere_are_not_followed() {
    check(Fault::RedirectToOtherHost, &ALL, unavailable).await;
    check(Fault::RedirectToHttp, &ALL, unavailable).await;
}

#[tokio::test]
async fn a_login_page_is_no_answer() {
    check(Fault::Html, &[Ask::List, Ask::Put, Ask::Mkcol, Ask::Rename, Ask::Copy], unavailable).await;
    check(Fault::Html, &[Ask::Read], |what, error| unavailable(what, error) || matches!(error, Error::Changed)).await;
}

#[tokio::test]
async fn f11_hostile_listings_are_refused() {
    for fault in [Fault::MalformedXml, Fault::BombXml, Fault::MillionEntries, Fault::EndlessXml] {
        check(fault, &[Ask::List], down(OfflineCause::BadAnswer)).await;
    }
}

#[tokio::test]
async fn f11_names_and_places_that_cannot_be_are_left_out() {
    let (remote, mounted) = start().await;
    for fault in [Fault::HrefsOutside, Fault::HostileNames] {
        remote.set(fault).await;
        assert_eq!(mounted.names("sub").await.unwrap(), ["b.txt"], "{fault:?}");
        mounted.put("sub/x", "so that the listing is asked for again").await.unwrap();
        mounted.delete("sub/x").await.unwrap();
    }
}

#[tokio::test]
async fn f11_a_part_that_was_not_asked_for_is_refused() {
    let (remote, mounted) = start().await;
    assert_eq!(mounted.read_range("sub/b.txt", 5, 9).await.unwrap(), "beta");
    remote.set(Fault::WrongRange).await;
    assert!(matches!(mounted.read_range("sub/b.txt", 5, 9).await, Err(Error::Unavailable { .. })));
    assert!(matches!(mounted.read("sub/b.txt").await, Err(Error::Unavailable { .. })));
}

#[tokio::test]
async fn f11_a_file_that_is_another_one_by_now_is_changed() {
    let (remote, mounted) = start().await;
    remote.set(Fault::EtagFlips).await;
    assert!(matches!(mounted.read("sub/b.txt").await, Err(Error::Changed)));
    remote.set(Fault::None).await;
    assert_eq!(mounted.read("sub/b.txt").await.unwrap(), "beta beta beta");
}

#[tokio::test]
async fn a_dead_remote_answers_at_once_and_asks_nothing() {
    let (remote, mounted) = start().await;
    mounted.names("").await.unwrap();
    remote.set(Fault::BlackHole).await;
    assert!(mounted.put("a.txt", "x").await.is_err());
    let begun = std::time::Instant::now();
    for _ in 0..100 {
        assert!(matches!(mounted.names("sub").await, Err(Error::Unavailable { .. })));
        assert_eq!(mounted.handle.root().kind, causeway::domain::Kind::Collection);
        mounted.handle.quota(&Via::default()).await.unwrap();
    }
    assert!(begun.elapsed() < std::time::Duration::from_millis(300), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_listing_of_the_parent_waits_for_no_remote() {
    let remote = BadRemote::start().await;
    let mounted = Mounted::new(&remote.url(), Vendor::Causeway, allowed(&remote.host()));
    mounted.names("").await.unwrap();
    remote.take_seen();
    remote.set(Fault::BlackHole).await;
    let begun = std::time::Instant::now();
    assert!(!mounted.handle.root().has_properties, "or the listing would ask for them");
    mounted.handle.quota(&Via::default()).await.unwrap();
    mounted.handle.locks(&Via::default(), &causeway::domain::TreePath::root()).await.unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_millis(100), "{:?}", begun.elapsed());
    assert!(remote.take_seen().is_empty());
}

#[tokio::test]
async fn an_absent_node_is_absent_while_the_root_answers() {
    let (_remote, mounted) = start().await;
    assert!(matches!(mounted.names("nothing").await, Err(Error::NotFound)));
    assert!(matches!(mounted.read("sub/nothing").await, Err(Error::NotFound)));
    assert_eq!(mounted.handle.state(), MountState::Online);
}

#[tokio::test]
async fn everything_works_without_a_fault() {
    let (remote, mounted) = start().await;
    mounted.put("new file +%#.txt", "content").await.unwrap();
    assert_eq!(remote.read("new file +%#.txt").as_deref(), Some("content"));
    assert_eq!(mounted.read("new file +%#.txt").await.unwrap(), "content");
    mounted.mkcol("deep").await.unwrap();
    assert!(matches!(mounted.mkcol("deep").await, Err(Error::Exists)));
    mounted.rename("new file +%#.txt", "deep/moved.txt").await.unwrap();
    mounted.copy("deep", "copied").await.unwrap();
    assert_eq!(mounted.names("copied").await.unwrap(), ["moved.txt"]);
    mounted.delete("deep").await.unwrap();
    assert_eq!(mounted.names("").await.unwrap(), ["a.txt", "copied", "sub"]);
    assert_eq!(mounted.read_range("copied/moved.txt", 3, 6).await.unwrap(), "ten");
}

#[tokio::test]
async fn a_plain_server_gets_uploads_under_another_name_first() {
    let remote = BadRemote::start().await;
    let mounted = Mounted::new(&remote.url(), Vendor::Other, allowed(&remote.host()));
    mounted.put("sub/b.txt", "a new version").await.unwrap();
    assert_eq!(remote.read("sub/b.txt").as_deref(), Some("a new version"));
    let verbs: Vec<(String, String)> = remote.take_seen().into_iter().map(|seen| (seen.method, seen.path)).collect();
    let put = verbs.iter().find(|(method, _)| method == "PUT").unwrap();
    assert!(put.1.contains(".causeway-") && !put.1.ends_with(".part"), "{verbs:?}");
    assert_eq!(remote.paths(), ["", "a.txt", "sub", "sub/b.txt"], "nothing is left beside it");
}

#[tokio::test]
async fn a_file_without_conditions_goes_to_a_cloud_in_two_requests() {
    let remote = BadRemote::start().await;
    let mounted = Mounted::new(&remote.url(), Vendor::OwnCloud, allowed(&remote.host()));
    let plain = PutRequest { length: Some(3), ..PutRequest::plain() };
    assert!(!mounted.handle.puts_unseen(&at("new.txt"), &plain), "nothing is known of the share's rights yet");
    mounted.names("").await.unwrap();
    drop(remote.take_seen());
    assert!(mounted.put_unseen("new.txt", "new").await.unwrap());
    let seen: Vec<String> = remote.take_seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(seen, ["PUT", "PROPFIND"]);
    assert!(!mounted.put_unseen("new.txt", "over the old one").await.unwrap());
    assert_eq!(remote.read("new.txt").as_deref(), Some("over the old one"));
    let conditional = PutRequest { write: Write { expect: Expect::Absent, ..Write::unconditional() }, ..plain.clone() };
    assert!(!mounted.handle.puts_unseen(&at("new.txt"), &conditional));
    let in_place = Mounted::new(&remote.url(), Vendor::Other, allowed(&remote.host()));
    in_place.names("").await.unwrap();
    assert!(!in_place.handle.puts_unseen(&at("new.txt"), &plain));
}

#[tokio::test]
async fn a_small_file_is_read_once_while_its_etag_stays() {
    let remote = BadRemote::start().await;
    let mounted = Mounted::new(&remote.url(), Vendor::OwnCloud, allowed(&remote.host()));
    let small = async |path: &str| {
        let (_, file) = mounted.handle.open(&Via::default(), &at(path)).await?;
        file.small(&Via::default()).await
    };
    remote.write("a.txt", "first");
    assert_eq!(small("a.txt").await.unwrap().unwrap(), "first");
    let gets = |remote: &BadRemote| remote.take_seen().into_iter().filter(|seen| seen.method == "GET").count();
    assert_eq!(gets(&remote), 1);
    assert_eq!(small("a.txt").await.unwrap().unwrap(), "first");
    assert_eq!(gets(&remote), 0);
    remote.write("a.txt", "second");
    mounted.handle.look_again();
    assert_eq!(small("a.txt").await.unwrap().unwrap(), "second");
    assert_eq!(gets(&remote), 1);
    // A remote that is known to be away serves nothing from memory: what it grants is its own to say.
    remote.set(Fault::Status(503)).await;
    mounted.handle.look_again();
    assert!(matches!(small("a.txt").await, Err(Error::Unavailable { .. })));
    // An etag that is made from a time does not name a content.
    let plain = Mounted::new(&remote.url(), Vendor::Other, allowed(&remote.host()));
    remote.set(Fault::None).await;
    let (_, file) = plain.handle.open(&Via::default(), &at("a.txt")).await.unwrap();
    assert!(file.small(&Via::default()).await.unwrap().is_none());
}
