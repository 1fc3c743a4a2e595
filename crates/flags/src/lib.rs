#![doc = include_str!("../README.md")]

use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// Reads a whole number and a unit: `500ms`, `15s`, `30m`, `2h`.
///
/// # Errors
/// What is wrong and what to write instead, in one line.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    settings::parse_duration(text).map_err(|mistake| format!("{}; {}", mistake.reason, mistake.mend))
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
    fn a_duration_is_a_whole_number_and_a_unit() {
        for (text, millis) in
            [("0s", 0), ("500ms", 500), ("15s", 15_000), ("30m", 1_800_000), ("8784h", 31_622_400_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "ms", "-1s", "1.5s", "1 s", "1d", "8785h", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
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
