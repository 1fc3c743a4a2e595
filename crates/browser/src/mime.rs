//! The essence and the charset of a MIME type (MIME Sniffing §4.4, "parse a MIME type"). Pure.

use super::head::is_token_byte;

/// The essence of a `Content-Type`, `type/subtype` in lower case; `None` if it is no MIME type. Parameters are ignored.
pub fn essence(value: &[u8]) -> Option<String> {
    let value = trimmed(value);
    let slash = value.iter().position(|b| *b == b'/')?;
    let (kind, rest) = (&value[..slash], &value[slash + 1..]);
    let subtype = rest.split(|b| *b == b';').next().map(trimmed_end)?;
    let is_token = |part: &[u8]| !part.is_empty() && part.iter().copied().all(is_token_byte);
    if !is_token(kind) || !is_token(subtype) {
        return None;
    }
    let essence = [kind, b"/", subtype].concat().to_ascii_lowercase();
    String::from_utf8(essence).ok()
}

/// The value of the parameter `charset`, in lower case and without quotes: the first one that is not empty.
pub fn charset(value: &[u8]) -> Option<String> {
    let mut parameters = value.split(|b| *b == b';').skip(1);
    parameters.find_map(|parameter| {
        let parameter = trimmed(parameter);
        let equals = parameter.iter().position(|b| *b == b'=')?;
        let (name, value) = (&parameter[..equals], &parameter[equals + 1..]);
        let unquoted = value.strip_prefix(b"\"").map_or(value, |rest| rest.strip_suffix(b"\"").unwrap_or(rest));
        let is_charset = name.eq_ignore_ascii_case(b"charset") && !unquoted.is_empty();
        is_charset.then(|| String::from_utf8_lossy(unquoted).to_ascii_lowercase())
    })
}

/// HTTP whitespace: tab, space, carriage return, line feed.
fn is_blank(b: u8) -> bool {
    matches!(b, b'\t' | b' ' | b'\r' | b'\n')
}

fn trimmed_end(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|b| !is_blank(*b)).map_or(0, |last| last + 1);
    &value[..end]
}

fn trimmed(value: &[u8]) -> &[u8] {
    let value = trimmed_end(value);
    let start = value.iter().position(|b| !is_blank(*b)).unwrap_or(value.len());
    &value[start..]
}
