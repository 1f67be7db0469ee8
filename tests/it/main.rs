//! Integration tests: one binary, one module for each protocol or habit; attacks by their number.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod dav;
mod dav_attacks;
mod dav_copy_move;
mod dav_listing;
mod dav_locks;
mod dav_outside;
mod dav_sync;
mod doctor_links;
mod doctor_peers;
mod doctor_shares;
mod doctor_tls;
mod external_links;
mod federated_asking;
mod federated_meetings;
mod federated_reshares;
mod federated_sent;
mod federated_uploads;
mod federation;
mod federation_chains;
mod federation_etags;
mod federation_faults;
mod federation_secrets;
mod federation_streams;
mod federation_uploads;
mod federation_writes;
mod given_links;
mod groups;
mod invitations;
mod link_downloads;
mod link_policy;
mod login_flow;
mod ocm;
mod ocm_signatures;
mod ocm_signers;
mod ocm_token;
mod ocs;
mod ocs_app_passwords;
mod ocs_groups;
mod ocs_links_api;
mod ocs_maintenance;
mod ocs_share_info;
mod ocs_shares;
mod ocs_users;
mod partners;
mod partners_renamed;
mod peer_hosts_life;
mod peer_hosts_links;
mod peer_hosts_quirks;
mod peer_hosts_states;
mod peer_mounters_entry;
mod peer_mounters_faults;
mod peer_mounters_links;
mod peer_reva;
mod remote_attacks;
mod remote_faults;
mod remote_interop;
mod remote_poll;
mod server_attacks;
mod server_auth;
mod server_cli;
mod server_files;
mod server_http;
mod server_links;
mod server_mounts;
mod shares;
mod shares_attacks;
mod shares_links;
mod support;
mod trash;
mod uploads;
mod uploads_attacks;
mod uploads_links;
mod versions;
mod web_dialogue;
mod web_invite;
mod web_sessions;
