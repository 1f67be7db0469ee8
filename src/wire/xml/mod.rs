//! Foreign XML, read within bounds into a small tree, and the writer that everything of ours goes through.
//!
//! **Invariants:** no document type, no entities but the five predefined ones, no nesting beyond [`XML_DEPTH_MAX`], no character that
//! XML 1.0 forbids: so what was read can be stored and sent again to anybody (attack D3).

mod write;

pub use write::Writer;

use quick_xml::NsReader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::ResolveResult;

use crate::domain::PropertyName;
use crate::limits::{XML_ATTRIBUTES_MAX, XML_BODY_BYTES_MAX, XML_DEPTH_MAX};

/// The namespace of WebDAV.
pub const DAV: &str = "DAV:";

const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";

/// Why a text is not taken as XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidXml {
    /// It is not well-formed, or not UTF-8.
    #[error("the body is not well-formed XML")]
    Malformed,
    /// It brings a document type or entities of its own.
    #[error("a document type is not allowed")]
    DocumentType,
    /// It is nested too deeply, too long, or an element has too many attributes.
    #[error("the XML is too deep or too long")]
    TooLarge,
}

/// An element with what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Namespace and local name.
    pub name: PropertyName,
    /// Attributes, without the declarations of namespaces.
    pub attributes: Vec<(PropertyName, Box<str>)>,
    /// Elements and text in their order.
    pub content: Vec<Content>,
}

/// What an element holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An element.
    Element(Element),
    /// Text, entities resolved.
    Text(String),
}

impl Element {
    /// Whether this is the element `local` of the namespace `DAV:`.
    pub fn is_dav(&self, local: &str) -> bool {
        &*self.name.namespace == DAV && &*self.name.local == local
    }

    /// The elements inside; text between them is passed over (a client sends `</d:prop>M</d:propfind>`, `protocol/clients.md` 2).
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.content.iter().filter_map(|content| match content {
            Content::Element(element) => Some(element),
            Content::Text(_) => None,
        })
    }

    /// The first element inside that is `local` of `DAV:`.
    pub fn dav_child(&self, local: &str) -> Option<&Element> {
        self.elements().find(|element| element.is_dav(local))
    }

    /// The text directly inside.
    pub fn text(&self) -> String {
        self.content
            .iter()
            .filter_map(|content| match content {
                Content::Text(text) => Some(text.as_str()),
                Content::Element(_) => None,
            })
            .collect()
    }

    /// The value of `xml:lang`.
    pub fn language(&self) -> Option<&str> {
        let found = self.attributes.iter().find(|(name, _)| &*name.namespace == XML_NAMESPACE && &*name.local == "lang");
        found.map(|(_, value)| &**value)
    }

    /// Sets `xml:lang` where there is none: a property inherits the language in whose scope it was set (RFC 4918 4.3).
    pub fn inherit_language(&mut self, language: Option<&str>) {
        if let (Some(language), None) = (language, self.language()) {
            self.attributes.push((PropertyName { namespace: XML_NAMESPACE.into(), local: "lang".into() }, language.into()));
        }
    }

    /// The element as text that can stand anywhere: it declares every namespace that it needs.
    pub fn to_xml(&self) -> String {
        let mut writer = Writer::new();
        self.write_to(&mut writer, None);
        writer.into_string()
    }

    fn write_to(&self, writer: &mut Writer, inherited: Option<&str>) {
        writer.open_named(&self.name, inherited);
        for (number, (name, value)) in self.attributes.iter().enumerate() {
            match &*name.namespace {
                "" => writer.attribute("", &name.local, value),
                XML_NAMESPACE => writer.attribute("xml:", &name.local, value),
                namespace => {
                    let prefix = ["a", &number.to_string(), ":"].concat();
                    writer.attribute("xmlns:", prefix.trim_end_matches(':'), namespace);
                    writer.attribute(&prefix, &name.local, value);
                }
            }
        }
        if self.content.is_empty() {
            writer.end_empty();
            return;
        }
        writer.end_open();
        for content in &self.content {
            match content {
                Content::Element(element) => element.write_to(writer, Some(&self.name.namespace)),
                Content::Text(text) => writer.text(text),
            }
        }
        writer.close_local(&self.name.local);
    }
}

/// Reads a document: one element, within every bound.
pub fn parse(body: &[u8]) -> Result<Element, InvalidXml> {
    if body.len() > XML_BODY_BYTES_MAX {
        return Err(InvalidXml::TooLarge);
    }
    let text = std::str::from_utf8(body).map_err(|_error| InvalidXml::Malformed)?;
    let mut reader = NsReader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    reader.config_mut().check_comments = true;
    reader.resolver_mut().set_max_declarations_per_element(XML_ATTRIBUTES_MAX);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let event = reader.read_event().map_err(|_error| InvalidXml::Malformed)?;
        match event {
            Event::Start(start) => {
                if open.len() >= XML_DEPTH_MAX || root.is_some() {
                    return Err(if root.is_some() { InvalidXml::Malformed } else { InvalidXml::TooLarge });
                }
                open.push(begin(&reader, &start)?);
            }
            Event::Empty(start) => {
                if open.len() >= XML_DEPTH_MAX {
                    return Err(InvalidXml::TooLarge);
                }
                let element = begin(&reader, &start)?;
                place(element, &mut open, &mut root)?;
            }
            Event::End(_) => {
                let element = open.pop().ok_or(InvalidXml::Malformed)?;
                place(element, &mut open, &mut root)?;
            }
            Event::Text(text) => push_text(&mut open, &text.xml10_content().map_err(|_error| InvalidXml::Malformed)?)?,
            Event::CData(text) => push_text(&mut open, &text.xml10_content().map_err(|_error| InvalidXml::Malformed)?)?,
            Event::GeneralRef(reference) => {
                let character = resolve(&reference)?;
                push_text(&mut open, character.encode_utf8(&mut [0; 4]))?;
            }
            Event::DocType(_) => return Err(InvalidXml::DocumentType),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if open.is_empty() { root.ok_or(InvalidXml::Malformed) } else { Err(InvalidXml::Malformed) }
}

fn place(element: Element, open: &mut [Element], root: &mut Option<Element>) -> Result<(), InvalidXml> {
    match open.last_mut() {
        Some(parent) => parent.content.push(Content::Element(element)),
        None if root.is_none() => *root = Some(element),
        None => return Err(InvalidXml::Malformed),
    }
    Ok(())
}

fn push_text(open: &mut [Element], text: &str) -> Result<(), InvalidXml> {
    if !text.chars().all(is_xml_char) {
        return Err(InvalidXml::Malformed);
    }
    let Some(parent) = open.last_mut() else {
        return if text.trim().is_empty() { Ok(()) } else { Err(InvalidXml::Malformed) };
    };
    match parent.content.last_mut() {
        Some(Content::Text(before)) => before.push_str(text),
        Some(Content::Element(_)) | None => parent.content.push(Content::Text(text.to_owned())),
    }
    Ok(())
}

fn resolve(reference: &BytesRef<'_>) -> Result<char, InvalidXml> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_error| InvalidXml::Malformed)? {
        return Ok(character);
    }
    match &**reference {
        b"lt" => Ok('<'),
        b"gt" => Ok('>'),
        b"amp" => Ok('&'),
        b"apos" => Ok('\''),
        b"quot" => Ok('"'),
        _ => Err(InvalidXml::DocumentType),
    }
}

fn begin(reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<Element, InvalidXml> {
    let (namespace, local) = reader.resolver().resolve_element(start.name());
    let name = qualified(namespace, local.as_ref())?;
    let mut attributes: Vec<(PropertyName, Box<str>)> = Vec::new();
    for (count, attribute) in start.attributes().enumerate() {
        if count >= XML_ATTRIBUTES_MAX {
            return Err(InvalidXml::TooLarge);
        }
        let attribute = attribute.map_err(|_error| InvalidXml::Malformed)?;
        if attribute.key.as_namespace_binding().is_some() {
            // A prefix cannot be bound to nothing (Namespaces in XML 1.0, section 2.2).
            if attribute.value.is_empty() && attribute.key.prefix().is_some() {
                return Err(InvalidXml::Malformed);
            }
            continue;
        }
        let (namespace, local) = reader.resolver().resolve_attribute(attribute.key);
        let value = unescape(&attribute.value)?;
        attributes.push((qualified(namespace, local.as_ref())?, value.into()));
    }
    Ok(Element { name, attributes, content: Vec::new() })
}

fn qualified(namespace: ResolveResult<'_>, local: &[u8]) -> Result<PropertyName, InvalidXml> {
    let local = std::str::from_utf8(local).map_err(|_error| InvalidXml::Malformed)?;
    if !is_name(local) {
        return Err(InvalidXml::Malformed);
    }
    let namespace = match namespace {
        ResolveResult::Bound(namespace) => unescape(namespace.as_ref())?,
        ResolveResult::Unbound => String::new(),
        ResolveResult::Unknown(_) => return Err(InvalidXml::Malformed),
    };
    Ok(PropertyName { namespace: namespace.into(), local: local.into() })
}

fn unescape(raw: &[u8]) -> Result<String, InvalidXml> {
    let raw = std::str::from_utf8(raw).map_err(|_error| InvalidXml::Malformed)?;
    let text = quick_xml::escape::unescape(raw).map_err(|_error| InvalidXml::Malformed)?;
    if text.contains('<') && raw.contains('<') || !text.chars().all(is_xml_char) {
        return Err(InvalidXml::Malformed);
    }
    Ok(text.into_owned())
}

/// XML 1.0, production 2.
fn is_xml_char(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// XML 1.0, production 5, without the colon.
fn is_name(text: &str) -> bool {
    let starts = |character: char| {
        matches!(character, 'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
            | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
            | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
            | '\u{10000}'..='\u{effff}')
    };
    let continues = |character: char| {
        starts(character) || matches!(character, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
    };
    text.starts_with(starts) && text.chars().all(continues)
}

#[cfg(test)]
mod tests;
