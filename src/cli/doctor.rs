//! `tokenway doctor`: explains why a browser blocks a request to any server.

use std::process::ExitCode;

use super::failure::Failure;
use doctor::command::{self, Options};
use doctor::report::Verdict;

/// Does what a browser would do with a page's request, and explains why it is blocked and how to fix it.
///
/// Decides whether a preflight is needed, sends it as a browser does, checks the responses in the order of the Fetch
/// standard, follows redirects, and shows which headers the page can read. Then probes look for related problems.
/// Works with any server. Exit status: 0 allowed, 1 blocked, 64 wrong usage, 69 unreachable.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
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
GETs without credentials, requests that cause errors (malformed JSON, 8 MiB of spaces, DELETE of an unknown path), and 20 \
preflights in a row.

Secrets are never shown. Headers with secrets are sent to the origin of the URL only. After a redirect to another origin, a \
browser removes authorization and sends all other headers of the page, such as x-api-key; the doctor sends a placeholder \
instead, and says so. Cookies follow the rules of a browser: host, domain, path, Secure, SameSite.";

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    let failure = match command::run(&args.options).await {
        Ok(Verdict::Allowed) => return ExitCode::SUCCESS,
        Ok(Verdict::Blocked) => return ExitCode::FAILURE,
        Err(command::Failure::Usage(message)) => Failure::usage(message),
        Err(command::Failure::Unreachable(message)) => Failure::unreachable(message),
        Err(command::Failure::Output(message)) => Failure::failed(message),
    };
    failure.report("tokenway: ", args.options.json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_says_what_is_sent() {
        let mut command = <Args as clap::Args>::augment_args(clap::Command::new("doctor"));
        assert!(command.render_long_help().to_string().contains("What it sends"));
    }
}
