//! From what went wrong at a remote to what a client is told, and to the mount's state. Absence is told only where the remote's root
//! answers and the node is not in it.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::domain::{Error, Mount, MountState, OfflineCause, Result, TreePath, Vendor};
use crate::mount::MountHandle;
use crate::mount::handle::RETRY_PAUSE;
use crate::remote::{self, LinkState, Share};
use crate::wire::Via;

/// What clients are told to wait where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// First pause after a remote said that it wants none of our questions; doubles each time.
const ALONE: Duration = Duration::from_secs(30);
/// Longest such pause.
const ALONE_MAX: Duration = Duration::from_secs(3600);
/// How long the root is waited for where something below it did not answer.
const ROOT_PATIENCE: Duration = Duration::from_secs(3);

impl MountHandle {
    /// The error that the state stands for; none while online, or when it is time for another try.
    pub(super) fn barred(&self) -> Result<()> {
        let mut live = self.live();
        live.used = Instant::now();
        if live.record.state == MountState::Online || Instant::now() >= live.next_try {
            // One request tries again; the others wait for what becomes of it.
            live.next_try = Instant::now() + RETRY_PAUSE;
            return Ok(());
        }
        Err(told(&live.record.state))
    }

    /// Asks the remote for something about `path`, and learns from how it answers.
    pub(super) async fn ask<T, F>(&self, via: &Via, path: &TreePath, question: impl FnOnce(Share) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, remote::Error>> + Send,
        T: Send,
    {
        self.barred()?;
        let Some(share) = self.share() else {
            self.offline(OfflineCause::Unreachable);
            return Err(unavailable(OfflineCause::Unreachable, RETRY_AFTER));
        };
        match question(share).await {
            Ok(answer) => {
                self.answered();
                Ok(answer)
            }
            Err(error) => Err(self.fault(via, path, error).await),
        }
    }

    pub(super) fn answered(&self) {
        let mut live = self.live();
        live.failures = 0;
        live.alone_until = None;
        let back = live.record.state != MountState::Online;
        self.set_state(&mut live, MountState::Online);
        if back && !live.missed.is_empty() {
            live.next_poll = Instant::now();
        }
    }

    /// What an error of the remote means here.
    pub(super) async fn fault(&self, via: &Via, path: &TreePath, error: remote::Error) -> Error {
        match error {
            remote::Error::Unreachable { retry_after } if path.is_root() => {
                self.down(OfflineCause::Unreachable, retry_after.max(Duration::from_secs(1)))
            }
            remote::Error::Unreachable { .. } => self.only_here(via).await,
            remote::Error::NotAllowed => self.down(OfflineCause::NotAllowed, RETRY_AFTER),
            remote::Error::Untrusted(_) => self.down(OfflineCause::Untrusted, RETRY_AFTER),
            remote::Error::BadAnswer(_) | remote::Error::Redirected if path.is_root() => self.down(OfflineCause::BadAnswer, RETRY_AFTER),
            remote::Error::BadAnswer(_) | remote::Error::Redirected => unavailable(OfflineCause::BadAnswer, RETRY_AFTER),
            remote::Error::SharingOff => self.leave_alone(OfflineCause::SharingOff, Duration::ZERO),
            remote::Error::Throttled { retry_after } if path.is_root() => self.leave_alone(OfflineCause::RemoteBusy, retry_after),
            remote::Error::Throttled { retry_after } => self.throttled(retry_after),
            remote::Error::Busy { retry_after } if path.is_root() => self.down(OfflineCause::RemoteBusy, retry_after),
            remote::Error::Busy { retry_after } => unavailable(OfflineCause::RemoteBusy, retry_after),
            remote::Error::Unauthorized => self.diagnose(self.unauthorized()).await,
            remote::Error::NotFound if path.is_root() => self.diagnose(MountState::Withdrawn).await,
            remote::Error::NotFound => self.really_absent(via).await,
            remote::Error::Forbidden => Error::Forbidden("the remote server does not allow this"),
            remote::Error::Unsupported => Error::Unsupported("the remote server does not offer this"),
            remote::Error::Conflict => Error::ParentMissing,
            remote::Error::PreconditionFailed => Error::PreconditionFailed,
            remote::Error::Locked => Error::Locked(path.clone()),
            remote::Error::Full => Error::InsufficientStorage,
            remote::Error::Loop => Error::Loop,
            remote::Error::Rejected(_) => Error::InvalidName("the remote server rejects the request"),
            remote::Error::Changed => Error::Changed,
            remote::Error::SourceBroken => Error::BodyBroken,
        }
    }

    /// Neither clients nor polls ask for a while, longer each time: hosts count tries that fail, slow down all who come from the same address, and
    /// then refuse them (`protocol/nextcloud.md` 2.5).
    fn leave_alone(&self, cause: OfflineCause, at_least: Duration) -> Error {
        self.offline(cause);
        let mut live = self.live();
        let doubled = ALONE.saturating_mul(2_u32.saturating_pow(live.failures.saturating_sub(1)));
        let pause = doubled.max(at_least).min(ALONE_MAX);
        live.next_try = Instant::now() + pause;
        live.alone_until = Some(live.next_try);
        unavailable(cause, pause)
    }

    /// A node that does not answer in time takes its whole mount away only if the root does not answer either: one folder that its server cannot
    /// list must not hide the others. Where nothing listens, the root is known to be away at once.
    async fn only_here(&self, via: &Via) -> Error {
        let Some(share) = self.share() else { return self.down(OfflineCause::Unreachable, RETRY_AFTER) };
        let root = TreePath::root();
        match tokio::time::timeout(ROOT_PATIENCE, share.stat(via, &root)).await {
            Ok(Ok(_)) => {
                self.answered();
                unavailable(OfflineCause::Unreachable, RETRY_AFTER)
            }
            Ok(Err(error)) => Box::pin(self.fault(via, &root, error)).await,
            Err(_late) => self.down(OfflineCause::Unreachable, RETRY_AFTER),
        }
    }

    /// A part of the mount is not to be asked for so soon: clients may ask for the others, and our own questions wait, all of them.
    pub(super) fn throttled(&self, retry_after: Duration) -> Error {
        let mut live = self.live();
        let until = Instant::now() + retry_after.min(ALONE_MAX);
        live.alone_until = Some(live.alone_until.map_or(until, |known| known.max(until)));
        live.next_poll = live.next_poll.max(until);
        unavailable(OfflineCause::RemoteBusy, retry_after)
    }

    /// Whether the remote wants none of our own questions now.
    pub(super) fn is_left_alone(&self) -> bool {
        self.live().alone_until.is_some_and(|until| until > Instant::now())
    }

    fn down(&self, cause: OfflineCause, retry_after: Duration) -> Error {
        self.offline(cause);
        unavailable(cause, retry_after)
    }

    /// A node is absent only if the root is there: otherwise it is the share that cannot be reached. The root is asked after the 404, however
    /// lately it answered before: a client that sees 404 deletes its local files.
    async fn really_absent(&self, via: &Via) -> Error {
        let Some(share) = self.share() else { return unavailable(OfflineCause::Unreachable, RETRY_AFTER) };
        let asked = Instant::now();
        match share.stat(via, &TreePath::root()).await {
            Ok(found) => {
                self.answered();
                let mut live = self.live();
                if live.root_etag_is(found.own.etag.as_deref()) {
                    live.confirmed = Some(asked);
                }
                Error::NotFound
            }
            Err(remote::Error::NotFound) => self.diagnose(MountState::Withdrawn).await,
            Err(remote::Error::Unauthorized) => self.diagnose(self.unauthorized()).await,
            Err(error) => Box::pin(self.fault(via, &TreePath::root(), error)).await,
        }
    }

    /// What it means that a secret is not taken any more.
    fn unauthorized(&self) -> MountState {
        if self.offered { MountState::Withdrawn } else { MountState::NeedsPassword }
    }

    /// A root that wants a password or is not there: ask what became of the link before saying so (DESIGN 5).
    /// `likely` is what a server without such pages means.
    async fn diagnose(&self, likely: MountState) -> Error {
        let Mount { page, vendor, .. } = self.record();
        let state = match page {
            None => likely,
            // oCIS shows every token the same page, which asks the server by script.
            Some(_) if vendor == Vendor::Ocis => likely,
            Some(page) => match self.link_state(&page, &likely).await {
                Ok(LinkState::Gone) => MountState::Withdrawn,
                Ok(LinkState::Protected) => MountState::NeedsPassword,
                Ok(LinkState::SharingOff) => return self.leave_alone(OfflineCause::SharingOff, Duration::ZERO),
                // The link lives, only its WebDAV does not answer: that passes.
                Ok(LinkState::Open) | Err(_) => return self.down(OfflineCause::RemoteBusy, RETRY_AFTER),
            },
        };
        let error = told(&state);
        let mut live = self.live();
        self.set_state(&mut live, state);
        live.failures = live.failures.saturating_add(1);
        live.failed = Some(Instant::now());
        // Hosts throttle those who keep asking for a dead link (`protocol/nextcloud.md` 2.5).
        live.next_try = Instant::now() + Duration::from_secs(3600);
        error
    }
}

impl MountHandle {
    async fn link_state(&self, page: &str, likely: &MountState) -> std::result::Result<LinkState, remote::Error> {
        let Some(share) = self.share() else { return Err(remote::Error::BadAnswer("the URL cannot be read")) };
        let refused = *likely == MountState::NeedsPassword;
        self.server.remotes.link_state(page, share.vendor, &share.password(), refused).await
    }
}

fn told(state: &MountState) -> Error {
    match state {
        MountState::Online => unavailable(OfflineCause::Unreachable, RETRY_AFTER),
        MountState::Offline { cause, .. } => unavailable(*cause, RETRY_AFTER),
        MountState::NeedsPassword => unavailable(OfflineCause::NeedsPassword, Duration::from_secs(3600)),
        MountState::Withdrawn => unavailable(OfflineCause::Withdrawn, Duration::from_secs(3600)),
        MountState::Loop => Error::Loop,
    }
}

fn unavailable(cause: OfflineCause, retry_after: Duration) -> Error {
    Error::Unavailable { cause, retry_after }
}
