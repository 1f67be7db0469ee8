//! Addresses in the configuration: where to listen, which proxies to believe, how others reach us.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use url::Url;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// Loopback, on a port that the system chooses.
    pub fn loopback_any_port() -> Listen {
        Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Reads `host:port`, `[::1]:port`, `:port` (every address) or `unix:/path`.
    pub fn parse(text: &str) -> Result<Listen, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') {
                Ok(Listen::Unix(PathBuf::from(path)))
            } else {
                Err("needs an absolute path after `unix:`".to_owned())
            };
        }
        let text = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
        let mut addresses = text.to_socket_addrs().map_err(|_error| "is host:port, [::]:port or unix:/path".to_owned())?;
        addresses.next().map(Listen::Tcp).ok_or_else(|| "names a host without an address".to_owned())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(formatter, "{address}"),
            Listen::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// A network: an address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads `192.0.2.0/24`, `2001:db8::/32` or a single address.
    pub fn parse(text: &str) -> Result<Network, String> {
        let wrong = || "is an address or a network such as 10.0.0.0/8".to_owned();
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_error| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) => digits.parse().ok().filter(|bits| *bits <= longest).ok_or_else(wrong)?,
            None => longest,
        };
        Ok(Network { address, prefix })
    }

    /// Whether an address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                same_bits(u128::from(network.to_bits()) << 96, u128::from(address.to_bits()) << 96, self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => same_bits(network.to_bits(), address.to_bits(), self.prefix),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn same_bits(left: u128, right: u128, bits: u8) -> bool {
    let shift = 128u32.saturating_sub(u32::from(bits));
    (left ^ right).checked_shr(shift).unwrap_or(0) == 0
}

/// The URL by which others reach this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    url: Url,
}

impl PublicUrl {
    /// Reads an http or https URL, with or without a path.
    pub fn parse(text: &str) -> Result<PublicUrl, String> {
        let url = Url::parse(text).map_err(|_error| "is a URL such as https://dav.example.org/cloud".to_owned())?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
            return Err("is an http or https URL without user, query and fragment".to_owned());
        }
        Ok(PublicUrl { url })
    }

    /// The path before every root, without a slash at its end; empty for most servers.
    pub fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// Whether others come by https.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The host, with the port where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.url.as_str().trim_end_matches('/'))
    }
}
