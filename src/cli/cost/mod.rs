//! `tokenway cost`: what a workload costs a month, foretold from a price table or told from real log lines.

mod foretold;
mod ledger;
mod line;
mod told;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as ClapArgs, ValueEnum};

use super::failure::Failure;
use tokenway::config::{Priced, price_list};
use tokenway::spend::workload::{Share, parse_tokens};

/// The reference table of models, as the example configuration has it.
const EXAMPLE: &str = include_str!("../../../tokenway.toml");

/// Tells what a workload costs a month: all of it on one model, and with cache and routing.
///
/// With --input and --output it is foretold from the price table, and every assumption is printed. With --log it is told from
/// the lines that Tokenway has written, of either format; other lines are skipped and counted. Prices come from --config, or
/// are those of the five models of the example configuration. All sums are exact.
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
    /// So many tokens in what time?
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
    /// Who answers what is easy; by default the model with the lowest price
    #[arg(long, value_name = "MODEL")]
    cheap: Option<String>,
    /// Who answers the rest, and everything in the naive bill; by default the model with the highest price
    #[arg(long, value_name = "MODEL")]
    strong: Option<String>,
    /// Who decides; without this, rules do, for nothing
    #[arg(long, value_name = "MODEL")]
    classifier: Option<String>,
    /// The cheap model is started before it is decided: it is paid for the prompts of hard questions as well
    #[arg(long)]
    speculative: bool,
    /// The configuration that the prices are read from; nothing else of it is
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
        Some(path) => told::bill(args, &table, path),
        None => foretold::bill(args, &table),
    }
}

/// Models with their prices, and where those are from.
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

    /// The model of this name.
    fn find(&self, flag: &str, name: &str) -> Result<&Priced, Failure> {
        self.models.iter().find(|model| model.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.models.iter().map(|model| model.name.as_str()).collect();
            Failure::usage(format!("{flag}: no priced model is called `{name}`; write one of {}", names.join(", ")))
        })
    }

    /// The named model, or the one with the highest price.
    fn strong(&self, name: Option<&str>) -> Result<&Priced, Failure> {
        match name {
            Some(name) => self.find("--strong", name),
            None => Ok(self.by_price().next_back().unwrap_or(&self.models[0])),
        }
    }

    /// The named model, or the one with the lowest price.
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

/// Rows of text as columns: the first one to the left, all others to the right.
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
