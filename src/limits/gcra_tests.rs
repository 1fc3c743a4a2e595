use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;
/// As in Redis: microseconds since 1970.
const START: u64 = 1_790_000_000 * SECOND;

/// Takes what passes, and returns when.
fn passed(rate: Rate, arrivals: impl IntoIterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let (mut tat, mut passed) = (0, Vec::new());
    for (at, units) in arrivals {
        if let Ok(after) = Charge::new(rate, units).admit(tat, at) {
            tat = after;
            passed.push((at, units.min(rate.burst())));
        }
    }
    passed
}

/// The most units within any window, less what the rate allows in it.
fn worst_window(taken: &[(u64, u64)], micros: u64, per: u64) -> f64 {
    let mut worst = f64::MIN;
    for first in 0..taken.len() {
        let mut sum = 0;
        for (at, units) in &taken[first..] {
            sum += units;
            let allowed = (at - taken[first].0) as f64 * per as f64 / micros as f64;
            worst = worst.max(sum as f64 - allowed);
        }
    }
    worst
}

#[test]
fn a_burst_passes_at_once_and_then_one_each_interval() {
    for per_minute in [1, 7, 60, 61, 999, 1_000_000] {
        let rate = Rate::of_requests(per_minute, per_minute).unwrap();
        let together = (0..per_minute + 5).map(|_| (START, 1));
        assert_eq!(passed(rate, together).len() as u64, per_minute, "{per_minute}");
    }
    let rate = Rate::of_requests(60, 3).unwrap();
    let each_half_second = (0..20).map(|i| (START + i * SECOND / 2, 1));
    // three and one that comes back meanwhile, then every other one
    assert_eq!(passed(rate, each_half_second).len(), 3 + 9);
}

#[test]
fn none_is_no_limit() {
    assert_eq!(Rate::of_requests(0, 5), None);
    assert_eq!(Rate::of_tokens(0), None);
}

#[test]
fn what_is_used_beyond_the_reservation_is_owed_within_a_bound() {
    let rate = Rate::of_tokens(1000).unwrap();
    let reserved = Reserved { at: START, cost: rate.cost(100) };
    let tat = START + reserved.cost;
    assert_eq!(reserved.correction(rate.cost(300)).apply(tat, START), START + rate.cost(300));
    assert_eq!(reserved.correction(rate.cost(u64::MAX)).apply(tat, START), START + MOST_DEBT);
}

#[test]
fn what_came_back_by_itself_does_not_come_back_twice() {
    let rate = Rate::of_tokens(1000).unwrap();
    let all = Charge::new(rate, 1000);
    let first = all.admit(0, START).unwrap();
    // a minute later the bucket is full again, and is emptied again
    let now = START + 60 * SECOND;
    let second = all.admit(first, now).unwrap();
    let nothing_used = Reserved { at: START, cost: all.cost }.correction(0);
    assert_eq!(nothing_used.apply(second, now), second);
}

fn rates() -> impl Strategy<Value = Rate> {
    prop_oneof![
        (1u64..100_000, 1u64..200).prop_map(|(rpm, burst)| Rate::of_requests(rpm, burst).unwrap()),
        prop_oneof![1u64..10_000, 1u64..1_000_000_000].prop_map(|tpm| Rate::of_tokens(tpm).unwrap()),
    ]
}

/// Arrivals: how long after the one before, and how many units.
fn arrivals(longest: usize) -> impl Strategy<Value = Vec<(u64, u64)>> {
    let gap = prop_oneof![3 => Just(0), 3 => 0..SECOND, 1 => 0..100 * SECOND];
    let units = prop_oneof![3 => Just(1), 1 => 0u64..2000];
    prop::collection::vec((gap, units), 1..longest)
}

proptest! {
    #[test]
    fn never_more_than_the_burst_and_the_rate_in_any_window(rate in rates(), gaps in arrivals(80)) {
        let mut now = START;
        let arrivals = gaps.into_iter().map(|(gap, units)| { now += gap; (now, units) });
        let taken = passed(rate, arrivals);
        // the tolerance is rounded up to a microsecond: what comes back within one is the play
        let play = rate.per as f64 / rate.micros as f64 + 1e-6;
        prop_assert!(worst_window(&taken, rate.micros, rate.per) <= rate.burst as f64 + play);
    }

    #[test]
    fn a_refusal_costs_nothing_and_its_wait_is_exact(rate in rates(), ahead: u32, units in 1u64..3000) {
        let (now, tat) = (START, START + u64::from(ahead));
        let charge = Charge::new(rate, units);
        match charge.admit(tat, now) {
            Ok(after) => prop_assert_eq!(after, tat.max(now) + charge.cost),
            Err(wait) => {
                prop_assert!(charge.admit(tat, now + wait - 1).is_err());
                prop_assert!(charge.admit(tat, now + wait).is_ok());
            }
        }
    }

    #[test]
    fn what_remains_passes_and_one_more_does_not(rate in rates(), ahead in 0u64..70 * SECOND) {
        let (now, tat) = (START, START + ahead);
        let remaining = rate.remaining(tat, now);
        if remaining > 0 {
            prop_assert!(rate.cost(remaining) <= rate.tolerance() - ahead.min(rate.tolerance()) + 1);
        }
        if remaining < rate.burst() {
            prop_assert!(Charge::new(rate, remaining + 1).admit(tat, now).is_err());
        }
    }

    /// The real use of callers who reserve, use no more than that, and settle at some time in some order.
    #[test]
    fn settling_early_or_late_never_lets_more_be_used_than_the_burst_and_the_rate(
        tpm in 100u64..100_000,
        steps in prop::collection::vec((0u64..40 * SECOND, 1u64..100, 0u64..100, any::<bool>()), 1..60),
    ) {
        let rate = Rate::of_tokens(tpm).unwrap();
        let (mut tat, mut now) = (0, START);
        let mut open: Vec<(Reserved, u64)> = Vec::new();
        let mut used = Vec::new();
        for (gap, percent, of_that, settle) in steps {
            now += gap;
            let units = tpm * percent / 100;
            let real = units * of_that / 100;
            let charge = Charge::new(rate, units);
            if let Ok(after) = charge.admit(tat, now) {
                tat = after;
                open.push((Reserved { at: now, cost: charge.cost }, rate.cost(real)));
                used.push((now, real));
            }
            if settle && !open.is_empty() {
                let (reserved, cost) = open.swap_remove(percent as usize % open.len());
                tat = reserved.correction(cost).apply(tat, now);
            }
        }
        let play = used.len() as f64 * (1.0 + tpm as f64 / MINUTE as f64);
        prop_assert!(worst_window(&used, MINUTE, tpm) <= tpm as f64 + play);
    }

    #[test]
    fn what_is_settled_at_once_leaves_what_was_used(rate in rates(), ahead in 0u64..60 * SECOND, reserved in 0u64..5000, used in 0u64..5000) {
        let (now, tat) = (START, START + ahead);
        let (cost, used) = (rate.cost(reserved).min(MOST_DEBT / 4), rate.cost(used).min(MOST_DEBT / 4));
        let settled = Reserved { at: now, cost }.correction(used).apply(tat + cost, now);
        prop_assert_eq!(settled, tat + used);
    }

    #[test]
    fn nothing_overflows(tat: u64, now: u64, cost: u64, tolerance: u64, at: u64, used: u64, units: u64, per in 1u64..) {
        let charge = Charge { cost, tolerance };
        let _ = charge.admit(tat, now);
        let _ = Reserved { at, cost }.correction(used).apply(tat, now);
        let rate = Rate::of_tokens(per).unwrap();
        let _ = (rate.cost(units), rate.remaining(tat, now), Charge::new(rate, units));
    }
}
