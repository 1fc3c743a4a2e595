//! When streams start: by a fixed number of users (closed loop), or at times set ahead (open loop). Pure.

use std::time::Duration;


/// How load is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// So many users, each of whom starts a stream when the one before has ended.
    Closed {
        /// At least 1.
        users: usize,
    },
    /// Streams start at times that are set ahead, whatever became of those before: a slow server cannot hide its queue.
    Open {
        /// Streams per second, above 0.
        rate: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
}
