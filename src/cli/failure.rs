//! Why a command failed, told alike by all of them: a line on stderr for people, and where JSON was asked for, one document
//! with an `error` on stdout as well.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

/// What kind of failure: the exit status, and the `code` in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    /// `EX_USAGE` of sysexits.h.
    Usage,
    /// `EX_UNAVAILABLE` of sysexits.h.
    Unreachable,
    Failed,
}

/// Why there is no result, or why it is a bad one. Never holds a secret.
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

    /// The server cannot be asked: status 69, `unreachable`.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { code: Code::Unreachable, message: message.into() }
    }

    /// The work failed: status 1, `failed`.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { code: Code::Failed, message: message.into() }
    }

    /// What clap says of wrong usage, without its own `error:` and the usage below it.
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

    /// What the process ends with.
    pub(crate) fn status(&self) -> u8 {
        match self.code {
            Code::Usage => 64,
            Code::Unreachable => 69,
            Code::Failed => 1,
        }
    }

    /// Tells it on stderr behind `from`, which says who speaks, and as JSON on stdout where that is wanted.
    pub(crate) fn tell(&self, from: &str, as_json: bool) -> ExitCode {
        eprintln!("{from}{self}");
        if as_json {
            self.tell_machines();
        }
        self.status().into()
    }

    /// The whole document, where there is nothing else to put into it.
    pub(crate) fn tell_machines(&self) {
        // where nobody reads it, there is nobody to tell
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

/// Whether these arguments, the program's name not among them, ask for JSON on stdout; for a command line that cannot be
/// read as one. Of `bench`, whose `--json` names a file, only `-` does.
pub(crate) fn wants_json(arguments: &[OsString]) -> bool {
    let flags: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).take_while(|flag| *flag != "--").collect();
    let behind = flags.iter().skip(1).copied().map(Some).chain([None]);
    let names_a_file = flags.first().is_some_and(|command| *command == "bench");
    flags.iter().zip(behind).any(|(flag, next)| match names_a_file {
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
    fn json_is_wanted_where_the_flag_stands_and_of_bench_where_it_names_stdout() {
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
    fn what_clap_says_becomes_one_line() {
        let command = Command::new("x").arg(Arg::new("file").long("file").required(true));
        let missing = command.clone().try_get_matches_from(["x"]).unwrap_err();
        let told = Failure::of_arguments(&missing).to_string();
        assert_eq!(told, "the following required arguments were not provided: --file <file>");
        let unknown = command.try_get_matches_from(["x", "--flie", "y"]).unwrap_err();
        assert_eq!(Failure::of_arguments(&unknown).to_string(), "unexpected argument '--flie' found");
    }
}
