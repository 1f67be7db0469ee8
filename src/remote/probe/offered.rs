//! A share that another server offered: what stands at its address, and how its secret is taken there.

use url::Url;

use super::Nothing;
use crate::domain::{AuthScheme, Kind, Secret, Vendor};
use crate::remote::{Credentials, ProbeFault, Remotes};

/// An offered share that opens.
#[derive(Debug, Clone)]
pub struct Opened {
    /// URL of its WebDAV root, without credentials.
    pub url: String,
    /// What the server is.
    pub vendor: Vendor,
    /// File or collection.
    pub kind: Kind,
    /// How the secret is taken.
    pub scheme: AuthScheme,
}

impl Remotes {
    /// Asks for the root of an offered share, in each of the ways until one is taken. `server` is the URL of the server, without a slash at
    /// its end: by it the vendor is known.
    ///
    /// # Errors
    /// Why it does not open.
    pub async fn open_offered(&self, server: &str, url: &str, secret: &Secret, ways: &[AuthScheme]) -> Result<Opened, ProbeFault> {
        let place = Url::parse(url).map_err(|_error| ProbeFault::NotAnAddress)?;
        let mut seen = Nothing::Absent;
        for scheme in ways {
            match self.look(&place, Some(Credentials::of_offer(secret.clone(), *scheme).at_server(server))).await? {
                Ok((url, own)) => {
                    let root = Url::parse(&[server, "/"].concat()).map_err(|_error| ProbeFault::NotAnAddress)?;
                    // A plain WebDAV folder may be offered, too; what is not known to be of the family is treated with care.
                    let status = if own.id.is_some() { self.status(&root).await.unwrap_or_default() } else { Default::default() };
                    let kind = if own.collection == Some(true) { Kind::Collection } else { Kind::File };
                    return Ok(Opened { url: url.to_string(), vendor: status.vendor(), kind, scheme: *scheme });
                }
                Err(nothing) => seen = nothing,
            }
            if seen != Nothing::Refused {
                break;
            }
        }
        Err(match seen {
            Nothing::Refused | Nothing::Absent => ProbeFault::NotFound,
            Nothing::UploadOnly => ProbeFault::UploadOnly,
            Nothing::SwitchedOff => ProbeFault::SharingSwitchedOff,
            Nothing::Busy => ProbeFault::Busy,
            Nothing::Redirected => ProbeFault::TooManyRedirects,
            Nothing::Strange => ProbeFault::NotWebdav,
        })
    }
}
