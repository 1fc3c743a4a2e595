#![doc = include_str!("../README.md")]

use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// Longer is a typing error, and timers far beyond it could overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads a whole number and a unit: `500ms`, `15s`, `30m`, `2h`.
///
/// # Errors
/// What is wrong and what to write instead, in one line.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let shown: String = text.escape_debug().take(40).collect();
    if millis == 0 || number.is_empty() {
        return Err(format!(
            "`{shown}` is not a duration; write a whole number and a unit, such as 15s, 1500ms, 30m or 2h"
        ));
    }
    let duration = number.parse().ok().and_then(|number: u64| number.checked_mul(millis)).map(Duration::from_millis);
    let too_long = || format!("`{shown}` is too long; write at most 8784h (a year)");
    duration.filter(|duration| *duration <= LONGEST).ok_or_else(too_long)
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
