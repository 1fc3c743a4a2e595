//! The doctor as a command: options, input and output.

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::client::{Client, Unreachable};
use crate::examine;
use crate::mend::Target;
use crate::pasted::{Pasted, curl, har};
use crate::plan::{Input, Plan};
use crate::report::Verdict;
use crate::text::{self, MendChoice, Style};
use browser::quirks::Browser;
use dial::{Trust, Versions};
use flags::{choice, parse_duration};

/// The most bytes of a pasted request; HAR files are large.
const MAX_PASTED: u64 = 256 * 1024 * 1024;

/// The options of an examination; `--help` shows the comments of the fields.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    input: Input,
    /// A request copied as cURL (bash) from developer tools; - reads it from stdin
    #[arg(long, value_name = "LINE", conflicts_with = "from_har")]
    pub from_curl: Option<String>,
    /// A HAR file from developer tools: the request for URL in it, or else the first that failed
    #[arg(long, value_name = "FILE")]
    pub from_har: Option<PathBuf>,
    /// Trust the authorities of this PEM file instead of the public ones
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Trust every certificate: a machine in the middle can read the request's secrets
    #[arg(long)]
    pub insecure: bool,
    /// The version of HTTP; without it what the server prefers, as browsers do
    #[arg(long, value_name = "VERSION", value_parser = ["1", "2"])]
    pub http: Option<String>,
    /// The browser whose rules decide; other verdicts are reported as well
    #[arg(long, value_parser = browsers(), value_name = "NAME", default_value = "chromium")]
    pub browser: Browser,
    /// The time limit for a connection, and for the head of a response
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = time_limit)]
    pub timeout: Duration,
    /// Send only the request itself: no probes
    #[arg(long)]
    pub no_probes: bool,
    /// The server for which the fix is written; the default is the one that the response headers point to
    #[arg(long, value_parser = mends(), value_name = "SERVER")]
    pub mend: Option<MendChoice>,
    /// One JSON object on stdout, with an `error` if there is no report
    #[arg(long)]
    pub json: bool,
    /// Colours; NO_COLOR is honoured
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: Colour,
}

/// `--color`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Why there is no report, or why it was not written. One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Wrong usage.
    Usage(String),
    /// A server cannot be reached.
    Unreachable(String),
    /// The report cannot be written.
    Output(String),
}

/// Examines the request of the options, and writes the report to stdout.
///
/// # Errors
/// See [`Failure`].
pub async fn run(options: &Options) -> Result<Verdict, Failure> {
    let pasted = pasted(options).map_err(Failure::Usage)?;
    let input = Input { pasted, browser: options.browser, ..options.input.clone() };
    let plan = Plan::new(input).map_err(Failure::Usage)?;
    let client = client(options).map_err(Failure::Usage)?;
    let report = examine(&plan, client, !options.no_probes).await;
    let report = report.map_err(|Unreachable(message)| Failure::Unreachable(message))?;
    let text = match options.json {
        // strings, numbers and lists: serialisation cannot fail
        true => serde_json::to_string_pretty(&report).unwrap_or_default() + "\n",
        false => text::write(&report, style(options)),
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::Output(format!("standard output: {error}")))?;
    Ok(report.verdict)
}

fn pasted(options: &Options) -> Result<Option<Pasted>, String> {
    if let Some(line) = &options.from_curl {
        let line = match line.as_str() {
            "-" => {
                io::read_to_string(io::stdin().take(MAX_PASTED)).map_err(|error| format!("standard input: {error}"))?
            }
            line => line.to_owned(),
        };
        return curl::parse(line.trim()).map(Some).map_err(|error| format!("--from-curl: {error}"));
    }
    let Some(file) = &options.from_har else { return Ok(None) };
    let place = || format!("--from-har {}", file.display());
    let mut text = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(MAX_PASTED).read_to_end(&mut text));
    read.map_err(|error| format!("{}: {error}", place()))?;
    har::parse(&text, options.input.url.as_deref()).map(Some).map_err(|error| format!("{}: {error}", place()))
}

fn client(options: &Options) -> Result<Client, String> {
    let trust = Trust::from_flags(options.ca.as_deref(), options.insecure).map_err(|error| error.to_string())?;
    let versions = match options.http.as_deref() {
        Some("1") => Versions::Http1,
        Some(_) => Versions::Http2,
        None => Versions::Any,
    };
    Ok(Client::new(versions, trust, options.timeout))
}

fn style(options: &Options) -> Style {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = match options.color {
        Colour::Auto => io::stdout().is_terminal() && !no_color,
        Colour::Always => true,
        Colour::Never => false,
    };
    Style { colour, mend: options.mend.unwrap_or_default() }
}

fn time_limit(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration such as 500ms, 10s or 1m, more than nothing and at most an hour".to_owned();
    let fits = |limit: &Duration| !limit.is_zero() && *limit <= Duration::from_secs(3600);
    parse_duration(text).ok().filter(fits).ok_or_else(expected)
}

/// The servers that there are fixes for, and `all`.
fn mends() -> impl TypedValueParser<Value = MendChoice> {
    let servers = Target::value_variants().iter().filter_map(Target::to_possible_value);
    let names = PossibleValuesParser::new(servers.chain([PossibleValue::new("all").help("All of them")]));
    names.map(|name| Target::from_str(&name, false).map_or(MendChoice::All, MendChoice::One))
}

fn browsers() -> impl TypedValueParser<Value = Browser> {
    choice([
        (Browser::Chromium, Browser::Chromium.as_str(), "Chrome, Edge, and others on Blink"),
        (Browser::Firefox, Browser::Firefox.as_str(), "Firefox"),
        (Browser::Safari, Browser::Safari.as_str(), "Safari, and every browser on iOS"),
        (Browser::Standard, Browser::Standard.as_str(), "The Fetch standard, to the letter"),
    ])
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn every_server_has_its_fix_and_all_have_theirs() {
        let choice =
            |name: &str| Cli::try_parse_from(["doctor", "https://a", "--mend", name]).map(|cli| cli.options.mend);
        for target in Target::ALL {
            assert_eq!(choice(target.as_str()).unwrap(), Some(MendChoice::One(target)));
        }
        assert_eq!(choice("all").unwrap(), Some(MendChoice::All));
        let refused = choice("iis").unwrap_err().to_string();
        assert!(refused.contains("nginx") && refused.contains("all"), "{refused}");
    }

    #[test]
    fn wrong_usage_is_refused() {
        for wrong in [
            "doctor https://a --credentials always",
            "doctor https://a --browser netscape",
            "doctor https://a --timeout 0s",
            "doctor https://a --timeout 2h",
            "doctor https://a --ca x --insecure",
            "doctor https://a --http 3",
            "doctor --from-curl x --from-har y",
        ] {
            assert!(Cli::try_parse_from(wrong.split(' ')).is_err(), "{wrong}");
        }
    }
}
