//! Readers of single values: durations, sizes, names, networks. Pure.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::problem::{Mistake, quoted};
use crate::price::Price;

/// A type that a TOML value can be read as.
pub(super) trait Value: Sized {
    /// Reads the value. A message may repeat what is written only where that can never be a secret.
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake>;
}

/// A type whose values can be held within bounds.
pub(super) trait Bounded: Value + PartialOrd + Copy {
    /// How the value is written in the file.
    fn show(self) -> String;
}

/// A number of bytes, written `"4MiB"` or as a plain integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) usize);

/// The name of a model or an upstream: it stands in headers, logs and metrics as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Name(pub(super) String);

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EnvName(pub(super) String);

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

/// Reads a network: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
pub(super) fn parse_network(text: &str) -> Result<ipnet::IpNet, Mistake> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: ipnet::IpNet = text.parse().map_err(|_| {
        Mistake::new(format!("{} is not a network", quoted(text)), "write it as \"10.0.0.0/8\" or as one IP address")
    })?;
    if network != network.trunc() {
        let reason = format!("{} has bits set beyond its prefix", quoted(text));
        return Err(Mistake::new(reason, format!("write \"{}\"", network.trunc())));
    }
    Ok(network)
}

/// Splits `15s` into its digits and the rest.
fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// What the value is, in words, for a value of the wrong type. Never its content.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn string<'v>(value: &'v DeValue<'_>, mend: &str) -> Result<&'v str, Mistake> {
    value.as_str().ok_or_else(|| Mistake::new(format!("must be a string, not {}", kind(value)), mend))
}

fn whole_number(value: &DeValue<'_>) -> Result<u64, Mistake> {
    let mend = "write a whole number, without quotes";
    let Some(integer) = value.as_integer() else {
        return Err(Mistake::new(format!("must be a whole number, not {}", kind(value)), mend));
    };
    // No legal value is near 2⁶⁴: what does not fit is negative or absurd.
    u64::from_str_radix(integer.as_str(), integer.radix())
        .map_err(|_| Mistake::new(format!("{} is out of range", quoted(&integer.to_string())), mend))
}

impl Value for bool {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        let wrong = || Mistake::new(format!("must be true or false, not {}", kind(value)), "write it without quotes");
        value.as_bool().ok_or_else(wrong)
    }
}

impl Value for String {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        string(value, "write it in quotes").map(str::to_owned)
    }
}

impl Value for PathBuf {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        string(value, "write the file's path in quotes").map(Self::from)
    }
}

impl Value for u64 {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        whole_number(value)
    }
}

impl Value for usize {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        let wrong = |_| Mistake::new("is too large a number", "write a smaller one");
        whole_number(value)?.try_into().map_err(wrong)
    }
}

impl Value for Duration {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        parse_duration(string(value, "write a number and a unit in quotes, such as \"15s\"")?)
    }
}

impl Value for Size {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        match value {
            DeValue::Integer(_) => usize::read(value).map(Size),
            _ => parse_size(string(value, "write it in quotes, such as \"4MiB\", or as a number of bytes")?).map(Size),
        }
    }
}

impl Value for SocketAddr {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        let mend = "write an IP address and a port, such as \"127.0.0.1:8443\" or \"[::]:8443\"";
        let text = string(value, mend)?;
        text.parse().map_err(|_| {
            let reason = format!("{} is not an address to listen on", quoted(text));
            match text.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
                Some(("", Ok(port))) => Mistake::new(reason, format!("write \"0.0.0.0:{port}\" for every address")),
                Some(("localhost", Ok(port))) => Mistake::new(reason, format!("write \"127.0.0.1:{port}\"")),
                _ => Mistake::new(reason, mend),
            }
        })
    }
}

impl Value for Price {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        let mend = "write US dollars per million tokens, such as 2.50";
        // The written digits, not a binary fraction: what the operator reads is what is charged.
        let decimal = match value {
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Float(float) if float.as_str().contains('.') => {
                float.as_str().trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            DeValue::Float(float) => float.as_str().to_owned(),
            _ => string(value, mend)?.to_owned(),
        };
        Price::parse(&decimal).map_err(|reason| Mistake::new(reason, mend))
    }
}

impl Value for Name {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        let mend = "write 1 to 128 visible ASCII characters without spaces: the name stands in headers and metrics";
        let text = string(value, "write the name in quotes")?;
        if text.is_empty() || text.len() > 128 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Mistake::new(format!("{} is no usable name", quoted(text)), mend));
        }
        // `auto` is the name for automatic choice; `other` is the metrics' label for all that is not configured.
        if ["auto", "other"].contains(&text) {
            return Err(Mistake::new(format!("{} is a reserved name", quoted(text)), "choose another name"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Value for EnvName {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        let mend = "write the variable's name, such as \"GLOBAL_API_KEY\", never the key itself";
        let text = string(value, mend)?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || !text.bytes().all(legal) {
            // Not shown: what is no variable name may be the key, pasted in the wrong place.
            return Err(Mistake::new("is not the name of an environment variable", mend));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<T: Value> Value for Option<T> {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        T::read(value).map(Some)
    }
}

impl Bounded for usize {
    fn show(self) -> String {
        self.to_string()
    }
}

impl Bounded for Duration {
    fn show(self) -> String {
        format_duration(self)
    }
}

impl Bounded for Size {
    fn show(self) -> String {
        format_size(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `text` as a TOML value, read as `T`.
    fn read<T: Value>(text: &str) -> Result<T, Mistake> {
        T::read(DeValue::parse(text).unwrap().get_ref())
    }

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
        assert_eq!(read::<Size>("4096").unwrap(), Size(4096));
        assert_eq!(read::<Size>("\"4KiB\"").unwrap(), Size(4096));
    }

    #[test]
    fn a_decimal_or_sloppy_unit_is_mended_to_the_binary_one() {
        for (text, mend) in
            [("4MB", "write \"4MiB\""), ("4mb", "write \"4MiB\""), ("4M", "write \"4MiB\""), ("2k", "write \"2KiB\"")]
        {
            assert_eq!(parse_size(text).unwrap_err().mend, mend);
        }
    }

    #[test]
    fn a_price_is_charged_as_it_is_written() {
        let price = |text| read::<Price>(text).map(|price| price.to_string());
        for (text, shown) in
            [("2.50", "2.50"), ("10", "10.00"), ("\"0.27\"", "0.27"), ("0.100000000", "0.10"), ("1_000.0", "1000.00")]
        {
            assert_eq!(price(text), Ok(shown.to_owned()), "{text}");
        }
        for bad in ["-1.0", "1e3", "nan", "inf", "0.0000001", "true", "0x10", "[1]"] {
            assert!(price(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_without_a_host_is_mended() {
        let mend = |text| read::<SocketAddr>(text).unwrap_err().mend;
        assert!(mend("\":8443\"").contains("0.0.0.0:8443"));
        assert!(mend("\"localhost:8443\"").contains("\"127.0.0.1:8443\""));
        assert!(mend("\"example.com\"").contains("an IP address and a port"));
    }

    #[test]
    fn networks_are_written_with_their_own_bits_only() {
        assert_eq!(parse_network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(parse_network("192.0.2.1").unwrap().to_string(), "192.0.2.1/32");
        assert_eq!(parse_network("::1").unwrap().to_string(), "::1/128");
        assert_eq!(parse_network("10.0.0.1/8").unwrap_err().mend, "write \"10.0.0.0/8\"");
        for bad in ["", "10.0.0.0/33", "10.0.0", "example.com", "10.0.0.0/"] {
            assert!(parse_network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_fit_for_headers_and_labels() {
        assert!(read::<Name>("\"meta-llama/Llama-3.1:free\"").is_ok());
        for bad in ["\"\"", "\"a b\"", "\"ä\"", "\"a\\nb\"", "\"auto\"", "\"other\"", "5"] {
            assert!(read::<Name>(bad).is_err(), "{bad}");
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
            let _read_or_refused = parse_network(&text);
        }
    }
}
