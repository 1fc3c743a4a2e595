//! The queue between the threads that log and the one thread that writes.
//!
//! A write to a pipe whose reader stalls blocks its thread, and a write to a closed pipe or a full disk fails. Neither may reach
//! a request. So a line is copied into a bounded queue, and a thread of its own writes it. A line for which there is no room, or
//! which cannot be written, is discarded and counted.

use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;

/// The most bytes that wait. While the writer writes as many, the process holds twice this.
pub(super) const CAPACITY: usize = 1024 * 1024;
/// The pause after a write that a non-blocking descriptor refuses.
const RETRY: Duration = Duration::from_millis(10);

/// Lines that wait to be written.
pub(super) struct Queue {
    state: Mutex<State>,
    /// There are lines, and the writer may wait for them.
    filled: Condvar,
    /// The writer has written all that it took.
    written: Condvar,
    dropped: IntCounter,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    is_writing: bool,
}

impl Queue {
    /// An empty queue; the counter counts discarded lines.
    pub(super) fn new(dropped: IntCounter) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), written: Condvar::new(), dropped }
    }

    /// Appends one line, with its line end. Never waits for the writer.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.pending.len() + line.len() > CAPACITY {
            drop(state);
            self.dropped.inc();
            return;
        }
        // a writer that writes looks at the queue before it waits
        let may_wait = state.pending.is_empty() && !state.is_writing;
        state.pending.extend_from_slice(line);
        drop(state);
        if may_wait {
            self.filled.notify_one();
        }
    }

    /// Waits until all lines are written, at most this long; false if some are not.
    pub(super) fn flush_within(&self, patience: Duration) -> bool {
        let waits = |state: &mut State| state.is_writing || !state.pending.is_empty();
        let waited = self.written.wait_timeout_while(self.lock(), patience, waits);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Writes the lines to `out` as they come. Never returns.
    pub(super) fn write_to(&self, mut out: impl Write) {
        let (mut batch, mut line_is_open) = (Vec::new(), false);
        loop {
            self.take(&mut batch);
            if line_is_open {
                // the rest of the line is lost: the next one begins at its own line end
                batch.insert(0, b'\n');
            }
            let (done, result) = write(&mut out, &batch);
            line_is_open = match done.checked_sub(1) {
                Some(last) => batch[last] != b'\n',
                None => line_is_open,
            };
            if result.is_err() {
                let lost = memchr::memchr_iter(b'\n', &batch[done..]).count();
                self.dropped.inc_by(lost as u64);
            }
        }
    }

    /// Replaces what was written by the lines that wait, once there are some.
    fn take(&self, batch: &mut Vec<u8>) {
        batch.clear();
        let mut state = self.lock();
        state.is_writing = false;
        if state.pending.is_empty() {
            self.written.notify_all();
        }
        let waiting = self.filled.wait_while(state, |state| state.pending.is_empty());
        state = waiting.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        std::mem::swap(batch, &mut state.pending);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // no change can panic half-way
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all of it, or as much as is possible: how many bytes, and why no more.
fn write(out: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < bytes.len() {
        match out.write(&bytes[done..]) {
            Ok(0) => return (done, Err(ErrorKind::WriteZero.into())),
            Ok(written) => done += written,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // another process may have set the descriptor that it shares with this one
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Gives what it is asked to write to the test, and answers as the test says.
    struct Scripted {
        asked: mpsc::Sender<String>,
        answers: mpsc::Receiver<io::Result<usize>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.asked.send(String::from_utf8(bytes.to_vec()).unwrap());
            self.answers.recv().unwrap_or(Ok(bytes.len()))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Test {
        queue: Arc<Queue>,
        asked: mpsc::Receiver<String>,
        answers: mpsc::Sender<io::Result<usize>>,
    }

    impl Test {
        fn new() -> Self {
            let queue = Arc::new(Queue::new(IntCounter::new("dropped", "dropped").unwrap()));
            let ((asked, asks), (answers, answer)) = (mpsc::channel(), mpsc::channel());
            let out = Scripted { asked, answers: answer };
            let writer = queue.clone();
            thread::spawn(move || writer.write_to(out));
            Self { queue, asked: asks, answers }
        }

        fn asked(&self) -> String {
            self.asked.recv_timeout(LONG).unwrap()
        }

        fn answer(&self, answer: Result<usize, ErrorKind>) {
            self.answers.send(answer.map_err(io::Error::from)).unwrap();
        }
    }

    #[test]
    fn lines_are_written_in_order_and_what_came_meanwhile_in_one_write() {
        let test = Test::new();
        test.queue.push(b"a\n");
        assert_eq!(test.asked(), "a\n");
        test.queue.push(b"b\n");
        test.queue.push(b"c\n");
        test.answer(Ok(2));
        assert_eq!(test.asked(), "b\nc\n");
        test.answer(Ok(2));
        assert_eq!(test.asked(), "c\n");
        test.answer(Ok(2));
        assert!(test.queue.flush_within(LONG));
        assert_eq!(test.queue.dropped.get(), 0);
    }

    #[test]
    fn beyond_the_capacity_lines_are_discarded_and_counted_and_nothing_waits() {
        let test = Test::new();
        test.queue.push(b"first\n");
        test.asked();
        // the writer is in its write
        let line = [b'x'; 1023].iter().chain(b"\n").copied().collect::<Vec<u8>>();
        (0..CAPACITY / 1024 + 3).for_each(|_| test.queue.push(&line));
        assert_eq!(test.queue.dropped.get(), 3);
        assert!(!test.queue.flush_within(Duration::ZERO));
        test.answer(Ok(6));
        assert_eq!(test.asked().len(), CAPACITY);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_the_next_one_begins_at_a_line_end() {
        let test = Test::new();
        test.queue.push(b"lost\n");
        assert_eq!(test.asked(), "lost\n");
        test.queue.push(b"cut\n");
        test.queue.push(b"lost too\n");
        test.answer(Err(ErrorKind::BrokenPipe));
        assert_eq!(test.asked(), "cut\nlost too\n");
        test.answer(Ok(2));
        assert_eq!(test.asked(), "t\nlost too\n");
        test.answer(Err(ErrorKind::StorageFull));
        assert!(test.queue.flush_within(LONG));
        assert_eq!(test.queue.dropped.get(), 3);
        test.queue.push(b"whole\n");
        assert_eq!(test.asked(), "\nwhole\n");
    }

    #[test]
    fn an_interrupted_write_and_one_that_would_block_are_repeated() {
        let test = Test::new();
        test.queue.push(b"a\n");
        for refused in [ErrorKind::Interrupted, ErrorKind::WouldBlock] {
            assert_eq!(test.asked(), "a\n");
            test.answer(Err(refused));
        }
        assert_eq!(test.asked(), "a\n");
        test.answer(Ok(2));
        assert!(test.queue.flush_within(LONG));
        assert_eq!(test.queue.dropped.get(), 0);
    }
}
