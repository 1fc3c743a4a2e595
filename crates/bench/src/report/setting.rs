//! What was run: the head of every report. Pure.

use std::time::Duration;

use serde::Serialize;
use url::Url;

/// What was run, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The targets; of two, the second is what the first is compared with.
    pub urls: Vec<Url>,
    /// How streams were started.
    pub load: Load,
    /// Streams that started in this first time were not measured.
    pub warmup: Duration,
    /// Over this first time the load grew.
    pub ramp: Duration,
    /// The model that was asked for.
    pub model: Option<String>,
    /// The origin of the page that was played.
    pub origin: Option<String>,
    /// What a stream must reach, besides coming whole, to count as goodput.
    pub goals: Goals,
    /// Seed of the times of an open loop.
    pub seed: u64,
    /// When the run began, in seconds since 1970-01-01 UTC.
    pub began: u64,
    /// How long it took, the warm-up included.
    pub elapsed: Duration,
    /// It was stopped before its limit.
    pub interrupted: bool,
    /// Streams that were under way then; they are in no figure.
    pub cut: u64,
}

/// How streams were started.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Load {
    /// So many users, each of whom started a stream when the one before had ended.
    Closed {
        /// Users.
        users: u64,
    },
    /// At times that were set ahead.
    Open {
        /// Streams a second to each target.
        streams_per_second: f64,
        /// As even as a clock; else independent of each other (Poisson).
        even: bool,
    },
}

/// What a stream must reach, besides coming whole, to count as goodput.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Goals {
    /// Its first token, at the latest.
    pub first_token: Option<Duration>,
    /// Its mean time per output token after the first, at most.
    pub time_per_output_token: Option<Duration>,
}

/// Host, with the port if it is not the scheme's own: a name for tables and charts.
pub(super) fn name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The URL without user, password, query and fragment: any of them may hold a key.
pub(super) fn without_secrets(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), name(url), url.path())
}

/// Names of all targets; those that share a host are told apart by their URLs.
pub(super) fn names(urls: &[Url]) -> Vec<String> {
    let short: Vec<_> = urls.iter().map(name).collect();
    let twins = |name: &String| short.iter().filter(|other| *other == name).count() > 1;
    let pairs = urls.iter().zip(&short);
    pairs.map(|(url, short)| if twins(short) { without_secrets(url) } else { short.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_in_a_url_is_not_shown() {
        let url = Url::parse("https://user:canary@api.example.com:444/v1/x?key=canary#canary").unwrap();
        assert_eq!(without_secrets(&url), "https://api.example.com:444/v1/x");
        assert_eq!(name(&url), "api.example.com:444");
    }

    #[test]
    fn targets_of_one_host_are_told_apart() {
        let urls = |list: &[&str]| list.iter().map(|url| Url::parse(url).unwrap()).collect::<Vec<_>>();
        assert_eq!(names(&urls(&["https://a.example/x", "http://b.example:1/x"])), ["a.example", "b.example:1"]);
        assert_eq!(
            names(&urls(&["https://a.example/x", "https://a.example/y"])),
            ["https://a.example/x", "https://a.example/y"]
        );
    }
}
