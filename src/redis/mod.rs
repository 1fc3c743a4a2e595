//! Redis as state that several instances share: [`connection`] is one supervised connection, [`error`] its errors, [`store`] a
//! store of bytes by name.
//!
//! Every wait has a timeout: each caller continues without Redis if there is no reply.

mod address;
pub mod connection;
pub mod error;
mod health;
pub mod settings;
pub mod store;
mod target;
