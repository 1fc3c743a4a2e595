//! Placeholder.

/// A checked policy.
#[derive(Debug)]
pub struct Policy {}
