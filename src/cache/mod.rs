//! Answers that are kept, and answers that are shared while they come in. docs/CACHE.md says what is promised.

pub mod canonical;
pub mod directive;
pub mod entry;
pub mod key;
pub mod merge;
pub mod splice;
