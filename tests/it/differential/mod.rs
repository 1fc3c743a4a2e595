//! The crate `browser` against a real Chromium: for random calls of a page and random responses, both must agree on the
//! outcome, the name of the failing step, the requests on the wire and the headers that the page can read.
//!
//! `TOKENWAY_SEED` repeats a run, `TOKENWAY_CASES` makes it longer. A failing case is shrunk before it is shown.

mod case;
mod chromium;
mod cookies;
mod lists;
mod predicted;
mod stage;

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use browser::block::{Block, Step};
use case::Case;
use chromium::{Chromium, ThirdParties};
use predicted::{Outcome, predict};
use stage::{Seen, Stage};

/// Cases in a run.
const CASES: usize = 1000;
/// Cases that the page runs in one go.
const BATCH: usize = 100;
/// Most attempts to make a failing case smaller.
const SHRINKS: usize = 400;
/// Most failing cases that are shrunk and shown.
const MOST_SHOWN: usize = 3;
/// How long a batch may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_real_browser_does_what_is_predicted() {
    let (mut runner, seed) = seeded();
    let cases = env::var("TOKENWAY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    println!("TOKENWAY_SEED={seed} TOKENWAY_CASES={cases}");
    let mut bench = Bench::open(ThirdParties::Blocked).await;
    let strategy = case::case();
    let mut trees: Vec<_> = (0..cases).map(|_| strategy.new_tree(&mut runner).unwrap()).collect();
    let mut failures = Vec::new();
    let mut tally = Tally::default();
    for batch in trees.chunks_mut(BATCH) {
        let drawn: Vec<Case> = batch.iter().map(ValueTree::current).collect();
        for (tree, comparison) in batch.iter_mut().zip(bench.compare(&drawn).await) {
            tally.count(&comparison);
            if !comparison.agrees() {
                failures.push(tree);
            }
        }
    }
    println!("{tally}");
    let failed = failures.len();
    let mut shown = String::new();
    for tree in failures.into_iter().take(MOST_SHOWN) {
        shown += &format!("\n{}\n", bench.shrunk(tree).await);
    }
    let other_messages = std::mem::take(&mut bench.other_messages);
    bench.close().await;
    assert!(failed == 0, "seed {seed}: {failed} of {cases} cases are different; the first, shrunk:{shown}");
    assert!(other_messages.is_empty(), "seed {seed}: {}", other_messages.join("\n"));
    tally.assert_breadth();
}

/// A source of cases, and what it began with.
fn seeded() -> (TestRunner, u64) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| u64::from(now.subsec_nanos()));
    let seed = env::var("TOKENWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&u64::to_le_bytes(seed));
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    (TestRunner::new_with_rng(Config::default(), rng), seed)
}

/// A browser and its server.
struct Bench {
    stage: Stage,
    chromium: Chromium,
    last_id: u64,
    /// Batches in which the console's messages about `EventSource` are others than predicted.
    other_messages: Vec<String>,
}

/// One case with its predicted and its actual outcome.
struct Comparison {
    case: Case,
    predicted: Outcome,
    actual: Outcome,
    predicted_requests: Vec<Seen>,
    seen_requests: Vec<Seen>,
    /// Chromium's name of a failure that is not one of CORS.
    net_error: Option<String>,
    because: Option<Block>,
}

impl Comparison {
    fn agrees(&self) -> bool {
        self.predicted == self.actual && self.predicted_requests == self.seen_requests
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:#?}", self.case)?;
        writeln!(
            f,
            "predicted {:?}\nactual    {:?} {}",
            self.predicted,
            self.actual,
            self.net_error.as_deref().unwrap_or("")
        )?;
        if let Some(block) = &self.because {
            writeln!(f, "because  {}: {}", block.step, block.reason)?;
        }
        if self.predicted_requests != self.seen_requests {
            writeln!(f, "requests predicted {:#?}\nseen {:#?}", self.predicted_requests, self.seen_requests)?;
        }
        Ok(())
    }
}

impl Bench {
    async fn open(third_parties: ThirdParties) -> Self {
        let stage = Stage::open().await;
        let chromium = Chromium::start(stage.sites.of(case::Site::Own), third_parties);
        Self { stage, chromium, last_id: 0, other_messages: Vec::new() }
    }

    async fn compare(&mut self, cases: &[Case]) -> Vec<Comparison> {
        let mut running = Vec::new();
        for case in cases {
            self.last_id += 1;
            self.stage.put_on(self.last_id, case);
            running.push((self.last_id, case));
        }
        let run = self.chromium.run(&running, &self.stage.sites);
        let (mut outcomes, messages) = tokio::time::timeout(PATIENCE, run).await.expect("the browser does not answer");
        let compared = running.into_iter().map(|(id, case)| {
            let (predicted, predicted_requests, because) = predict(case, id, &self.stage.sites);
            let (actual, net_error) = outcomes.remove(&id).unwrap();
            let seen_requests = self.stage.take_off(id);
            Comparison { case: case.clone(), predicted, actual, predicted_requests, seen_requests, net_error, because }
        });
        let compared: Vec<Comparison> = compared.collect();
        self.compare_messages(&compared, messages);
        compared
    }

    /// Compares the console with the reasons of the blocks: the messages without a URL all together, the others by case.
    fn compare_messages(&mut self, compared: &[Comparison], messages: Vec<(u64, String)>) {
        let first = self.last_id + 1 - compared.len() as u64;
        let refused = (first..).zip(compared).filter_map(|(id, comparison)| {
            let block = comparison.because.as_ref().filter(|block| block.step == Step::EVENT_SOURCE)?;
            Some((id, block.reason.clone()))
        });
        let refused: Vec<(u64, String)> = refused.collect();
        let (mut named, mut aborted): (Vec<_>, Vec<_>) = messages.into_iter().partition(|(id, _)| *id != 0);
        named.retain(|(id, text)| {
            text.starts_with("Failed to load resource: the server responded")
                && refused.iter().any(|(own, _)| own == id)
        });
        aborted.retain(|(_, text)| text.starts_with("EventSource's response"));
        let predicted = |start: &str| {
            let own = refused.iter().filter(|(_, reason)| reason.starts_with(start));
            own.map(|(_, reason)| reason.clone()).collect::<Vec<_>>()
        };
        let seen = [named, aborted].map(|messages| messages.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
        for (start, mut seen) in ["Failed to load", "EventSource's response"].into_iter().zip(seen) {
            let mut predicted = predicted(start);
            predicted.sort();
            seen.sort();
            if predicted != seen {
                self.other_messages.push(format!("predicted {predicted:#?}\nin the console {seen:#?}"));
            }
        }
    }

    /// The smallest case found from this one that comes out otherwise, too.
    async fn shrunk(&mut self, tree: &mut impl ValueTree<Value = Case>) -> Comparison {
        let mut smallest = self.compare(&[tree.current()]).await.remove(0);
        for _ in 0..SHRINKS {
            if !tree.simplify() {
                break;
            }
            loop {
                let comparison = self.compare(&[tree.current()]).await.remove(0);
                if !comparison.agrees() {
                    smallest = comparison;
                    break;
                }
                if !tree.complicate() {
                    return smallest;
                }
            }
        }
        smallest
    }

    async fn close(self) {
        self.chromium.close().await;
    }
}

/// What a run has covered.
#[derive(Default)]
struct Tally {
    cases: usize,
    shown: usize,
    preflighted: usize,
    codes: BTreeMap<String, usize>,
}

impl Tally {
    fn count(&mut self, comparison: &Comparison) {
        self.cases += 1;
        self.preflighted += usize::from(comparison.seen_requests.iter().any(|seen| seen.asks_method.is_some()));
        match &comparison.actual {
            Outcome::Shown { .. } => self.shown += 1,
            Outcome::Blocked { code } => {
                *self.codes.entry(code.clone().unwrap_or_else(|| "none of CORS".to_owned())).or_default() += 1;
            }
        }
    }

    /// A generator whose cases all fail at their first step would prove little.
    fn assert_breadth(&self) {
        assert!(self.shown * 10 >= self.cases, "only {} pages saw an answer", self.shown);
        assert!(self.preflighted * 5 >= self.cases, "only {} cases were preflighted", self.preflighted);
        assert!(self.codes.len() >= 15, "only these failures: {:?}", self.codes);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shown, {} preflighted, blocked: {:?}", self.shown, self.preflighted, self.codes)
    }
}
