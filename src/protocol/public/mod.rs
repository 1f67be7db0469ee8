//! What a person with a browser and a link gets: a plain page, downloads, zips; and what other servers ask about a link.
//!
//! The server has opened the link before (token, password, expiry); a visitor who knew the password carries a pass.

mod page;
mod pass;
mod servers;
mod share_info;
mod zip;

pub use page::{Place, ask_password, download, gone, later, path_of_query, show};
pub use pass::{NoRandomness, Passes};
pub use servers::{page_of_old_link, provider, reachable};
pub use share_info::{Question, refuse, share_info};
