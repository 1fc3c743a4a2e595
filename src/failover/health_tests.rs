//! The circuit breaker in the cases that one can name, and in those that nobody thought of.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const RULES: CoolDown = CoolDown { first: Duration::from_secs(5), most: Duration::from_secs(60) };
const FAILED: Outcome = Outcome::Failed { retry_after: None };

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One attempt that begins and ends at once.
fn attempt(health: Health, outcome: Outcome, now: Duration) -> Health {
    let (permit, health) = health.ask(now).expect("usable");
    health.after(permit, outcome, now, RULES)
}

fn open_at(now: Duration) -> Health {
    let health = (0..IN_A_ROW).fold(Health::default(), |health, _| attempt(health, FAILED, now));
    assert_eq!(health.state(), State::Open);
    health
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_begins_the_row_again() {
    let mut health = Health::default();
    for _ in 1..IN_A_ROW {
        health = attempt(health, FAILED, at(1));
    }
    health = attempt(health, Outcome::Good, at(1));
    for _ in 1..IN_A_ROW {
        health = attempt(health, FAILED, at(1));
        assert_eq!(health.state(), State::Closed);
    }
    assert_eq!(attempt(health, FAILED, at(1)).state(), State::Open);
}

#[test]
fn half_of_the_remembered_attempts_open_it_though_never_many_in_a_row() {
    let mut health = Health::default();
    for _ in 1..AMONG_REMEMBERED {
        health = attempt(attempt(health, FAILED, at(1)), Outcome::Good, at(1));
        assert_eq!(health.state(), State::Closed);
    }
    assert_eq!(attempt(health, FAILED, at(1)).state(), State::Open);
}

#[test]
fn old_failures_are_forgotten() {
    let mut health = Health::default();
    for number in 0..500 {
        // every third: seven of twenty
        health = attempt(health, if number % 3 == 0 { FAILED } else { Outcome::Good }, at(number));
    }
    assert_eq!(health.state(), State::Closed);
}

#[test]
fn after_the_cool_down_one_probe_decides() {
    let open = open_at(at(10));
    assert!(!open.is_usable(at(14)) && open.ask(at(14)).is_none());
    let (probe, probing) = open.ask(at(15)).unwrap();
    assert_eq!(probing.state(), State::Probing);
    assert!(!probing.is_usable(at(99)) && probing.ask(at(99)).is_none(), "one at a time");
    assert_eq!(probing.after(probe, Outcome::Good, at(16), RULES).state(), State::Closed);

    let again = probing.after(probe, FAILED, at(16), RULES);
    assert!(!again.is_usable(at(25)) && again.is_usable(at(26)), "twice the cool-down: {again:?}");
    // nobody waited for the probe's end: the next request is the probe
    let abandoned = probing.after(probe, Outcome::Abandoned, at(16), RULES);
    assert_eq!((abandoned.state(), abandoned.is_usable(at(16))), (State::Open, true));
}

#[test]
fn the_cool_down_doubles_up_to_its_bound() {
    let (mut health, mut now) = (open_at(at(0)), at(0));
    for expected in [5, 10, 20, 40, 60, 60, 60] {
        let until = now + at(expected);
        assert!(health.ask(until - Duration::from_nanos(1)).is_none(), "{expected}");
        let (probe, probing) = health.ask(until).unwrap();
        (health, now) = (probing.after(probe, FAILED, until, RULES), until);
    }
}

#[test]
fn an_upstream_s_own_retry_after_is_honoured_at_once_and_within_bounds() {
    for (said, kept) in [(7, 7), (1, 5), (3600, 60)] {
        let told = Outcome::Failed { retry_after: Some(at(said)) };
        let health = attempt(Health::default(), told, at(100));
        assert!(health.ask(at(100 + kept) - Duration::from_nanos(1)).is_none(), "{said}");
        assert!(health.ask(at(100 + kept)).is_some(), "{said}");
    }
}

#[test]
fn attempts_that_began_before_it_opened_do_not_close_it() {
    let (early, health) = Health::default().ask(at(1)).unwrap();
    let open = (0..IN_A_ROW).fold(health, |health, _| attempt(health, FAILED, at(2)));
    assert_eq!(open.after(early, Outcome::Good, at(3), RULES), open);
    // one that began after, for want of anybody better, does
    let (late, open) = open.ask_anyway(at(3));
    assert_eq!(open.after(late, Outcome::Good, at(4), RULES).state(), State::Closed);
    assert_eq!(open.after(late, FAILED, at(4), RULES), open, "and does not lengthen the cool-down");
}

#[test]
fn a_probe_of_an_earlier_time_of_trouble_does_not_speak_for_this_one() {
    let (old_probe, probing) = open_at(at(0)).ask(at(5)).unwrap();
    let (other, probing) = probing.ask_anyway(at(6));
    let closed = probing.after(other, Outcome::Good, at(7), RULES);
    let open = (0..IN_A_ROW).fold(closed, |health, _| attempt(health, FAILED, at(8)));
    let (new_probe, probing) = open.ask(at(13)).unwrap();
    assert_eq!(probing.after(old_probe, FAILED, at(14), RULES), probing);
    assert_eq!(probing.after(old_probe, Outcome::Abandoned, at(14), RULES), probing);
    assert_eq!(probing.after(new_probe, Outcome::Good, at(14), RULES).state(), State::Closed);
}

/// What can happen, in any order.
#[derive(Debug, Clone)]
enum Happening {
    Wait(u64),
    Ask,
    AskAnyway,
    End(prop::sample::Index, Outcome),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let outcome = prop_oneof![
        2 => Just(Outcome::Good),
        4 => prop::option::of(0u64..200).prop_map(|s| Outcome::Failed { retry_after: s.map(Duration::from_secs) }),
        1 => Just(Outcome::Abandoned),
    ];
    prop::collection::vec(
        prop_oneof![
            (0u64..20_000).prop_map(Happening::Wait),
            Just(Happening::Ask),
            Just(Happening::AskAnyway),
            (any::<prop::sample::Index>(), outcome).prop_map(|(which, outcome)| Happening::End(which, outcome)),
        ],
        0..200,
    )
}

proptest! {
    #[test]
    fn there_is_never_more_than_one_probe_and_never_no_way_back(script in happenings()) {
        let (mut health, mut now) = (Health::default(), Duration::ZERO);
        let mut under_way: Vec<Permit> = Vec::new();
        for happening in script {
            match happening {
                Happening::Wait(millis) => now += Duration::from_millis(millis),
                Happening::Ask => {
                    prop_assert_eq!(health.ask(now).is_some(), health.is_usable(now));
                    if let Some((permit, then)) = health.ask(now) {
                        under_way.push(permit);
                        health = then;
                    }
                }
                Happening::AskAnyway => {
                    let (permit, then) = health.ask_anyway(now);
                    under_way.push(permit);
                    health = then;
                }
                Happening::End(which, outcome) => {
                    if !under_way.is_empty() {
                        let permit = under_way.swap_remove(which.index(under_way.len()));
                        health = health.after(permit, outcome, now, RULES);
                    }
                }
            }
            match health.now {
                Now::Probing { .. } => {
                    let probe = |permit: &&Permit| permit.probe && permit.opened == health.opened;
                    prop_assert_eq!(under_way.iter().filter(probe).count(), 1, "{:?} {:?}", health, under_way);
                }
                Now::Open { until, .. } => prop_assert!(until <= now + RULES.most),
                Now::Closed(history) => prop_assert!(!history.is_too_bad()),
            }
        }
        // once every attempt has ended and the longest cool-down is over, it is asked again
        for permit in under_way {
            health = health.after(permit, Outcome::Abandoned, now, RULES);
        }
        prop_assert!(health.is_usable(now + RULES.most));
    }
}
