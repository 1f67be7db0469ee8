//! The pages themselves. A page is a template, what it shows, and the status that goes with it.

use askama::Template;
use http::{HeaderValue, Response, StatusCode, header};

use super::{Forms, Frame};
use crate::domain::MountState;
use crate::remote::ProbeFault;
use crate::service::adding::{NotAdded, RemoteLink};
use crate::service::{Reason, Refusal};
use crate::wire::Body;

/// What the form of the login page carries.
#[derive(Debug, Clone, Copy)]
pub struct LoginForm<'a> {
    /// Where to go afterwards: a place of this server, below its prefix.
    pub to: &'a str,
    /// What shows that the form came from the page.
    pub token: &'a str,
    /// The name that was typed before.
    pub name: &'a str,
}

/// Why the login page is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Name or password are wrong.
    Wrong,
    /// An app password opens no session.
    AppPassword,
    /// After too many failures.
    Throttled,
    /// Too many log in at once.
    Busy,
    /// The form did not come from the page, or from one that was open too long.
    Stale,
}

#[derive(Template)]
#[template(path = "web/login.html")]
struct Login<'a> {
    frame: &'a Frame,
    title: &'a str,
    form: LoginForm<'a>,
    problem: Option<&'static str>,
}

/// The page that asks for name and password.
pub fn login(frame: &Frame, form: LoginForm<'_>, again: Option<Again>) -> Response<Body> {
    let (status, problem) = match again {
        None => (StatusCode::OK, None),
        Some(Again::Wrong) => (StatusCode::FORBIDDEN, Some("login-wrong")),
        Some(Again::AppPassword) => (StatusCode::FORBIDDEN, Some("login-app-password")),
        Some(Again::Stale) => (StatusCode::FORBIDDEN, Some("login-stale")),
        Some(Again::Throttled) => (StatusCode::TOO_MANY_REQUESTS, Some("login-throttled")),
        Some(Again::Busy) => (StatusCode::SERVICE_UNAVAILABLE, Some("login-busy")),
    };
    frame.render(status, &Login { frame, title: frame.words().t("login-title"), form, problem }, Forms::Here)
}

/// What the start page shows.
#[derive(Debug)]
pub struct Start {
    /// The WebDAV URL of the user's files.
    pub dav: String,
    /// The user's mounts.
    pub mounts: Vec<MountRow>,
    /// What waits for the user's answer.
    pub pending: Vec<Pending>,
}

/// A mount on the start page.
#[derive(Debug)]
pub struct MountRow {
    /// Where it hangs.
    pub path: Option<String>,
    /// Whose it is, and on which server.
    pub from: String,
    /// The key of the word for its state.
    state: &'static str,
}

impl MountRow {
    /// A row for a mount in a state.
    pub fn new(path: Option<String>, from: String, state: &MountState) -> MountRow {
        let state = match state {
            MountState::Online => "state-online",
            MountState::Offline { .. } => "state-offline",
            MountState::NeedsPassword => "state-needs-password",
            MountState::Withdrawn => "state-withdrawn",
            MountState::Loop => "state-loop",
        };
        MountRow { path, from, state }
    }
}

/// By which way a share comes that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// From a user of this server.
    Here,
    /// From a user of another one.
    Remote,
}

impl Incoming {
    /// The word by which a form names it.
    pub fn word(self) -> &'static str {
        match self {
            Incoming::Here => "here",
            Incoming::Remote => "remote",
        }
    }

    /// Reads the word of a form.
    pub fn parse(word: &str) -> Option<Incoming> {
        [Incoming::Here, Incoming::Remote].into_iter().find(|kind| kind.word() == word)
    }
}

/// A share that waits for its receiver's answer.
#[derive(Debug)]
pub struct Pending {
    /// By which way it comes.
    pub kind: Incoming,
    /// Its number.
    pub id: u64,
    /// What.
    pub name: String,
    /// Who shares it.
    pub owner: String,
}

/// What the start page says about what was done just before.
#[derive(Debug)]
pub enum Notice {
    /// A mount hangs there now.
    Added(String),
    /// A share was accepted.
    Accepted,
    /// A share was declined.
    Declined,
    /// Neither was.
    Refused(Refusal),
}

struct Said {
    text: String,
    wrong: bool,
}

#[derive(Template)]
#[template(path = "web/start.html")]
struct StartPage<'a> {
    frame: &'a Frame,
    title: &'a str,
    token: &'a str,
    page: &'a Start,
    notice: Option<Said>,
}

/// The page of a user.
pub fn start(frame: &Frame, page: &Start, notice: Option<&Notice>) -> Response<Body> {
    let words = frame.words();
    let good = |text: String| (StatusCode::OK, Said { text, wrong: false });
    let wrong = |status, key: &'static str| (status, Said { text: words.t(key).to_owned(), wrong: true });
    let (status, notice) = match notice {
        None => (StatusCode::OK, None),
        Some(notice) => {
            let (status, said) = match notice {
                Notice::Added(path) => good(words.f("notice-added", &[("path", path)])),
                Notice::Accepted => good(words.t("notice-accepted").to_owned()),
                Notice::Declined => good(words.t("notice-declined").to_owned()),
                Notice::Refused(refusal) => match refusal.reason {
                    Reason::RemoteUnreachable => wrong(StatusCode::SERVICE_UNAVAILABLE, "refused-away"),
                    Reason::NotFound => wrong(StatusCode::NOT_FOUND, "refused-gone"),
                    Reason::Refused | Reason::NeedsPassword | Reason::Usage => wrong(StatusCode::FORBIDDEN, "refused-refused"),
                    Reason::Failed => wrong(StatusCode::INTERNAL_SERVER_ERROR, "refused-failed"),
                },
            };
            (status, Some(said))
        }
    };
    frame.render(status, &StartPage { frame, title: words.t("start-title"), token: frame.token(), page, notice }, Forms::Here)
}

#[derive(Template)]
#[template(path = "web/add.html")]
struct Add<'a> {
    frame: &'a Frame,
    title: &'a str,
    token: &'a str,
    link: &'a RemoteLink,
    question: String,
    protected: bool,
    problem: Option<&'static str>,
}

/// The dialogue that asks whether to add a share of another server; again after a try that failed.
pub fn add(frame: &Frame, link: &RemoteLink, protected: bool, failed: Option<&NotAdded>) -> Response<Body> {
    let words = frame.words();
    let (status, problem) = failed.map_or((StatusCode::OK, None), |failed| {
        let (status, key) = why(failed);
        (status, Some(key))
    });
    let asks = matches!(failed, Some(NotAdded::Fault(ProbeFault::NeedsPassword | ProbeFault::WrongPassword)));
    let question = if link.name().is_empty() || link.owner().is_empty() {
        words.f("add-question-nameless", &[("server", link.server())])
    } else {
        words.f("add-question", &[("name", link.name()), ("owner", link.owner()), ("server", link.server())])
    };
    let protected = protected || asks;
    let page = Add { frame, title: words.t("add-title"), token: frame.token(), link, question, protected, problem };
    frame.render(status, &page, Forms::Here)
}

fn why(failed: &NotAdded) -> (StatusCode, &'static str) {
    match failed {
        NotAdded::Fault(fault) => match fault {
            ProbeFault::NeedsPassword => (StatusCode::FORBIDDEN, "add-needs-password"),
            ProbeFault::WrongPassword => (StatusCode::FORBIDDEN, "add-wrong-password"),
            ProbeFault::NotFound | ProbeFault::NotAnAddress => (StatusCode::BAD_REQUEST, "add-gone"),
            ProbeFault::UploadOnly => (StatusCode::BAD_REQUEST, "add-upload-only"),
            ProbeFault::SharingSwitchedOff => (StatusCode::BAD_REQUEST, "add-sharing-off"),
            ProbeFault::SingleFile => (StatusCode::BAD_REQUEST, "add-single-file"),
            ProbeFault::Throttled => (StatusCode::SERVICE_UNAVAILABLE, "add-throttled"),
            ProbeFault::Loop => (StatusCode::BAD_REQUEST, "add-loop"),
            // One sentence for all: nobody scans a network by it (attack F9).
            ProbeFault::Unreachable
            | ProbeFault::Busy
            | ProbeFault::UntrustedCertificate { .. }
            | ProbeFault::PrivateAddress { .. }
            | ProbeFault::NotWebdav
            | ProbeFault::TooManyRedirects => (StatusCode::SERVICE_UNAVAILABLE, "add-unreachable"),
        },
        NotAdded::NotAllowed => (StatusCode::FORBIDDEN, "add-not-allowed"),
        NotAdded::Ourselves => (StatusCode::BAD_REQUEST, "add-loop"),
        NotAdded::Refused(refusal) => match refusal.reason {
            Reason::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "add-failed"),
            Reason::Usage | Reason::NotFound | Reason::RemoteUnreachable | Reason::Refused | Reason::NeedsPassword => {
                (StatusCode::FORBIDDEN, "add-failed")
            }
        },
    }
}

/// A page of one sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// What was to be added is not whole.
    Incomplete,
    /// A share that is one of this server.
    Ourselves,
    /// Asked too often.
    TooOften,
    /// It came from a page of another site.
    Foreign,
    /// In maintenance.
    Later,
}

#[derive(Template)]
#[template(path = "web/message.html")]
struct MessagePage<'a> {
    frame: &'a Frame,
    title: &'a str,
    text: &'static str,
}

/// A page of one sentence.
pub fn message(frame: &Frame, message: Message) -> Response<Body> {
    let (status, title, text) = match message {
        Message::Incomplete => (StatusCode::BAD_REQUEST, "add-incomplete-title", "add-incomplete"),
        Message::Ourselves => (StatusCode::BAD_REQUEST, "add-incomplete-title", "add-loop"),
        Message::TooOften => (StatusCode::TOO_MANY_REQUESTS, "later-title", "add-too-often"),
        Message::Foreign => (StatusCode::FORBIDDEN, "foreign-title", "foreign"),
        Message::Later => (StatusCode::SERVICE_UNAVAILABLE, "later-title", "later"),
    };
    let mut response = frame.render(status, &MessagePage { frame, title: frame.words().t(title), text }, Forms::Here);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("120"));
    }
    response
}

/// The page by which a visitor of a link takes it to another server.
#[derive(Debug, Clone, Copy)]
pub struct Elsewhere<'a> {
    /// The path of the link's page.
    pub base: &'a str,
    /// The name of the link.
    pub name: &'a str,
    /// What was typed before.
    pub address: &'a str,
}

/// Why the visitor is not taken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NowhereToGo {
    /// That is no address.
    NoAddress,
    /// Nobody answers there who takes links.
    None,
    /// Who answers there takes them by no page.
    Other,
    /// The share could not be offered to the visitor's address.
    NotGiven,
    /// The address is of this server.
    Ours,
    /// Asked too often.
    Throttled,
}

#[derive(Template)]
#[template(path = "web/elsewhere.html")]
struct ElsewherePage<'a> {
    frame: &'a Frame,
    title: &'a str,
    page: Elsewhere<'a>,
    problem: Option<&'static str>,
}

/// The page by which a visitor of a link takes it to another server.
pub fn elsewhere(frame: &Frame, page: Elsewhere<'_>, problem: Option<NowhereToGo>) -> Response<Body> {
    let (status, problem) = match problem {
        None => (StatusCode::OK, None),
        Some(NowhereToGo::NoAddress) => (StatusCode::BAD_REQUEST, Some("elsewhere-no-address")),
        Some(NowhereToGo::None) => (StatusCode::BAD_REQUEST, Some("elsewhere-none")),
        Some(NowhereToGo::Other) => (StatusCode::BAD_REQUEST, Some("elsewhere-other")),
        Some(NowhereToGo::NotGiven) => (StatusCode::BAD_REQUEST, Some("elsewhere-not-given")),
        Some(NowhereToGo::Ours) => (StatusCode::BAD_REQUEST, Some("elsewhere-ours")),
        Some(NowhereToGo::Throttled) => (StatusCode::TOO_MANY_REQUESTS, Some("elsewhere-throttled")),
    };
    frame.render(status, &ElsewherePage { frame, title: frame.words().t("elsewhere-title"), page, problem }, Forms::Anywhere)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::adding::Handed;

    const EVIL: &str = "<script>alert(1)</script>\"onmouseover=x '><img src=x>";

    fn frame() -> Frame {
        Frame::new("", None, None)
    }

    #[track_caller]
    fn is_text(html: &str) {
        let own = html.matches("<script type=\"module\"").count();
        assert_eq!(html.matches("<script").count(), own, "{html}");
        assert!(!html.contains("<img") && !html.contains("\"onmouseover"), "{html}");
    }

    #[test]
    fn l5_names_on_the_pages_are_text() {
        let frame = Frame { user: Some(super::super::LoggedIn { name: EVIL.to_owned(), token: "t".to_owned() }), ..frame() };
        let link = RemoteLink::parse(Handed { remote: "https://evil.example", token: "t", owner: EVIL, name: EVIL }).unwrap();
        let words = frame.words();
        let add = Add {
            frame: &frame,
            title: words.t("add-title"),
            token: "t",
            link: &link,
            question: words.f("add-question", &[("name", EVIL)]),
            protected: true,
            problem: None,
        };
        is_text(&add.render().unwrap());
        let pending = Pending { kind: Incoming::Remote, id: 1, name: EVIL.to_owned(), owner: EVIL.to_owned() };
        let mount = MountRow::new(Some(EVIL.to_owned()), EVIL.to_owned(), &MountState::Online);
        let page = Start { dav: EVIL.to_owned(), mounts: vec![mount], pending: vec![pending] };
        let notice = Some(Said { text: EVIL.to_owned(), wrong: true });
        is_text(&StartPage { frame: &frame, title: "x", token: "t", page: &page, notice }.render().unwrap());
        let form = LoginForm { to: EVIL, token: EVIL, name: EVIL };
        is_text(&Login { frame: &frame, title: "x", form, problem: None }.render().unwrap());
        let page = Elsewhere { base: "/s/x", name: EVIL, address: EVIL };
        is_text(&ElsewherePage { frame: &frame, title: "x", page, problem: None }.render().unwrap());
    }

    #[test]
    fn l7_every_page_is_guarded() {
        for response in [message(&frame(), Message::Foreign), elsewhere(&frame(), Elsewhere { base: "/s/x", name: "", address: "" }, None)]
        {
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(
                policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
                "{policy}"
            );
            assert_eq!(response.headers()[header::X_FRAME_OPTIONS], "DENY");
        }
    }
}
