//! Reads a multistatus far enough to know that the server answered what it was asked.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// The five properties that every file manager and sync client asks for.
pub(crate) const REQUEST: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:propfind xmlns:d=\"DAV:\"><d:prop>\
<d:resourcetype/><d:getcontentlength/><d:getlastmodified/><d:getetag/><d:getcontenttype/></d:prop></d:propfind>";

/// What an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Resources, each with a URL of its own.
    pub(crate) resources: u64,
    /// Resources without an etag.
    pub(crate) without_etag: u64,
    /// Resources without a modification time, and files without a length.
    pub(crate) incomplete: u64,
}

#[derive(Default)]
struct Resource {
    href: String,
    collection: bool,
    etag: bool,
    modified: bool,
    length: bool,
}

/// Parses `body`. A property counts when it has a value: below a 404 propstat all are empty.
pub(crate) fn summary(body: &[u8]) -> Result<Summary> {
    let mut reader = NsReader::from_reader(body);
    let mut hrefs = HashSet::new();
    let (mut without_etag, mut incomplete, mut responses) = (0, 0, 0);
    let mut resource = Resource::default();
    let mut inside = String::new();
    loop {
        let (namespace, event) = reader.read_resolved_event().context("the answer is not XML")?;
        let dav = matches!(namespace, ResolveResult::Bound(name) if name.as_ref() == b"DAV:");
        match event {
            Event::Start(element) if dav => {
                inside = String::from_utf8_lossy(element.local_name().as_ref()).into_owned();
                match inside.as_str() {
                    "response" => resource = Resource::default(),
                    "collection" => resource.collection = true,
                    _ => {}
                }
            }
            Event::Empty(element) if dav && element.local_name().as_ref() == b"collection" => resource.collection = true,
            Event::Text(text) => match inside.as_str() {
                "href" => resource.href.push_str(&String::from_utf8_lossy(&text)),
                "getetag" => resource.etag = true,
                "getlastmodified" => resource.modified = true,
                "getcontentlength" => resource.length = true,
                _ => {}
            },
            Event::GeneralRef(name) if inside == "href" => resource.href.push_str(&String::from_utf8_lossy(&name)),
            Event::End(element) => {
                inside.clear();
                if dav && element.local_name().as_ref() == b"response" {
                    responses += 1;
                    without_etag += u64::from(!resource.etag);
                    let whole = resource.modified && (resource.length || resource.collection);
                    incomplete += u64::from(!whole);
                    hrefs.insert(std::mem::take(&mut resource.href));
                }
            }
            Event::Eof => break,
            Event::Start(_)
            | Event::Empty(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::GeneralRef(_) => {}
        }
    }
    ensure!(hrefs.len() as u64 == responses, "{responses} responses for {} URLs", hrefs.len());
    Ok(Summary { resources: responses, without_etag, incomplete })
}
