//! The bill that is computed from log lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde_json::json;

use super::ledger::{Ledger, Row};
use super::{Args, PriceTable, columns, line};
use crate::cli::failure::Failure;
use bench::report::format::plural;
use tokenway::auth::key_file;
use tokenway::config::Priced;
use tokenway::price::Cost;

/// Longer lines are cut. No line of Tokenway is longer.
const MAX_LINE: u64 = 64 << 10;

/// Returns both bills, as a table or as JSON.
pub(super) fn bill(args: &Args, table: &PriceTable, path: &Path) -> Result<String, Failure> {
    let strong = table.strong(args.strong.as_deref())?;
    let input: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(|error| unreadable(path, &error))?),
    };
    let mut ledger = Ledger::default();
    let mut lines = BufReader::new(input);
    while let Some(text) = next_line(&mut lines).map_err(|error| unreadable(path, &error))? {
        if !text.trim().is_empty() {
            ledger.add(line::read(&text), strong.prices);
        }
    }
    Ok(match args.json {
        true => as_json(&ledger, strong, args.days),
        false => as_text(&ledger, strong, args.days),
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be read: {error}", path.display()))
}

/// Reads the next line, whatever bytes it has, and cuts it if it is too long. Returns `None` at the end.
fn next_line(lines: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut text = Vec::new();
    if lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut text)? == 0 {
        return Ok(None);
    }
    if text.last() != Some(&b'\n') {
        lines.skip_until(b'\n')?;
    }
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

fn notes(ledger: &Ledger, strong: &Priced, days: u64) -> Vec<String> {
    let mut notes = vec![
        format!(
            "{} that a model was asked for, {}",
            plural(ledger.requests, "request", "requests"),
            plural(ledger.free, "other", "others")
        ),
        format!("{} skipped: not requests of Tokenway", plural(ledger.foreign, "line", "lines")),
        format!(
            "{} without a known cost: nothing was charged, or a model has no price",
            plural(ledger.unknown, "request", "requests")
        ),
        "costs are those in the log, at the prices of that time".to_owned(),
        format!("naive: each answer's tokens at the prices of {}", strong.name),
    ];
    notes.push(match (ledger.span, ledger.in_days(ledger.total, days)) {
        (Some((first, last)), Some(_)) => format!(
            "a month: {}, each as from {} to {}",
            plural(days, "day", "days"),
            key_file::format_time(first),
            key_file::format_time(last)
        ),
        _ => "a month: not known, because the lines span less than an hour".to_owned(),
    });
    notes
}

fn as_text(ledger: &Ledger, strong: &Priced, days: u64) -> String {
    let header = [
        "model",
        "answers",
        "not asked anew",
        "beside",
        "prompt tokens",
        "completion tokens",
        "estimated",
        "$",
        "$ a month",
    ];
    let month = |cost: Cost| ledger.in_days(cost, days).map_or("-".to_owned(), Cost::cents);
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for (model, row) in &ledger.models {
        let Row { answers, reused, beside, input, output, estimated, cost } = row;
        let counts = [answers, reused, beside, input, output, estimated].map(u64::to_string);
        rows.push([std::slice::from_ref(model), &counts[..], &[cost.short(), month(*cost)]].concat());
    }
    let blank = || vec![String::new(); 6];
    for (name, cost) in [("all", ledger.total), ("naive", ledger.naive)] {
        rows.push([vec![name.to_owned()], blank(), vec![cost.short(), month(cost)]].concat());
    }
    let notes: String = notes(ledger, strong, days).iter().map(|note| format!("  {note}\n")).collect();
    format!("{}\n{notes}", columns(&rows))
}

fn as_json(ledger: &Ledger, strong: &Priced, days: u64) -> String {
    let month = |cost: Cost| ledger.in_days(cost, days).map(Cost::short);
    let models: Vec<_> = ledger
        .models
        .iter()
        .map(|(model, row)| {
            json!({
                "model": model, "answers": row.answers, "reused": row.reused, "beside": row.beside,
                "input_tokens": row.input, "output_tokens": row.output, "estimated": row.estimated,
                "dollars": row.cost.short(), "dollars_a_month": month(row.cost),
            })
        })
        .collect();
    let document = json!({
        "requests": ledger.requests, "others": ledger.free, "skipped_lines": ledger.foreign,
        "without_cost": ledger.unknown, "models": models,
        "dollars": ledger.total.short(), "dollars_a_month": month(ledger.total),
        "naive": { "model": strong.name, "dollars": ledger.naive.short(), "dollars_a_month": month(ledger.naive) },
        "assumptions": notes(ledger, strong, days),
    });
    format!("{document}\n")
}
