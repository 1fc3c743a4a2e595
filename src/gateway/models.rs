//! `GET /v1/models` and `GET /v1/models/{id}`: the models that this caller may name, in OpenAI's form, with price and context.

use http::Response;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::exchange::Exchange;
use super::response;
use super::routes::model_id;
use crate::auth::caller::Caller;
use crate::body::Body;
use crate::config::Config;
use crate::error::{Code, Reject};
use crate::models::Model;
use crate::models::names::AUTO;
use crate::price::Price;

impl Exchange {
    /// The list for this request's caller.
    pub(super) fn models(&self) -> Result<Response<Body>, Reject> {
        let data = objects(&self.gateway.config, &self.authenticate()?);
        Ok(response::json(json!({ "object": "list", "data": data }).to_string()))
    }

    /// One model of that list.
    ///
    /// # Errors
    /// 404 `model_not_found`, also for a model that the caller may not use.
    pub(super) fn model(&self) -> Result<Response<Body>, Reject> {
        let objects = objects(&self.gateway.config, &self.authenticate()?);
        let written = model_id(self.parts.uri.path()).unwrap_or_default();
        let name = percent_decode_str(written).decode_utf8_lossy();
        let found = objects.into_iter().find(|model| model["id"] == *name);
        let missing =
            || Reject::new(Code::ModelNotFound, "There is no such model for this caller: see GET /v1/models.");
        found.map(|model| response::json(model.to_string())).ok_or_else(missing)
    }
}

fn objects(config: &Config, caller: &Caller) -> Vec<Value> {
    let price = |price: Option<Price>| price.map(|price| price.to_string());
    let model = |model: &Model| {
        json!({
            "id": model.name,
            "object": "model",
            "created": 0,
            "owned_by": config.upstreams[model.upstream.0].name,
            "context": model.context,
            "input_price": price(model.input_price),
            "output_price": price(model.output_price),
        })
    };
    let usable = config.models.models().iter().filter(|model| caller.may_use(&model.name));
    let auto = config.auto.as_ref().and_then(|auto| {
        let name = |id| config.models.get(id).name.as_str();
        auto.choice(|id| caller.may_use(name(id)))?;
        // a prompt that exceeds both contexts is too long
        let context = [auto.easy, auto.hard].map(|id| config.models.get(id).context).into_iter().max().flatten();
        Some(json!({
            "id": AUTO, "object": "model", "created": 0, "owned_by": "tokenway",
            "context": context, "input_price": null, "output_price": null,
        }))
    });
    usable.map(model).chain(auto).collect()
}
