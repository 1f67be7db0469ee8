//! What tests start and ask.

pub(crate) mod bad_remote;
pub(crate) mod browsing;
pub(crate) mod dav_only;
pub(crate) mod exam;
pub(crate) mod federation;
pub(crate) mod killed;
pub(crate) mod mounted;
pub(crate) mod mounter;
pub(crate) mod mounter_wire;
pub(crate) mod mounter_xml;
pub(crate) mod ocm_peer;
pub(crate) mod peer;
pub(crate) mod raw;
pub(crate) mod relay;
pub(crate) mod sender;
pub(crate) mod server;
pub(crate) mod sharing;
pub(crate) mod signer;
