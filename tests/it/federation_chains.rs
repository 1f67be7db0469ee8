//! Two and three servers, each the real program: every flow of sharing between them, with each server killed and started again at each step.
//!
//! A flow is a list of steps, each of which makes something so, or finds that it is. The driver runs it once for each pair of a server and a
//! step: that server is killed in the middle of the step, or right after it, and the flow must still come to its end. A further kill never
//! hurts: what waits for its time in an outbox is brought on by one.

mod flows;

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::time::{Duration, Instant};

use causeway::service::admin::Command;

use crate::support::federation::PATIENCE;
use crate::support::killed::Program;
use crate::support::ocm_peer::{Habit, OcmPeer};

/// How long a step is tried before each server is started again: their outboxes try what waits at each start.
const STEP_PATIENCE: Duration = Duration::from_millis(1200);
/// The users of the servers, one each.
const USERS: [&str; 3] = ["anna", "bob", "carol"];

/// What a step comes to: nothing, or why it does not hold yet.
type Done = Result<(), String>;
/// A step of a flow in one run of it.
type Step = for<'run> fn(&'run World, &'run str, usize) -> Pin<Box<dyn Future<Output = Done> + 'run>>;

/// A flow.
struct Flow {
    /// How many servers take part.
    servers: usize,
    /// How many steps it has.
    steps: usize,
    /// Does one.
    step: Step,
}

/// The servers of a flow, and what was seen of them.
struct World {
    servers: Vec<Program>,
    /// A server of another make, which is never killed.
    peer: OcmPeer,
    /// The etags of the users' roots, as they came.
    etags: RefCell<HashMap<usize, Vec<String>>>,
    /// What steps remember for later ones, by run.
    notes: RefCell<HashMap<String, String>>,
}

impl World {
    async fn start(servers: usize) -> World {
        let mut world =
            World { servers: vec![], peer: OcmPeer::start(Habit::Nextcloud).await, etags: RefCell::default(), notes: RefCell::default() };
        for user in USERS.iter().take(servers) {
            world.servers.push(Program::start(&[user]).await);
        }
        let hosts: Vec<String> = world.servers.iter().map(Program::host).chain([world.peer.host()]).collect();
        for server in &world.servers {
            for host in hosts.iter().filter(|host| **host != server.host()) {
                server.execute(Command::RemoteAllowPrivate { host: host.clone() }).await.unwrap();
            }
        }
        world
    }

    fn note(&self, run: &str, text: &str) {
        self.notes.borrow_mut().insert(run.to_owned(), text.to_owned());
    }

    fn noted(&self, run: &str) -> String {
        self.notes.borrow().get(run).cloned().unwrap_or_default()
    }

    /// Etags never go back to what they were before.
    async fn watch(&self) {
        for (number, (server, user)) in self.servers.iter().zip(USERS).enumerate() {
            let Ok(etag) = server.etag(user, "/").await else { continue };
            let mut etags = self.etags.borrow_mut();
            let seen = etags.entry(number).or_default();
            if seen.last() != Some(&etag) {
                assert!(!seen.contains(&etag), "the etag of {user}'s root is one of before");
                seen.push(etag);
            }
        }
    }

    /// One after the other, so that each finds the others there when it starts.
    async fn kill_each(&self) {
        for server in &self.servers {
            server.kill();
            server.wake().await;
        }
    }
}

/// Does a step until it holds.
async fn finish(flow: &Flow, world: &World, run: &str, step: usize) {
    let (begun, mut helped) = (Instant::now(), Instant::now());
    loop {
        let Err(error) = (flow.step)(world, run, step).await else { break };
        if helped.elapsed() > STEP_PATIENCE {
            world.kill_each().await;
            helped = Instant::now();
        }
        if begun.elapsed() > 2 * PATIENCE {
            let logs: Vec<String> = world.servers.iter().map(Program::log).collect();
            panic!("{run}, step {step}: {error}\n{}", logs.join("\n---\n"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.watch().await;
}

/// Does a step while a server is killed in the middle of it, and started again.
async fn interrupt(flow: &Flow, world: &World, (server, step): (usize, usize), run: &str) {
    let milliseconds = [0, 2, 5, 9, 14][(server * 3 + step) % 5];
    let killing = async {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        world.servers[server].kill();
        world.servers[server].wake().await;
    };
    // What comes of it is looked at by the next try.
    let (_cut_off, ()) = tokio::join!((flow.step)(world, run, step), killing);
}

/// Runs a flow for each server and each step at which that one is killed.
async fn drive(flow: Flow) {
    let world = World::start(flow.servers).await;
    for server in 0..flow.servers {
        // In the first step nothing is shared yet.
        for killed in 1..flow.steps {
            let run = format!("run{server}-{killed}");
            let after = (server + killed) % 2 == 1;
            for step in 0..flow.steps {
                if step == killed && !after {
                    interrupt(&flow, &world, (server, step), &run).await;
                }
                finish(&flow, &world, &run, step).await;
                if step == killed && after {
                    world.servers[server].kill();
                    world.servers[server].wake().await;
                    world.watch().await;
                }
            }
        }
    }
}
