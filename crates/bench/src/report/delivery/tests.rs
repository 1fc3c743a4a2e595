use proptest::prelude::*;

use super::*;

/// A model's output: events at times, in seconds, with sizes.
#[derive(Debug, Clone)]
struct Source {
    first: f64,
    events: Vec<(f64, u64)>,
}

/// A source whose gaps vary by up to `jitter` of their length each way.
fn source(events: usize, gap: f64, jitter: f64) -> impl Strategy<Value = Source> {
    let each = prop::collection::vec((-1.0..1.0_f64, 150..180_u64), events);
    (0.05..2.0_f64, each).prop_map(move |(first, each)| {
        let mut at = first;
        let events = each.into_iter().zip(0..).map(|((moved, size), index)| {
            at += gap * (1.0 + jitter * moved);
            // no two tokens have the same length
            (at, size + index * 37 % 90)
        });
        Source { first, events: events.collect() }
    })
}

/// The arrivals of events that something sends at `(time, bytes up to then)`: the events whose last byte it has.
fn sent_at(source: &Source, times: &[(f64, u64)]) -> Vec<Arrival> {
    let (mut ends, mut sum) = (Vec::new(), 0);
    for (_, size) in &source.events {
        sum += size;
        ends.push(sum);
    }
    let (mut arrivals, mut next) = (Vec::new(), 0);
    for (read, (at, bytes)) in times.iter().enumerate() {
        while next < ends.len() && ends[next] <= *bytes {
            let at = Duration::from_secs_f64(*at) + Duration::from_micros(3 * next as u64 % 50);
            arrivals.push(Arrival { at, read: read as u64, bytes: *bytes, output: true });
            next += 1;
        }
    }
    arrivals.sort_by_key(|arrival| arrival.at);
    arrivals
}

fn streamed(source: &Source) -> Vec<Arrival> {
    let mut sum = 0;
    let times: Vec<_> = source
        .events
        .iter()
        .map(|(at, size)| {
            sum += size;
            (*at, sum)
        })
        .collect();
    sent_at(source, &times)
}

/// Sends `size` bytes whenever there are as many, and the rest at the end.
fn by_size(source: &Source, size: u64) -> Vec<Arrival> {
    let (mut sum, mut gone, mut times) = (0, 0, Vec::new());
    for (at, bytes) in &source.events {
        sum += bytes;
        while sum - gone >= size {
            gone += size;
            times.push((*at, gone));
        }
    }
    times.push((source.events.last().map_or(0.0, |(at, _)| *at) + 0.001, sum));
    sent_at(source, &times)
}

fn by_count(source: &Source, count: usize) -> Vec<Arrival> {
    let mut sum = 0;
    let mut times = Vec::new();
    for (index, (at, size)) in source.events.iter().enumerate() {
        sum += size;
        if (index + 1) % count == 0 || index + 1 == source.events.len() {
            times.push((*at, sum));
        }
    }
    sent_at(source, &times)
}

/// Sends everything that there is, every `period`, a little late each time.
fn by_timer(source: &Source, period: f64, late: &[f64]) -> Vec<Arrival> {
    let (mut sum, mut times, mut tick) = (0, Vec::new(), 1);
    let mut events = source.events.iter().peekable();
    while events.peek().is_some() {
        let due = source.first + period * tick as f64;
        while let Some((_, size)) = events.next_if(|(at, _)| *at <= due) {
            sum += size;
        }
        times.push((due + late[tick % late.len()], sum));
        tick += 1;
    }
    sent_at(source, &times)
}

/// Each event comes late by these seconds, and none before the previous one.
fn delayed(source: &Source, late: &[f64]) -> Vec<Arrival> {
    let (mut sum, mut now) = (0, 0.0_f64);
    let times: Vec<_> = source
        .events
        .iter()
        .zip(late)
        .map(|((at, size), late)| {
            now = now.max(at + late);
            sum += size;
            (now, sum)
        })
        .collect();
    // what is sent at one moment is one read
    let mut joined: Vec<(f64, u64)> = Vec::new();
    for (at, bytes) in times {
        match joined.last_mut() {
            Some(last) if last.0 == at => last.1 = bytes,
            _ => joined.push((at, bytes)),
        }
    }
    sent_at(source, &joined)
}

fn rule_of(delivery: Delivery) -> Option<Rule> {
    match delivery {
        Delivery::Bursts(pattern) => Some(pattern.rule),
        _ => None,
    }
}

fn near(is: f64, want: f64, share: f64) -> bool {
    (is - want).abs() <= want * share
}

proptest! {
    #[test]
    fn one_by_one_is_streaming_whatever_the_rate(
        source in (8..300_usize, 0.002..0.3_f64, 0.0..0.95_f64).prop_flat_map(|(n, gap, jitter)| source(n, gap, jitter)),
    ) {
        prop_assert_eq!(of(&streamed(&source)), Delivery::Streaming);
    }

    #[test]
    fn pauses_of_the_model_are_not_bursts(
        mut source in source(200, 0.02, 0.3),
        every in 10..60_usize,
        pause in 0.3..5.0_f64,
    ) {
        for (index, (at, _)) in source.events.iter_mut().enumerate() {
            *at += pause * (index / every) as f64;
        }
        prop_assert_eq!(of(&streamed(&source)), Delivery::Streaming);
    }

    #[test]
    fn a_delaying_network_is_never_called_a_buffer(
        source in (8..300_usize, 0.005..0.1_f64, 0.0..0.9_f64).prop_flat_map(|(n, gap, jitter)| source(n, gap, jitter)),
        late in prop::collection::vec(0.0..1.0_f64, 300),
        most in 0.0..0.3_f64,
    ) {
        let late: Vec<_> = late.into_iter().map(|late| late * most).collect();
        let found = of(&delayed(&source, &late));
        prop_assert!(!Verdict { delivery: found, agree: 1, of: 1 }.is_buffered(), "{found:?}");
    }

    #[test]
    fn a_buffer_that_fills_is_recognised_with_its_size(
        (size, source) in (1000..20_000_u64, 0.002..0.05_f64, 0.2..0.9_f64, 8..20_u64).prop_flat_map(|(size, gap, jitter, more)| {
            let bursts = more + EVIDENCE as u64 / (size / 205 - 1);
            (Just(size), source((size * bursts / 205) as usize, gap.max(0.03 * 205.0 / size as f64), jitter))
        }),
    ) {
        let found = of(&by_size(&source, size));
        let Delivery::Bursts(pattern) = found else { return Err(TestCaseError::fail(format!("{found:?}"))) };
        prop_assert!(pattern.rule == Rule::Size || pattern.rule == Rule::Either, "{pattern:?}");
        prop_assert!(near(pattern.bytes, size as f64, 0.1), "{pattern:?}");
    }

    #[test]
    fn a_timer_is_recognised_with_its_period(
        (period, source) in (0.02..2.0_f64, 3..40_usize, 0.2..0.9_f64, 10..20_usize).prop_flat_map(|(period, each, jitter, more)| {
            let bursts = more + EVIDENCE / (each - 1);
            (Just(period), source(each * bursts, period / each as f64, jitter))
        }),
        late in prop::collection::vec(0.0..0.01_f64, 7),
    ) {
        let late: Vec<_> = late.into_iter().map(|late| late * period.min(0.1)).collect();
        let found = of(&by_timer(&source, period, &late));
        let Delivery::Bursts(pattern) = found else { return Err(TestCaseError::fail(format!("{found:?}"))) };
        let usual = pattern.rule == Rule::Size && is_buffer_size(pattern.bytes);
        prop_assert!(pattern.rule == Rule::Timer || pattern.rule == Rule::Either || usual, "{pattern:?}");
        prop_assert!(near(pattern.period.as_secs_f64(), period, 0.05), "{pattern:?}");
    }

    #[test]
    fn a_server_that_sends_every_nth_step_is_recognised(
        (count, source) in (3..20_usize, 0.01..0.05_f64, 0.3..0.9_f64).prop_flat_map(|(count, gap, jitter)| {
            (Just(count), source(count * (10 + EVIDENCE / (count - 1)), gap, jitter))
        }),
    ) {
        let found = of(&by_count(&source, count));
        let Delivery::Bursts(pattern) = found else { return Err(TestCaseError::fail(format!("{found:?}"))) };
        prop_assert!(pattern.rule == Rule::Count || pattern.rule == Rule::Either, "{pattern:?}");
        prop_assert_eq!(pattern.events, count as f64);
    }

    #[test]
    fn a_body_that_is_held_to_the_end_is_recognised(
        source in (8..300_usize, 0.01..0.1_f64).prop_flat_map(|(n, gap)| source(n, gap, 0.3)),
        ahead in 0..4_usize,
    ) {
        let all: u64 = source.events.iter().map(|(_, size)| size).sum();
        let end = source.events.last().unwrap().0;
        prop_assert_eq!(of(&sent_at(&source, &[(end, all)])), Delivery::AtOnce);
        // the first ones are sent, the rest is held
        if source.events.len() >= 40 && end > 2.0 * source.first {
            let (first, few) = (source.events[0].0, source.events[..ahead].iter().map(|(_, size)| size).sum());
            prop_assert_eq!(of(&sent_at(&source, &[(first, few), (end, all)])), Delivery::AtOnce);
        }
    }

    #[test]
    fn any_arrivals_have_a_verdict(
        arrivals in prop::collection::vec((0..5_000_000_u64, 0..3_u64, 0..5000_u64, any::<bool>()), 0..100),
    ) {
        let (mut at, mut read, mut bytes) = (0, 0, 0);
        let events: Vec<_> = arrivals.into_iter().map(|(gap, reads, size, output)| {
            (at, read, bytes) = (at + gap * (reads.min(1)), read + reads, bytes + size);
            Arrival { at: Duration::from_micros(at), read, bytes, output }
        }).collect();
        let mut votes = Votes::default();
        votes.add(of(&events));
        let verdict = votes.verdict();
        prop_assert!(!verdict.description().is_empty() && !verdict.name().is_empty());
        prop_assert_eq!(verdict.is_buffered(), verdict.look_at().is_some());
    }
}

#[test]
fn a_steady_source_through_a_buffer_of_a_usual_size_is_named_by_its_size() {
    let events = (0..400).map(|index| (0.1 + 0.02 * f64::from(index), 128)).collect();
    let source = Source { first: 0.1, events };
    let Delivery::Bursts(pattern) = of(&by_size(&source, 4096)) else { panic!("{:?}", of(&by_size(&source, 4096))) };
    assert_eq!((pattern.rule, pattern.bytes, pattern.events), (Rule::Size, 4096.0, 32.0));
    // the same by a timer, in amounts of no usual size, is ambiguous
    assert_eq!(rule_of(of(&by_timer(&source, 0.5, &[0.0]))), Some(Rule::Either));
}

#[test]
fn count_and_size_are_distinguished_if_events_differ() {
    // alternately slower and faster, for longer than a burst
    let mut at = 0.1;
    let events = (0..400_u32).map(|index| {
        at += if index / 29 % 2 == 0 { 0.01 } else { 0.03 };
        (at, 100 + u64::from(index * 37 % 90))
    });
    let source = Source { first: 0.1, events: events.collect() };
    assert_eq!(rule_of(of(&by_count(&source, 8))), Some(Rule::Count));
    assert_eq!(rule_of(of(&by_size(&source, 3000))), Some(Rule::Size));
}

#[test]
fn too_few_events_are_unknown_with_the_reason() {
    let source = |n, gap| Source { first: 0.0, events: (1..=n).map(|i| (f64::from(i) * gap, 200)).collect() };
    assert_eq!(of(&[]), Delivery::Unknown(UnknownReason::FewEvents));
    assert_eq!(of(&streamed(&source(7, 0.1))), Delivery::Unknown(UnknownReason::FewEvents));
    assert_eq!(of(&streamed(&source(40, 0.001))), Delivery::Unknown(UnknownReason::TooFast));
    assert_eq!(of(&by_timer(&source(40, 0.02), 0.2, &[0.0])), Delivery::Unknown(UnknownReason::FewBursts));
}

#[test]
fn the_most_frequent_verdict_wins_and_of_two_equal_ones_the_milder() {
    let pattern =
        |rule, bytes| Delivery::Bursts(Pattern { rule, events: 20.0, bytes, period: Duration::from_millis(500) });
    let verdict = |streams: &[Delivery]| {
        let mut votes = Votes::default();
        streams.iter().for_each(|delivery| votes.add(*delivery));
        votes.verdict()
    };
    let unknown = Delivery::Unknown(UnknownReason::TooFast);
    assert_eq!(verdict(&[unknown, unknown]), Verdict { delivery: unknown, agree: 0, of: 0 });
    let streaming = Verdict { delivery: Delivery::Streaming, agree: 1, of: 2 };
    assert_eq!(verdict(&[pattern(Rule::Size, 4096.0), Delivery::Streaming, unknown]), streaming);
    let found = verdict(&[
        pattern(Rule::Size, 4096.0),
        pattern(Rule::Size, 4096.0),
        pattern(Rule::Either, 9999.0),
        Delivery::Streaming,
        Delivery::Streaming,
    ]);
    assert_eq!((found.agree, found.of, rule_of(found.delivery)), (3, 5, Some(Rule::Size)));
    assert!(found.description().contains("4 KiB") && found.description().contains("500 ms"), "{}", found.description());
}

#[test]
fn forty_milliseconds_point_to_nagle() {
    let verdict = |ms| Verdict {
        delivery: Delivery::Bursts(Pattern {
            rule: Rule::Timer,
            events: 4.0,
            bytes: 800.0,
            period: Duration::from_millis(ms),
        }),
        agree: 1,
        of: 1,
    };
    assert!(verdict(41).look_at().unwrap().contains("TCP_NODELAY"));
    assert!(!verdict(100).look_at().unwrap().contains("TCP_NODELAY"));
}
