//! One folder per outside language. They share `service` and `tree`, never each other.

pub mod dav;
pub mod login;
pub mod ocm;
pub mod ocs;
pub mod public;
pub mod web;
