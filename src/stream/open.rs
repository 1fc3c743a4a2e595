//! The list of open streams, so that all can be ended when the drain time is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use prometheus::IntGauge;

/// A stream that can be ended from outside.
pub trait Cut: Send + Sync {
    /// Ends the stream now with an error event: the gateway is shutting down.
    fn cut(&self);
}

/// All open streams.
pub struct OpenStreams {
    streams: Mutex<Slots>,
    active: IntGauge,
}

#[derive(Default)]
struct Slots {
    next: u64,
    /// All were cut: a stream that enters now is cut at once.
    cut: bool,
    open: HashMap<u64, Weak<dyn Cut>>,
}

/// An entry in the list. Dropping it removes the stream from the list.
pub struct Ticket {
    list: Arc<OpenStreams>,
    number: u64,
}

impl OpenStreams {
    /// Makes an empty list; `active` shows its length.
    pub fn new(active: IntGauge) -> Arc<Self> {
        Arc::new(Self { streams: Mutex::default(), active })
    }

    /// Adds a stream.
    pub fn enter(self: &Arc<Self>, stream: Weak<dyn Cut>) -> Ticket {
        let mut slots = self.slots();
        let number = slots.next;
        slots.next += 1;
        slots.open.insert(number, stream);
        self.active.set(slots.open.len() as i64);
        let late = slots.cut.then(|| slots.open[&number].upgrade()).flatten();
        drop(slots);
        late.into_iter().for_each(|stream| stream.cut());
        Ticket { list: Arc::clone(self), number }
    }

    /// Ends every stream, and each one that enters later.
    pub fn cut(&self) {
        // a stream that is dropped here leaves the list: the lock must not be held
        let mut slots = self.slots();
        slots.cut = true;
        let open: Vec<Arc<dyn Cut>> = slots.open.values().filter_map(Weak::upgrade).collect();
        drop(slots);
        open.iter().for_each(|stream| stream.cut());
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut slots = self.list.slots();
        slots.open.remove(&self.number);
        self.list.active.set(slots.open.len() as i64);
    }
}
