//! Nextcloud 32.0.1 as the host of a public link (`protocol/nextcloud.md` 2).

use super::dav::{At, Style, sabre};
use super::host::{State, Terms};
use super::{Reply, Seen, Verdict};

const STYLE: Style = Style {
    reading: ("RG", "RG"),
    editing: ("RGDNVCK", "RGDNVW"),
    // 404 on public links.
    bits: None,
    newer: true,
    quota: Some("-3"),
    no_parent: 404,
    lock: Some(501),
    part: Some(400),
    classes: "1, 3, extended-mkcol",
};

/// Answers one request; `inner` has the path below the server's root.
pub(super) fn answer(state: &mut State, inner: &Seen, seen: &Seen) -> Verdict {
    if inner.path == "/status.php" {
        let text = format!(
            "{{\"installed\":true,\"maintenance\":{},\"needsDbUpgrade\":false,\"version\":\"32.0.1.2\",\"versionstring\":\"32.0.1\",\"edition\":\"\",\
             \"productname\":\"Nextcloud\",\"extendedSupport\":false}}",
            state.maintenance
        );
        return Ok(Reply::json(200, &text).header("access-control-allow-origin", "*"));
    }
    if state.maintenance {
        return Ok(sabre(503, "ServiceUnavailable", "System in maintenance mode."));
    }
    let reply = match (inner.method.as_str(), inner.path.as_str()) {
        ("GET", path) if path.starts_with("/index.php/s/") => page(state, path.trim_start_matches("/index.php/s/")),
        ("GET", path) if path.starts_with("/s/") => page(state, path.trim_start_matches("/s/")),
        ("POST", "/index.php/apps/files_sharing/shareinfo") => share_info(state, inner)?,
        (_, path) if path == "/public.php/webdav" || path.starts_with("/public.php/webdav/") => old_tree(state, seen)?,
        (_, path) if path.starts_with("/public.php/dav/files/") => new_tree(state, inner, seen)?,
        // What the URLs of other servers lead to.
        (_, path) if path.starts_with("/remote.php/dav/public-files/") => sabre(404, "NotFound", ""),
        _ => return Err("this server was never seen to be asked that".to_owned()),
    };
    // A guest that brings these back without nc_sameSiteCookiestrict is answered 412.
    Ok(reply
        .header("set-cookie", "oc8e2bfl7bwj=1o6; path=/; HttpOnly; SameSite=Lax")
        .header("set-cookie", "oc_sessionPassphrase=x%2Fy; path=/"))
}

fn page(state: &State, token: &str) -> Reply {
    if token == format!("{}/authenticate/showshare", state.token) && state.password.is_some() {
        return Reply::html(200, "<form><input type=\"password\" name=\"password\"></form>");
    }
    if !state.has(token) {
        return Reply::html(404, "Share not found");
    }
    if state.password.is_some() {
        return Reply::new(303).header("location", format!("{}/s/{token}/authenticate/showshare", state.web_root));
    }
    Reply::html(200, &format!("<meta property=\"og:title\" content=\"{}\">", state.name))
}

/// 1.7.
fn share_info(state: &mut State, seen: &Seen) -> Verdict {
    let token = seen.field("t").ok_or("it names no token")?;
    if !state.has(&token) || !state.outgoing {
        return Ok(state.fail(Reply::json(404, r#"{"data":[],"status":"error"}"#)));
    }
    if !state.opens(&seen.field("password").unwrap_or_default()) || state.terms == Terms::Drop {
        return Ok(state.fail(Reply::json(403, r#"{"data":[],"status":"error"}"#)));
    }
    let (kind, name) = (if state.is_file() { "file" } else { "dir" }, state.name);
    let text = format!(
        "{{\"data\":{{\"id\":57,\"parentId\":27,\"mtime\":1795312270,\"name\":\"{name}\",\"permissions\":31,\"mimetype\":\"httpd\\/unix-directory\",\
         \"size\":19,\"type\":\"{kind}\",\"etag\":\"6b024a8e4b116\"}},\"status\":\"success\"}}"
    );
    Ok(Reply::json(200, &text))
}

fn refusal() -> Reply {
    sabre(401, "NotAuthenticated", "Cannot authenticate over ajax calls")
        .header("www-authenticate", "Basic realm=\"Nextcloud\", charset=\"UTF-8\"")
}

fn throttled() -> Reply {
    sabre(429, "TooManyRequests", "Too many requests")
}

/// `/public.php/webdav/`: user = token.
fn old_tree(state: &mut State, seen: &Seen) -> Verdict {
    if state.throttles {
        return Ok(throttled());
    }
    if state.without_old_tree {
        return Ok(sabre(404, "NotFound", ""));
    }
    let Some((token, password)) = seen.basic() else { return Ok(refusal()) };
    if !state.has(&token) || !state.opens(&password) || !state.outgoing {
        return Ok(state.fail(refusal()));
    }
    serve(state, "/public.php/webdav/", seen)
}

/// `/public.php/dav/files/TOKEN/`: any user.
fn new_tree(state: &mut State, inner: &Seen, seen: &Seen) -> Verdict {
    if state.throttles {
        return Ok(throttled());
    }
    let token = inner.path.split('/').nth(4).unwrap_or_default().to_owned();
    if !state.has(&token) {
        return Ok(state.fail(sabre(503, "NotFound", "")));
    }
    if !state.opens(&seen.basic().map(|(_, password)| password).unwrap_or_default()) || !state.outgoing {
        return Ok(state.fail(refusal()));
    }
    serve(state, &format!("/public.php/dav/files/{token}/"), seen)
}

fn serve(state: &mut State, root: &str, seen: &Seen) -> Verdict {
    if state.terms == Terms::Drop && seen.method != "PUT" {
        return Ok(sabre(405, "MethodNotAllowed", "Only PUT is allowed on files drop"));
    }
    let root = [state.web_root, root].concat();
    At { style: STYLE, writable: state.terms == Terms::Edit, tree: &mut state.tree, root: &root, host: &state.host }.answer(seen)
}
