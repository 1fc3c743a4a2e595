//! The cost of a workload per month: on one model, and with cache and routing. Pure, in whole tokens and pico-dollars.
//!
//! Shares of tokens are rounded down, and the remainder goes to the more expensive tier: no token is lost, and rounding makes no
//! bill smaller.

use crate::price::{Cost, Count, Prices};

/// A part of a whole, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share(u32);

/// Numbers of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Prompt tokens.
    pub input: u64,
    /// Completion tokens.
    pub output: u64,
}

/// The tokens of a month, and the share of each tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Tokens in a month.
    pub tokens: Tokens,
    /// The share that is answered from the cache, of prompts and completions alike.
    pub cache_hit: Share,
    /// The easy share of the rest, which the cheap model answers.
    pub easy: Share,
}

/// The prices of the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Models {
    /// The model for easy requests.
    pub cheap: Prices,
    /// The model for hard requests, and for all requests in the naive bill.
    pub strong: Prices,
    /// The classifier, which reads each prompt that is not in the cache; `None` = the rules decide at no cost.
    pub classifier: Option<Prices>,
    /// The cheap model begins before the decision: it reads the prompts of hard requests, too.
    pub speculative: bool,
}

/// A tier of the bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Answered from the cache.
    Cache,
    /// Answered by the cheap model.
    Easy,
    /// Answered by the strong model.
    Hard,
    /// Read by the classifier.
    Classifier,
    /// Read by the cheap model, which was then cancelled.
    Cancelled,
}

/// One line of the bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// The tier.
    pub part: Part,
    /// Its tokens in a month.
    pub tokens: Tokens,
    /// Their cost.
    pub cost: Cost,
}

/// Both bills of a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bills {
    /// All tokens on the strong model.
    pub naive: Cost,
    /// By tier; tiers without tokens are omitted.
    pub tiers: Vec<Tier>,
    /// Their sum.
    pub routed: Cost,
}

impl Share {
    const WHOLE: u32 = 1_000_000;

    /// Reads `40%`, `33.3%` or `0.4`: at most four digits after the point of a percentage, six after that of a fraction.
    ///
    /// # Errors
    /// The expected form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no share: write 40% or 0.4");
        let (number, digits) = text.strip_suffix('%').map_or((text, 6), |percent| (percent, 4));
        let millionths = decimal(number, digits).ok_or_else(wrong)?;
        u32::try_from(millionths).ok().filter(|share| *share <= Self::WHOLE).map(Self).ok_or_else(wrong)
    }

    fn of(self, tokens: u64) -> u64 {
        let part = u128::from(tokens) * u128::from(self.0) / u128::from(Self::WHOLE);
        u64::try_from(part).unwrap_or(tokens)
    }
}

impl std::fmt::Display for Share {
    /// As a percentage.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        match rest {
            0 => write!(f, "{whole}%"),
            _ => write!(f, "{whole}.{}%", format!("{rest:04}").trim_end_matches('0')),
        }
    }
}

/// Reads a number of tokens: `30M`, `1.5B`, `250k`, `12_000`.
///
/// # Errors
/// The expected form.
pub fn parse_tokens(text: &str) -> Result<u64, String> {
    let plain = text.replace('_', "");
    let (number, digits) = match plain.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&plain[..at], 3),
        Some((at, 'M')) => (&plain[..at], 6),
        Some((at, 'B' | 'G')) => (&plain[..at], 9),
        _ => (plain.as_str(), 0),
    };
    // no bill has more
    decimal(number, digits)
        .filter(|tokens| *tokens <= 1_000_000_000_000_000)
        .ok_or_else(|| format!("`{text}` is no number of tokens: write 30M, 250k or 12000"))
}

/// A plain decimal number times 10^`digits`, exact.
fn decimal(text: &str, digits: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = !whole.is_empty() && all_digits(whole) && all_digits(fraction) && fraction.len() <= digits;
    is_number.then(|| format!("{whole}{fraction:0<digits$}").parse().ok()).flatten()
}

impl Tokens {
    fn part(self, share: Share) -> Self {
        Self { input: share.of(self.input), output: share.of(self.output) }
    }

    fn without(self, part: Self) -> Self {
        Self { input: self.input - part.input, output: self.output - part.output }
    }

    fn prompts(self) -> Self {
        Self { output: 0, ..self }
    }

    /// Their cost at these prices.
    pub fn at(self, prices: Prices) -> Cost {
        prices.of(Count { input: self.input, output: self.output, ..Count::default() })
    }
}

impl Bills {
    /// The bills of a month of this workload.
    pub fn of(workload: &Workload, models: &Models) -> Self {
        let cached = workload.tokens.part(workload.cache_hit);
        let asked = workload.tokens.without(cached);
        let easy = asked.part(workload.easy);
        let hard = asked.without(easy);
        let free = Cost::default();
        let read = |prices: Prices, tokens: Tokens| (tokens.prompts(), tokens.prompts().at(prices));
        let mut tiers = vec![
            (Part::Cache, (cached, free)),
            (Part::Easy, (easy, easy.at(models.cheap))),
            (Part::Hard, (hard, hard.at(models.strong))),
        ];
        tiers.extend(models.classifier.map(|prices| (Part::Classifier, read(prices, asked))));
        tiers.extend(models.speculative.then(|| (Part::Cancelled, read(models.cheap, hard))));
        let tiers: Vec<Tier> = tiers
            .into_iter()
            .filter(|(_, (tokens, _))| *tokens != Tokens::default())
            .map(|(part, (tokens, cost))| Tier { part, tokens, cost })
            .collect();
        let routed = tiers.iter().map(|tier| tier.cost).sum();
        Self { naive: workload.tokens.at(models.strong), tiers, routed }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::price::Price;

    fn prices(input: &str, output: &str) -> Prices {
        let (input, output) = (Price::parse(input).unwrap(), Price::parse(output).unwrap());
        Prices { input, cached_input: input, cache_write: input, output, reasoning: output }
    }

    fn share(text: &str) -> Share {
        Share::parse(text).unwrap()
    }

    fn reference(cheap: Prices, strong: Prices, cache_hit: &str, easy: &str) -> Bills {
        // 30M and 15M a day, 30 days
        let tokens = Tokens { input: 900_000_000, output: 450_000_000 };
        let workload = Workload { tokens, cache_hit: share(cache_hit), easy: share(easy) };
        Bills::of(&workload, &Models { cheap, strong, classifier: None, speculative: false })
    }

    const NO: &str = "0%";

    #[test]
    fn the_workload_that_is_quoted_in_circulation_costs_this() {
        let (glm, gpt) = (prices("0.20", "0.80"), prices("2.50", "10.00"));
        let bills = reference(glm, gpt, "40%", "70%");
        assert_eq!(bills.naive.short(), "6750.00");
        let tiers: Vec<_> = bills.tiers.iter().map(|tier| (tier.part, tier.cost.short())).collect();
        let expected = [(Part::Cache, "0.00"), (Part::Easy, "226.80"), (Part::Hard, "1215.00")];
        assert_eq!(tiers, expected.map(|(part, cost)| (part, cost.to_owned())));
        assert_eq!(bills.routed.short(), "1441.80");
        // where docs/COST.md finds the quoted figures instead
        let flash = prices("0.27", "1.10");
        assert_eq!(reference(flash, flash, NO, NO).naive.short(), "738.00");
        assert_eq!(reference(glm, glm, "50%", NO).routed.short(), "270.00");
    }

    #[test]
    fn the_decision_is_paid_for_where_a_model_makes_it() {
        let (cheap, strong) = (prices("1", "1"), prices("10", "10"));
        let tokens = Tokens { input: 1_000_000, output: 1_000_000 };
        let workload = Workload { tokens, cache_hit: share("50%"), easy: share("50%") };
        let models = Models { cheap, strong, classifier: Some(cheap), speculative: true };
        let bills = Bills::of(&workload, &models);
        let costs: Vec<_> = bills.tiers.iter().map(|tier| (tier.part, tier.cost.short())).collect();
        let expected = [
            (Part::Cache, "0.00"),
            (Part::Easy, "0.50"),
            (Part::Hard, "5.00"),
            (Part::Classifier, "0.50"),
            (Part::Cancelled, "0.25"),
        ];
        assert_eq!(costs, expected.map(|(part, cost)| (part, cost.to_owned())));
        assert_eq!((bills.naive.short(), bills.routed.short()), ("20.00".to_owned(), "6.25".to_owned()));
    }

    #[test]
    fn shares_and_tokens_are_read_exactly() {
        assert_eq!((share("40%"), share("0.4"), share("1")), (Share(400_000), Share(400_000), Share(1_000_000)));
        assert_eq!([share("33.3%"), share("0%")].map(|share| share.to_string()), ["33.3%", "0%"]);
        for bad in ["", "%", "101%", "1.1", "-1%", "40 %", "0.0000001", "1e-1", "forty"] {
            assert!(Share::parse(bad).is_err(), "{bad}");
        }
        for (text, tokens) in [("30M", 30_000_000), ("1.5B", 1_500_000_000), ("250k", 250_000), ("12_000", 12_000)] {
            assert_eq!(parse_tokens(text), Ok(tokens));
        }
        for bad in ["", "M", "1.5", "-1", "30m", "99999999B", "1e6"] {
            assert!(parse_tokens(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_token_is_lost_and_none_is_twice(input in 0u64..1 << 40, output in 0u64..1 << 40, hit in 0u32..=1_000_000, easy in 0u32..=1_000_000) {
            let tokens = Tokens { input, output };
            let workload = Workload { tokens, cache_hit: Share(hit), easy: Share(easy) };
            let price = prices("1", "1");
            let bills = Bills::of(&workload, &Models { cheap: price, strong: price, classifier: None, speculative: false });
            prop_assert_eq!(bills.tiers.iter().map(|tier| tier.tokens.input).sum::<u64>(), input);
            prop_assert_eq!(bills.tiers.iter().map(|tier| tier.tokens.output).sum::<u64>(), output);
            prop_assert!(bills.routed <= bills.naive);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}") {
            let _ = (Share::parse(&text), parse_tokens(&text));
        }
    }
}
