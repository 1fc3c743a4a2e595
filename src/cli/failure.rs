//! Why a command failed. Every command reports it alike: a line on stderr and, if JSON was requested, a document with an
//! `error` on stdout.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

/// The kind of a failure: it decides the exit status, and the `code` in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    /// `EX_USAGE` of sysexits.h.
    Usage,
    /// `EX_UNAVAILABLE` of sysexits.h.
    Unreachable,
    Failed,
}

/// Why there is no result, or why it is a failure. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    code: Code,
    message: String,
}

impl Failure {
    /// Wrong usage or configuration: status 64, `usage`.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: Code::Usage, message: message.into() }
    }

    /// The server cannot be reached: status 69, `unreachable`.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { code: Code::Unreachable, message: message.into() }
    }

    /// The work failed: status 1, `failed`.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { code: Code::Failed, message: message.into() }
    }

    /// The first paragraph of clap's message about wrong usage, in one line and without its prefix `error:`.
    pub(crate) fn of_arguments(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let first = text.split("\n\n").next().unwrap_or_default();
        let first = first.strip_prefix("error:").unwrap_or(first);
        Self::usage(first.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The member `error` of a document.
    pub(crate) fn as_json(&self) -> Value {
        json!({ "code": self.code.name(), "message": self.message })
    }

    /// The exit status of the process.
    pub(crate) fn status(&self) -> u8 {
        match self.code {
            Code::Usage => 64,
            Code::Unreachable => 69,
            Code::Failed => 1,
        }
    }

    /// Prints it on stderr after `prefix`, and as JSON on stdout if `as_json`.
    pub(crate) fn report(&self, prefix: &str, as_json: bool) -> ExitCode {
        eprintln!("{prefix}{self}");
        if as_json {
            self.print_json();
        }
        self.status().into()
    }

    /// Prints a document that contains only the error.
    pub(crate) fn print_json(&self) {
        // if stdout is closed, there is no reader to report that to
        let _ = writeln!(io::stdout(), "{}", json!({ "error": self.as_json() }));
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Code {
    fn name(self) -> &'static str {
        match self {
            Code::Usage => "usage",
            Code::Unreachable => "unreachable",
            Code::Failed => "failed",
        }
    }
}

/// Whether these arguments (without the program's name) request JSON on stdout. It is for command lines that clap rejects.
/// `--json` of `bench` names a file, so only `-` requests it there.
pub(crate) fn wants_json(arguments: &[OsString]) -> bool {
    let flags: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).take_while(|flag| *flag != "--").collect();
    let following = flags.iter().skip(1).copied().map(Some).chain([None]);
    let names_a_file = flags.first().is_some_and(|command| *command == "bench");
    flags.iter().zip(following).any(|(flag, next)| match names_a_file {
        true => *flag == "--json=-" || *flag == "--json" && next.is_some_and(|file| file == "-"),
        false => *flag == "--json",
    })
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    #[test]
    fn each_kind_has_its_status_and_its_code() {
        for (failure, status, code) in [
            (Failure::usage("u"), 64, "usage"),
            (Failure::unreachable("u"), 69, "unreachable"),
            (Failure::failed("u"), 1, "failed"),
        ] {
            assert_eq!(failure.status(), status);
            assert_eq!(failure.as_json(), json!({ "code": code, "message": "u" }));
        }
    }

    #[test]
    fn json_is_requested_by_the_flag_and_of_bench_by_the_name_of_stdout() {
        let wants = |line: &str| wants_json(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>());
        for line in ["doctor --json --http 3", "key list --json", "bench http://a --json - -c 0", "bench --json=- -c 0"]
        {
            assert!(wants(line), "{line}");
        }
        for line in ["", "doctor", "doctor -- --json", "bench --json", "bench --json out.json", "bench --json -- -"] {
            assert!(!wants(line), "{line}");
        }
    }

    #[test]
    fn a_message_of_clap_becomes_one_line() {
        let command = Command::new("x").arg(Arg::new("file").long("file").required(true));
        let missing = command.clone().try_get_matches_from(["x"]).unwrap_err();
        let message = Failure::of_arguments(&missing).to_string();
        assert_eq!(message, "the following required arguments were not provided: --file <file>");
        let unknown = command.try_get_matches_from(["x", "--flie", "y"]).unwrap_err();
        assert_eq!(Failure::of_arguments(&unknown).to_string(), "unexpected argument '--flie' found");
    }
}
