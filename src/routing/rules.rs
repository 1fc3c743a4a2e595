//! Rules that classify a prompt as easy or hard: free, deterministic, in a time that is linear in a bounded text. Pure.
//!
//! Each sign in the prompt has points; three points are hard. The rules are approximate: `tokenway route eval` measures
//! their accuracy. They do not understand the text, so the text cannot instruct them: the words easy and hard are not signs.

use std::fmt;

use memchr::memmem::Finder;

use super::verdict::Verdict;
use families::excerpt::Excerpt;
use families::prompt::Prompt;

mod words;

/// Bytes of the last message that the rules read, at either end.
const END: usize = 2048;
/// A prompt with this many points is hard.
const HARD: i32 = 3;
/// Bytes of the opening of a request, which says what it wants.
const OPENING: usize = 40;
/// Points of words in the opening of an easy request: more than the text that it is about can have.
const KEYWORD: i32 = 100;

/// The built-in signs and the operator's own words.
#[derive(Debug, Clone)]
pub struct Rules {
    words: Vec<Word>,
}

/// A word or phrase, and its sign.
#[derive(Debug, Clone)]
struct Word {
    finder: Finder<'static>,
    whole: bool,
    sign: Sign,
}

/// A sign in a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sign {
    /// A word of `keywords_hard`.
    KeywordHard,
    /// A word of `keywords_easy`.
    KeywordEasy,
    /// It opens with a task for any model: translate, summarise, correct, a greeting.
    Plain,
    /// It asks for a proof or a calculation in words.
    Mathematics,
    /// It has mathematical notation.
    Notation,
    /// It has a program, or the output of one.
    Code,
    /// It asks for work on programs: debug, implement, refactor.
    Programming,
    /// It asks for a judgement: analyse, compare, design, weigh.
    Judgement,
    /// It asks for reasons, or for several things in one.
    Depth,
    /// It uses words of a field in which mistakes are expensive.
    Trade,
    /// The message is long.
    Long,
    /// The message is very short.
    Short,
    /// There are earlier questions.
    Conversation,
    /// Tools are offered.
    Tools,
    /// There are images or other files.
    Images,
}

/// A sign in a prompt, and its points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The sign.
    pub sign: Sign,
    /// Positive for hard, negative for easy.
    pub points: i32,
}

impl Rules {
    /// The built-in signs, and the operator's words, which decide alone; if there are both kinds, hard wins.
    pub fn new(keywords_easy: &[String], keywords_hard: &[String]) -> Self {
        let built_in = words::ALL.iter().flat_map(|(sign, words)| words.iter().map(|word| Word::new(word, *sign)));
        // the whole word, or the phrase
        let own = |words: &[String], sign| -> Vec<Word> {
            words.iter().map(|word| Word { whole: true, ..Word::new(word, sign) }).collect()
        };
        let words = built_in.chain(own(keywords_easy, Sign::KeywordEasy)).chain(own(keywords_hard, Sign::KeywordHard));
        Self { words: words.collect() }
    }

    /// Returns the verdict.
    pub fn decide(&self, prompt: &Prompt) -> Verdict {
        Self::verdict(&self.explain(prompt))
    }

    /// Returns the verdict of these signs.
    pub fn verdict(seen: &[Seen]) -> Verdict {
        let points: i32 = seen.iter().map(|seen| seen.points).sum();
        if points >= HARD { Verdict::Hard } else { Verdict::Easy }
    }

    /// Returns every sign in the prompt, in the order of [`Sign`].
    pub fn explain(&self, prompt: &Prompt) -> Vec<Seen> {
        let Excerpt { head, tail, .. } = prompt.text.shortened(END, END);
        let text = format!("{head}\n{tail}");
        let mut seen = self.words_in(&text.to_lowercase());
        let mut add = |sign, points| seen.push(Seen { sign, points });
        if has_notation(&text) {
            add(Sign::Notation, 2);
        }
        if has_code(&text) {
            add(Sign::Code, 1);
        }
        match prompt.text.whole_len() {
            4000.. => add(Sign::Long, 1),
            0..=24 => add(Sign::Short, -1),
            _ => {}
        }
        if prompt.earlier >= 4 {
            add(Sign::Conversation, 1);
        }
        if prompt.tools {
            add(Sign::Tools, 1);
        }
        if prompt.images {
            add(Sign::Images, 1);
        }
        seen.sort_by_key(|seen| seen.sign);
        seen
    }

    /// Returns the points of the words in a lower-case text: of each sign, for as many different words as count.
    fn words_in(&self, text: &str) -> Vec<Seen> {
        let mut counts: Vec<(Sign, i32)> = Vec::new();
        for word in &self.words {
            let within = if word.sign == Sign::Plain { opening(text) } else { text };
            if !word.is_in(within) {
                continue;
            }
            match counts.iter_mut().find(|(sign, _)| *sign == word.sign) {
                Some((_, count)) => *count += 1,
                None => counts.push((word.sign, 1)),
            }
        }
        let points = |sign, count: i32| match sign {
            Sign::KeywordHard => 2 * KEYWORD,
            Sign::KeywordEasy => -KEYWORD,
            Sign::Plain => -4,
            Sign::Mathematics => 4,
            Sign::Programming => 3,
            Sign::Judgement => 2 + count.min(2),
            Sign::Depth => count.min(3),
            Sign::Trade => 1 + count.min(2),
            _ => 0,
        };
        counts.into_iter().map(|(sign, count)| Seen { sign, points: points(sign, count) }).collect()
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(&[], &[])
    }
}

impl Word {
    /// Makes a word from its form in [`words`]: with a final `|` it matches only the whole word, else also the beginning of
    /// a longer one.
    fn new(word: &str, sign: Sign) -> Self {
        let (word, whole) = match word.strip_suffix('|') {
            Some(word) => (word, true),
            None => (word, false),
        };
        Self { finder: Finder::new(&word.trim().to_lowercase()).into_owned(), whole, sign }
    }

    /// Whether it is in the text at the beginning of a word. Scripts without blanks between words have no such places.
    fn is_in(&self, text: &str) -> bool {
        let word = self.finder.needle();
        let bounded = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() && !is_unspaced(c));
        let unspaced = std::str::from_utf8(word).is_ok_and(|word| word.chars().any(is_unspaced));
        !word.is_empty()
            && self.finder.find_iter(text.as_bytes()).any(|at| {
                let (before, after) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
                unspaced || bounded(before) && (!self.whole || bounded(after))
            })
    }
}

/// Returns the opening of a request: the beginning of its first sentence.
fn opening(text: &str) -> &str {
    let text = text.trim_start();
    let start = &text[..text.floor_char_boundary(OPENING)];
    start.find(['.', '!', '?', '\n', '。', '！', '？']).map_or(start, |end| &start[..end])
}

/// Whether the character is of Han, Hiragana, Katakana, Thai or a similar script.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// Whether the text has formulas: TeX, powers, or characters of Unicode's block of mathematical operators.
fn has_notation(text: &str) -> bool {
    let tex = ["$$", "\\frac", "\\sum", "\\int", "\\sqrt", "\\lim", "\\begin{", "\\mathbb"];
    let bytes = text.as_bytes();
    let power = |at: usize| {
        let before =
            at.checked_sub(1).and_then(|at| bytes.get(at)).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b')');
        before && bytes.get(at + 1).is_some_and(|b| b.is_ascii_alphanumeric() || b"{(-".contains(b))
    };
    tex.iter().any(|sign| text.contains(sign))
        || memchr::memchr_iter(b'^', bytes).any(power)
        || text.contains(|c| matches!(c, '\u{2200}'..='\u{22ff}'))
}

/// Whether the text has a fenced block, or three lines that begin or end like those of programs and stack traces.
fn has_code(text: &str) -> bool {
    let is_code = |line: &&str| {
        let line = line.trim();
        line.ends_with([';', '{', '}'])
            || ["#include", "import ", "def ", "fn ", "func ", "class ", "return ", "traceback", "  file \"", "at "]
                .iter()
                .any(|start| line.starts_with(start))
    };
    text.contains("```") || text.lines().filter(is_code).take(3).count() == 3
}

impl Sign {
    /// The name of the sign.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeywordHard => "keywords_hard",
            Self::KeywordEasy => "keywords_easy",
            Self::Plain => "plain task",
            Self::Mathematics => "mathematics",
            Self::Notation => "formula",
            Self::Code => "code",
            Self::Programming => "programming",
            Self::Judgement => "judgement",
            Self::Depth => "depth",
            Self::Trade => "expert's words",
            Self::Long => "long",
            Self::Short => "short",
            Self::Conversation => "conversation",
            Self::Tools => "tools",
            Self::Images => "images",
        }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
