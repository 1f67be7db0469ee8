//! The poll: changes on a remote show in the root's etag, states come and go by themselves, and one dead remote delays no other.

use std::time::Duration;

use causeway::domain::{Error, Etag, MountState, OfflineCause, Vendor};
use causeway::wire::Via;
use tokio_util::sync::CancellationToken;

use crate::support::bad_remote::{BadRemote, Fault};
use crate::support::mounted::{Mounted, allowed, at};

/// Longest that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(15);

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a test beside the poll loop.
async fn polling(mounted: &Mounted, test: impl Future<Output = ()>) {
    let stop = CancellationToken::new();
    let poll = mounted.mounts.poll_loop(stop.clone().cancelled_owned());
    tokio::select! {
        () = poll => panic!("the poll ended by itself"),
        () = test => {}
    }
}

async fn start(vendor: Vendor) -> (BadRemote, Mounted) {
    let remote = BadRemote::start().await;
    let mounted = Mounted::new(&remote.url(), vendor, allowed(&remote.host()));
    (remote, mounted)
}

fn etag(mounted: &Mounted) -> Etag {
    mounted.handle.root().etag
}

async fn check_changes_show(vendor: Vendor) {
    let (remote, mounted) = start(vendor).await;
    polling(&mounted, async {
        assert_eq!(mounted.names("").await.unwrap(), ["a.txt", "sub"]);
        assert_eq!(mounted.names("sub").await.unwrap(), ["b.txt"]);
        let first = etag(&mounted);
        // Nothing changes, so nothing may be raised.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(etag(&mounted), first, "an etag that rises by itself keeps sync clients busy");
        remote.write("sub/b.txt", "longer than it was before");
        until("the change below", || etag(&mounted) != first).await;
        assert_eq!(mounted.read("sub/b.txt").await.unwrap(), "longer than it was before");
        let second = etag(&mounted);
        remote.remove("a.txt");
        until("the removal", || etag(&mounted) != second).await;
        assert_eq!(mounted.names("").await.unwrap(), ["sub"]);
    })
    .await;
}

#[tokio::test]
async fn changes_show_in_the_roots_etag() {
    check_changes_show(Vendor::OwnCloud).await;
}

#[tokio::test]
async fn changes_show_where_etags_do_not_tell_of_what_is_below() {
    check_changes_show(Vendor::Other).await;
}

#[tokio::test]
async fn a_mount_goes_offline_and_comes_back_by_itself() {
    let (remote, mounted) = start(Vendor::OwnCloud).await;
    polling(&mounted, async {
        mounted.names("").await.unwrap();
        remote.set(Fault::Refused).await;
        let offline = |state| matches!(state, MountState::Offline { cause: OfflineCause::Unreachable, .. });
        until("offline", || offline(mounted.handle.state())).await;
        assert_eq!(mounted.handle.root().kind, causeway::domain::Kind::Collection);
        remote.set(Fault::None).await;
        until("online", || mounted.handle.state() == MountState::Online).await;
        assert_eq!(mounted.names("").await.unwrap(), ["a.txt", "sub"]);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_a_state_of_its_own_until_the_right_one_comes() {
    use causeway::domain::Secret;
    let (remote, mounted) = start(Vendor::OwnCloud).await;
    mounted.names("").await.unwrap();
    remote.set_password("another");
    assert_eq!(mounted.handle.retry().await, MountState::NeedsPassword);
    assert!(matches!(mounted.names("sub").await, Err(Error::Unavailable { cause: OfflineCause::NeedsPassword, .. })));
    remote.take_seen();
    for _ in 0..10 {
        assert!(mounted.names("sub").await.is_err());
    }
    assert!(remote.take_seen().is_empty(), "a host that says no is not asked again and again");
    mounted.mounts.set_password(mounted.handle.record().id, Secret::new("another"), mounted.handle.record());
    assert_eq!(mounted.handle.retry().await, MountState::Online);
    assert_eq!(mounted.names("sub").await.unwrap(), ["b.txt"]);
}

#[tokio::test]
async fn a_withdrawn_share_is_a_state_of_its_own_and_comes_back() {
    let (remote, mounted) = start(Vendor::OwnCloud).await;
    mounted.names("").await.unwrap();
    remote.set(Fault::Status(404)).await;
    assert_eq!(mounted.handle.retry().await, MountState::Withdrawn);
    assert!(matches!(mounted.names("sub").await, Err(Error::Unavailable { cause: OfflineCause::Withdrawn, .. })));
    remote.set(Fault::None).await;
    assert_eq!(mounted.handle.retry().await, MountState::Online);
}

#[tokio::test]
async fn requests_that_wait_for_one_listing_share_its_answer() {
    let (remote, mounted) = start(Vendor::OwnCloud).await;
    let all = futures_util::future::join_all((0..20).map(|_| mounted.names(""))).await;
    assert!(all.into_iter().all(|names| names.unwrap() == ["a.txt", "sub"]));
    let asked = remote.take_seen().into_iter().filter(|seen| seen.method == "PROPFIND").count();
    assert!(asked <= 2, "{asked} questions for one listing");
}

#[tokio::test]
async fn a_hung_remote_does_not_hold_up_the_poll_of_another() {
    let (dead, first) = start(Vendor::OwnCloud).await;
    let live = BadRemote::start().await;
    let mut record = first.handle.record();
    record.id = causeway::domain::MountId(8);
    record.url = live.url();
    first.remotes.set_trust(vec![allowed(&dead.host()), allowed(&live.host())]);
    first.mounts.insert(record, causeway::domain::Secret::new("pw"));
    let other = first.mounts.get(causeway::domain::MountId(8)).unwrap();
    polling(&first, async {
        let via = Via::default();
        first.names("").await.unwrap();
        other.list(&via, &causeway::domain::TreePath::root()).await.unwrap();
        dead.set(Fault::BlackHole).await;
        for content in ["one", "two two", "three three"] {
            let before = other.root().etag;
            live.write("a.txt", content);
            until("a change beside a hung remote", || other.root().etag != before).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_transfer() {
    use futures_util::StreamExt;
    let (remote, mounted) = start(Vendor::OwnCloud).await;
    let (_, file) = mounted.handle.open(&Via::default(), &at("sub/b.txt")).await.unwrap();
    remote.set(Fault::Stall).await;
    // The remote announces more than it sends; our reader goes away before the stall would be noticed.
    let length = file.size();
    if let Ok(mut body) = file.stream(&Via::default(), 0..length).await {
        body.next().await.unwrap().unwrap();
        drop(body);
    }
    remote.set(Fault::None).await;
    assert_eq!(mounted.read("a.txt").await.unwrap(), "alpha");
}

#[tokio::test]
async fn mounts_of_one_link_share_its_poll_and_other_passwords_do_not() {
    use causeway::domain::{MountId, Secret};
    let (remote, first) = start(Vendor::OwnCloud).await;
    for id in 8..=12 {
        let record = causeway::domain::Mount { id: MountId(id), ..first.handle.record() };
        first.mounts.insert(record, Secret::new(if id == 12 { "another" } else { "pw" }));
    }
    let handles = first.mounts.all();
    assert_eq!(handles.len(), 6);
    polling(&first, async {
        // What each has to know before a change can show.
        for handle in &handles {
            handle.list(&Via::default(), &causeway::domain::TreePath::root()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1500)).await;
        remote.take_seen();
        let begun = std::time::Instant::now();
        let mut before: Vec<Etag> = handles.iter().map(|handle| handle.root().etag).collect();
        for content in ["other", "and another"] {
            remote.write("a.txt", content);
            until("the change in every mount", || handles.iter().zip(&before).all(|(handle, before)| handle.root().etag != *before)).await;
            before = handles.iter().map(|handle| handle.root().etag).collect();
        }
        // Two seconds between the questions of one mount; the first may come at once, and one may be on its way at the end.
        let most = begun.elapsed().as_secs() / 2 + 2;
        let questions = remote.take_seen().into_iter().filter(|seen| seen.method == "PROPFIND" && seen.headers["depth"] == "0");
        let (mut shared, mut other) = (0, 0);
        for seen in questions {
            use base64::Engine;
            let login =
                base64::engine::general_purpose::STANDARD.decode(seen.headers["authorization"].trim_start_matches("Basic ")).unwrap();
            if login == b"token:pw" { shared += 1 } else { other += 1 }
        }
        assert!((1..=most).contains(&shared) && (1..=most).contains(&other), "{shared} and {other} questions, {most} at most");
    })
    .await;
}

/// A client that was refused a folder remembers the folders above as seen: they must look changed when the remote is back.
async fn check_missed_folders_are_told(vendor: Vendor) {
    let (remote, mounted) = start(vendor).await;
    polling(&mounted, async {
        mounted.names("").await.unwrap();
        mounted.names("sub").await.unwrap();
        let (root, children) = mounted.handle.list(&Via::default(), &at("")).await.unwrap();
        remote.set(Fault::Status(503)).await;
        mounted.handle.look_again();
        assert!(matches!(mounted.names("sub").await, Err(Error::Unavailable { .. })));
        remote.set(Fault::None).await;
        until("another etag of the root", || etag(&mounted) != root.etag).await;
        let (again, others) = mounted.handle.list(&Via::default(), &at("")).await.unwrap();
        assert_ne!(again.etag, root.etag);
        let (file, folder) = (&others["a.txt"], &others["sub"]);
        assert_eq!(file.etag, children["a.txt"].etag, "files are what they were");
        assert_ne!(folder.etag, children["sub"].etag);
        assert_eq!(mounted.handle.list(&Via::default(), &at("sub")).await.unwrap().0.etag, folder.etag);
        // Once: what nobody missed stays as it is.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(mounted.handle.list(&Via::default(), &at("")).await.unwrap().0.etag, again.etag);
        remote.write("sub/b.txt", "what came later");
        until("a later change", || etag(&mounted) != again.etag).await;
    })
    .await;
}

#[tokio::test]
async fn folders_that_could_not_be_listed_look_changed_when_a_cloud_is_back() {
    check_missed_folders_are_told(Vendor::OwnCloud).await;
}

#[tokio::test]
async fn folders_that_could_not_be_listed_look_changed_when_a_plain_server_is_back() {
    check_missed_folders_are_told(Vendor::Other).await;
}

/// Until the polls have asked for the root so often; tells how often `sub` was listed meanwhile.
async fn polls(remote: &BadRemote, count: usize) -> usize {
    remote.take_seen();
    let (mut polls, mut listings) = (0, 0);
    until("the polls", || {
        for seen in remote.take_seen() {
            let depth = seen.headers.get("depth").map(String::as_str);
            polls += usize::from(seen.path.trim_end_matches('/') == "/dav" && depth == Some("0"));
            listings += usize::from(seen.path.trim_end_matches('/') == "/dav/sub" && depth == Some("1"));
        }
        polls >= count
    })
    .await;
    listings
}

/// The etags of the mount's collections, and of the file in its root, as clients see them.
async fn etags(mounted: &Mounted) -> [Etag; 3] {
    let (root, children) = mounted.handle.list(&Via::default(), &at("")).await.unwrap();
    [root.etag, children["sub"].etag.clone(), children["a.txt"].etag.clone()]
}

/// Clients that look anew would be refused anew.
async fn check_a_folder_that_is_always_refused_changes_nothing(vendor: Vendor) {
    let (remote, mounted) = start(vendor).await;
    polling(&mounted, async {
        mounted.names("").await.unwrap();
        // A cloud's known folder would be shown from memory while the root's etag is the same.
        if vendor == Vendor::Other {
            mounted.names("sub").await.unwrap();
        }
        let before = etags(&mounted).await;
        remote.set(Fault::StatusOf("sub", 500)).await;
        mounted.handle.look_again();
        let mut listings = 0;
        for _ in 0..2 {
            for _ in 0..5 {
                assert!(matches!(mounted.names("sub").await, Err(Error::Unavailable { .. })));
            }
            polls(&remote, 1).await;
            listings += polls(&remote, 1).await;
            assert_eq!(etags(&mounted).await, before);
            assert_eq!(mounted.handle.state(), MountState::Online);
        }
        assert!(listings <= 2, "{listings} questions of two polls for a folder that is refused");
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_a_cloud_always_refuses_changes_nothing_else() {
    check_a_folder_that_is_always_refused_changes_nothing(Vendor::OwnCloud).await;
}

#[tokio::test]
async fn a_folder_that_a_plain_server_always_refuses_changes_nothing_else() {
    check_a_folder_that_is_always_refused_changes_nothing(Vendor::Other).await;
}

#[tokio::test]
async fn a_folder_that_is_always_refused_hides_no_change_in_another() {
    let (remote, mounted) = start(Vendor::Other).await;
    remote.freeze_folders();
    mounted.mkcol("more").await.unwrap();
    mounted.put("more/c.txt", "one").await.unwrap();
    polling(&mounted, async {
        for folder in ["", "sub", "more"] {
            mounted.names(folder).await.unwrap();
        }
        remote.set(Fault::StatusOf("sub", 500)).await;
        polls(&remote, 2).await;
        let before = etag(&mounted);
        remote.write("more/c.txt", "one and two");
        until("a change beside a folder that is refused", || etag(&mounted) != before).await;
    })
    .await;
}

async fn check_a_folder_that_can_be_listed_again_is_told_once(vendor: Vendor) {
    let (remote, mounted) = start(vendor).await;
    polling(&mounted, async {
        mounted.names("").await.unwrap();
        mounted.names("sub").await.unwrap();
        let before = etags(&mounted).await;
        remote.set(Fault::StatusOf("sub", 500)).await;
        mounted.handle.look_again();
        assert!(mounted.names("sub").await.is_err());
        polls(&remote, 2).await;
        assert_eq!(etag(&mounted), before[0], "not while it is refused");
        remote.set(Fault::None).await;
        until("other etags", || etag(&mounted) != before[0]).await;
        let after = etags(&mounted).await;
        assert_eq!(after[0], etag(&mounted));
        assert_ne!(after[1], before[1]);
        assert_eq!(after[2], before[2], "files are what they were");
        for _ in 0..2 {
            mounted.names("sub").await.unwrap();
            polls(&remote, 1).await;
            assert_eq!(etags(&mounted).await, after, "once");
        }
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_a_cloud_refused_for_a_while_is_told_once() {
    check_a_folder_that_can_be_listed_again_is_told_once(Vendor::OwnCloud).await;
}

#[tokio::test]
async fn a_folder_that_a_plain_server_refused_for_a_while_is_told_once() {
    check_a_folder_that_can_be_listed_again_is_told_once(Vendor::Other).await;
}

#[tokio::test]
async fn a_mount_that_was_away_when_its_server_stopped_looks_changed_when_it_is_there() {
    use causeway::domain::{Mount, MountId, Secret};
    let (_remote, mounted) = start(Vendor::OwnCloud).await;
    mounted.names("").await.unwrap();
    let known = etag(&mounted);
    let away = MountState::Offline { since: 1, cause: OfflineCause::Unreachable };
    for (id, state) in [(8, away), (9, MountState::Online)] {
        let record = Mount { id: MountId(id), state, root_etag: Some(known.clone()), ..mounted.handle.record() };
        mounted.mounts.insert(record, Secret::new("pw"));
    }
    let [was_away, was_there] = [8, 9].map(|id| mounted.mounts.get(MountId(id)).unwrap());
    polling(&mounted, async {
        until("another etag", || was_away.root().etag != known).await;
        assert_eq!(was_there.root().etag, known);
    })
    .await;
}

/// One folder that is never answered is away alone: what hangs beside it is there, and shows what changes.
async fn check_a_folder_that_hangs_hides_no_other(vendor: Vendor) {
    let (remote, mounted) = start(vendor).await;
    polling(&mounted, async {
        mounted.names("").await.unwrap();
        remote.set(Fault::HangOf("sub")).await;
        mounted.handle.look_again();
        for _ in 0..5 {
            // More than open the breaker in a row, were they all that is asked.
            assert!(matches!(mounted.names("sub").await, Err(Error::Unavailable { .. })));
            assert_eq!(mounted.handle.state(), MountState::Online);
            assert_eq!(mounted.names("").await.unwrap(), ["a.txt", "sub"]);
        }
        let before = etag(&mounted);
        remote.write("c.txt", "new beside it");
        until("the change beside it", || etag(&mounted) != before).await;
        assert_eq!(mounted.read("c.txt").await.unwrap(), "new beside it");
        // Of a server that is away as a whole, that is said.
        remote.set(Fault::BlackHole).await;
        assert!(matches!(mounted.names("sub").await, Err(Error::Unavailable { .. })));
        assert!(matches!(mounted.handle.state(), MountState::Offline { .. }));
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_hangs_at_a_cloud_hides_no_other() {
    check_a_folder_that_hangs_hides_no_other(Vendor::OwnCloud).await;
}

#[tokio::test]
async fn a_folder_that_hangs_at_a_plain_server_hides_no_other() {
    check_a_folder_that_hangs_hides_no_other(Vendor::Other).await;
}

#[tokio::test]
async fn a_server_that_throttles_one_folder_is_asked_for_no_other_meanwhile() {
    let (remote, mounted) = start(Vendor::Other).await;
    polling(&mounted, async {
        for number in 0..20 {
            mounted.mkcol(&format!("folder{number}")).await.unwrap();
        }
        mounted.names("").await.unwrap();
        mounted.names("sub").await.unwrap();
        for number in 0..20 {
            mounted.names(&format!("folder{number}")).await.unwrap();
        }
        remote.set(Fault::StatusOf("sub", 429)).await;
        remote.take_seen();
        let throttled = |path: &str| path.trim_end_matches('/') == "/dav/sub";
        let mut after = 0;
        until("the folder's turn", || {
            for seen in remote.take_seen() {
                after = if throttled(&seen.path) { 1 } else { after * 2 };
            }
            after > 0
        })
        .await;
        // It is in use, so that it would be polled every two seconds.
        tokio::time::sleep(Duration::from_millis(4500)).await;
        let asked: Vec<String> = remote.take_seen().into_iter().map(|seen| seen.path).collect();
        assert!(asked.is_empty() && after == 1, "asked although it is to be left alone: {asked:?}");
        // Clients are not held up by that.
        assert_eq!(mounted.read("a.txt").await.unwrap(), "alpha");
        assert_eq!(mounted.handle.state(), MountState::Online);
    })
    .await;
}
