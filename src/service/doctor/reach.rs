//! Name, connection and TLS: everything below HTTP.

use std::io;
use std::net::SocketAddr;

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use super::{Doctor, Fault, Report, Stage};
use crate::domain::Timestamp;
use crate::remote::{BadCertificate, NoAddress, TlsFault};
use crate::wire::date::iso_date;

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Days before the end of a certificate at which somebody should know.
const RENEW_DAYS: i64 = 14;
const DAY_SECONDS: i64 = 24 * 3600;

/// Looks whether the server of a URL can be reached; none where it cannot. The address that answered first is given.
pub(super) async fn look(doctor: &Doctor, url: &Url, report: &mut Report) -> Option<SocketAddr> {
    let host = url.host_str().unwrap_or_default();
    report.host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let addresses = match doctor.remotes.addresses_of(url).await {
        Ok(addresses) => addresses,
        Err(NoAddress::Unknown) => return ended(report, Fault::NoSuchName, host),
        Err(NoAddress::Silent) => return ended(report, Fault::NameServerSilent, ""),
        Err(NoAddress::Private(found)) => return ended(report, Fault::PrivateAddress, &format!("{host} is {}", shown(&found))),
    };
    report.ok(Stage::Dns, format!("{host} is {}", shown(&addresses)));
    let address = connections(doctor, &addresses, report).await?;
    if url.scheme() == "https" {
        tls(doctor, url, address, report).await?;
    }
    Some(address)
}

fn ended<T>(report: &mut Report, fault: Fault, detail: &str) -> Option<T> {
    report.add_with(fault, detail);
    None
}

fn shown(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ")
}

/// Tries every address, for clients take any of them.
async fn connections(doctor: &Doctor, addresses: &[SocketAddr], report: &mut Report) -> Option<SocketAddr> {
    let patience = doctor.patience.timeouts.connect;
    let tries = addresses.iter().take(ADDRESSES_MAX).map(|address| async move {
        let connected = timeout(patience, TcpStream::connect(address)).await;
        (*address, connected.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())).err().map(|error| fault_of(&error)))
    });
    let tries = join_all(tries).await;
    let open = tries.iter().find(|(_, fault)| fault.is_none()).map(|(address, _)| *address);
    let dead: Vec<(SocketAddr, Fault)> = tries.into_iter().filter_map(|(address, fault)| Some((address, fault?))).collect();
    let Some(open) = open else {
        let (address, fault) = dead.first()?;
        return ended(report, *fault, &format!("port {}", address.port()));
    };
    report.ok(Stage::Tcp, format!("port {} is open", open.port()));
    for (address, _) in dead {
        let fault = if address.is_ipv6() && open.is_ipv4() { Fault::Ipv6Dead } else { Fault::AddressDead };
        report.add_with(fault, &address.ip().to_string());
    }
    Some(open)
}

fn fault_of(error: &io::Error) -> Fault {
    let kind = error.kind();
    match () {
        () if kind == io::ErrorKind::TimedOut => Fault::PortSilent,
        () if matches!(kind, io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::AddrNotAvailable) => {
            Fault::NoRoute
        }
        () => Fault::PortRefused,
    }
}

async fn tls(doctor: &Doctor, url: &Url, address: SocketAddr, report: &mut Report) -> Option<()> {
    let fault = match doctor.remotes.shake_hands(url, address).await {
        Ok(shaken) => {
            report.ok(Stage::Tls, "the certificate is trusted");
            let left = shaken.not_after.map(|end| end.saturating_sub(doctor.now) / DAY_SECONDS);
            if let Some(days) = left.filter(|days| *days < RENEW_DAYS) {
                report.add_with(Fault::CertificateEndsSoon, &format!("in {days} days"));
            }
            return Some(());
        }
        Err(fault) => fault,
    };
    // Servers of plain http close or answer in plain text what is no http to them.
    let plain = matches!(fault, TlsFault::NotTls | TlsFault::Closed | TlsFault::Silent) && doctor.remotes.speaks_http(url, address).await;
    let (fault, detail) = if plain { (Fault::PlainHttpPort, String::new()) } else { explained(fault) };
    ended(report, fault, &detail)
}

/// What a fault of TLS is called, and what is known of it.
pub(super) fn explained(fault: TlsFault) -> (Fault, String) {
    let (why, fingerprint) = match fault {
        TlsFault::Certificate { why, fingerprint } => (why, fingerprint),
        TlsFault::TooOld => return (Fault::TlsTooOld, String::new()),
        TlsFault::Closed => return (Fault::TlsClosed, String::new()),
        TlsFault::Silent => return (Fault::TlsSilent, String::new()),
        TlsFault::NotTls => return (Fault::NotTls, String::new()),
    };
    let hex: String = fingerprint.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
    let sha256 = if hex.is_empty() { String::new() } else { format!("its SHA-256 is {hex}") };
    match why {
        BadCertificate::Expired(end) => (Fault::CertificateExpired, end.map(|end| format!("on {}", day(end))).unwrap_or_default()),
        BadCertificate::NotYetValid => (Fault::CertificateNotYetValid, String::new()),
        BadCertificate::OtherName(names) if names.is_empty() => (Fault::CertificateOtherName, String::new()),
        BadCertificate::OtherName(names) => (Fault::CertificateOtherName, format!("for {}", names.join(", "))),
        BadCertificate::SelfSigned => (Fault::CertificateSelfSigned, sha256),
        BadCertificate::UnknownAuthority => (Fault::CertificateUnknownAuthority, sha256),
        BadCertificate::NotPinned => (Fault::CertificateNotPinned, sha256),
        BadCertificate::Unusable => (Fault::CertificateUnusable, sha256),
    }
}

fn day(time: Timestamp) -> String {
    String::from_utf8_lossy(&iso_date(time)).chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_connect_are_told_apart() {
        for (kind, fault) in [
            (io::ErrorKind::ConnectionRefused, Fault::PortRefused),
            (io::ErrorKind::TimedOut, Fault::PortSilent),
            (io::ErrorKind::NetworkUnreachable, Fault::NoRoute),
            (io::ErrorKind::HostUnreachable, Fault::NoRoute),
        ] {
            assert_eq!(fault_of(&kind.into()), fault);
        }
    }
}
