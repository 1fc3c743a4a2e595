//! Credentials (gateway keys, tokens and sessions), and authentication, which turns them into a [`Caller`].
//!
//! The modules decide without I/O: clocks, randomness and files are arguments. [`authenticate`] has the clock and the randomness,
//! [`revocations`] and [`shared_revocations`] store the logouts.

pub mod authenticate;
pub mod caller;
pub mod claims;
pub mod cookie;
pub mod credentials;
mod date;
pub mod shared_revocations;
mod jwt;
pub mod key;
pub mod key_file;
pub mod keyring;
pub mod refusal;
pub mod revocations;
pub mod revoked;
pub mod session;
pub mod settings;
pub mod signatures;
pub mod token;
pub mod token_key;
