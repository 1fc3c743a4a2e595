//! Dates of the keys file: TOML's date-times in UTC, to seconds since 1970-01-01 and back. Pure.

use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, Month, OffsetDateTime};
use toml::value::{Datetime, Offset};

/// The last second of the year 9999: RFC 3339 writes four digits.
const LAST: u64 = 253_402_300_799;

/// Seconds since 1970-01-01. A date alone is its first moment in UTC. Returns `None` without a date, for a time without an
/// offset, and for a time before 1970.
pub(super) fn to_seconds(datetime: &Datetime) -> Option<u64> {
    let date = datetime.date.as_ref()?;
    let (time, offset) = match (&datetime.time, &datetime.offset) {
        (None, None) => (0, 0),
        (Some(time), Some(offset)) => {
            let seconds =
                i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0));
            let minutes = match offset {
                Offset::Z => 0,
                Offset::Custom { minutes } => i64::from(*minutes),
            };
            (seconds, minutes * 60)
        }
        _ => return None,
    };
    let month = Month::try_from(date.month).ok()?;
    let midnight = Date::from_calendar_date(date.year.into(), month, date.day).ok()?.midnight().assume_utc();
    u64::try_from(midnight.unix_timestamp() + time - offset).ok()
}

/// The RFC 3339 form of a time in seconds since 1970-01-01, such as `2026-11-22T19:00:00Z`; at most the year 9999.
pub(super) fn from_seconds(seconds: u64) -> String {
    let at = OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds.min(LAST) as i64);
    // every year up to 9999 has this form
    at.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        to_seconds(&text.parse().unwrap())
    }

    #[test]
    fn known_dates_are_known_seconds() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-22", 1_795_305_600),
            ("2026-11-22T19:00:00+02:00", 1_795_366_800),
            ("9999-12-31T23:59:59Z", LAST),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        assert_eq!(from_seconds(1_795_366_800), "2026-11-22T17:00:00Z");
        assert_eq!(from_seconds(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn a_time_of_an_unknown_zone_is_no_time() {
        for text in ["2026-11-22T19:00:00", "19:00:00", "1969-12-31"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_second_survives_its_own_spelling(at in 0..=LAST) {
            prop_assert_eq!(seconds(&from_seconds(at)), Some(at));
        }
    }
}
