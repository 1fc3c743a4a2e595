//! `tokenway cost`: the monthly cost of a workload, forecast from a price table or computed from log lines.

mod forecast;
mod ledger;
mod line;
mod from_log;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as ClapArgs, ValueEnum};

use super::failure::Failure;
use tokenway::config::{Priced, price_list};
use tokenway::spend::workload::{Share, parse_tokens};

/// The reference table of models, from the example configuration.
const EXAMPLE: &str = include_str!("../../../tokenway.toml");

/// Computes the monthly cost of a workload: all of it on one model, and with cache and routing.
///
/// With --input and --output the cost is forecast from the price table, and every assumption is printed. With --log it is
/// computed from Tokenway's log lines, of either format; other lines are skipped and counted. Prices come from --config, or
/// from the five models of the example configuration. All sums are exact.
///
/// Exit status: 0 good, 1 a file cannot be read, 64 wrong usage.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  tokenway cost --input 30M --output 15M --per day --cache-hit 40% \\
    --easy 70% --cheap glm-4-plus --strong gpt-4o

  tokenway serve --config tokenway.toml 2>&1 | tee tokenway.log
  tokenway cost --log tokenway.log --strong gpt-4o")]
pub(crate) struct Args {
    /// Prompt tokens, such as 30M or 250k
    #[arg(long, value_name = "TOKENS", value_parser = parse_tokens, required_unless_present = "log")]
    input: Option<u64>,
    /// Completion tokens
    #[arg(long, value_name = "TOKENS", value_parser = parse_tokens, required_unless_present = "log")]
    output: Option<u64>,
    /// The period of these tokens
    #[arg(long, value_enum, default_value_t = Per::Day)]
    per: Per,
    /// Days in a month
    #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=366))]
    days: u64,
    /// Part of the tokens that is answered from the cache, such as 40%
    #[arg(long, value_name = "SHARE", value_parser = Share::parse, default_value = "0%")]
    cache_hit: Share,
    /// Part of the rest that the cheap model answers
    #[arg(long, value_name = "SHARE", value_parser = Share::parse, default_value = "0%")]
    easy: Share,
    /// The model for easy requests; by default the model with the lowest price
    #[arg(long, value_name = "MODEL")]
    cheap: Option<String>,
    /// The model for the rest, and for everything in the naive bill; by default the model with the highest price
    #[arg(long, value_name = "MODEL")]
    strong: Option<String>,
    /// The model that classifies; without this, the rules classify at no cost
    #[arg(long, value_name = "MODEL")]
    classifier: Option<String>,
    /// The cheap model is started before the classification: it is paid for the prompts of hard requests as well
    #[arg(long)]
    speculative: bool,
    /// The configuration with the prices; only the prices are read
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read log lines from this file instead; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "output", "per", "cache_hit", "easy", "cheap", "classifier", "speculative"])]
    log: Option<PathBuf>,
    /// Write one JSON object to stdout instead of a table
    #[arg(long)]
    json: bool,
}

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Per {
    /// A day
    Day,
    /// A month of --days
    Month,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    let unwritten = |error: io::Error| Failure::failed(format!("standard output: {error}"));
    match bill(args).and_then(|text| io::stdout().write_all(text.as_bytes()).map_err(unwritten)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("", args.json),
    }
}

fn bill(args: &Args) -> Result<String, Failure> {
    let table = PriceTable::read(args)?;
    match &args.log {
        Some(path) => from_log::bill(args, &table, path),
        None => forecast::bill(args, &table),
    }
}

/// Models with their prices, and the source of the prices.
struct PriceTable {
    models: Vec<Priced>,
    source: String,
}

impl PriceTable {
    fn read(args: &Args) -> Result<Self, Failure> {
        let (text, source) = match &args.config {
            None => (EXAMPLE.to_owned(), "the five models of the built-in example configuration".to_owned()),
            Some(path) => {
                let named = path.display().to_string();
                let text = std::fs::read_to_string(path);
                (text.map_err(|error| Failure::failed(format!("{named} cannot be read: {error}")))?, named)
            }
        };
        let problems = |problems: settings::Problems| {
            let lines: Vec<String> = problems.0.iter().map(|problem| format!("{source}: {problem}")).collect();
            Failure::usage(lines.join("\n"))
        };
        let models = price_list(&text).map_err(problems)?;
        if models.is_empty() {
            return Err(Failure::usage(format!("{source}: no model has a price: write input_price and output_price")));
        }
        Ok(Self { models, source })
    }

    /// Finds the model with this name.
    fn find(&self, flag: &str, name: &str) -> Result<&Priced, Failure> {
        self.models.iter().find(|model| model.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.models.iter().map(|model| model.name.as_str()).collect();
            Failure::usage(format!("{flag}: no priced model is called `{name}`; write one of {}", names.join(", ")))
        })
    }

    /// Returns the named model, or the one with the highest price.
    fn strong(&self, name: Option<&str>) -> Result<&Priced, Failure> {
        match name {
            Some(name) => self.find("--strong", name),
            None => Ok(self.by_price().next_back().unwrap_or(&self.models[0])),
        }
    }

    /// Returns the named model, or the one with the lowest price.
    fn cheap(&self, name: Option<&str>) -> Result<&Priced, Failure> {
        match name {
            Some(name) => self.find("--cheap", name),
            None => Ok(self.by_price().next().unwrap_or(&self.models[0])),
        }
    }

    fn by_price(&self) -> impl DoubleEndedIterator<Item = &Priced> {
        let mut models: Vec<&Priced> = self.models.iter().collect();
        models.sort_by_key(|model| (model.prices.output, model.prices.input));
        models.into_iter()
    }
}

/// Formats rows of text as columns: the first one aligned left, all others right.
fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            line += &if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
