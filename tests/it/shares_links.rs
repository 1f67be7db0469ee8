//! Public links of receivers: what a user makes of a folder that somebody shared with them grants no more than they may do, and ends with that.

use causeway::service::Reason;
use causeway::service::admin::{AccountCommand, Command, GroupCommand, LinkRow, LinkTerms, Outcome, ShareCommand};

use crate::support::federation::transfer;
use crate::support::server::{Pair, TestServer};
use crate::support::sharing::{allow, group, group_of, received, remove, share, users};

/// What visitors meet.
struct Link(LinkRow);

impl Link {
    async fn of(server: &TestServer, user: &str, path: &str, permissions: &str) -> Link {
        Link(server.link(user, path, permissions).await)
    }

    fn token(&self) -> &str {
        self.0.url.rsplit('/').next().unwrap()
    }

    /// The status of a request by WebDAV.
    async fn dav(&self, server: &TestServer, method: &str, path: &str) -> u16 {
        let body = if method == "PUT" { "by a visitor" } else { "" };
        server.ask(method, &format!("/public.php/dav/files/{}{path}", self.token())).body(body).send().await.status
    }

    /// Whether it opens nothing, wherever one comes in.
    async fn is_unknown(&self, server: &TestServer) -> bool {
        let by_login = server.ask("PROPFIND", "/public.php/webdav/").basic(self.token(), "").send().await.status;
        let page = server.ask("GET", &format!("/s/{}", self.token())).send().await.status;
        let info = server.ask("POST", &format!("/index.php/apps/files_sharing/shareinfo?t={}", self.token())).send().await.status;
        let all = [self.dav(server, "PROPFIND", "/").await, self.dav(server, "GET", "/a.txt").await, by_login, page, info];
        assert!(all == [404, 404, 401, 404, 404] || all.iter().all(|status| [200, 207].contains(status)), "{all:?}");
        page == 404
    }
}

async fn links(server: &TestServer, user: &str) -> Vec<LinkRow> {
    let told = server.execute(Command::LinkList { user: user.to_owned() }).await;
    let Outcome::Links(rows) = told else { panic!("{told:?}") };
    rows
}

fn create(user: &str, path: &str, permissions: &str) -> Command {
    let terms = LinkTerms { permissions: Some(permissions.to_owned()), ..LinkTerms::default() };
    Command::LinkCreate { user: user.to_owned(), path: path.to_owned(), terms }
}

fn enable(name: &str, enabled: bool) -> Command {
    Command::Account { name: name.to_owned(), what: AccountCommand::Enable(enabled) }
}

#[tokio::test]
async fn a_receiver_makes_a_link_of_what_they_may_share() {
    let server = users(&["anna", "bob", "carl"]).await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    transfer(&server, "bob", "MOVE", "/Photos", "/Hers").expect(201).await;
    let link = Link::of(&server, "bob", "/Hers", "edit").await;
    assert_eq!((link.0.path.as_deref(), link.0.user.as_str(), link.0.made_by.as_str()), (Some("/Hers"), "bob", "bob"));
    let server = server.restart().await;
    assert_eq!(link.dav(&server, "PUT", "/new.txt").await, 201);
    assert_eq!(server.get("anna", "/Photos/new.txt").await, "by a visitor");
    // What bob calls it does not matter.
    transfer(&server, "bob", "MOVE", "/Hers", "/Renamed").expect(201).await;
    assert_eq!(link.dav(&server, "GET", "/a.txt").await, 200);
    assert_eq!(links(&server, "bob").await[0].path.as_deref(), Some("/Renamed"));
    // The owner knows of it (attack L2), a stranger does not.
    let known = &links(&server, "anna").await[0];
    assert_eq!((known.path.as_deref(), known.made_by.as_str(), known.id), (Some("/Photos"), "bob", link.0.id));
    assert!(links(&server, "carl").await.is_empty());
    server
        .execute(Command::LinkUpdate {
            id: "bob:/Renamed".to_owned(),
            terms: LinkTerms { permissions: Some("read".to_owned()), ..LinkTerms::default() },
        })
        .await;
    assert_eq!(link.dav(&server, "PUT", "/new.txt").await, 403);
    server.execute(Command::LinkRemove { id: "anna:/Photos".to_owned() }).await;
    assert!(link.is_unknown(&server).await && links(&server, "bob").await.is_empty());
    // A single file, and what lies deeper.
    let deep = Link::of(&server, "bob", "/Renamed/sub", "read").await;
    assert_eq!(deep.dav(&server, "GET", "/deep.txt").await, 200);
    share(&server, "anna", "/Photos/a.txt", "carl", "17").await;
    let file = Link::of(&server, "carl", "/a.txt", "read").await;
    assert_eq!(file.dav(&server, "GET", "").await, 200);
    server.stop().await;
}

#[tokio::test]
async fn l2_a_receivers_link_grants_what_its_maker_may_at_each_visit() {
    let server = users(&["anna", "bob"]).await;
    let row = share(&server, "anna", "/Photos", "bob", "31").await;
    let (link, drop) = (Link::of(&server, "bob", "/Photos", "edit").await, Link::of(&server, "bob", "/Photos", "drop").await);
    assert_eq!((link.dav(&server, "PUT", "/x").await, drop.dav(&server, "PUT", "/y").await), (201, 201));
    allow(&server, row.id, "17").await;
    assert_eq!((link.dav(&server, "PUT", "/x").await, link.dav(&server, "DELETE", "/x").await), (403, 403));
    assert_eq!((link.dav(&server, "MKCOL", "/d").await, link.dav(&server, "GET", "/x").await), (403, 200));
    assert_eq!(drop.dav(&server, "PUT", "/z").await, 404, "nothing is left of it");
    // Nor can its maker widen it.
    let edit = LinkTerms { permissions: Some("edit".to_owned()), ..LinkTerms::default() };
    server.refuse(Command::LinkUpdate { id: link.0.id.to_string(), terms: edit }, Reason::Refused).await;
    server.refuse(create("bob", "/Photos", "edit"), Reason::Refused).await;
    server.refuse(create("bob", "/Photos/sub", "drop"), Reason::Refused).await;
    // Without the right to share, bob can give nothing on.
    allow(&server, row.id, "15").await;
    assert!(link.is_unknown(&server).await);
    server.refuse(create("bob", "/Photos", "read"), Reason::Refused).await;
    allow(&server, row.id, "31").await;
    assert_eq!((link.dav(&server, "PUT", "/x").await, drop.dav(&server, "PUT", "/z").await), (204, 201));
    server.stop().await;
}

#[tokio::test]
async fn l2_a_receivers_link_ends_with_what_it_was_made_from() {
    let server = users(&["anna", "bob"]).await;
    let row = share(&server, "anna", "/Photos", "bob", "31").await;
    let link = Link::of(&server, "bob", "/Photos", "edit").await;
    assert!(!link.is_unknown(&server).await);
    remove(&server, row.id).await;
    assert!(link.is_unknown(&server).await);
    // Not revived by another share of the same folder.
    share(&server, "anna", "/Photos", "bob", "31").await;
    assert!(link.is_unknown(&server).await);
    assert!(links(&server, "anna").await.is_empty() && links(&server, "bob").await.is_empty());
    // Nor by coming back into a group, even over a restart.
    group_of(&server, "team", &["bob"]).await;
    server.mkcol("anna", "/Box").await;
    server.put("anna", "/Box/a.txt", "x").await;
    share(&server, "anna", "/Box", "group:team", "31").await;
    let link = Link::of(&server, "bob", "/Box", "read").await;
    let member = |add| {
        let (name, user) = ("team".to_owned(), "bob".to_owned());
        if add { GroupCommand::AddMember { name, user } } else { GroupCommand::RemoveMember { name, user } }
    };
    group(&server, member(false)).await;
    assert!(link.is_unknown(&server).await);
    group(&server, member(true)).await;
    assert_eq!(server.get("bob", "/Box/a.txt").await, "x");
    assert!(link.is_unknown(&server).await);
    let link = Link::of(&server, "bob", "/Box", "read").await;
    group(&server, member(false)).await;
    let server = server.restart().await;
    group(&server, member(true)).await;
    assert!(link.is_unknown(&server).await);
    // With its maker.
    let link = Link::of(&server, "bob", "/Box", "read").await;
    server.execute(Command::UserRemove { name: "bob".to_owned(), purge: true }).await;
    server.add_user("bob").await;
    assert!(link.is_unknown(&server).await);
    server.stop().await;
}

#[tokio::test]
async fn l2_a_receivers_link_is_closed_while_its_maker_has_not_taken_the_share() {
    let server = users(&["anna", "bob"]).await;
    let row = share(&server, "anna", "/Photos", "bob", "31").await;
    let link = Link::of(&server, "bob", "/Photos", "read").await;
    let answer = |accept| {
        let (user, id) = ("bob".to_owned(), row.id);
        Command::Share(if accept { ShareCommand::Accept { user, id } } else { ShareCommand::Decline { user, id } })
    };
    server.execute(answer(false)).await;
    assert!(link.is_unknown(&server).await);
    server.execute(answer(true)).await;
    assert!(!link.is_unknown(&server).await);
    // In the trash, with the folder that it hung in.
    server.mkcol("bob", "/d").await;
    transfer(&server, "bob", "MOVE", "/Photos", "/d/m").expect(201).await;
    assert!(!link.is_unknown(&server).await);
    server.ask_as("bob", "DELETE", "/d").expect(204).await;
    assert!(link.is_unknown(&server).await);
    // What the owner moves out of the share is not bob's to show.
    server.execute(answer(true)).await;
    let deep = Link::of(&server, "bob", "/Photos/sub", "read").await;
    transfer(&server, "anna", "MOVE", "/Photos/sub", "/private").expect(201).await;
    assert_eq!((deep.dav(&server, "GET", "/deep.txt").await, deep.dav(&server, "PROPFIND", "/").await), (404, 404));
    assert!(!link.is_unknown(&server).await);
    server.ask_as("anna", "DELETE", "/Photos").expect(204).await;
    assert!(link.is_unknown(&server).await);
    server.stop().await;
}

#[tokio::test]
async fn f7_a_link_of_the_last_of_several_receivers_has_the_rights_of_all() {
    let server = users(&["anna", "bob", "carl"]).await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    let second = share(&server, "bob", "/Photos", "carl", "31").await;
    let link = Link::of(&server, "carl", "/Photos", "edit").await;
    assert_eq!(links(&server, "anna").await[0].made_by, "carl");
    assert!(links(&server, "bob").await.is_empty());
    allow(&server, second.id, "21").await;
    assert_eq!((link.dav(&server, "PUT", "/a.txt").await, link.dav(&server, "PUT", "/new").await), (403, 201));
    // Whoever is disabled closes it for now, also between the two.
    for (name, status) in [("anna", 503), ("carl", 503), ("bob", 200)] {
        server.execute(enable(name, false)).await;
        assert_eq!(link.dav(&server, "GET", "/a.txt").await, status, "{name}");
        server.execute(enable(name, true)).await;
    }
    server.execute(Command::Share(ShareCommand::Decline { user: "bob".to_owned(), id: received(&server, "bob").await[0].id })).await;
    assert_eq!(link.dav(&server, "GET", "/a.txt").await, 200, "what bob gave to carl stays");
    remove(&server, second.id).await;
    assert!(link.is_unknown(&server).await);
    server.stop().await;
}

#[tokio::test]
async fn another_server_mounts_a_receivers_link_and_follows_its_rights() {
    let Pair { anna, bob } = Pair::start().await;
    anna.add_user("carl").await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", "from anna").await;
    let row = share(&anna, "anna", "/Photos", "carl", "31").await;
    let link = anna.link("carl", "/Photos", "edit").await;
    bob.mount("bob", &link.url).await;
    bob.put("bob", "/Photos/b.txt", "from bob").await;
    assert_eq!(anna.get("carl", "/Photos/b.txt").await, "from bob");
    allow(&anna, row.id, "17").await;
    let status = bob.ask_as("bob", "PUT", "/Photos/b.txt").body("x").send().await.status;
    assert_eq!((status, anna.get("anna", "/Photos/b.txt").await.as_str()), (403, "from bob"));
    // Disabled is away, not gone.
    anna.execute(enable("carl", false)).await;
    bob.ask_as("bob", "PROPFIND", "/Photos/").header("depth", "1").expect(503).await;
    let listed = bob.ask_as("bob", "PROPFIND", "/").header("depth", "1").expect(207).await.text();
    assert!(listed.contains("/Photos/<"), "{listed}");
    Pair { anna, bob }.stop().await;
}
