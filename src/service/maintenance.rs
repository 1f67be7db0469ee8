//! The switch that closes every protocol while an administrator works on the server; it survives a restart.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::refusal::Result;
use crate::store::{Batch, Record, Store, Table};

/// Whether the server is in maintenance.
#[derive(Debug)]
pub struct Maintenance {
    store: Store,
    on: AtomicBool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Switch(bool);

const SWITCH: &[u8] = b"maintenance";

impl Record for Switch {
    const TABLE: Table = Table::Settings;
    fn key(&self) -> Vec<u8> {
        SWITCH.to_vec()
    }
}

impl Maintenance {
    /// As it was left.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn open(store: Store) -> Result<Maintenance> {
        let on = store.get::<Switch>(SWITCH)?.is_some_and(|Switch(on)| on);
        Ok(Maintenance { store, on: AtomicBool::new(on) })
    }

    /// Whether every protocol is closed.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Closes or opens.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn set(&self, on: bool) -> Result<()> {
        self.store.commit(Batch::new().put(&Switch(on))).await?;
        self.on.store(on, Ordering::Release);
        tracing::info!(on, "maintenance was switched");
        Ok(())
    }
}
