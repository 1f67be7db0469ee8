//! Which addresses may be called: public ones, unless the administrator allowed the host. Checked for IP literals in the URL and, by the
//! resolver, for every connection (attack F8).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::timeout;
use url::{Host, Url};

use crate::domain::CloudId;
use crate::remote::Remotes;

/// How long the addresses of a name are waited for.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Where addresses of names come from.
#[derive(Debug, Clone, Default)]
pub enum Names {
    /// The machine's resolver.
    #[default]
    System,
    /// A fixed table, for tests; every other name is unknown.
    Fixed(Arc<HashMap<String, Vec<IpAddr>>>),
}

impl Names {
    /// The addresses of a name, private ones too.
    pub(super) async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            Names::System => Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()),
            Names::Fixed(table) => table.get(name).cloned().ok_or_else(|| io::Error::other(UnknownName)),
        }
    }
}

impl Remotes {
    /// Whether an address is one of those that the name of a server leads to. Nothing is asked of that server.
    ///
    /// # Errors
    /// Where the name leads nowhere now.
    pub async fn is_at(&self, server: &CloudId, address: IpAddr) -> io::Result<bool> {
        let url = Url::parse(&server.url()).map_err(io::Error::other)?;
        let found = match url.host() {
            Some(Host::Ipv4(own)) => vec![IpAddr::V4(own)],
            Some(Host::Ipv6(own)) => vec![IpAddr::V6(own)],
            Some(Host::Domain(name)) => timeout(LOOKUP_TIMEOUT, self.inner.names.lookup(name)).await??,
            None => Vec::new(),
        };
        Ok(found.iter().any(|own| own.to_canonical() == address.to_canonical()))
    }
}

/// The resolver found private addresses only.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to a private address")]
pub(super) struct PrivateAddress;

/// The name is not known.
#[derive(Debug, thiserror::Error)]
#[error("the name is not known")]
struct UnknownName;

/// Resolves names for one origin and leaves private addresses out.
pub(super) struct Guard {
    pub(super) names: Names,
    pub(super) allow_private: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, allow_private) = (self.names.clone(), self.allow_private);
        Box::pin(async move {
            let found = names.lookup(name.as_str()).await?;
            let found: Vec<SocketAddr> = found.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            let known = !found.is_empty();
            let usable: Vec<SocketAddr> = found.into_iter().filter(|address| allow_private || is_public(address.ip())).collect();
            if usable.is_empty() && known {
                return Err(PrivateAddress.into());
            }
            Ok(Box::new(usable.into_iter()) as Addrs)
        })
    }
}

/// Whether the host of a URL is a private address literal. Names are judged when they are resolved.
pub(super) fn is_private_literal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => !is_public(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => !is_public(IpAddr::V6(address)),
        Some(Host::Domain(name)) => is_localhost(name),
        None => true,
    }
}

/// Loopback by name (RFC 6761 6.3), whatever the resolver makes of it.
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether an address belongs to the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocol = a == 192 && b == 0 && (c == 0 || c == 2);
    let relay = a == 192 && b == 88 && c == 99;
    let benchmark = a == 198 && (b == 18 || b == 19);
    let documentation = (a == 198 && b == 51 && c == 100) || (a == 203 && b == 0 && c == 113);
    let private = address.is_private() || address.is_loopback() || address.is_link_local() || address.is_multicast();
    !(a == 0 || a >= 240 || private || shared || protocol || relay || benchmark || documentation)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    // An IPv4 address inside: mapped, compatible, NAT64 (RFC 6052, and its local prefix), 6to4; Teredo is refused as a whole.
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0 | 0xffff) | (0, 0, 0, 0, 0xffff, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => return is_public_v4(v4(g, h)),
        (0x64, 0xff9b, ..) | (0x2001, 0, ..) => return false,
        (0x2002, ..) => return is_public_v4(v4(b, c)),
        _ => {}
    }
    // Global unicast is 2000::/3; documentation (2001:db8::/32, 3fff::/20), benchmarks and ORCHID lie in it.
    let global = a & 0xe000 == 0x2000;
    let reserved = a == 0x2001 && (b == 0xdb8 || b < 0x200) || a == 0x3fff && b < 0x1000;
    global && !reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, private: bool) {
        assert_eq!(is_private_literal(&Url::parse(url).unwrap()), private, "{url}");
    }

    #[test]
    fn f8_private_addresses_are_known_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0.0.0.0",
            "0",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "0x7f000001",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd12::1]",
            "[ff02::1]",
            "[2001:db8::1]",
            "[2001::1]",
            "[fec0::1]",
        ] {
            check(&format!("http://{host}/"), true);
        }
    }

    #[test]
    fn public_addresses_may_be_called() {
        for host in
            ["9.9.9.9", "93.184.216.34", "[2606:4700::1111]", "[2a00:1450::1]", "[::ffff:9.9.9.9]", "[64:ff9b::909:909]", "cloud.example"]
        {
            check(&format!("https://{host}/"), false);
        }
    }

    #[tokio::test]
    async fn f8_a_name_that_leads_to_a_private_address_is_refused() {
        let table = HashMap::from([
            ("rebound.example".to_owned(), vec!["127.0.0.1".parse().unwrap()]),
            ("both.example".to_owned(), vec!["10.0.0.1".parse().unwrap(), "9.9.9.9".parse().unwrap()]),
        ]);
        let guard = |allow_private| Guard { names: Names::Fixed(Arc::new(table.clone())), allow_private };
        let name = |text: &str| text.parse::<Name>().unwrap();
        let refused = guard(false).resolve(name("rebound.example")).await.err().unwrap();
        assert!(refused.downcast_ref::<PrivateAddress>().is_some());
        let kept: Vec<SocketAddr> = guard(false).resolve(name("both.example")).await.unwrap().collect();
        assert_eq!(kept, ["9.9.9.9:0".parse().unwrap()]);
        assert_eq!(guard(true).resolve(name("rebound.example")).await.unwrap().count(), 1);
    }
}
