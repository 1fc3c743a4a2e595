//! docs/PROVIDERS.md: every configuration in it can be used, and every fault that it names exists.

use std::collections::HashSet;
use std::path::Path;

use crate::config::Config;

const PAGE: &str = include_str!("../../../docs/PROVIDERS.md");

/// The blocks of this language.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let begin = format!("```{language}\n");
    PAGE.split("\n### ").flat_map(move |section| {
        let rest = section.split_once(&begin).map(|(_, rest)| rest);
        rest.and_then(|rest| rest.split_once("\n```")).map(|(block, _)| block)
    })
}

#[test]
fn the_configuration_of_each_provider_can_be_used() {
    let mut names = HashSet::new();
    for block in blocks("toml") {
        let text = format!("[server]\nplaintext = true\nhosts = [\"localhost\"]\n{block}");
        let env = |_: &str| Some("sk-of-a-test".to_owned());
        let config = Config::parse(&text, Path::new(""), &env).unwrap_or_else(|problems| panic!("{block}\n{problems}"));
        names.insert(config.upstreams[0].name.clone());
    }
    let known = [
        "openai",
        "azure",
        "anthropic",
        "gemini",
        "xai",
        "mistral",
        "deepseek",
        "moonshot",
        "groq",
        "openrouter",
        "together",
        "vllm",
        "sglang",
        "llama",
        "ollama",
        "lmstudio",
    ];
    assert_eq!(names, known.map(str::to_owned).into());
}

#[test]
fn every_fault_that_the_page_names_exists() {
    use clap::ValueEnum;
    let mut named = 0;
    for row in PAGE.lines().filter(|line| line.starts_with("| ")) {
        let Some(last) = row.trim_end_matches(" |").rsplit(" | ").next() else { continue };
        for fault in last.split(", ").filter_map(|cell| cell.strip_prefix('`')?.strip_suffix('`')) {
            if row.matches(" | ").count() == 3 {
                let name = fault.replace('-', "_");
                assert!(demo_upstream::Fault::from_str(&name, false).is_ok(), "{fault}");
                named += 1;
            }
        }
    }
    assert!(named > 20, "{named}");
}
