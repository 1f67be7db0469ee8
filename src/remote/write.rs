//! The client of one share, write side.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use http::{Method, StatusCode};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use std::io;
use tokio_util::io::StreamReader;

use crate::domain::{Kind, PropertyChange, PropertyName, TreePath};
use crate::remote::call::{Answer, Call, Payload};
use crate::remote::share::method;
use crate::remote::{Conditions, Content, Error, Share};
use crate::wire::multistatus::reader::{self, Bounds, DAV};
use crate::wire::{Incoming, Via};

impl Share {
    fn conditional<'call>(
        &'call self,
        verb: Method,
        via: &'call Via,
        path: &TreePath,
        kind: Kind,
        conditions: &Conditions,
    ) -> Result<Call<'call>, Error> {
        let mut call = Call::new(verb, self.url(path, kind)?, self.credentials.as_ref(), via);
        if let Some(etag) = &conditions.if_match {
            call = call.header(IF_MATCH, etag)?;
        }
        if !conditions.tokens.is_empty() {
            call = call.header("if", &self.if_header(&conditions.tokens)?)?;
        }
        Ok(call)
    }

    /// The tokens, each tagged with the root of its lock (RFC 4918 10.4.2).
    pub(super) fn if_header(&self, tokens: &[(TreePath, Kind, String)]) -> Result<String, Error> {
        let mut value = String::new();
        for (root, kind, token) in tokens {
            let url = self.url(root, *kind)?;
            for part in ["<", url.as_str(), "> (<", token, ">) "] {
                value.push_str(part);
            }
        }
        Ok(value.trim_end().to_owned())
    }

    /// Writes a file. Whether it was made, as far as the status says.
    pub async fn put(&self, via: &Via, path: &TreePath, body: Incoming, content: Content, conditions: &Conditions) -> Result<bool, Error> {
        let mut call = self.conditional(Method::PUT, via, path, Kind::File, conditions)?;
        if conditions.absent {
            call = call.header(IF_NONE_MATCH, "*")?;
        }
        call = call.header(CONTENT_TYPE, "application/octet-stream")?;
        if let Some(modified) = content.modified {
            call = call.header("x-oc-mtime", &modified.to_string())?;
        }
        if let Some(checksum) = &content.checksum {
            call = call.header("oc-checksum", checksum)?;
        }
        if content.length == Some(0) {
            // Said aloud: nginx answers 500 to a PUT without a length.
            call = call.header(CONTENT_LENGTH, "0")?;
        }
        call.payload = match content.length {
            Some(0) => Payload::Small(Bytes::new()),
            length => Payload::Stream(body, length),
        };
        let answer = self.done(self.send(call).await?)?;
        // 202 would mean that the file may still fail to be there.
        if answer.status() == StatusCode::ACCEPTED {
            return Err(Error::BadAnswer("an upload was put off"));
        }
        Ok(answer.status() == StatusCode::CREATED)
    }

    /// Makes a collection.
    ///
    /// # Errors
    /// [`Error::Unsupported`] (405) where something by that name exists.
    pub async fn mkcol(&self, via: &Via, path: &TreePath, conditions: &Conditions) -> Result<(), Error> {
        let call = self.conditional(method("MKCOL")?, via, path, Kind::Collection, conditions)?;
        self.done(self.send(call).await?).map(drop)
    }

    /// Deletes a resource and all below it; what is gone already is fine.
    pub async fn delete(&self, via: &Via, path: &TreePath, kind: Kind, conditions: &Conditions) -> Result<(), Error> {
        let call = self.conditional(Method::DELETE, via, path, kind, conditions)?;
        let answer = self.send(call).await?;
        if matches!(answer.status(), StatusCode::NOT_FOUND | StatusCode::GONE) {
            return Ok(());
        }
        self.complete(answer).await.map(drop)
    }

    /// Moves a resource inside the share. Whether the target was free, as far as the status says.
    pub async fn rename(&self, via: &Via, from: &TreePath, to: &TreePath, kind: Kind, conditions: &Conditions) -> Result<bool, Error> {
        let call = self.conditional(method("MOVE")?, via, from, kind, conditions)?;
        self.place(call, to, kind, conditions).await
    }

    /// Copies a resource inside the share; a shallow copy of a collection has no members.
    pub async fn copy(
        &self,
        via: &Via,
        from: &TreePath,
        to: &TreePath,
        kind: Kind,
        deep: bool,
        conditions: &Conditions,
    ) -> Result<bool, Error> {
        let call = self.conditional(method("COPY")?, via, from, kind, conditions)?;
        let call = call.header("depth", if deep { "infinity" } else { "0" })?;
        self.place(call, to, kind, conditions).await
    }

    async fn place(&self, call: Call<'_>, to: &TreePath, kind: Kind, conditions: &Conditions) -> Result<bool, Error> {
        let destination = self.url(to, kind)?;
        let call = call.header("destination", destination.as_str())?;
        let call = call.header("overwrite", if conditions.absent { "F" } else { "T" })?;
        let answer = self.send(call).await?;
        Ok(self.complete(answer).await? == StatusCode::CREATED)
    }

    /// A success, or what the first failure of a 207 means.
    async fn complete(&self, answer: Answer) -> Result<StatusCode, Error> {
        let answer = self.done(answer)?;
        let status = answer.status();
        match self.first_failure(answer).await? {
            Some(failure) => Err(failure),
            None => Ok(status),
        }
    }

    async fn first_failure(&self, answer: Answer) -> Result<Option<Error>, Error> {
        if answer.status() != StatusCode::MULTI_STATUS {
            return Ok(None);
        }
        let headers = answer.headers().clone();
        let mut failure = None;
        let body = StreamReader::new(answer.stream(&self.remotes));
        let reading = reader::read(body, Bounds::default(), |response| {
            let status = response.failed.or(response.status).filter(|status| *status >= 300);
            if let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) {
                let found = Error::from_status(status, &headers);
                // 424 only says that something else failed.
                if failure.is_none() || status != StatusCode::FAILED_DEPENDENCY {
                    failure = Some(found);
                }
            }
        });
        let limit = self.remotes.timeouts().answer;
        let read = tokio::time::timeout(limit, reading).await.map_err(|_elapsed| Error::BadAnswer("it does not end"))?;
        read.map_err(|_error| Error::BadAnswer("a report of failures cannot be read"))?;
        Ok(failure)
    }

    /// Changes dead properties and the modification time, all or none.
    pub async fn proppatch(
        &self,
        via: &Via,
        path: &TreePath,
        kind: Kind,
        changes: &[PropertyChange],
        conditions: &Conditions,
    ) -> Result<(), Error> {
        let call = self.conditional(method("PROPPATCH")?, via, path, kind, conditions)?;
        let mut call = call.header(CONTENT_TYPE, "application/xml; charset=utf-8")?;
        call.payload = Payload::Small(patch(changes).map_err(|_error| Error::BadAnswer("the properties cannot be written"))?);
        let answer = self.send(call).await?;
        self.complete(answer).await.map(drop)
    }
}

fn patch(changes: &[PropertyChange]) -> io::Result<Bytes> {
    let mut writer = Writer::new(Vec::new());
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)))?;
    writer.write_event(Event::Start(BytesStart::new("d:propertyupdate").with_attributes([("xmlns:d", DAV)])))?;
    for change in changes {
        let action = match change {
            PropertyChange::Set(..) | PropertyChange::Modified(_) => "d:set",
            PropertyChange::Remove(_) => "d:remove",
        };
        writer.write_event(Event::Start(BytesStart::new(action)))?;
        writer.write_event(Event::Start(BytesStart::new("d:prop")))?;
        match change {
            // A whole element, well-formed since it was parsed from a request.
            PropertyChange::Set(_, element) => writer.write_event(Event::Text(BytesText::from_escaped(&**element)))?,
            PropertyChange::Remove(name) => writer.write_event(Event::Empty(element(name)))?,
            PropertyChange::Modified(at) => {
                writer.write_event(Event::Start(BytesStart::new("d:lastmodified")))?;
                writer.write_event(Event::Text(BytesText::new(&at.to_string())))?;
                writer.write_event(Event::End(BytesEnd::new("d:lastmodified")))?;
            }
        }
        writer.write_event(Event::End(BytesEnd::new("d:prop")))?;
        writer.write_event(Event::End(BytesEnd::new(action)))?;
    }
    writer.write_event(Event::End(BytesEnd::new("d:propertyupdate")))?;
    Ok(Bytes::from(writer.into_inner()))
}

fn element(name: &PropertyName) -> BytesStart<'static> {
    let mut start = BytesStart::new(name.local.to_string());
    start.push_attribute(("xmlns", &*name.namespace));
    start
}
