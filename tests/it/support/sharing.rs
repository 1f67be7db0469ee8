//! What tests of shares between users have in common.

use causeway::service::admin::{Command, GroupCommand, Outcome, ReceivedRow, ShareCommand, ShareRow, ShareTerms};

use super::server::TestServer;

/// A server with these users; anna's `/Photos` holds `a.txt` and `sub/deep.txt`.
pub(crate) async fn users(names: &[&str]) -> TestServer {
    let server = TestServer::start().await;
    for name in names {
        server.add_user(name).await;
    }
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/a.txt", "from anna").await;
    server.mkcol("anna", "/Photos/sub").await;
    server.put("anna", "/Photos/sub/deep.txt", "deep down").await;
    server
}

/// The command that shares something.
pub(crate) fn create(user: &str, path: &str, with: &str, permissions: &str) -> Command {
    let terms = ShareTerms { permissions: Some(permissions.to_owned()), ..ShareTerms::default() };
    Command::Share(ShareCommand::Create { user: user.to_owned(), path: path.to_owned(), with: with.to_owned(), terms })
}

/// Shares something.
pub(crate) async fn share(server: &TestServer, user: &str, path: &str, with: &str, permissions: &str) -> ShareRow {
    let made = server.execute(create(user, path, with, permissions)).await;
    let Outcome::Share(row) = made else { panic!("{made:?}") };
    row
}

/// Ends a share.
pub(crate) async fn remove(server: &TestServer, id: u64) {
    server.execute(Command::Share(ShareCommand::Remove { id })).await;
}

/// Gives a share other rights.
pub(crate) async fn allow(server: &TestServer, id: u64, permissions: &str) {
    let terms = ShareTerms { permissions: Some(permissions.to_owned()), ..ShareTerms::default() };
    server.execute(Command::Share(ShareCommand::Update { id, terms, no_expiry: false })).await;
}

/// What is shared of a user's nodes.
pub(crate) async fn shared(server: &TestServer, user: &str) -> Vec<ShareRow> {
    let told = server.execute(Command::Share(ShareCommand::List { user: user.to_owned() })).await;
    let Outcome::Shares(rows) = told else { panic!("{told:?}") };
    rows
}

/// What a user receives.
pub(crate) async fn received(server: &TestServer, user: &str) -> Vec<ReceivedRow> {
    let told = server.execute(Command::Share(ShareCommand::Received { user: user.to_owned() })).await;
    let Outcome::ReceivedShares(rows) = told else { panic!("{told:?}") };
    rows
}

/// A command about groups.
pub(crate) async fn group(server: &TestServer, command: GroupCommand) {
    server.execute(Command::Group(command)).await;
}

/// A group with members.
pub(crate) async fn group_of(server: &TestServer, name: &str, members: &[&str]) {
    group(server, GroupCommand::Add { name: name.to_owned(), display_name: None }).await;
    for user in members {
        group(server, GroupCommand::AddMember { name: name.to_owned(), user: (*user).to_owned() }).await;
    }
}
