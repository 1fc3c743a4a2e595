#![doc = include_str!("../README.md")]

pub mod decision;
mod flaw;
pub mod names;
pub mod origin;
pub mod pattern;
pub mod policy;
mod vary;

#[cfg(test)]
mod tests;
