//! What Open Cloud Mesh puts on the wire (OCM-API drafts, as the deployed servers speak it: `protocol/ocm.md`).
//!
//! One shape each for what we write; readers take every spelling that was seen. Unknown keys are passed over.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::{CloudId, Kind, Permissions, Secret, Timestamp};
use crate::wire::signature::Announced;

/// What stands in `options.permissions` of shape A: where to read the rights.
const SHARE_PERMISSIONS: &str = "{http://open-cloud-mesh.org/ns}share-permissions";

/// The two shapes of a new share (`protocol/ocm.md` 1.3); no single body works everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `webdav` with `options.sharedSecret`: ownCloud and Nextcloud.
    Legacy,
    /// `multi` with an absolute `webdav.uri`: oCIS, OpenCloud, CERNBox.
    Multi,
}

/// A share as its owner's server offers it.
#[derive(Debug, Clone)]
pub struct NewShare {
    /// To whom.
    pub with: CloudId,
    /// What it is called.
    pub name: String,
    /// What is said to the receiver.
    pub note: String,
    /// Its number at our side.
    pub provider_id: String,
    /// Whose files they are.
    pub owner: CloudId,
    /// How the owner is shown; never empty.
    pub owner_name: String,
    /// Who shares.
    pub sender: CloudId,
    /// How the sender is shown; never empty.
    pub sender_name: String,
    /// File or collection.
    pub kind: Kind,
    /// The first second at which it no longer works.
    pub expires: Option<Timestamp>,
    /// What opens it.
    pub secret: Secret,
    /// Where it is, absolute, for shape B.
    pub uri: String,
    /// What it grants.
    pub permissions: Permissions,
}

impl NewShare {
    /// The body of `POST /shares`.
    pub fn body(&self, shape: Shape) -> Value {
        let (owner, sender) = match shape {
            // ownCloud keeps what stands behind the `@` as the address of the remote (`protocol/owncloud.md` 1.10).
            Shape::Legacy => (self.owner.with_scheme(), self.sender.with_scheme()),
            // Bare but for a server without TLS, which is not found without its scheme.
            Shape::Multi => (String::from(self.owner.clone()), String::from(self.sender.clone())),
        };
        let secret = self.secret.expose();
        let (resource, protocol) = match shape {
            Shape::Legacy => ("file", json!({"name": "webdav", "options": {"sharedSecret": secret, "permissions": SHARE_PERMISSIONS}})),
            Shape::Multi => {
                let webdav = json!({"uri": self.uri, "sharedSecret": secret, "permissions": words(self.permissions)});
                (if self.kind == Kind::File { "file" } else { "folder" }, json!({"name": "multi", "options": {}, "webdav": webdav}))
            }
        };
        let mut body = json!({
            "shareWith": self.with.to_string(), "shareType": "user", "name": self.name, "resourceType": resource, "description": self.note,
            "providerId": self.provider_id, "owner": owner, "ownerDisplayName": self.owner_name, "sender": sender,
            "senderDisplayName": self.sender_name, "sharedBy": sender, "sharedByDisplayName": self.sender_name, "protocol": protocol,
        });
        if let (Some(expires), Some(fields)) = (self.expires, body.as_object_mut()) {
            fields.insert("expiration".to_owned(), json!(expires));
        }
        body
    }
}

/// The rights of a share in OCM's words: `read`, `write`, `share`.
pub fn words(permissions: Permissions) -> Vec<&'static str> {
    let writes = permissions.0 & (Permissions::UPDATE | Permissions::CREATE | Permissions::DELETE).0 != 0;
    let words = [(permissions.contains(Permissions::READ), "read"), (writes, "write"), (permissions.contains(Permissions::SHARE), "share")];
    words.into_iter().filter(|(granted, _)| *granted).map(|(_, word)| word).collect()
}

/// The rights that OCM's words grant.
pub fn permissions_of(words: &[String]) -> Permissions {
    words.iter().fold(Permissions::NONE, |sum, word| match word.as_str() {
        "read" => sum | Permissions::READ,
        "write" => sum | Permissions(Permissions::UPDATE.0 | Permissions::CREATE.0 | Permissions::DELETE.0),
        "share" => sum | Permissions::SHARE,
        _ => sum,
    })
}

/// How the share in an incoming `POST /shares` is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webdav {
    /// What opens it.
    pub secret: Secret,
    /// Where it is, as the sender spells it; none in shape A.
    pub uri: Option<String>,
    /// What it grants, where the sender says so; none in shape A.
    pub permissions: Option<Permissions>,
    /// What the sender demands of who opens it, such as `must-exchange-token`.
    pub requirements: Vec<String>,
}

/// An incoming `POST /shares`. Fields are as they came, not judged; those that are needed and missing are empty.
#[derive(Debug, Clone)]
pub struct IncomingShare {
    /// `shareWith`.
    pub with: String,
    /// `name`.
    pub name: String,
    /// `description`.
    pub note: String,
    /// `providerId`, text or number.
    pub provider_id: String,
    /// `owner`.
    pub owner: String,
    /// `ownerDisplayName`.
    pub owner_name: String,
    /// `sender`, else `sharedBy`, else `owner`.
    pub sender: String,
    /// Its display name.
    pub sender_name: String,
    /// `shareType`.
    pub share_type: String,
    /// `resourceType`.
    pub resource_type: String,
    /// `expiration`, in seconds since 1970.
    pub expires: Option<Timestamp>,
    /// `protocol.name`.
    pub protocol: String,
    /// How it is reached by WebDAV; none where it is not.
    pub webdav: Option<Webdav>,
}

impl IncomingShare {
    /// Reads a body; none where it is not a JSON object.
    pub fn parse(body: &[u8]) -> Option<IncomingShare> {
        let Value::Object(fields) = serde_json::from_slice(body).ok()? else { return None };
        let (owner, owner_name) = (text(&fields, "owner"), text(&fields, "ownerDisplayName"));
        let first = |names: &[&str]| names.iter().map(|name| text(&fields, name)).find(|text| !text.is_empty()).unwrap_or_default();
        let protocol = fields.get("protocol").and_then(Value::as_object);
        Some(IncomingShare {
            with: text(&fields, "shareWith"),
            name: text(&fields, "name"),
            note: text(&fields, "description"),
            provider_id: text(&fields, "providerId"),
            sender: first(&["sender", "sharedBy", "owner"]),
            sender_name: first(&["senderDisplayName", "sharedByDisplayName"]),
            owner,
            owner_name,
            share_type: text(&fields, "shareType"),
            resource_type: text(&fields, "resourceType"),
            expires: fields.get("expiration").and_then(seconds),
            protocol: protocol.map(|protocol| text(protocol, "name")).unwrap_or_default(),
            webdav: protocol.and_then(webdav),
        })
    }
}

/// Shape B first: a body that has both means the same share twice.
fn webdav(protocol: &Map<String, Value>) -> Option<Webdav> {
    if let Some(multi) = protocol.get("webdav").and_then(Value::as_object) {
        let secret = Secret::new(text(multi, "sharedSecret"));
        let words = multi.get("permissions").map(strings);
        let uri = Some(text(multi, "uri")).filter(|uri| !uri.is_empty());
        let requirements = multi.get("requirements").map(strings).unwrap_or_default();
        return Some(Webdav { secret, uri, permissions: words.map(|words| permissions_of(&words)), requirements });
    }
    // PHP writes an empty map as `[]`.
    let options = protocol.get("options").and_then(Value::as_object)?;
    let secret = Secret::new(text(options, "sharedSecret"));
    Some(Webdav { secret, uri: None, permissions: None, requirements: Vec::new() })
}

/// A notification (`POST /notifications`), both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// `SHARE_ACCEPTED` and the like.
    pub kind: String,
    /// The number that the share has at who offered it.
    pub provider_id: String,
    /// What opens the share.
    pub secret: Secret,
    /// Everything else that stands in `notification`.
    pub more: Map<String, Value>,
}

impl Notification {
    /// One without further keys.
    pub fn new(kind: &str, provider_id: &str, secret: Secret) -> Notification {
        Notification { kind: kind.to_owned(), provider_id: provider_id.to_owned(), secret, more: Map::new() }
    }

    /// The same with another key in `notification`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Notification {
        self.more.insert(key.to_owned(), value.into());
        self
    }

    /// Reads a body; none where it is not a JSON object.
    pub fn parse(body: &[u8]) -> Option<Notification> {
        let Value::Object(fields) = serde_json::from_slice(body).ok()? else { return None };
        let mut more = fields.get("notification").and_then(Value::as_object).cloned().unwrap_or_default();
        let secret = Secret::new(text(&more, "sharedSecret"));
        more.remove("sharedSecret");
        Some(Notification { kind: text(&fields, "notificationType"), provider_id: text(&fields, "providerId"), secret, more })
    }

    /// A text of `notification`; empty where there is none.
    pub fn text(&self, key: &str) -> String {
        text(&self.more, key)
    }

    /// Texts of `notification`.
    pub fn texts(&self, key: &str) -> Vec<String> {
        self.more.get(key).map(strings).unwrap_or_default()
    }

    /// The body to send.
    pub fn body(&self) -> Value {
        let mut inner = self.more.clone();
        inner.insert("sharedSecret".to_owned(), json!(self.secret.expose()));
        let resource = inner.remove("resourceType").unwrap_or_else(|| json!("file"));
        json!({"notificationType": self.kind, "resourceType": resource, "providerId": self.provider_id, "notification": inner})
    }
}

/// What is needed of another server's discovery document (`/.well-known/ocm`, `/ocm-provider/`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    /// Where `/shares` and `/notifications` are, absolute, without a slash at its end.
    pub end_point: String,
    /// The path of WebDAV on the host of `end_point`, for shape A; none where it names none.
    pub webdav: Option<String>,
    /// Whether it takes shape B.
    pub takes_multi: bool,
    /// Whether it is of the reva family (oCIS, OpenCloud, CERNBox): its notifications come without secrets, and it wants to be told of new
    /// rights.
    pub reva: bool,
    /// The page for people that takes invitations, a path or a URL; none where it names none.
    pub invite_page: Option<String>,
    /// What it says of signatures and tokens.
    pub announced: Announced,
}

impl Discovery {
    /// Reads a document; none where it is not one, or sharing is switched off there. ownCloud 10 lists `shareTypes` in the place of
    /// `resourceTypes`.
    pub fn parse(body: &[u8]) -> Option<Discovery> {
        let Value::Object(fields) = serde_json::from_slice(body).ok()? else { return None };
        let end_point = text(&fields, "endPoint").trim_end_matches('/').to_owned();
        if fields.get("enabled").and_then(Value::as_bool) != Some(true) || end_point.is_empty() {
            return None;
        }
        let resources = fields.get("resourceTypes").or_else(|| fields.get("shareTypes")).and_then(Value::as_array);
        let files = resources.into_iter().flatten().filter_map(Value::as_object).find(|resource| text(resource, "name") == "file");
        let webdav = files.and_then(|resource| resource.get("protocols")?.get("webdav")?.as_str()).filter(|path| path.starts_with('/'));
        let capabilities = fields.get("capabilities").map(strings).unwrap_or_default();
        let can = |names: &[&str]| capabilities.iter().any(|capability| names.contains(&capability.as_str()));
        // They serve shares below `/dav/ocm`, and list no notifications. oCIS takes shape B alone, and does not say so.
        let at_ocm = webdav.is_some_and(|path| path.trim_end_matches('/').ends_with("/dav/ocm"));
        let reva = at_ocm || (can(&["invites"]) && !can(&["notifications", "/notifications"]));
        Some(Discovery {
            webdav: webdav.map(str::to_owned),
            takes_multi: at_ocm || can(&["protocol-object", "webdav-uri"]),
            reva,
            invite_page: Some(text(&fields, "inviteAcceptDialog")).filter(|page| !page.is_empty()),
            announced: Announced::parse(&fields),
            end_point,
        })
    }
}

/// A text or a number, as text; empty where there is none.
pub(super) fn text(fields: &Map<String, Value>, name: &str) -> String {
    match fields.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn seconds(value: &Value) -> Option<Timestamp> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share() -> NewShare {
        NewShare {
            with: CloudId::parse("bob@b.example").unwrap(),
            name: "Photos".to_owned(),
            note: String::new(),
            provider_id: "7".to_owned(),
            owner: CloudId::parse("alice@a.example").unwrap(),
            owner_name: "Alice".to_owned(),
            sender: CloudId::parse("alice@a.example").unwrap(),
            sender_name: "Alice".to_owned(),
            kind: Kind::Collection,
            expires: None,
            secret: Secret::new("s3cret"),
            uri: "https://a.example/remote.php/dav/ocm/7".to_owned(),
            permissions: Permissions::EDIT,
        }
    }

    #[test]
    fn shape_a_is_what_owncloud_and_nextcloud_take() {
        let body = share().body(Shape::Legacy);
        assert_eq!(body["owner"], "alice@https://a.example");
        assert_eq!(body["resourceType"], "file");
        assert_eq!(body["protocol"], json!({"name": "webdav", "options": {"sharedSecret": "s3cret", "permissions": SHARE_PERMISSIONS}}));
        let read = IncomingShare::parse(body.to_string().as_bytes()).unwrap();
        assert_eq!(
            (read.with.as_str(), read.provider_id.as_str(), read.sender.as_str()),
            ("bob@b.example", "7", "alice@https://a.example")
        );
        let expected = Webdav { secret: Secret::new("s3cret"), uri: None, permissions: None, requirements: Vec::new() };
        assert_eq!(read.webdav, Some(expected));
    }

    #[test]
    fn shape_b_is_what_the_reva_family_takes() {
        let body = share().body(Shape::Multi);
        assert_eq!(body["owner"], "alice@a.example");
        assert_eq!(body["resourceType"], "folder");
        assert_eq!(body["protocol"]["options"], json!({}), "any key there is refused");
        let webdav = IncomingShare::parse(body.to_string().as_bytes()).unwrap().webdav.unwrap();
        assert_eq!(webdav.uri.as_deref(), Some("https://a.example/remote.php/dav/ocm/7"));
        assert_eq!(webdav.permissions, Some(Permissions::EDIT));
    }

    #[test]
    fn f11_bodies_of_any_shape_are_read_without_harm() {
        for body in ["", "[]", "7", "{", "null", "\u{0}"] {
            assert!(IncomingShare::parse(body.as_bytes()).is_none(), "{body}");
            assert!(Notification::parse(body.as_bytes()).is_none(), "{body}");
            assert!(Discovery::parse(body.as_bytes()).is_none(), "{body}");
        }
        let php = IncomingShare::parse(br#"{"protocol":{"name":"webdav","options":[]},"providerId":9,"expiration":"12"}"#).unwrap();
        assert_eq!((php.webdav, php.provider_id.as_str(), php.expires), (None, "9", Some(12)));
        assert!(IncomingShare::parse(br#"{"protocol":[],"owner":{"a":1}}"#).unwrap().owner.is_empty());
    }

    #[test]
    fn discovery_documents_of_the_field_are_read() {
        let nextcloud = br#"{"enabled":true,"apiVersion":"1.0-proposal1","version":"1.1.0","endPoint":"https://b/ocm",
            "resourceTypes":[{"name":"file","shareTypes":["user","group"],"protocols":{"webdav":"/public.php/webdav/"}}],
            "capabilities":["/invite-accepted","/notifications","/shares"]}"#;
        let read = Discovery::parse(nextcloud).unwrap();
        assert_eq!(
            (read.end_point.as_str(), read.webdav.as_deref(), read.takes_multi),
            ("https://b/ocm", Some("/public.php/webdav/"), false)
        );
        let owncloud = br#"{"enabled":true,"apiVersion":"1.0-proposal1","endPoint":"http://b/index.php/apps/federatedfilesharing",
            "shareTypes":[{"name":"file","protocols":{"webdav":"/public.php/webdav/"}}]}"#;
        assert_eq!(Discovery::parse(owncloud).unwrap().webdav.as_deref(), Some("/public.php/webdav/"));
        let reva = br#"{"enabled":true,"apiVersion":"1.3.0","endPoint":"https://b/ocm/","capabilities":["invites","protocol-object"]}"#;
        let read = Discovery::parse(reva).unwrap();
        assert_eq!((read.end_point.as_str(), read.takes_multi), ("https://b/ocm", true));
        assert!(Discovery::parse(br#"{"enabled":false,"endPoint":"https://b/ocm"}"#).is_none());
    }

    #[test]
    fn the_reva_family_is_known_by_its_documents() {
        let read = |body: &str| Discovery::parse(body.as_bytes()).unwrap();
        let ocis = read(
            r#"{"enabled":true,"apiVersion":"1.1.0","endPoint":"https://b/ocm","provider":"oCIS","capabilities":["/invite-accepted"],
            "resourceTypes":[{"name":"file","shareTypes":["user"],"protocols":{"webdav":"/dav/ocm"}}]}"#,
        );
        assert!(ocis.reva && ocis.takes_multi);
        let cernbox = r#"{"enabled":true,"endPoint":"https://b/ocm","capabilities":["invites","protocol-object","invite-wayf"],
            "inviteAcceptDialog":"/open-cloud-mesh/accept-invite"}"#;
        let read_cernbox = read(cernbox);
        assert!(read_cernbox.reva && read_cernbox.takes_multi);
        assert_eq!(read_cernbox.invite_page.as_deref(), Some("/open-cloud-mesh/accept-invite"));
        let ours = read(&cernbox.replace("invite-wayf", "notifications"));
        assert!(!ours.reva && ours.takes_multi);
        let nextcloud =
            read(r#"{"enabled":true,"endPoint":"https://b/ocm","capabilities":["/invite-accepted","/notifications","/shares"]}"#);
        assert!(!nextcloud.reva && !nextcloud.takes_multi);
    }

    #[test]
    fn notifications_are_written_as_they_are_read() {
        let sent = Notification::new("REQUEST_RESHARE", "13", Secret::new("s")).with("shareWith", "amy@a").with("senderId", 1);
        let read = Notification::parse(sent.body().to_string().as_bytes()).unwrap();
        assert_eq!(read, sent);
        assert_eq!((read.text("senderId").as_str(), read.text("nothing").as_str()), ("1", ""));
        assert!(!format!("{read:?}").contains("\"s\""));
    }
}
