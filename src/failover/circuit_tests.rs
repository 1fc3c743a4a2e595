//! The circuit breaker in single cases and in random sequences.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const RULES: CoolDown = CoolDown { first: Duration::from_secs(5), most: Duration::from_secs(60) };
const FAILED: Outcome = Outcome::Failure { retry_after: None };

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One attempt that begins and ends at once.
fn attempt(circuit: Circuit, outcome: Outcome, now: Duration) -> Circuit {
    let (pass, circuit) = circuit.acquire(now).expect("usable");
    circuit.after(pass, outcome, now, RULES)
}

fn open_at(now: Duration) -> Circuit {
    let circuit = (0..FAILURES_IN_A_ROW).fold(Circuit::default(), |circuit, _| attempt(circuit, FAILED, now));
    assert_eq!(circuit.state(), State::Open);
    circuit
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_begins_the_row_again() {
    let mut circuit = Circuit::default();
    for _ in 1..FAILURES_IN_A_ROW {
        circuit = attempt(circuit, FAILED, at(1));
    }
    circuit = attempt(circuit, Outcome::Success, at(1));
    for _ in 1..FAILURES_IN_A_ROW {
        circuit = attempt(circuit, FAILED, at(1));
        assert_eq!(circuit.state(), State::Closed);
    }
    assert_eq!(attempt(circuit, FAILED, at(1)).state(), State::Open);
}

#[test]
fn half_of_the_remembered_attempts_open_it_though_never_many_in_a_row() {
    let mut circuit = Circuit::default();
    for _ in 1..FAILURES_IN_HISTORY {
        circuit = attempt(attempt(circuit, FAILED, at(1)), Outcome::Success, at(1));
        assert_eq!(circuit.state(), State::Closed);
    }
    assert_eq!(attempt(circuit, FAILED, at(1)).state(), State::Open);
}

#[test]
fn old_failures_are_forgotten() {
    let mut circuit = Circuit::default();
    for number in 0..500 {
        // every third: seven of twenty
        circuit = attempt(circuit, if number % 3 == 0 { FAILED } else { Outcome::Success }, at(number));
    }
    assert_eq!(circuit.state(), State::Closed);
}

#[test]
fn after_the_cool_down_one_probe_decides() {
    let open = open_at(at(10));
    assert!(!open.is_available(at(14)) && open.acquire(at(14)).is_none());
    let (probe, probing) = open.acquire(at(15)).unwrap();
    assert_eq!(probing.state(), State::Probing);
    assert!(!probing.is_available(at(99)) && probing.acquire(at(99)).is_none(), "one at a time");
    assert_eq!(probing.after(probe, Outcome::Success, at(16), RULES).state(), State::Closed);

    let again = probing.after(probe, FAILED, at(16), RULES);
    assert!(!again.is_available(at(25)) && again.is_available(at(26)), "twice the cool-down: {again:?}");
    // the probe was cancelled: the next request is the probe
    let abandoned = probing.after(probe, Outcome::Cancelled, at(16), RULES);
    assert_eq!((abandoned.state(), abandoned.is_available(at(16))), (State::Open, true));
}

#[test]
fn the_cool_down_doubles_up_to_its_bound() {
    let (mut circuit, mut now) = (open_at(at(0)), at(0));
    for expected in [5, 10, 20, 40, 60, 60, 60] {
        let until = now + at(expected);
        assert!(circuit.acquire(until - Duration::from_nanos(1)).is_none(), "{expected}");
        let (probe, probing) = circuit.acquire(until).unwrap();
        (circuit, now) = (probing.after(probe, FAILED, until, RULES), until);
    }
}

#[test]
fn an_upstream_s_own_retry_after_is_honoured_at_once_and_within_bounds() {
    for (said, applied) in [(7, 7), (1, 5), (3600, 60)] {
        let limited = Outcome::Failure { retry_after: Some(at(said)) };
        let circuit = attempt(Circuit::default(), limited, at(100));
        assert!(circuit.acquire(at(100 + applied) - Duration::from_nanos(1)).is_none(), "{said}");
        assert!(circuit.acquire(at(100 + applied)).is_some(), "{said}");
    }
}

#[test]
fn attempts_that_began_before_it_opened_do_not_close_it() {
    let (early, circuit) = Circuit::default().acquire(at(1)).unwrap();
    let open = (0..FAILURES_IN_A_ROW).fold(circuit, |circuit, _| attempt(circuit, FAILED, at(2)));
    assert_eq!(open.after(early, Outcome::Success, at(3), RULES), open);
    // an attempt that began later, because there was no other candidate, does
    let (late, open) = open.acquire_anyway(at(3));
    assert_eq!(open.after(late, Outcome::Success, at(4), RULES).state(), State::Closed);
    assert_eq!(open.after(late, FAILED, at(4), RULES), open, "and does not lengthen the cool-down");
}

#[test]
fn a_probe_of_an_earlier_time_of_trouble_does_not_speak_for_this_one() {
    let (old_probe, probing) = open_at(at(0)).acquire(at(5)).unwrap();
    let (other, probing) = probing.acquire_anyway(at(6));
    let closed = probing.after(other, Outcome::Success, at(7), RULES);
    let open = (0..FAILURES_IN_A_ROW).fold(closed, |circuit, _| attempt(circuit, FAILED, at(8)));
    let (new_probe, probing) = open.acquire(at(13)).unwrap();
    assert_eq!(probing.after(old_probe, FAILED, at(14), RULES), probing);
    assert_eq!(probing.after(old_probe, Outcome::Cancelled, at(14), RULES), probing);
    assert_eq!(probing.after(new_probe, Outcome::Success, at(14), RULES).state(), State::Closed);
}

/// A step of a random sequence.
#[derive(Debug, Clone)]
enum Happening {
    Wait(u64),
    Ask,
    AskAnyway,
    End(prop::sample::Index, Outcome),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let outcome = prop_oneof![
        2 => Just(Outcome::Success),
        4 => prop::option::of(0u64..200).prop_map(|s| Outcome::Failure { retry_after: s.map(Duration::from_secs) }),
        1 => Just(Outcome::Cancelled),
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
        let (mut circuit, mut now) = (Circuit::default(), Duration::ZERO);
        let mut under_way: Vec<Pass> = Vec::new();
        for happening in script {
            match happening {
                Happening::Wait(millis) => now += Duration::from_millis(millis),
                Happening::Ask => {
                    prop_assert_eq!(circuit.acquire(now).is_some(), circuit.is_available(now));
                    if let Some((pass, then)) = circuit.acquire(now) {
                        under_way.push(pass);
                        circuit = then;
                    }
                }
                Happening::AskAnyway => {
                    let (pass, then) = circuit.acquire_anyway(now);
                    under_way.push(pass);
                    circuit = then;
                }
                Happening::End(which, outcome) => {
                    if !under_way.is_empty() {
                        let pass = under_way.swap_remove(which.index(under_way.len()));
                        circuit = circuit.after(pass, outcome, now, RULES);
                    }
                }
            }
            match circuit.phase {
                Phase::Probing { .. } => {
                    let probe = |pass: &&Pass| pass.probe && pass.opened == circuit.opened;
                    prop_assert_eq!(under_way.iter().filter(probe).count(), 1, "{:?} {:?}", circuit, under_way);
                }
                Phase::Open { until, .. } => prop_assert!(until <= now + RULES.most),
                Phase::Closed(history) => prop_assert!(!history.has_too_many_failures()),
            }
        }
        // once every attempt has ended and the longest cool-down is over, a permit is given again
        for pass in under_way {
            circuit = circuit.after(pass, Outcome::Cancelled, now, RULES);
        }
        prop_assert!(circuit.is_available(now + RULES.most));
    }
}
