//! The page on which a user accepts an invitation of another server (`protocol/ocm.md`): its address is the `inviteAcceptDialog` of our discovery.

use askama::Template;
use http::{Response, StatusCode};

use super::{Forms, Frame};
use crate::wire::Body;

/// Longest token and name of a server that are looked at, in bytes.
const FIELD_BYTES_MAX: usize = 512;

/// What the address of the page names. It was written by a stranger.
#[derive(Debug, Clone, Copy)]
pub struct Invite<'a> {
    token: &'a str,
    provider: &'a str,
}

impl<'a> Invite<'a> {
    /// Reads the parameters `token` and `providerDomain`; none where they cannot be an invitation. A server stands there as it goes over the wire, in
    /// letters that look like no others.
    pub fn parse(token: &'a str, provider: &'a str) -> Option<Invite<'a>> {
        let fits = |text: &str| !text.is_empty() && text.len() <= FIELD_BYTES_MAX && !text.chars().any(char::is_control);
        let host = provider.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_/[]~%".contains(&byte));
        (fits(token) && fits(provider) && host).then_some(Invite { token, provider })
    }

    /// The invitation's secret.
    pub fn token(&self) -> &'a str {
        self.token
    }

    /// The server that it is from.
    pub fn provider(&self) -> &'a str {
        self.provider
    }
}

/// Why an invitation was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAccepted {
    /// It is none.
    Unreadable,
    /// It is one of this server.
    Ourselves,
    /// The administrator does not want it.
    NotAllowed,
    /// Tried too often.
    Throttled,
    /// The other server does not answer, or takes no invitations.
    Unreachable,
    /// The other server does not know it, or not any more.
    Unknown,
    /// Somebody accepted it before.
    Taken,
    /// The other server does not trust this one.
    Untrusted,
    /// Something here.
    Failed,
}

impl NotAccepted {
    fn words(self) -> (StatusCode, &'static str) {
        match self {
            NotAccepted::Unreadable => (StatusCode::BAD_REQUEST, "invite-unreadable"),
            NotAccepted::Ourselves => (StatusCode::BAD_REQUEST, "invite-ourselves"),
            NotAccepted::NotAllowed => (StatusCode::FORBIDDEN, "invite-not-allowed"),
            NotAccepted::Throttled => (StatusCode::TOO_MANY_REQUESTS, "invite-throttled"),
            NotAccepted::Unreachable => (StatusCode::SERVICE_UNAVAILABLE, "invite-unreachable"),
            NotAccepted::Unknown => (StatusCode::BAD_REQUEST, "invite-unknown"),
            NotAccepted::Taken => (StatusCode::BAD_REQUEST, "invite-taken"),
            NotAccepted::Untrusted => (StatusCode::FORBIDDEN, "invite-untrusted"),
            NotAccepted::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "invite-failed"),
        }
    }
}

#[derive(Template)]
#[template(path = "web/invite.html")]
struct Page<'a> {
    frame: &'a Frame,
    title: &'a str,
    token: &'a str,
    invite: Invite<'a>,
    question: String,
    problem: Option<&'static str>,
}

/// The page that asks whether to accept; again after a try that failed.
pub fn invite(frame: &Frame, invite: Invite<'_>, failed: Option<NotAccepted>) -> Response<Body> {
    let words = frame.words();
    let (status, problem) = failed.map(NotAccepted::words).map_or((StatusCode::OK, None), |(status, key)| (status, Some(key)));
    let question = words.f("invite-question", &[("server", invite.provider)]);
    let page = Page { frame, title: words.t("invite-title"), token: frame.token(), invite, question, problem };
    frame.render(status, &page, Forms::Here)
}

#[derive(Template)]
#[template(path = "web/said.html")]
struct Said<'a> {
    frame: &'a Frame,
    title: &'a str,
    text: String,
}

/// The page after the button: who is known now.
pub fn invited(frame: &Frame, name: &str, address: &str) -> Response<Body> {
    let words = frame.words();
    let text = words.f("invite-done", &[("name", name), ("address", address)]);
    frame.render(StatusCode::OK, &Said { frame, title: words.t("invite-done-title"), text }, Forms::Here)
}

/// The page for an address that names no invitation.
pub fn no_invite(frame: &Frame) -> Response<Body> {
    let words = frame.words();
    let text = words.t("invite-unreadable").to_owned();
    frame.render(StatusCode::BAD_REQUEST, &Said { frame, title: words.t("invite-title"), text }, Forms::Here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5_an_invitation_is_text_and_its_server_looks_like_no_other() {
        assert!(Invite::parse("t", "cloud.example:8443/oc").is_some());
        for (token, provider) in
            [("", "a.example"), ("t", ""), ("t\n", "a"), ("t", "b\u{430}nk.example"), ("t", "a@evil.example"), ("t", "<b>")]
        {
            assert!(Invite::parse(token, provider).is_none(), "{token} {provider}");
        }
        let frame = Frame::new("", None, None);
        let invite = Invite::parse("\"><img src=x>", "a.example").unwrap();
        let page = Page { frame: &frame, title: "x", token: "", invite, question: "<b>".to_owned(), problem: None };
        let html = page.render().unwrap();
        assert!(!html.contains("<img") && !html.contains("<b>"), "{html}");
    }
}
