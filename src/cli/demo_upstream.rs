//! `tokenway demo-upstream`: the built-in upstream by itself.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;

use demo_upstream::{Demo, Fault, Knobs, MAX_DELAY, MAX_TOKENS, Script, check_rate};
use settings::parse_duration;

/// A small OpenAI-compatible server that streams a made-up answer at a steady rate, or fails in a chosen way.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where to listen, plaintext HTTP/1.1; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    /// From the request to the first token.
    #[arg(long, value_name = "DURATION", default_value = "150ms", value_parser = delay)]
    pub first_token: Duration,
    /// Tokens per second after the first; 0 = as fast as the client takes them.
    #[arg(long, value_name = "RATE", default_value = "40", value_parser = rate)]
    pub tokens_per_second: f64,
    /// Each token comes up to this much late; the rate does not drift.
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = delay)]
    pub jitter: Duration,
    /// Tokens of an answer; without it, longer prompts get longer answers.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(..=MAX_TOKENS))]
    pub tokens: Option<u64>,
    /// What kind of answer.
    #[arg(long, value_enum, value_name = "KIND", default_value_t)]
    pub script: Script,
    /// A model that is served, others are 404; may be repeated. Without it every name is served.
    #[arg(long = "model", value_name = "NAME")]
    pub(crate) models: Vec<String>,
    /// What goes wrong with every completion.
    #[arg(long, value_enum, value_name = "KIND")]
    pub fault: Option<Fault>,
    /// How many events go out before a fault that counts them.
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    pub at: u64,
    /// What every answer says, instead of some sentences about the prompt.
    #[arg(long, value_name = "TEXT")]
    pub say: Option<String>,
    /// Chooses text, jitter and cuts; the same seed and request make the same bytes.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
}

const EXAMPLES: &str = r#"Examples: an upstream that takes its time, and one that breaks off after five
events

  tokenway demo-upstream --listen 127.0.0.1:9000 --first-token 150ms \
    --tokens-per-second 40
  tokenway demo-upstream --listen 127.0.0.1:9000 \
    --fault reset_after_events --at 5

One request can choose for itself, with a field "demo" beside "messages":

  {"messages": […], "stream": true, "demo": {"fault": "error_event", "at": 5,
   "first_token_ms": 300, "tokens_per_second": 20, "jitter_ms": 10,
   "tokens": 100, "script": "reasoning", "seed": 7}}

and for each model that may be asked, so that one request tells each of several upstreams what to do:

  {"model": "a", "messages": […], "demo": {"models":
   {"a": {"fault": "status_500"}, "b": {"tokens": 100}}}}"#;

/// Serves until interrupted.
pub(crate) async fn run(args: Args) -> ExitCode {
    match serve(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tokenway: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> Result<(), String> {
    let listen = args.listen;
    let start = async || Demo::start(TcpListener::bind(listen).await?, args.into());
    let demo = start().await.map_err(|error| format!("--listen {listen}: {error}; choose another address or port"))?;
    announce(&mut std::io::stdout(), demo.addr).map_err(|error| format!("standard output: {error}"))?;
    tokio::signal::ctrl_c().await.map_err(|error| format!("waiting for an interrupt: {error}"))
}

/// Says where it is, and a request that works as it stands.
fn announce(out: &mut impl Write, addr: SocketAddr) -> std::io::Result<()> {
    writeln!(out, "demo upstream on http://{addr}/v1")?;
    writeln!(
        out,
        r#"curl -N http://{addr}/v1/chat/completions -H 'content-type: application/json' -d '{{"model":"demo","stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}'"#
    )?;
    out.flush()
}

impl From<Args> for Knobs {
    fn from(args: Args) -> Knobs {
        Knobs {
            fault: args.fault,
            at: args.at,
            first_token: args.first_token,
            tokens_per_second: args.tokens_per_second,
            jitter: args.jitter,
            tokens: args.tokens,
            script: args.script,
            say: args.say,
            seed: args.seed,
            models: args.models,
            // nobody asks for them, and prompts are not to be hoarded
            record: 0,
            ..Knobs::default()
        }
    }
}

fn delay(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration such as 150ms, 2s or 1m, at most 24 hours".to_owned();
    parse_duration(text).ok().filter(|delay| *delay <= MAX_DELAY).ok_or_else(expected)
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "expected a number".to_owned()).and_then(check_rate)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser, ValueEnum};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &str) -> Result<Knobs, clap::Error> {
        Cli::try_parse_from(words.split(' ')).map(|cli| cli.args.into())
    }

    #[test]
    fn flags_turn_the_knobs() {
        let knobs = parse("demo --first-token 2s --tokens-per-second 0 --jitter 5ms --tokens 9 --script reasoning --fault slow_drip --at 0 --model a --model b --seed 4").unwrap();
        assert_eq!(
            knobs,
            Knobs {
                first_token: Duration::from_secs(2),
                tokens_per_second: 0.0,
                jitter: Duration::from_millis(5),
                tokens: Some(9),
                script: Script::Reasoning,
                fault: Some(Fault::SlowDrip),
                at: 0,
                models: vec!["a".into(), "b".into()],
                seed: 4,
                record: 0,
                ..Knobs::default()
            }
        );
    }

    #[test]
    fn wrong_values_are_refused() {
        for wrong in [
            "--first-token 5",
            "--first-token ms",
            "--first-token 25h",
            "--jitter 86401s",
            "--first-token 99999999999999999999s",
            "--tokens-per-second -1",
            "--tokens-per-second NaN",
            "--tokens-per-second 1e-9",
            "--tokens 10000001",
            "--fault none_such",
        ] {
            assert!(parse(&format!("demo {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn help_has_an_example_and_explains_every_fault() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("tokenway demo-upstream --listen 127.0.0.1:9000 --first-token 150ms"));
        for fault in Fault::value_variants() {
            let value = fault.to_possible_value().unwrap();
            let line = format!("{}:", value.get_name());
            assert!(help.contains(&line), "{line}");
        }
    }

    #[test]
    fn it_says_where_it_is_and_how_to_ask() {
        let mut out = Vec::new();
        announce(&mut out, ([127, 0, 0, 1], 9000).into()).unwrap();
        let out = String::from_utf8(out).unwrap();
        let (first, curl) = out.split_once('\n').unwrap();
        assert_eq!(first, "demo upstream on http://127.0.0.1:9000/v1");
        let body = curl.split('\'').nth(3).unwrap();
        assert!(!demo_upstream::expected_stream(body.as_bytes()).is_empty());
    }
}
