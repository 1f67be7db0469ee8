//! Rows that may be lost: the listing caches of mounts. Not part of any batch and not flushed for their own sake.

use crate::store::keys::Trees;
use crate::store::{Result, Store};

impl Store {
    /// Keeps a value. It may be gone after a crash.
    pub fn cache_put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.cache().insert(key, value)?;
        Ok(())
    }

    /// A value kept before.
    pub fn cache_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.cache().get(key)?.map(|value| value.to_vec()))
    }

    /// Every kept row whose key begins with `prefix`, in the order of keys.
    pub fn cache_list(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.cache().scan_prefix(prefix).map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(Into::into)).collect()
    }

    /// Forgets one value.
    pub fn cache_remove(&self, key: &[u8]) -> Result<()> {
        self.cache().remove(key)?;
        Ok(())
    }

    /// Forgets every value whose key begins with `prefix`.
    pub fn cache_remove_prefix(&self, prefix: &[u8]) -> Result<()> {
        for key in self.cache().scan_prefix(prefix).keys() {
            self.cache().remove(key?)?;
        }
        Ok(())
    }

    fn cache(&self) -> &sled::Tree {
        let trees: &Trees = &self.inner.trees;
        &trees.cache
    }
}
