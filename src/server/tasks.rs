//! The only place that spawns: whatever runs beside the requests is counted here and waited for at shutdown.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The running tasks of one server, and the sign to stop. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    kill: CancellationToken,
}

impl Tasks {
    /// Nothing running yet.
    pub fn new() -> Tasks {
        Tasks::default()
    }

    /// Runs a future beside the others until it ends by itself.
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(future);
    }

    /// Runs a future until it ends or the server stops, whichever comes first. It must bear being dropped at any await.
    pub fn spawn_until_stop<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            let _ended: Option<()> = stop.run_until_cancelled(future).await;
        });
    }

    /// Runs a future that heeds the sign to stop by itself, and drops it when the patience with it has ended.
    pub fn spawn_until_killed<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let kill = self.kill.clone();
        self.tracker.spawn(async move {
            let _ended: Option<()> = kill.run_until_cancelled(future).await;
        });
    }

    /// The sign to stop, for loops that end in their own way.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Gives the sign to stop, and waits until every task has ended or the patience has. Says whether all have ended.
    pub async fn finish(&self, patience: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        let finished = tokio::time::timeout(patience, self.tracker.wait()).await.is_ok();
        if !finished {
            self.kill.cancel();
            self.tracker.wait().await;
        }
        finished
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.tracker.spawn(future);
    }
}
