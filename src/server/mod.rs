//! Everything that listens.

pub mod admin;
mod pages;
pub mod playground;
