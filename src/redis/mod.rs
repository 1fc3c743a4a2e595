//! Redis, as state that several instances share: [`connection`] is the connection, [`error`] what can go wrong with it, [`store`]
//! what is kept there by name.
//!
//! Nothing here is ever waited for longer than a budget: whoever asks has an answer of its own for the other case.

mod address;
pub mod connection;
pub mod error;
pub mod settings;
pub mod store;
