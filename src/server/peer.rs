//! Who is at the other end: the address that counts for throttles and logs, behind proxies that are believed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};

use crate::config::Network;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// Its address; none for a unix socket.
    pub address: Option<SocketAddr>,
    /// Whether the connection is TLS.
    pub tls: bool,
}

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    /// The address that counts; `::` where a unix socket does not say.
    pub address: IpAddr,
    /// Whether the client came by https, as far as known.
    pub https: bool,
    /// Whether it runs on this machine: a loopback address that no proxy stands in front of.
    pub local: bool,
}

impl Peer {
    /// The sender of a request. Headers of proxies are believed from `trusted` networks and from unix sockets, whose file only local
    /// programs can open.
    pub(super) fn client(&self, headers: &HeaderMap, trusted: &[Network]) -> Client {
        let own = self.address.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |address| address.ip().to_canonical());
        let forwarded = headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR);
        let believed = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        if self.address.is_some() && !believed(own) {
            return Client { address: own, https: self.tls, local: own.is_loopback() && !forwarded };
        }
        let hops = if headers.contains_key(FORWARDED) { forwarded_for(headers) } else { x_forwarded_for(headers) };
        // The last hop that is no proxy of ours: what stands before it, the client itself may have written.
        let address = hops.into_iter().rev().map_while(|hop| hop).find(|hop| !believed(*hop)).unwrap_or(own);
        let https = self.tls || forwarded_proto(headers).is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        Client { address, https, local: address.is_loopback() && !forwarded }
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

fn x_forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    values(headers, &X_FORWARDED_FOR).map(node_address).collect()
}

/// The `for` parameters of `Forwarded` (RFC 7239 5.2).
fn forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    values(headers, &FORWARDED).map(|element| parameter(element, "for").and_then(node_address)).collect()
}

fn forwarded_proto(headers: &HeaderMap) -> Option<&str> {
    let standard = values(headers, &FORWARDED).last().and_then(|element| parameter(element, "proto"));
    standard.or_else(|| values(headers, &X_FORWARDED_PROTO).last())
}

fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    element.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim_matches('"'))
    })
}

/// An address with or without a port; IPv6 with a port stands in brackets.
fn node_address(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(peer: &str, header: (&str, &str), expected: &str) -> Client {
        let peer = Peer { address: Some(SocketAddr::new(peer.parse().unwrap(), 1)), tls: false };
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::try_from(header.0).unwrap(), header.1.parse().unwrap());
        let client = peer.client(&headers, &[Network::parse("10.0.0.0/8").unwrap()]);
        assert_eq!(client.address, expected.parse::<IpAddr>().unwrap());
        client
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        check("192.0.2.1", ("x-forwarded-for", "203.0.113.9"), "192.0.2.1");
        check("10.0.0.1", ("x-forwarded-for", "203.0.113.9"), "203.0.113.9");
        check("10.0.0.1", ("x-forwarded-for", "198.51.100.1, 203.0.113.9, 10.2.2.2"), "203.0.113.9");
        check("10.0.0.1", ("x-forwarded-for", "198.51.100.1, nonsense"), "10.0.0.1");
        check("10.0.0.1", ("forwarded", "for=203.0.113.9;proto=https"), "203.0.113.9");
        check("10.0.0.1", ("forwarded", "for=\"[2001:db8::1]:4711\""), "2001:db8::1");
    }

    #[test]
    fn https_is_believed_from_the_proxy_alone() {
        assert!(check("10.0.0.1", ("forwarded", "for=203.0.113.9;proto=https"), "203.0.113.9").https);
        assert!(!check("192.0.2.1", ("x-forwarded-proto", "https"), "192.0.2.1").https);
    }

    #[test]
    fn a_proxy_on_this_machine_makes_nobody_local() {
        assert!(check("127.0.0.1", ("accept", "*/*"), "127.0.0.1").local);
        assert!(!check("127.0.0.1", ("x-forwarded-for", "203.0.113.9"), "127.0.0.1").local);
    }
}
