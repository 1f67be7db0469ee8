//! Sockets: TCP, IPv6 and unix, bound before anything is served.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::config::Listen;

/// Why a server cannot listen; says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has the port.
    #[error("{0} is in use by another program; choose another address with --listen, or stop that program")]
    Busy(String),
    /// The port is below 1024, or the folder of the socket is somebody else's.
    #[error("this user may not listen on {0}; ports below 1024 need CAP_NET_BIND_SERVICE")]
    NotAllowed(String),
    /// Anything else.
    #[error("cannot listen on {address}")]
    Other {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Pending connections per socket.
const BACKLOG: u32 = 1024;

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket; its file is removed at the end.
    Unix(UnixListener, SocketFile),
}

/// A file of a unix socket, removed when dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already, which is as well.
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// A connection that was accepted, and from where.
#[derive(Debug)]
pub enum Accepted {
    /// By TCP.
    Tcp(TcpStream, SocketAddr),
    /// By a unix socket.
    Unix(UnixStream),
}

impl Listener {
    /// Binds an address. `others` are the rest of the addresses: `[::]` leaves IPv4 alone where `0.0.0.0` has the same port.
    pub fn bind(address: &Listen, others: &[Listen]) -> Result<Listener, Error> {
        let bound = match address {
            Listen::Tcp(tcp) => bind_tcp(*tcp, others).map(Listener::Tcp),
            Listen::Unix(path) => bind_unix(path, 0o660).map(|(listener, file)| Listener::Unix(listener, file)),
        };
        bound.map_err(|source| {
            let address = address.to_string();
            if source.kind() == io::ErrorKind::AddrInUse {
                Error::Busy(address)
            } else if source.kind() == io::ErrorKind::PermissionDenied {
                Error::NotAllowed(address)
            } else {
                Error::Other { address, source }
            }
        })
    }

    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> io::Result<Listen> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Listener::Unix(_, file) => Ok(Listen::Unix(file.0.clone())),
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, address))
            }
            Listener::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

fn bind_tcp(address: SocketAddr, others: &[Listen]) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    let twin = |other: &Listen| match other {
        Listen::Tcp(other) => other.is_ipv4() && other.port() == address.port(),
        Listen::Unix(_) => false,
    };
    if address.ip() == IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) && others.iter().any(twin) {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Binds a unix socket with a mode. A file that a dead server left is taken over; a living one makes the address busy.
pub fn bind_unix(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            std::fs::remove_file(path)?;
        }
        // Never remove what is no socket.
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile(path.to_owned());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok((listener, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_port_says_so() {
        let first = Listener::bind(&Listen::loopback_any_port(), &[]).unwrap();
        let error = Listener::bind(&first.address().unwrap(), &[]).unwrap_err();
        assert!(matches!(error, Error::Busy(_)), "{error}");
    }

    #[tokio::test]
    async fn a_socket_of_a_dead_server_is_taken_over_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (living, file) = bind_unix(&path, 0o600).unwrap();
        assert_eq!(bind_unix(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop((living, file));
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        assert_eq!(bind_unix(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists(), "what is no socket stays");
    }
}
