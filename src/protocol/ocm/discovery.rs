//! The discovery documents (`protocol/ocm.md` 1.2): what other servers need to know to share with our users and to open what ours share.

use serde_json::{Value, json};
use url::Url;

use crate::wire::invite::ACCEPT_PAGE;

/// Where shares are opened with their secret as the name of Basic, below the folder of the public URL: ownCloud, and Nextcloud before 28, hang it
/// onto the whole address of the server, and later Nextclouds do where it does not begin with that folder.
const WEBDAV: &str = "/public.php/webdav/";

/// What is served at `/ocm-provider/`. Every entry of `protocols` is a text: older decoders of the reva family fail at anything else.
/// `version` must not be empty: by it Nextcloud knows that a server is alive. There is no `publicKey`: who publishes one must sign.
pub(super) fn document(public_url: &str) -> Value {
    let protocols = json!({"webdav": WEBDAV});
    whole(public_url, "1.1.0", &protocols)
}

/// What is served at `/.well-known/ocm`.
pub(super) fn well_known(public_url: &str) -> Value {
    let protocols = json!({"webdav": WEBDAV, "webdav-receive": {"uri": "absolute"}});
    whole(public_url, "1.4.0", &protocols)
}

fn whole(public_url: &str, version: &str, protocols: &Value) -> Value {
    // CERNBox refuses a folder where no entry has that name.
    let resource = |name: &str| json!({"name": name, "shareTypes": ["user", "group"], "protocols": protocols});
    let end_point = [public_url.trim_end_matches('/'), "/ocm"].concat();
    // A path of the host, as that of WebDAV is.
    let accept_page = [&folder(public_url), ACCEPT_PAGE].concat();
    json!({
        "enabled": true,
        "apiVersion": version,
        "version": version,
        "provider": "Causeway",
        "endPoint": end_point,
        "resourceTypes": [resource("file"), resource("folder")],
        "capabilities": ["invites", "notifications", "protocol-object", "/invite-accepted", "/notifications", "/shares"],
        "inviteAcceptDialog": accept_page,
    })
}

/// The folder of the host that the server lives in, without a slash at its end.
fn folder(public_url: &str) -> String {
    Url::parse(public_url).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ocm::Discovery;

    #[test]
    fn the_documents_are_read_as_they_are_meant() {
        for document in [document("https://h.example/cloud"), well_known("https://h.example/cloud")] {
            let read = Discovery::parse(document.to_string().as_bytes()).unwrap();
            assert_eq!((read.end_point.as_str(), read.takes_multi), ("https://h.example/cloud/ocm", true));
            assert_eq!(read.webdav.as_deref(), Some("/public.php/webdav/"));
            assert_eq!((read.invite_page.as_deref(), read.reva), (Some("/cloud/ocm/accept-invite"), false));
        }
    }

    #[test]
    fn older_decoders_find_texts_only_and_nobody_is_promised_what_is_not_built() {
        let document = document("https://h.example");
        for resource in document["resourceTypes"].as_array().unwrap() {
            assert!(resource["protocols"].as_object().unwrap().values().all(Value::is_string));
        }
        let capabilities = ["invites", "notifications", "protocol-object", "/invite-accepted", "/notifications", "/shares"];
        assert_eq!(document["capabilities"], json!(capabilities));
        assert!(document.get("publicKey").is_none());
        assert_eq!((&document["apiVersion"], &document["version"]), (&json!("1.1.0"), &json!("1.1.0")));
    }
}
