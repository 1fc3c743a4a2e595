//! Counters of US dollars: the sums are whole pico-dollars; only the exposition has a floating-point number.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::Opts;
use prometheus::core::{Collector, Desc, Describer};
use prometheus::proto;

use crate::price::Cost;

/// A counter of dollars with labels. Clones share it.
#[derive(Clone)]
pub struct Dollars(Arc<Family>);

struct Family {
    desc: Desc,
    labels: Vec<String>,
    /// Values of the labels and their sum, in the order of the values.
    sums: Mutex<Vec<(Vec<String>, Cost)>>,
}

impl Dollars {
    /// Makes a counter without sums.
    ///
    /// # Errors
    /// A name or a label is malformed.
    pub fn new(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let desc = Opts::new(name, help).variable_labels(labels.clone()).describe()?;
        Ok(Self(Arc::new(Family { desc, labels, sums: Mutex::default() })))
    }

    /// Adds an amount to the sum of these values, one for each label.
    pub fn add(&self, values: &[&str], cost: Cost) {
        debug_assert_eq!(values.len(), self.0.labels.len());
        let mut sums = self.0.sums();
        match place(&sums, values) {
            Ok(place) => sums[place].1 += cost,
            Err(place) => sums.insert(place, (values.iter().map(|value| (*value).to_owned()).collect(), cost)),
        }
    }

    /// Returns the exact sum of these values.
    pub fn sum(&self, values: &[&str]) -> Cost {
        let sums = self.0.sums();
        place(&sums, values).map(|place| sums[place].1).unwrap_or_default()
    }
}

/// Returns the index of these values, or the index at which they have to be inserted.
fn place(sums: &[(Vec<String>, Cost)], values: &[&str]) -> Result<usize, usize> {
    sums.binary_search_by(|(known, _)| known.iter().map(String::as_str).cmp(values.iter().copied()))
}

impl Collector for Dollars {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let metrics: Vec<_> = self.0.sums().iter().map(|(values, sum)| self.0.metric(values, *sum)).collect();
        if metrics.is_empty() {
            return Vec::new();
        }
        let mut family = proto::MetricFamily::default();
        family.set_name(self.0.desc.fq_name.clone());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(proto::MetricType::COUNTER);
        family.set_metric(metrics);
        vec![family]
    }
}

impl Family {
    fn sums(&self) -> MutexGuard<'_, Vec<(Vec<String>, Cost)>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metric(&self, values: &[String], sum: Cost) -> proto::Metric {
        let pair = |(name, value): (&String, &String)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name(name.clone());
            pair.set_value(value.clone());
            pair
        };
        let mut counter = proto::Counter::default();
        counter.set_value(sum.dollars());
        let mut metric = proto::Metric::from_label(self.labels.iter().zip(values).map(pair).collect());
        metric.set_counter(counter);
        metric
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder, Registry, TextEncoder};

    use super::*;
    use crate::price::Price;

    #[test]
    fn a_billion_small_amounts_lose_nothing() {
        let dollars = Dollars::new("spent_total", "Spent", &["model"]).unwrap();
        let small = Price::parse("0.27").unwrap().of(1);
        for _ in 0..1000 {
            dollars.add(&["a"], small);
        }
        dollars.add(&["b"], small);
        assert_eq!(dollars.sum(&["a"]).to_string(), "0.000270000000");
        assert_eq!(dollars.sum(&["c"]), Cost::default());
        let registry = Registry::new();
        registry.register(Box::new(dollars)).unwrap();
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        let expected = "# HELP spent_total Spent\n# TYPE spent_total counter\n\
                        spent_total{model=\"a\"} 0.00027\nspent_total{model=\"b\"} 0.00000027\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
