//! `[[models]]`, as it is written and checked: each name once, every reference to something that is there. Pure.

use serde_json::json;
use settings::{At, Field, Json, Mistake, Resolver, Strings, Toml, Value, quoted};

use super::names::{Name, Names, check_unique};
use super::{Fallback, Model, ModelId, UpstreamId};
use crate::price::Price;

settings::section! {
    /// A model that clients can request. Repeat this section for each model.
    pub struct Written {
        /// The model name in the client's request.
        name: Name, required "write the name that clients ask for", example "deepseek-v4-flash";
        /// The name of the upstream that answers.
        upstream: String, required "write the name of one of the upstreams", example "global";
        /// The model name at the upstream. Default: the name above.
        upstream_model: Option<String>, commented "deepseek-v4-flash";
        /// The price in US dollars per million prompt tokens, exact to six digits. Write both prices or none.
        input_price: Option<Price>, example 0.27;
        /// The price in US dollars per million completion tokens.
        output_price: Option<Price>, example 1.10;
        /// The price for prompt tokens from the provider's prompt cache. Default: input_price.
        cached_input_price: Option<Price>, commented 0.07;
        /// The price for prompt tokens that the provider writes into its prompt cache. Default: input_price.
        cache_write_price: Option<Price>, commented 0.34;
        /// The price for completion tokens that are reasoning. Default: output_price.
        reasoning_price: Option<Price>, commented 1.10;
        /// The context window in tokens.
        context: Option<u64>, example 128000;
        /// Fallback: the models to ask if this model fails before its first output. A list of models in this order, or [] for
        /// none. "cheaper": the next cheaper models. For the cheapest model: the next more expensive ones.
        fallback: WrittenFallback = [];
    }
}

/// `models.fallback`
#[derive(Debug, PartialEq)]
pub enum WrittenFallback {
    /// `"cheaper"`
    Cheaper,
    /// Names of models.
    List(Strings),
}

impl Value for WrittenFallback {
    const TYPE: &'static str = "list of models, or `\"cheaper\"`";

    fn read(value: &Toml<'_>) -> Result<Self, Mistake> {
        match value.as_str() {
            Some("cheaper") => Ok(Self::Cheaper),
            Some(name) => Err(Mistake::new(
                format!("{} is neither \"cheaper\" nor a list", quoted(name)),
                "write a model's name in square brackets, such as [\"glm-4-plus\"], or [] for none",
            )),
            None if value.is_array() => Strings::read(value).map(Self::List),
            None => Err(Mistake::new("must be \"cheaper\" or a list of model names", "write [] for no fallback")),
        }
    }

    fn read_parts(value: &Toml<'_>, at: &mut At<'_>) -> Result<Self, Mistake> {
        match value.is_array() {
            true => Strings::read_parts(value, at).map(Self::List),
            false => Self::read(value),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [{ "enum": ["cheaper"] }, Strings::schema()] })
    }
}

/// Returns the models, in the order of the file.
pub fn resolve(models: &Field<Vec<Written>>, upstreams: &Names<'_>, resolver: &mut Resolver<'_>) -> Vec<Model> {
    if models.value.is_empty() {
        let mistake = Mistake::new("is missing", "add [[models]] with at least a name and an upstream");
        resolver.report(&models.place, mistake);
    }
    check_unique(models.value.iter().map(|model| &model.name), resolver);
    let names = names(models);
    let mut table = Vec::new();
    for (i, model) in models.value.iter().enumerate() {
        let upstream = upstreams.find(&model.upstream, &model.upstream, resolver).unwrap_or_default();
        check_prices(model, resolver);
        table.push(Model {
            name: model.name.value.0.clone(),
            upstream: UpstreamId(upstream),
            upstream_model: upstream_model(model, resolver),
            input_price: model.input_price.value,
            output_price: model.output_price.value,
            cached_input_price: model.cached_input_price.value,
            cache_write_price: model.cache_write_price.value,
            reasoning_price: model.reasoning_price.value,
            context: model.context.value,
            fallback: fallback(i, model, &names, resolver),
        });
    }
    table
}

/// Returns the names of these models.
pub fn names(models: &Field<Vec<Written>>) -> Names<'_> {
    Names::new("model", models, |model| &model.name)
}

fn upstream_model(model: &Written, resolver: &mut Resolver<'_>) -> String {
    let written = model.upstream_model.value.as_deref();
    if written.is_some_and(|name| name.trim().is_empty()) {
        let mistake = Mistake::new("is empty", "write the provider's name of the model, or remove the key");
        resolver.report(&model.upstream_model.place, mistake);
    }
    written.unwrap_or(&model.name.value.0).to_owned()
}

fn check_prices(model: &Written, resolver: &mut Resolver<'_>) {
    let (input, output) = (&model.input_price, &model.output_price);
    for (present, missing) in [(input, output), (output, input)] {
        if present.is_written() && !missing.is_written() {
            let mistake = Mistake::new("is missing beside the other price", "write both prices, or neither");
            resolver.report(&missing.place, mistake);
        }
    }
    for part in [&model.cached_input_price, &model.cache_write_price, &model.reasoning_price] {
        if part.is_written() && !(input.is_written() && output.is_written()) {
            let mistake = Mistake::new("is written without the two prices", "write input_price and output_price");
            resolver.report(&part.place, mistake);
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
        resolver.warn(&cached.place.key, &what);
    }
    if model.context.value == Some(0) {
        let mistake = Mistake::new("is 0", "write the model's context window in tokens, or remove the key");
        resolver.report(&model.context.place, mistake);
    }
}

fn fallback(own: usize, model: &Written, names: &Names<'_>, resolver: &mut Resolver<'_>) -> Fallback {
    let list = match &model.fallback.value {
        WrittenFallback::List(list) => list,
        WrittenFallback::Cheaper => {
            if !model.output_price.is_written() && !model.input_price.is_written() {
                let mistake = Mistake::new(
                    "is \"cheaper\", and this model has no price",
                    "write input_price and output_price, or a list of models",
                );
                resolver.report(&model.fallback.place, mistake);
            }
            return Fallback::Cheaper;
        }
    };
    let mut ids = Vec::new();
    for name in list {
        let id = names.find(name, name, resolver);
        if id == Some(own) {
            let mistake = Mistake::new("is the model itself", "name another model, or write [] for no fallback");
            resolver.report(&name.place, mistake);
        }
        ids.extend(id.map(ModelId));
    }
    Fallback::List(ids)
}
