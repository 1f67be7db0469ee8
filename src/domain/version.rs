//! The version that sync clients are told.

use std::fmt;

/// Four numbers, as `status.php` and the capabilities carry them.
///
/// It says with whose answers a client may reckon, not how old this program is: the clients of both families look at nothing else before
/// they talk to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientVersion {
    /// Before the first dot.
    pub major: u32,
    /// After the first dot.
    pub minor: u32,
    /// After the second dot.
    pub micro: u32,
    /// After the third dot; only `version` has it, `versionstring` does not.
    pub build: u32,
}

impl ClientVersion {
    /// What both families accept. The ownCloud client 2.11 warns below 10.0.0, later ones refuse below 10 (`protocol/clients.md` 2); the
    /// Nextcloud client 3.7 pauses the account below 16, and was seen to work with 16 to 32 (`protocol/nextcloud.md` 3.4). Phone apps
    /// of Nextcloud warn of servers whose support has ended, so the newest version whose answers were recorded is told, and not the
    /// smallest that would do.
    pub const DEFAULT: ClientVersion = ClientVersion { major: 32, minor: 0, micro: 1, build: 2 };

    /// Reads `32.0.1.2`; the fourth number may be left out.
    pub fn parse(text: &str) -> Option<ClientVersion> {
        let mut numbers = text.split('.').map(|number| number.parse::<u32>().ok().filter(|number| *number < 10_000));
        let version = ClientVersion {
            major: numbers.next()??,
            minor: numbers.next()??,
            micro: numbers.next()??,
            build: numbers.next().unwrap_or(Some(0))?,
        };
        numbers.next().is_none().then_some(version)
    }

    /// The first three numbers.
    pub fn short(self) -> String {
        format!("{}.{}.{}", self.major, self.minor, self.micro)
    }
}

impl fmt::Display for ClientVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}.{}", self.major, self.minor, self.micro, self.build)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_or_four_numbers() {
        assert_eq!(ClientVersion::parse("32.0.1.2"), Some(ClientVersion::DEFAULT));
        assert_eq!(ClientVersion::parse("10.15.0").unwrap().to_string(), "10.15.0.0");
        for bad in ["", "32", "32.0", "32.0.1.2.3", "32.0.x", "v32.0.1", "32.0.1.", "32.0.1 Nextcloud", "-1.0.0"] {
            assert_eq!(ClientVersion::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn both_families_accept_the_default() {
        // Below 16 the Nextcloud client pauses the account, below 10 the ownCloud client calls the server unsupported; both read the
        // short form, which must not end in a word.
        assert!(ClientVersion::DEFAULT >= ClientVersion::parse("16.0.0").unwrap());
        assert!(ClientVersion::DEFAULT.short().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
    }
}
