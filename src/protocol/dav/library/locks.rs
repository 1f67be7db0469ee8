//! The view's locks as dav-server's lock system. Who holds what is judged by the guard and enforced by `space`; here locks are only taken,
//! prolonged and given back.

use std::sync::Arc;
use std::time::Duration;

use dav_server::davpath::DavPath;
use dav_server::ls::{DavLock, DavLockSystem, LsFuture};
use xmltree::Element;

use crate::domain::{Error, Lock, LockDepth, LockScope, LockToken};
use crate::protocol::dav::library::Session;
use crate::protocol::dav::library::files::tree_path;

/// The lock system of one request.
#[derive(Debug, Clone)]
pub(super) struct Locks(pub(super) Arc<Session>);

impl Locks {
    /// A lock in the library's words; its root is told as the client spelled the URL's beginning.
    fn told(&self, lock: &Lock) -> Result<DavLock, Error> {
        let href = [self.0.root_href.as_str(), &lock.root.to_href()].concat();
        let path = DavPath::new(&href).map_err(|error| Error::Internal(error.to_string()))?;
        let left = u64::try_from(lock.expires.saturating_sub(self.0.now)).unwrap_or_default();
        Ok(DavLock {
            token: lock.token.0.clone(),
            path: Box::new(path),
            principal: None,
            // The guard writes the answer itself.
            owner: None,
            timeout_at: None,
            timeout: Some(Duration::from_secs(left)),
            shared: lock.scope == LockScope::Shared,
            deep: lock.depth == LockDepth::Infinity,
        })
    }

    async fn take(&self, path: &DavPath) -> Result<DavLock, Error> {
        let request = self.0.request.clone().ok_or_else(|| Error::Internal("a lock without a request".to_owned()))?;
        let (lock, _created) = self.0.view.lock(&tree_path(path)?, request, self.0.write.clone()).await?;
        let told = self.told(&lock)?;
        self.0.locked(lock);
        Ok(told)
    }

    async fn prolong(&self, path: &DavPath, token: &str) -> Result<DavLock, Error> {
        let timeout = self.0.request.as_ref().map_or(crate::limits::LOCK_TIMEOUT_DEFAULT, |request| request.timeout);
        let lock = self.0.view.refresh(&tree_path(path)?, &LockToken(token.to_owned()), timeout).await?;
        let told = self.told(&lock)?;
        self.0.locked(lock);
        Ok(told)
    }

    async fn give_back(&self, path: &DavPath, token: &str) -> Result<(), Error> {
        self.0.view.unlock(&tree_path(path)?, &LockToken(token.to_owned())).await
    }
}

/// What the library wants to hear of a conflict; the answer is made from the session's error.
fn conflict(path: DavPath) -> DavLock {
    DavLock {
        token: String::new(),
        path: Box::new(path),
        principal: None,
        owner: None,
        timeout_at: None,
        timeout: None,
        shared: false,
        deep: false,
    }
}

impl DavLockSystem for Locks {
    fn lock(
        &'_ self,
        path: &DavPath,
        _principal: Option<&str>,
        _owner: Option<&Element>,
        _timeout: Option<Duration>,
        _shared: bool,
        _deep: bool,
    ) -> LsFuture<'_, Result<DavLock, DavLock>> {
        let path = path.clone();
        Box::pin(async move {
            self.take(&path).await.map_err(|error| {
                self.0.failed(error);
                conflict(path.clone())
            })
        })
    }

    fn unlock(&'_ self, path: &DavPath, token: &str) -> LsFuture<'_, Result<(), ()>> {
        let (path, token) = (path.clone(), token.to_owned());
        Box::pin(async move { self.give_back(&path, &token).await.map_err(|error| self.0.failed(error)) })
    }

    fn refresh(&'_ self, path: &DavPath, token: &str, _timeout: Option<Duration>) -> LsFuture<'_, Result<DavLock, ()>> {
        let (path, token) = (path.clone(), token.to_owned());
        Box::pin(async move { self.prolong(&path, &token).await.map_err(|error| self.0.failed(error)) })
    }

    /// The guard has judged `If`, and `space` refuses what a lock forbids, in the same step as the write.
    fn check(
        &'_ self,
        _path: &DavPath,
        _principal: Option<&str>,
        _ignore_principal: bool,
        _deep: bool,
        _submitted_tokens: &[String],
    ) -> LsFuture<'_, Result<(), DavLock>> {
        Box::pin(async { Ok(()) })
    }

    fn discover(&'_ self, _path: &DavPath) -> LsFuture<'_, Vec<DavLock>> {
        Box::pin(async { Vec::new() })
    }

    fn delete(&'_ self, _path: &DavPath) -> LsFuture<'_, Result<(), ()>> {
        Box::pin(async { Ok(()) })
    }
}
