//! The cookie of a visitor who knew a link's password. It ends with the process, after some hours, and when the password is changed
//! (attack L1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;

use crate::domain::{Link, Timestamp};

/// How long a visitor need not give the password again, in seconds.
const PASS_SECONDS: i64 = 4 * 3600;

/// Issues and checks passes. The key lives as long as the process.
pub struct Passes {
    key: hmac::Key,
}

/// The machine gives no randomness.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the machine gives no random bytes")]
pub struct NoRandomness;

impl std::fmt::Debug for Passes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Passes(..)")
    }
}

impl Passes {
    /// With a fresh key.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new() -> Result<Passes, NoRandomness> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_unspecified| NoRandomness)?;
        Ok(Passes { key })
    }

    /// Name of the cookie for one link, so that several can be open at once.
    pub fn cookie_name(link: &Link) -> String {
        format!("causeway_link_{}", link.id.0)
    }

    /// The value of the `Set-Cookie` header for a visitor who knew the password; `path` is the page's path, `secure` when served by https.
    pub fn set_cookie(&self, link: &Link, path: &str, secure: bool, now: Timestamp) -> String {
        let ends = now.saturating_add(PASS_SECONDS);
        let mac = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &message(link, ends)));
        let secure = if secure { "; Secure" } else { "" };
        format!("{}={ends}.{mac}; Path={path}; Max-Age={PASS_SECONDS}; HttpOnly; SameSite=Lax{secure}", Passes::cookie_name(link))
    }

    /// Whether the `Cookie` header holds a pass for this link.
    pub fn admits(&self, link: &Link, cookies: &str, now: Timestamp) -> bool {
        let name = Passes::cookie_name(link);
        cookies.split(';').filter_map(|cookie| cookie.trim().strip_prefix(name.as_str())?.strip_prefix('=')).any(|value| {
            let Some((ends, mac)) = value.split_once('.') else { return false };
            let (Ok(ends), Ok(mac)) = (ends.parse::<i64>(), URL_SAFE_NO_PAD.decode(mac)) else { return false };
            ends > now && hmac::verify(&self.key, &message(link, ends), &mac).is_ok()
        })
    }
}

/// The password's hash is part of what is signed, so that a changed password ends every pass.
fn message(link: &Link, ends: Timestamp) -> Vec<u8> {
    let mut message = link.id.0.to_be_bytes().to_vec();
    message.extend(ends.to_be_bytes());
    message.extend(link.password_hash.as_ref().map(|hash| hash.expose().as_bytes()).unwrap_or_default());
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Kind, LinkId, NodeId, Permissions, Secret, ShareToken, SpaceId, UserName};

    fn link(hash: &str) -> Link {
        Link {
            id: LinkId(7),
            token: ShareToken::parse("abc").unwrap(),
            owner: UserName::parse("alice").unwrap(),
            space: SpaceId(1),
            node: NodeId(2),
            kind: Kind::Collection,
            name: "Photos".to_owned(),
            permissions: Permissions::READ,
            password_hash: Some(Secret::new(hash)),
            expires: None,
            label: String::new(),
            created: 0,
            origin: None,
        }
    }

    #[test]
    fn l1_a_pass_ends_with_its_time_its_link_and_its_password() {
        let passes = Passes::new().unwrap();
        let header = passes.set_cookie(&link("old"), "/s/abc", true, 1000);
        let cookie = header.split(';').next().unwrap();
        assert!(passes.admits(&link("old"), &format!("a=b; {cookie}"), 1001));
        assert!(!passes.admits(&link("old"), cookie, 1000 + PASS_SECONDS));
        assert!(!passes.admits(&link("new"), cookie, 1001));
        assert!(!passes.admits(&Link { id: LinkId(8), ..link("old") }, cookie, 1001));
        assert!(!Passes::new().unwrap().admits(&link("old"), cookie, 1001));
        assert!(header.contains("; Secure") && header.contains("; HttpOnly"));
    }
}
