//! Big files to servers that take them in chunks: what has arrived stays there when the connection is lost, and the next try sends the rest.
//!
//! The name of the session at the remote follows from the file and its target, so that nothing has to be remembered here for another try:
//! what is there already is asked of the remote.

use std::collections::HashMap;
use std::ops::Range;

use http::header::{CONTENT_TYPE, IF_MATCH};
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::domain::{Kind, TreePath};
use crate::limits::REMOTE_CHUNK_BYTES;
use crate::remote::call::{Call, Payload};
use crate::remote::share::{Asked, Depth, method, read_listing};
use crate::remote::{Conditions, Content, Error, Share};
use crate::wire::multistatus::reader::Bounds;
use crate::wire::{Incoming, Via, href};

/// A file that lies here whole, to be read from anywhere and as often as need be.
pub struct Whole<'file> {
    /// Bytes.
    pub length: u64,
    /// The same for the same bytes, and for no others.
    pub identity: [u8; 32],
    /// The bytes of a range.
    pub read: Box<dyn Fn(Range<u64>) -> Incoming + Send + Sync + 'file>,
}

impl std::fmt::Debug for Whole<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Whole({} bytes)", self.length)
    }
}

impl Share {
    /// Where unfinished uploads of this share lie; none where that cannot be known.
    fn uploads(&self) -> Option<Url> {
        let url = self.url(&TreePath::root(), Kind::Collection).ok()?;
        let login = || self.credentials.as_ref().map(|asks| asks.login.expose());
        // The root of the share, what names it, and where its uploads are.
        let (front, name, place) = if let Some((front, _)) = url.path().split_once("/public.php/webdav/") {
            (front, login()?.to_owned(), "/public.php/dav/uploads/")
        } else if let Some((front, rest)) = url.path().split_once("/public.php/dav/files/") {
            (front, first(rest)?, "/public.php/dav/uploads/")
        } else if let Some((front, rest)) = url.path().split_once("/remote.php/dav/public-files/") {
            (front, first(rest)?, "/public.php/dav/uploads/")
        } else if let Some((front, rest)) = url.path().split_once("/dav/public-files/") {
            (front, first(rest)?, "/public.php/dav/uploads/")
        } else if let Some((front, rest)) = url.path().split_once("/remote.php/dav/files/") {
            (front, first(rest)?, "/remote.php/dav/uploads/")
        } else {
            let (front, _) = url.path().split_once("/remote.php/webdav/")?;
            (front, login()?.to_owned(), "/remote.php/dav/uploads/")
        };
        let mut path = [front, place].concat();
        href::push_segment(&mut path, &name);
        let mut url = url.clone();
        url.set_path(&path);
        Some(url)
    }

    /// Writes a file in chunks. Whether it was made, as far as the status says.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the remote takes no chunks: nothing was sent then.
    pub async fn put_chunks(
        &self,
        via: &Via,
        path: &TreePath,
        whole: &Whole<'_>,
        content: Content,
        conditions: &Conditions,
    ) -> Result<bool, Error> {
        let uploads = self.uploads().ok_or(Error::Unsupported)?;
        let target = self.url(path, Kind::File)?;
        let session = Session { share: self, via, url: below(&uploads, &name(whole, &target)) };
        let there = match session.chunks().await? {
            Some(there) => there,
            None => session.begin(whole.length).await?,
        };
        let placed = session.send(whole, &there, target, content, conditions).await;
        if let Err(error) = &placed
            && !passes(error)
        {
            // The next try will be about something else.
            drop(session.share.send(session.call(Method::DELETE, &[])?).await);
        }
        placed
    }
}

/// Whether the same upload may succeed later: what has been sent is then kept.
fn passes(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. }
        | Error::Busy { .. }
        | Error::BadAnswer(_)
        | Error::SourceBroken
        | Error::Unauthorized
        | Error::NotAllowed
        | Error::Untrusted(_)
        | Error::Redirected
        | Error::Loop
        | Error::SharingOff
        | Error::Throttled { .. }
        | Error::NotFound => true,
        Error::Forbidden
        | Error::Unsupported
        | Error::Conflict
        | Error::PreconditionFailed
        | Error::Locked
        | Error::Full
        | Error::Rejected(_)
        | Error::Changed => false,
    }
}

fn first(path: &str) -> Option<String> {
    let segment = path.split('/').next().filter(|segment| !segment.is_empty())?;
    percent_decode_str(segment).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn below(url: &Url, name: &str) -> Url {
    let mut below = url.clone();
    below.set_path(&[url.path(), "/", name].concat());
    below
}

/// The same upload to the same target has the same name at every try.
fn name(whole: &Whole<'_>, target: &Url) -> String {
    let hash = Sha256::new().chain_update(whole.identity).chain_update(whole.length.to_be_bytes()).chain_update(target.path());
    hash.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}

/// An upload at the remote.
struct Session<'call> {
    share: &'call Share,
    via: &'call Via,
    url: Url,
}

impl<'call> Session<'call> {
    fn call(&self, verb: Method, below: &[&str]) -> Result<Call<'call>, Error> {
        let mut url = self.url.clone();
        url.set_path(&[url.path(), &below.concat()].concat());
        Ok(Call::new(verb, url, self.share.credentials.as_ref(), self.via))
    }

    /// What has arrived; none where there is no such session.
    async fn chunks(&self) -> Result<Option<HashMap<String, u64>>, Error> {
        let answer = match self.share.propfind_answer(self.via, self.url.clone(), Depth::One, Asked::Usual).await?.success() {
            Ok(answer) if answer.status() == StatusCode::MULTI_STATUS => answer,
            Ok(_) | Err(Error::NotFound | Error::Unsupported) => return Ok(None),
            Err(error) => return Err(error),
        };
        let listing = read_listing(&self.share.remotes, answer, Depth::One, Bounds::default()).await?;
        let sized = listing.members.into_iter().filter_map(|(name, told)| Some((name.to_string(), told.length?)));
        Ok(Some(sized.collect()))
    }

    async fn begin(&self, length: u64) -> Result<HashMap<String, u64>, Error> {
        let call = self.call(method("MKCOL")?, &[])?.header("oc-total-length", &length.to_string())?;
        match self.share.send(call).await?.success() {
            Ok(_begun) => Ok(HashMap::new()),
            // Not offered there, or too many are unfinished: what else is wrong is told to the file itself.
            Err(Error::NotFound | Error::Conflict | Error::Forbidden) => Err(Error::Unsupported),
            Err(error) => Err(error),
        }
    }

    async fn send(
        &self,
        whole: &Whole<'_>,
        there: &HashMap<String, u64>,
        target: Url,
        content: Content,
        conditions: &Conditions,
    ) -> Result<bool, Error> {
        let mut at = 0;
        while at < whole.length {
            let end = whole.length.min(at.saturating_add(REMOTE_CHUNK_BYTES));
            let name = format!("{at:016}");
            if there.get(&name) != Some(&(end - at)) {
                let mut call = self.call(Method::PUT, &["/", &name])?.header(CONTENT_TYPE, "application/octet-stream")?;
                call.payload = Payload::Stream((whole.read)(at..end), Some(end - at));
                self.share.send(call).await?.success().map_err(lost)?;
            }
            at = end;
        }
        let mut call = self.call(method("MOVE")?, &["/.file"])?.header("destination", target.as_str())?;
        call = call.header("overwrite", if conditions.absent { "F" } else { "T" })?;
        call = call.header("oc-total-length", &whole.length.to_string())?;
        if let Some(etag) = &conditions.if_match {
            call = call.header(IF_MATCH, etag)?;
        }
        if !conditions.tokens.is_empty() {
            call = call.header("if", &self.share.if_header(&conditions.tokens)?)?;
        }
        if let Some(modified) = content.modified {
            call = call.header("x-oc-mtime", &modified.to_string())?;
        }
        if let Some(checksum) = &content.checksum {
            call = call.header("oc-checksum", checksum)?;
        }
        call.stores = whole.length;
        let answer = self.share.send(call).await?.success().map_err(lost)?;
        if answer.status() == StatusCode::ACCEPTED {
            return Err(Error::BadAnswer("an upload was put off"));
        }
        Ok(answer.status() == StatusCode::CREATED)
    }
}

/// A session that ended meanwhile says nothing of the target.
fn lost(error: Error) -> Error {
    if matches!(error, Error::NotFound) { Error::BadAnswer("an upload was forgotten there") } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Secret, Vendor};
    use crate::remote::{Credentials, Names, Policy, Remotes, Timeouts};

    #[track_caller]
    fn check(url: &str, login: &str, expected: Option<&str>) {
        let remotes = Remotes::new(Policy { instance_id: "oc".to_owned(), trust: Vec::new(), names: Names::System }, Timeouts::default());
        let credentials = Credentials::basic(Secret::new(login), Secret::default());
        let share = Share::new(remotes, url, Some(credentials), Vendor::Causeway, Kind::Collection).unwrap();
        assert_eq!(share.uploads().map(String::from).as_deref(), expected, "{url}");
    }

    #[test]
    fn uploads_lie_beside_the_files() {
        let link = Some("https://a.example/oc/public.php/dav/uploads/Tok");
        check("https://a.example/oc/public.php/webdav/", "Tok", link);
        check("https://a.example/oc/public.php/webdav/sub", "Tok", link);
        check("https://a.example/oc/public.php/dav/files/Tok/sub/", "public", link);
        check("https://a.example/oc/remote.php/dav/public-files/Tok", "public", link);
        check("https://a.example/oc/dav/public-files/Tok/", "public", link);
        check("https://a.example/remote.php/dav/files/me%40x/y", "m", Some("https://a.example/remote.php/dav/uploads/me%40x"));
        check("https://a.example/remote.php/webdav", "me", Some("https://a.example/remote.php/dav/uploads/me"));
        check("https://a.example/dav/", "me", None);
    }
}
