//! The four charts. Pure.

use super::axis::Axis;
use super::plot::{Plot, places, point, unit};
use crate::report::document::{Document, Percentile, Row, Target};
use crate::report::finish::round_step;
use crate::report::format::{plural, seconds};

/// The CSS classes of the first and the second target.
pub(super) const SERIES: [&str; 2] = ["a", "b"];
/// The rows of the raster for each target.
const ROWS: usize = 14;
/// The height of such a row in pixels.
const ROW: u32 = 17;

/// The time to first token by percentile. The axis gives each further nine the same room, as is usual for HDR histograms.
pub(super) fn percentiles(document: &Document) -> String {
    let curves: Vec<_> = series(document).map(|(class, target)| (class, &target.first_token_percentiles)).collect();
    let all = || curves.iter().flat_map(|(_, curve)| curve.iter());
    let y = Axis::fitting(all().map(|point| point.ms));
    let count = document.targets.iter().filter_map(|target| target.first_token_ms).map(|first| first.count).max();
    let end = (count.unwrap_or(1).max(2) as f64).log10() + 0.3;
    let place =
        |percentile: f64| if percentile >= 100.0 { 1.0 } else { (-(1.0 - percentile / 100.0).log10() / end).min(1.0) };
    let mut plot = Plot::new(230, "Time to first token by percentile");
    plot.y(y, "ms");
    let marks =
        [(0.0, "min"), (50.0, "p50"), (90.0, "p90"), (99.0, "p99"), (99.9, "p99.9"), (99.99, "p99.99"), (100.0, "max")];
    // only marks that the number of values reaches
    let shown = marks.into_iter().filter(|(percentile, _)| *percentile == 100.0 || place(*percentile) < 0.9);
    plot.x(shown.map(|(percentile, label)| (place(percentile), label.to_owned())).collect(), "");
    for (class, curve) in &curves {
        let through: Vec<_> =
            curve.iter().map(|Percentile { percentile, ms }| point(place(*percentile), y.place(*ms))).collect();
        if !through.is_empty() {
            plot.path(&format!("line {class}"), &format!("M{}", through.join("L")));
        }
    }
    plot.figure(
        "By percentile: the share of streams whose first token came no later. Each further nine has the same room.",
    )
}

/// The histogram of the time to first token.
pub(super) fn histogram(document: &Document) -> String {
    let histograms: Vec<_> =
        series(document).filter_map(|(class, target)| Some((class, target.first_token_histogram.as_ref()?))).collect();
    let Some((_, first)) = histograms.first() else { return String::new() };
    let classes = first.counts.len();
    let most = histograms.iter().flat_map(|(_, histogram)| &histogram.counts).copied().max().unwrap_or(0);
    let y = Axis::from_zero(most.max(1) as f64);
    let mut plot = Plot::new(230, "How many streams had their first token when");
    plot.y(y, "streams");
    let (low, high) = (first.from_ms, first.from_ms + classes as f64 * first.width_ms);
    let x = Axis::Linear { low, high, step: round_step((high - low) / 5.0) };
    plot.x(places(x), " ms");
    for (class, histogram) in &histograms {
        let mut data = format!("M{}", point(0.0, 0.0));
        for (index, count) in histogram.counts.iter().enumerate() {
            let (left, right) = (index as f64 / classes as f64, (index + 1) as f64 / classes as f64);
            let top = unit(1.0 - y.place(*count as f64));
            data.push_str(&format!("H{}V{top}H{}", unit(left), unit(right)));
        }
        data.push_str("V1000Z");
        plot.path(&format!("area {class}"), &data);
    }
    let beyond: u64 = histograms.iter().map(|(_, histogram)| histogram.beyond).sum();
    let beyond = match beyond {
        0 => String::new(),
        beyond => format!(" {} beyond the right end.", plural(beyond, "stream is", "streams are")),
    };
    plot.figure(&format!("Streams, by the time to their first token.{beyond}"))
}

/// The time to first token over the run: one dot is one stream.
pub(super) fn over_time(document: &Document) -> String {
    let all = || document.targets.iter().flat_map(|target| &target.first_token_over_time);
    let y = Axis::fitting(all().map(|point| point.first_token_ms));
    let x = time_axis(all().map(|point| point.start_s).fold(0.0, f64::max));
    let mut plot = Plot::new(260, "Time to first token over the run");
    plot.y(y, "ms");
    plot.x(places(x), " s");
    for (class, target) in series(document) {
        let dot = |at: &crate::report::document::Point| {
            format!("M{}h0", point(x.place(at.start_s), y.place(at.first_token_ms)))
        };
        let dots: String = target.first_token_over_time.iter().map(dot).collect();
        plot.path(&format!("dots {class}"), &dots);
    }
    let streams: u64 =
        document.targets.iter().filter_map(|target| target.first_token_ms).map(|first| first.count).sum();
    let shown = all().count() as u64;
    let share = if shown < streams {
        format!(" {} of {streams} are drawn, evenly spread, and the slowest.", plural(shown, "stream", "streams"))
    } else {
        String::new()
    };
    plot.figure(&format!("One dot is one stream, placed by its scheduled start in the run.{share}"))
}

/// The arrival of each event of some streams: a row is a stream, a tick is an event.
pub(super) fn raster(document: &Document, target: &Target, class: &str) -> String {
    let every = target.arrivals.len().div_ceil(ROWS).max(1);
    let rows: Vec<&Row> = target.arrivals.iter().step_by(every).collect();
    // the same axis for both targets
    let all = document.targets.iter().flat_map(|target| &target.arrivals).flat_map(|row| &row.reads);
    let x = time_axis(all.map(|(ms, _)| ms / 1e3).fold(0.0, f64::max));
    let mut plot = Plot::new(
        ROW * rows.len() as u32,
        &format!("Arrival of each event of {}", plural(rows.len() as u64, "stream", "streams")),
    );
    plot.x(places(x), " s");
    let height = 1.0 / rows.len().max(1) as f64;
    let (mut waits, mut singles, mut several) = (String::new(), String::new(), String::new());
    for (index, row) in rows.iter().enumerate() {
        let top = index as f64 * height;
        plot.y_label(top + height / 2.0, &seconds(row.start_s));
        let tick = |ms: f64, share: f64| {
            format!(
                "M{} {}v{}",
                unit(x.place(ms / 1e3)),
                unit(top + height * (1.0 - share) / 2.0),
                unit(height * share)
            )
        };
        if let Some((first, _)) = row.reads.first() {
            let (end, bar) = (unit(x.place(first / 1e3)), height * 0.7);
            waits.push_str(&format!("M0 {}h{end}v{}H0z", unit(top + (height - bar) / 2.0), unit(bar)));
        }
        for (ms, events) in &row.reads {
            if *events == 1 {
                singles.push_str(&tick(*ms, 0.7));
            } else {
                several.push_str(&tick(*ms, 0.86));
            }
        }
    }
    plot.path(&format!("wait {class}"), &waits);
    plot.path("ticks", &singles);
    plot.path("ticks several", &several);
    let bold = if several.is_empty() { "" } else { " A bold tick is several events in one read." };
    plot.figure(&format!(
        "Each row is a stream, labelled with its start in the run; each tick is an event, placed by the time since \
         the start of the stream. The bar is the wait for the first event.{bold}"
    ))
}

/// The targets with their CSS classes.
fn series(document: &Document) -> impl Iterator<Item = (&'static str, &Target)> {
    SERIES.into_iter().zip(&document.targets)
}

fn time_axis(longest: f64) -> Axis {
    Axis::from_zero(longest.max(0.01))
}
