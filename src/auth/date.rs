//! Dates of the keys file: TOML's, in UTC, to seconds since the epoch and back. Pure.

use toml::value::{Date, Datetime, Offset, Time};

const DAY: i64 = 24 * 3600;
/// The last second of the year 9999: RFC 3339 writes four digits.
const LAST: u64 = 253_402_300_799;

/// Seconds since the epoch. A date alone is its first moment in UTC. `None` without a date, with a time whose offset is not
/// written, and before 1970.
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
    u64::try_from(days_from_civil(date) * DAY + time - offset).ok()
}

/// Such as `2026-11-22T19:00:00Z`.
pub(super) fn from_seconds(seconds: u64) -> Datetime {
    let seconds = seconds.min(LAST) as i64;
    let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let part = |value: i64| u8::try_from(value).unwrap_or_default();
    let time =
        Time { hour: part(rest / 3600), minute: part(rest / 60 % 60), second: Some(part(rest % 60)), nanosecond: None };
    Datetime { date: Some(civil_from_days(days)), time: Some(time), offset: Some(Offset::Z) }
}

/// Days since 1970-01-01 of the proleptic Gregorian calendar. The year begins in March here, so that the leap day is its
/// last; an era is 400 years, 146,097 days. (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".)
fn days_from_civil(date: &Date) -> i64 {
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    let year = i64::from(date.year) - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The reverse.
fn civil_from_days(days: i64) -> Date {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = (shifted + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    Date {
        year: u16::try_from(year).unwrap_or_default(),
        month: u8::try_from(month).unwrap_or_default(),
        day: u8::try_from(day_of_year - (153 * shifted + 2) / 5 + 1).unwrap_or_default(),
    }
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
        assert_eq!(from_seconds(1_795_366_800).to_string(), "2026-11-22T17:00:00Z");
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
            prop_assert_eq!(seconds(&from_seconds(at).to_string()), Some(at));
        }
    }
}
