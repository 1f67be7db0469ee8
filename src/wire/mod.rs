//! Shapes that several sides put on the wire or take from it: bodies, hop lists, XML.

use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::combinators::UnsyncBoxBody;

pub mod date;
pub mod href;
pub mod invite;
pub mod multistatus;
pub mod ocm;
pub mod signature;
mod via;
pub mod x509;
pub mod xml;

pub use via::{CONTAINS_HEADER, CONTAINS_MAX, HOPS_MAX, VIA_HEADER, Via};

/// A body on its way in, or bytes on their way out: pieces as they come, an error where the other side broke off.
pub type Incoming = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;
