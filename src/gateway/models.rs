//! `GET /v1/models`: OpenAI's list of the models that this caller may name, with price and context beside each.

use http::Response;
use serde_json::json;

use super::exchange::Exchange;
use super::response;
use crate::auth::caller::Caller;
use crate::body::Body;
use crate::config::Config;
use crate::error::Reject;
use crate::models::Model;
use crate::models::names::AUTO;
use crate::price::Price;

impl Exchange {
    /// The list for this request's caller.
    pub(super) fn models(&self) -> Result<Response<Body>, Reject> {
        Ok(list(&self.gateway.config, &self.authenticate()?))
    }
}

fn list(config: &Config, caller: &Caller) -> Response<Body> {
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
    let data: Vec<_> = usable.map(model).chain(auto).collect();
    response::json(json!({ "object": "list", "data": data }).to_string())
}
