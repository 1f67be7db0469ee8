//! A share of another server that somebody comes with from that server's page: read from what the page handed over, and mounted when its
//! user says so (`protocol/owncloud.md` 2.2 and 2.3, `protocol/nextcloud.md` 1.1).
//!
//! Everything in it was written by a stranger. Nothing is asked of the other server before the user has seen which one it is.

use tokio::time::{Instant, sleep_until, timeout_at};
use url::Url;

use super::Refusal;
use super::mounts::Mounting;
use crate::domain::{Mount, Name, Secret, ShareToken, User};
use crate::remote::{ProbeFault, Receiver};

/// Longest address of a server, in bytes.
const REMOTE_BYTES_MAX: usize = 512;
/// Longest name of a share and of its owner that is looked at, in bytes.
const SHOWN_BYTES_MAX: usize = 200;

/// A public link of another server, as a page hands it over.
#[derive(Debug, Clone)]
pub struct RemoteLink {
    base: Url,
    token: ShareToken,
    owner: String,
    name: String,
}

/// The fields of a page or a form that name such a link.
#[derive(Debug, Clone, Copy)]
pub struct Handed<'a> {
    /// The server's URL.
    pub remote: &'a str,
    /// The link's token.
    pub token: &'a str,
    /// Who shares.
    pub owner: &'a str,
    /// What.
    pub name: &'a str,
}

/// What is wrong with what was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this names no link of another server")]
pub struct NoLink;

/// Why a share was not added, as its user may see it.
#[derive(Debug, thiserror::Error)]
pub enum NotAdded {
    /// The other server, or what it says.
    #[error(transparent)]
    Fault(ProbeFault),
    /// Users may not mount links.
    #[error("the administrator does not allow users to mount public link shares")]
    NotAllowed,
    /// The link is one of ours.
    #[error("this link leads to this server itself")]
    Ourselves,
    /// Something here.
    #[error(transparent)]
    Refused(Refusal),
}

impl RemoteLink {
    /// Reads what was handed over.
    ///
    /// # Errors
    /// Where the server is no http or https URL, or carries a login, or the token is none.
    pub fn parse(handed: Handed<'_>) -> Result<RemoteLink, NoLink> {
        let (_, base) = server_of(handed.remote).ok_or(NoLink)?;
        let token = ShareToken::parse(handed.token).ok_or(NoLink)?;
        Ok(RemoteLink { base, token, owner: shown(handed.owner), name: shown(handed.name) })
    }

    /// The link's own address.
    pub fn url(&self) -> String {
        format!("{}/s/{}", self.remote(), self.token.expose())
    }

    /// The server's URL, without a slash at its end.
    pub fn remote(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The token: for the form that sends it back.
    pub fn token(&self) -> &ShareToken {
        &self.token
    }

    /// The server as people read it: `host[:port][/path]`. Letters of other alphabets stand in it as they go over the wire (`xn--…`), so that no
    /// name looks like another one.
    pub fn server(&self) -> &str {
        let (_, rest) = self.remote().split_once("://").unwrap_or_default();
        rest
    }

    /// Who shares, on one line; may be empty.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// What is shared, on one line; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Mounting {
    /// Whether a link leads to this server.
    pub fn is_ours(&self, link: &RemoteLink) -> bool {
        self.not_ourselves(link.remote()).is_err()
    }

    /// Mounts a link that a page handed over at the root of a user's tree, by the name that the user has seen.
    ///
    /// # Errors
    /// [`NotAdded`]; [`ProbeFault::NeedsPassword`] and [`ProbeFault::WrongPassword`] where a password is what is missing.
    pub async fn add_link(&self, user: &User, link: &RemoteLink, password: Option<Secret>) -> Result<Mount, NotAdded> {
        if !self.may_mount(&user.name) {
            return Err(NotAdded::NotAllowed);
        }
        if self.is_ours(link) {
            return Err(NotAdded::Ourselves);
        }
        self.not_denied(&link.url()).map_err(NotAdded::Refused)?;
        let end = Instant::now() + self.remotes.timeouts().ask;
        let asked = timeout_at(end, Box::pin(self.remotes.probe(&link.url(), password))).await;
        let fault = match asked.map_err(|_elapsed| ProbeFault::Unreachable).flatten() {
            Ok(probe) => {
                let name = Name::parse(&link.name).is_ok().then_some(link.name.as_str());
                return self.add_probed(user, probe, name, &link.owner).await.map_err(NotAdded::Refused);
            }
            Err(fault) => fault,
        };
        tracing::info!(user.id = %user.name, remote.host = link.base.host_str(), error = %fault, "a remote share was not added");
        let fault = fault.for_users();
        if fault == ProbeFault::Unreachable {
            sleep_until(end).await;
        }
        Err(NotAdded::Fault(fault))
    }

    /// What answers at the address of a server that somebody typed, if it takes links for its users.
    pub async fn receiver_at(&self, address: &str) -> Option<Receiver> {
        self.remotes.receiver(address).await
    }
}

/// The URL of a server, from what somebody typed or a page handed over: `[http[s]://]host[:port][/path]`; https where no scheme is said, and which was
/// said. What follows `?` or `#` is cut, as ownCloud 10 does. None for whatever else it may be, and for what could look like another server.
pub fn server_of(text: &str) -> Option<(Option<&'static str>, Url)> {
    let text = text.trim().split(['?', '#']).next().unwrap_or_default();
    let odd = |letter: char| letter.is_control() || letter.is_whitespace() || matches!(letter, '\\' | '@' | '<' | '>' | '"');
    if text.len() > REMOTE_BYTES_MAX || text.contains(odd) {
        return None;
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some("https"), rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some("http"), rest),
        Some(_) => return None,
        None => (None, text),
    };
    let rest = rest.trim_end_matches('/');
    // What is not a host would be put right by the parser, and be one.
    if rest.is_empty() || rest.starts_with(['/', ':']) || rest.ends_with(':') {
        return None;
    }
    let url = Url::parse(&format!("{}://{rest}", scheme.unwrap_or("https"))).ok()?;
    url.host_str().is_some_and(|host| !host.is_empty()).then_some((scheme, url))
}

/// A text of somebody else on one line, fit for a name: nothing that turns its direction, no separator, and cut.
fn shown(text: &str) -> String {
    let odd = |letter: char| {
        letter.is_control() || matches!(letter, '/' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown: String = text.chars().filter(|letter| !odd(*letter)).take(SHOWN_BYTES_MAX).collect();
    while shown.len() > SHOWN_BYTES_MAX {
        shown.pop();
    }
    shown.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(remote: &str, token: &str, name: &str) -> Result<RemoteLink, NoLink> {
        RemoteLink::parse(Handed { remote, token, owner: "anna", name })
    }

    #[track_caller]
    fn check(remote: &str, server: &str, url: &str) {
        let link = parse(remote, "Tok3n", "Photos").unwrap();
        assert_eq!((link.server(), link.url().as_str()), (server, url), "{remote}");
    }

    #[test]
    fn a_link_is_read_as_each_kind_of_server_hands_it_over() {
        check("https://cloud.example/", "cloud.example", "https://cloud.example/s/Tok3n");
        check("http://cloud.example:8080/oc", "cloud.example:8080/oc", "http://cloud.example:8080/oc/s/Tok3n");
        check("cloud.example/owncloud/", "cloud.example/owncloud", "https://cloud.example/owncloud/s/Tok3n");
        check("https://cloud.example?x#y", "cloud.example", "https://cloud.example/s/Tok3n");
    }

    #[test]
    fn l7_no_address_looks_like_another_and_none_is_anything_but_a_server() {
        check("https://gоogle.example", "xn--gogle-jye.example", "https://xn--gogle-jye.example/s/Tok3n");
        for odd in [
            "",
            "javascript:alert(1)",
            "javascript://cloud.example/%0aalert(1)",
            "file:///etc/passwd",
            "ftp://cloud.example",
            "https://bank.example@evil.example",
            "https://bank.example\\@evil.example",
            "https://",
            "https://a b",
            "//evil.example",
            "https:",
            "https:///evil.example",
            &"a".repeat(600),
        ] {
            assert!(parse(odd, "Tok3n", "x").is_err(), "{odd}");
        }
        for token in ["", "a/../b", "a?b", "a b", "..", &"a".repeat(200)] {
            assert!(parse("https://cloud.example", token, "x").is_err(), "{token}");
        }
    }

    #[test]
    fn l5_names_are_one_line_without_marks_that_turn_it() {
        let link = parse("https://cloud.example", "t", "\u{202e}gpj.exe\r\n../x").unwrap();
        assert_eq!(link.name(), "gpj.exe..x");
        assert_eq!(parse("https://cloud.example", "t", &"ü".repeat(500)).unwrap().name().len(), SHOWN_BYTES_MAX);
    }
}
