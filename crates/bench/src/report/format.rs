//! Numbers, sizes, durations and dates as text. Pure.

use time::OffsetDateTime;

/// Milliseconds with three or four digits, at most to the microsecond: `0.041`, `4.12`, `41.2`, `412.4`, `41235`.
pub fn ms(value: f64) -> String {
    match value.abs() {
        small if small < 0.9995 => format!("{value:.3}"),
        small if small < 9.995 => format!("{value:.2}"),
        middle if middle < 999.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A rate or another number, with three digits or all digits before the point.
pub fn number(value: f64) -> String {
    match value.abs() {
        small if small < 9.995 => format!("{value:.2}"),
        middle if middle < 99.95 => format!("{value:.1}"),
        _ => thousands(value.round()),
    }
}

/// A whole number with commas between groups of three.
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0.0 {
        grouped.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `8` or `8.5`.
pub fn whole_or_tenth(value: f64) -> String {
    let tenths = format!("{value:.1}");
    tenths.strip_suffix(".0").map_or(tenths.clone(), str::to_owned)
}

/// A size in bytes or KiB.
pub fn bytes(value: f64) -> String {
    match value {
        small if small < 1023.5 => format!("{small:.0} bytes"),
        value => format!("{} KiB", whole_or_tenth(value / 1024.0)),
    }
}

/// A duration: `0.8 s`, `12 s`, `3 min 20 s`.
pub fn seconds(value: f64) -> String {
    match value {
        short if short < 9.95 => format!("{short:.1} s"),
        short if short < 119.5 => format!("{short:.0} s"),
        long => {
            let whole = long.round() as u64;
            format!("{} min {} s", whole / 60, whole % 60)
        }
    }
}

/// A count and its noun: `1 stream`, `2 streams`.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count as f64), if count == 1 { one } else { many })
}

/// Seconds since 1970-01-01 UTC as `2026-11-22 19:30`; the number itself beyond the year 9999.
pub fn date_time(unix: u64) -> String {
    let date = i64::try_from(unix).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    date.map_or_else(
        || unix.to_string(),
        |date| {
            let (year, month, day) = date.to_calendar_date();
            format!("{year:04}-{:02}-{day:02} {:02}:{:02}", u8::from(month), date.hour(), date.minute())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_readable_number_of_digits() {
        let shown: Vec<_> = [0.0, 0.0414, 0.9996, 4.125, 9.996, 41.24, 99.96, 412.4, 41_235.0].map(ms).into();
        assert_eq!(shown, ["0.000", "0.041", "1.00", "4.12", "10.0", "41.2", "100.0", "412.4", "41235"]);
        let shown: Vec<_> = [0.0, 3.456, 34.56, 345.6, 34_567.8, 3_456_789.0].map(number).into();
        assert_eq!(shown, ["0.00", "3.46", "34.6", "346", "34,568", "3,456,789"]);
        assert_eq!((ms(-0.41), thousands(-1234.0)), ("-0.410".to_owned(), "-1,234".to_owned()));
        assert_eq!(
            (bytes(512.0), bytes(4096.0), bytes(10_000.0)),
            ("512 bytes".into(), "4 KiB".into(), "9.8 KiB".into())
        );
        assert_eq!(
            (seconds(0.84), seconds(12.3), seconds(200.4)),
            ("0.8 s".into(), "12 s".into(), "3 min 20 s".into())
        );
        assert_eq!(
            (plural(1, "stream", "streams"), plural(0, "stream", "streams")),
            ("1 stream".into(), "0 streams".into())
        );
    }

    #[test]
    fn seconds_since_1970_are_a_date() {
        let shown: Vec<_> = [0, 951_782_400, 1_709_164_799, 1_700_000_000, 4_102_444_800].map(date_time).into();
        assert_eq!(
            shown,
            ["1970-01-01 00:00", "2000-02-29 00:00", "2024-02-28 23:59", "2023-11-14 22:13", "2100-01-01 00:00"]
        );
    }
}
