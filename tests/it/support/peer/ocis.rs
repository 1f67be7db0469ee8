//! oCIS and OpenCloud as hosts of a public link: one page for every token, WebDAV below `dav/public-files/TOKEN`.

use super::dav::{At, Style, sabre};
use super::host::{State, Terms};
use super::{Reply, Seen, Verdict};

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

/// Answers one request; `inner` has the path below the server's root.
pub(super) fn answer(state: &mut State, inner: &Seen, seen: &Seen) -> Verdict {
    match (inner.method.as_str(), inner.path.as_str()) {
        ("GET", "/status.php") => Ok(Reply::json(
            200,
            r#"{"installed":true,"maintenance":false,"needsDbUpgrade":false,"version":"10.11.0.0","versionstring":"10.11.0","edition":"Community","productname":"Infinite Scale","product":"Infinite Scale","productversion":"7.0.0"}"#,
        )),
        (_, path) if path.starts_with("/dav/public-files/") => tree(state, "/dav/public-files/", path, seen),
        (_, path) if path.starts_with("/remote.php/dav/public-files/") => tree(state, "/remote.php/dav/public-files/", path, seen),
        // Not served there.
        (_, path) if path.starts_with("/public.php/webdav") => Ok(Reply::html(404, "")),
        // The program that the browser runs, whatever the token.
        ("GET", path) if path.starts_with("/s/") || path.starts_with("/index.php/s/") => {
            Ok(Reply::html(200, "<div id=\"owncloud\"></div>"))
        }
        _ => Err("this server was never seen to be asked that".to_owned()),
    }
}

fn tree(state: &mut State, front: &str, path: &str, seen: &Seen) -> Verdict {
    let token = path.strip_prefix(front).unwrap().split('/').next().unwrap_or_default().to_owned();
    if !state.has(&token) {
        return Ok(state.fail(sabre(404, "NotFound", "")));
    }
    let given = seen.basic();
    if given.as_ref().is_some_and(|(login, _)| login != "public") {
        return Err("only the user `public` is known here".to_owned());
    }
    if !state.opens(&given.map(|(_, password)| password).unwrap_or_default()) {
        return Ok(state.fail(sabre(401, "NotAuthenticated", "").header("www-authenticate", "Basic realm=\"https://cloud.example\"")));
    }
    let root = [state.web_root, front, &token, "/"].concat();
    At { style: STYLE, writable: state.terms == Terms::Edit, tree: &mut state.tree, root: &root, host: &state.host }.answer(seen)
}
