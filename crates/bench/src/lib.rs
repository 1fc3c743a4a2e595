//! Measures streamed completions of any server: time to first token, gaps between tokens, tokens per second, buffering.
//!
//! [`load`] sends the requests and takes the times; [`report`] turns them into figures, tables and pages, and opens no socket.

pub mod load;
pub mod report;
