//! Which root a request is for. **Invariant**: a route's `Debug` shows no token, and logs show routes, never paths (attack F6).

use std::fmt;

use percent_encoding::percent_decode_str;

use super::browser;
use super::login::Step;
use crate::protocol::{dav, ocm};

/// Where a request goes.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`: says OPTIONS, for clients that look there first.
    Root,
    /// The tree of whoever logs in: `/remote.php/webdav`, `/webdav`.
    Home {
        /// The root, as it stands in the URL.
        root: String,
    },
    /// The tree of a named user: `/remote.php/dav/files/USER`, `/dav/files/USER`.
    UserFiles {
        /// The root, as it stands in the URL.
        root: String,
        /// The user.
        user: String,
    },
    /// The unfinished uploads of a named user: `/remote.php/dav/uploads/USER`, `/dav/uploads/USER`.
    UserUploads {
        /// The root, as it stands in the URL.
        root: String,
        /// The user.
        user: String,
    },
    /// Many small files at once, into the tree of whoever logs in: `/remote.php/dav/bulk`, `/dav/bulk`.
    Bulk,
    /// What a home keeps of the deleted and the overwritten, in the words of ownCloud and of Nextcloud.
    Kept {
        /// The root, as it stands in the URL.
        root: String,
        /// The user, where the URL names one.
        user: Option<String>,
        /// Which of the trees.
        tree: dav::Tree,
    },
    /// A link whose token is the user name: `/public.php/webdav`.
    LinkLogin {
        /// The root, as it stands in the URL.
        root: String,
    },
    /// What is shared with a user of another server: `/remote.php/dav/ocm/NUMBER`, `/dav/ocm/NUMBER`.
    SentShare {
        /// The root, as it stands in the URL.
        root: String,
        /// The number of the share.
        id: String,
    },
    /// A link whose token stands in the URL: `/public.php/dav/files/TOKEN`, `/remote.php/dav/public-files/TOKEN`.
    LinkFiles {
        /// The root, as it stands in the URL.
        root: String,
        /// The secret.
        token: String,
    },
    /// The unfinished uploads of a link: `/public.php/dav/uploads/TOKEN`.
    LinkUploads {
        /// The root, as it stands in the URL.
        root: String,
        /// The secret.
        token: String,
    },
    /// The page of a link: `/s/TOKEN`, `/index.php/s/TOKEN`, and what lies below it.
    LinkPage {
        /// The page's path, as it stands in the URL.
        base: String,
        /// The secret.
        token: String,
        /// What of it.
        page: Page,
    },
    /// `/status.php`: what sync clients ask first.
    Status,
    /// `/index.php/apps/files_sharing/shareinfo`: what a mounting server asks when something fails.
    ShareInfo,
    /// `/index.php/apps/federatedfilesharing/createFederatedShare`: another server asks for a link's share for its user.
    GiveToServer,
    /// `/index.php/apps/files_sharing/external`: a link of another server is to be mounted.
    External,
    /// `/public.php?service=files&t=TOKEN`: the page of a link, as ownCloud 7 wrote it.
    OldPage,
    /// `/ocs-provider/`: where mounting servers find the roots of links.
    Provider,
    /// `/index.php/apps/files_sharing/testremote`: whether a visitor's own server can be reached.
    TestRemote,
    /// What other servers ask and tell: `/ocm/…`, and where they find that.
    Ocm {
        /// What.
        call: ocm::Call,
    },
    /// `/ocs/…`.
    Ocs {
        /// What stands behind it.
        path: String,
    },
    /// `/login/v2…`, with or without `index.php`: a client gets its own password through the browser.
    Login {
        /// Which part.
        step: Step,
    },
    /// The pages for people with an account.
    Browser {
        /// Which one.
        page: browser::Page,
    },
    /// `/index.php/204`: phones look whether they have a network.
    NoContent,
    /// `/healthz`: the process answers.
    Healthz,
    /// `/readyz`: the process serves.
    Readyz,
    /// `/metrics`: for this machine and for administrators.
    Metrics,
    /// Nothing of ours.
    Unknown,
}

/// What of a link's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// The page itself.
    View,
    /// The file, or a zip of the folder.
    Download,
    /// Where the password is sent.
    Login,
    /// Where a visitor says which server to take it to.
    Add,
}

/// The roots with a name below them, and how they are spelt.
const USER_FILES: &[&str] = &["/remote.php/dav/files/", "/dav/files/"];
const USER_UPLOADS: &[&str] = &["/remote.php/dav/uploads/", "/dav/uploads/"];
const KEPT: &[(&str, dav::Tree)] = &[
    ("/remote.php/dav/trash-bin/", dav::Tree::OwnCloudTrash),
    ("/dav/trash-bin/", dav::Tree::OwnCloudTrash),
    ("/remote.php/dav/trashbin/", dav::Tree::NextcloudTrash),
    ("/dav/trashbin/", dav::Tree::NextcloudTrash),
    ("/remote.php/dav/versions/", dav::Tree::NextcloudVersions),
    ("/dav/versions/", dav::Tree::NextcloudVersions),
];
const META: &[&str] = &["/remote.php/dav/meta", "/dav/meta"];
const LINK_FILES: &[&str] = &["/public.php/dav/files/", "/remote.php/dav/public-files/", "/dav/public-files/"];
const LINK_UPLOADS: &str = "/public.php/dav/uploads/";
const SENT_SHARES: &[&str] = &["/remote.php/dav/ocm/", "/dav/ocm/"];
const HOMES: &[&str] = &["/remote.php/webdav", "/webdav"];
const PAGES: &[&str] = &["/s/", "/index.php/s/"];
const LOGIN: &str = "/login/v2";

impl Route {
    /// Reads the path of a request. `prefix` is the path of the public URL: a proxy may have taken it off or not.
    pub(super) fn parse(path: &str, prefix: &str) -> Route {
        let inner = below(path, prefix).unwrap_or(path);
        let spelt = |root: &str| format!("{prefix}{root}");
        if let Some(root) = HOMES.iter().find(|root| below(inner, root).is_some()) {
            return Route::Home { root: spelt(root) };
        }
        if below(inner, "/public.php/webdav").is_some() {
            return Route::LinkLogin { root: spelt("/public.php/webdav") };
        }
        for root in USER_FILES {
            if let Some((segment, user)) = named(inner, root) {
                return Route::UserFiles { root: spelt(&format!("{root}{segment}")), user };
            }
        }
        for root in USER_UPLOADS {
            if let Some((segment, user)) = named(inner, root) {
                return Route::UserUploads { root: spelt(&format!("{root}{segment}")), user };
            }
        }
        for (root, tree) in KEPT {
            if let Some((segment, user)) = named(inner, root) {
                return Route::Kept { root: spelt(&format!("{root}{segment}")), user: Some(user), tree: *tree };
            }
        }
        if let Some(root) = META.iter().find(|root| below(inner, root).is_some()) {
            return Route::Kept { root: spelt(root), user: None, tree: dav::Tree::Meta };
        }
        for root in LINK_FILES {
            if let Some((segment, token)) = named(inner, root) {
                return Route::LinkFiles { root: spelt(&format!("{root}{segment}")), token };
            }
        }
        for root in SENT_SHARES {
            if let Some((segment, id)) = named(inner, root) {
                return Route::SentShare { root: spelt(&format!("{root}{segment}")), id };
            }
        }
        if let Some((segment, token)) = named(inner, LINK_UPLOADS) {
            return Route::LinkUploads { root: spelt(&format!("{LINK_UPLOADS}{segment}")), token };
        }
        for root in PAGES {
            if let Some((segment, token, page)) = inner.strip_prefix(root).and_then(page) {
                return Route::LinkPage { base: spelt(&format!("{root}{segment}")), token, page };
            }
        }
        match inner {
            "" | "/" => Route::Root,
            "/healthz" => Route::Healthz,
            "/readyz" => Route::Readyz,
            "/metrics" => Route::Metrics,
            "/remote.php/dav/bulk" | "/dav/bulk" => Route::Bulk,
            "/public.php" => Route::OldPage,
            _ => of_clients(inner, prefix).unwrap_or(Route::Unknown),
        }
    }

    /// The route's name, for logs and metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Route::Root => "root",
            Route::Home { .. } => "home",
            Route::UserFiles { .. } => "user-files",
            Route::UserUploads { .. } => "user-uploads",
            Route::Bulk => "bulk",
            Route::Kept { .. } => "kept",
            Route::LinkLogin { .. } => "link-login",
            Route::SentShare { .. } => "sent-share",
            Route::LinkFiles { .. } => "link-files",
            Route::LinkUploads { .. } => "link-uploads",
            Route::LinkPage { page: Page::View | Page::Login, .. } => "link-page",
            Route::LinkPage { page: Page::Download, .. } => "link-download",
            Route::LinkPage { page: Page::Add, .. } => "link-add",
            Route::Status => "status",
            Route::ShareInfo => "share-info",
            Route::External => "external",
            Route::GiveToServer => "give-to-server",
            Route::OldPage => "old-link-page",
            Route::Provider => "provider",
            Route::TestRemote => "test-remote",
            Route::Ocm { call: ocm::Call::Provider | ocm::Call::WellKnown | ocm::Call::Jwks } => "ocm-discovery",
            Route::Ocm { call: ocm::Call::Shares } => "ocm-shares",
            Route::Ocm { call: ocm::Call::Token } => "ocm-token",
            Route::Ocm { call: ocm::Call::Notifications } => "ocm-notifications",
            Route::Ocm { call: ocm::Call::InviteAccepted } => "ocm-invite-accepted",
            Route::Ocs { .. } => "ocs",
            Route::Login { .. } => "login",
            Route::Browser { .. } => "page",
            Route::NoContent => "no-content",
            Route::Healthz => "healthz",
            Route::Readyz => "readyz",
            Route::Metrics => "metrics",
            Route::Unknown => "unknown",
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What sync clients ask beside WebDAV; everything but `status.php` also stands below `/index.php`.
fn of_clients(inner: &str, prefix: &str) -> Option<Route> {
    // Nextcloud puts its slash behind the one of an address (`protocol/nextcloud.md` 1.3).
    if matches!(inner.trim_start_matches('/'), "ocs-provider" | "ocs-provider/" | "ocs-provider/index.php") {
        return Some(Route::Provider);
    }
    let (script, path) = match below(inner, "/index.php") {
        Some(rest) => ("/index.php", rest),
        None => ("", inner),
    };
    // Nextcloud puts its slash behind the one of an address.
    if let Some(call) = ocm::Call::parse(path.strip_prefix('/').filter(|rest| rest.starts_with('/')).unwrap_or(path)) {
        return Some(Route::Ocm { call });
    }
    if let Some(path) = path.strip_prefix("/ocs/") {
        return Some(Route::Ocs { path: path.to_owned() });
    }
    if let Some(rest) = below(path, LOGIN) {
        return Step::parse(rest, &format!("{prefix}{script}{LOGIN}")).map(|step| Route::Login { step });
    }
    match (script, path) {
        ("", "/status.php") => Some(Route::Status),
        (_, "/apps/files_sharing/shareinfo") => Some(Route::ShareInfo),
        (_, "/apps/files_sharing/external") => Some(Route::External),
        (_, "/apps/federatedfilesharing/createFederatedShare") => Some(Route::GiveToServer),
        (_, "/apps/files_sharing/testremote") => Some(Route::TestRemote),
        (_, "/204") => Some(Route::NoContent),
        _ => browser::Page::parse(path, !script.is_empty()).map(|page| Route::Browser { page }),
    }
}

/// What follows a root: nothing, or a slash and more. `/webdav2` is not below `/webdav`.
fn below<'path>(path: &'path str, root: &str) -> Option<&'path str> {
    path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The segment after a root, as it stands there and decoded.
fn named(path: &str, root: &str) -> Option<(String, String)> {
    let rest = path.strip_prefix(root)?;
    let segment = rest.split('/').next().filter(|segment| !segment.is_empty())?;
    let decoded = percent_decode_str(segment).decode_utf8().ok()?;
    Some((segment.to_owned(), decoded.into_owned()))
}

fn page(rest: &str) -> Option<(&str, String, Page)> {
    let (segment, page) = rest.split_once('/').unwrap_or((rest, ""));
    let page = match page {
        "" => Page::View,
        "download" => Page::Download,
        "authenticate" => Page::Login,
        "add" => Page::Add,
        _ => return None,
    };
    let token = percent_decode_str(segment).decode_utf8().ok()?.into_owned();
    (!token.is_empty()).then_some((segment, token, page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Route) {
        assert!(Route::parse(path, "") == expected, "{path}: {:?}", Route::parse(path, ""));
    }

    #[test]
    fn every_root_is_known_in_every_spelling() {
        let text = str::to_owned;
        check("/remote.php/webdav/Photos/a.jpg", Route::Home { root: text("/remote.php/webdav") });
        check("/remote.php/webdav", Route::Home { root: text("/remote.php/webdav") });
        check("/webdav/", Route::Home { root: text("/webdav") });
        check("/webdav2/", Route::Unknown);
        check("/dav/files/anna/a", Route::UserFiles { root: text("/dav/files/anna"), user: text("anna") });
        check("/remote.php/dav/files/anna%40x", Route::UserFiles { root: text("/remote.php/dav/files/anna%40x"), user: text("anna@x") });
        check("/remote.php/dav/files/", Route::Unknown);
        check("/dav/uploads/anna/1/.file", Route::UserUploads { root: text("/dav/uploads/anna"), user: text("anna") });
        check("/remote.php/dav/uploads/anna", Route::UserUploads { root: text("/remote.php/dav/uploads/anna"), user: text("anna") });
        check("/remote.php/dav/bulk", Route::Bulk);
        let kept = |root: &str, user: Option<&str>, tree| Route::Kept { root: text(root), user: user.map(text), tree };
        check("/dav/trash-bin/anna/7", kept("/dav/trash-bin/anna", Some("anna"), dav::Tree::OwnCloudTrash));
        check("/remote.php/dav/trashbin/a/trash", kept("/remote.php/dav/trashbin/a", Some("a"), dav::Tree::NextcloudTrash));
        check("/remote.php/dav/meta/7/v", kept("/remote.php/dav/meta", None, dav::Tree::Meta));
        check("/public.php/dav/uploads/TOK/1/2", Route::LinkUploads { root: text("/public.php/dav/uploads/TOK"), token: text("TOK") });
        check("/public.php/webdav/", Route::LinkLogin { root: text("/public.php/webdav") });
        check("/remote.php/dav/ocm/7/a", Route::SentShare { root: text("/remote.php/dav/ocm/7"), id: text("7") });
        check("/remote.php/dav/ocm/", Route::Unknown);
        for root in LINK_FILES {
            check(&format!("{root}TOK/a"), Route::LinkFiles { root: format!("{root}TOK"), token: text("TOK") });
        }
        check("/s/TOK", Route::LinkPage { base: text("/s/TOK"), token: text("TOK"), page: Page::View });
        check("/index.php/s/TOK/download", Route::LinkPage { base: text("/index.php/s/TOK"), token: text("TOK"), page: Page::Download });
        check("/s/TOK/other", Route::Unknown);
        for path in ["/ocs/v1.php/cloud/user", "/index.php/ocs/v1.php/cloud/user"] {
            check(path, Route::Ocs { path: text("v1.php/cloud/user") });
        }
        check("/ocs/", Route::Ocs { path: text("") });
        for path in ["/ocm-provider/", "/ocm-provider", "/ocm-provider/index.php", "//ocm-provider/", "/index.php/ocm-provider/"] {
            check(path, Route::Ocm { call: ocm::Call::Provider });
        }
        check("/.well-known/ocm", Route::Ocm { call: ocm::Call::WellKnown });
        check("/index.php/ocm/shares", Route::Ocm { call: ocm::Call::Shares });
        check("/.well-known/jwks.json", Route::Ocm { call: ocm::Call::Jwks });
        check("/index.php/ocm/token", Route::Ocm { call: ocm::Call::Token });
        check("/ocm/notifications", Route::Ocm { call: ocm::Call::Notifications });
        check("/ocm/invite-accepted", Route::Ocm { call: ocm::Call::InviteAccepted });
        for path in ["/ocm", "/ocm/", "/ocm/invite-accepted/", "/.well-known/", "/ocm-provider/x"] {
            check(path, Route::Unknown);
        }
        check("/status.php", Route::Status);
        check("/index.php/status.php", Route::Unknown);
        check("/index.php/apps/files_sharing/shareinfo", Route::ShareInfo);
        check("/index.php/apps/files_sharing/testremote", Route::TestRemote);
        check("/index.php/apps/files_sharing/external", Route::External);
        check("/public.php", Route::OldPage);
        for path in ["/ocs-provider/", "/ocs-provider", "/ocs-provider/index.php", "//ocs-provider/"] {
            check(path, Route::Provider);
        }
        check("/ocs-provider/x", Route::Unknown);
        check("/index.php/204", Route::NoContent);
        for root in ["/login/v2", "/index.php/login/v2"] {
            let base = format!("{root}/flow/TOK");
            check(root, Route::Login { step: Step::Start });
            check(&format!("{root}/poll"), Route::Login { step: Step::Poll });
            check(&base, Route::Login { step: Step::SignIn { base: base.clone(), token: text("TOK") } });
            check(&format!("{base}/grant"), Route::Login { step: Step::Grant { base: base.clone(), token: text("TOK") } });
            check(&format!("{base}/other"), Route::Unknown);
            check(&format!("{root}/flow/a%22b"), Route::Unknown);
        }
        check("/", Route::Root);
        check("/readyz", Route::Readyz);
    }

    #[test]
    fn the_prefix_of_the_public_url_is_taken_off_and_comes_back() {
        for path in ["/cloud/webdav/a", "/webdav/a"] {
            assert!(Route::parse(path, "/cloud") == Route::Home { root: "/cloud/webdav".to_owned() });
        }
        assert!(Route::parse("/cloud", "/cloud") == Route::Root);
        assert!(Route::parse("/cloudy/webdav", "/cloud") == Route::Unknown);
    }

    #[test]
    fn f6_debug_shows_no_token() {
        assert_eq!(format!("{:?}", Route::parse("/s/SECRET", "")), "link-page");
        assert_eq!(format!("{:?}", Route::parse("/public.php/dav/files/SECRET", "")), "link-files");
        assert_eq!(format!("{:?}", Route::parse("/login/v2/flow/SECRET", "")), "login");
    }
}
