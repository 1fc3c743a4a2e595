//! Appends times, numbers and strings to a line of the log. Pure.

use std::fmt::Write;
use std::time::Duration;

use time::OffsetDateTime;

/// The largest number of fifteen digits. Two decimals of at most fifteen digits are never the same `f64` (C11 §5.2.4.2.2,
/// `DBL_DIG`).
const EXACT: u64 = 999_999_999_999_999;

/// Appends a time since 1970-01-01 as UTC with microseconds, such as `2026-11-22T17:00:00.000000Z`. Returns `None` after the
/// year 9999.
pub(super) fn timestamp(line: &mut String, since: Duration) -> Option<()> {
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(since.as_secs()).ok()?).ok()?;
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    digits(&mut text[..4], u32::try_from(year).ok()?);
    digits(&mut text[5..7], u8::from(month).into());
    digits(&mut text[8..10], day.into());
    digits(&mut text[11..13], hour.into());
    digits(&mut text[14..16], minute.into());
    digits(&mut text[17..19], second.into());
    digits(&mut text[20..26], since.subsec_micros());
    line.push_str(str::from_utf8(&text).ok()?);
    Some(())
}

/// Fills these places with the decimal digits of a number.
fn digits(places: &mut [u8], mut number: u32) {
    for place in places.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Appends an integer.
pub(super) fn integer(line: &mut String, number: impl itoa::Integer) {
    line.push_str(itoa::Buffer::new().format(number));
}

/// Appends a number that has at most three digits after the point, as `Debug` and JSON write it: `1.0`, `0.25`. Returns `None`
/// and appends nothing for any other number.
pub(super) fn thousandths(line: &mut String, number: f64) -> Option<()> {
    // the cast saturates: negative numbers and NaN become 0
    let thousandths = (number * 1000.0 + 0.5) as u64;
    // `Debug` writes the shortest decimal of the number; with at most fifteen digits there is only this one
    let is_all = thousandths <= EXACT && thousandths as f64 / 1000.0 == number && number.is_sign_positive();
    is_all.then(|| {
        integer(line, thousandths / 1000);
        let mut fraction = *b".000";
        digits(&mut fraction[1..], (thousandths % 1000) as u32);
        let zeros = fraction[2..].iter().rev().take_while(|digit| **digit == b'0').count();
        fraction[..4 - zeros].iter().for_each(|digit| line.push(char::from(*digit)));
    })
}

/// Appends a string in quotes as `Debug` writes it.
pub(super) fn quoted(line: &mut String, text: &str) {
    if needs_no_debug_escape(text) {
        line.push('"');
        line.push_str(text);
        line.push('"');
    } else {
        let _ = write!(line, "{text:?}");
    }
}

/// Appends a JSON string (RFC 8259 §7).
pub(super) fn json_string(line: &mut String, text: &str) {
    if needs_no_json_escape(text) {
        line.push('"');
        line.push_str(text);
        line.push('"');
    } else {
        line.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Whether a string has only printable ASCII characters without `"` and `\`: `Debug` escapes none of these.
fn needs_no_debug_escape(text: &str) -> bool {
    // without an early exit the compiler checks sixteen bytes at once
    text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\'))
}

/// The same for JSON, which escapes only `"`, `\` and control characters.
pub(super) fn needs_no_json_escape(text: &str) -> bool {
    text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::format_description::well_known::Rfc3339;
    use tracing_subscriber::fmt::format::Writer;
    use tracing_subscriber::fmt::time::FormatTime;

    use super::*;

    fn written(write: impl FnOnce(&mut String) -> Option<()>) -> Option<String> {
        let mut line = String::new();
        write(&mut line).map(|()| line)
    }

    fn stamp(seconds: u64, micros: u32) -> Option<String> {
        written(|line| timestamp(line, Duration::new(seconds, micros * 1000 + 999)))
    }

    #[test]
    fn known_times_are_written_to_the_microsecond() {
        for (seconds, micros, expected) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_825_600, 5, "2000-02-29T12:00:00.000005Z"),
            (1_795_366_800, 123_456, "2026-11-22T17:00:00.123456Z"),
            (253_402_300_799, 999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(stamp(seconds, micros).as_deref(), Some(expected));
        }
        assert_eq!(stamp(253_402_300_800, 0), None);
    }

    #[test]
    fn the_clock_of_tracing_subscriber_writes_the_same() {
        let mut now = String::new();
        tracing_subscriber::fmt::time::SystemTime.format_time(&mut Writer::new(&mut now)).unwrap();
        let at = OffsetDateTime::parse(&now, &Rfc3339).unwrap();
        assert_eq!(stamp(at.unix_timestamp() as u64, at.microsecond()), Some(now));
    }

    #[test]
    fn other_numbers_append_nothing() {
        for number in [-0.0, -1.0, 0.0005, 1.0 / 3.0, 1e12, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(written(|line| thousandths(line, number)), None, "{number}");
        }
        assert_eq!(written(|line| thousandths(line, 0.0)).as_deref(), Some("0.0"));
        assert_eq!(written(|line| thousandths(line, 999_999_999_999.999)).as_deref(), Some("999999999999.999"));
    }

    proptest! {
        #[test]
        fn what_is_written_of_a_number_is_what_debug_and_json_write(number: f64, count in 0u64..2 * EXACT, by in 1u32..2000) {
            for number in [number, count as f64, count as f64 / 1000.0, count as f64 / 1e9, f64::from(by) / 1000.0] {
                if let Some(text) = written(|line| thousandths(line, number)) {
                    prop_assert_eq!(&text, &format!("{number:?}"));
                    prop_assert_eq!(&text, &serde_json::to_string(&number).unwrap());
                }
            }
            prop_assert!(written(|line| thousandths(line, f64::from(by) / 1000.0)).is_some());
        }

        #[test]
        fn text_is_quoted_as_debug_and_json_do(text in ".*", plain in "[ -~]*") {
            for text in [text, plain] {
                let (mut debug, mut json) = (String::new(), String::new());
                quoted(&mut debug, &text);
                json_string(&mut json, &text);
                prop_assert_eq!(debug, format!("{text:?}"));
                prop_assert_eq!(json, serde_json::to_string(&text).unwrap());
            }
        }
    }
}
