//! `tokenway.toml`, its JSON Schema and docs/CONFIG.md are generated from the declarations.

use std::path::Path;

use serde_json::{Value, json};
use settings::Table as _;
use settings::example::example;
use settings::markdown::markdown;

use super::EXAMPLE;
use super::validator::errors;
use crate::config::file::File;
use crate::config::schema;

const HEAD: &str = include_str!("head.toml");
const MODELS: &str = include_str!("models.toml");
const REFERENCE_HEAD: &str = include_str!("head.md");

/// Compares a file of the repository with its generated text. With the variable REGENERATE set, the file is written instead.
#[track_caller]
fn assert_generated(path: &str, generated: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(&file, generated).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = written.lines().zip(generated.lines()).position(|(written, generated)| written != generated);
    let line = differs.unwrap_or_else(|| written.lines().count().min(generated.lines().count()));
    assert!(
        written == generated,
        "{path} is not what the declarations say, from line {} on. Is: {:?}. To be: {:?}.\n\
         Regenerate it: REGENERATE=1 cargo test -p tokenway --lib config::tests::generated",
        line + 1,
        written.lines().nth(line),
        generated.lines().nth(line)
    );
}

#[test]
fn the_example_is_what_the_declarations_say() {
    let more = |path: &str| if path == "models" { MODELS } else { "" };
    assert_generated("tokenway.toml", &example(HEAD, File::DESCRIPTION, more));
}

#[test]
fn the_reference_is_what_the_declarations_say() {
    assert_generated("docs/CONFIG.md", &markdown(REFERENCE_HEAD, File::DESCRIPTION));
}

#[test]
fn the_schema_is_what_the_declarations_say() {
    assert_generated("tokenway.schema.json", &format!("{:#}\n", schema()));
}

/// A configuration as JSON, for the schema.
fn as_json(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

#[test]
fn the_schema_accepts_what_the_reader_accepts_and_refuses_the_rest() {
    let schema = schema();
    let everything = include_str!("../../cli/check/everything.toml");
    for good in [EXAMPLE, everything, include_str!("../development.toml")] {
        let mut value = as_json(good);
        if value.get("upstreams").is_none() {
            value["upstreams"] = json!([{ "name": "demo", "base_url": "http://127.0.0.1:1/v1" }]);
        }
        let errors = errors(&schema, &value, "");
        assert!(errors.is_empty(), "{errors:?}");
    }
    for (path, value) in [
        ("/server", json!({ "lisen": "127.0.0.1:1" })),
        ("/server", json!({ "listen": 8443 })),
        ("/server", json!({ "workers": 1025 })),
        ("/stream", json!({ "heartbeat": "15 s" })),
        ("/stream", json!({ "max_event": "1MB" })),
        ("/streams", json!({})),
        ("/redis", json!({ "budget": "1s" })),
        ("/log", json!({ "format": "xml" })),
        ("/upstreams", json!([])),
        ("/upstreams", json!([{ "name": "up" }])),
        ("/models", json!([{ "name": "auto", "upstream": "up" }])),
        ("/models", json!([{ "name": "m", "upstream": "up", "fallback": "cheap" }])),
        ("/limits", json!({ "models": [{ "burst": 1 }] })),
    ] {
        let mut changed = as_json(EXAMPLE);
        changed[&path[1..]] = value.clone();
        assert!(!errors(&schema, &changed, "").is_empty(), "{path} = {value}");
    }
}
