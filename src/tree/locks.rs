//! Locks of a view: those of the home, and those of mounts with their roots told in paths of the view.

use std::time::Duration;

use crate::domain::{At, Error, Lock, LockRequest, LockToken, Permissions, Result, TreePath, Write};
use crate::tree::View;
use crate::tree::resolve::Target;
use crate::tree::write::below;

impl View {
    /// Takes a lock; on a free name this makes an empty file (RFC 4918 7.3). Returns the lock and whether a file was made.
    ///
    /// # Errors
    /// [`Error::Locked`] where another lock is in the way; [`Error::Unsupported`] where the remote has no locks.
    pub async fn lock(&self, path: &TreePath, request: LockRequest, write: Write) -> Result<(Lock, bool)> {
        match self.resolve(path).await? {
            Target::Home { at, .. } => {
                self.demand(self.granted, Permissions::UPDATE)?;
                self.space.lock(&at, request, write).await
            }
            Target::HomeFree { at, parent_exists } => {
                self.demand(self.granted, Permissions::CREATE)?;
                if !parent_exists {
                    return Err(Error::ParentMissing);
                }
                self.space.lock(&at, request, write).await
            }
            Target::Mount(target) => {
                self.admit(&target, Permissions::UPDATE, Permissions::CREATE, &write.tokens).await?;
                let locked = self.handle(target.mount)?.lock(&self.via, &target.inner, request, write).await;
                let (lock, created) = locked.map_err(|error| below(error, &target.at))?;
                Ok((in_view(lock, &target.at), created))
            }
            Target::Shared(target) => {
                self.check_home_locks(&target.at, &write.tokens).await?;
                let locked = Box::pin(target.view?.lock(&target.inner, request, write)).await;
                let (lock, created) = locked.map_err(|error| below(error, &target.at))?;
                Ok((in_view(lock, &target.at), created))
            }
        }
    }

    /// Prolongs a lock.
    ///
    /// # Errors
    /// [`Error::NoSuchLock`] where the token is not a lock on this path, or somebody else's.
    pub async fn refresh(&self, path: &TreePath, token: &LockToken, timeout: Duration) -> Result<Lock> {
        self.demand(self.granted, Permissions::UPDATE)?;
        match self.resolve(path).await? {
            Target::Home { at, .. } | Target::HomeFree { at, .. } => self.space.refresh(&at, token, &self.principal, timeout).await,
            Target::Mount(target) => {
                let handle = self.handle(target.mount)?;
                let lock = handle.refresh(&self.via, &target.inner, token, &self.principal, timeout).await?;
                Ok(in_view(lock, &target.at))
            }
            Target::Shared(target) => {
                let lock = Box::pin(target.view?.refresh(&target.inner, token, timeout)).await?;
                Ok(in_view(lock, &target.at))
            }
        }
    }

    /// Gives a lock back.
    ///
    /// # Errors
    /// [`Error::NoSuchLock`] where the token is not a lock on this path, or somebody else's.
    pub async fn unlock(&self, path: &TreePath, token: &LockToken) -> Result<()> {
        self.demand(self.granted, Permissions::UPDATE)?;
        match self.resolve(path).await? {
            Target::Home { at, .. } | Target::HomeFree { at, .. } => self.space.unlock(&at, token, &self.principal).await,
            Target::Mount(target) => self.handle(target.mount)?.unlock(&self.via, &target.inner, token, &self.principal).await,
            Target::Shared(target) => Box::pin(target.view?.unlock(&target.inner, token)).await,
        }
    }

    /// The locks that cover a path, free or not.
    ///
    /// # Errors
    /// [`Error::NotFound`] on a view that may not be read.
    pub async fn locks(&self, path: &TreePath) -> Result<Vec<Lock>> {
        match self.resolve(path).await? {
            Target::Home { at, .. } | Target::HomeFree { at, .. } => self.space.locks(&at).await,
            Target::Mount(target) => {
                let mut locks = self.space.locks(&target.at).await?;
                let inside = self.handle(target.mount)?.locks(&self.via, &target.inner).await;
                match inside {
                    Ok(inside) => locks.extend(inside.into_iter().map(|lock| in_view(lock, &target.at))),
                    Err(Error::NotFound) => {}
                    Err(error) => return Err(error),
                }
                Ok(locks)
            }
            Target::Shared(target) => {
                let mut locks = self.space.locks(&target.at).await?;
                let inside = match target.view {
                    Ok(view) => Box::pin(view.locks(&target.inner)).await,
                    Err(error) => Err(error),
                };
                match inside {
                    Ok(inside) => locks.extend(inside.into_iter().map(|lock| in_view(lock, &target.at))),
                    // What cannot be seen now can be taken out of the tree all the same.
                    Err(error) if !target.inner.is_root() && !matches!(error, Error::NotFound) => return Err(error),
                    Err(_) => {}
                }
                Ok(locks)
            }
        }
    }
}

fn in_view(lock: Lock, mountpoint: &At) -> Lock {
    Lock { root: mountpoint.path.join_path(&lock.root), ..lock }
}
