use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::report::finish::tests;
use crate::report::sample::tests::sample;
use crate::report::sample::{Failure, Kind, Outcome, Sample};
use crate::report::totals::{Goals, Totals};

fn document(samples: impl IntoIterator<Item = Sample>, targets: usize) -> Document {
    let mut totals = Totals::new(targets, Goals::default());
    samples.into_iter().for_each(|sample| totals.add(&sample));
    tests::document(&totals, targets)
}

fn text(document: &Document, width: usize) -> String {
    document.terminal(Style { width, colour: false })
}

#[test]
fn the_table_has_the_figures_under_their_headings() {
    let text = text(&document((0..100).map(|number| sample(0, number, 101 + number, &[10, 10])), 1), 80);
    let line =
        |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(line("milliseconds"), ["milliseconds", "p50", "p90", "p99", "p99.9", "max", "mean"]);
    assert_eq!(line("first token")[2..], ["150.0", "190.0", "199.0", "200.0", "200.0", "150.5"]);
    assert!(text.contains("https://gateway.example/v1/chat/completions\n") && text.contains("100 whole streams"));
}

#[test]
fn colour_is_used_on_request_only_and_a_server_cannot_add_it() {
    let mut failed = sample(0, 0, 1, &[]);
    let message = "\x1b[31mred\x07".to_owned();
    failed.outcome = Outcome::Failed(Failure { kind: Kind::TimedOut, message });
    let document = document([failed, sample(0, 1, 100, &[10])], 1);
    assert!(!text(&document, 80).contains(['\x1b', '\x07']));
    assert!(document.terminal(Style { width: 80, colour: true }).contains("\x1b[1m"));
}

#[test]
fn a_comparison_says_what_is_added_saved_or_unclear() {
    let pairs = |first: fn(u64) -> u64| {
        let each = (0..40).flat_map(move |number| {
            [(0, first(number)), (1, 100)].map(|(target, ms)| sample(target, number, ms, &[5]))
        });
        let document = document(each, 2);
        comparison_text(document.comparison.as_ref().unwrap())
    };
    let added = pairs(|number| 104 + number % 3);
    assert!(
        added.starts_with(
            "Against 127.0.0.1:9000, gateway.example adds 5.00 ms to the first token (95\u{a0}%: 4.00 to 5.00)"
        ),
        "{added}"
    );
    assert!(pairs(|_| 98).contains("takes 2.00 ms off the first token (95\u{a0}%: 2.00 to 2.00)"));
    assert!(pairs(|number| 90 + 20 * (number % 2)).contains("makes no clear difference to the first token"));
    assert!(pairs(|_| 100).contains("makes no clear difference to the first token"));
    assert!(added.contains("makes no clear difference to each later token"), "{added}");
}

#[test]
fn rates_show_their_slow_end() {
    // one stream of ten is slow
    let streams = (0..10).map(|number| sample(0, number, 100, &[if number == 0 { 100 } else { 10 }; 10]));
    let text = text(&document(streams, 1), 80);
    let speed = text.lines().find(|line| line.starts_with("tokens/s of a stream")).unwrap();
    let cells: Vec<_> = speed.split_whitespace().skip(4).collect();
    assert_eq!((cells[0], cells[4]), ("100", "10.0"), "{speed}");
}

#[test]
fn a_bar_is_as_long_as_its_share_and_visible_above_zero() {
    assert_eq!(
        (bar(0.0, 8), bar(0.0001, 8), bar(0.5, 8), bar(1.0, 2)),
        (String::new(), "▏".into(), "████".into(), "██".into())
    );
}

proptest! {
    // each case is a whole report
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_line_is_wider_than_the_terminal(
        width in 40..160_usize,
        firsts in prop::collection::vec(1..20_000_u64, 1..60),
        bad in 0..5_u64,
    ) {
        let streams = firsts.iter().enumerate().map(|(number, first)| sample(0, number as u64, *first, &[10, 20]));
        let failed = (0..bad).map(|number| {
            let kind = Kind::Status(500 + number as u16);
            let message = "http://gateway.example: answered 500; look at the server's log".to_owned();
            let mut failed = sample(0, 1000 + number, 1, &[]);
            (failed.outcome, failed.total) = (Outcome::Failed(Failure { kind, message }), Duration::from_millis(1));
            failed
        });
        let text = text(&document(streams.chain(failed), 1), width);
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        prop_assert!(widest <= width, "{widest} > {width}:\n{text}");
    }
}
