//! The exposition as a client of the admin listener reads it.

use std::collections::BTreeMap;

/// The labels of a sample.
pub type Labels = BTreeMap<String, String>;

/// All samples of one moment.
#[derive(Debug)]
pub struct Scrape(pub Vec<(String, Labels, f64)>);

impl Scrape {
    /// Reads Prometheus text. Label values of this gateway hold neither commas nor quotes.
    pub fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).map(|label| {
                let (name, value) = label.split_once('=').unwrap();
                (name.to_owned(), value.trim_matches('"').to_owned())
            });
            (name.to_owned(), labels.collect(), value.parse().unwrap())
        };
        Self(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(sample).collect())
    }

    /// The sum of all samples of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |all: &Labels| labels.iter().all(|(name, value)| all.get(*name).is_some_and(|v| v == value));
        self.0.iter().filter(|(sample, all, _)| sample == name && has(all)).map(|(.., value)| value).sum()
    }

    /// The labels of the samples of this name.
    pub fn labels(&self, name: &str) -> Vec<&Labels> {
        self.0.iter().filter(|(sample, ..)| sample == name).map(|(_, labels, _)| labels).collect()
    }
}
