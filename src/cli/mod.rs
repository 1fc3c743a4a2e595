//! One file or directory a subcommand; `failure` is what all of them say when they fail.

pub mod bench;
pub mod check;
pub mod cost;
pub mod demo_upstream;
pub mod doctor;
pub mod failure;
pub mod key;
pub mod route;
pub mod serve;
pub mod token;
