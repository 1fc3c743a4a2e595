//! The example, `tokenway.toml`, is valid, complete and correct.

use std::time::SystemTime;

use super::{EXAMPLE, Pieces};
use crate::config::Config;
use crate::config::file::File;
use crate::server::local_ca;
use settings::{Problems, document};
use tempfile::TempDir;

#[test]
fn the_example_is_good_and_says_what_the_reference_table_says() {
    let dir = TempDir::new().unwrap();
    local_ca::ensure(&dir.path().join("certs"), SystemTime::now()).unwrap();
    let env = |name: &str| (name == "GLOBAL_API_KEY").then(|| "sk-canary".to_owned());
    let config = Config::parse(EXAMPLE, dir.path(), &env).unwrap();
    assert_eq!(config.warnings, ["cors.origins is empty: every cross-origin page is refused"]);
    let table = config.models.models().iter().map(|model| {
        let price = |price: Option<crate::price::Price>| price.unwrap().to_string();
        let numbers = (price(model.input_price), price(model.output_price), model.context.unwrap());
        format!("{} {} {} {}", model.name, numbers.0, numbers.1, numbers.2)
    });
    assert_eq!(
        table.collect::<Vec<_>>(),
        [
            "deepseek-v4-flash 0.27 1.10 128000",
            "deepseek-v4-pro 0.55 2.20 200000",
            "qwen3-32b 0.30 1.20 32000",
            "glm-4-plus 0.20 0.80 128000",
            "gpt-4o 2.50 10.00 128000",
        ]
    );
    assert_eq!(config.upstreams[0].base.to_string(), "https://global-apis.com/v1");
    assert!(!format!("{config:?}").contains("canary"));
}

/// The lines of the example that must be written; everything else there is a default.
const NO_DEFAULT: [&str; 13] = [
    "name",
    "base_url",
    "api_key_env",
    "upstream",
    "input_price",
    "output_price",
    "context",
    "default",
    "[routing]",
    "[routing.auto]",
    "easy",
    "hard",
    "classifier",
];

#[test]
fn every_value_of_the_example_that_has_a_default_is_that_default() {
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let must = |line: &&str| line.starts_with("[[") || NO_DEFAULT.contains(&key(line).as_str());
    let short: Vec<&str> = EXAMPLE.lines().filter(must).collect();
    let mut problems = Problems::default();
    let (long, short) = (document::<File>(EXAMPLE, &mut problems), document(&short.join("\n"), &mut problems));
    assert_eq!(problems, Problems::default());
    assert_eq!(long, short);
}

/// The reader lists all known keys when a key is unknown.
#[test]
fn the_example_holds_every_key_that_there_is() {
    let unknown = Pieces {
        server: "ZZZZ = 1",
        upstream: "ZZZZ = 1",
        model: "ZZZZ = 1",
        rest: "[access]\nZZZZ = 1\n[cors]\nZZZZ = 1\n[stream]\nZZZZ = 1\n[resume]\nZZZZ = 1\n[routing]\nZZZZ = 1\n[routing.auto]\neasy = \"m\"\nhard = \"n\"\nmode = \"rules\"\nZZZZ = 1\n[[models]]\nname = \"n\"\nupstream = \"up\"\n[log]\nZZZZ = 1\n[cache]\nZZZZ = 1\n[redis]\nZZZZ = 1\n[cost]\nZZZZ = 1\n\
               [fallback]\nZZZZ = 1\n[fallback.hedge]\nZZZZ = 1\n[limits]\nZZZZ = 1\n[[limits.models]]\nname = \"m\"\nZZZZ = 1\n",
    };
    let problems = unknown.parse().unwrap_err().0;
    assert_eq!(problems.len(), 17);
    for problem in problems {
        for key in problem.mend.split_once("here are ").unwrap().1.split(", ") {
            let written = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            let is_section = ["[[limits.", "[fallback.", "[routing."]
                .iter()
                .any(|start| EXAMPLE.contains(&format!("{start}{key}]")));
            assert!(is_section || EXAMPLE.lines().any(written), "{key}");
        }
    }
}
