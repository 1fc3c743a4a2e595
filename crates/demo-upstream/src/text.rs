//! The text of answers: sentences about streaming and the prompt, split into tokens. Pure.

use std::ops::Range;

use super::timetable::Random;

/// The most characters of the prompt in an answer, so that tokens and events do not grow with the request.
const ECHO: usize = 160;

/// The first sentences; `{}` is replaced with the prompt.
const OPENINGS: [&str; 4] = [
    "You wrote: “{}” — here is what a *demo upstream* has to say about it.",
    "“{}” is a fine thing to ask of a server that **cannot think**. It can stream, though.",
    "Let me repeat that, word by word: “{}”. Each word came to you in an event of its own.",
    "Thank you for “{}”! No model was consulted; the words below come from a `const` array.",
];

/// With Markdown, and with characters of two, three and four bytes and of several code points, to test what cuts streams.
const SENTENCES: [&str; 14] = [
    " A token that waits for its neighbour arrives late, and the reader feels it. ⏱️",
    " Nothing here is held back: one event, one write, one packet.",
    "\n\n**Streaming** is a river 🌊, not a bucket: you hear it before you see all of it.",
    " The first word is the one that counts; after it, patience comes easily.",
    " In Łódź, Malmö and 東京 the bytes differ, the pace does not.",
    "\n\n- A heartbeat keeps the line open.\n- A clean end is said aloud: `[DONE]`.\n- Anything else is an accident, and should be called one.",
    " A family of four 👨‍👩‍👧‍👦 is seven code points and twenty-five bytes, and still one character.",
    " Proxies love to buffer. This one is being watched. 👀",
    "\n\n> “I would have written a shorter stream, but I did not have the time.”",
    " Naïve splitting breaks a café in two; careful splitting leaves it whole ☕.",
    " Back-pressure is only good manners: speak when you are listened to.",
    "\n\n1. Connect.\n2. Send.\n3. Read until the end — the real one.",
    " Whoever closes the window stops the work; nobody likes to talk to an empty room.",
    " 你好, مرحبا, שלום, नमस्ते: every greeting fits into UTF-8.",
];

/// A text, and the position from which it is repeated if more tokens are requested than it has.
#[derive(Debug)]
pub(super) struct Text {
    text: String,
    repeat_from: usize,
}

impl Text {
    /// The answer to a prompt. Longer prompts get longer answers, up to a limit.
    pub(super) fn answering(prompt: &str, seed: u64) -> Text {
        let echo = echo(prompt);
        let mut random = Random::new(seed);
        let opening = OPENINGS[random.below(OPENINGS.len() as u64) as usize];
        let mut text = opening.replace("{}", if echo.is_empty() { "…" } else { &echo });
        let repeat_from = text.len();
        let start = random.below(SENTENCES.len() as u64) as usize;
        let count = (4 + echo.split(' ').count() / 3).min(SENTENCES.len());
        text.extend(SENTENCES.iter().cycle().skip(start).take(count).copied());
        Text { text, repeat_from }
    }

    /// A given text.
    pub(super) fn once(text: impl Into<String>) -> Text {
        let text = text.into();
        Text { repeat_from: 0, text }
    }

    /// The number of tokens.
    pub(super) fn len(&self) -> u64 {
        let mut at = 0;
        let mut count = 0;
        while at < self.text.len() {
            at = self.token_end(at);
            count += 1;
        }
        count
    }

    /// The token at the cursor, which then moves to the next one; at the end, the text is repeated.
    pub(super) fn token(&self, cursor: &mut usize) -> &str {
        if *cursor >= self.text.len() {
            *cursor = self.repeat_from;
        }
        let token = Range { start: *cursor, end: self.token_end(*cursor) };
        *cursor = token.end;
        &self.text[token]
    }

    /// The end of a token: a word with the white space before it, as in tokenizers.
    fn token_end(&self, start: usize) -> usize {
        let rest = &self.text[start..];
        let word = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        start + rest[word..].find(char::is_whitespace).map_or(rest.len(), |length| word + length)
    }
}

/// The beginning of the prompt, on one line.
fn echo(prompt: &str) -> String {
    let line = prompt.split_whitespace().take(ECHO).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(ECHO) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_prompt_gets_a_longer_answer() {
        let short = Text::answering("Hi", 1).len();
        let long = Text::answering("Tell me all that you know of rivers, brooks, streams and the sea", 1).len();
        assert!(short + 20 < long, "{short} {long}");
    }

    #[test]
    fn a_very_long_word_is_repeated_within_bounds() {
        let text = Text::answering(&"x".repeat(1 << 20), 0);
        assert!(text.text.len() < 8192);
    }

    proptest! {
        #[test]
        fn tokens_join_to_the_text(prompt in ".{0,300}", seed: u64) {
            let text = Text::answering(&prompt, seed);
            let mut cursor = 0;
            let joined: String = (0..text.len()).map(|_| text.token(&mut cursor)).collect();
            prop_assert_eq!(&joined, &text.text);
            prop_assert!(text.text[text.repeat_from..].starts_with(text.token(&mut cursor)));
        }
    }
}
