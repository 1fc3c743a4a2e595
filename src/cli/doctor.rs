//! `tokenway doctor`: what would a browser do with a request, and why.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::failure::Failure;
use browser::quirks::Browser;
use browser::request::Credentials;
use dial::{Trust, Versions};
use doctor::examine;
use doctor::exchange::{Client, Unreachable};
use doctor::mend::Target;
use doctor::pasted::{Pasted, curl, har};
use doctor::plan::{Plan, Preset, Wanted};
use doctor::report::{Report, Verdict};
use doctor::text::{self, Shown, Style};
use settings::parse_duration;

/// The most that is read of a pasted request; HAR files are large.
const MAX_PASTED: u64 = 256 * 1024 * 1024;

/// Does what a browser would do with a page's request, and says why it is blocked and how to mend it.
///
/// Decides whether a preflight is needed, sends it as a browser does, checks the answers in the order of the Fetch
/// standard, follows redirects, and tells which headers the page can read. Then probes look for what will go wrong one day.
/// Works against any server. Exit status: 0 allowed, 1 blocked, 64 wrong usage, 69 unreachable.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// What the page calls; may be left out with --from-curl or --from-har
    #[arg(value_name = "URL")]
    pub url: Option<String>,
    /// The page's origin, or its URL
    #[arg(long, value_name = "ORIGIN")]
    pub origin: Option<String>,
    /// The method; POST where there is --data, else GET
    #[arg(long, short = 'X', value_name = "METHOD")]
    pub method: Option<String>,
    /// A header that the page sets; may be repeated. `cookie` stands for what the browser's jar holds
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// The body
    #[arg(long, short = 'd', value_name = "TEXT", allow_hyphen_values = true)]
    pub data: Option<String>,
    /// `credentials` of the page's call: do cookies go along? same-origin unless a cookie is given
    #[arg(long, value_enum, value_name = "MODE")]
    pub credentials: Option<Mode>,
    /// What calls: fetch(), EventSource, the OpenAI SDK in a page, or the page whose request is pasted
    #[arg(long = "as", value_enum, value_name = "KIND")]
    pub preset: Option<Preset>,
    /// A request copied as cURL (bash) from developer tools; - reads it from stdin
    #[arg(long, value_name = "LINE", conflicts_with = "from_har")]
    pub from_curl: Option<String>,
    /// A HAR file from developer tools: the request for URL in it, or else the first that failed
    #[arg(long, value_name = "FILE")]
    pub from_har: Option<PathBuf>,
    /// Trust the authorities of this PEM file instead of the public ones
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Trust every certificate: whoever stands between can read the request's secrets
    #[arg(long)]
    pub insecure: bool,
    /// The version of HTTP; without it what the server prefers, as browsers do
    #[arg(long, value_name = "VERSION", value_parser = ["1", "2"])]
    pub http: Option<String>,
    /// Whose rules decide; where others differ, it is said
    #[arg(long, value_enum, value_name = "NAME", default_value = "chromium")]
    pub browser: Rules,
    /// For a connection, and for the head of an answer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = patience)]
    pub timeout: Duration,
    /// Only the request itself: no probes
    #[arg(long)]
    pub no_probes: bool,
    /// For which server the mend is written; without it the one that the answer's headers point to
    #[arg(long, value_parser = mends(), value_name = "SERVER")]
    pub mend: Option<Shown>,
    /// One JSON object on stdout, with an `error` where there is no report
    #[arg(long)]
    pub json: bool,
    /// Colours; NO_COLOR is honoured
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: Colour,
}

const EXAMPLES: &str = "\
Examples:

  tokenway doctor https://api.example.com/v1/chat/completions \\
    --origin https://app.example.com --method POST --credentials include \\
    --header 'authorization: Bearer x' \\
    --header 'content-type: application/json'

  tokenway doctor https://api.example.com/v1 \\
    --origin https://app.example.com --as openai-js

  tokenway doctor https://localhost:8443/v1/models \\
    --origin http://localhost:8444 --ca certs/ca.pem

  # copied as cURL (bash) from developer tools
  pbpaste | tokenway doctor --from-curl - --mend nginx

What it sends: the request once, with a preflight if a browser would send one. Probes send preflights from other origins, \
GETs without credentials, errors on purpose (broken JSON, 8 MiB of blanks, DELETE of a path that does not exist), and 20 \
preflights in a row. Secrets are sent to the URL alone, and shown nowhere.";

/// `--credentials`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Never.
    Omit,
    /// To the page's own origin.
    SameOrigin,
    /// To every origin; the answer must allow it.
    Include,
}

/// `--browser`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rules {
    /// Chrome, Edge, and others on Blink.
    Chromium,
    /// Firefox.
    Firefox,
    /// Safari, and every browser on iOS.
    Safari,
    /// The Fetch standard, to the letter.
    Standard,
}

/// `--color`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    match examined(&args).await {
        Ok(Verdict::Allowed) => ExitCode::SUCCESS,
        Ok(Verdict::Blocked) => ExitCode::FAILURE,
        Err(failure) => failure.tell("tokenway: ", args.json),
    }
}

async fn examined(args: &Args) -> Result<Verdict, Failure> {
    let plan = plan(args).map_err(Failure::usage)?;
    let client = client(args).map_err(Failure::usage)?;
    let examined = examine(&plan, client, !args.no_probes).await;
    let report = examined.map_err(|Unreachable(message)| Failure::unreachable(message))?;
    let text = if args.json { json(&report) } else { text::write(&report, style(args)) };
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::failed(format!("standard output: {error}")))?;
    Ok(report.verdict)
}

fn plan(args: &Args) -> Result<Plan, String> {
    Plan::new(Wanted {
        url: args.url.clone(),
        origin: args.origin.clone(),
        method: args.method.clone(),
        headers: args.headers.clone(),
        data: args.data.clone(),
        credentials: args.credentials.map(Credentials::from),
        preset: args.preset,
        pasted: pasted(args)?,
        browser: args.browser.into(),
    })
}

fn pasted(args: &Args) -> Result<Option<Pasted>, String> {
    if let Some(line) = &args.from_curl {
        let line = match line.as_str() {
            "-" => std::io::read_to_string(std::io::stdin().take(MAX_PASTED))
                .map_err(|error| format!("standard input: {error}"))?,
            line => line.to_owned(),
        };
        return curl::parse(line.trim()).map(Some).map_err(|error| format!("--from-curl: {error}"));
    }
    let Some(file) = &args.from_har else { return Ok(None) };
    let place = || format!("--from-har {}", file.display());
    let mut text = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(MAX_PASTED).read_to_end(&mut text));
    read.map_err(|error| format!("{}: {error}", place()))?;
    har::parse(&text, args.url.as_deref()).map(Some).map_err(|error| format!("{}: {error}", place()))
}

fn client(args: &Args) -> Result<Client, String> {
    let trust = match &args.ca {
        Some(file) => Trust::from_file(file).map_err(|error| error.to_string())?,
        None if args.insecure => Trust::DangerouslyAnyone,
        None => Trust::PublicRoots,
    };
    let versions = match args.http.as_deref() {
        Some("1") => Versions::Http1,
        Some(_) => Versions::Http2,
        None => Versions::Any,
    };
    Ok(Client::new(versions, trust, args.timeout))
}

fn style(args: &Args) -> Style {
    let wanted = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Style {
        colour: match args.color {
            Colour::Auto => wanted,
            Colour::Always => true,
            Colour::Never => false,
        },
        mend: args.mend.unwrap_or_default(),
    }
}

fn json(report: &Report) -> String {
    // strings, numbers and lists: there is nothing that cannot be written
    serde_json::to_string_pretty(report).unwrap_or_default() + "\n"
}

fn patience(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration such as 500ms, 10s or 1m, more than nothing and at most an hour".to_owned();
    let fits = |wait: &Duration| !wait.is_zero() && *wait <= Duration::from_secs(3600);
    parse_duration(text).ok().filter(fits).ok_or_else(expected)
}

/// The servers that there are mends for, and `all`.
fn mends() -> impl TypedValueParser<Value = Shown> {
    let servers = Target::value_variants().iter().filter_map(Target::to_possible_value);
    let names = PossibleValuesParser::new(servers.chain([PossibleValue::new("all").help("Every one of them")]));
    names.map(|name| Target::from_str(&name, false).map_or(Shown::All, Shown::One))
}

impl From<Mode> for Credentials {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Omit => Credentials::Omit,
            Mode::SameOrigin => Credentials::SameOrigin,
            Mode::Include => Credentials::Include,
        }
    }
}

impl From<Rules> for Browser {
    fn from(rules: Rules) -> Self {
        match rules {
            Rules::Chromium => Browser::Chromium,
            Rules::Firefox => Browser::Firefox,
            Rules::Safari => Browser::Safari,
            Rules::Standard => Browser::Standard,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn help_says_what_is_sent() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("What it sends"));
    }

    #[test]
    fn every_server_has_its_mend_and_all_have_theirs() {
        let shown = |name: &str| Cli::try_parse_from(["doctor", "https://a", "--mend", name]).map(|cli| cli.args.mend);
        for target in Target::ALL {
            assert_eq!(shown(target.as_str()).unwrap(), Some(Shown::One(target)));
        }
        assert_eq!(shown("all").unwrap(), Some(Shown::All));
        let refused = shown("iis").unwrap_err().to_string();
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
