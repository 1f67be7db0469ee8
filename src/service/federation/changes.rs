//! Other rights for what was sent. The door reads them at each request; servers of the reva family keep what they were told as well, and are told
//! again (`protocol/ocm.md` 1.6).

use std::sync::Arc;

use serde_json::{Value, json};

use super::Federation;
use super::sent::secret_of;
use crate::domain::{Kind, SentState, Share, ShareId};
use crate::remote::Peer;
use crate::service::refusal::Result;
use crate::service::shares::ShareChange;
use crate::store::Batch;
use crate::wire::ocm::{Notification, words};

/// What such a notification is called.
pub(super) const CHANGE: &str = "SHARE_CHANGE_PERMISSION";

impl Federation {
    /// Changes a share, and tells servers of the reva family of new rights, those of what was shared on from it included.
    ///
    /// # Errors
    /// As [`crate::service::shares::UserShares::update`].
    pub async fn update(&self, id: ShareId, change: ShareChange) -> Result<Arc<Share>> {
        let before = self.shares.require(id)?.permissions;
        let changed = self.shares.update(id, change).await?;
        if changed.permissions != before {
            for id in self.forest.shares().with_descendants(&[id]) {
                if let Err(error) = self.tell_rights(id).await {
                    // They hold all the same.
                    tracing::warn!(share.id = id.0, %error, "another server is not told of new rights");
                }
            }
        }
        Ok(changed)
    }

    async fn tell_rights(&self, id: ShareId) -> Result<()> {
        let Ok((share, sent)) = self.both(id) else { return Ok(()) };
        let told = matches!(sent.state, SentState::Pending | SentState::Accepted) && !self.is_ours(&sent.to);
        if !told {
            return Ok(());
        }
        let rights = self.shares.rights(&share).await.unwrap_or(share.permissions);
        let owner = self.address_of(&sent.owner).map(|owner| owner.to_string()).unwrap_or_default();
        let notification = Notification::new(CHANGE, &id.0.to_string(), secret_of(&sent))
            .with("grantee", sent.to.user())
            .with("owner", owner)
            .with("resourceType", if share.kind == Kind::File { "file" } else { "folder" })
            .with("uri", self.uri_of(id))
            .with("permissions", words(rights));
        let (batch, kept) = self.message(Batch::new(), &sent.to, &notification)?;
        if kept {
            self.store.commit(batch).await?;
            self.outbox.wake();
        }
        Ok(())
    }

    /// Where a share is, absolute.
    pub(super) fn uri_of(&self, ShareId(id): ShareId) -> String {
        format!("{}/remote.php/dav/ocm/{id}", self.public_url)
    }
}

/// A notification of new rights as it is sent; none to servers that do not know it. The secret stands in it twice, and is not kept so.
pub(super) fn as_told(peer: &Peer, mut notification: Notification) -> Option<Notification> {
    peer.ocm.as_ref().filter(|discovery| discovery.reva)?;
    let mut take = |key: &str| notification.more.remove(key).unwrap_or(Value::Null);
    let (uri, permissions) = (take("uri"), take("permissions"));
    let webdav = json!({"uri": uri, "sharedSecret": notification.secret.expose(), "permissions": permissions});
    Some(notification.with("protocol", json!({"name": "multi", "options": {}, "webdav": webdav})))
}
