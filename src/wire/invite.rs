//! What invitations look like on the wire: the text that people hand on, and `POST /invite-accepted` (OCM-API, "Invite Acceptance";
//! `protocol/ocm.md` 1.7).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded::{Serializer, parse};

use crate::domain::Secret;
use crate::wire::ocm::text;

/// Longest invitation that is read, in bytes.
const INVITE_BYTES_MAX: usize = 4096;
/// Where a page for people stands on our server that takes an invitation of another one.
pub const ACCEPT_PAGE: &str = "/ocm/accept-invite";

/// Mail programs and people lose the signs at the end.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));
const BASE64_URL: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// An invitation as it is handed on: what proves it, and the server that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// What proves it.
    pub token: Secret,
    /// The server, as the inviter writes it: `host[:port][/path]`, perhaps with a scheme.
    pub provider: String,
}

impl Invite {
    /// Reads what people paste: the invite string (base64 of `token@host`, with or without signs at its end), the same in the clear, or a
    /// link with `token` in its query and the server in `providerDomain`, or in its host. None where it is none of these.
    pub fn parse(pasted: &str) -> Option<Invite> {
        let pasted = pasted.trim();
        if pasted.len() > INVITE_BYTES_MAX {
            return None;
        }
        if let Some(link) = Url::parse(pasted).ok().filter(|link| matches!(link.scheme(), "http" | "https")) {
            return Invite::of_link(&link);
        }
        let decoded = |engine: &GeneralPurpose| engine.decode(pasted).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let in_the_clear = pasted.contains('@').then(|| pasted.to_owned());
        let text = in_the_clear.or_else(|| decoded(&BASE64)).or_else(|| decoded(&BASE64_URL))?;
        let (token, provider) = text.rsplit_once('@')?;
        Invite::new(token, provider)
    }

    fn of_link(link: &Url) -> Option<Invite> {
        let field = |name: &str| parse(link.query()?.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let origin = || {
            let port = link.port().map(|port| format!(":{port}")).unwrap_or_default();
            let plain = if link.scheme() == "http" { "http://" } else { "" };
            Some(format!("{plain}{}{port}", link.host_str()?))
        };
        let provider = field("providerDomain").filter(|named| !named.is_empty()).or_else(origin)?;
        Invite::new(&field("token")?, &provider)
    }

    fn new(token: &str, provider: &str) -> Option<Invite> {
        let fits = !token.is_empty() && !provider.is_empty();
        fits.then(|| Invite { token: Secret::new(token), provider: provider.to_owned() })
    }

    /// The invite string.
    pub fn string(&self) -> Secret {
        Secret::new(BASE64.encode(format!("{}@{}", self.token.expose(), self.provider)))
    }

    /// The link to a page of the receiver's server that takes it.
    pub fn link(&self, page: &str) -> Secret {
        let query =
            Serializer::new(String::new()).append_pair("token", self.token.expose()).append_pair("providerDomain", &self.provider).finish();
        Secret::new(format!("{page}{}{query}", if page.contains('?') { '&' } else { '?' }))
    }
}

/// `POST /invite-accepted`: somebody elsewhere has taken an invitation. Fields are as they came; those that are missing are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteAccepted {
    /// `recipientProvider`: the server of who accepts, perhaps with a scheme.
    pub provider: String,
    /// `token`: what proves the invitation.
    pub token: Secret,
    /// `userID`, else `userId`: who accepts, opaque.
    pub user: String,
    /// `email`; may be empty.
    pub email: String,
    /// `name`; may be empty.
    pub name: String,
}

impl InviteAccepted {
    /// Reads a body; none where it is not a JSON object.
    pub fn parse(body: &[u8]) -> Option<InviteAccepted> {
        let Value::Object(fields) = serde_json::from_slice(body).ok()? else { return None };
        let who = Person::of(&fields);
        Some(InviteAccepted {
            provider: text(&fields, "recipientProvider"),
            token: Secret::new(text(&fields, "token")),
            user: who.user,
            email: who.email,
            name: who.name,
        })
    }

    /// The body to send. The specification says `userID`, Nextcloud 32 reads `userId`.
    pub fn body(&self) -> Value {
        json!({"recipientProvider": self.provider, "token": self.token.expose(), "userID": self.user, "userId": self.user,
            "email": self.email, "name": self.name})
    }
}

/// Who invited: the answer to [`InviteAccepted`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// `userID`, else `userId`: opaque, perhaps with the server behind an `@`.
    pub user: String,
    /// `email`; may be empty.
    pub email: String,
    /// `name`; may be empty.
    pub name: String,
}

impl Person {
    /// Reads an answer; none where it names nobody.
    pub fn parse(body: &[u8]) -> Option<Person> {
        let Value::Object(fields) = serde_json::from_slice(body).ok()? else { return None };
        Some(Person::of(&fields)).filter(|person| !person.user.is_empty())
    }

    fn of(fields: &serde_json::Map<String, Value>) -> Person {
        let user = [text(fields, "userID"), text(fields, "userId")].into_iter().find(|user| !user.is_empty());
        Person { user: user.unwrap_or_default(), email: text(fields, "email"), name: text(fields, "name") }
    }

    /// The body to answer with.
    pub fn body(&self) -> Value {
        json!({"userID": self.user, "userId": self.user, "email": self.email, "name": self.name})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pasted: &str, expected: Option<(&str, &str)>) {
        let read = Invite::parse(pasted);
        assert_eq!(read.as_ref().map(|invite| (invite.token.expose(), invite.provider.as_str())), expected, "{pasted}");
    }

    #[test]
    fn invitations_are_read_as_people_paste_them() {
        let invite = Invite { token: Secret::new("t0k@n"), provider: "b.example:8443".to_owned() };
        let string = invite.string();
        assert_eq!(string.expose(), "dDBrQG5AYi5leGFtcGxlOjg0NDM=");
        let both = Some(("t0k@n", "b.example:8443"));
        check(&format!(" {}\n", string.expose()), both);
        check(string.expose().trim_end_matches('='), both);
        check("t0k@n@b.example:8443", both);
        let page = "https://a.example/ocm/accept-invite";
        assert_eq!(invite.link(page).expose(), "https://a.example/ocm/accept-invite?token=t0k%40n&providerDomain=b.example%3A8443");
        check(invite.link(page).expose(), both);
        check(invite.link("https://a.example/index.php?app=x").expose(), both);
        check("https://b.example:8443/wayf?token=abc", Some(("abc", "b.example:8443")));
        check("http://b.example/wayf?token=abc&providerDomain=", Some(("abc", "http://b.example")));
        assert!(!format!("{invite:?}").contains("t0k"));
    }

    #[test]
    fn f11_what_is_no_invitation_is_none() {
        for pasted in
            ["", "x", "dG9rZW4=", "@b.example", "token@", "QGI=", "https://b.example/wayf", "https://b.example/?token=", "ftp://b/?token=x"]
        {
            check(pasted, None);
        }
        check(&"QUJD".repeat(2000), None);
    }

    #[test]
    fn both_spellings_of_the_user_are_sent_and_read() {
        let accepted = InviteAccepted {
            provider: "a.example".to_owned(),
            token: Secret::new("t"),
            user: "u@idp".to_owned(),
            email: String::new(),
            name: "U".to_owned(),
        };
        let body = accepted.body();
        assert_eq!((&body["userID"], &body["userId"]), (&json!("u@idp"), &json!("u@idp")));
        assert_eq!(InviteAccepted::parse(body.to_string().as_bytes()), Some(accepted));
        let person = Person::parse(br#"{"userId":"alice","name":"Alice"}"#).unwrap();
        assert_eq!((person.user.as_str(), person.email.as_str()), ("alice", ""));
        for body in ["", "[]", "{}", r#"{"userID":["a"]}"#, "7"] {
            assert!(Person::parse(body.as_bytes()).is_none(), "{body}");
        }
    }
}
