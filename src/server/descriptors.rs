//! How many of the process's file descriptors the public listener may use. Pure.

/// Descriptors for the admin listener, its connections, Redis, files and the log.
const OTHERS: u64 = 128;

/// The most connections of the public listener if the process may have `limit` descriptors open.
///
/// Each connection may need a second descriptor for its upstream. So the listener gets half of what the others leave, and idle clients
/// cannot use up what upstreams and probes need. Of a small limit, the others get a quarter.
pub fn connections_within(limit: u64) -> usize {
    let others = OTHERS.min(limit / 4);
    usize::try_from((limit - others) / 2).unwrap_or(usize::MAX).max(1)
}

/// What to tell the operator if `max_connections` does not fit.
pub fn warning(limit: u64, max_connections: usize) -> Option<String> {
    let most = connections_within(limit);
    (max_connections > most).then(|| {
        let needed = 2 * max_connections as u64 + OTHERS;
        format!(
            "server.max_connections = {max_connections} does not fit the limit on open files, {limit}: at most {most} connections are \
             accepted. Raise the limit to {needed} (ulimit -n, LimitNOFILE=), or lower server.max_connections"
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_of_the_limit_is_for_clients_and_half_for_upstreams() {
        assert_eq!([0, 1, 16, 64, 1024, 20_128, 1 << 20].map(connections_within), [1, 1, 6, 24, 448, 10_000, 524_224]);
        assert_eq!(connections_within(u64::MAX), (1 << 63) - 65);
    }

    #[test]
    fn the_warning_says_what_is_accepted_and_what_would_fit() {
        assert_eq!(warning(20_128, 10_000), None);
        let text = warning(1024, 10_000).unwrap();
        assert!(text.contains("open files, 1024: at most 448 connections") && text.contains("to 20128 "), "{text}");
    }

    proptest! {
        #[test]
        fn what_the_warning_asks_for_fits(limit in 1u64..1_000_000, connections in 1usize..1_000_000) {
            let accepted = connections_within(limit) as u64;
            prop_assert!(limit < 8 || 2 * accepted < limit);
            if warning(limit, connections).is_some() {
                prop_assert_eq!(warning(2 * connections as u64 + OTHERS, connections), None);
            }
        }
    }
}
