//! The keys file: `[[keys]]` in TOML. Changes leave the operator's text as it is. Pure.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use super::caller::{Allowance, Terms};
use super::date;
use super::key::KeyHash;
use super::keyring::KeyRecord;
use crate::price::Cost;

/// Names that are metric labels of other callers.
const RESERVED: [&str; 5] = ["token", "session", "anonymous", "operator", "other"];
/// The length of the longest name.
const MAX_NAME: usize = 64;

/// A mistake in a keys file. It never shows the file's text, which may be a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The line, from 1.
    pub line: usize,
    /// The mistake, as a clause.
    pub reason: String,
    /// The correction, as an imperative clause.
    pub mend: &'static str,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; {}", self.line, self.reason, self.mend)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    keys: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    sha256: Spanned<String>,
    /// A comment for people.
    #[serde(rename = "created")]
    _created: Option<Datetime>,
    expires: Option<Spanned<Datetime>>,
    revoked: Option<Spanned<Datetime>>,
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
    concurrent_streams: Option<u64>,
    budget_per_day: Option<Spanned<f64>>,
    models: Option<Vec<String>>,
}

/// Reads every key of the file.
///
/// # Errors
/// All mistakes, in the order of the file; only the first one if the file is not TOML.
pub fn parse(text: &str) -> Result<Vec<KeyRecord>, Vec<Flaw>> {
    let entries = entries(text).map_err(|flaw| vec![flaw])?;
    let mut flaws = Vec::new();
    let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
    let mut records = Vec::with_capacity(entries.len());
    for entry in &entries {
        let line = |offset| line_of(text, offset);
        let mut flaw =
            |offset, reason: &str, mend| flaws.push(Flaw { line: line(offset), reason: reason.into(), mend });
        let name = entry.name.get_ref().as_str();
        if let Err(reason) = check_name(name) {
            flaw(entry.name.span().start, reason, "give the key another name");
        } else if !names.insert(name) {
            flaw(entry.name.span().start, "two keys have this name", "give one of them another name");
        }
        let hash = KeyHash::parse(entry.sha256.get_ref());
        match hash {
            None => flaw(
                entry.sha256.span().start,
                "`sha256` is not 64 hexadecimal digits",
                "let `tokenway key new` write it; revoke the key that is here in clear text",
            ),
            Some(hash) if !hashes.insert(hash) => {
                flaw(entry.sha256.span().start, "two names have this key", "keep one of the two");
            }
            Some(_) => {}
        }
        let mut time = |written: Option<&Spanned<Datetime>>| {
            let written = written?;
            let seconds = date::to_seconds(written.get_ref());
            if seconds.is_none() {
                flaw(
                    written.span().start,
                    "is a time without a zone",
                    "write it in UTC: 2027-01-31T12:00:00Z, or 2027-01-31",
                );
            }
            seconds
        };
        let (expires, revoked) = (time(entry.expires.as_ref()), time(entry.revoked.as_ref()));
        let budget_per_day = entry.budget_per_day.as_ref().and_then(|dollars| {
            // the shortest decimal of this number, which is what the operator wrote
            let budget = Cost::parse(&dollars.get_ref().to_string()).ok();
            if budget.is_none() {
                flaw(dollars.span().start, "`budget_per_day` is no amount", "write dollars, such as 5.00");
            }
            budget
        });
        let allowance = Allowance {
            requests_per_minute: entry.requests_per_minute,
            tokens_per_minute: entry.tokens_per_minute,
            concurrent_streams: entry.concurrent_streams,
            budget_per_day,
        };
        let terms = Terms { allowance, models: entry.models.clone().map(Into::into) };
        let hash = hash.unwrap_or(KeyHash([0; 32]));
        records.push(KeyRecord { name: name.into(), hash, expires, revoked, terms });
    }
    if flaws.is_empty() { Ok(records) } else { Err(flaws) }
}

/// Checks the name of a key, which is in logs and metrics.
///
/// # Errors
/// The mistake, as a clause.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !matches!(name.len(), 1..=MAX_NAME) || !name.bytes().all(harmless) {
        Err("a key's name is 1 to 64 letters, digits and `._-`")
    } else if RESERVED.contains(&name) {
        Err("`token`, `session`, `anonymous`, `operator` and `other` are names of other callers")
    } else {
        Ok(())
    }
}

/// Reads a time of the file, in seconds since the epoch: `2027-01-31T12:00:00Z`, `2027-01-31`.
pub fn parse_time(text: &str) -> Option<u64> {
    date::to_seconds(&text.parse().ok()?)
}

/// Writes a time, in seconds since the epoch, in the form of the file.
pub fn format_time(seconds: u64) -> String {
    date::from_seconds(seconds)
}

/// Returns the file with one more key at its end, created at `created`.
pub fn with_key(text: &str, record: &KeyRecord, created: u64) -> String {
    let mut whole = text.trim_end().to_owned();
    if !whole.is_empty() {
        whole.push_str("\n\n");
    }
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut line = |key: &str, value: String| whole.push_str(&format!("{key} = {value}\n"));
    line("[[keys]]\nname", quoted(&record.name));
    line("sha256", quoted(&record.hash.to_string()));
    line("created", date::from_seconds(created));
    if let Some(expires) = record.expires {
        line("expires", date::from_seconds(expires));
    }
    let allowance = record.terms.allowance;
    for (key, value) in [
        ("requests_per_minute", allowance.requests_per_minute),
        ("tokens_per_minute", allowance.tokens_per_minute),
        ("concurrent_streams", allowance.concurrent_streams),
    ] {
        value.into_iter().for_each(|value| line(key, value.to_string()));
    }
    if let Some(budget) = allowance.budget_per_day {
        line("budget_per_day", budget.short());
    }
    if let Some(models) = &record.terms.models {
        let models: Vec<String> = models.iter().map(|model| quoted(model)).collect();
        line("models", format!("[{}]", models.join(", ")));
    }
    whole
}

/// Returns the file with this key revoked at `now`: one more line.
///
/// # Errors
/// The key is revoked already, or its table cannot take a further line.
pub fn with_revoked(text: &str, name: &str, now: u64) -> Result<Option<String>, Flaw> {
    let entries = entries(text)?;
    let Some(entry) = entries.iter().find(|entry| entry.name.get_ref() == name) else { return Ok(None) };
    let span = entry.sha256.span();
    if let Some(revoked) = &entry.revoked {
        let line = line_of(text, revoked.span().start);
        return Err(Flaw { line, reason: "the key is revoked already".into(), mend: "nothing is to be done" });
    }
    let end = text[span.end..].find('\n').map_or(text.len(), |after| span.end + after);
    let changed = format!("{}\nrevoked = {}{}", &text[..end], date::from_seconds(now), &text[end..]);
    let is_revoked = |record: &KeyRecord| &*record.name == name && record.revoked == Some(now);
    match parse(&changed) {
        Ok(records) if records.iter().any(is_revoked) => Ok(Some(changed)),
        _ => Err(Flaw {
            line: line_of(text, span.start),
            reason: "the key's entry takes no further line".into(),
            mend: "write `revoked` and a time into it by hand, or remove it",
        }),
    }
}

fn entries(text: &str) -> Result<Vec<Entry>, Flaw> {
    let file: File = toml::from_str(text).map_err(|error| Flaw {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        reason: "is no entry of a keys file".into(),
        mend: "each [[keys]] has name and sha256 in quotes, and may have created, expires, revoked, requests_per_minute, \
               tokens_per_minute, concurrent_streams and models",
    })?;
    Ok(file.keys)
}

/// Returns the line, from 1, of a byte offset.
fn line_of(text: &str, offset: usize) -> usize {
    memchr::memchr_iter(b'\n', &text.as_bytes()[..offset.min(text.len())]).count() + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::Key;
    use super::*;

    const NOW: u64 = 1_795_366_800;

    fn record(name: &str, number: u8) -> KeyRecord {
        let hash = Key::from_random([number; 32]).hash();
        KeyRecord { name: name.into(), hash, expires: None, revoked: None, terms: Terms::default() }
    }

    fn flaws(text: &str) -> Vec<(usize, String)> {
        parse(text).unwrap_err().into_iter().map(|flaw| (flaw.line, flaw.reason)).collect()
    }

    #[test]
    fn a_file_that_was_written_is_read_and_comments_stay() {
        let mut full = record("full", 2);
        full.expires = Some(NOW + 60);
        full.terms = Terms {
            allowance: Allowance {
                requests_per_minute: Some(6),
                tokens_per_minute: Some(0),
                concurrent_streams: Some(2),
                budget_per_day: Cost::parse("1.5").ok(),
            },
            models: Some(vec!["a \"quoted\" one".to_owned(), "b".to_owned()].into()),
        };
        let text = with_key("# mine\n", &record("plain", 1), NOW);
        let text = with_key(&text, &full, NOW);
        assert_eq!(parse(&text).unwrap(), [record("plain", 1), full.clone()]);
        let revoked = with_revoked(&text, "plain", NOW).unwrap().unwrap();
        let expected = KeyRecord { revoked: Some(NOW), ..record("plain", 1) };
        assert_eq!(parse(&revoked).unwrap(), [expected, full]);
        assert!(revoked.starts_with("# mine\n\n[[keys]]\nname = \"plain\"\n"), "{revoked}");
        assert!(with_revoked(&revoked, "plain", NOW).unwrap_err().reason.contains("already"));
        assert_eq!(with_revoked(&revoked, "absent", NOW).unwrap(), None);
    }

    #[test]
    fn an_entry_on_one_line_is_left_to_its_writer() {
        let hash = record("a", 1).hash;
        let text = format!("keys = [{{ name = \"a\", sha256 = \"{hash}\" }}]\n");
        assert_eq!(parse(&text).unwrap(), [record("a", 1)]);
        // a line may be added if TOML allows it; the file must never be broken
        if let Ok(Some(changed)) = with_revoked(&text, "a", NOW) {
            assert_eq!(parse(&changed).unwrap()[0].revoked, Some(NOW));
        }
    }

    #[test]
    fn every_flaw_is_reported_with_its_line_and_never_shows_the_text() {
        let hash = record("a", 1).hash;
        let entry = |name: &str, sha256: &str| format!("[[keys]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\n");
        let two = entry("a b", "tw_canary") + &entry("ok", &hash.to_string()) + &entry("ok", &hash.to_string());
        let found = flaws(&two);
        let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 8, 9], "{found:?}");
        for bad in [
            "keys = 5",
            "[[keys]]\nname = \"a\"",
            "[[keys]]\nname = \"a\"\nsha256 = 5",
            "[[keys]]\nnam = \"tw_canary\"",
            "x",
            &(entry("a", &hash.to_string()) + "requests_per_minute = \"tw_canary\""),
            &(entry("a", &hash.to_string()) + "limit = 5"),
            &(entry("a", &hash.to_string()) + "expires = 2027-01-01T00:00:00"),
            &(entry("a", &hash.to_string()) + "budget_per_day = -5.0"),
            &entry("session", &hash.to_string()),
        ] {
            let found = parse(bad).unwrap_err();
            assert_eq!(found.len(), 1, "{bad}: {found:?}");
            assert!(!found[0].to_string().contains("canary"), "{found:?}");
        }
        assert_eq!(parse("").unwrap(), []);
    }

    proptest! {
        #[test]
        fn any_set_of_keys_survives_the_file(
            keys in prop::collection::btree_map("[a-z0-9._-]{1,12}", (any::<u8>(), prop::option::of(0..4_000_000_000u64), prop::option::of(0..1u64 << 62), prop::option::of(prop::collection::vec("\\PC{0,9}", 0..3))), 0..6),
            revoke in any::<prop::sample::Index>(),
        ) {
            let mut records: Vec<KeyRecord> = Vec::new();
            for (name, (number, expires, rpm, models)) in keys {
                prop_assume!(check_name(&name).is_ok() && records.iter().all(|other| other.hash != record("", number).hash));
                let allowance = Allowance { requests_per_minute: rpm, ..Allowance::default() };
                let terms = Terms { allowance, models: models.map(Into::into) };
                records.push(KeyRecord { expires, terms, ..record(&name, number) });
            }
            let mut text = records.iter().fold(String::new(), |text, record| with_key(&text, record, NOW));
            prop_assert_eq!(parse(&text).unwrap(), records.clone());
            if !records.is_empty() {
                let chosen = revoke.index(records.len());
                text = with_revoked(&text, &records[chosen].name, NOW).unwrap().unwrap();
                records[chosen].revoked = Some(NOW);
                prop_assert_eq!(parse(&text).unwrap(), records);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}|(\\[\\[keys\\]\\]\\n|name = \"a\"\\n|sha256 = \"b\"\\n|expires = 2027-01-01\\n){0,6}") {
            let _no_panic = parse(&text);
            let _no_panic = with_revoked(&text, "a", NOW);
        }
    }
}
