//! One file a subcommand.

pub mod bench;
pub mod check;
pub mod demo_upstream;
mod probe;
pub mod serve;
