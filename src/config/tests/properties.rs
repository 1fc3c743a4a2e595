//! Properties of every configuration.

use proptest::prelude::*;

use super::{EXAMPLE, Pieces, parse};
use crate::config::file::File;
use settings::{Problems, document};

/// Independent mistakes: the piece of the file, the line, the key.
const PLANTED: [(usize, &str, &str); 12] = [
    (0, "workers = -1", "server.workers"),
    (0, "max_body = \"4MB\"", "server.max_body"),
    (0, "hosts = [\"*\"]", "server.hosts[0]"),
    (0, "drian = \"1s\"", "server.drian"),
    (1, "api_key = \"sk-canary\"", "upstreams[0].api_key"),
    (1, "ca_file = \"none.pem\"", "upstreams[0].ca_file"),
    (1, "keep_alive = 5", "upstreams[0].keep_alive"),
    (2, "context = 0", "models[0].context"),
    (2, "fallback = [\"m\"]", "models[0].fallback[0]"),
    (3, "[access]\naccept = [\"keys\"]", "access.accept[0]"),
    (3, "[log]\nformat = 1", "log.format"),
    (3, "[routing]\ndefault = \"sonnet\"", "routing.default"),
];

fn any_value() -> impl Strategy<Value = String> {
    let text = prop_oneof!["[a-z0-9./:-]{0,12}", "[0-9]{1,3}(ms|s|h|MiB|B)"].prop_map(|text| format!("\"{text}\""));
    let scalar =
        prop_oneof![text, any::<i64>().prop_map(|n| n.to_string()), "[0-9]\\.[0-9]{1,8}", "true|1979-05-27|nan|\\[\\]"];
    prop_oneof![3 => scalar.clone(), 1 => scalar.prop_map(|value| format!("[{value}, {{ a = {value} }}]"))]
}

proptest! {
    #[test]
    fn as_many_problems_are_reported_as_mistakes_are_planted(chosen in proptest::sample::subsequence(PLANTED.to_vec(), 0..=PLANTED.len())) {
        let piece = |n| chosen.iter().filter(|(p, ..)| *p == n).map(|(_, line, _)| *line).collect::<Vec<_>>().join("\n");
        let (server, upstream, model, rest) = (piece(0), piece(1), piece(2), piece(3));
        let problems = match (Pieces { server: &server, upstream: &upstream, model: &model, rest: &rest }).parse() {
            Ok(_) => Problems::default(),
            Err(problems) => problems,
        };
        let mut keys: Vec<_> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
        let mut planted: Vec<_> = chosen.iter().map(|(.., key)| *key).collect();
        keys.sort_unstable();
        planted.sort_unstable();
        prop_assert_eq!(keys, planted);
        prop_assert!(!problems.to_string().contains("canary"));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}|([a-z\\[\\]=\"#.\\n ]{0,12}\\n){0,6}") {
        let _read_or_refused = parse(&text).map(|_| ());
    }

    #[test]
    fn any_value_under_any_key_is_read_or_refused_at_that_key(
        line in proptest::sample::select(EXAMPLE.lines().filter(|line| line.contains(" = ") && !line.contains("plaintext")).collect::<Vec<_>>()),
        value in any_value(),
    ) {
        let key = line.trim_start_matches("# ").split(" = ").next().unwrap();
        let changed = EXAMPLE.replacen(line, &format!("{key} = {value}"), 1);
        prop_assume!(changed != EXAMPLE);
        let mut problems = Problems::default();
        let read: Option<File> = document(&changed, &mut problems);
        prop_assert!(read.is_some() || problems.0.iter().all(|p| p.reason.contains("TOML")));
        for problem in &problems.0 {
            let named = problem.key.contains(key) || problem.reason.contains("TOML");
            prop_assert!(named && !problem.mend.is_empty() && !problem.to_string().contains('\n'), "{}", problem);
        }
    }
}
