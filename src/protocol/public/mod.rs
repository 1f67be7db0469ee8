//! What a person with a browser and a link gets: a plain page, downloads, zips.
//!
//! The server has opened the link before (token, password, expiry); a visitor who knew the password carries a pass.

mod page;
mod pass;
mod zip;

pub use page::{Place, ask_password, download, gone, later, path_of_query, show};
pub use pass::{NoRandomness, Passes};
