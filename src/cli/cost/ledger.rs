//! The sums over the lines of a log. Pure.

use std::collections::BTreeMap;

use super::line::{Kind, Line};
use tokenway::price::{Cost, Prices};

/// Sums over all lines.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Lines that are not requests of Tokenway.
    pub(super) foreign: u64,
    /// Requests for which no model was asked.
    pub(super) free: u64,
    /// Requests for which a model was asked.
    pub(super) requests: u64,
    /// Those of `requests` whose cost is not known: nothing was charged, or a model has no price.
    pub(super) unknown: u64,
    /// The rows of all models.
    pub(super) models: BTreeMap<String, Row>,
    /// The cost of all requests.
    pub(super) total: Cost,
    /// What all answers would have cost on one model.
    pub(super) naive: Cost,
    /// The earliest and the latest line, seconds since the epoch.
    pub(super) span: Option<(u64, u64)>,
}

/// The sums of one model.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Answers that it gave.
    pub(super) answers: u64,
    /// Answers that were reused: cached or coalesced.
    pub(super) reused: u64,
    /// Attempts that were charged and did not answer: of a classifier, or cancelled.
    pub(super) beside: u64,
    /// Prompt tokens that were charged.
    pub(super) input: u64,
    /// Completion tokens that were charged.
    pub(super) output: u64,
    /// Answers whose tokens are an estimate.
    pub(super) estimated: u64,
    /// Its cost.
    pub(super) cost: Cost,
}

impl Ledger {
    /// Adds a line; `strong` are the prices of the naive bill.
    pub(super) fn add(&mut self, line: Kind, strong: Prices) {
        match line {
            Kind::Foreign => self.foreign += 1,
            Kind::Free => self.free += 1,
            Kind::Paid(line) => self.add_request(&line, strong),
        }
    }

    fn add_request(&mut self, line: &Line, strong: Prices) {
        self.requests += 1;
        if let Some(time) = line.time {
            let (first, last) = self.span.unwrap_or((time, time));
            self.span = Some((first.min(time), last.max(time)));
        }
        self.naive += line.count.filter(|_| line.answered).map(|count| strong.of(count)).unwrap_or_default();
        self.total += line.cost.unwrap_or_default();
        self.unknown += u64::from(line.cost.is_none());
        let others: Cost = line.also.iter().filter_map(|other| other.cost).sum();
        for other in &line.also {
            let row = self.models.entry(other.model.clone()).or_default();
            row.beside += 1;
            row.input += other.input;
            row.output += other.output;
            // where the whole is unknown, its parts do not count either
            row.cost += other.cost.filter(|_| line.cost.is_some()).unwrap_or_default();
        }
        let Some(model) = &line.model else { return };
        let row = self.models.entry(model.clone()).or_default();
        row.cost += line.cost.and_then(|whole| whole.checked_sub(others)).unwrap_or_default();
        match line.count {
            Some(_) if line.reused => row.reused += 1,
            Some(count) => {
                row.answers += u64::from(line.answered);
                row.beside += u64::from(!line.answered);
                row.estimated += u64::from(line.estimated);
                row.input += count.input;
                row.output += count.output;
            }
            None => {}
        }
    }

    /// Returns what this would cost in so many days, extrapolated from the time between the first and the last line. Returns
    /// `None` for less than an hour, which is too short.
    pub(super) fn in_days(&self, cost: Cost, days: u64) -> Option<Cost> {
        let (first, last) = self.span?;
        let seconds = last - first;
        (seconds >= 3600).then(|| cost.scaled(days * 86_400, seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::super::line;
    use super::*;
    use tokenway::price::Price;

    fn strong() -> Prices {
        let (input, output) = (Price::parse("2.50").unwrap(), Price::parse("10").unwrap());
        Prices { input, cached_input: input, cache_write: input, output, reasoning: output }
    }

    fn request(rest: &str) -> String {
        format!("2026-03-01T12:00:00Z  INFO tokenway::request: route=\"chat\" {rest}")
    }

    #[test]
    fn models_are_paid_what_all_of_them_were() {
        let lines = [
            request(
                "model=\"gpt-4o\" attempts=1 input_tokens=10 output_tokens=5 tokens_from=\"usage\" cost=\"0.000081000000\" \
                 also=\"glm 10/1 0.000006000000\"",
            ),
            request("model=\"glm\" attempts=0 input_tokens=10 output_tokens=5 cost=\"0.000000000000\""),
            request(
                "model=\"glm\" attempts=1 input_tokens=8 output_tokens=0 tokens_from=\"estimate\" cost=\"0.000001600000\"",
            ),
            request("model=\"glm\" attempts=1 status=502"),
            request(
                "model=\"glm\" attempts=1 outcome=\"upstream_failure\" input_tokens=5 output_tokens=0 cost=\"0.000001000000\"",
            ),
            request("outcome=\"client_gone\" cost=\"0.000002000000\" also=\"glm 7/0 0.000002000000\""),
            request("status=404"),
            "something else".to_owned(),
            "2026-03-02T12:00:00Z  INFO tokenway::request: model=\"glm\" attempts=1".to_owned(),
        ];
        let mut ledger = Ledger::default();
        lines.iter().for_each(|text| ledger.add(line::read(text), strong()));
        assert_eq!((ledger.foreign, ledger.free, ledger.requests, ledger.unknown), (1, 1, 7, 2));
        assert_eq!(ledger.total.to_string(), "0.000085600000");
        assert_eq!(ledger.models.values().map(|row| row.cost).sum::<Cost>(), ledger.total);
        let glm = &ledger.models["glm"];
        assert_eq!((glm.answers, glm.reused, glm.beside, glm.estimated), (1, 1, 3, 1));
        assert_eq!((glm.input, glm.output, glm.cost.to_string()), (30, 1, "0.000010600000".to_owned()));
        // two answers with 10 and 5 tokens, and one with 8: at 2.50 and 10
        assert_eq!(ledger.naive.to_string(), "0.000170000000");
        assert_eq!(ledger.in_days(ledger.total, 30).unwrap().to_string(), "0.002568000000");
    }

    #[test]
    fn a_month_is_not_extrapolated_from_less_than_an_hour() {
        let mut ledger = Ledger::default();
        ledger.add(line::read(&request("model=\"glm\" cost=\"1.0\"")), strong());
        assert_eq!(ledger.in_days(ledger.total, 30), None);
    }
}
