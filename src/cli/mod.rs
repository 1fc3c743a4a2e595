//! One file a subcommand.

pub mod bench;
pub mod check;
pub mod demo_upstream;
pub mod doctor;
mod probe;
pub mod serve;
