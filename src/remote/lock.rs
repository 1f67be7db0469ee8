//! Locks at a remote (RFC 4918 9.10, 9.11).

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer};

use crate::domain::{Kind, LockDepth, LockRequest, LockScope, TreePath};
use crate::remote::call::{Call, Payload};
use crate::remote::share::method;
use crate::remote::{Conditions, Error, Share};
use crate::wire::Via;
use crate::wire::multistatus::reader::DAV;

/// A lock that a remote granted.
#[derive(Clone)]
pub struct RemoteLock {
    /// The remote's token.
    pub token: String,
    /// How long the remote grants it.
    pub timeout: Duration,
    /// Whether an empty file was made.
    pub created: bool,
}

impl Share {
    /// Takes a lock.
    pub async fn lock(
        &self,
        via: &Via,
        path: &TreePath,
        kind: Kind,
        request: &LockRequest,
        held: &Conditions,
    ) -> Result<RemoteLock, Error> {
        let mut call = Call::new(method("LOCK")?, self.url(path, kind)?, self.credentials.as_ref(), via)
            .header(CONTENT_TYPE, "application/xml; charset=utf-8")?
            .header("depth", if request.depth == LockDepth::Zero { "0" } else { "infinity" })?
            .header("timeout", &timeout_value(request.timeout))?;
        if !held.tokens.is_empty() {
            call = call.header("if", &self.if_header(&held.tokens)?)?;
        }
        call.payload = Payload::Small(lock_info(request).map_err(|_error| Error::BadAnswer("the lock cannot be written"))?);
        let answer = self.send(call).await?.success()?;
        if answer.status() == StatusCode::MULTI_STATUS {
            return Err(Error::Locked);
        }
        let created = answer.status() == StatusCode::CREATED;
        let token = answer.text_of("lock-token").map(|token| token.trim().trim_matches(['<', '>']).to_owned());
        let token = token.filter(|token| is_token(token)).ok_or(Error::BadAnswer("a lock came without its token"))?;
        let page = answer.page(&self.remotes).await?;
        Ok(RemoteLock { token, timeout: granted(&page).unwrap_or(request.timeout), created })
    }

    /// Prolongs a lock; how long the remote grants.
    pub async fn refresh(&self, via: &Via, path: &TreePath, kind: Kind, token: &str, timeout: Duration) -> Result<Duration, Error> {
        let call = Call::new(method("LOCK")?, self.url(path, kind)?, self.credentials.as_ref(), via)
            .header("if", &["(<", token, ">)"].concat())?
            .header("timeout", &timeout_value(timeout))?;
        let answer = self.send(call).await?.success()?;
        let page = answer.page(&self.remotes).await?;
        Ok(granted(&page).unwrap_or(timeout))
    }

    /// Gives a lock back.
    pub async fn unlock(&self, via: &Via, path: &TreePath, kind: Kind, token: &str) -> Result<(), Error> {
        let call = Call::new(method("UNLOCK")?, self.url(path, kind)?, self.credentials.as_ref(), via)
            .header("lock-token", &["<", token, ">"].concat())?;
        self.send(call).await?.success().map(drop)
    }
}

/// A token that can stand in an `If` header without changing what it says.
fn is_token(token: &str) -> bool {
    (1..=512).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>()\"".contains(&byte))
}

fn timeout_value(timeout: Duration) -> String {
    format!("Second-{}", timeout.as_secs().max(1))
}

fn lock_info(request: &LockRequest) -> io::Result<Bytes> {
    let mut writer = Writer::new(Vec::new());
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)))?;
    writer.write_event(Event::Start(BytesStart::new("d:lockinfo").with_attributes([("xmlns:d", DAV)])))?;
    writer.write_event(Event::Start(BytesStart::new("d:lockscope")))?;
    let scope = match request.scope {
        LockScope::Exclusive => "d:exclusive",
        LockScope::Shared => "d:shared",
    };
    writer.write_event(Event::Empty(BytesStart::new(scope)))?;
    writer.write_event(Event::End(BytesEnd::new("d:lockscope")))?;
    writer.write_event(Event::Start(BytesStart::new("d:locktype")))?;
    writer.write_event(Event::Empty(BytesStart::new("d:write")))?;
    writer.write_event(Event::End(BytesEnd::new("d:locktype")))?;
    // Who holds the lock here is nobody's business there: the remote sees one holder.
    writer.write_event(Event::Start(BytesStart::new("d:owner")))?;
    writer.write_event(Event::Text(BytesText::new("Causeway")))?;
    writer.write_event(Event::End(BytesEnd::new("d:owner")))?;
    writer.write_event(Event::End(BytesEnd::new("d:lockinfo")))?;
    Ok(Bytes::from(writer.into_inner()))
}

/// The `timeout` of a `lockdiscovery`; none where it cannot be read.
fn granted(page: &[u8]) -> Option<Duration> {
    let mut reader = Reader::from_reader(page);
    let mut inside = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) => inside = element.local_name().as_ref() == b"timeout",
            Event::Text(text) if inside => {
                let text = text.xml10_content().ok()?;
                return text.trim().strip_prefix("Second-")?.parse().ok().map(Duration::from_secs);
            }
            Event::Eof => return None,
            Event::End(_) => inside = false,
            Event::Text(_)
            | Event::Empty(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::GeneralRef(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_granted_time_is_read() {
        let page = br#"<D:prop xmlns:D="DAV:"><D:lockdiscovery><D:activelock><D:timeout>Second-180</D:timeout></D:activelock></D:lockdiscovery></D:prop>"#;
        assert_eq!(granted(page), Some(Duration::from_secs(180)));
        assert_eq!(granted(b"<timeout>Infinite</timeout>"), None);
        assert_eq!(granted(b"<timeout"), None);
    }

    #[test]
    fn tokens_cannot_break_out_of_a_header() {
        assert!(is_token("urn:uuid:1234") && is_token("opaquelocktoken:a-b"));
        assert!(!is_token("a>) (<b") && !is_token("") && !is_token("a b"));
    }
}
