//! The results as text for a terminal: the table, the histogram, the failures, the delivery, and the comparison. Pure.

use super::document::{Comparison, CountedBy, Difference, Document, Histogram, Load, Speed, Summary, Target};
use super::format::{ms, number, plural, seconds, thousands};

/// The width and the colours of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// The width in columns; less than 40 counts as 40.
    pub width: usize,
    /// Whether to use bold and dim (ANSI sequences). The caller reads the environment variable `NO_COLOR` (no-color.org).
    pub colour: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { width: 80, colour: false }
    }
}

const NAME: usize = 26;
const CELL: usize = 9;
const COLUMNS: [Column; 6] = [
    Column { name: "p50", rank: 0, of: |summary| summary.p50, of_speed: |speed| speed.p50 },
    Column { name: "p90", rank: 2, of: |summary| summary.p90, of_speed: |speed| speed.p10 },
    Column { name: "p99", rank: 1, of: |summary| summary.p99, of_speed: |speed| speed.p1 },
    Column { name: "p99.9", rank: 4, of: |summary| summary.p99_9, of_speed: |speed| speed.p0_1 },
    Column { name: "max", rank: 3, of: |summary| summary.max, of_speed: |speed| speed.min },
    Column { name: "mean", rank: 5, of: |summary| summary.mean, of_speed: |speed| speed.mean },
];
const BLOCKS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

impl Document {
    /// The results as text for a terminal.
    pub fn terminal(&self, style: Style) -> String {
        let page = Page { style: Style { width: style.width.max(40), ..style }, text: String::new() };
        page.document(self)
    }
}

/// A column of the table.
#[derive(Debug, Clone, Copy)]
struct Column {
    name: &'static str,
    /// Its priority where there is no room for all columns; 0 is shown first.
    rank: usize,
    of: fn(&Summary) -> f64,
    /// The value for speeds, whose low end is the bad one: `p90` shows what 90 % of the streams reach.
    of_speed: fn(&Speed) -> f64,
}

/// The text, written line by line.
struct Page {
    style: Style,
    text: String,
}

impl Page {
    fn document(mut self, document: &Document) -> String {
        self.wrapped("", &run_text(document));
        for target in &document.targets {
            self.line("");
            self.target(target);
        }
        if let Some(comparison) = &document.comparison {
            self.line("");
            self.wrapped("", &comparison_text(comparison));
        }
        self.text
    }

    fn target(&mut self, target: &Target) {
        let heading = self.bold(&shortened(&target.url, self.style.width));
        self.line(&heading);
        self.wrapped("  ", &streams_text(target));
        for failure in &target.failures {
            self.wrapped("  ", &format!("{} × {}: {}", thousands(failure.count as f64), failure.kind, failure.words));
        }
        if let Some(cors) = &target.cors {
            for refused in &cors.refused {
                let count = thousands(refused.count as f64);
                self.wrapped(
                    "  ",
                    &format!("{count} × the {} is blocked by a browser: {}", refused.step, refused.code),
                );
            }
        }
        if target.first_token_ms.is_none() {
            return;
        }
        self.line("");
        self.table(target);
        if let Some(histogram) = &target.first_token_histogram {
            self.line("");
            let heading = self.bold("time to first token, streams");
            self.line(&heading);
            self.histogram(histogram);
        }
        self.line("");
        let delivery = &target.delivery;
        let (agree, of) = (delivery.streams_agreeing, delivery.streams_judged);
        let share = if agree < of {
            format!(" ({} of {} streams)", thousands(agree as f64), thousands(of as f64))
        } else {
            String::new()
        };
        self.wrapped("", &format!("{}{share}", delivery.words));
        if let Some(look_at) = &delivery.look_at {
            self.wrapped("  ", &format!("Look at: {look_at}"));
        }
    }

    fn table(&mut self, target: &Target) {
        let columns = self.columns();
        let heading: String = columns.iter().map(|column| format!("{:>CELL$}", column.name)).collect();
        let heading = self.dim(&format!("{:<NAME$}{heading}", "milliseconds"));
        self.line(&heading);
        for (name, summary) in rows(target) {
            let cells: String = columns.iter().map(|column| format!("{:>CELL$}", ms((column.of)(&summary)))).collect();
            let row = format!("{name:<NAME$}{cells}");
            let row = if name == "first token" { self.bold(&row) } else { row };
            self.line(&row);
        }
        if let Some(speed) = &target.stream_tokens_per_second {
            let cells: String =
                columns.iter().map(|column| format!("{:>CELL$}", number((column.of_speed)(speed)))).collect();
            self.line(&format!("{:<NAME$}{cells}", "tokens/s of a stream"));
            let note = "tokens/s: p90 is what 90 % of the streams reach, and so on; max is the slowest";
            if note.len() <= self.style.width {
                let note = self.dim(note);
                self.line(&note);
            }
        }
    }

    /// The columns that fit, by their rank.
    fn columns(&self) -> Vec<Column> {
        let room = (self.style.width.saturating_sub(NAME) / CELL).max(1);
        COLUMNS.into_iter().filter(|column| column.rank < room).collect()
    }

    fn histogram(&mut self, histogram: &Histogram) {
        let most = histogram.counts.iter().copied().chain([histogram.beyond]).max().unwrap_or(0).max(1);
        let classes = histogram.counts.iter().enumerate();
        let ends = classes.map(|(class, count)| (histogram.from_ms + class as f64 * histogram.width_ms, *count));
        let digits = decimals(histogram.width_ms);
        let mut rows: Vec<_> = ends.map(|(from, count)| (format!("{from:.digits$} ms"), count)).collect();
        if histogram.beyond > 0 {
            let end = histogram.from_ms + histogram.counts.len() as f64 * histogram.width_ms;
            rows.push((format!("≥ {end:.digits$} ms"), histogram.beyond));
        }
        let label = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        let count = rows.iter().map(|(_, count)| thousands(*count as f64).len()).max().unwrap_or(0);
        let room = self.style.width.saturating_sub(label + count + 4).clamp(8, 60);
        for (name, streams) in rows {
            let bar = bar(streams as f64 / most as f64, room);
            let line = format!("{name:>label$}  {bar:<room$}  {:>count$}", thousands(streams as f64));
            self.line(line.trim_end());
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Writes text in as many lines as it needs.
    fn wrapped(&mut self, indent: &str, text: &str) {
        let mut line = indent.to_owned();
        let mut empty = true;
        // not at a no-break space
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            if !empty && line.chars().count() + 1 + word.chars().count() > self.style.width {
                self.line(&line);
                (line, empty) = (indent.to_owned(), true);
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(&printable(word));
            empty = false;
        }
        self.line(&line);
    }

    fn bold(&self, text: &str) -> String {
        self.ansi("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.ansi("2", text)
    }

    fn ansi(&self, code: &str, text: &str) -> String {
        let text = printable(text);
        if self.style.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
    }
}

/// Text of a server must not control the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The rows of the table that have values.
pub(super) fn rows(target: &Target) -> impl Iterator<Item = (&'static str, Summary)> {
    let rows = [
        ("start delay", if_noticeable(target.start_lag_ms)),
        ("DNS lookup", if_noticeable(target.dns_ms)),
        ("TCP connect", target.connect_ms),
        ("TLS handshake", target.tls_ms),
        ("preflight", target.preflight_ms),
        ("response head", target.head_ms),
        ("first byte", target.first_byte_ms),
        ("first token", target.first_token_ms),
        ("between tokens", target.inter_token_ms),
        ("per output token", target.time_per_output_token_ms),
        ("whole stream", target.total_ms),
    ];
    rows.into_iter().filter_map(|(name, summary)| Some((name, summary?)))
}

/// The parameters of the run, in one line.
pub(super) fn run_text(document: &Document) -> String {
    let run = &document.run;
    let load = match run.load {
        Load::Closed { users } => {
            plural(users as u64, "user, one stream after the other", "users, each one stream after the other")
        }
        Load::Open { rate, arrivals } => {
            let spread = if arrivals.into() { "evenly" } else { "at random (Poisson)" };
            format!("{} streams/s, started {spread}", number(rate))
        }
    };
    let mut parts = vec![load, seconds(run.seconds)];
    if run.warmup_s > 0.0 {
        parts.push(format!("of which {} warm-up", seconds(run.warmup_s)));
    }
    parts.extend(run.model.as_ref().map(|model| format!("model {model}")));
    parts.extend(run.origin.as_ref().map(|origin| format!("as a page of {origin}")));
    if run.interrupted {
        let cut = plural(run.cut_streams, "stream was", "streams were");
        parts.push(format!("stopped early ({cut} still open and not counted)"));
    }
    parts.join(" · ")
}

/// How streams ended, and the rates.
pub(super) fn streams_text(target: &Target) -> String {
    let mut parts = vec![plural(target.streams.whole, "whole stream", "whole streams")];
    let bad = [(target.streams.truncated, "truncated"), (target.streams.failed, "failed")];
    parts.extend(
        bad.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{} {what}", thousands(*count as f64))),
    );
    parts.push(format!("in {}", seconds(target.window_s)));
    let mut text = parts.join(", ");
    if target.streams.whole > 0 {
        let by = match target.tokens_counted_by {
            Some(CountedBy::Server) | None => "",
            Some(CountedBy::Estimate) => " (estimated)",
            Some(CountedBy::Both) => " (partly estimated)",
        };
        let (streams, tokens) = (number(target.streams_per_second), number(target.output_tokens_per_second));
        text.push_str(&format!(" · {streams} streams/s · {tokens} output tokens/s{by}"));
        if target.goodput_per_second < target.streams_per_second {
            text.push_str(&format!(" · goodput {} streams/s", number(target.goodput_per_second)));
        }
    }
    text
}

/// A summary, unless its values are nearly zero.
fn if_noticeable(summary: Option<Summary>) -> Option<Summary> {
    summary.filter(|summary| summary.p99 >= 0.1)
}

/// The comparison in sentences.
pub(super) fn comparison_text(comparison: &Comparison) -> String {
    let Comparison { of, to, pairs, .. } = comparison;
    if *pairs == 0 {
        return format!("{of} and {to} cannot be compared: in no pair were both streams whole.");
    }
    let changes = [
        (comparison.first_token_ms, "the first token"),
        (comparison.time_per_output_token_ms, "each later token"),
        (comparison.total_ms, "a whole stream"),
    ];
    let sentences: Vec<_> =
        changes.iter().filter_map(|(difference, what)| Some(change(comparison, (*difference)?, what))).collect();
    let broken = match comparison.broken_pairs {
        0 => String::new(),
        broken => {
            format!(" {} had a stream that was not whole and are left out.", plural(broken, "more pair", "more pairs"))
        }
    };
    format!(
        "Against {to}, {of} {}. Medians of {}, with {} confidence intervals.{broken}",
        sentences.join("; "),
        plural(*pairs, "pair", "pairs"),
        comparison.per_cent()
    )
}

fn change(comparison: &Comparison, difference: Difference, what: &str) -> String {
    let interval = match (difference.low, difference.high) {
        (Some(low), Some(high)) if low <= 0.0 && high >= 0.0 => {
            return format!(
                "makes no clear difference to {what} ({} ms, {} to {})",
                signed(difference.median),
                signed(low),
                signed(high)
            );
        }
        // the ends of a negative interval are exchanged
        (Some(low), Some(high)) if difference.median < 0.0 => {
            format!(" ({}: {} to {})", comparison.per_cent(), ms(-high), ms(-low))
        }
        (Some(low), Some(high)) => format!(" ({}: {} to {})", comparison.per_cent(), ms(low), ms(high)),
        _ => " (too few pairs for an interval)".to_owned(),
    };
    match difference.median < 0.0 {
        true => format!("takes {} ms off {what}{interval}", ms(-difference.median)),
        false => format!("adds {} ms to {what}{interval}", ms(difference.median)),
    }
}

fn signed(value: f64) -> String {
    if value < 0.0 { format!("−{}", ms(-value)) } else { ms(value) }
}

/// A bar of this share of the room, in eighths of a column. A share above zero is always visible.
fn bar(share: f64, room: usize) -> String {
    let eighths = (share * room as f64 * 8.0).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    let mut bar: String = std::iter::repeat_n(BLOCKS[7], eighths / 8).collect();
    if !eighths.is_multiple_of(8) {
        bar.push(BLOCKS[eighths % 8 - 1]);
    }
    bar
}

/// The number of decimals that distinguish multiples of the step.
pub(super) fn decimals(step: f64) -> usize {
    (0..3).find(|digits| step * 10_f64.powi(*digits) >= 0.999).unwrap_or(3) as usize
}

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
