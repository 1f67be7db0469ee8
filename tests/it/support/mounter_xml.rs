//! PROPFIND and PROPPATCH of SabreDAV's client: the bodies that it sends, and what it takes from an answer.

use std::collections::BTreeMap;

use causeway::wire::xml;

/// WebDAV's namespace.
pub(crate) const DAV: &str = "DAV:";
/// ownCloud's.
pub(crate) const OC: &str = "http://owncloud.org/ns";
/// That of `share-permissions`.
pub(crate) const OCS: &str = "http://open-collaboration-services.org/ns";

/// A property by namespace and name.
pub(crate) type Wanted = (&'static str, &'static str);

/// As SabreDAV 1.7 writes it, which ownCloud 7 uses.
pub(crate) fn old_propfind(wanted: &[Wanted]) -> String {
    let property = |(namespace, name): &Wanted| match *namespace {
        DAV => format!("    <d:{name} />\n"),
        other => format!("    <x:{name} xmlns:x=\"{other}\"/>\n"),
    };
    let properties: String = wanted.iter().map(property).collect();
    format!("<?xml version=\"1.0\"?>\n<d:propfind xmlns:d=\"DAV:\">\n  <d:prop>\n{properties}  </d:prop>\n</d:propfind>")
}

/// As libxml writes it for later versions: every prefix is declared above, and `x` again where it is used (`protocol/nextcloud.md` 1.6).
pub(crate) fn propfind(wanted: &[Wanted]) -> String {
    let mut others: Vec<&str> = Vec::new();
    let mut properties = String::new();
    for (namespace, name) in wanted {
        if *namespace == DAV {
            properties.extend(["    <d:", *name, "/>\n"]);
            continue;
        }
        let at = others.iter().position(|known| known == namespace).unwrap_or_else(|| {
            others.push(namespace);
            others.len() - 1
        });
        let prefix = if at == 0 { "x".to_owned() } else { format!("x{at}") };
        properties.extend(["    <", prefix.as_str(), ":", *name, " xmlns:x=\"", *namespace, "\"/>\n"]);
    }
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<d:propfind xmlns:d=\"DAV:\">\n";
    if properties.is_empty() {
        return format!("{head}  <d:prop/>\n</d:propfind>\n");
    }
    let declare = |(at, namespace): (usize, &&str)| match at {
        0 => format!(" xmlns:x=\"{namespace}\""),
        at => format!(" xmlns:x{at}=\"{namespace}\""),
    };
    let declarations: String = others.iter().enumerate().map(declare).collect();
    format!("{head}  <d:prop{declarations}>\n{properties}  </d:prop>\n</d:propfind>\n")
}

/// A modification time, as ownCloud 7 sets it.
pub(crate) fn old_touch(modified: i64) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<d:propertyupdate xmlns:d=\"DAV:\">\n<d:set><d:prop>\n<d:lastmodified>{modified}</d:lastmodified>\n</d:prop></d:set>\n</d:propertyupdate>"
    )
}

/// A modification time, as later ones do (`protocol/nextcloud.md` 1.6).
pub(crate) fn touch(modified: i64) -> String {
    format!(
        "<d:propertyupdate xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\"><d:set><d:prop>\
         <d:lastmodified>{modified}</d:lastmodified></d:prop></d:set></d:propertyupdate>"
    )
}

/// One node of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// As it was sent.
    pub(crate) href: String,
    /// The properties of status 200 by `namespace name`; of a resource type, `collection`.
    pub(crate) found: BTreeMap<String, String>,
    /// Those of other statuses, and their statuses.
    pub(crate) missing: BTreeMap<String, u16>,
}

impl Response {
    /// A property that is there.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&str> {
        self.found.get(&format!("{namespace} {name}")).map(String::as_str)
    }

    /// Whether it is a folder.
    pub(crate) fn is_folder(&self) -> bool {
        self.get(DAV, "resourcetype") == Some("collection")
    }
}

/// Reads a multistatus as SabreDAV's client does: what follows the first blank of a status line counts, and nothing but 200 is found.
pub(crate) fn multistatus(body: &[u8]) -> Vec<Response> {
    let text = String::from_utf8_lossy(body);
    let root = xml::parse(body).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(root.is_dav("multistatus"), "{text}");
    let responses = root.elements().filter(|element| element.is_dav("response")).map(|response| {
        let mut read = Response {
            href: response.dav_child("href").expect("a response has a href").text(),
            found: BTreeMap::new(),
            missing: BTreeMap::new(),
        };
        for propstat in response.elements().filter(|element| element.is_dav("propstat")) {
            let line = propstat.dav_child("status").expect("a propstat has a status").text();
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            assert!(words.len() == 3 && words[0] == "HTTP/1.1", "{line}");
            for property in propstat.dav_child("prop").expect("a propstat has properties").elements() {
                let name = format!("{} {}", property.name.namespace, property.name.local);
                let value = if property.dav_child("collection").is_some() { "collection".to_owned() } else { property.text() };
                match words[1] {
                    "200" => drop(read.found.insert(name, value)),
                    other => drop(read.missing.insert(name, other.parse().unwrap())),
                }
            }
        }
        read
    });
    responses.collect()
}
