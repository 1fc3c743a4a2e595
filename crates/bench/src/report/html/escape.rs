//! Escapes text for HTML. Pure.

use std::fmt;

/// Text that is escaped for elements and quoted attributes (HTML §13.3, escaping a string).
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // not allowed in HTML
                c if c.is_control() && !c.is_whitespace() => f.write_str("\u{fffd}")?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn escaped_text_opens_no_tag_and_closes_no_attribute(text in "[<>&\"'a-z=/\\x00-\\x1f]{0,40}") {
            let escaped = Text(&text).to_string();
            prop_assert!(!escaped.contains(['<', '>', '"', '\'', '\0']));
            let entities = ["&lt;", "&gt;", "&quot;", "&#39;", "&amp;"];
            let back = ["<", ">", "\"", "'", "&"];
            let read = entities.iter().zip(back).fold(escaped, |text, (entity, c)| text.replace(entity, c));
            let visible = |text: &str| text.replace(|c: char| c.is_control() && !c.is_whitespace(), "\u{fffd}");
            prop_assert_eq!(read, visible(&text));
        }
    }
}
