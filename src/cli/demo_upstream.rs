//! `tokenway demo-upstream`: the built-in upstream as a server of its own.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::net::TcpListener;

use demo_upstream::{Demo, Knobs};

/// A small OpenAI-compatible server that streams a generated answer at a steady rate, or fails in a chosen way.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The address to listen on, plaintext HTTP/1.1; port 0 selects a free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub knobs: Knobs,
}

const EXAMPLES: &str = r#"Examples: a slow upstream, and one that breaks off after five events

  tokenway demo-upstream --listen 127.0.0.1:9000 --first-token 150ms \
    --tokens-per-second 40
  tokenway demo-upstream --listen 127.0.0.1:9000 \
    --fault reset_after_events --at 5

A request can override these options with a member "demo":

  {"messages": […], "stream": true, "demo": {"fault": "error_event", "at": 5,
   "first_token_ms": 300, "tokens_per_second": 20, "jitter_ms": 10,
   "tokens": 100, "script": "reasoning", "seed": 7}}

and for each model, so that one request configures each of several upstreams:

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

async fn serve(Args { listen, knobs }: Args) -> Result<(), String> {
    let start = async || Demo::start(TcpListener::bind(listen).await?, knobs);
    let demo = start().await.map_err(|error| format!("--listen {listen}: {error}; choose another address or port"))?;
    let mut out = io::stdout();
    let written = write!(out, "{demo}").and_then(|()| out.flush());
    written.map_err(|error| format!("standard output: {error}"))?;
    tokio::signal::ctrl_c().await.map_err(|error| format!("waiting for an interrupt: {error}"))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use demo_upstream::Fault;

    #[test]
    fn help_has_an_example_and_explains_every_fault() {
        let mut command = <Args as clap::Args>::augment_args(clap::Command::new("demo-upstream"));
        let help = command.render_long_help().to_string();
        assert!(help.contains("tokenway demo-upstream --listen 127.0.0.1:9000 --first-token 150ms"));
        for fault in Fault::value_variants() {
            let value = fault.to_possible_value().unwrap();
            let line = format!("{}:", value.get_name());
            assert!(help.contains(&line), "{line}");
        }
    }
}
