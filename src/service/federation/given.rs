//! A link given to a user of another server, because its server asks for that: how Nextcloud mounts links (`protocol/nextcloud.md` 1.1).

use std::net::IpAddr;

use crate::domain::{CloudId, Link, ShareWith};
use crate::service::federation::NotSent;
use crate::service::shares::NewShare;
use crate::service::{Refusal, Services};

impl Services {
    /// Shares what a link shows with a user of another server, with the rights of the link and no more (attacks F1, F2), and as long as the link
    /// lasts. It is a share of its own: in the owner's list, ended by the owner alone or together with the others. Whoever asks in vain counts as
    /// somebody who guesses: the server must not be made to knock at others.
    ///
    /// # Errors
    /// A sentence for the visitor.
    pub async fn give_link(&self, link: &Link, to: &CloudId, address: IpAddr) -> Result<(), String> {
        if self.federation().is_ours(to) {
            return Err(format!("{to} is a user of this server: the owner shares with them directly"));
        }
        let given = self.try_give(link, to).await;
        if let Err(NotSent::Undelivered { .. }) = &given {
            self.throttle().failed(address, "given link");
        }
        given.map_err(|not_sent| Refusal::from(not_sent).text)
    }

    async fn try_give(&self, link: &Link, to: &CloudId) -> Result<(), NotSent> {
        let maker = self.accounts().require(link.shared_by().as_str())?;
        let path =
            self.sharing().path_for(&maker, link).await?.ok_or_else(|| Refusal::not_found("The requested share does not exist anymore"))?;
        let new = NewShare {
            path,
            with: ShareWith::Remote(to.clone()),
            permissions: Some(link.permissions),
            expires: link.expires,
            note: String::new(),
        };
        self.federation().send(&maker, new).await.map(drop)
    }
}
