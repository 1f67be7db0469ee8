//! What is kept of a link beside its record: the note to its visitors, how often it may be downloaded, and how often it was.
//!
//! One download is one GET that is answered with content, or one zip. **Invariant:** a download is counted, durably, before its first byte is
//! sent (attack L4). One that is answered with something else is given back; one whose visitor hangs up counts.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::Refusal;
use super::refusal::Result;
use crate::domain::{LinkDetails, LinkId};
use crate::limits::SHARE_NOTE_BYTES_MAX;
use crate::store::{Batch, Record as _, Store};

/// The details of every link that has some.
pub struct Details {
    store: Store,
    known: RwLock<HashMap<LinkId, LinkDetails>>,
    /// One change at a time: counts that are written must not overtake each other.
    changing: tokio::sync::Mutex<()>,
}

/// What is to change; none keeps what is.
#[derive(Debug, Clone, Default)]
pub struct DetailChange {
    /// The note.
    pub note: Option<String>,
    /// Most downloads, or no bound. Counting begins anew.
    pub downloads_max: Option<Option<u64>>,
}

/// Why a link is not downloaded.
#[derive(Debug, thiserror::Error)]
pub enum NotCounted {
    /// It was downloaded as often as it may be.
    #[error("the link has been downloaded as often as its owner allows")]
    UsedUp,
    /// It could not be counted.
    #[error("the download could not be counted")]
    Failed(#[from] Refusal),
}

impl Details {
    /// Reads what is kept.
    pub(super) fn open(store: Store) -> Result<Details> {
        let known = store.list::<LinkDetails>()?.into_iter().map(|details| (details.link, details)).collect();
        Ok(Details { store, known: RwLock::new(known), changing: Default::default() })
    }

    /// The details of a link.
    pub fn get(&self, link: LinkId) -> LinkDetails {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&link).cloned().unwrap_or_else(|| LinkDetails::of(link))
    }

    /// Whether a link has been downloaded as often as it may be.
    pub(super) fn is_used_up(&self, link: LinkId) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&link).is_some_and(LinkDetails::is_used_up)
    }

    /// Whether the downloads of a link are counted.
    pub fn is_limited(&self, link: LinkId) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&link).is_some_and(|details| details.downloads_max.is_some())
    }

    /// Changes what is said.
    ///
    /// # Errors
    /// Where the note is too long, or the store fails.
    pub async fn change(&self, link: LinkId, change: DetailChange) -> Result<LinkDetails> {
        if change.note.as_ref().is_some_and(|note| note.len() > SHARE_NOTE_BYTES_MAX) {
            return Err(Refusal::usage(format!("a note has {SHARE_NOTE_BYTES_MAX} bytes at most")));
        }
        if change.downloads_max == Some(Some(0)) {
            return Err(Refusal::usage("a link is downloaded once at least; remove it instead"));
        }
        let _changing = self.changing.lock().await;
        let mut details = self.get(link);
        details.note = change.note.unwrap_or(details.note);
        if let Some(most) = change.downloads_max {
            details.downloads = 0;
            details.downloads_max = most;
        }
        self.keep(details.clone()).await?;
        Ok(details)
    }

    /// Counts a download that is about to begin. What comes of it is told by [`Details::give_back`].
    ///
    /// # Errors
    /// [`NotCounted`].
    pub async fn count(&self, link: LinkId) -> Result<(), NotCounted> {
        let _changing = self.changing.lock().await;
        let mut details = self.get(link);
        if details.is_used_up() {
            return Err(NotCounted::UsedUp);
        }
        // The bound was taken off just now, or the link has ended: then there is nothing to count.
        if details.downloads_max.is_none() {
            return Ok(());
        }
        details.downloads += 1;
        Ok(self.keep(details).await?)
    }

    /// Takes a count back: nothing was sent.
    pub async fn give_back(&self, link: LinkId) {
        let _changing = self.changing.lock().await;
        let mut details = self.get(link);
        if details.downloads_max.is_none() {
            return;
        }
        details.downloads = details.downloads.saturating_sub(1);
        if let Err(error) = self.keep(details).await {
            tracing::warn!(%error, share.id = link.0, "a download that failed could not be taken back");
        }
    }

    async fn keep(&self, details: LinkDetails) -> Result<()> {
        self.store.commit(Batch::new().put(&details)).await?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(details.link, details);
        Ok(())
    }

    /// Ends a link with its details: what is known of them holds until the batch that ends it is durable.
    pub(super) async fn end(&self, link: LinkId, batch: Batch) -> Result<()> {
        let _changing = self.changing.lock().await;
        self.store.commit(batch.delete::<LinkDetails>(&LinkDetails::of(link).key())).await?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&link);
        Ok(())
    }
}
