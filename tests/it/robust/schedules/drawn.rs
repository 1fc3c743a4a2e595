//! The schedules as they are drawn. What is first in a list is what a failing schedule shrinks to.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::fallback::schedules::{Fate, fate};
use crate::support::edge::Version;

/// What happens to one gateway.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub clients: Vec<Client>,
    pub reloads: usize,
    /// Between two reloads, and before the drain, in milliseconds.
    pub pause: u64,
    /// Whether it is asked to end while the clients are at work.
    pub drains: bool,
}

/// One client, with a connection of its own for each request.
#[derive(Debug, Clone)]
pub struct Client {
    pub behaviour: Behaviour,
    pub version: Version,
    /// `demo`, without a fallback, or `careful`, whose fallback is `spare`.
    pub model: &'static str,
    /// What the upstream does as this model, and as the fallback.
    pub fates: (Fate, Fate),
    pub first_token: u64,
    pub tokens: u64,
}

/// What a client does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Reads a stream to its end.
    Reads,
    /// Asks for an answer that is not streamed.
    Whole,
    /// Leaves after so many bytes.
    Leaves(usize),
    /// Reads a resumable stream, whose connection is cut after so many bytes, over and over.
    Resumes(Vec<usize>),
    /// Stops a resumable stream after so many bytes.
    Stops(usize),
    /// Asks what others with this number ask, too.
    Shares(u8),
    /// Sends what is refused.
    Malformed,
}

pub fn schedule() -> impl Strategy<Value = Schedule> {
    (vec(client(), 1..12), 0_usize..4, 5_u64..60, prop::bool::weighted(0.3))
        .prop_map(|(clients, reloads, pause, drains)| Schedule { clients, reloads, pause, drains })
}

fn client() -> impl Strategy<Value = Client> {
    let behaviour = prop_oneof![
        3 => Just(Behaviour::Reads),
        1 => Just(Behaviour::Whole),
        2 => (0_usize..3000).prop_map(Behaviour::Leaves),
        4 => vec(1_usize..2500, 0..5).prop_map(Behaviour::Resumes),
        1 => (1_usize..2000).prop_map(Behaviour::Stops),
        3 => (0_u8..2).prop_map(Behaviour::Shares),
        1 => Just(Behaviour::Malformed),
    ];
    let fates = |stream| (fate(stream), fate(stream));
    let version = select(&Version::BOTH[..]);
    (behaviour, version, select(&["demo", "careful"][..]), 0_u64..40, 4_u64..40)
        .prop_flat_map(move |(behaviour, version, model, first_token, tokens)| {
            let stream = behaviour != Behaviour::Whole;
            (Just(behaviour), Just(version), Just(model), fates(stream), Just(first_token), Just(tokens))
        })
        .prop_map(|(behaviour, version, model, fates, first_token, tokens)| {
            let shared = matches!(behaviour, Behaviour::Shares(_));
            // those who share ask for the same, byte for byte
            let fates = if shared { (Fate::Answers, Fate::Answers) } else { fates };
            let (model, first_token, tokens) = if shared { ("demo", 20, 20) } else { (model, first_token, tokens) };
            Client { behaviour, version, model, fates, first_token, tokens }
        })
}
