//! Turns [`Totals`] into the [`Document`]. Pure.

use std::time::Duration;

use url::Url;

use super::compare::{CONFIDENCE, Median, Pairs};
use super::delivery::Delivery as Found;
use super::document::{
    Comparison, Cors, CountedBy, Delivery, Difference, Document, EventsPerRead, FailureCount, Histogram, Percentile,
    Point, Refused, Row, Run, SCHEMA, Speed, Summary, Target,
};
use super::hdr::{Durations, Values};
use super::names;
use super::totals::{self, Totals};

/// The points of the percentile curve.
const PERCENTILES: [f64; 24] = [
    0.0, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 92.5, 95.0, 97.0, 98.0, 99.0,
    99.5, 99.8, 99.9, 99.99, 100.0,
];
/// The approximate number of classes of a histogram.
const CLASSES: f64 = 24.0;

impl Totals {
    /// The results of the targets with these URLs, in a run with these parameters.
    pub fn finish(&self, urls: &[Url], run: Run) -> Document {
        let names = names::names(urls);
        let firsts: Vec<_> = self.targets.iter().map(|target| &target.times.first_token).collect();
        let classes = classes(&firsts);
        let targets = self
            .targets
            .iter()
            .zip(urls.iter().zip(&names))
            .map(|(target, (url, name))| target.finish(name.clone(), names::without_secrets(url), classes));
        let comparison = match (&self.pairs, names.as_slice()) {
            (Some(pairs), [of, to, ..]) => Some(comparison(pairs, of, to)),
            _ => None,
        };
        Document {
            schema: SCHEMA,
            tool: concat!("tokenway/", env!("CARGO_PKG_VERSION")),
            run,
            targets: targets.collect(),
            comparison,
        }
    }
}

impl totals::Target {
    fn finish(&self, name: String, url: String, classes: Option<Classes>) -> Target {
        let window = self.window().as_secs_f64();
        let rate = |count: u64| if window > 0.0 { rounded(count as f64 / window) } else { 0.0 };
        let times = &self.times;
        Target {
            name,
            url,
            streams: self.streams,
            failures: self.failures(),
            cors: self.cors_results(),
            window_s: rounded(window),
            streams_per_second: rate(self.streams.whole),
            goodput_per_second: rate(self.good),
            output_tokens_per_second: rate(self.output_tokens),
            output_tokens: self.output_tokens,
            tokens_counted_by: match (self.counted, self.estimated) {
                (0, 0) => None,
                (_, 0) => Some(CountedBy::Server),
                (0, _) => Some(CountedBy::Estimate),
                _ => Some(CountedBy::Both),
            },
            body_bytes: self.bytes,
            new_connections: self.new_connections,
            reused_connections: self.reused_connections,
            start_lag_ms: summary(&times.start_lag),
            dns_ms: summary(&times.dns),
            connect_ms: summary(&times.connect),
            tls_ms: summary(&times.tls),
            preflight_ms: summary(&times.preflight),
            head_ms: summary(&times.head),
            first_byte_ms: summary(&times.first_byte),
            first_token_ms: summary(&times.first_token),
            inter_token_ms: summary(&times.inter_token),
            time_per_output_token_ms: summary(&times.time_per_output_token),
            total_ms: summary(&times.total),
            stream_tokens_per_second: speed(&self.speed),
            events_per_read: events_per_read(&self.events_per_read),
            delivery: self.delivery(),
            first_token_percentiles: percentiles(&times.first_token),
            first_token_histogram: classes.map(|classes| classes.fill(&times.first_token)),
            first_token_over_time: self.over_time(),
            arrivals: self.rows.items().iter().map(row).collect(),
        }
    }

    fn failures(&self) -> Vec<FailureCount> {
        let each = self.failures.iter();
        let each = each.map(|(kind, (count, message))| FailureCount {
            kind: kind.clone(),
            count: *count,
            words: message.clone(),
        });
        let mut failures: Vec<_> = each.collect();
        failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        failures
    }

    fn cors_results(&self) -> Option<Cors> {
        let refused = self.refused.iter().map(|((step, code), count)| Refused { step, code, count: *count });
        let cors = Cors { allowed: self.allowed, refused: refused.collect() };
        (cors.allowed > 0 || !cors.refused.is_empty()).then_some(cors)
    }

    fn delivery(&self) -> Delivery {
        let verdict = self.votes.verdict();
        let pattern = match verdict.delivery {
            Found::Bursts(pattern) => Some(pattern),
            _ => None,
        };
        Delivery {
            verdict: verdict.name(),
            buffered: verdict.is_buffered(),
            streams_agreeing: verdict.agree,
            streams_judged: verdict.of,
            burst_events: pattern.map(|pattern| rounded(pattern.events)),
            burst_bytes: pattern.map(|pattern| pattern.bytes.round()),
            burst_period_ms: pattern.map(|pattern| ms(pattern.period)),
            words: verdict.description(),
            look_at: verdict.look_at(),
        }
    }

    fn over_time(&self) -> Vec<Point> {
        let mut points: Vec<_> = self.points.items().iter().chain(&self.slowest).copied().collect();
        points.sort_by_key(|point| (point.scheduled, point.first_token));
        points.dedup();
        let point =
            |point: totals::Point| Point { start_s: seconds(point.scheduled), first_token_ms: ms(point.first_token) };
        points.into_iter().map(point).collect()
    }
}

fn row(row: &totals::Row) -> Row {
    let reads = row.reads.iter().map(|(at, events)| (ms(*at), *events)).collect();
    Row { start_s: seconds(row.scheduled), whole: row.whole, reads }
}

fn summary(durations: &Durations) -> Option<Summary> {
    let quantile = |share| durations.quantile_ms(share).map(rounded);
    Some(Summary {
        count: durations.count(),
        min: quantile(0.0)?,
        mean: rounded(durations.mean_ms()?),
        p50: quantile(0.5)?,
        p90: quantile(0.9)?,
        p99: quantile(0.99)?,
        p99_9: quantile(0.999)?,
        max: quantile(1.0)?,
    })
}

/// A summary of values in thousandths of tokens a second.
fn speed(values: &Values) -> Option<Speed> {
    let quantile = |share| values.quantile(share).map(|value| rounded(value / 1e3));
    Some(Speed {
        count: values.count(),
        min: quantile(0.0)?,
        p0_1: quantile(0.001)?,
        p1: quantile(0.01)?,
        p10: quantile(0.1)?,
        p50: quantile(0.5)?,
        mean: rounded(values.mean()? / 1e3),
        max: quantile(1.0)?,
    })
}

fn events_per_read(values: &Values) -> Option<EventsPerRead> {
    Some(EventsPerRead {
        reads: values.count(),
        mean: rounded(values.mean()?),
        p50: values.quantile(0.5)?,
        p99: values.quantile(0.99)?,
        max: values.quantile(1.0)?,
    })
}

/// The percentiles up to the resolution that the number of values gives.
fn percentiles(durations: &Durations) -> Vec<Percentile> {
    let last = 100.0 * (1.0 - 1.0 / durations.count().max(1) as f64);
    let shown = PERCENTILES.into_iter().filter(|percentile| *percentile <= last.max(50.0) || *percentile == 100.0);
    shown
        .filter_map(|percentile| {
            Some(Percentile { percentile, ms: rounded(durations.quantile_ms(percentile / 100.0)?) })
        })
        .collect()
}

/// The classes of a histogram of several distributions, without their slowest values.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Classes {
    from: f64,
    width: f64,
    count: usize,
}

fn classes(all: &[&Durations]) -> Option<Classes> {
    let ends = all.iter().filter_map(|durations| {
        // a single slow value must not press the others into one class
        let share = if durations.count() < 100 { 1.0 } else { 0.99 };
        Some((durations.quantile_ms(0.0)?, durations.quantile_ms(share)?))
    });
    let (low, high) = ends.reduce(|(low, high), (min, max)| (low.min(min), high.max(max)))?;
    // classes narrower than the resolution of the values would be empty or full by chance
    let width = round_step(((high - low) / CLASSES).max(high / 2000.0).max(0.001));
    let from = (low / width).floor() * width;
    let count = ((high - from) / width).floor() as usize + 1;
    Some(Classes { from, width, count })
}

impl Classes {
    fn fill(self, durations: &Durations) -> Histogram {
        let (mut counts, mut beyond) = (vec![0; self.count], 0);
        for (ms, count) in durations.each_ms() {
            // rounding must not move a value at the lower end into the class below
            let class = ((ms - self.from) / self.width + 1e-9).floor().max(0.0) as usize;
            match counts.get_mut(class) {
                Some(counts) => *counts += count,
                None => beyond += count,
            }
        }
        Histogram { from_ms: rounded(self.from), width_ms: rounded(self.width), counts, beyond }
    }
}

/// The next larger of 1, 2, 5 times a power of ten.
pub(super) fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    // 2.0000000000000004 is 2
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

fn comparison(pairs: &Pairs, of: &str, to: &str) -> Comparison {
    let difference = |median: Median| Difference {
        median: rounded(median.ms),
        low: median.interval_ms.map(|(low, _)| rounded(low)),
        high: median.interval_ms.map(|(_, high)| rounded(high)),
    };
    let [head_ms, first_token_ms, time_per_output_token_ms, total_ms] =
        pairs.medians().map(|median| median.map(difference));
    Comparison {
        of: of.to_owned(),
        to: to.to_owned(),
        pairs: pairs.count(),
        broken_pairs: pairs.broken,
        confidence: CONFIDENCE,
        head_ms,
        first_token_ms,
        time_per_output_token_ms,
        total_ms,
    }
}

pub(crate) fn ms(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e3)
}

pub(crate) fn seconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64())
}

/// Rounded to three digits after the point.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::document::{Goals, Load};
    use crate::report::sample::tests::sample;

    /// The document of a run with this number of targets.
    pub(in crate::report) fn document(totals: &Totals, targets: usize) -> Document {
        let urls =
            ["https://gateway.example/v1/chat/completions", "http://127.0.0.1:9000/v1/chat/completions?key=canary"];
        let urls: Vec<_> = urls.iter().take(targets).map(|url| Url::parse(url).unwrap()).collect();
        let run = Run {
            began_unix_s: 1_700_000_000,
            seconds: 12.0,
            interrupted: false,
            cut_streams: 0,
            load: Load::Closed { users: 20 },
            warmup_s: 2.0,
            ramp_s: 0.0,
            seed: 0,
            model: Some("<b>gemma</b>".to_owned()),
            origin: None,
            goals: Goals { first_token_ms: None, time_per_output_token_ms: None },
        };
        totals.finish(&urls, run)
    }

    #[test]
    fn rates_are_over_the_time_from_the_first_start_to_the_last_end() {
        let mut totals = Totals::new(1, totals::Goals::default());
        // from 0 to 500 ms, and from 1500 to 2000 ms
        for number in [0, 150] {
            totals.add(&sample(0, number, 300, &[100, 100]));
        }
        let document = document(&totals, 1);
        let target = &document.targets[0];
        assert_eq!((target.window_s, target.streams_per_second, target.output_tokens_per_second), (2.0, 1.0, 3.0));
        assert_eq!(target.tokens_counted_by, Some(CountedBy::Server));
        assert_eq!((document.comparison.as_ref(), target.cors.as_ref()), (None, None));
    }

    #[test]
    fn nothing_measured_is_null_and_not_zero() {
        let document = document(&Totals::new(2, totals::Goals::default()), 2);
        let json: serde_json::Value = serde_json::from_str(&document.json()).unwrap();
        assert!(json["targets"][0]["first_token_ms"].is_null() && json["comparison"]["first_token_ms"].is_null());
        assert_eq!(json["targets"][0]["delivery"]["verdict"], "unknown");
        assert_eq!(json["targets"][1]["streams"]["whole"], 0);
    }

    #[test]
    fn no_secret_of_a_url_is_in_the_document() {
        assert!(!document(&Totals::new(2, totals::Goals::default()), 2).json().contains("canary"));
    }

    #[test]
    fn steps_are_round() {
        let steps: Vec<_> = [0.001, 0.0011, 0.3, 1.0, 2.0, 2.1, 7.0, 60.0].map(round_step).into();
        assert_eq!(steps, [0.001, 0.002, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0]);
    }

    proptest! {
        #[test]
        fn a_histogram_holds_every_value_once(list in prop::collection::vec(0..2_000_000_u64, 1..300)) {
            let mut durations = Durations::default();
            list.iter().for_each(|micros| durations.add(Duration::from_micros(*micros)));
            let classes = classes(&[&durations, &Durations::default()]).unwrap();
            prop_assert!((1..=CLASSES as usize + 2).contains(&classes.count), "{classes:?}");
            let histogram = classes.fill(&durations);
            prop_assert_eq!(histogram.counts.iter().sum::<u64>() + histogram.beyond, list.len() as u64);
            prop_assert!(histogram.beyond * 50 <= list.len() as u64, "{} beyond", histogram.beyond);
        }

        #[test]
        fn percentiles_rise(list in prop::collection::vec(0..2_000_000_u64, 1..300)) {
            let mut durations = Durations::default();
            list.iter().for_each(|micros| durations.add(Duration::from_micros(*micros)));
            let curve = percentiles(&durations);
            prop_assert!(curve.windows(2).all(|pair| pair[0].percentile < pair[1].percentile && pair[0].ms <= pair[1].ms));
            prop_assert_eq!(curve.last().map(|point| point.percentile), Some(100.0));
        }
    }
}
