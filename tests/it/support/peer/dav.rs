//! WebDAV as the servers of the ownCloud family speak it on a public link, and what they would never be asked by a careful client.

use bytes::Bytes;
use causeway::wire::xml;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::tree::{Item, Tree, parent};
use super::{Reply, Seen, Verdict};

/// How one server differs from the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// `oc:permissions` of a folder and a file where reading is all that is granted.
    pub(crate) reading: (&'static str, &'static str),
    /// The same where editing is granted.
    pub(crate) editing: (&'static str, &'static str),
    /// `ocs:share-permissions` is the share's mask on every node; none where the property is unknown.
    pub(crate) bits: Option<(u8, u8)>,
    /// `oc:size` and `oc:checksums` are known.
    pub(crate) newer: bool,
    /// `quota-available-bytes` of folders; none where it is not told.
    pub(crate) quota: Option<&'static str>,
    /// What a write below a missing folder is answered.
    pub(crate) no_parent: u16,
    /// What LOCK is answered; none where it was not recorded.
    pub(crate) lock: Option<u16>,
    /// What making `*.part` is answered, whatever makes it; none where that is a name like any other.
    pub(crate) part: Option<u16>,
    /// What OPTIONS says of classes.
    pub(crate) classes: &'static str,
}

/// One share as it is asked now.
pub(crate) struct At<'host> {
    pub(crate) style: Style,
    pub(crate) tree: &'host mut Tree,
    /// Whether the link grants editing.
    pub(crate) writable: bool,
    /// URL path of the share's root, with a slash at its end.
    pub(crate) root: &'host str,
    /// `host:port` of the server.
    pub(crate) host: &'host str,
}

/// What sabre leaves as it is in a path.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'(').remove(b')');

/// An error as sabre writes it.
pub(crate) fn sabre(status: u16, exception: &str, message: &str) -> Reply {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:error xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\">\n  \
         <s:exception>Sabre\\DAV\\Exception\\{exception}</s:exception>\n  <s:message>{message}</s:message>\n</d:error>\n"
    );
    Reply::new(status).body("application/xml; charset=utf-8", text)
}

/// What no server of the family should be sent by another server.
pub(crate) fn strict(seen: &Seen) -> Result<(), String> {
    let unwelcome = ["cookie", "x-requested-with", "expect", "referer"];
    if let Some(name) = unwelcome.into_iter().find(|name| seen.headers.contains_key(*name)) {
        return Err(format!("it brings a header `{name}`"));
    }
    if !seen.header("user-agent").is_some_and(|agent| agent.starts_with("Causeway/")) {
        return Err("it does not say who asks".to_owned());
    }
    match seen.method.as_str() {
        "PROPFIND" if !matches!(seen.header("depth"), Some("0" | "1")) => Err("its depth is neither 0 nor 1".to_owned()),
        "PROPFIND" if !xml::parse(&seen.body).is_ok_and(|root| root.is_dav("propfind")) => Err("its body is no propfind".to_owned()),
        "PROPPATCH" if !xml::parse(&seen.body).is_ok_and(|root| root.is_dav("propertyupdate")) => Err("its body is no update".to_owned()),
        // PHP stores an empty file.
        "PUT" if seen.header("content-length").is_none() => Err("its length is not announced".to_owned()),
        "MOVE" | "COPY" if !matches!(seen.header("overwrite"), Some("T" | "F")) => Err("it does not say whether to overwrite".to_owned()),
        "PUT" | "DELETE" if seen.header("if-match").is_some_and(|etag| !etag.starts_with('"')) => Err("its etag is not strong".to_owned()),
        _ => Ok(()),
    }
}

impl At<'_> {
    /// Answers one request below the root.
    pub(crate) fn answer(&mut self, seen: &Seen) -> Verdict {
        let path = self.path(&seen.path).ok_or("it is not below the share")?;
        let single = self.tree.get("").is_some_and(|root| root.content.is_some());
        if single && !path.is_empty() {
            return Ok(sabre(404, "NotFound", "File with name could not be located"));
        }
        let writes = matches!(seen.method.as_str(), "PUT" | "MKCOL" | "DELETE" | "MOVE" | "COPY" | "PROPPATCH");
        if writes && !self.writable {
            return Ok(sabre(403, "Forbidden", ""));
        }
        let made = match seen.method.as_str() {
            "PUT" | "MKCOL" => Some(path.clone()),
            "MOVE" | "COPY" => Some(self.destination(seen)?),
            _ => None,
        };
        let refused = |made: String| made.ends_with(".part") || made.ends_with(".filepart") || made.ends_with(".htaccess");
        if let Some(status) = self.style.part.filter(|_| made.is_some_and(refused)) {
            return Ok(sabre(status, "InvalidPath", "Invalid file name"));
        }
        match seen.method.as_str() {
            "OPTIONS" => Ok(Reply::new(200).header("dav", self.style.classes)),
            "PROPFIND" => Ok(self.propfind(seen, &path)),
            "GET" => Ok(self.get(seen, &path)),
            "PUT" => Ok(self.put(seen, &path)),
            "MKCOL" if self.tree.get(&path).is_some() => {
                Ok(sabre(405, "MethodNotAllowed", "The resource you tried to create already exists"))
            }
            "MKCOL" if self.tree.get(parent(&path)).is_none() => Ok(sabre(self.style.no_parent, "Conflict", "Parent node does not exist")),
            "MKCOL" => {
                self.tree.put(&path, None);
                Ok(Reply::new(201))
            }
            "DELETE" if path.is_empty() => Err("nobody deletes the root of a share".to_owned()),
            "DELETE" if self.tree.remove(&path) => Ok(Reply::new(204)),
            "DELETE" => Ok(sabre(404, "NotFound", "")),
            "MOVE" | "COPY" => self.transfer(seen, &path),
            "PROPPATCH" => Ok(self.proppatch(seen, &path)),
            "LOCK" => {
                self.style.lock.map(|status| sabre(status, "NotImplemented", "There was no plugin")).ok_or("locks were not recorded".into())
            }
            _ => Err("this method was not recorded".to_owned()),
        }
    }

    fn path(&self, url: &str) -> Option<String> {
        let root = self.root.trim_end_matches('/');
        let below = url.strip_prefix(root)?;
        if !(below.is_empty() || below.starts_with('/')) {
            return None;
        }
        Some(percent_decode_str(below.trim_matches('/')).decode_utf8().ok()?.into_owned())
    }

    fn propfind(&self, seen: &Seen, path: &str) -> Reply {
        let Some(item) = self.tree.get(path) else { return sabre(404, "NotFound", "") };
        let mut text = self.response(seen, path, item);
        if seen.header("depth") == Some("1") {
            for (at, member) in self.tree.members(path) {
                text.push_str(&self.response(seen, at, member));
            }
        }
        Reply::multistatus(&text)
    }

    fn response(&self, seen: &Seen, path: &str, item: &Item) -> String {
        let folder = item.content.is_none();
        let mut href = format!("{}{}", self.root, utf8_percent_encode(path, KEPT));
        if folder && !href.ends_with('/') {
            href.push('/');
        }
        let known = self.properties(item);
        let body = seen.text();
        let asked = |name: &str| body.contains(&format!(":{name}/>"));
        let names = ["getetag", "getcontentlength", "getlastmodified", "resourcetype", "getcontenttype", "quota-available-bytes", "id"];
        let more = ["creationdate", "quota-used-bytes", "permissions", "size", "checksums", "share-permissions", "displayname"];
        let (mut found, mut missing) = (String::new(), String::new());
        for name in names.into_iter().chain(more).filter(|name| asked(name)) {
            let prefix = match name {
                "id" | "permissions" | "size" | "checksums" => "oc",
                "share-permissions" => "x1",
                _ => "d",
            };
            match known.iter().find(|(property, _)| *property == name) {
                Some((_, value)) => found.extend(["<", prefix, ":", name, ">", value, "</", prefix, ":", name, ">"]),
                None => missing.extend(["<", prefix, ":", name, "/>"]),
            }
        }
        let prop = |prop: &str, status| format!("<d:propstat><d:prop>{prop}</d:prop><d:status>HTTP/1.1 {status}</d:status></d:propstat>");
        let missing = if missing.is_empty() { missing } else { prop(&missing, "404 Not Found") };
        format!("<d:response><d:href>{href}</d:href>{}{missing}</d:response>", prop(&found, "200 OK"))
    }

    fn properties(&self, item: &Item) -> Vec<(&'static str, String)> {
        let style = self.style;
        let (folders, files) = if self.writable { style.editing } else { style.reading };
        let letters = if item.content.is_none() { folders } else { files };
        let mut known = vec![
            ("getetag", format!("&quot;{}&quot;", item.etag)),
            ("getlastmodified", date(item.modified)),
            ("id", format!("{:08}ocprijjww6fa", item.id)),
            ("permissions", letters.to_owned()),
            ("resourcetype", if item.content.is_none() { "<d:collection/>".to_owned() } else { String::new() }),
        ];
        if let Some(content) = &item.content {
            known.extend([("getcontentlength", content.len().to_string()), ("getcontenttype", "text/plain".to_owned())]);
        } else if let Some(quota) = style.quota {
            known.extend([("quota-available-bytes", quota.to_owned()), ("quota-used-bytes", "19".to_owned())]);
        }
        if let Some((reading, editing)) = style.bits {
            known.push(("share-permissions", if self.writable { editing } else { reading }.to_string()));
        }
        if style.newer {
            known.push(("size", item.content.as_ref().map_or(19, Bytes::len).to_string()));
        }
        known
    }

    fn get(&self, seen: &Seen, path: &str) -> Reply {
        let Some(item) = self.tree.get(path) else { return sabre(404, "NotFound", "") };
        let Some(content) = &item.content else { return sabre(501, "NotImplemented", "GET is only implemented on File objects") };
        let reply = Reply::new(200).header("etag", format!("\"{}\"", item.etag)).header("last-modified", date(item.modified));
        let reply = reply.header("content-disposition", "attachment; filename*=UTF-8''f; filename=\"f\"");
        let Some(range) = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
            return reply.body("text/plain", content.clone());
        };
        let (first, last): (usize, usize) = (range.0.parse().unwrap(), range.1.parse().unwrap());
        let told = format!("bytes {first}-{last}/{}", content.len());
        let part = reply.header("content-range", told).body("text/plain", content.slice(first..=last));
        Reply { status: 206, ..part }
    }

    fn put(&mut self, seen: &Seen, path: &str) -> Reply {
        let there = self.tree.get(path);
        let matches = seen.header("if-match").is_none_or(|wanted| there.is_some_and(|item| wanted == format!("\"{}\"", item.etag)));
        if !matches || (seen.header("if-none-match") == Some("*") && there.is_some()) {
            return sabre(412, "PreconditionFailed", "");
        }
        if there.is_some_and(|item| item.content.is_none()) {
            return sabre(409, "Conflict", "PUT is not allowed on non-files.");
        }
        if self.tree.get(parent(path)).is_none() {
            return sabre(self.style.no_parent, "Conflict", "Files cannot be created in non-existent collections");
        }
        let status = if there.is_some() { 204 } else { 201 };
        self.tree.put(path, Some(seen.body.clone()));
        let mut reply = Reply::new(status);
        if let Some(modified) = seen.header("x-oc-mtime") {
            self.tree.touch(path, modified.parse().unwrap());
            reply = reply.header("x-oc-mtime", "accepted");
        }
        let item = self.tree.get(path).unwrap();
        reply.header("etag", format!("\"{}\"", item.etag)).header("oc-fileid", format!("{:08}ocprijjww6fa", item.id))
    }

    fn destination(&self, seen: &Seen) -> Result<String, String> {
        let destination = seen.header("destination").ok_or("it has no destination")?;
        let path = destination.strip_prefix(&format!("http://{}", self.host)).and_then(|path| self.path(path));
        path.ok_or("its destination is not below the share".to_owned())
    }

    fn transfer(&mut self, seen: &Seen, path: &str) -> Verdict {
        let to = self.destination(seen)?;
        if self.tree.get(path).is_none() {
            return Ok(sabre(404, "NotFound", ""));
        }
        let there = self.tree.get(&to).is_some();
        if there && seen.header("overwrite") == Some("F") {
            return Ok(sabre(412, "PreconditionFailed", "The destination node already exists, and the overwrite header is set to false"));
        }
        if self.tree.get(parent(&to)).is_none() {
            return Ok(sabre(409, "Conflict", "The destination node is not found"));
        }
        if there {
            self.tree.remove(&to);
        }
        if seen.method == "MOVE" {
            self.tree.rename(path, &to);
        } else {
            self.tree.copy(path, &to);
        }
        Ok(Reply::new(if there { 204 } else { 201 }))
    }

    fn proppatch(&mut self, seen: &Seen, path: &str) -> Reply {
        if self.tree.get(path).is_none() {
            return sabre(404, "NotFound", "");
        }
        let body = seen.text();
        let modified = body.split_once("lastmodified>").and_then(|(_, rest)| rest.split('<').next()?.parse().ok());
        let status = if modified.is_some() { "200 OK" } else { "403 Forbidden" };
        if let Some(modified) = modified {
            self.tree.touch(path, modified);
        }
        Reply::multistatus(&format!(
            "<d:response><d:href>{}</d:href><d:propstat><d:prop><d:lastmodified/></d:prop><d:status>HTTP/1.1 {status}</d:status></d:propstat>\
             </d:response>",
            seen.path
        ))
    }
}

/// A time as HTTP writes it.
fn date(seconds: i64) -> String {
    let since = std::time::Duration::from_secs(u64::try_from(seconds).unwrap());
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + since)
}
