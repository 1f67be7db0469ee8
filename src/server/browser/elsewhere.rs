//! "Add to your server": a visitor of a link names the server that he has an account on, and is taken to its page for that.

use http::{Method, Request, Response};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::value_of;
use crate::domain::{CloudId, Link, Permissions, Vendor};
use crate::protocol::public;
use crate::protocol::web::{self, Elsewhere, NowhereToGo};
use crate::remote::Scheme;
use crate::server::http::Asked;
use crate::server::login::Fields;
use crate::server::site::is_foreign;
use crate::service::adding::server_of;
use crate::service::federation::NotGiven;
use crate::wire::Body;

/// The visitor's server, remembered.
const SERVER_COOKIE: &str = "causeway_server";
/// How long, in seconds.
const SERVER_COOKIE_SECONDS: i64 = 365 * 24 * 3600;

/// What somebody typed.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    /// The address of a user: the share is offered to it.
    User(CloudId),
    /// The address of a server.
    Server {
        /// As it was typed.
        scheme: Option<&'static str>,
        /// `host[:port][/path]`.
        address: String,
    },
}

impl Asked<'_> {
    /// Whether a link's page leads there: other servers may mount it, and it can be read.
    pub(in crate::server) fn may_be_taken(&self, link: &Link) -> bool {
        link.permissions.contains(Permissions::READ) && self.app.services.sharing().may_leave(link)
    }

    /// `/s/TOKEN/add`, for a visitor to whom the link is open.
    pub(in crate::server) async fn take_elsewhere(&self, request: Request<Body>, link: &Link, base: &str) -> Response<Body> {
        if !self.may_be_taken(link) {
            return public::gone();
        }
        let frame = self.frame(request.headers(), None);
        let page = |address: &str, problem| web::elsewhere(&frame, Elsewhere { base, name: &link.name, address }, problem);
        if request.method() != Method::POST {
            let remembered = value_of(request.headers(), SERVER_COOKIE).map(|value| percent_decode_str(value).decode_utf8_lossy());
            return page(&remembered.unwrap_or_default(), None);
        }
        if is_foreign(&request, &self.app.services.options().own_hosts) {
            return web::message(&frame, web::Message::Foreign);
        }
        let own = self.found_at(&request);
        let Some(form) = Fields::read(request).await else { return page("", Some(NowhereToGo::NoAddress)) };
        let address = form.get("address").unwrap_or_default().trim();
        let found = match typed(address) {
            None => Err(NowhereToGo::NoAddress),
            Some(Typed::User(to)) => self.offer(link, &to).await,
            Some(Typed::Server { scheme, address }) => self.page_of(link, &own, scheme, &address).await,
        };
        match found {
            Ok(place) => {
                let mut response = web::see_other(&place);
                let value = utf8_percent_encode(address, NON_ALPHANUMERIC);
                let secure = if self.is_secure() { "; Secure" } else { "" };
                let cookie = format!(
                    "{SERVER_COOKIE}={value}; Path={}/; Max-Age={SERVER_COOKIE_SECONDS}; HttpOnly; SameSite=Lax{secure}",
                    self.app.prefix
                );
                super::append_cookie(&mut response, &cookie);
                response
            }
            Err(problem) => page(address, Some(problem)),
        }
    }

    /// Shares what the link shows with a user of another server, as Nextcloud does (`protocol/nextcloud.md` 1.1 a). The server of the user.
    async fn offer(&self, link: &Link, to: &CloudId) -> Result<String, NowhereToGo> {
        if self.app.services.federation().is_ours(to) {
            return Err(NowhereToGo::Ours);
        }
        match self.app.services.give_link(link, to, self.client.address).await {
            Ok(()) => Ok(to.url()),
            Err(NotGiven::Throttled(_)) => Err(NowhereToGo::Throttled),
            Err(NotGiven::Refused(_)) => Err(NowhereToGo::NotGiven),
            Err(NotGiven::Failed(error)) => {
                tracing::error!(%error, share.id = link.id.0, "a link cannot be given to another server now");
                Err(NowhereToGo::NotGiven)
            }
        }
    }

    /// The page of the visitor's server that asks whether to add the link, in the form that this kind of server takes. A server that cannot be asked
    /// from here, but was named with its scheme, gets all forms at once: what it does not know it does not look at.
    async fn page_of(&self, link: &Link, own: &str, scheme: Option<&'static str>, address: &str) -> Result<String, NowhereToGo> {
        let asked = self.ask_receiver(address).await;
        let receiver = asked.map_err(|_wait| NowhereToGo::Throttled)?;
        let vendor = receiver.map(|receiver| receiver.vendor);
        let found = receiver.map(|receiver| match receiver.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        });
        let scheme = scheme.or(found).ok_or(NowhereToGo::None)?;
        let server = format!("{scheme}://{address}");
        let name = self.app.services.accounts().get(link.shared_by()).map(|owner| owner.display_name.clone());
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let fields = format!(
            "remote={}&token={}&owner={}&ownerDisplayName={}&name={}&protected={}",
            encoded(own),
            encoded(link.token.expose()),
            encoded(link.shared_by().as_str()),
            encoded(name.as_deref().unwrap_or_default()),
            encoded(&link.name),
            u8::from(link.password_hash.is_some()),
        );
        match vendor {
            // `protocol/owncloud.md` 2.2
            Some(Vendor::OwnCloud) => Ok(format!("{server}/index.php/apps/files#{fields}")),
            // `protocol/nextcloud.md` 1.1 b
            Some(Vendor::Nextcloud | Vendor::Causeway) => Ok(format!("{server}/index.php/apps/files/?{fields}")),
            Some(Vendor::Ocis) => Err(NowhereToGo::Other),
            Some(Vendor::Other) | None => Ok(format!("{server}/index.php/apps/files/?{fields}#{fields}")),
        }
    }
}

/// Reads what somebody typed or pasted; none where it is no address by http or https.
fn typed(text: &str) -> Option<Typed> {
    // bob@cloud.example, or bob@https://cloud.example
    if text.split(['/', '?', '#']).next().is_some_and(|first| first.contains('@')) {
        return CloudId::parse(text).ok().map(Typed::User);
    }
    // As it stands in the address bar of a browser.
    let (scheme, url) = server_of(text.split("/index.php").next().unwrap_or_default())?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(Typed::Server { scheme, address: format!("{}{port}{}", url.host_str()?, url.path().trim_end_matches('/')) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, scheme: Option<&'static str>, address: &str) {
        assert_eq!(typed(text), Some(Typed::Server { scheme, address: address.to_owned() }), "{text}");
    }

    #[test]
    fn addresses_are_read_as_people_type_them() {
        check("cloud.example", None, "cloud.example");
        check("Cloud.example:8443/owncloud/", None, "cloud.example:8443/owncloud");
        check("http://cloud.example", Some("http"), "cloud.example");
        check("HTTPS://cloud.example/index.php/apps/files/?dir=/", Some("https"), "cloud.example");
        check("[2001:db8::1]:8080", None, "[2001:db8::1]:8080");
        check("münchen.example", None, "xn--mnchen-3ya.example");
        for user in ["bob@cloud.example", "bob@https://cloud.example/nc"] {
            assert!(matches!(typed(user), Some(Typed::User(_))), "{user}");
        }
    }

    #[test]
    fn l7_nobody_is_led_anywhere_but_to_a_server() {
        for odd in [
            "",
            "javascript:alert(1)//",
            "javascript://x",
            "file:///etc/passwd",
            "data:text/html,x",
            "https://bank.example@evil.example",
            "//evil.example",
            "https:///",
            "a b",
            "a\r\nlocation: b",
            "x\\y",
            &"a".repeat(600),
        ] {
            assert_eq!(typed(odd), None, "{odd}");
        }
    }
}
