#![doc = include_str!("../README.md")]

use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// Reads a whole number and a unit: `500ms`, `15s`, `30m`, `2h`.
///
/// # Errors
/// What is wrong and what to write instead, in one line.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    // a command line needs no quotes around the value, unlike a TOML file
    settings::parse_duration(text).map_err(|mistake| format!("{}; {}", mistake.reason, mistake.mend.replace('"', "")))
}

/// A parser of values by their names, each with its help.
pub fn choice<T: Copy + Send + Sync + 'static, const N: usize>(
    values: [(T, &'static str, &'static str); N],
) -> impl TypedValueParser<Value = T> {
    let names = values.map(|(_, name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(names).try_map(move |written| {
        let known = values.iter().find(|(_, name, _)| *name == written);
        known.map(|(value, ..)| *value).ok_or("unknown value")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mistake_is_one_line_without_the_quotes_of_toml() {
        assert_eq!(parse_duration("1500ms"), Ok(Duration::from_millis(1500)));
        let message = parse_duration("5").unwrap_err();
        assert!(message.ends_with("; write a whole number and a unit, such as 15s, 1500ms, 30m or 2h"), "{message}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_in_one_line(text in "[0-9]{0,25}(ms|s|m|h|\\PC|\n){0,2}") {
            if let Err(message) = parse_duration(&text) {
                prop_assert!(!message.contains('\n'));
            }
        }
    }
}
