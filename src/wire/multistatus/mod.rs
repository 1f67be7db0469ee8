//! `DAV:multistatus` documents (RFC 4918 13).

pub mod reader;
pub mod writer;
