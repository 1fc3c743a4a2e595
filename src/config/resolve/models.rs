//! `[[models]]` and `[routing]`: each name once, every reference to something that is there.

use super::Resolver;
use crate::config::problem::{Field, Mistake, nearest, quoted};
use crate::config::raw;
use crate::config::raw_auto::Routing;
use crate::config::values::Name;
use crate::models::{Fallback, Model, ModelId, Table, UpstreamId};
use crate::routing::auto::AUTO;

impl Resolver<'_> {
    pub(super) fn models(
        &mut self,
        upstreams: &Field<Vec<raw::Upstream>>,
        models: &Field<Vec<raw::Model>>,
        routing: &Routing,
    ) -> Table {
        if models.value.is_empty() {
            let mistake = Mistake::new("is missing", "add [[models]] with at least a name and an upstream");
            self.problems.report(&models.place, mistake);
        }
        self.check_unique(models.value.iter().map(|model| &model.name));
        let upstream_names = Names::new("upstream", upstreams, |upstream| &upstream.name);
        let model_names = Names::new("model", models, |model| &model.name);
        let default = &routing.default;
        let default_id = match &default.value {
            Some(name) if name == AUTO && routing.auto.is_some() => None,
            Some(name) => self.find(&model_names, name, default),
            None => None,
        };
        let mut table = Vec::new();
        for (i, model) in models.value.iter().enumerate() {
            let upstream = self.find(&upstream_names, &model.upstream, &model.upstream).unwrap_or_default();
            self.check_prices(model);
            table.push(Model {
                name: model.name.value.0.clone(),
                upstream: UpstreamId(upstream),
                upstream_model: self.upstream_model(model),
                input_price: model.input_price.value,
                output_price: model.output_price.value,
                cached_input_price: model.cached_input_price.value,
                reasoning_price: model.reasoning_price.value,
                context: model.context.value,
                fallback: self.fallback(i, model, &model_names),
            });
        }
        Table::new(table, default_id.map(ModelId))
    }

    fn upstream_model(&mut self, model: &raw::Model) -> String {
        let written = model.upstream_model.value.as_deref();
        if written.is_some_and(|name| name.trim().is_empty()) {
            let mistake = Mistake::new("is empty", "write the provider's name of the model, or remove the key");
            self.problems.report(&model.upstream_model.place, mistake);
        }
        written.unwrap_or(&model.name.value.0).to_owned()
    }

    fn check_prices(&mut self, model: &raw::Model) {
        let (input, output) = (&model.input_price, &model.output_price);
        for (present, missing) in [(input, output), (output, input)] {
            if present.is_written() && !missing.is_written() {
                let mistake = Mistake::new("is missing beside the other price", "write both prices, or neither");
                self.problems.report(&missing.place, mistake);
            }
        }
        for part in [&model.cached_input_price, &model.reasoning_price] {
            if part.is_written() && !(input.is_written() && output.is_written()) {
                let mistake = Mistake::new("is written without the two prices", "write input_price and output_price");
                self.problems.report(&part.place, mistake);
            }
        }
        let cached = &model.cached_input_price;
        if let (Some(cached_price), Some(price)) = (cached.value, input.value)
            && cached_price > price
        {
            let what = format!(
                "is ${cached_price}, above input_price, ${price}, and a provider's cache makes prompts cheaper: correct one of \
                 the two"
            );
            self.warn(&cached.place.key, &what);
        }
        if model.context.value == Some(0) {
            let mistake = Mistake::new("is 0", "write the model's context window in tokens, or remove the key");
            self.problems.report(&model.context.place, mistake);
        }
    }

    fn fallback(&mut self, own: usize, model: &raw::Model, names: &Names<'_>) -> Fallback {
        let list = match &model.fallback.value {
            raw::Fallback::List(list) => list,
            raw::Fallback::Cheaper => {
                if !model.output_price.is_written() && !model.input_price.is_written() {
                    let mistake = Mistake::new(
                        "is \"cheaper\", and this model has no price",
                        "write input_price and output_price, or a list of models",
                    );
                    self.problems.report(&model.fallback.place, mistake);
                }
                return Fallback::Cheaper;
            }
        };
        let mut ids = Vec::new();
        for name in list {
            let id = self.find(names, name, name);
            if id == Some(own) {
                let mistake = Mistake::new("is the model itself", "name another model, or write [] for no fallback");
                self.problems.report(&name.place, mistake);
            }
            ids.extend(id.map(ModelId));
        }
        Fallback::List(ids)
    }

    /// The place of `name` in a list, or a report at `field` that nothing has that name.
    pub(super) fn find<T>(&mut self, names: &Names<'_>, name: &str, field: &Field<T>) -> Option<usize> {
        let found = names.known.iter().position(|known| *known == name);
        if found.is_none() && names.complete {
            let mend = match nearest(name, names.known.iter().copied()) {
                Some(meant) => format!("write `{meant}`"),
                None if names.known.is_empty() => format!("add [[{}s]]", names.what),
                None if name == AUTO => format!("add [routing.auto], or {}", names.choice()),
                None => names.choice(),
            };
            let mistake = Mistake::new(format!("no {} has the name {}", names.what, quoted(name)), mend);
            self.problems.report(&field.place, mistake);
        }
        found
    }
}

/// The names of all models or all upstreams, in the order of the file.
pub(super) struct Names<'n> {
    what: &'static str,
    known: Vec<&'n str>,
    /// False where a name could not be read: then nothing can be called unknown.
    complete: bool,
}

impl<'n> Names<'n> {
    /// What can be written instead. A name that stands there twice has its own problem.
    fn choice(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for name in &self.known {
            if !names.contains(name) {
                names.push(name);
            }
        }
        match &names[..] {
            [only] => format!("write `{only}`"),
            names => format!("write one of {}", names.join(", ")),
        }
    }

    pub(super) fn new<T>(what: &'static str, all: &'n Field<Vec<T>>, name: fn(&T) -> &Field<Name>) -> Self {
        Self {
            what,
            known: all.value.iter().map(|item| name(item).value.0.as_str()).collect(),
            complete: all.is_readable() && all.value.iter().all(|item| name(item).is_readable()),
        }
    }
}
