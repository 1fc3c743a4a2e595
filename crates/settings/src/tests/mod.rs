//! A small configuration, declared, read and described.

mod described;
mod named;
mod read;

use std::path::PathBuf;
use std::time::Duration;

use crate::{EnvName, Field, Problems, Size, Strings, document};

crate::section! {
    /// A whole file.
    struct File {
        [server]: Server;
        [routes]: Field<Vec<Route>>, many;
        [trace]: Option<Trace>;
    }
}

crate::section! {
    /// The listener.
    /// See docs/SERVER.md.
    #[renamed(wait => timeout)]
    #[renamed(port => workers)]
    #[secret(password: "use password_env")]
    struct Server {
        /// The names that requests may use:
        ///   "a.example": this name, and
        ///     no other.
        /// Empty: any.
        hosts: Strings = [];
        /// The time limit.
        timeout: Duration = "15s" in "1ms" ..= "24h";
        /// The largest body.
        max_body: Size = "4MiB" in "1B" ..= "1GiB";
        /// Threads. 0 = one per core.
        workers: usize = 0 in 0 ..= 1_024;
        /// How fast it is.
        pace: Pace = "slow";
        /// The variable with the password.
        password_env: Option<EnvName>, commented "PASSWORD";
        [limits]: Limits;
    }
}

crate::section! {
    /// Limits.
    struct Limits {
        /// Per minute.
        requests: u64 = 60;
        [paths]: Field<Vec<Path>>;
    }
}

crate::section! {
    /// Limits of one path.
    struct Path {
        /// The path.
        path: String, required "write a path", example "/v1";
        /// Per minute.
        requests: u64 = 0, example 10;
    }
}

crate::section! {
    /// A route. Repeat this section for each route.
    struct Route {
        /// Its name.
        name: String, required "write a name", example "first";
        /// A file with its key.
        key_file: PathBuf = "";
    }
}

crate::section! {
    /// Tracing. Without this section, it is off.
    struct Trace {
        /// The share of requests.
        all: bool = true;
    }
}

#[derive(Debug, PartialEq)]
enum Pace {
    Slow,
    Fast,
}

crate::words!(Pace { Slow = "slow", Fast = "fast" }, "write one of the two, in quotes");

/// What of `text` is wrong, a line each.
fn problems(text: &str) -> String {
    let mut problems = Problems::default();
    let _: Option<File> = document(text, &mut problems);
    problems.sort();
    problems.to_string()
}

fn read(text: &str) -> File {
    let mut problems = Problems::default();
    let file = document(text, &mut problems).unwrap();
    assert_eq!(problems, Problems::default());
    file
}
