//! The flows: each step makes something so, or finds that it is.

use causeway::service::admin::{Command, LinkTerms, Outcome, ReceivedRow, ShareCommand, ShareRow, ShareTerms};
use http::Request;
use serde_json::{Value, json};

use super::{Done, Flow, World, drive};
use crate::support::killed::Program;

/// Something that is not so yet.
fn not_yet<T>(what: impl Into<String>) -> Result<T, String> {
    Err(what.into())
}

/// Anna's folder of this run, with a file.
async fn prepare(world: &World, run: &str) -> Done {
    let anna = &world.servers[0];
    anna.does("anna", ("MKCOL", &format!("/{run}")), "", &[201, 405]).await?;
    anna.does("anna", ("PUT", &format!("/{run}/a.txt")), "from anna", &[201, 204]).await
}

/// The shares of a run's folder.
async fn sent(world: &World, run: &str) -> Result<Vec<ShareRow>, String> {
    let rows = world.servers[0].shared("anna").await?.into_iter();
    Ok(rows.filter(|row| row.path.as_deref() == Some(&format!("/{run}"))).collect())
}

/// What a user of another server received of a run.
async fn received(server: &Program, user: &str, run: &str) -> Result<Vec<ReceivedRow>, String> {
    Ok(server.received(user).await?.into_iter().filter(|row| row.name == run).collect())
}

/// Anna shares the folder of a run with an address.
async fn share(world: &World, run: &str, with: &str, permissions: &str) -> Done {
    let there = |rows: &[ShareRow]| rows.iter().any(|row| row.with == with && row.state.as_deref() != Some("sending"));
    if there(&sent(world, run).await?) {
        return Ok(());
    }
    let terms = ShareTerms { permissions: Some(permissions.to_owned()), ..ShareTerms::default() };
    let create = ShareCommand::Create { user: "anna".to_owned(), path: format!("/{run}"), with: with.to_owned(), terms };
    world.servers[0].execute(Command::Share(create)).await?;
    if there(&sent(world, run).await?) { Ok(()) } else { not_yet("the share is not in the owner's list") }
}

/// A user takes what is offered of a run: of several, which killing may leave, the one that opens.
async fn accept(server: &Program, user: &str, run: &str) -> Done {
    let mut why = "nothing is offered".to_owned();
    for row in received(server, user, run).await? {
        if row.state == "accepted" {
            return Ok(());
        }
        match server.execute(Command::Share(ShareCommand::Accept { user: user.to_owned(), id: row.id })).await {
            Ok(_) => return Ok(()),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// Exactly one share of a run is known on both sides, and it is accepted; it hangs where it should.
async fn agreed(world: &World, (server, user): (&Program, &str), run: &str, with: &str) -> Done {
    let rows = received(server, user, run).await?;
    let theirs: Vec<_> = rows.iter().map(|row| (row.state.as_str(), row.path.clone())).collect();
    let sent = sent(world, run).await?;
    let ours: Vec<_> = sent.iter().filter(|row| row.with == with).map(|row| row.state.as_deref()).collect();
    if ours == [Some("accepted")] && theirs == [("accepted", Some(format!("/{run}")))] {
        Ok(())
    } else {
        not_yet(format!("anna has {ours:?}, {user} has {theirs:?}"))
    }
}

/// A user has nothing of a run any more, not even a message to come.
async fn nothing(server: &Program, user: &str, run: &str) -> Done {
    let rows = received(server, user, run).await?;
    if !rows.is_empty() {
        return not_yet(format!("{user} still has {rows:?}"));
    }
    server.does(user, ("PROPFIND", &format!("/{run}")), "", &[404]).await
}

/// Anna shares nothing of a run any more.
async fn nothing_sent(world: &World, run: &str) -> Done {
    let rows = sent(world, run).await?;
    if rows.is_empty() { Ok(()) } else { not_yet(format!("anna still shares {rows:?}")) }
}

/// Anna ends every share of a run.
async fn unshare(world: &World, run: &str) -> Done {
    for row in sent(world, run).await?.iter().filter(|row| row.parent.is_none()) {
        world.servers[0].execute(Command::Share(ShareCommand::Remove { id: row.id })).await?;
    }
    nothing_sent(world, run).await
}

/// Anna's link to the folder of a run.
async fn link(world: &World, run: &str, user: &str, server: usize) -> Result<String, String> {
    let path = format!("/{run}");
    let listed = world.servers[server].execute(Command::LinkList { user: user.to_owned() }).await?;
    let Outcome::Links(links) = listed else { return Err(format!("{listed:?}")) };
    if let Some(link) = links.into_iter().find(|link| link.path.as_deref() == Some(&path)) {
        return Ok(link.url);
    }
    let terms = LinkTerms { permissions: Some("edit".to_owned()), ..LinkTerms::default() };
    let made = world.servers[server].execute(Command::LinkCreate { user: user.to_owned(), path, terms }).await?;
    if let Outcome::Link(link) = made { Ok(link.url) } else { Err(format!("{made:?}")) }
}

async fn remove_link(world: &World, run: &str) -> Done {
    let listed = world.servers[0].execute(Command::LinkList { user: "anna".to_owned() }).await?;
    let Outcome::Links(links) = listed else { return Err(format!("{listed:?}")) };
    if links.iter().any(|link| link.path.as_deref() == Some(&format!("/{run}"))) {
        world.servers[0].execute(Command::LinkRemove { id: format!("anna:/{run}") }).await?;
    }
    Ok(())
}

/// The states of a user's mounts of that path.
async fn mounted(server: &Program, user: &str, path: &str) -> Result<Vec<String>, String> {
    let listed = server.execute(Command::MountList { user: user.to_owned() }).await?;
    let Outcome::Mounts(mounts) = listed else { return Err(format!("{listed:?}")) };
    Ok(mounts.into_iter().filter(|mount| mount.path.as_deref() == Some(path)).map(|mount| mount.state).collect())
}

async fn mount(server: &Program, user: &str, run: &str, url: String) -> Done {
    if mounted(server, user, &format!("/{run}")).await?.is_empty() {
        let add = Command::MountAdd { user: user.to_owned(), url, name: Some(run.to_owned()), password: None };
        server.execute(add).await?;
    }
    Ok(())
}

/// Writes through a mount, and reads at anna's what was written.
async fn write(world: &World, (server, user): (&Program, &str), (run, path): (&str, &str)) -> Done {
    let text = format!("from {user}");
    server.does(user, ("PUT", &format!("{path}/{user}.txt")), &text, &[201, 204]).await?;
    world.servers[0].reads("anna", &format!("/{run}/{user}.txt"), &text).await
}

#[tokio::test]
async fn a_link_is_mounted_read_written_changed_and_ended_whoever_is_killed() {
    drive(Flow {
        servers: 2,
        steps: 6,
        step: |world, run, step| {
            Box::pin(async move {
                let (bob, path) = (&world.servers[1], format!("/{run}"));
                match step {
                    0 => prepare(world, run).await,
                    1 => mount(bob, "bob", run, link(world, run, "anna", 0).await?).await,
                    2 => {
                        bob.reads("bob", &format!("{path}/a.txt"), "from anna").await?;
                        write(world, (bob, "bob"), (run, &path)).await
                    }
                    // What anna changes is seen.
                    3 => {
                        world.servers[0].does("anna", ("PUT", &format!("{path}/a.txt")), "changed", &[201, 204]).await?;
                        bob.reads("bob", &format!("{path}/a.txt"), "changed").await
                    }
                    4 => remove_link(world, run).await,
                    // It is told as what it is, and stays where it was until its user takes it away.
                    _ => {
                        let status = bob.ask("bob", "GET", &format!("{path}/a.txt"), "").await?.0;
                        let states = mounted(bob, "bob", &path).await?;
                        if status != 200 && states == ["withdrawn"] { Ok(()) } else { not_yet(format!("{status} {states:?}")) }
                    }
                }
            })
        },
    })
    .await;
}

#[tokio::test]
async fn a_share_is_accepted_narrowed_and_ended_whoever_is_killed() {
    drive(Flow {
        servers: 2,
        steps: 7,
        step: |world, run, step| {
            Box::pin(async move {
                let (bob, path) = (&world.servers[1], format!("/{run}"));
                let with = bob.address_of("bob");
                match step {
                    0 => prepare(world, run).await,
                    1 => share(world, run, &with, "edit").await,
                    2 => accept(bob, "bob", run).await,
                    3 => {
                        agreed(world, (bob, "bob"), run, &with).await?;
                        bob.reads("bob", &format!("{path}/a.txt"), "from anna").await?;
                        write(world, (bob, "bob"), (run, &path)).await
                    }
                    4 => {
                        let id = sent(world, run).await?.first().map(|row| row.id).ok_or("no share")?;
                        let terms = ShareTerms { permissions: Some("read".to_owned()), ..ShareTerms::default() };
                        world.servers[0].execute(Command::Share(ShareCommand::Update { id, terms, no_expiry: false })).await?;
                        bob.does("bob", ("PUT", &format!("{path}/bob.txt")), "x", &[403]).await?;
                        bob.reads("bob", &format!("{path}/bob.txt"), "from bob").await
                    }
                    5 => unshare(world, run).await,
                    _ => nothing(bob, "bob", run).await,
                }
            })
        },
    })
    .await;
}

#[tokio::test]
async fn a_share_is_declined_and_the_next_one_given_back_whoever_is_killed() {
    drive(Flow {
        servers: 2,
        steps: 8,
        step: |world, run, step| {
            Box::pin(async move {
                let bob = &world.servers[1];
                let with = bob.address_of("bob");
                match step {
                    0 => prepare(world, run).await,
                    1 => {
                        // Done before: what was declined is not shared again by a second try.
                        if world.noted(run) == "shared" && sent(world, run).await?.is_empty() {
                            world.note(run, "");
                        }
                        share(world, run, &with, "edit").await?;
                        world.note(run, "shared");
                        Ok(())
                    }
                    2 => {
                        for row in received(bob, "bob", run).await? {
                            bob.execute(Command::Share(ShareCommand::Decline { user: "bob".to_owned(), id: row.id })).await?;
                        }
                        nothing(bob, "bob", run).await
                    }
                    3 => nothing_sent(world, run).await,
                    4 => {
                        share(world, run, &with, "edit").await?;
                        accept(bob, "bob", run).await
                    }
                    5 => agreed(world, (bob, "bob"), run, &with).await,
                    // Out of his tree, as a file manager does it.
                    6 => {
                        bob.does("bob", ("DELETE", &format!("/{run}")), "", &[204, 404]).await?;
                        nothing(bob, "bob", run).await
                    }
                    _ => {
                        nothing_sent(world, run).await?;
                        world.servers[0].reads("anna", &format!("/{run}/a.txt"), "from anna").await
                    }
                }
            })
        },
    })
    .await;
}

#[tokio::test]
async fn a_link_that_is_given_to_a_server_ends_with_the_link_whoever_is_killed() {
    drive(Flow {
        servers: 2,
        steps: 6,
        step: |world, run, step| {
            Box::pin(async move {
                let (anna, bob, path) = (&world.servers[0], &world.servers[1], format!("/{run}"));
                let with = bob.address_of("bob");
                match step {
                    0 => prepare(world, run).await,
                    1 => {
                        let url = link(world, run, "anna", 0).await?;
                        let token = url.rsplit('/').next().unwrap_or_default();
                        let form = url::form_urlencoded::Serializer::new(String::new())
                            .extend_pairs([("token", token), ("shareWith", &with), ("password", "")])
                            .finish();
                        let request = Request::post("/index.php/apps/federatedfilesharing/createFederatedShare")
                            .header("content-type", "application/x-www-form-urlencoded");
                        match anna.request(request, &form).await? {
                            (200, _) => Ok(()),
                            other => not_yet(format!("{other:?}")),
                        }
                    }
                    2 => accept(bob, "bob", run).await,
                    3 => {
                        agreed(world, (bob, "bob"), run, &with).await?;
                        write(world, (bob, "bob"), (run, &path)).await
                    }
                    4 => {
                        remove_link(world, run).await?;
                        nothing_sent(world, run).await
                    }
                    _ => nothing(bob, "bob", run).await,
                }
            })
        },
    })
    .await;
}

/// What bob's server, which is of another make, asks anna's for; its answer.
async fn reshare(world: &World, run: &str, with: &str) -> Done {
    let offers = world.peer.offers();
    let rows = sent(world, run).await?;
    let mine = rows.iter().find(|row| row.parent.is_none()).ok_or("no share")?.id.to_string();
    let offer = offers.iter().find(|offer| offer["providerId"] == json!(mine)).ok_or("no offer")?;
    let secret = offer["protocol"]["options"]["sharedSecret"].as_str().unwrap_or_default();
    let about = json!({"sharedSecret": secret, "shareWith": with, "senderId": format!("bobs-{run}")});
    let body = json!({"notificationType": "REQUEST_RESHARE", "resourceType": "file", "providerId": mine, "notification": about});
    match world.servers[0].request(Request::post("/ocm/notifications"), &body.to_string()).await? {
        (201, _) => Ok(()),
        other => not_yet(format!("{other:?}")),
    }
}

#[tokio::test]
async fn a_share_that_is_shared_on_by_its_owner_is_told_to_everybody_whoever_is_killed() {
    drive(Flow {
        servers: 2,
        steps: 7,
        step: |world, run, step| {
            Box::pin(async move {
                let (carol, path) = (&world.servers[1], format!("/{run}"));
                let (to_bob, with) = (world.peer.address_of("bob"), carol.address_of("bob"));
                let told = |kind: &str, id: &str| {
                    let is = |told: &Value| told["notificationType"] == kind && told["providerId"] == id;
                    world.peer.told().iter().filter(|told| is(told)).count()
                };
                match step {
                    0 => prepare(world, run).await,
                    1 => share(world, run, &to_bob, "19").await,
                    2 => reshare(world, run, &with).await,
                    3 => accept(carol, "bob", run).await,
                    4 => {
                        agreed(world, (carol, "bob"), run, &with).await?;
                        carol.does("bob", ("PUT", &format!("{path}/a.txt")), "from carol", &[201, 204]).await?;
                        world.servers[0].reads("anna", &format!("{path}/a.txt"), "from carol").await?;
                        // Who asked for it hears of the answer.
                        if told("SHARE_ACCEPTED", &format!("bobs-{run}")) > 0 { Ok(()) } else { not_yet("bob's server is not told") }
                    }
                    5 => {
                        let first = sent(world, run).await?.iter().find(|row| row.parent.is_none()).map(|row| row.id.to_string());
                        if let Some(first) = first {
                            world.note(run, &first);
                        }
                        unshare(world, run).await
                    }
                    _ => {
                        nothing(carol, "bob", run).await?;
                        let untold = told("SHARE_UNSHARED", &world.noted(run)) == 0 || told("RESHARE_UNDO", &format!("bobs-{run}")) == 0;
                        if untold { not_yet("bob's server is not told of the end") } else { Ok(()) }
                    }
                }
            })
        },
    })
    .await;
}

#[tokio::test]
async fn a_chain_of_three_servers_carries_what_is_written_whoever_is_killed() {
    drive(Flow {
        servers: 3,
        steps: 6,
        step: |world, run, step| {
            Box::pin(async move {
                let (bob, carol, path) = (&world.servers[1], &world.servers[2], format!("/{run}"));
                let inner = format!("/{run}/{run}");
                match step {
                    0 => prepare(world, run).await,
                    // Bob hangs anna's link into a folder of his, which is his to give on.
                    1 => {
                        bob.does("bob", ("MKCOL", &path), "", &[201, 405]).await?;
                        if mounted(bob, "bob", &inner).await?.is_empty() {
                            let url = link(world, run, "anna", 0).await?;
                            let name = format!("{run}-of-anna");
                            if mounted(bob, "bob", &format!("/{name}")).await?.is_empty() {
                                let add = Command::MountAdd { user: "bob".to_owned(), url, name: Some(name.clone()), password: None };
                                bob.execute(add).await?;
                            }
                            let destination = format!("http://{}/remote.php/webdav{inner}", bob.host());
                            bob.moves("bob", &format!("/{name}"), &destination).await?;
                        }
                        Ok(())
                    }
                    2 => mount(carol, "carol", run, link(world, run, "bob", 1).await?).await,
                    3 => {
                        carol.reads("carol", &format!("{inner}/a.txt"), "from anna").await?;
                        write(world, (carol, "carol"), (run, &inner)).await
                    }
                    4 => {
                        world.servers[0].does("anna", ("PUT", &format!("{path}/a.txt")), "changed", &[201, 204]).await?;
                        carol.reads("carol", &format!("{inner}/a.txt"), "changed").await
                    }
                    // The end of the first link is no end of the second: what hangs in between is away, and not gone.
                    _ => {
                        remove_link(world, run).await?;
                        let status = carol.ask("carol", "GET", &format!("{inner}/a.txt"), "").await?.0;
                        let states = mounted(carol, "carol", &path).await?;
                        carol.does("carol", ("PROPFIND", &path), "", &[207]).await?;
                        if status == 503 && states == ["online"] { Ok(()) } else { not_yet(format!("{status} {states:?}")) }
                    }
                }
            })
        },
    })
    .await;
}

/// What bob, who received it, shares on of a run.
async fn shared_on(world: &World, run: &str) -> Result<Vec<ShareRow>, String> {
    let rows = world.servers[1].shared("bob").await?.into_iter();
    Ok(rows.filter(|row| row.path.as_deref() == Some(&format!("/{run}"))).collect())
}

#[tokio::test]
async fn what_a_receiver_shares_on_is_carried_by_its_owner_s_server_whoever_is_killed() {
    drive(Flow {
        servers: 3,
        steps: 7,
        step: |world, run, step| {
            Box::pin(async move {
                let (bob, carol, path) = (&world.servers[1], &world.servers[2], format!("/{run}"));
                let (to_bob, to_carol) = (bob.address_of("bob"), carol.address_of("carol"));
                match step {
                    0 => prepare(world, run).await,
                    1 => share(world, run, &to_bob, "31").await,
                    2 => {
                        accept(bob, "bob", run).await?;
                        bob.reads("bob", &format!("{path}/a.txt"), "from anna").await
                    }
                    3 => {
                        if shared_on(world, run).await?.is_empty() {
                            let create =
                                ShareCommand::Create { user: "bob".to_owned(), path, with: to_carol, terms: ShareTerms::default() };
                            bob.execute(Command::Share(create)).await?;
                        }
                        Ok(())
                    }
                    4 => accept(carol, "carol", run).await,
                    5 => {
                        agreed(world, (carol, "carol"), run, &to_carol).await?;
                        write(world, (carol, "carol"), (run, &path)).await?;
                        let states: Vec<_> = shared_on(world, run).await?.into_iter().map(|row| row.state).collect();
                        if states == [Some("accepted".to_owned())] { Ok(()) } else { not_yet(format!("bob has {states:?}")) }
                    }
                    // Bob takes it back: carol has nothing any more, and bob keeps what is his.
                    _ => {
                        for row in shared_on(world, run).await? {
                            bob.execute(Command::Share(ShareCommand::Remove { id: row.id })).await?;
                        }
                        nothing(carol, "carol", run).await?;
                        let left: Vec<_> = sent(world, run).await?.into_iter().map(|row| row.with).collect();
                        if left != [to_bob] {
                            return not_yet(format!("anna still shares with {left:?}"));
                        }
                        bob.reads("bob", &format!("{path}/a.txt"), "from anna").await
                    }
                }
            })
        },
    })
    .await;
}
