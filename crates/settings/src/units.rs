//! Durations and sizes as they are written in a file and on a command line. Pure.

use std::time::Duration;

use crate::problem::{Mistake, quoted};

const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const SIZE_UNITS: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Longer is surely a slip, and timers far beyond it could overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads a whole number and one unit: `15s`, `1500ms`, `30m`, `2h`, `0s`.
///
/// # Errors
/// What is wrong, and the mend.
pub fn parse_duration(text: &str) -> Result<Duration, Mistake> {
    let wrong = || {
        Mistake::new(
            format!("{} is not a duration", quoted(text)),
            "write a whole number and a unit, such as \"15s\", \"1500ms\", \"30m\" or \"2h\"",
        )
    };
    let (number, unit) = split_unit(text);
    let (_, millis) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    if number.is_empty() {
        return Err(wrong());
    }
    let too_long = || Mistake::new(format!("{} is too long", quoted(text)), "write at most \"8784h\" (a year)");
    let number: u64 = number.parse().map_err(|_| too_long())?;
    number.checked_mul(*millis).map(Duration::from_millis).filter(|d| *d <= LONGEST).ok_or_else(too_long)
}

/// Writes a duration of whole milliseconds so that [`parse_duration`] reads it back, in its largest unit.
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let fits = |unit: &&(&str, u64)| millis.is_multiple_of(u128::from(unit.1));
    match DURATION_UNITS.iter().rev().find(fits) {
        Some((unit, size)) if millis > 0 => format!("{}{unit}", millis / u128::from(*size)),
        _ => "0s".to_owned(),
    }
}

/// Reads a whole number and a binary unit: `512B`, `256KiB`, `4MiB`, `1GiB`.
///
/// # Errors
/// What is wrong, and the mend.
pub fn parse_size(text: &str) -> Result<usize, Mistake> {
    let wrong = |mend: String| Mistake::new(format!("{} is not a size", quoted(text)), mend);
    let (number, unit) = split_unit(text);
    let Some((_, size)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        let meant = SIZE_UNITS.iter().find(|(name, _)| {
            let letter = name.trim_end_matches("iB");
            !unit.is_empty() && [letter, &format!("{letter}B"), name].iter().any(|s| s.eq_ignore_ascii_case(unit))
        });
        return Err(wrong(match meant {
            Some((name, _)) if !number.is_empty() => format!("write \"{number}{name}\""),
            _ => "write bytes as a plain number, or a whole number and a unit, such as \"256KiB\" or \"4MiB\"".into(),
        }));
    };
    if number.is_empty() {
        return Err(wrong("write a whole number before the unit, such as \"4MiB\"".into()));
    }
    let too_large = || Mistake::new(format!("{} is too large", quoted(text)), "write a smaller size");
    number.parse::<usize>().ok().and_then(|n| n.checked_mul(*size)).ok_or_else(too_large)
}

/// Writes a size so that [`parse_size`] reads it back, in its largest unit.
pub fn format_size(bytes: usize) -> String {
    let fits = |unit: &&(&str, usize)| bytes > 0 && bytes.is_multiple_of(unit.1);
    match SIZE_UNITS.iter().find(fits) {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => "0B".to_owned(),
    }
}

/// Splits `15s` into its digits and the rest.
fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        for (text, millis) in [("0s", 0), ("1500ms", 1500), ("15s", 15_000), ("30m", 1_800_000), ("2h", 7_200_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "15", "s", "1.5s", "-1s", "15 s", "15S", "1h30m", "8785h", "99999999999999999999s", "１s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_a_whole_number_and_a_binary_unit() {
        for (text, bytes) in [("0B", 0), ("512B", 512), ("256KiB", 256 << 10), ("4MiB", 4 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "4", "MiB", "-1B", "1.5MiB", "4 MiB", "99999999999GiB", "99999999999999999999B"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_decimal_or_sloppy_unit_is_mended_to_the_binary_one() {
        for (text, mend) in
            [("4MB", "write \"4MiB\""), ("4mb", "write \"4MiB\""), ("4M", "write \"4MiB\""), ("2k", "write \"2KiB\"")]
        {
            assert_eq!(parse_size(text).unwrap_err().mend, mend);
        }
    }

    proptest! {
        #[test]
        fn any_duration_of_milliseconds_survives_its_own_spelling(millis in prop_oneof![0u64..100_000, 0u64..=31_622_400_000]) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn any_size_survives_its_own_spelling(number in 0usize..1 << 20, shift in 0u32..33) {
            prop_assert_eq!(parse_size(&format_size(number << shift)), Ok(number << shift));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}|[0-9]{0,22}[a-zA-Z]{0,3}") {
            if let Ok(duration) = parse_duration(&text) {
                prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            }
            if let Ok(size) = parse_size(&text) {
                prop_assert_eq!(parse_size(&format_size(size)), Ok(size));
            }
        }
    }
}
