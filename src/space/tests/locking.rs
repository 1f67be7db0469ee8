use std::time::Duration;

use super::*;
use crate::domain::{LockDepth, LockRequest, LockScope, LockToken, Principal};

fn principal(name: &str) -> Principal {
    Principal::User(UserName::parse(name).unwrap())
}

fn request(scope: LockScope, depth: LockDepth) -> LockRequest {
    LockRequest { principal: principal("anna"), owner: "".into(), scope, depth, timeout: Duration::from_secs(60) }
}

impl Home {
    async fn lock(&self, path: &str, scope: LockScope, depth: LockDepth) -> Result<LockToken> {
        Ok(self.space.lock(&at(path), request(scope, depth), Write::unconditional()).await?.0.token)
    }

    async fn put_locked(&self, path: &str, tokens: &[&LockToken]) -> Result<Written> {
        let write = Write { expect: Expect::Anything, tokens: tokens.iter().map(|token| (*token).clone()).collect() };
        self.put_with(path, "x", PutRequest { write, ..PutRequest::plain() }).await
    }
}

#[track_caller]
fn locked<T: std::fmt::Debug>(result: Result<T>, root: &str) {
    match result {
        Err(Error::Locked(path)) => assert_eq!(path.as_str(), root),
        other => panic!("not locked: {other:?}"),
    }
}

#[tokio::test]
async fn a_lock_keeps_others_out_until_it_ends() {
    let home = Home::new();
    home.put("f", "x").await.unwrap();
    let token = home.lock("f", LockScope::Exclusive, LockDepth::Zero).await.unwrap();
    locked(home.put("f", "y").await, "f");
    locked(home.delete("f").await, "f");
    locked(home.rename("f", "g").await, "f");
    locked(home.lock("f", LockScope::Shared, LockDepth::Zero).await, "f");
    home.put_locked("f", &[&token]).await.unwrap();
    assert_eq!(home.space.locks(&at("f")).await.unwrap().len(), 1);
    let home = home.reopen(None);
    locked(home.put("f", "y").await, "f");
    home.clock.advance(61);
    assert!(home.space.locks(&at("f")).await.unwrap().is_empty());
    home.put("f", "y").await.unwrap();
    home.spaces.sweep().await;
    assert!(home.space.store.locks(SPACE).unwrap().is_empty());
}

#[tokio::test]
async fn a_lock_outlives_a_delete_that_fails() {
    let home = Home::new();
    home.put("f", "x").await.unwrap();
    let token = home.lock("f", LockScope::Exclusive, LockDepth::Zero).await.unwrap();
    // Nothing can be kept where no folder is.
    std::fs::remove_dir_all(home.own("trash/1")).unwrap();
    std::fs::write(home.own("trash/1"), "").unwrap();
    let write = Write { expect: Expect::Anything, tokens: vec![token.clone()] };
    assert!(home.space.delete(&at("f"), write).await.is_err());
    locked(home.put("f", "y").await, "f");
    home.put_locked("f", &[&token]).await.unwrap();
}

#[tokio::test]
async fn deep_locks_reach_down_and_shallow_ones_guard_the_names() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    home.mkcol("a/b").await.unwrap();
    home.put("a/b/f", "x").await.unwrap();
    let deep = home.lock("a", LockScope::Exclusive, LockDepth::Infinity).await.unwrap();
    locked(home.put("a/b/f", "y").await, "a");
    locked(home.put("a/b/new", "y").await, "a");
    locked(home.lock("a/b", LockScope::Exclusive, LockDepth::Zero).await, "a");
    assert_eq!(home.space.locks(&at("a/b/f")).await.unwrap()[0].root.as_str(), "a");
    assert_eq!(home.space.locks(&at("a/b/new")).await.unwrap().len(), 1);
    home.put_locked("a/b/f", &[&deep]).await.unwrap();
    home.space.unlock(&at("a/b/f"), &deep, &principal("anna")).await.unwrap();
    let shallow = home.lock("a", LockScope::Exclusive, LockDepth::Zero).await.unwrap();
    home.put("a/b/f", "y").await.unwrap();
    locked(home.put("a/new", "y").await, "a");
    home.put_locked("a/new", &[&shallow]).await.unwrap();
    locked(home.delete("a/new").await, "a");
}

#[tokio::test]
async fn a_lock_below_keeps_its_ancestors_in_place() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    home.put("a/f", "x").await.unwrap();
    let token = home.lock("a/f", LockScope::Exclusive, LockDepth::Zero).await.unwrap();
    locked(home.delete("a").await, "a/f");
    locked(home.rename("a", "b").await, "a/f");
    locked(home.lock("a", LockScope::Exclusive, LockDepth::Infinity).await, "a/f");
    let write = Write { expect: Expect::Anything, tokens: vec![token] };
    home.space.rename(&at("a"), &at("b"), write, Write::unconditional()).await.unwrap();
    assert!(home.space.locks(&at("b/f")).await.unwrap().is_empty());
    home.put("b/f", "y").await.unwrap();
}

#[tokio::test]
async fn shared_locks_stand_together_and_one_token_is_enough() {
    let home = Home::new();
    home.put("f", "x").await.unwrap();
    let first = home.lock("f", LockScope::Shared, LockDepth::Zero).await.unwrap();
    let second = home.lock("f", LockScope::Shared, LockDepth::Zero).await.unwrap();
    locked(home.lock("f", LockScope::Exclusive, LockDepth::Zero).await, "f");
    locked(home.put("f", "y").await, "f");
    home.put_locked("f", &[&second]).await.unwrap();
    home.put_locked("f", &[&first]).await.unwrap();
}

#[tokio::test]
async fn only_its_taker_refreshes_and_unlocks() {
    let home = Home::new();
    home.put("f", "x").await.unwrap();
    home.put("g", "x").await.unwrap();
    let token = home.lock("f", LockScope::Exclusive, LockDepth::Zero).await.unwrap();
    assert!(matches!(home.space.unlock(&at("f"), &token, &principal("bob")).await, Err(Error::NoSuchLock)));
    assert!(matches!(home.space.unlock(&at("g"), &token, &principal("anna")).await, Err(Error::NoSuchLock)));
    home.clock.advance(50);
    let refreshed = home.space.refresh(&at("f"), &token, &principal("anna"), Duration::from_secs(60)).await.unwrap();
    assert_eq!(refreshed.expires, home.clock.now() + 60);
    home.clock.advance(50);
    locked(home.put("f", "y").await, "f");
    home.space.unlock(&at("f"), &token, &principal("anna")).await.unwrap();
    home.put("f", "y").await.unwrap();
}

#[tokio::test]
async fn locking_a_free_name_makes_an_empty_file_that_counts_as_absent_once() {
    let home = Home::new();
    let (lock, created) =
        home.space.lock(&at("new"), request(LockScope::Exclusive, LockDepth::Zero), Write::unconditional()).await.unwrap();
    assert!(created);
    assert_eq!(home.node("new").await.unwrap().size, 0);
    let absent =
        |tokens: &[LockToken]| PutRequest { write: Write { expect: Expect::Absent, tokens: tokens.to_vec() }, ..PutRequest::plain() };
    locked(home.put_with("new", "x", absent(&[])).await, "new");
    home.put_with("new", "x", absent(std::slice::from_ref(&lock.token))).await.unwrap();
    assert!(matches!(home.put_with("new", "y", absent(&[lock.token])).await, Err(Error::PreconditionFailed)));
    home.check().await;
}

#[tokio::test]
async fn what_replaces_a_locked_file_is_locked() {
    let home = Home::new();
    home.put("f", "x").await.unwrap();
    home.put("g", "y").await.unwrap();
    let token = home.lock("f", LockScope::Exclusive, LockDepth::Zero).await.unwrap();
    locked(home.rename("g", "f").await, "f");
    let write = Write { expect: Expect::Anything, tokens: vec![token.clone()] };
    home.space.rename(&at("g"), &at("f"), Write::unconditional(), write).await.unwrap();
    locked(home.put("f", "z").await, "f");
    home.space.unlock(&at("f"), &token, &principal("anna")).await.unwrap();
    home.put("f", "z").await.unwrap();
}
