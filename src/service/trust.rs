//! What the administrator decides about other servers: certificates, authorities, private networks. It holds from the next connection on.

use super::Refusal;
use super::admin::RemoteRow;
use super::mounts::Mounting;
use super::passwords::hex;
use super::refusal::Result;
use crate::domain::RemoteTrust;
use crate::store::{Batch, Record as _};

impl Mounting {
    /// What is decided, by host.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn trusts(&self) -> Result<Vec<RemoteRow>> {
        let rows = self.store.list::<RemoteTrust>()?.into_iter().map(|trust| RemoteRow {
            host: trust.host,
            fingerprints: trust.fingerprints.iter().map(|fingerprint| hex(fingerprint)).collect(),
            authorities: trust.authorities.len(),
            allow_private: trust.allow_private,
        });
        Ok(rows.collect())
    }

    /// Trusts a certificate by its fingerprint, or authorities, for one host.
    ///
    /// # Errors
    /// Where host or fingerprint cannot be read, or nothing is to be trusted.
    pub async fn trust(&self, host: &str, fingerprint: Option<&str>, authorities: Vec<Vec<u8>>) -> Result<()> {
        let fingerprint = fingerprint.map(parse_fingerprint).transpose()?;
        if fingerprint.is_none() && authorities.is_empty() {
            return Err(Refusal::usage("give --fingerprint or --ca: what is to be trusted"));
        }
        self.decide(host, |trust| {
            trust.fingerprints.extend(fingerprint.filter(|new| !trust.fingerprints.contains(new)));
            let new: Vec<_> = authorities.into_iter().filter(|new| !trust.authorities.contains(new)).collect();
            trust.authorities.extend(new);
        })
        .await
    }

    /// Lets one host stand in a private network, on loopback or link-local.
    ///
    /// # Errors
    /// Where the host cannot be read.
    pub async fn allow_private(&self, host: &str) -> Result<()> {
        self.decide(host, |trust| trust.allow_private = true).await
    }

    /// Forgets what was decided about a host.
    ///
    /// # Errors
    /// Where nothing was decided.
    pub async fn forget(&self, host: &str) -> Result<()> {
        let host = parse_host(host)?;
        if self.store.get::<RemoteTrust>(host.as_bytes())?.is_none() {
            return Err(Refusal::not_found(format!("nothing is decided about {host}; `causeway remote list` shows what is")));
        }
        self.store.commit(Batch::new().delete::<RemoteTrust>(host.as_bytes())).await?;
        tracing::info!(remote.host = host, "trust in a remote was removed");
        self.apply_trust()
    }

    async fn decide(&self, host: &str, change: impl FnOnce(&mut RemoteTrust)) -> Result<()> {
        let host = parse_host(host)?;
        let none = RemoteTrust { host: host.clone(), fingerprints: Vec::new(), authorities: Vec::new(), allow_private: false };
        let mut trust = self.store.get::<RemoteTrust>(host.as_bytes())?.unwrap_or(none);
        change(&mut trust);
        debug_assert_eq!(trust.key(), host.as_bytes());
        self.store.commit(Batch::new().put(&trust)).await?;
        tracing::info!(remote.host = host, "trust in a remote was changed");
        self.apply_trust()
    }

    pub(super) fn apply_trust(&self) -> Result<()> {
        self.remotes.set_trust(self.store.list::<RemoteTrust>()?);
        Ok(())
    }
}

/// `host[:port]`, lower case; a URL's scheme and path are taken off, because people paste URLs.
pub(super) fn parse_host(text: &str) -> Result<String> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(&text);
    let host = text.split('/').next().unwrap_or_default();
    let fits = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    if fits { Ok(host.to_owned()) } else { Err(Refusal::usage(format!("a host is written host or host:port, not `{text}`"))) }
}

/// SHA-256 as 64 hexadecimal digits, with or without colons and the words before it.
fn parse_fingerprint(text: &str) -> Result<[u8; 32]> {
    let wrong = || Refusal::usage("a fingerprint is the SHA-256 of the certificate: 64 hexadecimal digits, with or without colons");
    let text = text.rsplit('=').next().unwrap_or(text);
    let text = text.get(..7).filter(|start| start.eq_ignore_ascii_case("sha256:")).map_or(text, |_| text.get(7..).unwrap_or_default());
    let digits: String = text.chars().filter(|sign| !matches!(sign, ':' | ' ')).collect();
    if digits.len() != 64 || !digits.is_ascii() {
        return Err(wrong());
    }
    let mut bytes = [0; 32];
    for (position, byte) in bytes.iter_mut().enumerate() {
        let pair = digits.get(position * 2..position * 2 + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_error| wrong())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_people_paste_them() {
        assert_eq!(parse_host("Example.ORG:8443").unwrap(), "example.org:8443");
        assert_eq!(parse_host("https://example.org/s/TOKEN").unwrap(), "example.org");
        assert_eq!(parse_host("[::1]:8443").unwrap(), "[::1]:8443");
        assert!(parse_host("").is_err() && parse_host("a b").is_err() && parse_host("user@host").is_err());
    }

    #[test]
    fn fingerprints_are_read_as_tools_print_them() {
        let plain = "ab".repeat(32);
        assert_eq!(parse_fingerprint(&plain).unwrap(), [0xab; 32]);
        let colons = ["AB"; 32].join(":");
        for text in [colons.clone(), format!("SHA256:{plain}"), format!("sha256 Fingerprint={colons}")] {
            assert_eq!(parse_fingerprint(&text).unwrap(), [0xab; 32], "{text}");
        }
        assert!(parse_fingerprint("abcd").is_err() && parse_fingerprint(&"zz".repeat(32)).is_err());
    }
}
