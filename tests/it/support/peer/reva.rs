//! oCIS 8, OpenCloud 6 and CERNBox 11 as peers of Open Cloud Mesh: invitations, shares both ways, notifications (`protocol/ocm.md`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use causeway::domain::CloudId;
use serde_json::{Value, json};

use super::dav::{At, Style, sabre, strict};
use super::tree::Tree;
use super::{Peer, Reply, Seen, Verdict};

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// oCIS 8.
    Ocis,
    /// OpenCloud 6.
    OpenCloud,
    /// CERNBox 11.
    Cernbox,
}

impl Family {
    /// All of them.
    pub(crate) const ALL: [Family; 3] = [Family::Ocis, Family::OpenCloud, Family::Cernbox];
}

/// The id of the one user that such a server has, opaque as they are.
pub(crate) const EINSTEIN: &str = "4c510ada-c86b-4815-8820-42cdf82c3d51";
/// The invitation of that user.
const TOKEN: &str = "9bd5cc5f-0b5d-4b4f-8e19-0c8ad24d1a2b";
/// What opens the share of that user.
pub(crate) const SECRET: &str = "Ohz4WqFlMTE5mQbXbYh0bPmMIUbiVh0o";

const STYLE: Style = Style {
    reading: ("", ""),
    editing: ("DNVCK", "DNVW"),
    bits: None,
    newer: true,
    quota: None,
    no_parent: 409,
    lock: None,
    part: None,
    classes: "1, 2",
};

/// What such a server is and has.
pub(crate) struct State {
    family: Family,
    host: String,
    /// What its user shares.
    pub(crate) tree: Tree,
    /// Whether that may be changed.
    pub(crate) writable: bool,
    /// What the share is answered with, where it is gone.
    pub(crate) gone: Option<u16>,
    /// Its administrator has added our server.
    pub(crate) trusts: bool,
    /// Whom its user knows of ours, as `id@host`.
    pub(crate) contacts: BTreeSet<String>,
    /// The shares that it took.
    pub(crate) offers: Vec<Value>,
    /// The notifications that it took.
    pub(crate) told: Vec<Value>,
}

/// A running server of the family.
pub(crate) struct Reva {
    peer: Peer,
    state: Arc<Mutex<State>>,
}

impl Reva {
    pub(crate) async fn start(family: Family) -> Reva {
        let state = State {
            family,
            host: String::new(),
            tree: Tree::folder(),
            writable: true,
            gone: None,
            trusts: true,
            contacts: BTreeSet::new(),
            offers: Vec::new(),
            told: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let answering = Arc::clone(&state);
        let peer = Peer::start(move |seen| answering.lock().unwrap().answer(seen)).await;
        state.lock().unwrap().host = peer.host();
        Reva { peer, state }
    }

    /// Changes something there, or looks.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> String {
        self.peer.host()
    }

    /// What arrived since the last question, as `METHOD /path`.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        self.peer.take_seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }

    /// The invitation of its user, as its page shows it.
    pub(crate) fn invite(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("{TOKEN}@{}", self.host()))
    }

    /// Where its user's share is.
    pub(crate) fn uri(&self) -> String {
        self.peer.url(&self.change(|state| state.root()))
    }

    /// What it sends to offer its user's folder.
    pub(crate) fn offering(&self, with: &str, share_type: &str) -> Value {
        // Without TLS an address is found by its scheme alone.
        let address = format!("{EINSTEIN}@http://{}", self.host());
        json!({"shareWith": with, "name": "Relativity", "providerId": "84a7ac8a-share", "owner": address, "sender": address,
            "ownerDisplayName": "Albert Einstein", "senderDisplayName": "Albert Einstein", "shareType": share_type, "resourceType": "folder",
            "protocol": {"name": "multi", "options": {}, "webdav": {"permissions": ["read", "write"], "uri": self.uri(), "sharedSecret": SECRET}}})
    }

    #[track_caller]
    pub(crate) fn check(&self) {
        self.peer.check();
    }
}

impl State {
    /// The path of the share: oCIS and OpenCloud have the secret in it, CERNBox the number.
    fn root(&self) -> String {
        match self.family {
            Family::Ocis | Family::OpenCloud => format!("/dav/ocm/{SECRET}/"),
            Family::Cernbox => "/remote.php/dav/ocm/84a7ac8a-share/".to_owned(),
        }
    }

    fn answer(&mut self, seen: &Seen) -> Verdict {
        if !seen.header("user-agent").is_some_and(|agent| agent.starts_with("Causeway/")) {
            return Err("it does not say who asks".to_owned());
        }
        let root = self.root();
        match (seen.method.as_str(), seen.path.as_str()) {
            ("GET", "/.well-known/ocm") => Ok(Reply::json(200, &self.discovery().to_string())),
            ("GET", "/status.php") => Ok(self.status()),
            ("POST", "/ocm/shares") => self.offered(&posted(seen)?),
            ("POST", "/ocm/notifications") => self.notified(&posted(seen)?),
            ("POST", "/ocm/invite-accepted") => self.accepted(&posted(seen)?),
            (_, path) if path.starts_with(root.trim_end_matches('/')) => {
                strict(seen)?;
                if let Some(status) = self.gone {
                    let exception = if status == 503 { "ServiceUnavailable" } else { "NotFound" };
                    return Ok(sabre(status, exception, ""));
                }
                if seen.header("authorization") != Some(&format!("Bearer {SECRET}")) {
                    return Ok(sabre(401, "NotAuthenticated", ""));
                }
                At { style: STYLE, writable: self.writable, tree: &mut self.tree, root: &root, host: &self.host }.answer(seen)
            }
            _ => Err("this server was never seen to be asked that".to_owned()),
        }
    }

    fn discovery(&self) -> Value {
        let (version, provider, webdav, capabilities) = match self.family {
            Family::Ocis => ("1.1.0", "oCIS", "/dav/ocm", json!(["/invite-accepted"])),
            Family::OpenCloud => ("1.2.0", "OpenCloud", "/dav/ocm", json!(["invites", "webdav-uri", "protocol-object", "invite-wayf"])),
            Family::Cernbox => ("1.3.0", "CERNBox", "/remote.php/dav/ocm", json!(["invites", "protocol-object", "invite-wayf"])),
        };
        let resource = |name: &str| json!({"name": name, "shareTypes": ["user"], "protocols": {"webdav": webdav}});
        let mut document = json!({"enabled": true, "apiVersion": version, "endPoint": format!("http://{}/ocm", self.host), "provider": provider,
            "resourceTypes": [resource("file"), resource("folder")], "capabilities": capabilities});
        if self.family != Family::Ocis {
            document["inviteAcceptDialog"] = json!("/open-cloud-mesh/accept-invite");
            document["criteria"] = json!(["must-invite"]);
        }
        document
    }

    fn status(&self) -> Reply {
        match self.family {
            Family::Ocis | Family::OpenCloud => Reply::json(
                200,
                r#"{"installed":true,"maintenance":false,"needsDbUpgrade":false,"version":"10.11.0.0","versionstring":"10.11.0","edition":"Community","productname":"Infinite Scale","product":"Infinite Scale","productversion":"8.0.0"}"#,
            ),
            Family::Cernbox => Reply::json(
                200,
                r#"{"installed":true,"maintenance":false,"needsDbUpgrade":false,"version":"10.0.11.5","versionstring":"10.0.11","edition":"reva","productname":"reva","product":"reva","productversion":"11.0.0"}"#,
            ),
        }
    }

    /// `POST /ocm/shares`: shape B alone, and nothing in it that is not known.
    fn offered(&mut self, share: &Value) -> Verdict {
        let text = |name: &str| share[name].as_str().unwrap_or_default().to_owned();
        let protocol = share["protocol"].as_object().ok_or("it has no protocol")?;
        let options = protocol.get("options").is_none_or(|options| options == &json!({}));
        let known = protocol.keys().all(|key| matches!(key.as_str(), "name" | "options" | "webdav"));
        if !options || !known {
            return Err("protocol options are not supported there: it should have known the shape".to_owned());
        }
        let webdav = &protocol["webdav"];
        let absolute = webdav["uri"].as_str().is_some_and(|uri| uri.starts_with("http"));
        let rights = webdav["permissions"]
            .as_array()
            .is_some_and(|words| words.iter().all(|word| *word == "read" || *word == "write" || *word == "share"));
        let fits = absolute && rights && webdav["sharedSecret"].is_string() && webdav.get("requirements").is_none();
        if !fits || !matches!(share["resourceType"].as_str(), Some("file" | "folder")) || share["shareType"] != "user" {
            return Err(format!("it is no share of shape B: {share}"));
        }
        for name in ["shareWith", "name", "providerId", "owner", "sender", "ownerDisplayName", "senderDisplayName"] {
            if text(name).is_empty() {
                return Err(format!("{name} is empty"));
            }
        }
        if !self.trusts || !self.contacts.contains(&CloudId::parse(&text("sender")).map_err(|error| error.to_string())?.to_string()) {
            return Ok(Reply::json(403, r#"{"code":"UNTRUSTED_SERVICE","message":"provider not trusted"}"#));
        }
        if text("shareWith") != format!("{EINSTEIN}@{}", self.host) {
            return Ok(Reply::json(404, r#"{"code":"RESOURCE_NOT_FOUND","message":"user not found"}"#));
        }
        self.offers.push(share.clone());
        Ok(match self.family {
            // They write the body before the status, and the type after it.
            Family::Ocis | Family::OpenCloud => Reply::new(200).body("text/plain; charset=utf-8", "{}\n"),
            Family::Cernbox => Reply::json(201, r#"{"recipientDisplayName":"Albert Einstein"}"#),
        })
    }

    fn notified(&mut self, told: &Value) -> Verdict {
        if told["providerId"].as_str().is_none_or(str::is_empty) || !told["resourceType"].is_string() {
            return Err("providerId and resourceType are needed there".to_owned());
        }
        self.told.push(told.clone());
        let kind = told["notificationType"].as_str().unwrap_or_default();
        Ok(match (self.family, kind) {
            (Family::Ocis, "SHARE_UNSHARED" | "SHARE_CHANGE_PERMISSION") if told["notification"]["grantee"] == EINSTEIN => Reply::new(201),
            (Family::Ocis, "SHARE_UNSHARED" | "SHARE_CHANGE_PERMISSION") => return Err("grantee is no user of it".to_owned()),
            // Only those two are known there.
            (Family::Ocis, _) => {
                Reply::json(400, r#"{"message":"BAD_REQUEST","validationErrors":[{"name":"notification","message":"not supported"}]}"#)
            }
            // They take everything, and do nothing.
            (Family::OpenCloud | Family::Cernbox, _) => Reply::new(201),
        })
    }

    fn accepted(&mut self, accepted: &Value) -> Verdict {
        let text = |name: &str| accepted[name].as_str().unwrap_or_default().to_owned();
        let (provider, user) = (text("recipientProvider"), text("userID"));
        if provider.is_empty() || user.is_empty() || text("token").is_empty() || user != text("userId") {
            return Err(format!("token, userID and recipientProvider must not be null: {accepted}"));
        }
        if !self.trusts {
            return Ok(match self.family {
                Family::Ocis => Reply::json(401, r#"{"code":"UNAUTHENTICATED","message":"provider not authorized"}"#),
                Family::OpenCloud | Family::Cernbox => Reply::json(403, r#"{"code":"UNTRUSTED_SERVICE","message":"provider not trusted"}"#),
            });
        }
        if text("token") != TOKEN {
            return Ok(Reply::json(404, r#"{"code":"RESOURCE_NOT_FOUND","message":"token not found"}"#));
        }
        let contact = CloudId::at(&user, &provider).map_err(|error| error.to_string())?.to_string();
        if !self.contacts.insert(contact) {
            return Ok(Reply::json(409, r#"{"code":"ALREADY_EXIST","message":"user already known"}"#));
        }
        let answer = |id: &str| json!({"userID": id, "email": "einstein@mail.example", "name": "Albert Einstein"}).to_string() + "\n";
        Ok(match self.family {
            Family::Ocis => Reply::new(200).body("text/plain; charset=utf-8", answer(EINSTEIN)),
            Family::OpenCloud => Reply::new(200).body("text/plain; charset=utf-8", answer(&format!("{EINSTEIN}@https://{}", self.host))),
            Family::Cernbox => Reply::json(200, &answer(EINSTEIN)),
        })
    }
}

fn posted(seen: &Seen) -> Result<Value, String> {
    if !seen.header("content-type").is_some_and(|media| media.starts_with("application/json")) {
        return Err("it is not sent as JSON".to_owned());
    }
    serde_json::from_slice(&seen.body).map_err(|error| error.to_string())
}
