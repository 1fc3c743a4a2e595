//! The back-off after an accept error. Pure.

use std::io::{Error, ErrorKind};
use std::time::Duration;

/// Doubles from 5 ms to 1 s while accepting fails for lack of resources (descriptors, memory): an immediate retry would spin, because
/// the connection is still in the queue.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    next: Option<Duration>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);

    /// The wait after this error; `None` if it concerned one connection only, which is no longer in the queue.
    pub(super) fn after(&mut self, error: &Error) -> Option<Duration> {
        if is_of_one_connection(error) {
            return None;
        }
        let wait = self.next.unwrap_or(Self::FIRST);
        self.next = Some((wait * 2).min(Self::LONGEST));
        Some(wait)
    }

    /// A connection was accepted.
    pub(super) fn reset(&mut self) {
        self.next = None;
    }
}

/// Whether an accept error concerns one connection only, which is no longer in the queue.
pub(super) fn is_of_one_connection(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMFILE: i32 = 24;
    const ECONNABORTED: i32 = 103;

    #[test]
    fn waits_double_to_a_second_and_start_anew_after_an_accept() {
        let mut backoff = Backoff::default();
        let full = Error::from_raw_os_error(EMFILE);
        let waits: Vec<u128> = (0..10).map(|_| backoff.after(&full).unwrap().as_millis()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.after(&full), Some(Backoff::FIRST));
    }

    #[test]
    fn a_connection_that_was_aborted_in_the_queue_costs_no_wait() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after(&Error::from_raw_os_error(ECONNABORTED)), None);
        assert_eq!(backoff.after(&Error::from(ErrorKind::Interrupted)), None);
    }
}
