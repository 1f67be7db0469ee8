//! One question for all mounts of one share: whoever's poll comes first asks for the root, the others take its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::domain::TreePath;
use crate::remote::{Error, Listing, Share, ShareKey};
use crate::wire::Via;

/// A poll takes an answer whose question was sent this long ago, or later.
pub(super) const ANSWER_AGE: Duration = Duration::from_secs(1);

/// The roots that mounts ask for.
#[derive(Default)]
pub(super) struct Roots {
    known: Mutex<HashMap<ShareKey, Weak<Root>>>,
}

/// The root of one share, asked with one password.
#[derive(Default)]
pub(super) struct Root {
    /// Held while somebody asks.
    last: tokio::sync::Mutex<Option<Answer>>,
}

/// What a remote said of a root.
#[derive(Clone)]
pub(super) struct Answer {
    /// When the question was sent.
    pub(super) asked: Instant,
    pub(super) found: Result<Arc<Listing>, Error>,
}

impl Roots {
    /// The root that all mounts of this share have in common.
    pub(super) fn of(&self, share: Option<&Share>) -> Arc<Root> {
        let Some(key) = share.map(Share::key) else {
            return Arc::default();
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = known.get(&key).and_then(Weak::upgrade) {
            return root;
        }
        known.retain(|_, root| root.strong_count() > 0);
        let root = Arc::default();
        known.insert(key, Arc::downgrade(&root));
        root
    }
}

impl Root {
    /// What the remote says of its root: the last answer if its question was not sent before `since`, else a new one.
    pub(super) async fn ask(&self, share: &Share, since: Instant) -> Answer {
        let mut last = self.last.lock().await;
        if let Some(answer) = last.as_ref().filter(|answer| answer.asked >= since) {
            return answer.clone();
        }
        let asked = Instant::now();
        let found = share.stat(&Via::default(), &TreePath::root()).await.map(Arc::new);
        let answer = Answer { asked, found };
        *last = Some(answer.clone());
        answer
    }
}
