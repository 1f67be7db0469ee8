//! A server that has one public link: what is common to all of them. How each answers stands in its own file.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::tree::Tree;
use super::{Peer, Seen, Verdict, nextcloud, ocis, owncloud};

/// Which server is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// ownCloud 7.0.15.
    OwnCloud7,
    /// ownCloud 8.2.11.
    OwnCloud8,
    /// ownCloud 11.0, which speaks as ownCloud 10 does.
    OwnCloud11,
    /// Nextcloud 32.0.1.
    Nextcloud,
    /// oCIS and OpenCloud.
    Ocis,
}

impl Server {
    /// All of them.
    pub(crate) const ALL: [Server; 5] = [Server::OwnCloud7, Server::OwnCloud8, Server::OwnCloud11, Server::Nextcloud, Server::Ocis];
}

/// What a link allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms {
    /// Reading.
    Read,
    /// Reading and writing.
    Edit,
    /// Uploads only.
    Drop,
}

/// What a host is and has, which tests change under the eyes of its guests.
pub(crate) struct State {
    /// Which server.
    pub(crate) server: Server,
    /// `host:port`.
    pub(crate) host: String,
    /// Path of the server's root, without a slash at its end.
    pub(crate) web_root: &'static str,
    /// What the link shows.
    pub(crate) tree: Tree,
    /// What it allows.
    pub(crate) terms: Terms,
    /// Its token.
    pub(crate) token: &'static str,
    /// Its password.
    pub(crate) password: Option<&'static str>,
    /// What its owner calls the shared node.
    pub(crate) name: &'static str,
    /// It was withdrawn or has expired.
    pub(crate) gone: bool,
    /// Sharing with other servers is allowed.
    pub(crate) outgoing: bool,
    /// The server is being maintained.
    pub(crate) maintenance: bool,
    /// It has had enough of us.
    pub(crate) throttles: bool,
    /// The tree of links that was there first is not served any more.
    pub(crate) without_old_tree: bool,
    /// Wrong tokens and passwords that were tried.
    pub(crate) failures: usize,
}

impl State {
    /// Whether a link is there that has this token.
    pub(crate) fn has(&self, token: &str) -> bool {
        token == self.token && !self.gone
    }

    /// Whether a password opens it; a link without one takes any.
    pub(crate) fn opens(&self, password: &str) -> bool {
        self.password.is_none_or(|wanted| wanted == password)
    }

    /// Counts a try that failed.
    pub(crate) fn fail<T>(&mut self, answer: T) -> T {
        self.failures += 1;
        answer
    }

    /// Whether the link shows a file.
    pub(crate) fn is_file(&self) -> bool {
        self.tree.get("").is_some_and(|root| root.content.is_some())
    }

    fn answer(&mut self, seen: &Seen) -> Verdict {
        super::dav::strict(seen)?;
        let path = seen.path.strip_prefix(self.web_root).ok_or("it is outside of the server")?;
        let inner = Seen { path: path.to_owned(), ..seen.clone() };
        match self.server {
            Server::OwnCloud7 | Server::OwnCloud8 | Server::OwnCloud11 => owncloud::answer(self, &inner, seen),
            Server::Nextcloud => nextcloud::answer(self, &inner, seen),
            Server::Ocis => ocis::answer(self, &inner, seen),
        }
    }
}

/// A running host.
pub(crate) struct Host {
    peer: Peer,
    state: Arc<Mutex<State>>,
}

impl Host {
    /// A server with a link to a folder.
    pub(crate) async fn start(server: Server, terms: Terms) -> Host {
        Host::start_at(server, terms, "").await
    }

    /// The same below a path.
    pub(crate) async fn start_at(server: Server, terms: Terms, web_root: &'static str) -> Host {
        let state = State {
            server,
            host: String::new(),
            web_root,
            tree: Tree::folder(),
            terms,
            token: if server == Server::OwnCloud7 { "0123456789abcdef0123456789abcdef" } else { "9j4HFNpiXNFqoX3" },
            password: None,
            name: "Photos",
            gone: false,
            outgoing: true,
            maintenance: false,
            throttles: false,
            without_old_tree: false,
            failures: 0,
        };
        let state = Arc::new(Mutex::new(state));
        let answering = Arc::clone(&state);
        let peer = Peer::start(move |seen| answering.lock().unwrap().answer(seen)).await;
        state.lock().unwrap().host = peer.host();
        Host { peer, state }
    }

    /// A server with a link to a file.
    pub(crate) async fn with_file(server: Server, terms: Terms) -> Host {
        let host = Host::start(server, terms).await;
        host.change(|state| (state.tree, state.name) = (Tree::file(), "single.txt"));
        host
    }

    /// Changes something there.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// Somebody else writes a file there.
    pub(crate) fn write(&self, path: &str, text: &str) {
        self.change(|state| state.tree.put(path, Some(Bytes::copy_from_slice(text.as_bytes()))));
    }

    /// The content of a file there.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        self.change(|state| state.tree.text(path))
    }

    /// All paths there.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.change(|state| state.tree.paths())
    }

    /// `host:port`.
    pub(crate) fn name(&self) -> String {
        self.peer.host()
    }

    /// The link as its owner hands it out.
    pub(crate) fn link(&self) -> String {
        let (server, token) = self.change(|state| (state.server, state.token));
        self.url(&match server {
            Server::OwnCloud7 => format!("/public.php?service=files&t={token}"),
            Server::OwnCloud8 | Server::OwnCloud11 => format!("/index.php/s/{token}"),
            Server::Nextcloud | Server::Ocis => format!("/s/{token}"),
        })
    }

    /// The URL of a path below the server's root.
    pub(crate) fn url(&self, path: &str) -> String {
        let web_root = self.change(|state| state.web_root);
        self.peer.url(&[web_root, path].concat())
    }

    /// What arrived since the last question.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        self.peer.take_seen()
    }

    /// Fails on everything that was not expected.
    #[track_caller]
    pub(crate) fn check(&self) {
        self.peer.check();
    }
}
