//! Causeway: a WebDAV server whose users mount each other's public links across servers.
//!
//! The floors look down only (ARCHITECTURE.md): `domain` and `wire` know nobody; `store`, `content` and `remote` hold rows, bytes and
//! other servers; `space` and `mount` are a home and a remote share as nodes; `tree` is one principal's sight of them; `service` is what
//! can be done, whoever asks; `protocol` holds one folder per outside language; `server`, `config` and `cli` put it on sockets.

pub mod cli;
pub mod config;
pub mod content;
pub mod domain;
pub mod limits;
pub mod mount;
pub mod protocol;
pub mod remote;
pub mod server;
pub mod service;
pub mod space;
pub mod store;
pub mod tree;
pub mod wire;
