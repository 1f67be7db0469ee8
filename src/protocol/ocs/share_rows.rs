//! What is shown of a share: the fields of ownCloud and Nextcloud together (`protocol/owncloud.md` 3.6, `protocol/nextcloud.md` 2.1). Hashes
//! of passwords are not among them.

use crate::domain::{
    Kind, Link, Node, NodeId, Offer, Permissions, ReceivedShare, ReceivedState, Share, ShareWith, SpaceId, TreePath, User,
};
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Problem, Value};
use crate::service::admin::last_day;
use crate::service::federation::AskedShare;

/// Share types (`OCP\Share\IShare::TYPE_*`).
pub(super) const USER: u8 = 0;
pub(super) const GROUP: u8 = 1;
pub(super) const LINK: u8 = 3;
pub(super) const REMOTE: u8 = 6;

/// What stands for a password.
const REDACTED: &str = "***redacted***";

type Fields = Vec<(&'static str, Value)>;

/// What shares of all types have in common.
struct Common<'a> {
    id: u64,
    share_type: u8,
    permissions: Permissions,
    created: i64,
    expires: Option<i64>,
    sharer: &'a crate::domain::UserName,
    owner: &'a crate::domain::UserName,
    note: &'a str,
    label: &'a str,
    kind: Kind,
    /// What it was called.
    name: &'a str,
    at: (SpaceId, NodeId),
    /// In the caller's tree.
    path: Option<TreePath>,
    managed: bool,
}

impl Call {
    /// A public link, as its maker or the owner of its node sees it.
    pub(super) async fn link_row(&self, user: &User, link: &Link) -> Result<Value, Problem> {
        let path = self.services.sharing().path_for(user, link).await?;
        let details = self.services.sharing().details().get(link.id);
        let common = Common {
            id: link.id.0,
            share_type: LINK,
            permissions: link.permissions,
            created: link.created,
            expires: link.expires,
            sharer: link.shared_by(),
            owner: &link.owner,
            note: &details.note,
            label: &link.label,
            kind: link.kind,
            name: &link.name,
            at: (link.space, link.node),
            path,
            managed: true,
        };
        let mut fields = self.common(&common).await?;
        let secret = || if link.password_hash.is_some() { REDACTED.into() } else { Value::Null };
        let url = format!("{}/s/{}", self.base(), link.token.expose());
        let shown = if link.password_hash.is_some() { REDACTED } else { "(Shared link)" };
        fields.extend([
            ("share_with", secret()),
            ("share_with_displayname", shown.into()),
            ("password", secret()),
            ("send_password_by_talk", false.into()),
            ("token", link.token.expose().to_owned().into()),
            ("url", url.into()),
        ]);
        Ok(Value::Map(fields))
    }

    /// A share with a user or a group, as the caller sees it: `end` is the caller's own, where the caller receives it.
    pub(super) async fn share_row(&self, user: &User, share: &Share, end: Option<&ReceivedShare>) -> Result<Value, Problem> {
        let shares = self.services.shares();
        let managed = shares.may_manage(user, share);
        let state = end.map(|end| shares.state(end));
        let path = match (end, state) {
            (Some(end), Some(ReceivedState::Accepted)) => {
                self.services.spaces().get(end.space).and_then(|space| space.mount_path(end.mount))
            }
            // What is not in the tree would come to its top.
            (Some(_), _) => TreePath::parse(&share.name).ok(),
            (None, _) => shares.path_for(user, share).await?,
        };
        let (share_type, with, shown) = match &share.with {
            ShareWith::User(name) => (USER, name.to_string(), self.services.forest().shares().display_name(name)),
            ShareWith::Group(name) => {
                let shown = self.services.groups().get(name).map_or_else(|| name.to_string(), |group| group.display_name.clone());
                (GROUP, name.to_string(), shown)
            }
            ShareWith::Remote(user) => (REMOTE, user.to_string(), user.to_string()),
        };
        let common = Common {
            id: share.id.0,
            share_type,
            permissions: if end.is_some() { shares.rights(share).await? } else { share.permissions },
            created: share.created,
            expires: share.expires,
            sharer: &share.shared_by,
            owner: &share.owner,
            note: &share.note,
            label: "",
            kind: share.kind,
            name: &share.name,
            at: (share.space, share.node),
            path,
            managed,
        };
        let mut fields = self.common(&common).await?;
        fields.extend([
            ("share_with", with.clone().into()),
            ("share_with_displayname", shown.into()),
            ("share_with_displayname_unique", with.into()),
            ("share_with_additional_info", Value::Null),
            ("token", Value::Null),
        ]);
        // Who asked for it stands in the place of who let it out: the owner is to know.
        if let Some(asked) = self.services.federation().sent(share.id).and_then(|sent| sent.asked.clone()) {
            for (name, value) in &mut fields {
                if matches!(*name, "uid_owner" | "displayname_owner") {
                    *value = asked.by.to_string().into();
                }
            }
        }
        if let Some(state) = state {
            let (owncloud, nextcloud) = match state {
                ReceivedState::Accepted => (0_u64, 1_u64),
                ReceivedState::Pending => (1, 0),
                ReceivedState::Declined => (2, 2),
            };
            // The two families count differently; each reads the field of its own name.
            fields.extend([("state", owncloud.into()), ("status", nextcloud.into())]);
        }
        Ok(Value::Map(fields))
    }

    /// A share that the owner's server made because the caller, who received it from there, asked for it.
    pub(super) async fn asked_row(&self, asked: &AskedShare, offer: &Offer) -> Result<Value, Problem> {
        let root = offer.mount.and_then(|mount| self.services.forest().mounts().get(mount)).map(|handle| handle.root());
        let common = Common {
            id: asked.id.0,
            share_type: REMOTE,
            permissions: asked.permissions,
            created: asked.created,
            expires: offer.expires,
            sharer: &asked.user,
            owner: &asked.user,
            note: "",
            label: "",
            kind: root.as_ref().map_or(offer.kind, |root| root.kind),
            name: &offer.name,
            at: (asked.space, root.as_ref().map_or(NodeId(0), |root| root.id)),
            path: self.services.federation().offer_path(offer),
            managed: false,
        };
        let mut fields = self.common(&common).await?;
        for (name, value) in &mut fields {
            match *name {
                "uid_file_owner" => *value = offer.owner.to_string().into(),
                "displayname_file_owner" => *value = offer.owner_name.clone().into(),
                _ => {}
            }
        }
        let with = asked.to.to_string();
        fields.extend([
            ("share_with", with.clone().into()),
            ("share_with_displayname", with.clone().into()),
            ("share_with_displayname_unique", with.into()),
            ("share_with_additional_info", Value::Null),
            ("token", Value::Null),
        ]);
        Ok(Value::Map(fields))
    }

    async fn common(&self, common: &Common<'_>) -> Result<Fields, Problem> {
        let (space, node) = common.at;
        let found: Option<Node> = match self.services.spaces().get(space) {
            // What cannot be read now is listed all the same.
            Some(home) => home.node(node).await.ok().flatten(),
            None => None,
        };
        let folder = common.kind != Kind::File;
        let name = |user| self.services.forest().shares().display_name(user);
        let path = || common.path.as_ref().map_or(Value::Null, |path| path.to_string().into());
        let media = if folder {
            "httpd/unix-directory"
        } else {
            mime_guess::from_path(common.name).first_raw().unwrap_or("application/octet-stream")
        };
        let storage = if common.managed { format!("home::{}", common.owner) } else { format!("shared::/{}", common.name) };
        let whole = crate::domain::shareable(common.kind).0;
        let mut fields = vec![
            ("id", common.id.to_string().into()),
            ("share_type", u32::from(common.share_type).into()),
            ("uid_owner", common.sharer.to_string().into()),
            ("displayname_owner", name(common.sharer).into()),
            ("permissions", u32::from(common.permissions.0).into()),
            ("can_edit", common.managed.into()),
            ("can_delete", true.into()),
            ("stime", common.created.into()),
            ("parent", Value::Null),
            ("expiration", common.expires.and_then(last_day).map_or(Value::Null, |day| format!("{day} 00:00:00").into())),
            ("uid_file_owner", common.owner.to_string().into()),
            ("displayname_file_owner", name(common.owner).into()),
            ("additional_info_owner", Value::Null),
            ("additional_info_file_owner", Value::Null),
            ("note", common.note.to_owned().into()),
            ("label", common.label.to_owned().into()),
            ("name", common.label.to_owned().into()),
            ("path", path()),
            ("item_type", if folder { "folder" } else { "file" }.into()),
            ("item_permissions", u32::from(if common.managed { whole } else { common.permissions.0 }).into()),
            ("mimetype", media.into()),
            ("has_preview", false.into()),
            ("storage_id", storage.into()),
            ("storage", space.0.into()),
            ("item_source", node.0.into()),
            ("file_source", node.0.into()),
            ("file_parent", self.parent_of(common).await),
            ("file_target", common.path.as_ref().map_or_else(|| format!("/{}", common.name), TreePath::to_string).into()),
            ("is-mount-root", (!common.managed).into()),
            ("mount-type", if common.managed { "" } else { "shared" }.into()),
            ("mail_send", 0_u64.into()),
            ("hide_download", 0_u64.into()),
            ("attributes", Value::Null),
        ];
        if let Some(found) = found {
            fields.extend([("item_size", found.size.into()), ("item_mtime", found.modified.into())]);
        }
        Ok(fields)
    }

    /// The number of the folder that holds a node, where the caller sees it.
    async fn parent_of(&self, common: &Common<'_>) -> Value {
        let Ok(session) = self.session() else { return Value::Null };
        let Some(parent) = common.path.as_ref().and_then(TreePath::parent) else { return Value::Null };
        match self.services.forest().user_view(&session.user, self.via()) {
            Ok(view) => view.stat(&parent).await.map_or(Value::Null, |entry| entry.node.id.0.into()),
            Err(_) => Value::Null,
        }
    }
}
