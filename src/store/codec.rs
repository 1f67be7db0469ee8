//! Values of rows: one byte of format, then postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{Error, Result};

/// The format of every value today. A change of a stored shape raises it and keeps a reader for the old one.
pub(super) const VALUE_FORMAT: u8 = 1;

/// A value as bytes.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_extend(value, vec![VALUE_FORMAT]).map_err(|error| Error::Corrupt(format!("a value cannot be written: {error}")))
}

/// A value from its bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match bytes.split_first() {
        Some((&VALUE_FORMAT, rest)) => {
            postcard::from_bytes(rest).map_err(|error| Error::Corrupt(format!("a value cannot be read: {error}")))
        }
        Some((format, _)) if *format > VALUE_FORMAT => Err(Error::Newer(u32::from(*format))),
        _ => Err(Error::Corrupt("a value without format".to_owned())),
    }
}
