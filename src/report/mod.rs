//! What a load test has found: one sample for each stream, and what is made of them. Pure.

pub mod sample;
