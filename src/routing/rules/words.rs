//! The words of the signs, in lower case. A word that ends in `|` matches as a whole; any other also matches the beginning of a
//! longer word. Pure.
//!
//! Each list has a few words of English, German, French, Spanish, Polish, Russian, Chinese and Japanese: those that say what the
//! user asks for.

mod everyday;
mod specialist;

use self::everyday::{DEPTH, JUDGEMENT, PLAIN};
use self::specialist::{MATHEMATICS, PROGRAMMING, TRADE};
use super::Sign;

/// Every sign that is known by words.
pub(super) const ALL: [(Sign, &[&str]); 6] = [
    (Sign::Plain, PLAIN),
    (Sign::Mathematics, MATHEMATICS),
    (Sign::Programming, PROGRAMMING),
    (Sign::Judgement, JUDGEMENT),
    (Sign::Depth, DEPTH),
    (Sign::Trade, TRADE),
];
