//! Telling other servers what became of shares.

use super::Federation;
use crate::domain::CloudId;
use crate::remote::Error;
use crate::service::Refusal;
use crate::service::refusal::Result;
use crate::wire::ocm::Notification;

impl Federation {
    /// Tells the server of an address something.
    ///
    /// # Errors
    /// Where it was not told; the caller tries again.
    pub async fn tell(&self, to: &CloudId, notification: Notification) -> Result<()> {
        let told = async {
            let peer = self.remotes.peer(to).await?;
            self.remotes.notify(&peer, &notification).await
        };
        match told.await {
            // Who does not know it, or not this kind of thing, will not know it later.
            Ok(_)
            | Err(Error::Unauthorized | Error::Forbidden | Error::NotFound | Error::Unsupported | Error::Conflict | Error::Rejected(_)) => {
                Ok(())
            }
            Err(error) => Err(Refusal::failed(format!("{} was not told: {error}", to.host()))),
        }
    }
}
