//! Counters of dollars: sums in whole pico-dollars, a floating-point number only where the exposition asks for one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Opts;
use prometheus::core::{Collector, Desc, Describer};
use prometheus::proto;

use crate::spend::price::Cost;

/// A counter of dollars with labels. Clones share it.
#[derive(Clone)]
pub struct Dollars(Arc<Family>);

struct Family {
    desc: Desc,
    labels: Vec<String>,
    sums: Mutex<BTreeMap<Vec<String>, Cost>>,
}

impl Dollars {
    /// # Errors
    /// A name or a label is malformed.
    pub fn new(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let desc = Opts::new(name, help).variable_labels(labels.clone()).describe()?;
        Ok(Self(Arc::new(Family { desc, labels, sums: Mutex::default() })))
    }

    /// Adds an amount under these values, one for each label.
    pub fn add(&self, values: &[&str], cost: Cost) {
        debug_assert_eq!(values.len(), self.0.labels.len());
        let mut sums = self.sums();
        match sums.iter_mut().find(|(known, _)| known.iter().eq(values)) {
            Some((_, sum)) => *sum += cost,
            None => drop(sums.insert(values.iter().map(|value| (*value).to_owned()).collect(), cost)),
        }
    }

    /// The sum under these values, exact.
    pub fn sum(&self, values: &[&str]) -> Cost {
        self.sums().iter().find(|(known, _)| known.iter().eq(values)).map(|(_, sum)| *sum).unwrap_or_default()
    }

    fn sums(&self) -> std::sync::MutexGuard<'_, BTreeMap<Vec<String>, Cost>> {
        self.0.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Dollars {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let metrics: Vec<_> = self.sums().iter().map(|(values, sum)| self.0.metric(values, *sum)).collect();
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
    use crate::spend::price::Price;

    #[test]
    fn a_billion_small_amounts_lose_nothing() {
        let dollars = Dollars::new("spent_total", "Spent", &["model"]).unwrap();
        let small = Price::parse("0.27").unwrap().of(1);
        for _ in 0..1000 {
            dollars.add(&["a"], small);
        }
        dollars.add(&["b"], small);
        assert_eq!(dollars.sum(&["a"]).to_string(), "0.000270000000");
        let registry = Registry::new();
        registry.register(Box::new(dollars)).unwrap();
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        let expected = "# HELP spent_total Spent\n# TYPE spent_total counter\n\
                        spent_total{model=\"a\"} 0.00027\nspent_total{model=\"b\"} 0.00000027\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
