//! ownCloud 7.0.15, 8.2.11 and 11.0 as hosts of a public link (`protocol/owncloud.md` 1 to 3).

use super::dav::{At, Style, sabre};
use super::host::{Server, State, Terms};
use super::{Reply, Seen, Verdict};

const SEVEN: Style = Style {
    reading: ("R", "R"),
    editing: ("RDNVCK", "RDNVW"),
    bits: None,
    newer: false,
    quota: Some("-3"),
    no_parent: 409,
    lock: None,
    part: None,
    classes: "1, 3, extended-mkcol, 2",
};

const ELEVEN: Style = Style {
    // S and M are removed on public endpoints.
    reading: ("", ""),
    editing: ("DNVCK", "DNVW"),
    bits: Some((1, 15)),
    newer: true,
    lock: Some(405),
    part: Some(403),
    ..SEVEN
};

/// Answers one request; `inner` has the path below the server's root.
pub(super) fn answer(state: &mut State, inner: &Seen, seen: &Seen) -> Verdict {
    let old = state.server == Server::OwnCloud7;
    if inner.path == "/status.php" {
        return Ok(status(state));
    }
    if state.maintenance {
        return Ok(sabre(503, "ServiceUnavailable", "System in maintenance mode."));
    }
    let reply = match (inner.method.as_str(), inner.path.as_str()) {
        ("GET", "/public.php") if old => page_of_seven(state, inner)?,
        // Newer ones send to their own form.
        ("GET", "/public.php") => {
            let token = inner.field("t").ok_or("it names no token")?;
            Reply::new(302).header("location", format!("{}/index.php/s/{token}", state.web_root))
        }
        ("POST", "/index.php/apps/files_sharing/shareinfo") => share_info(state, inner)?,
        (_, path) if path == "/public.php/webdav" || path.starts_with("/public.php/webdav/") => old_tree(state, seen)?,
        (_, path) if path.starts_with("/remote.php/dav/public-files/") && state.server == Server::OwnCloud11 => {
            new_tree(state, inner, seen)?
        }
        // There since 10.3.
        (_, path) if path.starts_with("/remote.php/dav/public-files/") => Reply::html(404, ""),
        ("GET", path) if path.starts_with("/index.php/s/") && !old => page(state, path.trim_start_matches("/index.php/s/")),
        // Without rewriting there is no /s/; ownCloud 7 knows neither form.
        ("GET", path) if path.starts_with("/s/") || path.starts_with("/index.php/s/") => Reply::html(404, "File not found"),
        _ => return Err("this server was never seen to be asked that".to_owned()),
    };
    // Whoever keeps these is asked for more of them.
    Ok(reply.header("set-cookie", "oc7ef8d5c7=bqvgt0nhm6; path=/; HttpOnly"))
}

fn status(state: &State) -> Reply {
    let maintenance = state.maintenance;
    let text = match state.server {
        Server::OwnCloud7 => r#"{"installed":"true","version":"7.0.15.2","versionstring":"7.0.15","edition":""}"#.to_owned(),
        Server::OwnCloud8 => format!(
            "{{\"installed\":true,\"maintenance\":{maintenance},\"version\":\"8.2.11.2\",\"versionstring\":\"8.2.11\",\"edition\":\"\"}}"
        ),
        Server::OwnCloud11 | Server::Nextcloud | Server::Ocis => format!(
            "{{\"installed\":true,\"maintenance\":{maintenance},\"needsDbUpgrade\":false,\"version\":\"11.0.0.0\",\"versionstring\":\"11.0.0\",\
             \"edition\":\"Community\",\"productname\":\"ownCloud\",\"product\":\"ownCloud\"}}"
        ),
    };
    Reply::json(200, &text)
}

const ASKS_PASSWORD: &str =
    "<form method=\"post\"><input type=\"password\" name=\"password\" id=\"password\" placeholder=\"Password\" /></form>";

fn page_of_seven(state: &State, seen: &Seen) -> Verdict {
    if seen.field("service").as_deref() != Some("files") {
        return Err("it asks for no files".to_owned());
    }
    let token = seen.field("t").ok_or("it names no token")?;
    Ok(match () {
        () if !state.has(&token) => Reply::html(404, "Sorry, this link doesn't seem to work anymore."),
        () if state.password.is_some() => Reply::html(200, ASKS_PASSWORD),
        () if !state.outgoing => Reply::html(200, &format!("<input type=\"hidden\" id=\"sharingToken\" value=\"{token}\">")),
        () => Reply::html(
            200,
            &format!(
                "<input type=\"hidden\" id=\"sharingToken\" value=\"{token}\"><span id=\"save\" data-protected=\"false\" data-owner=\"Alice A\" \
                 data-name=\"{}\"><button id=\"save-button\">Add to your ownCloud</button></span>",
                state.name
            ),
        ),
    })
}

fn page(state: &State, token: &str) -> Reply {
    if token == format!("{}/authenticate", state.token) && state.password.is_some() {
        return Reply::html(200, ASKS_PASSWORD);
    }
    if !state.has(token) {
        return Reply::html(404, "Sorry, this link doesn't seem to work anymore.");
    }
    if state.password.is_some() {
        return Reply::new(303).header("location", format!("http://{}{}/index.php/s/{token}/authenticate", state.host, state.web_root));
    }
    let told = format!(
        "<div id=\"header\" data-protected=\"false\" data-owner-display-name=\"Alice A\" data-owner=\"alice\" data-name=\"{}\"></div>",
        state.name
    );
    Reply::html(200, &told)
}

/// 2.6.
fn share_info(state: &mut State, seen: &Seen) -> Verdict {
    let token = seen.field("t").ok_or("it names no token")?;
    let given = seen.field("password").unwrap_or_default();
    let old = state.server == Server::OwnCloud7;
    let absent = Reply::json(404, "");
    if !state.has(&token) || (!state.outgoing && !old) || (state.password.is_some() && given.is_empty()) {
        return Ok(state.fail(absent));
    }
    if !state.opens(&given) {
        return Ok(state.fail(Reply::json(403, r#"{"success":false,"status":"error"}"#)));
    }
    let (kind, name) = (if state.is_file() { "file" } else { "dir" }, state.name);
    let text = format!(
        "{{\"data\":{{\"id\":57,\"parentId\":27,\"mtime\":1795312270,\"name\":\"{name}\",\"permissions\":17,\"size\":\"19\",\"type\":\"{kind}\",\
         \"etag\":\"6b024a8e4b116\",\"children\":[]}},\"status\":\"success\"}}"
    );
    Ok(Reply::json(200, &text))
}

/// `/public.php/webdav/`: user = token.
fn old_tree(state: &mut State, seen: &Seen) -> Verdict {
    let old = state.server == Server::OwnCloud7;
    if old && !state.outgoing {
        // `return false`, whatever is asked.
        return Ok(Reply::new(200));
    }
    let refusal = |message: &str| sabre(401, "NotAuthenticated", message).header("www-authenticate", "Basic realm=\"ownCloud\"");
    let Some((token, password)) = seen.basic() else { return Ok(refusal("No basic authentication headers were found")) };
    if !state.has(&token) || !state.opens(&password) || !state.outgoing {
        return Ok(state.fail(refusal("Username or password does not match")));
    }
    if old && state.is_file() {
        // Sabre wants a collection for its root.
        return Ok(Reply::new(200));
    }
    if state.terms == Terms::Drop && seen.method == "PROPFIND" {
        return Ok(sabre(404, "NotFound", ""));
    }
    serve(state, "/public.php/webdav/", seen)
}

/// `/remote.php/dav/public-files/TOKEN/`: user `public`, or nobody.
fn new_tree(state: &mut State, inner: &Seen, seen: &Seen) -> Verdict {
    let token = inner.path.split('/').nth(4).unwrap_or_default().to_owned();
    if !state.has(&token) {
        return Ok(state.fail(sabre(404, "NotFound", "")));
    }
    let given = seen.basic();
    if given.as_ref().is_some_and(|(login, _)| login != "public") {
        return Err("only the user `public` is known here".to_owned());
    }
    if !state.opens(&given.map(|(_, password)| password).unwrap_or_default()) {
        return Ok(state.fail(sabre(401, "NotAuthenticated", "").header("www-authenticate", "Basic realm=\"ownCloud\"")));
    }
    if state.terms == Terms::Drop && seen.method == "PROPFIND" {
        return Ok(sabre(404, "NotFound", ""));
    }
    serve(state, &format!("/remote.php/dav/public-files/{token}/"), seen)
}

fn serve(state: &mut State, root: &str, seen: &Seen) -> Verdict {
    let style = if state.server == Server::OwnCloud11 { ELEVEN } else { SEVEN };
    let root = [state.web_root, root].concat();
    At { style, writable: state.terms == Terms::Edit, tree: &mut state.tree, root: &root, host: &state.host }.answer(seen)
}
