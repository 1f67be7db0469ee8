//! What commands print: text for people, JSON for programs. A closed pipe ends nothing.

use std::io::Write as _;

use serde::Serialize;

use crate::service::admin::{CheckRow, FederationRow, GroupRow, Health, Outcome, ReceivedRow, ShareRow, TrustedRow};

/// Where commands print to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    json: bool,
}

impl Out {
    /// Prints text, or JSON.
    pub(super) fn new(json: bool) -> Out {
        Out { json }
    }

    /// Whether programs read this.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// A line on standard output.
    pub(super) fn line(self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _closed = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// A line on standard error.
    pub(super) fn error(self, text: &str) {
        let _closed = writeln!(std::io::stderr().lock(), "causeway: {text}");
    }

    /// A value as JSON.
    pub(super) fn json(self, value: &impl Serialize) {
        self.line(&serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// What came of a command.
    pub(super) fn outcome(self, outcome: &Outcome) {
        if self.json {
            return self.outcome_json(outcome);
        }
        match outcome {
            Outcome::Done(text) | Outcome::Document(text) => self.line(text),
            Outcome::Secret(secret) => self.line(secret.expose()),
            Outcome::Link(link) => self.line(&link.url),
            Outcome::Mount(mount) => {
                let place = mount.path.as_deref().unwrap_or("nowhere yet");
                self.line(&format!("mount {} of {} at {}:{place} is {}", mount.id, mount.remote, mount.user, mount.state));
            }
            Outcome::Users(rows) => {
                let cells = |row: &crate::service::admin::UserRow| {
                    let quota = row.quota.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
                    vec![row.name.clone(), row.display_name.clone(), yes(row.admin), yes(row.enabled), quota, row.app_passwords.to_string()]
                };
                self.table(&["NAME", "DISPLAY NAME", "ADMIN", "ENABLED", "QUOTA", "APP PASSWORDS"], rows.iter().map(cells));
            }
            Outcome::AppPasswords(rows) => {
                self.table(
                    &["ID", "CREATED", "LABEL"],
                    rows.iter().map(|row| vec![row.id.to_string(), row.created.clone(), row.label.clone()]),
                );
            }
            Outcome::Maintenance(on) => {
                self.line(if *on { "maintenance is on: every client is answered 503" } else { "maintenance is off" })
            }
            Outcome::Links(rows) => self.links(rows),
            Outcome::Mounts(rows) => {
                let cells = |row: &crate::service::admin::MountRow| {
                    let path = row.path.clone().unwrap_or_else(|| "(nowhere)".to_owned());
                    vec![row.id.to_string(), path, row.remote.clone(), row.owner.clone(), row.state.clone(), row.hint.clone()]
                };
                self.table(&["ID", "PATH", "REMOTE", "OWNER", "STATE", "HINT"], rows.iter().map(cells));
            }
            Outcome::Share(row) => self.share(row),
            Outcome::ReceivedShare(row) => self.received_share(row),
            Outcome::Shares(rows) => self.shares(rows),
            Outcome::ReceivedShares(rows) => self.received_shares(rows),
            Outcome::Invitation(_) | Outcome::Invitations(_) | Outcome::Contact(_) | Outcome::Contacts(_) => self.people(outcome),
            Outcome::Group(row) => self.group(row),
            Outcome::Groups(rows) => self.groups(rows),
            Outcome::Remotes(rows) => {
                let cells = |row: &crate::service::admin::RemoteRow| {
                    vec![row.host.clone(), row.fingerprints.join(" "), row.authorities.to_string(), yes(row.allow_private)]
                };
                self.table(&["HOST", "FINGERPRINTS", "AUTHORITIES", "PRIVATE ALLOWED"], rows.iter().map(cells));
            }
            Outcome::Rules(rows) => {
                let cells = |row: &crate::service::policy::Rule| vec![row.key.clone(), row.value.clone(), row.help.clone()];
                self.table(&["RULE", "VALUE", "MEANING"], rows.iter().map(cells));
            }
            Outcome::Trusted(rows) => self.trusted(rows),
            Outcome::Federation(row) => self.federation(row),
            Outcome::Trash(rows) => self.trash(rows),
            Outcome::Checks(rows) => rows.iter().for_each(|row| self.check(row)),
            Outcome::Scans(rows) => {
                for row in rows {
                    self.line(&format!("{}: {} added, {} changed, {} removed", row.user, row.added, row.changed, row.removed));
                    row.skipped.iter().for_each(|skipped| self.line(&format!("  skipped: {}", skipped.escape_debug())));
                }
            }
        }
    }

    fn links(self, rows: &[crate::service::admin::LinkRow]) {
        let cells = |row: &crate::service::admin::LinkRow| {
            let path = row.path.clone().unwrap_or_else(|| "(gone)".to_owned());
            let expires = row.expires.clone().unwrap_or_else(|| "-".to_owned());
            let (url, label, maker) = (row.url.clone(), row.label.clone(), row.made_by.clone());
            vec![row.id.to_string(), path, row.permissions.clone(), yes(row.password), expires, url, maker, label]
        };
        self.table(&["ID", "PATH", "PERMISSIONS", "PASSWORD", "EXPIRES", "URL", "MADE BY", "LABEL"], rows.iter().map(cells));
    }

    fn trusted(self, rows: &[TrustedRow]) {
        self.table(&["HOST", "AUTO-ACCEPT"], rows.iter().map(|row| vec![row.host.clone(), yes(row.auto_accept)]));
    }

    fn federation(self, row: &FederationRow) {
        self.line(&format!("mode: {}", row.mode));
        self.line(&format!("allow: {}", row.allow.join(" ")));
        self.line(&format!("deny: {}", row.deny.join(" ")));
    }

    fn groups(self, rows: &[GroupRow]) {
        let cells =
            |row: &GroupRow| vec![row.name.clone(), row.display_name.clone(), row.members.len().to_string(), row.subadmins.join(" ")];
        self.table(&["NAME", "DISPLAY NAME", "MEMBERS", "SUBADMINS"], rows.iter().map(cells));
    }

    fn group(self, row: &GroupRow) {
        self.line(&format!("{} ({})", row.name, row.display_name));
        self.line(&format!("members: {}", row.members.join(" ")));
        self.line(&format!("subadmins: {}", row.subadmins.join(" ")));
    }

    fn share(self, row: &ShareRow) {
        let place = row.path.as_deref().unwrap_or("(gone)");
        let state = row.state.as_ref().map(|state| format!(", {state}")).unwrap_or_default();
        self.line(&format!("share {}: {}:{place} with {}, permissions {}{state}", row.id, row.owner, row.with, row.permissions));
    }

    fn received_share(self, row: &ReceivedRow) {
        let place = row.path.as_ref().map_or_else(|| "nowhere".to_owned(), |path| format!("{}:{path}", row.user));
        self.line(&format!("share {} of {} at {place} is {}", row.id, row.owner, row.state));
    }

    fn trash(self, rows: &[crate::service::admin::TrashRow]) {
        let cells = |row: &crate::service::admin::TrashRow| {
            vec![row.id.to_string(), row.path.clone(), row.size.to_string(), row.deleted.clone(), row.by.clone()]
        };
        self.table(&["ID", "PATH", "SIZE", "DELETED", "BY"], rows.iter().map(cells));
    }

    fn shares(self, rows: &[ShareRow]) {
        let cells = |row: &ShareRow| {
            let path = row.path.clone().unwrap_or_else(|| "(gone)".to_owned());
            let expires = row.expires.clone().unwrap_or_else(|| "-".to_owned());
            let place = format!("{}:{path}", row.owner);
            let state = row.state.clone().unwrap_or_else(|| "-".to_owned());
            let permissions = row.permissions.to_string();
            vec![row.id.to_string(), place, row.with.clone(), state, permissions, row.shared_by.clone(), expires, row.note.clone()]
        };
        self.table(&["ID", "PATH", "WITH", "STATE", "PERMISSIONS", "SHARED BY", "EXPIRES", "NOTE"], rows.iter().map(cells));
    }

    fn received_shares(self, rows: &[ReceivedRow]) {
        let cells = |row: &ReceivedRow| {
            let path = row.path.clone().unwrap_or_else(|| "-".to_owned());
            let permissions = row.permissions.to_string();
            vec![
                row.id.to_string(),
                row.name.clone(),
                path,
                row.owner.clone(),
                row.shared_by.clone(),
                permissions,
                row.state.clone(),
                row.expires.clone().unwrap_or_else(|| "-".to_owned()),
                row.note.clone(),
            ]
        };
        self.table(&["ID", "NAME", "PATH", "OWNER", "SHARED BY", "PERMISSIONS", "STATE", "EXPIRES", "NOTE"], rows.iter().map(cells));
    }

    /// One thing that was checked.
    fn check(self, row: &CheckRow) {
        let sign = match row.health {
            Health::Ok => "ok     ",
            Health::Warning => "WARNING",
            Health::Failed => "FAILED ",
        };
        let text: String = row.text.chars().flat_map(visible).collect();
        self.line(&format!("{sign}  {}: {text}", row.name));
    }

    fn outcome_json(self, outcome: &Outcome) {
        match outcome {
            Outcome::Done(text) => self.json(&serde_json::json!({ "done": text })),
            Outcome::Secret(secret) => self.json(&serde_json::json!({ "password": secret.expose() })),
            Outcome::Link(row) => self.json(row),
            Outcome::Mount(row) => self.json(row),
            Outcome::Users(rows) => self.json(rows),
            Outcome::AppPasswords(rows) => self.json(rows),
            Outcome::Maintenance(on) => self.json(&serde_json::json!({ "maintenance": on })),
            Outcome::Links(rows) => self.json(rows),
            Outcome::Mounts(rows) => self.json(rows),
            Outcome::Share(row) => self.json(row),
            Outcome::Shares(rows) => self.json(rows),
            Outcome::ReceivedShare(row) => self.json(row),
            Outcome::ReceivedShares(rows) => self.json(rows),
            Outcome::Invitation(row) => self.json(row),
            Outcome::Invitations(rows) => self.json(rows),
            Outcome::Contact(row) => self.json(row),
            Outcome::Contacts(rows) => self.json(rows),
            Outcome::Group(row) => self.json(row),
            Outcome::Groups(rows) => self.json(rows),
            Outcome::Remotes(rows) => self.json(rows),
            Outcome::Scans(rows) => self.json(rows),
            Outcome::Checks(rows) => self.json(rows),
            Outcome::Trash(rows) => self.json(rows),
            Outcome::Rules(rows) => self.json(rows),
            Outcome::Document(text) => self.line(text),
            Outcome::Trusted(rows) => self.json(rows),
            Outcome::Federation(row) => self.json(row),
        }
    }

    /// Rows below headings, columns aligned. Control characters in names stay text.
    pub(super) fn table(self, headings: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
        let shown = |row: Vec<String>| row.into_iter().map(|cell| cell.chars().flat_map(visible).collect::<String>()).collect();
        let rows: Vec<Vec<String>> = std::iter::once(headings).chain(rows.map(shown)).collect();
        let columns = rows.first().map_or(0, Vec::len);
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            self.line(cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }
}

fn visible(letter: char) -> Box<dyn Iterator<Item = char>> {
    if letter.is_control() { Box::new(letter.escape_default()) } else { Box::new(std::iter::once(letter)) }
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "-" }.to_owned()
}
