//! Offers that go on behind an answer: whoever asks for a share with a third server is answered in under a second, however slow that one is.
//!
//! **Invariant:** whoever was answered before the offer was taken is told if it is not. A stop in between ends the share, and its end is told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, oneshot};

use super::Federation;
use super::not_sent::NotSent;
use super::sent::{Sending, secret_of};
use crate::domain::{SentShare, Share, ShareId};
use crate::service::refusal::Result;
use crate::store::{Batch, Record as _};
use crate::wire::ocm::Notification;

/// How long an asker waits for a third server before it is answered. PHP servers ask while their user waits.
const ANSWER_WAIT: Duration = Duration::from_millis(600);
/// How many offers go on at the same time; the others wait, each for one of them at most.
const DELIVERIES_MAX: usize = 32;

/// One offer in the background, and who waits for it.
struct Waiting {
    share: ShareId,
    told: oneshot::Sender<Result<Arc<Share>, NotSent>>,
}

/// The offers that wait for [`Federation::follow_deliveries`].
#[derive(Default)]
pub(super) struct Deliveries {
    waiting: Mutex<Vec<Waiting>>,
    wake: Notify,
}

impl Deliveries {
    fn take(&self, most: usize) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let most = most.min(waiting.len());
        waiting.drain(..most).collect()
    }
}

impl Federation {
    /// Offers a share to the other server, and waits for that a little; after that the offer goes on by itself.
    ///
    /// # Errors
    /// Where it does not take it, and says so in time.
    pub(super) async fn deliver_soon(&self, sending: Sending<'_>) -> Result<(), NotSent> {
        let (told, mut answer) = oneshot::channel();
        let waiting = Waiting { share: sending.hand_over(), told };
        self.sent.deliveries.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(waiting);
        self.sent.deliveries.wake.notify_one();
        let answered = match tokio::time::timeout(ANSWER_WAIT, &mut answer).await {
            Ok(answered) => answered.ok(),
            Err(_late) => {
                // From here on nobody else tells; what came at the last moment still counts.
                answer.close();
                answer.try_recv().ok()
            }
        };
        answered.map_or(Ok(()), |answered| answered.map(drop))
    }

    /// Offers what waits in the background, until it is dropped.
    pub(super) async fn follow_deliveries(&self) {
        let mut running = FuturesUnordered::new();
        loop {
            for waiting in self.sent.deliveries.take(DELIVERIES_MAX.saturating_sub(running.len())) {
                running.push(self.deliver_behind(waiting));
            }
            tokio::select! {
                Some(()) = running.next(), if !running.is_empty() => {}
                () = self.sent.deliveries.wake.notified() => {}
            }
        }
    }

    async fn deliver_behind(&self, Waiting { share, told }: Waiting) {
        let asked = self.sent.get(share);
        let delivered = self.deliver(self.sending(share)).await;
        if let Err(Err(NotSent::Undelivered { .. })) = told.send(delivered)
            && let Some(sent) = asked
            && self.sent.get(share).is_none()
            && let Err(error) = self.undo(&sent).await
        {
            tracing::error!(share.id = share.0, %error, "who asked for a share cannot be told that it was not taken");
        }
    }

    /// Tells who asked for a share, and was given its number already, that it is none. Where a row of it is left, its end tells the same.
    async fn undo(&self, sent: &SentShare) -> Result<()> {
        let Some(asked) = sent.asked.as_ref().filter(|asked| !asked.id.is_empty()) else { return Ok(()) };
        let undone = Notification::new("RESHARE_UNDO", &asked.id, secret_of(sent)).with("message", "the other server does not take it");
        let batch = self.answer_message(Batch::new().delete::<SentShare>(&sent.key()), &asked.by, &undone)?;
        self.store.commit(batch).await?;
        self.outbox.wake();
        Ok(())
    }
}
