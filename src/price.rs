//! Prices and costs in exact integers: no floating point in any sum.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// A price in micro-dollars per million tokens; `2.50` dollars per million is `2_500_000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Price(u64);

/// An amount in pico-dollars (10⁻¹² US dollars): one token at a price of one micro-dollar per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cost(u128);

/// The prices of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    /// The price of prompt tokens.
    pub input: Price,
    /// The price of prompt tokens that the upstream had in its own cache.
    pub cached_input: Price,
    /// The price of prompt tokens that the upstream writes into its own cache.
    pub cache_write: Price,
    /// The price of completion tokens.
    pub output: Price,
    /// The price of completion tokens that are reasoning.
    pub reasoning: Price,
}

/// The number of tokens of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Prompt tokens, cached ones included.
    pub input: u64,
    /// Part of `input`: tokens that the upstream had in its own cache.
    pub cached: u64,
    /// Part of `input`: tokens that the upstream has written into its own cache.
    pub cache_write: u64,
    /// Completion tokens, reasoning included.
    pub output: u64,
    /// Part of `output`: reasoning tokens.
    pub reasoning: u64,
}

impl Count {
    /// Returns prompt and completion tokens together.
    pub fn all(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

impl Prices {
    /// Returns the cost of these tokens. A part that exceeds its whole counts as the whole: some upstreams count reasoning
    /// separately.
    pub fn of(self, count: Count) -> Cost {
        let (cached, reasoning) = (count.cached.min(count.input), count.reasoning.min(count.output));
        let written = count.cache_write.min(count.input - cached);
        self.input.of(count.input - cached - written)
            + self.cached_input.of(cached)
            + self.cache_write.of(written)
            + self.output.of(count.output - reasoning)
            + self.reasoning.of(reasoning)
    }
}

impl Price {
    /// Reads US dollars per million tokens in plain decimal notation, with at most six digits after the point.
    ///
    /// # Errors
    /// The mistake in the number.
    pub fn parse(decimal: &str) -> Result<Self, String> {
        let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(format!("`{decimal}` is no plain decimal number of dollars"));
        }
        if fraction.len() > 6 {
            return Err(format!("`{decimal}` has more than six digits after the point"));
        }
        let whole: u64 = whole.parse().map_err(|_| format!("`{decimal}` is over 1000000 dollars"))?;
        let fraction: u64 = format!("{fraction:0<6}")
            .parse()
            .map_err(|_| format!("`{decimal}` is no plain decimal number of dollars"))?;
        whole
            .checked_mul(1_000_000)
            .and_then(|micro| micro.checked_add(fraction))
            .filter(|micro| *micro <= 1_000_000_000_000)
            .map(Self)
            .ok_or_else(|| format!("`{decimal}` is over 1000000 dollars"))
    }

    /// Returns the cost of `tokens`.
    pub fn of(self, tokens: u64) -> Cost {
        Cost(u128::from(self.0) * u128::from(tokens))
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 1_000_000, format!("{:06}", self.0 % 1_000_000));
        let length = fraction.trim_end_matches('0').len().max(2);
        write!(f, "{whole}.{}", &fraction[..length])
    }
}

impl Cost {
    /// Reads US dollars in plain decimal notation, with at most six digits after the point.
    ///
    /// # Errors
    /// The mistake in the number.
    pub fn parse(dollars: &str) -> Result<Self, String> {
        // a price is what a million tokens cost
        let price = Price::parse(dollars).map_err(|_| format!("`{dollars}` is no amount in dollars such as 5.00"))?;
        Ok(price.of(1_000_000))
    }

    /// Returns dollars with as many digits after the point as are needed, and at least two.
    pub fn short(self) -> String {
        let full = self.to_string();
        let point = full.len() - 12;
        let length = full.trim_end_matches('0').len().max(point + 2);
        full[..length].to_owned()
    }

    /// Returns dollars and cents, rounded to the nearest cent.
    pub fn cents(self) -> String {
        let cents = self.0.saturating_add(5_000_000_000) / 10_000_000_000;
        format!("{}.{:02}", cents / 100, cents % 100)
    }

    /// Parses the output of [`Display`](fmt::Display): dollars with at most twelve digits after the point.
    pub fn parse_exact(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let is_amount = !whole.is_empty() && digits(whole) && digits(fraction) && fraction.len() <= 12;
        is_amount.then(|| format!("{whole}{fraction:0<12}").parse().ok()).flatten().map(Self)
    }

    /// Returns this amount times `numerator / denominator`, rounded down; unchanged if the denominator is zero.
    pub fn scaled(self, numerator: u64, denominator: u64) -> Self {
        let product = self.0.saturating_mul(u128::from(numerator));
        Self(product.checked_div(u128::from(denominator)).unwrap_or(self.0))
    }

    /// Returns the share of another amount in percent, with one digit, or `None` if that is zero.
    pub fn percent_of(self, whole: Self) -> Option<String> {
        let tenths = self.0.saturating_mul(1000).saturating_add(whole.0 / 2).checked_div(whole.0)?;
        Some(format!("{}.{}", tenths / 10, tenths % 10))
    }

    /// Returns nano-dollars, rounded up.
    pub fn nano(self) -> u64 {
        u64::try_from(self.0.div_ceil(1_000)).unwrap_or(u64::MAX)
    }

    /// Returns micro-dollars, rounded up.
    pub fn micro(self) -> u64 {
        self.nano().div_ceil(1_000)
    }

    /// Makes an amount from micro-dollars.
    pub fn from_micro(micro: u64) -> Self {
        Price(micro).of(1_000_000)
    }

    /// Returns the difference, or `None` if it is below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Returns the amount as a floating-point number, for metrics and logs only.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e12
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        // 2¹²⁸ pico-dollars are 3·10²⁶ dollars
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Self::add)
    }
}

impl fmt::Display for Cost {
    /// Dollars with twelve digits after the point, exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:012}", self.0 / 1_000_000_000_000, self.0 % 1_000_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_price_is_exact_to_the_millionth_of_a_dollar() {
        assert_eq!(Price::parse("2.5"), Price::parse("2.50"));
        assert_eq!(Price::parse("0.27").unwrap().of(1_000_000).to_string(), "0.270000000000");
        assert_eq!(Price::parse("10").unwrap().to_string(), "10.00");
        assert_eq!(Price::parse("0.000001").unwrap().of(1).to_string(), "0.000000000001");
    }

    #[test]
    fn what_is_not_a_price_is_refused() {
        for bad in ["", ".5", "-1", "1e3", "1.0000001", "1000001", "99999999999999999999", "1,5", "NaN"] {
            assert!(Price::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_price_survives_its_own_spelling(micro in 0u64..=1_000_000_000_000) {
            prop_assert_eq!(Price::parse(&Price(micro).to_string()), Ok(Price(micro)));
        }

        #[test]
        fn a_cost_survives_its_own_spelling_and_rounds_up_for_budgets(pico: u64) {
            let cost = Cost(pico.into());
            prop_assert_eq!(Cost::parse_exact(&cost.to_string()), Some(cost));
            prop_assert_eq!(Cost::parse_exact(&cost.short()), Some(cost));
            prop_assert!(u128::from(cost.nano()) * 1000 >= cost.0 && u128::from(cost.nano()) * 1000 < cost.0 + 1000);
            prop_assert_eq!(cost.scaled(30, 30), cost);
        }

        #[test]
        fn parts_with_prices_of_their_own_add_up_to_the_whole(
            micro in 1u64..1_000_000, input in 0u64..1 << 40, cached in 0u64..1 << 41, output in 0u64..1 << 40, reasoning in 0u64..1 << 41,
            cache_write in 0u64..1 << 41,
        ) {
            let price = Price(micro);
            let count = Count { input, cached, cache_write, output, reasoning };
            let same = Prices { input: price, cached_input: price, cache_write: price, output: price, reasoning: price };
            prop_assert_eq!(same.of(count), price.of(input + output));
            let free = Price(0);
            let discounted = Prices { cached_input: free, reasoning: free, ..same }.of(count);
            prop_assert_eq!(discounted, price.of(input - cached.min(input) + output - reasoning.min(output)));
        }

        #[test]
        fn cost_is_additive_in_tokens(micro in 0u64..=1_000_000_000, a in 0u64..1 << 40, b in 0u64..1 << 40) {
            let mut sum = Price(micro).of(a);
            sum += Price(micro).of(b);
            prop_assert_eq!(sum, Price(micro).of(a + b));
        }
    }
}
