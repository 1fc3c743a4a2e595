//! Which share of the traffic may be attempted twice, so that a failing upstream does not multiply the load of the others.
//! Pure.
//!
//! In every ten seconds, a share of the requests of these seconds may have a further attempt, plus a fixed number, so that a
//! gateway with few requests can fall back, too.

use std::time::Duration;

/// The length of the window in seconds.
const SECONDS: usize = 10;

/// A part of a whole, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

/// The size of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The share of the requests.
    pub share: Share,
    /// The fixed number, in ten seconds.
    pub floor: u32,
}

/// The requests and further attempts of the last ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    seconds: [Second; SECONDS],
    /// The latest second with a count.
    newest: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Second {
    requests: u32,
    spent: u32,
}

impl Share {
    /// Makes a share of so many thousandths; more than 1000 are 1000.
    pub fn of_thousand(thousandths: u32) -> Self {
        Self(thousandths.min(1000))
    }

    /// Returns this share of a number, rounded down.
    fn of(self, whole: u64) -> u64 {
        whole * u64::from(self.0) / 1000
    }
}

impl Budget {
    /// Counts a request.
    pub fn request(&mut self, now: Duration) {
        let second = self.second(now);
        second.requests = second.requests.saturating_add(1);
    }

    /// Takes the right to one further attempt. Returns false if the budget is spent.
    pub fn spend(&mut self, terms: Terms, now: Duration) -> bool {
        self.second(now);
        let sum = |part: fn(&Second) -> u32| self.seconds.iter().map(|second| u64::from(part(second))).sum::<u64>();
        let (requests, spent) = (sum(|second| second.requests), sum(|second| second.spent));
        let enough = spent < terms.share.of(requests) + u64::from(terms.floor);
        if enough {
            let second = self.second(now);
            second.spent = second.spent.saturating_add(1);
        }
        enough
    }

    /// Returns the counts of this second, after old counts are discarded. If the clock goes back, the latest second is used.
    fn second(&mut self, now: Duration) -> &mut Second {
        let newest = now.as_secs().max(self.newest);
        for before in (self.newest..newest).rev().take(SECONDS) {
            self.seconds[place(before + 1)] = Second::default();
        }
        self.newest = newest;
        &mut self.seconds[place(newest)]
    }
}

fn place(second: u64) -> usize {
    (second % SECONDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIFTH: Terms = Terms { share: Share(200), floor: 3 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn spend_all(budget: &mut Budget, now: Duration) -> u32 {
        (0..).take_while(|_| budget.spend(FIFTH, now)).count() as u32
    }

    #[test]
    fn a_quiet_gateway_may_spend_the_floor() {
        assert_eq!(spend_all(&mut Budget::default(), at(77)), 3);
    }

    #[test]
    fn a_busy_one_may_spend_its_share_on_top() {
        let mut budget = Budget::default();
        (0..100).for_each(|request| budget.request(at(request / 20)));
        assert_eq!(spend_all(&mut budget, at(5)), 3 + 20);
        assert!(!budget.spend(FIFTH, at(9)));
    }

    #[test]
    fn what_was_not_spent_in_ten_seconds_is_lost_and_what_was_comes_back() {
        let mut budget = Budget::default();
        (0..100).for_each(|_| budget.request(at(1)));
        assert_eq!(spend_all(&mut budget, at(11)), 3);
        assert_eq!(spend_all(&mut budget, at(20)), 0);
        assert_eq!(spend_all(&mut budget, at(21)), 3);
    }

    #[test]
    fn a_long_silence_is_no_long_work() {
        let mut budget = Budget::default();
        budget.request(Duration::MAX);
        assert_eq!(spend_all(&mut budget, Duration::MAX), 3);
    }

    proptest! {
        #[test]
        fn no_ten_seconds_see_more_than_the_share_and_the_floor(
            script in prop::collection::vec((0u64..1500, any::<bool>()), 1..400), thousandths in 0u32..=1000, floor in 0u32..5,
        ) {
            let terms = Terms { share: Share::of_thousand(thousandths), floor };
            let mut budget = Budget::default();
            let (mut millis, mut requests, mut spent) = (0, Vec::new(), Vec::new());
            for (step, is_request) in script {
                millis += step;
                let now = Duration::from_millis(millis);
                let since = now.as_secs().saturating_sub(SECONDS as u64 - 1);
                let recent = |seconds: &[u64]| seconds.iter().filter(|second| **second >= since).count() as u64;
                if is_request {
                    budget.request(now);
                    requests.push(now.as_secs());
                } else {
                    let may = recent(&requests) * u64::from(thousandths) / 1000 + u64::from(floor);
                    let granted = budget.spend(terms, now);
                    prop_assert_eq!(granted, recent(&spent) < may);
                    spent.extend(granted.then_some(now.as_secs()));
                }
            }
        }
    }
}
