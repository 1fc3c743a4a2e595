//! Splits a command line into words as bash does: `shlex`, and the `$'…'` quoting that browsers use and `shlex` does not know.
//! Pure.

/// Splits a line into words.
///
/// # Errors
/// An open quote, or a line of another shell, in one line.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    if line.contains("^\"") || line.contains(" ^\n") || line.contains(" ^\r\n") {
        return Err("this is the form for the Windows command prompt: copy it as cURL (bash)".to_owned());
    }
    let plain = without_ansi_c(&line.replace("\\\r\n", "\\\n"))?;
    shlex::split(&plain).ok_or_else(|| "a quote is opened and never closed: paste the whole line".to_owned())
}

/// Rewrites each `$'…'` in POSIX quoting.
fn without_ansi_c(line: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '\'' => 1 + rest[1..].find('\'').map_or(rest.len() - 1, |end| end + 1),
            '"' => double_quoted(rest),
            // a continued line, of which shlex would make a word
            '\\' if rest.starts_with("\\\n") => {
                rest = &rest[2..];
                continue;
            }
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '$' if rest.starts_with("$'") => {
                let (text, length) = ansi_c(&rest[2..])?;
                plain.push_str(&shlex::try_quote(&text).map_err(|_| "a request cannot contain a NUL byte".to_owned())?);
                rest = &rest[2 + length..];
                continue;
            }
            other => other.len_utf8(),
        };
        plain.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    Ok(plain)
}

/// The length of a double-quoted string with its quotes; up to the end if it is not closed.
fn double_quoted(text: &str) -> usize {
    let mut escaped = true; // the opening quote closes nothing
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    text.len()
}

/// The text between `$'` and `'` (bash, "ANSI-C Quoting"), and its length with the closing quote.
fn ansi_c(text: &str) -> Result<(String, usize), String> {
    let open = || "a $'…' is opened and never closed: paste the whole line".to_owned();
    let mut bytes = Vec::new();
    let mut at = 0;
    loop {
        let c = text[at..].chars().next().ok_or_else(open)?;
        at += c.len_utf8();
        match c {
            '\'' => break,
            '\\' => {
                let escape = text[at..].chars().next().ok_or_else(open)?;
                at += escape.len_utf8();
                at += unescape(escape, &text[at..], &mut bytes);
            }
            c => push(c, &mut bytes),
        }
    }
    String::from_utf8(bytes).map(|text| (text, at)).map_err(|_| "the $'…' contains bytes that are no UTF-8".to_owned())
}

/// Writes the meaning of an escape, and returns the number of its digits.
fn unescape(escape: char, after: &str, bytes: &mut Vec<u8>) -> usize {
    let digits = |radix, most| after.chars().take(most).take_while(|c: &char| c.is_digit(radix)).count();
    let byte = match escape {
        'a' => 0x07,
        'b' => 0x08,
        'e' | 'E' => 0x1b,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '\'' | '"' | '?' => escape as u8,
        'x' | 'u' | 'U' => {
            let most = match escape {
                'x' => 2,
                'u' => 4,
                _ => 8,
            };
            let count = digits(16, most);
            let Ok(value) = u32::from_str_radix(&after[..count], 16) else {
                bytes.extend([b'\\', escape as u8]);
                return 0;
            };
            match (escape, u8::try_from(value)) {
                ('x', Ok(byte)) => bytes.push(byte),
                _ => push(char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER), bytes),
            }
            return count;
        }
        '0'..='7' => {
            let count = digits(8, 2);
            let value = after[..count].bytes().fold(escape as u32 - '0' as u32, |v, b| v * 8 + u32::from(b - b'0'));
            bytes.push((value & 0xff) as u8);
            return count;
        }
        other => {
            bytes.push(b'\\');
            push(other, bytes);
            return 0;
        }
    };
    bytes.push(byte);
    0
}

fn push(c: char, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_split_as_bash_splits_them() {
        for (line, words) in [
            ("curl 'a b' \"c d\" e\\ f", vec!["curl", "a b", "c d", "e f"]),
            ("curl \\\n  -H 'x: y'", vec!["curl", "-H", "x: y"]),
            ("curl \\\r\n  -H 'x: y'", vec!["curl", "-H", "x: y"]),
            (r"curl $'it\'s\n\u0041\x42\103\t!'", vec!["curl", "it's\nABC\t!"]),
            (r"a$'b'c", vec!["abc"]),
            (r"'$'\''x'", vec!["$'x"]),
            (r#""$'x'""#, vec!["$'x'"]),
            (r"$'\q\xzz'", vec![r"\q\xzz"]),
            (r"$'\xc3\xa9'", vec!["é"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn an_open_quote_and_another_shell_are_named() {
        for (line, said) in [
            ("curl 'x", "a quote is opened"),
            ("curl \"x", "a quote is opened"),
            ("curl $'x", "never closed"),
            ("curl $'x\\", "never closed"),
            ("curl ^\"https://x^\"", "Windows"),
            ("curl \"x\" ^\n -H", "Windows"),
            (r"curl $'\xff'", "no UTF-8"),
            (r"curl $'\0'", "NUL"),
        ] {
            assert!(split(line).unwrap_err().contains(said), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in any::<String>(), quoted in "[a$'\"\\\\x0-9u ]{0,40}") {
            let _ = split(&line);
            let _ = split(&quoted);
        }

        #[test]
        fn ansi_c_quoting_round_trips(text in "[^\0]*") {
            let mut quoted = String::from("$'");
            for c in text.chars() {
                match c {
                    '\'' | '\\' => quoted.extend(['\\', c]),
                    '\n' => quoted.push_str("\\n"),
                    '!' | '^' => quoted.push_str(&format!("\\u{:04x}", c as u32)),
                    c => quoted.push(c),
                }
            }
            quoted.push('\'');
            prop_assume!(!text.contains("^\"") && !text.contains("\r"));
            prop_assert_eq!(split(&quoted), Ok(vec![text]));
        }
    }
}
