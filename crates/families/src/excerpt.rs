//! Both ends of a text that may be long, so that the work on it has a bound. Pure.

/// The beginning and the end of a text; a short text is completely in `head`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// The beginning.
    pub head: String,
    /// The end; empty if `head` is the whole text.
    pub tail: String,
    /// Bytes between the two that are left out.
    pub left_out: usize,
}

impl Excerpt {
    /// Takes at most `head` and `tail` bytes of the two ends, cut between characters.
    pub fn of(text: &str, head: usize, tail: usize) -> Self {
        if text.len() <= head.saturating_add(tail) {
            return Self { head: text.to_owned(), tail: String::new(), left_out: 0 };
        }
        let (end, start) = (text.floor_char_boundary(head), text.ceil_char_boundary(text.len() - tail));
        Self { head: text[..end].to_owned(), tail: text[start..].to_owned(), left_out: start - end }
    }

    /// Returns a shorter excerpt of the same text: never more than this one holds.
    pub fn shortened(&self, head: usize, tail: usize) -> Self {
        if self.left_out == 0 {
            return Self::of(&self.head, head, tail);
        }
        let (end, start) =
            (self.head.floor_char_boundary(head), self.tail.ceil_char_boundary(self.tail.len().saturating_sub(tail)));
        let left_out = self.left_out + (self.head.len() - end) + start;
        Self { head: self.head[..end].to_owned(), tail: self.tail[start..].to_owned(), left_out }
    }

    /// Returns the bytes of the whole text.
    pub fn whole_len(&self) -> usize {
        self.head.len() + self.left_out + self.tail.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_text_is_stored_whole_and_a_long_one_by_its_ends() {
        assert_eq!(Excerpt::of("abcd", 2, 2), Excerpt { head: "abcd".into(), ..Excerpt::default() });
        assert_eq!(Excerpt::of("abcde", 2, 2), Excerpt { head: "ab".into(), tail: "de".into(), left_out: 1 });
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_from_the_count_and_no_bound_is_passed(text in "\\PC{0,60}", head in 0..40usize, tail in 0..40usize, less in 0..40usize) {
            let excerpt = Excerpt::of(&text, head, tail);
            prop_assert_eq!(excerpt.whole_len(), text.len());
            prop_assert!(text.starts_with(&excerpt.head) && text.ends_with(&excerpt.tail));
            prop_assert!(excerpt.head.len() + excerpt.tail.len() <= head + tail);
            let shorter = excerpt.shortened(less, less);
            prop_assert_eq!(shorter.whole_len(), text.len());
            prop_assert!(text.starts_with(&shorter.head) && text.ends_with(&shorter.tail));
            prop_assert!(shorter.head.len() + shorter.tail.len() <= 2 * less);
        }
    }
}
