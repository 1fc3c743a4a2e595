//! The lookup of one name: one at a time, and the last addresses while it hangs.
//!
//! The system's resolver blocks a thread, and cannot be cancelled. Without this, each connection to a name whose resolver hangs would
//! take another thread of the pool that all names share.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// The addresses of a name, or why there are none.
type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;
/// Looks a name and a port up. It may block.
type Resolve = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Looks up one name.
pub(crate) struct Lookup {
    name: String,
    port: u16,
    /// How long a lookup may take before the last addresses are used.
    patience: Duration,
    resolve: Arc<Resolve>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The result of the last lookup that succeeded.
    last: Option<Vec<SocketAddr>>,
    running: Option<Running>,
}

/// A lookup that has not ended.
#[derive(Clone)]
struct Running {
    began: Instant,
    found: watch::Receiver<Option<Found>>,
}

/// Clears the running lookup at its end, also if it panics.
struct Ending(Arc<Mutex<State>>);

impl Drop for Ending {
    fn drop(&mut self) {
        lock(&self.0).running = None;
    }
}

impl Lookup {
    /// Makes the lookup of this name by the system's resolver. `patience` bounds the wait for a new result if there is an old one.
    pub(crate) fn new(name: &str, port: u16, patience: Duration) -> Self {
        Self::by(name, port, patience, |name, port| (name, port).to_socket_addrs().map(Iterator::collect))
    }

    fn by(
        name: &str,
        port: u16,
        patience: Duration,
        resolve: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        let (name, resolve) = (name.to_owned(), Arc::new(resolve));
        Self { name, port, patience, resolve, state: Arc::default() }
    }

    /// Returns the addresses: those of a new lookup, or the last ones if it fails, or takes longer than the patience.
    pub(crate) async fn addresses(&self) -> Found {
        if self.name == "localhost" {
            // always both (RFC 6761 §6.3): a hosts file may name one, and the server listen on the other
            return Ok(vec![(Ipv4Addr::LOCALHOST, self.port).into(), (Ipv6Addr::LOCALHOST, self.port).into()]);
        }
        let (last, Running { began, mut found }) = self.begin();
        let found = async {
            let found = found.wait_for(Option::is_some).await;
            // the lookup panicked
            found.map_or_else(
                |_| Err(Arc::new(io::ErrorKind::Other.into())),
                |found| found.clone().unwrap_or_else(|| Ok(vec![])),
            )
        };
        let Some(last) = last else { return found.await };
        match timeout_at(began + self.patience, found).await {
            Ok(Ok(found)) if !found.is_empty() => Ok(found),
            _ => Ok(last),
        }
    }

    /// Joins the running lookup, or begins one. Returns the last addresses with it.
    fn begin(&self) -> (Option<Vec<SocketAddr>>, Running) {
        let mut state = lock(&self.state);
        if let Some(running) = &state.running {
            return (state.last.clone(), running.clone());
        }
        let (found, receiver) = watch::channel(None);
        let running = Running { began: Instant::now(), found: receiver };
        state.running = Some(running.clone());
        let (name, port, resolve, shared) =
            (self.name.clone(), self.port, Arc::clone(&self.resolve), Arc::clone(&self.state));
        tokio::task::spawn_blocking(move || {
            let ending = Ending(shared);
            let result = resolve(&name, port).map_err(Arc::new);
            if let Ok(addresses) = &result
                && !addresses.is_empty()
            {
                lock(&ending.0).last = Some(addresses.clone());
            }
            drop(ending);
            found.send_replace(Some(result));
        });
        (state.last.clone(), running)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 443).into()
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_takes_one_thread_and_the_last_addresses_are_used() {
        let (calls, (release, hung)) = (Arc::new(AtomicUsize::new(0)), mpsc::channel::<()>());
        let (counted, hung) = (Arc::clone(&calls), Mutex::new(hung));
        let lookup = Lookup::by("up.example", 443, SHORT, move |_, _| {
            match counted.fetch_add(1, Ordering::SeqCst) {
                0 => Ok(vec![address(1)]),
                // until the end of the test
                _ => hung.lock().unwrap().recv().map(|()| vec![address(2)]).map_err(io::Error::other),
            }
        });
        assert_eq!(lookup.addresses().await.unwrap(), [address(1)]);
        for _ in 0..20 {
            assert_eq!(lookup.addresses().await.unwrap(), [address(1)], "the resolver hangs");
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2, "one lookup at a time");
        release.send(()).unwrap();
        while lookup.addresses().await.unwrap() != [address(2)] {
            tokio::task::yield_now().await;
            let _ = release.send(());
        }
    }

    #[tokio::test]
    async fn a_lookup_that_fails_leaves_the_last_addresses_and_without_any_it_is_an_error() {
        let fails = Arc::new(AtomicUsize::new(1));
        let switch = Arc::clone(&fails);
        let lookup =
            Lookup::by("up.example", 443, Duration::from_secs(60), move |_, _| match switch.load(Ordering::SeqCst) {
                0 => Ok(vec![address(1)]),
                _ => Err(io::ErrorKind::NotFound.into()),
            });
        assert_eq!(lookup.addresses().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        fails.store(0, Ordering::SeqCst);
        assert_eq!(lookup.addresses().await.unwrap(), [address(1)]);
        fails.store(1, Ordering::SeqCst);
        assert_eq!(lookup.addresses().await.unwrap(), [address(1)]);
    }

    #[tokio::test]
    async fn a_lookup_that_panics_is_an_error_and_the_next_one_is_made() {
        let calls = AtomicUsize::new(0);
        let lookup = Lookup::by("up.example", 443, SHORT, move |_, _| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("a defect of the resolver"),
            _ => Ok(vec![address(1)]),
        });
        assert!(lookup.addresses().await.is_err());
        assert_eq!(lookup.addresses().await.unwrap(), [address(1)]);
    }

    #[tokio::test]
    async fn localhost_is_both_loopback_addresses_without_a_lookup() {
        let lookup = Lookup::by("localhost", 8080, SHORT, |_, _| panic!("it is not looked up"));
        let both: [SocketAddr; 2] = [([127, 0, 0, 1], 8080).into(), (Ipv6Addr::LOCALHOST, 8080).into()];
        assert_eq!(lookup.addresses().await.unwrap(), both);
    }
}
