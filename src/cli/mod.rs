//! One file or directory a subcommand; `failure` is what all of them say when they fail.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod cost;
pub(crate) mod demo_upstream;
pub(crate) mod doctor;
pub(crate) mod failure;
pub(crate) mod key;
pub(crate) mod route;
pub(crate) mod serve;
pub(crate) mod token;
