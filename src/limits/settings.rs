//! `[limits]`, as it is written and checked. Pure.

use settings::{Field, Mistake, Resolver};

use super::policy::{Limits, Rules};
use crate::models::names::Names;

// Beyond the upper bounds, times would no longer be exact in Lua's doubles.
settings::section! {
    /// Rate limits of each caller. A caller is a gateway key, the subject of a token, or an address (with IPv6: one /64).
    /// 0 = no limit. Every completion counts. Preflights and health checks do not count. See docs/LIMITS.md.
    pub struct Written {
        /// The number of requests in a minute.
        requests_per_minute: usize = 60 in 0 ..= 1_000_000_000;
        /// The number of requests that may come at once. After a burst, requests must keep to the rate. 0 = the requests of one
        /// minute.
        burst: usize = 0 in 0 ..= 1_000_000;
        /// Tokens of prompt and answer together, in a minute. Tokenway reserves tokens before a request is sent, and corrects
        /// the number at its end.
        tokens_per_minute: usize = 0 in 0 ..= 1_000_000_000;
        /// The number of completions at the same time, with or without `stream`.
        concurrent_streams: usize = 0 in 0 ..= 1_000_000;
        /// The tokens that are reserved for the answer if the request has no max_tokens.
        reserve_tokens: usize = 1024 in 0 ..= 1_000_000_000;
        /// The maximum number of counted callers, 80 bytes each. Above it, callers that have recovered are evicted first.
        max_callers: usize = 100000 in 1_000 ..= 100_000_000;
        [models]: Field<Vec<WrittenModel>>;
    }
}

settings::section! {
    /// Additional limits of each caller at one model. Repeat this section for each model.
    pub struct WrittenModel {
        /// The name of the model, as clients request it.
        name: String, required "write the name of one of the models", example "gpt-4o";
        /// The number of requests in a minute.
        requests_per_minute: usize = 0 in 0 ..= 1_000_000_000, example 10;
        /// The number of requests that may come at once. 0 = the requests of one minute.
        burst: usize = 0 in 0 ..= 1_000_000;
        /// Tokens of prompt and answer together, in a minute.
        tokens_per_minute: usize = 0 in 0 ..= 1_000_000_000;
        /// The number of completions at the same time.
        concurrent_streams: usize = 0 in 0 ..= 1_000_000;
    }
}

impl Written {
    /// The limits of each caller, in all and at each model.
    pub fn resolve(&self, models: &Names<'_>, resolver: &mut Resolver<'_>) -> Rules {
        let mut rules = Rules {
            caller: Limits {
                requests_per_minute: self.requests_per_minute.value as u64,
                burst: self.burst.value as u64,
                tokens_per_minute: self.tokens_per_minute.value as u64,
                concurrent_streams: self.concurrent_streams.value as u64,
            },
            models: Vec::new(),
            reserve_tokens: self.reserve_tokens.value as u64,
        };
        for model in self.models.iter() {
            let name = &model.name;
            if name.is_readable() && models.lacks(name) {
                let mend = "write the name of one of [[models]], as clients ask for it";
                resolver.report(&name.place, Mistake::new("names no model", mend));
            } else if rules.models.iter().any(|(other, _)| *other == name.value) {
                let mistake = Mistake::new("has its limits already", "write all limits of a model in one section");
                resolver.report(&name.place, mistake);
            }
            rules.models.push((name.value.clone(), model.limits()));
        }
        rules
    }
}

impl WrittenModel {
    fn limits(&self) -> Limits {
        Limits {
            requests_per_minute: self.requests_per_minute.value as u64,
            burst: self.burst.value as u64,
            tokens_per_minute: self.tokens_per_minute.value as u64,
            concurrent_streams: self.concurrent_streams.value as u64,
        }
    }
}
