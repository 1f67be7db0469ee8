//! Login flow v2: a client opens a page in the user's browser, waits, and gets an app password once the user has granted it
//! (`protocol/nextcloud.md` 3.4).
//!
//! A flow has two secrets: the client polls with one, the browser's page stands at the other. Who signs in on the page gets a third, a
//! cookie, and the grant needs a fourth that is derived from it, so that no other site can press the button (attack L7). All of it lives
//! in memory and ends with the process. **Invariants**: the app password is made when the client fetches it, so that nothing is left behind
//! by a flow that nobody finishes; it is handed out once; a grant works once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::hmac;

use super::accounts::Accounts;
use super::passwords::{Unusable, hex};
use super::random;
use super::refusal::Result;
use super::secrets::digest;
use super::throttle::network;
use crate::domain::{Clock, Secret, Timestamp, UserName};
use crate::limits::{APP_PASSWORD_LABEL_CHARS_MAX, LOGIN_FLOW_SECONDS, LOGIN_FLOWS_MAX, LOGIN_FLOWS_PER_ADDRESS_MAX};

/// The flows that are open.
pub struct LoginFlows {
    clock: Clock,
    key: hmac::Key,
    table: Mutex<Table>,
}

type Digest = [u8; 32];

#[derive(Default)]
struct Table {
    /// By the SHA-256 of the page's secret: comparing hashes tells nothing about it.
    flows: HashMap<Digest, Flow>,
    /// From the SHA-256 of the client's secret to the flow.
    polls: HashMap<Digest, Digest>,
    /// How many there were so far.
    begun: u64,
}

struct Flow {
    poll: Digest,
    client: String,
    network: IpAddr,
    base: String,
    /// The how-manieth it is.
    begun: u64,
    expires: Timestamp,
    state: State,
}

enum State {
    /// Nobody has signed in.
    Open,
    /// Somebody has; the SHA-256 of the cookie.
    SignedIn { cookie: Digest, user: UserName },
    /// The client may fetch its password.
    Granted { user: UserName },
}

/// What a client needs to begin with.
#[derive(Debug)]
pub struct Started {
    /// What it polls with.
    pub poll: Secret,
    /// The last segment of the page's address.
    pub login: Secret,
}

/// Too many flows are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted {
    /// From this address.
    #[error("too many logins are open from this address")]
    Address,
    /// At all.
    #[error("too many logins are open")]
    Everywhere,
    /// The machine gives no random bytes.
    #[error("the machine gives no random bytes")]
    NoRandomness,
}

/// Who is about to grant, and to whom.
#[derive(Debug)]
pub struct Visitor {
    /// What the client calls itself.
    pub client: String,
    /// Who signed in.
    pub user: UserName,
    /// What the button's form must carry.
    pub state: Secret,
}

/// What a client gets.
#[derive(Debug)]
pub struct Issued {
    /// The address of the server, as the client found it.
    pub server: String,
    /// The account.
    pub user: UserName,
    /// The app password.
    pub password: Secret,
}

impl LoginFlows {
    /// None open yet.
    ///
    /// # Errors
    /// Where the machine gives no random bytes.
    pub fn new(clock: Clock) -> Result<LoginFlows, Unusable> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()?);
        Ok(LoginFlows { clock, key, table: Mutex::default() })
    }

    /// Opens a flow for a client that calls itself `client` and found this server at `base`.
    ///
    /// # Errors
    /// [`NotStarted`].
    pub fn start(&self, client: &str, address: IpAddr, base: String) -> Result<Started, NotStarted> {
        let (poll, login) = (secret()?, secret()?);
        let network = network(address);
        let now = self.clock.now();
        let mut table = self.table();
        table.forget(now);
        let of_network = table.flows.values().filter(|flow| flow.network == network).count();
        if of_network >= LOGIN_FLOWS_PER_ADDRESS_MAX && !table.evict(network) {
            return Err(NotStarted::Address);
        }
        if table.flows.len() >= LOGIN_FLOWS_MAX && !table.fullest().is_some_and(|network| table.evict(network)) {
            return Err(NotStarted::Everywhere);
        }
        let (polled, page) = (digest(poll.expose()), digest(login.expose()));
        let expires = now.saturating_add(LOGIN_FLOW_SECONDS);
        table.begun += 1;
        let flow = Flow { poll: polled, client: label(client), network, base, begun: table.begun, expires, state: State::Open };
        table.insert(page, flow);
        Ok(Started { poll, login })
    }

    /// What the client of a page calls itself; none where the flow is unknown, over or granted already.
    pub fn client(&self, login: &str) -> Option<String> {
        let table = self.table();
        let flow = table.open(login, self.clock.now())?;
        match flow.state {
            State::Open | State::SignedIn { .. } => Some(flow.client.clone()),
            State::Granted { .. } => None,
        }
    }

    /// Notes that somebody proved to be a user; the cookie that says so. Who signed in before on this flow no longer is.
    ///
    /// # Errors
    /// Where the machine gives no random bytes; none where the flow is over.
    pub fn sign_in(&self, login: &str, user: &UserName) -> Result<Option<Secret>, NotStarted> {
        let cookie = secret()?;
        let mut table = self.table();
        let now = self.clock.now();
        let Some(flow) = table.flows.get_mut(&digest(login)).filter(|flow| flow.expires > now) else { return Ok(None) };
        match flow.state {
            State::Open | State::SignedIn { .. } => {}
            State::Granted { .. } => return Ok(None),
        }
        flow.state = State::SignedIn { cookie: digest(cookie.expose()), user: user.clone() };
        Ok(Some(cookie))
    }

    /// Who holds a cookie of a flow.
    pub fn visitor(&self, login: &str, cookie: &str) -> Option<Visitor> {
        let table = self.table();
        let flow = table.open(login, self.clock.now())?;
        match &flow.state {
            State::SignedIn { cookie: known, user } if *known == digest(cookie) => {
                let state = Secret::new(hex(hmac::sign(&self.key, &bound(login, cookie)).as_ref()));
                Some(Visitor { client: flow.client.clone(), user: user.clone(), state })
            }
            State::SignedIn { .. } | State::Open | State::Granted { .. } => None,
        }
    }

    /// Grants, for who holds the cookie and sends what the form of its page carried. Once: the cookie is worth nothing afterwards.
    pub fn grant(&self, login: &str, cookie: &str, state: &str) -> Option<Visitor> {
        let visitor = self.visitor(login, cookie)?;
        let sent = unhex(state)?;
        hmac::verify(&self.key, &bound(login, cookie), &sent).ok()?;
        let mut table = self.table();
        let flow = table.flows.get_mut(&digest(login))?;
        match &flow.state {
            // Somebody else may have been quicker since.
            State::SignedIn { cookie: known, user } if *known == digest(cookie) => {
                flow.state = State::Granted { user: user.clone() };
                tracing::info!(user.id = %visitor.user, "a client was granted access");
                Some(visitor)
            }
            State::SignedIn { .. } | State::Open | State::Granted { .. } => None,
        }
    }

    /// What a client that polls gets: nothing until the user has granted, then an app password, once.
    ///
    /// # Errors
    /// Where no app password can be made.
    pub async fn poll(&self, accounts: &Accounts, token: &str) -> Result<Option<Issued>> {
        let Some((page, flow)) = self.take_granted(token) else { return Ok(None) };
        let user = match &flow.state {
            State::Granted { user } if accounts.is_enabled(user) => user.clone(),
            State::Granted { .. } | State::SignedIn { .. } | State::Open => return Ok(None),
        };
        match accounts.add_app_password(user.as_str(), flow.client.clone()).await {
            Ok(password) => Ok(Some(Issued { server: flow.base, user, password })),
            Err(refusal) => {
                // The client goes on polling, and the grant stays what it was.
                self.table().insert(page, flow);
                Err(refusal)
            }
        }
    }

    fn take_granted(&self, token: &str) -> Option<(Digest, Flow)> {
        let polled = digest(token);
        let mut table = self.table();
        let page = *table.polls.get(&polled)?;
        let flow = table.flows.get(&page).filter(|flow| flow.expires > self.clock.now())?;
        match flow.state {
            State::Granted { .. } => {
                table.polls.remove(&polled);
                table.flows.remove(&page).map(|flow| (page, flow))
            }
            State::Open | State::SignedIn { .. } => None,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn open(&self, login: &str, now: Timestamp) -> Option<&Flow> {
        self.flows.get(&digest(login)).filter(|flow| flow.expires > now)
    }

    fn insert(&mut self, page: Digest, flow: Flow) {
        self.polls.insert(flow.poll, page);
        self.flows.insert(page, flow);
    }

    /// Ends the oldest flow of a network on whose page nobody has signed in: who opens flows without end keeps only themselves out. False
    /// where there is none.
    fn evict(&mut self, network: IpAddr) -> bool {
        let open = self.flows.iter().filter(|(_, flow)| flow.network == network && matches!(flow.state, State::Open));
        let Some(page) = open.min_by_key(|(_, flow)| flow.begun).map(|(page, _)| *page) else { return false };
        if let Some(flow) = self.flows.remove(&page) {
            self.polls.remove(&flow.poll);
        }
        true
    }

    /// Of the networks that have a flow to end, the one with the most flows.
    fn fullest(&self) -> Option<IpAddr> {
        let mut networks: HashMap<IpAddr, (usize, bool)> = HashMap::new();
        for flow in self.flows.values() {
            let (flows, open) = networks.entry(flow.network).or_default();
            *flows += 1;
            *open |= matches!(flow.state, State::Open);
        }
        networks.into_iter().filter(|(_, (_, open))| *open).max_by_key(|(_, (flows, _))| *flows).map(|(network, _)| network)
    }

    fn forget(&mut self, now: Timestamp) {
        let Table { flows, polls, .. } = self;
        flows.retain(|_, flow| {
            let stays = flow.expires > now;
            if !stays {
                polls.remove(&flow.poll);
            }
            stays
        });
    }
}

impl std::fmt::Debug for LoginFlows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LoginFlows(..)")
    }
}

/// 256 random bits.
fn secret() -> Result<Secret, NotStarted> {
    random::<32>().map(|bytes| Secret::new(hex(&bytes))).map_err(|_unusable| NotStarted::NoRandomness)
}

/// What the form's token is made of: it holds for one flow and one cookie.
fn bound(login: &str, cookie: &str) -> Vec<u8> {
    [digest(login), digest(cookie)].concat()
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let digits = text.as_bytes().chunks_exact(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    digits.collect()
}

/// What a client calls itself, as people can read it: on one line and cut.
pub fn label(user_agent: &str) -> String {
    let shown = user_agent.trim().chars().filter(|letter| !letter.is_control() && !is_bidi(*letter));
    let label: String = shown.take(APP_PASSWORD_LABEL_CHARS_MAX).collect();
    if label.is_empty() { "a client without a name".to_owned() } else { label }
}

/// Marks that turn the direction of text, so that a name could look like another.
fn is_bidi(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flows() -> (LoginFlows, Clock) {
        let clock = Clock::fixed(1_800_000_000);
        (LoginFlows::new(clock.clone()).unwrap(), clock)
    }

    /// Flows, and client's secrets.
    fn counts(flows: &LoginFlows) -> (usize, usize) {
        let table = flows.table();
        (table.flows.len(), table.polls.len())
    }

    fn from(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn l7_a_grant_needs_cookie_and_token_and_works_once() {
        let (flows, _) = flows();
        let anna = UserName::parse("anna").unwrap();
        let one = flows.start("phone", from("192.0.2.1"), String::new()).unwrap();
        let other = flows.start("phone", from("192.0.2.1"), String::new()).unwrap();
        let (login, second) = (one.login.expose(), other.login.expose());
        assert!(flows.visitor(login, "").is_none());
        let cookie = flows.sign_in(login, &anna).unwrap().unwrap();
        let foreign = flows.sign_in(second, &anna).unwrap().unwrap();
        let visitor = flows.visitor(login, cookie.expose()).unwrap();
        let stranger = flows.visitor(second, foreign.expose()).unwrap();
        for (cookie, state) in [
            (cookie.expose(), ""),
            (cookie.expose(), "00"),
            (cookie.expose(), stranger.state.expose()),
            (foreign.expose(), visitor.state.expose()),
            (foreign.expose(), stranger.state.expose()),
            ("", visitor.state.expose()),
        ] {
            assert!(flows.grant(login, cookie, state).is_none());
        }
        assert!(flows.take_granted(one.poll.expose()).is_none());
        assert!(flows.grant(login, cookie.expose(), visitor.state.expose()).is_some());
        assert!(flows.grant(login, cookie.expose(), visitor.state.expose()).is_none());
        assert!(flows.client(login).is_none() && flows.sign_in(login, &anna).unwrap().is_none());
        assert!(flows.take_granted(login).is_none(), "the page's secret fetches nothing");
        assert!(flows.take_granted(one.poll.expose()).is_some());
        assert!(flows.take_granted(one.poll.expose()).is_none());
    }

    #[test]
    fn flows_are_bounded_and_end_with_their_time() {
        let (flows, clock) = flows();
        let started = flows.start("", from("2001:db8::1"), String::new()).unwrap();
        for _ in 1..LOGIN_FLOWS_PER_ADDRESS_MAX {
            let flow = flows.start("x", from("2001:db8::2"), String::new()).unwrap();
            flows.sign_in(flow.login.expose(), &UserName::parse("anna").unwrap()).unwrap().unwrap();
        }
        let newer = flows.start("x", from("2001:db8::3"), String::new()).unwrap();
        assert!(flows.client(started.login.expose()).is_none(), "the one where nobody has signed in");
        flows.sign_in(newer.login.expose(), &UserName::parse("anna").unwrap()).unwrap().unwrap();
        assert_eq!(flows.start("x", from("2001:db8::3"), String::new()).unwrap_err(), NotStarted::Address);
        flows.start("x", from("192.0.2.1"), String::new()).unwrap();
        assert!(flows.client(newer.login.expose()).is_some());
        assert_eq!(counts(&flows), (LOGIN_FLOWS_PER_ADDRESS_MAX + 1, LOGIN_FLOWS_PER_ADDRESS_MAX + 1));
        clock.advance(LOGIN_FLOW_SECONDS);
        assert!(flows.client(newer.login.expose()).is_none());
        flows.start("x", from("2001:db8::3"), String::new()).unwrap();
        assert_eq!(flows.table().flows.len(), 1);
        assert_eq!(flows.table().polls.len(), 1);
    }

    #[test]
    fn whoever_fills_the_table_loses_flows_and_others_do_not() {
        let (flows, _) = flows();
        let quiet = flows.start("phone", from("192.0.2.1"), String::new()).unwrap();
        let loud = flows.start("x", from("198.51.100.7"), String::new()).unwrap();
        let second = flows.start("x", from("198.51.100.7"), String::new()).unwrap();
        for number in 3..LOGIN_FLOWS_MAX {
            let number = u32::try_from(number).unwrap();
            let flow = Flow {
                poll: digest(&format!("poll {number}")),
                client: String::new(),
                network: IpAddr::from((0x0a00_0000 + number).to_be_bytes()),
                base: String::new(),
                begun: 0,
                expires: Timestamp::MAX,
                state: State::Open,
            };
            flows.table().insert(digest(&format!("page {number}")), flow);
        }
        flows.start("y", from("203.0.113.1"), String::new()).unwrap();
        assert_eq!(counts(&flows), (LOGIN_FLOWS_MAX, LOGIN_FLOWS_MAX));
        assert!(flows.client(loud.login.expose()).is_none());
        assert!(flows.client(second.login.expose()).is_some() && flows.client(quiet.login.expose()).is_some());
        for flow in flows.table().flows.values_mut() {
            flow.state = State::Granted { user: UserName::parse("anna").unwrap() };
        }
        assert_eq!(flows.start("y", from("203.0.113.2"), String::new()).unwrap_err(), NotStarted::Everywhere);
    }

    #[test]
    fn l10_names_of_clients_are_one_short_line() {
        assert_eq!(label(" vm (Desktop Client - Linux)\r\nX: y"), "vm (Desktop Client - Linux)X: y");
        assert_eq!(label("a\u{202e}b"), "ab");
        assert_eq!(label(&"x".repeat(1000)).len(), APP_PASSWORD_LABEL_CHARS_MAX);
        assert_eq!(label(" "), "a client without a name");
    }
}
