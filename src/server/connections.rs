//! Counts open connections, in all and from each network, and waits for the last one to end.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use prometheus::IntGauge;
use tokio::sync::Notify;

use super::activity::Activity;

/// The number of young connections that are looked at while the listener closes: a full queue of the kernel, twice.
const YOUNG: usize = 2048;

/// Counts the open connections.
pub(super) struct Connections {
    counts: Mutex<Counts>,
    emptied: Notify,
    gauge: IntGauge,
}

/// The slot of one connection, released when dropped.
pub(super) struct Slot {
    connections: Arc<Connections>,
    network: IpAddr,
    activity: Arc<Activity>,
}

impl Slot {
    /// The requests of the connection.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

/// The cap that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// `max_connections`
    All,
    /// `max_connections_per_ip`
    Network,
}

impl Full {
    /// The value of the metric's label `reason`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Full::All => "max_connections",
            Full::Network => "max_connections_per_ip",
        }
    }
}

impl Connections {
    /// No connections. The gauge shows their number.
    pub(super) fn new(gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), emptied: Notify::new(), gauge })
    }

    /// Takes a slot for a connection from `peer`; `most_per_network` 0 is no limit.
    ///
    /// # Errors
    /// The cap that is reached.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr, most: usize, most_per_network: usize) -> Result<Slot, Full> {
        let (network, activity) = (network(peer), Arc::default());
        let mut counts = self.lock();
        counts.admit(network, most, most_per_network)?;
        if counts.young.len() == YOUNG {
            counts.young.pop_front();
        }
        counts.young.push_back(Arc::downgrade(&activity));
        drop(counts);
        self.gauge.inc();
        Ok(Slot { connections: self.clone(), network, activity })
    }

    /// Whether one of the youngest connections is so.
    pub(super) fn any_young(&self, is_so: impl Fn(&Activity) -> bool) -> bool {
        self.lock().young.iter().filter_map(Weak::upgrade).any(|activity| is_so(&activity))
    }

    /// Lets [`Self::evict`] close this connection.
    pub(super) fn may_evict(&self, slot: &Slot) {
        let mut counts = self.lock();
        if counts.evictable.len() > 2 * counts.all {
            counts.forget_closed();
        }
        counts.evictable.push_back(Arc::downgrade(&slot.activity));
    }

    /// Closes the oldest connection that has no request; false if each of them has one.
    pub(super) fn evict(&self) -> bool {
        let mut counts = self.lock();
        counts.forget_closed();
        counts.evictable.iter().filter_map(Weak::upgrade).any(|activity| activity.evict())
    }

    /// Waits until there is no connection.
    pub(super) async fn none_left(&self) {
        while self.lock().all > 0 {
            // `Notify` stores one permit, so that an end between the check and the wait is not missed
            self.emptied.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // no change can panic half-way
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let left = self.connections.lock().release(self.network);
        self.connections.gauge.dec();
        if left == 0 {
            self.connections.emptied.notify_one();
        }
    }
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_network: HashMap<IpAddr, usize>,
    /// The youngest connections; some are closed already.
    young: VecDeque<Weak<Activity>>,
    /// Connections that may be evicted, from the oldest; some are closed already.
    evictable: VecDeque<Weak<Activity>>,
}

impl Counts {
    fn admit(&mut self, network: IpAddr, most: usize, most_per_network: usize) -> Result<(), Full> {
        if self.all >= most {
            return Err(Full::All);
        }
        // counted also without a limit, so that a limit of a reload counts older connections
        let here = self.by_network.entry(network).or_default();
        if most_per_network > 0 && *here >= most_per_network {
            return Err(Full::Network);
        }
        *here += 1;
        self.all += 1;
        Ok(())
    }

    fn forget_closed(&mut self) {
        self.evictable.retain(|activity| activity.strong_count() > 0);
    }

    fn release(&mut self, network: IpAddr) -> usize {
        self.all -= 1;
        if let Some(here) = self.by_network.get_mut(&network) {
            *here -= 1;
            if *here == 0 {
                self.by_network.remove(&network);
            }
        }
        self.all
    }
}

/// An IPv4 address, or the /64 of an IPv6 address, the smallest network of one customer (RFC 6177 §2).
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn connections() -> Arc<Connections> {
        Connections::new(IntGauge::new("open", "open").unwrap())
    }

    #[test]
    fn a_full_house_is_refused_until_one_leaves() {
        let connections = connections();
        let peer = "192.0.2.1".parse().unwrap();
        let first = connections.admit(peer, 1, 0).ok();
        assert!(first.is_some());
        assert_eq!(connections.admit(peer, 1, 0).err(), Some(Full::All));
        assert_eq!(connections.gauge.get(), 1);
        drop(first);
        assert!(connections.admit(peer, 1, 0).is_ok());
    }

    #[test]
    fn the_oldest_connection_without_a_request_is_evicted_first() {
        let connections = connections();
        let peer = IpAddr::from([192, 0, 2, 1]);
        let slots: Vec<Slot> = (0..3).map(|_| connections.admit(peer, 9, 0).ok().unwrap()).collect();
        assert!(!connections.evict(), "none may be evicted");
        slots.iter().for_each(|slot| connections.may_evict(slot));
        let _busy = slots[0].activity().begin();
        let evicted = |place: usize| slots[place].activity().evicted().now_or_never().is_some();
        assert!(connections.evict() && !evicted(0) && evicted(1) && !evicted(2));
        assert!(connections.evict() && !evicted(0) && evicted(2));
        assert!(!connections.evict());
    }

    #[test]
    fn a_network_is_an_ipv4_address_or_an_ipv6_64() {
        let connections = connections();
        let mut slots = Vec::new();
        let mut admit = |peer: &str| {
            let slot = connections.admit(peer.parse().unwrap(), 100, 1);
            slot.map(|slot| slots.push(slot))
        };
        assert_eq!(admit("192.0.2.1"), Ok(()));
        assert_eq!(admit("192.0.2.2"), Ok(()));
        assert_eq!(admit("::ffff:192.0.2.1"), Err(Full::Network));
        assert_eq!(admit("2001:db8::1"), Ok(()));
        assert_eq!(admit("2001:db8::ffff:0:0:2"), Err(Full::Network));
        assert_eq!(admit("2001:db8:0:1::1"), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn none_left_waits_for_the_last() {
        let connections = connections();
        connections.none_left().await;
        let slots = [1, 2].map(|last| connections.admit(IpAddr::from([192, 0, 2, last]), 9, 0).ok());
        let wait = tokio::spawn({
            let connections = connections.clone();
            async move { connections.none_left().await }
        });
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!wait.is_finished());
        drop(slots);
        wait.await.unwrap();
    }

    proptest! {
        #[test]
        fn counts_are_those_of_the_slots_held(steps in prop::collection::vec((any::<bool>(), 0u8..4), 0..200)) {
            let connections = connections();
            let mut held: Vec<(u8, Slot)> = Vec::new();
            for (arrive, who) in steps {
                if arrive {
                    let here = held.iter().filter(|(other, _)| *other == who).count();
                    let full = if held.len() >= 6 { Some(Full::All) } else if here >= 3 { Some(Full::Network) } else { None };
                    match connections.admit(IpAddr::from([10, 0, 0, who]), 6, 3) {
                        Ok(slot) => { prop_assert_eq!(full, None); held.push((who, slot)) }
                        Err(reached) => prop_assert_eq!(full, Some(reached)),
                    }
                } else if !held.is_empty() {
                    held.swap_remove(usize::from(who) % held.len());
                }
            }
            let networks: std::collections::HashSet<u8> = held.iter().map(|(who, _)| *who).collect();
            // a refused address leaves no entry behind
            prop_assert_eq!(connections.lock().by_network.len(), networks.len());
        }
    }
}
