//! The table of models: their names, upstreams, prices and fallbacks.

use std::sync::Arc;

use http::HeaderValue;

pub mod names;
pub mod settings;

use crate::price::{Price, Prices};

/// The index of an upstream in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);

/// The index of a model in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelId(pub usize);

/// The models that are asked when this one fails before its first output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// Models that cost less than this one, in the order of falling price; if there is none, the next more expensive ones.
    Cheaper,
    /// These models, in this order; empty for none.
    List(Vec<ModelId>),
}

/// One model that a client may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The model's name for clients.
    pub name: String,
    /// The upstream that serves it.
    pub upstream: UpstreamId,
    /// The model's name at the upstream.
    pub upstream_model: String,
    /// US dollars per million prompt tokens; `None` if no price is configured.
    pub input_price: Option<Price>,
    /// US dollars per million completion tokens.
    pub output_price: Option<Price>,
    /// US dollars per million prompt tokens from the upstream's own cache; `None` = the normal price.
    pub cached_input_price: Option<Price>,
    /// US dollars per million prompt tokens that the upstream writes into its own cache; `None` = the normal price.
    pub cache_write_price: Option<Price>,
    /// US dollars per million completion tokens that are reasoning; `None` = the normal price.
    pub reasoning_price: Option<Price>,
    /// Context window in tokens.
    pub context: Option<u64>,
    /// The models for fallback attempts.
    pub fallback: Fallback,
}

impl Model {
    /// Returns its prices, or `None` if none are configured.
    pub fn prices(&self) -> Option<Prices> {
        let (input, output) = (self.input_price?, self.output_price?);
        Some(Prices {
            input,
            cached_input: self.cached_input_price.unwrap_or(input),
            cache_write: self.cache_write_price.unwrap_or(input),
            output,
            reasoning: self.reasoning_price.unwrap_or(output),
        })
    }
}

/// A model and its upstream, with the names that requests, bills and response heads use. Made once per configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// The model and its prices.
    pub model: Model,
    /// The upstream's name.
    pub upstream: String,
    /// The model's name as `tokenway-model`.
    pub model_header: Option<HeaderValue>,
    /// The upstream's name as `tokenway-upstream`.
    pub upstream_header: Option<HeaderValue>,
}

impl Target {
    /// Makes a model at the upstream of this name. The configuration allows in names only what a header can hold.
    pub fn new(model: Model, upstream: &str) -> Self {
        let [model_header, upstream_header] = [&model.name, upstream].map(|name| HeaderValue::from_str(name).ok());
        Self { model, upstream: upstream.to_owned(), model_header, upstream_header }
    }
}

/// The checked models: names are unique and each reference resolves. Clones share the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    models: Arc<[Model]>,
    default: Option<ModelId>,
}

impl Table {
    /// Makes a table of these models; `default` answers requests that name no model. References must be within the table.
    pub fn new(models: Vec<Model>, default: Option<ModelId>) -> Self {
        Self { models: models.into(), default }
    }

    /// Returns the model of a request: the named one, or the default.
    pub fn find(&self, name: Option<&str>) -> Option<ModelId> {
        match name {
            Some(name) => self.models.iter().position(|model| model.name == name).map(ModelId),
            None => self.default,
        }
    }

    /// Returns the model with this id.
    pub fn get(&self, id: ModelId) -> &Model {
        &self.models[id.0]
    }

    /// Returns all models, in the order of the configuration.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Returns the model itself, then its fallback models, each once. Of these, only models that are `usable` and whose
    /// context holds a request of so many tokens, prompt and answer together.
    pub fn candidates(&self, first: ModelId, tokens: u64, usable: impl Fn(ModelId) -> bool) -> Vec<ModelId> {
        let fits = |id: ModelId| self.get(id).context.is_none_or(|context| tokens <= context);
        let eligible = |id: &ModelId| *id != first && fits(*id) && usable(*id);
        let mut order = vec![first];
        match &self.get(first).fallback {
            Fallback::List(list) => order.extend(list.iter().copied().filter(eligible)),
            Fallback::Cheaper => {
                let price = |id: &ModelId| (self.get(*id).output_price, self.get(*id).input_price);
                let mine = price(&first);
                let priced = (0..self.models.len()).map(ModelId).filter(|id| price(id).0.is_some() && eligible(id));
                let (mut below, mut above): (Vec<_>, Vec<_>) = priced.partition(|id| price(id) < mine);
                below.sort_by_key(|id| std::cmp::Reverse(price(id)));
                above.sort_by_key(price);
                order.extend(if below.is_empty() { above } else { below });
            }
        }
        let mut seen = vec![false; self.models.len()];
        order.retain(|id| !std::mem::replace(&mut seen[id.0], true));
        order
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn model(name: &str, price: &str, fallback: Fallback) -> Model {
        Model {
            name: name.into(),
            upstream: UpstreamId(0),
            upstream_model: name.into(),
            input_price: Price::parse(price).ok(),
            output_price: Price::parse(price).ok(),
            cached_input_price: None,
            cache_write_price: None,
            reasoning_price: None,
            context: None,
            fallback,
        }
    }

    fn names(table: &Table, first: &str) -> Vec<String> {
        let id = table.find(Some(first)).unwrap();
        table.candidates(id, 1000, |_| true).into_iter().map(|id| table.get(id).name.clone()).collect()
    }

    #[test]
    fn cheaper_means_falling_price_and_the_cheapest_climbs() {
        let list = [("mid", "1"), ("high", "9"), ("cheap", "0.1"), ("low", "0.5")];
        let table = Table::new(list.map(|(n, p)| model(n, p, Fallback::Cheaper)).to_vec(), None);
        assert_eq!(names(&table, "high"), ["high", "mid", "low", "cheap"]);
        assert_eq!(names(&table, "cheap"), ["cheap", "low", "mid", "high"]);
    }

    #[test]
    fn a_list_is_taken_as_written_and_no_model_is_asked_twice() {
        let again = Fallback::List(vec![ModelId(1), ModelId(0), ModelId(1)]);
        let table = Table::new(vec![model("a", "1", again), model("b", "1", Fallback::List(vec![]))], Some(ModelId(1)));
        assert_eq!(names(&table, "a"), ["a", "b"]);
        assert_eq!(names(&table, "b"), ["b"]);
        assert_eq!(table.find(None), Some(ModelId(1)));
        assert_eq!(table.find(Some("c")), None);
    }

    #[test]
    fn models_that_are_too_small_or_unusable_are_left_out_and_more_expensive_ones_replace_them() {
        let list = [("mid", "1"), ("high", "9"), ("cheap", "0.1"), ("low", "0.5")];
        let mut models = list.map(|(n, p)| model(n, p, Fallback::Cheaper)).to_vec();
        models[3].context = Some(32_000);
        let table = Table::new(models, None);
        let order = |tokens, usable: &dyn Fn(ModelId) -> bool| table.candidates(ModelId(0), tokens, usable);
        assert_eq!(order(32_000, &|_| true), [ModelId(0), ModelId(3), ModelId(2)]);
        assert_eq!(order(32_001, &|_| true), [ModelId(0), ModelId(2)]);
        assert_eq!(order(32_001, &|id| id != ModelId(2)), [ModelId(0), ModelId(1)], "nothing cheaper is left");
        assert_eq!(order(1, &|_| false), [ModelId(0)], "what is asked for is never left out");
    }

    proptest! {
        #[test]
        fn the_order_holds_for_any_table(
            rows in prop::collection::vec((prop::option::of(0u32..4), prop::option::of(1u64..4), any::<bool>()), 1..12),
            tokens in 0u64..5, first: prop::sample::Index, listed in prop::option::of(prop::collection::vec(any::<prop::sample::Index>(), 0..6)),
        ) {
            let first = ModelId(first.index(rows.len()));
            let fallback = match listed {
                Some(list) => Fallback::List(list.iter().map(|place| ModelId(place.index(rows.len()))).collect()),
                None => Fallback::Cheaper,
            };
            let models = rows.iter().map(|(price, context, _)| Model {
                context: *context,
                ..model("m", &price.map_or(String::new(), |price| price.to_string()), fallback.clone())
            });
            let table = Table::new(models.collect(), None);
            let order = table.candidates(first, tokens, |id| rows[id.0].2);
            prop_assert_eq!(order[0], first);
            for (place, id) in order.iter().enumerate() {
                prop_assert!(!order[..place].contains(id));
            }
            for id in &order[1..] {
                prop_assert!(rows[id.0].2 && table.get(*id).context.is_none_or(|context| tokens <= context));
            }
            let mine = table.get(first).output_price;
            if fallback == Fallback::Cheaper && mine.is_some() {
                let prices: Vec<_> = order[1..].iter().map(|id| table.get(*id).output_price).collect();
                let falling = prices.iter().all(|price| *price < mine) && prices.is_sorted_by(|a, b| a >= b);
                let rising = prices.iter().all(|price| *price >= mine) && prices.is_sorted();
                prop_assert!(falling || rising, "{:?} from {:?}", prices, mine);
            }
        }
    }
}
