//! The page of a public link: whether the link is there, wants a password, and what it is called.

use http::{Method, StatusCode};
use url::Url;

use crate::domain::Secret;
use crate::remote::call::Call;
use crate::remote::link::Link;
use crate::remote::probe::share_info::ShareInfo;
use crate::remote::{Error, Remotes};
use crate::wire::Via;

/// What a link's page says of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// There is no such link any more.
    Gone,
    /// It wants a password.
    Protected,
    /// It opens.
    Open,
    /// It is there for browsers, but not for other servers.
    SharingOff,
}

/// What a link's page says.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) state: LinkState,
    pub(super) name: Option<String>,
    pub(super) owner: Option<String>,
}

/// Where the page is: every server of the family knows `index.php/s/`.
pub(super) fn address(link: &Link) -> Option<Url> {
    link.root.join(&["index.php/s/", link.token.expose()].concat()).ok()
}

impl Remotes {
    pub(super) async fn page(&self, link: &Link) -> Result<Page, Error> {
        let page = self.fetch(address(link)).await?;
        if page.state != LinkState::Gone {
            return Ok(page);
        }
        // Servers whose web server hides index.php, and oCIS; ownCloud 7 has its own form.
        let short = self.fetch(link.root.join(&["s/", link.token.expose()].concat()).ok()).await?;
        if short.state != LinkState::Gone || !is_old_token(link.token.expose()) {
            return Ok(short);
        }
        match self.fetch(old_address(link)).await {
            Ok(found) => Ok(found),
            // Servers that were upgraded keep old tokens and need not know the old form any more.
            Err(error) => match self.share_info(link, &Secret::default()).await {
                Ok(ShareInfo::Absent) => Ok(page),
                Ok(_) | Err(_) => Err(error),
            },
        }
    }

    async fn fetch(&self, url: Option<Url>) -> Result<Page, Error> {
        let url = url.ok_or(Error::BadAnswer("the URL cannot be read"))?;
        let via = Via::default();
        let answer = self.call(Call::new(Method::GET, url, None, &via)).await?;
        let nameless = |state| Page { state, name: None, owner: None };
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(nameless(LinkState::Gone)),
            StatusCode::UNAUTHORIZED => Ok(nameless(LinkState::Protected)),
            // Nextcloud sends 303 to /s/TOKEN/authenticate/showshare.
            StatusCode::SEE_OTHER if answer.text_of("location").is_some_and(|to| to.contains("/authenticate")) => {
                Ok(nameless(LinkState::Protected))
            }
            StatusCode::OK => {
                let authenticates = answer.url.path().contains("/authenticate");
                let page = answer.page(self).await?;
                Ok(read(&String::from_utf8_lossy(&page), authenticates))
            }
            status => Err(Error::from_status(status, answer.headers())),
        }
    }
}

/// Whether a token is as ownCloud 7 and older made them: 32 hexadecimal digits.
fn is_old_token(token: &str) -> bool {
    token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn old_address(link: &Link) -> Option<Url> {
    let mut url = link.root.join("public.php").ok()?;
    url.query_pairs_mut().append_pair("service", "files").append_pair("t", link.token.expose());
    Some(url)
}

fn read(html: &str, authenticates: bool) -> Page {
    let protected = authenticates || html.contains("type=\"password\"") && html.contains("name=\"password\"");
    let name = attribute(html, "data-name=\"").or_else(|| attribute(html, "property=\"og:title\" content=\""));
    let owner = attribute(html, "data-owner-display-name=\"").or_else(|| attribute(html, "data-owner=\""));
    Page { state: if protected { LinkState::Protected } else { LinkState::Open }, name, owner }
}

/// The value after `start`, up to the next quote.
fn attribute(html: &str, start: &str) -> Option<String> {
    let (_, rest) = html.split_once(start)?;
    let (value, _) = rest.split_once('"')?;
    let value = quick_xml::escape::unescape(value).ok()?.trim().to_owned();
    (!value.is_empty() && value.len() <= crate::limits::NAME_BYTES_MAX).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owncloud_page_tells_name_and_owner() {
        let page = read(r#"<span id="save" data-protected="false" data-owner="Alice &amp; A" data-name="Photos">"#, false);
        assert_eq!((page.state, page.name.as_deref(), page.owner.as_deref()), (LinkState::Open, Some("Photos"), Some("Alice & A")));
    }

    #[test]
    fn a_page_with_a_password_field_is_protected() {
        assert_eq!(read(r#"<input type="password" name="password">"#, false).state, LinkState::Protected);
        assert_eq!(read("<h1>Hello</h1>", true).state, LinkState::Protected);
    }
}
