//! One file a subcommand.

pub mod bench;
pub mod check;
pub mod cost;
pub mod demo_upstream;
pub mod doctor;
pub mod key;
mod probe;
pub mod serve;
pub mod token;
