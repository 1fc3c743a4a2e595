//! One file a subcommand.

pub mod check;
pub mod demo_upstream;
pub mod key;
mod probe;
pub mod serve;
pub mod token;
