//! `[routing.auto]`.

use std::time::Duration;

use super::{Pieces, assert_problem};
use crate::models::ModelId;
use crate::routing::auto::{Classifier, Mode};

/// With a second model, `n`.
fn with(auto: &str) -> String {
    format!("[[models]]\nname = \"n\"\nupstream = \"up\"\n[routing.auto]\neasy = \"m\"\nhard = \"n\"\n{auto}")
}

#[test]
fn the_default_mode_is_speculative() {
    let classifier = |auto: &str| {
        let auto = Pieces { rest: &with(auto), ..Pieces::default() }.parse().unwrap().auto.unwrap();
        assert_eq!((auto.easy, auto.hard, auto.is_default), (ModelId(0), ModelId(1), false));
        assert_eq!(auto.asks(), auto.classifier.filter(|_| auto.mode != Mode::Rules));
        (auto.mode, auto.classifier)
    };
    let by = |ms| Some(Classifier { model: ModelId(0), timeout: Duration::from_millis(ms) });
    assert_eq!(classifier("classifier = \"m\""), (Mode::Speculative, by(1500)));
    assert_eq!(classifier("classifier = \"m\"\nmode = \"first\"\ntimeout = \"300ms\""), (Mode::First, by(300)));
    assert_eq!(classifier("mode = \"rules\""), (Mode::Rules, None));
    assert_eq!(classifier("classifier = \"m\"\nmode = \"rules\""), (Mode::Rules, by(1500)));
}

#[test]
fn it_may_be_the_default() {
    let rest = with("mode = \"rules\"\n[routing]\ndefault = \"auto\"");
    let config = Pieces { rest: &rest, ..Pieces::default() }.parse().unwrap();
    assert!(config.auto.unwrap().is_default);
    assert_eq!(config.models.find(None), None);
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    for (auto, key, words) in [
        ("", "routing.auto.classifier", "is missing"),
        ("classifier = \"x\"", "routing.auto.classifier", "no model has the name `x`"),
        ("classifier = \"x\"\nmode = \"rules\"", "routing.auto.classifier", "no model has the name `x`"),
        ("classifier = \"m\"\nmode = \"fast\"", "routing.auto.mode", "\"speculative\", \"first\" or \"rules\""),
        ("classifier = \"m\"\ntimeout = \"0s\"", "routing.auto.timeout", "from 1ms to 1m"),
        ("classifier = \"m\"\nkeywords_hard = [\"contract\", \" \"]", "routing.auto.keywords_hard[1]", "is empty"),
        ("classifier = \"m\"\nkeyword = 1", "routing.auto.keyword", "is no known key"),
    ] {
        assert_problem(&Pieces { rest: &with(auto), ..Pieces::default() }, key, words);
    }
    let many = vec!["\"w\""; 201].join(",");
    let rest = with(&format!("mode = \"rules\"\nkeywords_easy = [{many}]"));
    assert_problem(&Pieces { rest: &rest, ..Pieces::default() }, "routing.auto.keywords_easy", "more than 200");
}
