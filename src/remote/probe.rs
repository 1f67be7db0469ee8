//! Finds out what a pasted address is, and says plainly why it cannot be mounted.

use http::{Method, StatusCode};
use url::Url;

use crate::domain::{Kind, Name, Permissions, Secret, Vendor};
use crate::remote::call::Call;
use crate::remote::link::{Link, Pasted};
use crate::remote::share::{Asked, Depth, Share, read_listing};
use crate::remote::{Credentials, Error, Fingerprint, Remotes, Traits};
use crate::wire::multistatus::reader::{Bounds, Properties};
use crate::wire::{CONTAINS_HEADER, Via};

mod offered;
mod page;
mod share_info;

pub use offered::Opened;
pub use page::LinkState;
use page::Page;
use share_info::{ShareInfo, has_share_info};

/// A share that can be mounted.
#[derive(Debug, Clone)]
pub struct Probe {
    /// URL of its WebDAV root, without credentials.
    pub dav_url: String,
    /// User name for Basic; empty where none is needed.
    pub login: Secret,
    /// Password for Basic; may be empty.
    pub password: Secret,
    /// What the server is.
    pub vendor: Vendor,
    /// File or collection.
    pub kind: Kind,
    /// The name that its owner gave it, or the host's.
    pub name: String,
    /// Its owner, as far as known.
    pub owner: String,
    /// The link's page.
    pub page: Option<String>,
    /// What it grants.
    pub permissions: Permissions,
}

/// Why an address cannot be mounted: one plain sentence each, with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFault {
    /// The text is no address.
    #[error("this is not an address: paste a link such as https://cloud.example/s/TOKEN, or a WebDAV address")]
    NotAnAddress,
    /// There is no such link or folder.
    #[error("there is nothing at this address: the link may have been withdrawn or have expired; ask its owner for a new one")]
    NotFound,
    /// A password is needed.
    #[error("this needs a password: give it with --password-stdin, and for an account put the user name in front (https://NAME@host/...)")]
    NeedsPassword,
    /// The password is wrong.
    #[error("the password or the user name is wrong: ask the owner for the right one")]
    WrongPassword,
    /// The certificate is not trusted.
    #[error(
        "the certificate of {host} is not trusted; its SHA-256 fingerprint is {}; if the owner confirms it: \
         causeway remote trust {host} --fingerprint {}", hex(.fingerprint), hex(.fingerprint)
    )]
    UntrustedCertificate {
        /// `host[:port]`.
        host: String,
        /// The certificate's fingerprint.
        fingerprint: Fingerprint,
    },
    /// The address is private.
    #[error("{host} has a private address, which is refused; to allow it: causeway remote allow-private {host}")]
    PrivateAddress {
        /// `host[:port]`.
        host: String,
    },
    /// A link for uploads only.
    #[error("this link takes uploads only and cannot be listed, so it cannot be mounted: ask its owner for a link that can be read")]
    UploadOnly,
    /// The other server does not let its links be mounted.
    #[error("the other server does not let other servers mount its links: ask its administrator to allow it (outgoing federated sharing)")]
    SharingSwitchedOff,
    /// ownCloud 7 and a link to a file (`protocol/owncloud.md` 2.5).
    #[error(
        "this is a link to a single file, and its server is too old to give single files to other servers: ask its owner for a link to the \
         folder that holds it"
    )]
    SingleFile,
    /// We, or others behind our address, asked too often.
    #[error("the other server takes no more tries from here for now, after too many or too many wrong ones: wait an hour, then try again")]
    Throttled,
    /// Not a WebDAV server.
    #[error("there is a web server at this address, but no WebDAV share: paste the link itself or the WebDAV address")]
    NotWebdav,
    /// No answer.
    #[error("the other server does not answer: check the address, or try again later")]
    Unreachable,
    /// The other server has a passing fault.
    #[error("the other server cannot answer now: try again later")]
    Busy,
    /// It is our own.
    #[error("this leads back to this server: a server cannot mount its own shares")]
    Loop,
    /// It leads elsewhere.
    #[error("the other server redirects to another place: paste the address to which it leads")]
    TooManyRedirects,
}

fn hex(fingerprint: &Fingerprint) -> String {
    fingerprint.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ProbeFault {
    /// The fault as those may see it who do not administer the server: whether a port is closed, filtered, speaks TLS or belongs to a
    /// private address is not told, so that nobody scans a network through us (attack F9).
    pub fn for_users(self) -> ProbeFault {
        match self {
            ProbeFault::UntrustedCertificate { .. }
            | ProbeFault::PrivateAddress { .. }
            | ProbeFault::Unreachable
            | ProbeFault::TooManyRedirects
            | ProbeFault::Busy
            | ProbeFault::NotWebdav => ProbeFault::Unreachable,
            ProbeFault::NotAnAddress
            | ProbeFault::NotFound
            | ProbeFault::NeedsPassword
            | ProbeFault::WrongPassword
            | ProbeFault::UploadOnly
            | ProbeFault::SharingSwitchedOff
            | ProbeFault::SingleFile
            | ProbeFault::Throttled
            | ProbeFault::Loop => self,
        }
    }

    /// What an error means that ends the search at once; none where another place may still answer.
    fn fatal(error: &Error, url: &Url) -> Option<ProbeFault> {
        let host = || {
            let host = url.host_str().unwrap_or_default().to_owned();
            url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
        };
        match error {
            Error::Unreachable { .. } | Error::Untrusted(None) => Some(ProbeFault::Unreachable),
            Error::Untrusted(Some(fingerprint)) => Some(ProbeFault::UntrustedCertificate { host: host(), fingerprint: *fingerprint }),
            Error::NotAllowed => Some(ProbeFault::PrivateAddress { host: host() }),
            Error::Loop => Some(ProbeFault::Loop),
            Error::Throttled { .. } => Some(ProbeFault::Throttled),
            Error::SharingOff
            | Error::BadAnswer(_)
            | Error::Redirected
            | Error::Unauthorized
            | Error::Forbidden
            | Error::NotFound
            | Error::Unsupported
            | Error::Conflict
            | Error::PreconditionFailed
            | Error::Locked
            | Error::Full
            | Error::Busy { .. }
            | Error::Rejected(_)
            | Error::Changed
            | Error::SourceBroken => None,
        }
    }
}

/// `status.php` of the ownCloud family.
#[derive(Debug, Default)]
pub(super) struct Status {
    pub(super) version: String,
    productname: String,
    product: String,
    maintenance: bool,
}

impl Status {
    /// Reads it leniently: ownCloud 7 says `"true"` where others say `true`, and one odd field must not make a server unknown.
    pub(super) fn read(page: &[u8]) -> Status {
        let told: serde_json::Value = serde_json::from_slice(page).unwrap_or_default();
        let text = |name: &str| told.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Status {
            version: text("version"),
            productname: text("productname"),
            product: text("product"),
            maintenance: text("maintenance") == "true" || told.get("maintenance").and_then(serde_json::Value::as_bool) == Some(true),
        }
    }

    fn of_causeway() -> Status {
        Status { version: "1".to_owned(), productname: "Causeway".to_owned(), ..Status::default() }
    }

    pub(super) fn vendor(&self) -> Vendor {
        let text = [&self.productname, " ", &self.product].concat().to_ascii_lowercase();
        let named = |name: &str| text.contains(name);
        match () {
            () if self.version.is_empty() => Vendor::Other,
            () if named("causeway") => Vendor::Causeway,
            () if named("nextcloud") => Vendor::Nextcloud,
            () if named("infinite scale") || named("ocis") || named("opencloud") => Vendor::Ocis,
            () => Vendor::OwnCloud,
        }
    }
}

/// What a place answered that is not the share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nothing {
    Refused,
    Absent,
    UploadOnly,
    SwitchedOff,
    Busy,
    Redirected,
    Strange,
}

impl Remotes {
    /// Finds out what a pasted text leads to. The password of a link or an account may come with it.
    ///
    /// # Errors
    /// The [`ProbeFault`] that says why it cannot be mounted.
    pub async fn probe(&self, text: &str, password: Option<Secret>) -> Result<Probe, ProbeFault> {
        let pasted = Pasted::parse(text).ok_or(ProbeFault::NotAnAddress)?;
        let password = password.or_else(|| pasted.password.clone());
        let Some(link) = &pasted.link else { return self.probe_plain(&pasted, password).await };
        let status = self.status(&link.root).await?;
        match self.probe_link(link, &status, password.clone()).await {
            // A folder named `s` somewhere on a plain WebDAV server looks like a link too.
            Err(ProbeFault::NotFound | ProbeFault::NotWebdav) if status.vendor() == Vendor::Other => {
                let plain = self.probe_plain(&pasted, password).await;
                plain.map_err(|fault| if fault == ProbeFault::NotWebdav { ProbeFault::NotFound } else { fault })
            }
            outcome => outcome,
        }
    }

    async fn status(&self, root: &Url) -> Result<Status, ProbeFault> {
        let Ok(url) = root.join("status.php") else { return Ok(Status::default()) };
        let via = Via::default();
        let page = match self.call(Call::new(Method::GET, url.clone(), None, &via)).await {
            // A Causeway has no status.php, but says who it is to its like.
            Ok(answer) if answer.headers().contains_key(CONTAINS_HEADER) => return Ok(Status::of_causeway()),
            Ok(answer) if answer.status() == StatusCode::OK => answer.page(self).await.unwrap_or_default(),
            Ok(_) => Vec::new(),
            Err(error) => match ProbeFault::fatal(&error, &url) {
                Some(fault) => return Err(fault),
                None => Vec::new(),
            },
        };
        Ok(Status::read(&page))
    }

    async fn probe_link(&self, link: &Link, status: &Status, password: Option<Secret>) -> Result<Probe, ProbeFault> {
        if status.maintenance {
            return Err(ProbeFault::Busy);
        }
        let mut seen = Vec::new();
        let given = password.is_some();
        let password = password.unwrap_or_default();
        for (place, login) in places(link, status.vendor()) {
            let Ok(url) = link.root.join(&place) else { continue };
            let credentials = Credentials::basic(login, password.clone());
            match self.look(&url, Some(credentials.clone())).await? {
                Ok((url, own)) => {
                    let mut page = self.page(link).await.ok();
                    // A page that asks for a password does not say how the link is called.
                    if let Some(page) = page.as_mut().filter(|page| page.name.is_none() && own.display_name.is_none())
                        && has_share_info(status.vendor())
                        && let Ok(ShareInfo::Found { name, .. }) = self.share_info(link, &credentials.password).await
                    {
                        page.name = name;
                    }
                    return Ok(self.found(url, own, Some(&credentials), status.vendor(), page, Some(link)));
                }
                Err(nothing) => seen.push(nothing),
            }
        }
        Err(self.why_no_place(link, status.vendor(), given.then_some(&password), &seen).await)
    }

    /// Why no place had the share, from what the places said, the link's page and, where there is one, its shareinfo.
    async fn why_no_place(&self, link: &Link, vendor: Vendor, given: Option<&Secret>, seen: &[Nothing]) -> ProbeFault {
        let saw = |nothing| seen.contains(&nothing);
        if saw(Nothing::UploadOnly) {
            return ProbeFault::UploadOnly;
        }
        let wants_password = if given.is_some() { ProbeFault::WrongPassword } else { ProbeFault::NeedsPassword };
        // oCIS shows every token the same page, which asks the server by script.
        let page = if vendor == Vendor::Ocis { Err(Error::Unsupported) } else { self.page(link).await };
        let state = page.map(|page| page.state);
        let silent = saw(Nothing::SwitchedOff);
        let asks = matches!(state, Ok(LinkState::Open | LinkState::Protected)) && has_share_info(vendor) && (given.is_some() || silent);
        let info = if asks { self.share_info(link, given.unwrap_or(&Secret::default())).await.ok() } else { None };
        match (state, info) {
            (Ok(LinkState::Gone), _) => ProbeFault::NotFound,
            (_, Some(ShareInfo::Found { kind: Some(Kind::File), .. })) if silent => ProbeFault::SingleFile,
            (Ok(LinkState::Protected), Some(ShareInfo::Refused)) => ProbeFault::WrongPassword,
            (Ok(LinkState::Protected), _) if given.is_none() => ProbeFault::NeedsPassword,
            (_, Some(ShareInfo::Found { .. } | ShareInfo::Absent)) if silent => ProbeFault::SharingSwitchedOff,
            // With the wrong password it would have said 403.
            (Ok(LinkState::Protected), Some(ShareInfo::Absent)) => ProbeFault::SharingSwitchedOff,
            (_, _) if silent => ProbeFault::SharingSwitchedOff,
            (Ok(LinkState::Protected), _) => wants_password,
            // The link opens in a browser without a password, but not to another server.
            (Ok(LinkState::Open), _) if saw(Nothing::Refused) && vendor != Vendor::Other => ProbeFault::SharingSwitchedOff,
            (Ok(LinkState::Open), _) if saw(Nothing::Absent) && vendor != Vendor::Other => ProbeFault::UploadOnly,
            (_, _) if saw(Nothing::Busy) => ProbeFault::Busy,
            (_, _) if saw(Nothing::Redirected) => ProbeFault::TooManyRedirects,
            (Ok(_), _) => ProbeFault::NotWebdav,
            (Err(_), _) if saw(Nothing::Refused) => wants_password,
            (Err(_), _) => ProbeFault::NotFound,
        }
    }

    async fn probe_plain(&self, pasted: &Pasted, password: Option<Secret>) -> Result<Probe, ProbeFault> {
        let given = pasted.login.is_some() && password.is_some();
        let login = pasted.login.clone();
        let credentials = login.map(|login| Credentials::basic(login, password.unwrap_or_default()));
        let (url, own) = match self.look(&pasted.url, credentials.clone()).await? {
            Ok(found) => found,
            Err(Nothing::Refused) if given => return Err(ProbeFault::WrongPassword),
            Err(Nothing::Refused) => return Err(ProbeFault::NeedsPassword),
            Err(Nothing::Absent) => return Err(ProbeFault::NotFound),
            Err(Nothing::Busy) => return Err(ProbeFault::Busy),
            Err(Nothing::Redirected) => return Err(ProbeFault::TooManyRedirects),
            Err(Nothing::SwitchedOff) if pasted.url.path().contains("/public.php/") => return Err(ProbeFault::SharingSwitchedOff),
            Err(Nothing::UploadOnly | Nothing::SwitchedOff | Nothing::Strange) => return Err(ProbeFault::NotWebdav),
        };
        // The server's root is in front of its entry points; where there are none, `oc:id` decides.
        let mut root = url.clone();
        let path = root.path().to_owned();
        let front = ["/remote.php/", "/public.php/"].iter().find_map(|entry| path.find(entry));
        root.set_path(&format!("{}/", front.and_then(|end| path.get(..end)).unwrap_or_default()));
        let status = if own.id.is_some() { self.status(&root).await.unwrap_or_default() } else { Status::default() };
        Ok(self.found(url, own, credentials.as_ref(), status.vendor(), None, None))
    }

    /// Asks one place; the outer error ends the search.
    async fn look(&self, url: &Url, credentials: Option<Credentials>) -> Result<Result<(Url, Properties), Nothing>, ProbeFault> {
        let share = Share::new(self.clone(), url.as_str(), credentials, Vendor::Other, Kind::Collection);
        let share = share.map_err(|_error| ProbeFault::NotAnAddress)?;
        let via = Via::default();
        let answer = match share.propfind_answer(&via, url.clone(), Depth::Zero, Asked::Identity).await {
            Ok(answer) => answer,
            Err(Error::Redirected) => return Ok(Err(Nothing::Redirected)),
            // A secret that is exchanged for no token.
            Err(Error::Unauthorized) => return Ok(Err(Nothing::Refused)),
            Err(error) => return ProbeFault::fatal(&error, url).map_or(Ok(Err(Nothing::Strange)), Err),
        };
        let status = answer.status();
        if status == StatusCode::MULTI_STATUS {
            let place = answer.url.clone();
            return match read_listing(self, answer, Depth::Zero, Bounds::default()).await {
                Ok(listing) if listing.contains.iter().any(|id| id == self.instance_id()) => Err(ProbeFault::Loop),
                Ok(listing) => Ok(Ok((place, listing.own))),
                Err(_) => Ok(Err(Nothing::Strange)),
            };
        }
        Ok(Err(match status.as_u16() {
            // ownCloud 7 with outgoing sharing switched off: 200 and nothing (`protocol/owncloud.md` 2.1).
            200 if answer.page(self).await.is_ok_and(|page| page.is_empty()) => Nothing::SwitchedOff,
            401 | 403 => Nothing::Refused,
            429 => return Err(ProbeFault::Throttled),
            404 | 410 => Nothing::Absent,
            // Nextcloud: "Only PUT is allowed on files drop".
            405 if url.path().contains("/public.php/") || url.path().contains("/public-files/") => Nothing::UploadOnly,
            508 => return Err(ProbeFault::Loop),
            408 | 425 | 500..=599 => Nothing::Busy,
            300..=399 => Nothing::Redirected,
            _ => Nothing::Strange,
        }))
    }

    fn found(
        &self,
        url: Url,
        own: Properties,
        credentials: Option<&Credentials>,
        vendor: Vendor,
        page: Option<Page>,
        link: Option<&Link>,
    ) -> Probe {
        let vendor = match vendor {
            // A plain WebDAV folder may stand beside an ownCloud.
            _ if own.id.is_none() => Vendor::Other,
            // Nobody else has that property: a server whose status.php is hidden.
            Vendor::Other => Vendor::OwnCloud,
            Vendor::Causeway | Vendor::OwnCloud | Vendor::Nextcloud | Vendor::Ocis => vendor,
        };
        let kind = if own.collection == Some(true) { Kind::Collection } else { Kind::File };
        let token = link.map(|link| link.token.expose()).unwrap_or_default();
        let usable = |name: &String| name != token && Name::parse(name).is_ok();
        let last = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let last = percent_encoding::percent_decode_str(last).decode_utf8_lossy().into_owned();
        let told = own.display_name.clone().filter(usable);
        let told = told.or_else(|| page.as_ref().and_then(|page| page.name.clone()).filter(usable));
        let last = Some(last).filter(|name| (link.is_none() || link.is_some_and(|link| !link.below.is_empty())) && usable(name));
        let host = || url.host_str().unwrap_or("remote").to_owned();
        Probe {
            name: last.filter(|_| link.is_some()).or(told).or_else(|| plain_name(&url)).unwrap_or_else(host),
            owner: page.and_then(|page| page.owner).or_else(|| own.owner.clone()).unwrap_or_default(),
            login: credentials.map(|credentials| credentials.login.clone()).unwrap_or_default(),
            password: credentials.map(|credentials| credentials.password.clone()).unwrap_or_default(),
            permissions: Traits::of(vendor).permissions(&own),
            page: link.and_then(|link| Some(page::address(link)?.to_string())),
            dav_url: url.to_string(),
            vendor,
            kind,
        }
    }
}

/// The last segment of a plain WebDAV address, where it says something.
fn plain_name(url: &Url) -> Option<String> {
    let last = url.path().trim_end_matches('/').rsplit('/').next()?;
    let name = percent_encoding::percent_decode_str(last).decode_utf8().ok()?.into_owned();
    let public = url.path().contains("/public.php/") || url.path().contains("/public-files/");
    let general = public || matches!(name.as_str(), "webdav" | "dav" | "files" | "remote.php");
    (Name::parse(&name).is_ok() && !general).then_some(name)
}

/// Where a link's files may be, likeliest first, and the user name for each.
fn places(link: &Link, vendor: Vendor) -> Vec<(String, Secret)> {
    let token = link.token.expose();
    let below = if link.below.is_empty() { String::new() } else { [&link.below, "/"].concat() };
    let own = link.token.clone();
    let public = Secret::new("public");
    let old = (["public.php/webdav/", &below].concat(), own.clone());
    let new = (["public.php/dav/files/", token, "/", &below].concat(), own);
    let ocis = (["dav/public-files/", token, "/", &below].concat(), public.clone());
    let oc10 = (["remote.php/dav/public-files/", token, "/", &below].concat(), public);
    match vendor {
        Vendor::Causeway | Vendor::Other => vec![old, new, oc10, ocis],
        Vendor::OwnCloud => vec![old, oc10],
        Vendor::Nextcloud => vec![old, new],
        Vendor::Ocis => vec![ocis, oc10, old],
    }
}
