//! What people paste: links and WebDAV addresses of every kind, read into the places where the share may be.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::domain::Secret;

/// A pasted text, read.
#[derive(Debug, Clone)]
pub(super) struct Pasted {
    /// User name in front of the host.
    pub(super) login: Option<Secret>,
    /// Password in front of the host.
    pub(super) password: Option<Secret>,
    /// The address without them.
    pub(super) url: Url,
    /// Server root and token, where it looks like a public link.
    pub(super) link: Option<Link>,
}

/// A public link of the ownCloud family.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// The server's root, with a slash at its end.
    pub(super) root: Url,
    pub(super) token: Secret,
    /// Below the link's root, percent-encoded, without slashes at its ends.
    pub(super) below: String,
}

impl Pasted {
    /// Reads a text; none where it is no address of http or https.
    pub(super) fn parse(text: &str) -> Option<Pasted> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        let known = [("davs://", "https://"), ("webdavs://", "https://"), ("dav://", "http://"), ("webdav://", "http://")];
        let text = match known.iter().find(|(prefix, _)| lower.starts_with(prefix)) {
            Some((prefix, scheme)) => [scheme, text.get(prefix.len()..)?].concat(),
            None if text.contains("://") => text.to_owned(),
            None => ["https://", text].concat(),
        };
        let mut url = Url::parse(&text).ok()?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return None;
        }
        let decode = |text: &str| Secret::new(percent_decode_str(text).decode_utf8_lossy().into_owned());
        let login = (!url.username().is_empty()).then(|| decode(url.username()));
        let password = url.password().map(decode);
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        url.set_fragment(None);
        let link = link_of(&url);
        Some(Pasted { login, password, url, link })
    }
}

fn link_of(url: &Url) -> Option<Link> {
    let segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    // ownCloud 7: /public.php?service=files&t=TOKEN
    if segments.last() == Some(&"public.php") {
        let token = url.query_pairs().find(|(key, _)| key == "t").map(|(_, value)| value.into_owned())?;
        return found(url, segments.get(..segments.len().checked_sub(1)?)?, &token, &[]);
    }
    let patterns: [&[&str]; 6] = [
        &["index.php", "s"],
        &["public.php", "dav", "files"],
        &["remote.php", "dav", "public-files"],
        &["dav", "public-files"],
        &["index.php", "apps", "files_sharing", "publicpreview"],
        &["s"],
    ];
    for pattern in patterns {
        for start in 0..segments.len() {
            let rest = segments.get(start..)?;
            if let Some([token, below @ ..]) = rest.strip_prefix(pattern) {
                // What follows a page's token is a view of it, not a folder in it.
                let page = pattern.last() == Some(&"s") || pattern.last() == Some(&"publicpreview");
                return found(url, segments.get(..start)?, token, if page { &[] } else { below });
            }
        }
    }
    None
}

fn found(url: &Url, prefix: &[&str], token: &str, below: &[&str]) -> Option<Link> {
    let token = percent_decode_str(token).decode_utf8().ok()?;
    let fits = (1..=128).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if !fits {
        return None;
    }
    let mut root = url.clone();
    root.set_query(None);
    let mut path = String::from("/");
    for segment in prefix {
        path.push_str(segment);
        path.push('/');
    }
    root.set_path(&path);
    Some(Link { root, token: Secret::new(token), below: below.join("/") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, root: &str, token: &str, below: &str) {
        let link = Pasted::parse(text).unwrap().link.unwrap_or_else(|| panic!("{text} is a link"));
        assert_eq!((link.root.as_str(), link.token.expose(), link.below.as_str()), (root, token, below), "{text}");
    }

    #[test]
    fn links_of_every_vintage_are_known() {
        check("https://a.example/s/Tok3n", "https://a.example/", "Tok3n", "");
        check("a.example/index.php/s/Tok3n/", "https://a.example/", "Tok3n", "");
        check("https://a.example/owncloud/index.php/s/Tok3n/download", "https://a.example/owncloud/", "Tok3n", "");
        check("https://a.example/nc/s/Tok3n?path=%2Fsub", "https://a.example/nc/", "Tok3n", "");
        check("http://a.example:8080/oc/public.php?service=files&t=0123456789abcdef", "http://a.example:8080/oc/", "0123456789abcdef", "");
        check("https://a.example/public.php/dav/files/Tok3n/sub/", "https://a.example/", "Tok3n", "sub");
        check("https://a.example/remote.php/dav/public-files/Tok3n", "https://a.example/", "Tok3n", "");
        check("davs://a.example/dav/public-files/Tok3n/x", "https://a.example/", "Tok3n", "x");
    }

    #[test]
    fn user_and_password_never_stay_in_the_url() {
        let pasted = Pasted::parse("https://me%40home:p%3Aw@a.example/dav/x").unwrap();
        assert_eq!(pasted.url.as_str(), "https://a.example/dav/x");
        assert_eq!(pasted.login.unwrap().expose(), "me@home");
        assert_eq!(pasted.password.unwrap().expose(), "p:w");
        assert!(pasted.link.is_none());
    }

    #[test]
    fn f8_other_schemes_are_no_addresses() {
        for text in ["file:///etc/passwd", "gopher://a.example/", "unix:///run/x", "ftp://a.example/", "https://", ""] {
            assert!(Pasted::parse(text).is_none(), "{text}");
        }
    }
}
