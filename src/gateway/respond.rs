//! Stage 6: the response to a completion, in the form that the request asks for.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use tokio::time::timeout;

use super::exchange::Exchange;
use super::refusal::failed;
use super::response::{self, add_cost, describe, json};
use super::routes::Route;
use super::source::{AnswerSource, Commit, Origin, Role, splicer};
use crate::body::{Body, Frames};
use crate::cache::replay::Replay;
use crate::cache::response_cache::Reuse;
use crate::cache::source::{self, CacheSource, whole};
use crate::error::Reject;
use crate::metering::meter::Meter;
use crate::metrics::Outcome;
use crate::routing::plan::Plan;
use crate::spend::tally::Tally;
use crate::stream::body::Body as StreamBody;
use crate::stream::log::coalescer::Subscriber;
use crate::stream::model_clients::Whole;
use crate::stream::upstream_source::{Sink, Start, UpstreamSource};
use crate::upstream::failure::Failure;

/// What the head of a stream depends on.
#[derive(Default)]
pub(super) struct Head {
    /// Of the upstream's answer.
    vary: Option<HeaderValue>,
    /// The first output has come in.
    has_output: bool,
    /// No other model will be asked.
    answerer_is_known: bool,
    /// Of a cached answer.
    age: Option<Duration>,
}

impl Exchange {
    /// A stream, a resumable stream or a whole answer.
    ///
    /// # Errors
    /// The failure of the last candidate.
    pub(super) async fn respond(&self, plan: Plan, reuse: Option<Reuse>) -> Result<Response<Body>, Reject> {
        let streaming = plan.request.stream();
        if self.resumable {
            return Box::pin(self.respond_resumable(plan, reuse)).await;
        }
        let origin = self.source(plan, reuse).await?;
        if !streaming {
            return Box::pin(self.respond_whole(origin)).await;
        }
        let (source, head) = self.open(origin, Sink::Body, Commit::FirstOutput).await?;
        let frames: Frames = match source {
            AnswerSource::Upstream(source) => Box::pin(StreamBody::new(source)),
            AnswerSource::Cache(source) => {
                let (every, line) = (self.gateway.completions.rules().heartbeat, self.route.family().heartbeat(false));
                Box::pin(StreamBody::new(*source).with_heartbeat(line, every, head.first_heartbeat(every)))
            }
        };
        Ok(head.response(frames, &self.meter))
    }

    /// Opens a source for this sink, up to the moment at which the head goes out.
    ///
    /// # Errors
    /// No upstream answers.
    pub(super) async fn open(
        &self,
        origin: Origin,
        sink: Sink,
        commit: Commit,
    ) -> Result<(AnswerSource, Head), Reject> {
        let (gateway, meter) = (&self.gateway, &self.meter);
        let (plan, role, origin, head) = match origin {
            Origin::Upstream(plan) => {
                let one = plan.has_one_candidate();
                let mut opening = Arc::clone(&gateway.completions).stream(*plan, meter.clone());
                let (start, head) = match self.committed(&mut opening, commit).await? {
                    Some(opened) => {
                        let head = Head::with_output(opened.feed.vary().cloned());
                        (Start::Opened(opened), head)
                    }
                    // with a fallback, another model may still be the one that answers
                    None => (
                        Start::Opening(opening, self.route.family()),
                        Head { answerer_is_known: one, ..Head::default() },
                    ),
                };
                let source = UpstreamSource::new(start, sink, meter.clone(), gateway.streams());
                return Ok((AnswerSource::Upstream(source), head));
            }
            Origin::Cached(plan, entry, age) => {
                let replay = Replay::instant(entry, self.route.family()).ok_or_else(Reject::defect)?;
                let paced = gateway.config.cache.as_ref().is_some_and(|rules| rules.paced);
                let replay = match paced && commit == Commit::FirstOutput {
                    true => replay.paced(&gateway.shared.drain.begun),
                    false => replay,
                };
                self.reuses(plan.selection.model);
                let head = Head { age: Some(age), ..Head::with_output(None) };
                (plan, Role::Reuses, source::Origin::Cached(replay), head)
            }
            Origin::Coalesced(plan, subscriber, role) => {
                let mut entering = self.enter(&plan, subscriber, role);
                let (origin, head) = match self.committed(&mut entering, commit).await? {
                    Some(subscriber) => {
                        let vary = subscriber.known_head().and_then(|head| head.vary.clone());
                        (source::Origin::Coalesced(subscriber), Head::with_output(vary))
                    }
                    None => {
                        let answerer_is_known = role == Role::Leads && plan.has_one_candidate();
                        (source::Origin::Entering(entering), Head { answerer_is_known, ..Head::default() })
                    }
                };
                (plan, role, origin, head)
            }
        };
        let source = CacheSource::new(origin, self.part(&plan, role), meter.clone(), &plan.request);
        Ok((AnswerSource::Cache(Box::new(source.into_sink(sink))), head))
    }

    /// The commit decision. Nothing is sent before the first output, so that the status can be the right one; but not longer
    /// than `stream.commit_after`, because then the client must hear something, and a failure becomes an event of the stream.
    async fn committed<T>(
        &self,
        opening: &mut (impl Future<Output = Result<T, Failure>> + Unpin),
        commit: Commit,
    ) -> Result<Option<T>, Reject> {
        if commit == Commit::Now {
            return Ok(None);
        }
        match timeout(self.gateway.completions.rules().commit_after, opening).await {
            Ok(opened) => opened.map(Some).map_err(|failure| failed(&failure, &self.meter)),
            Err(_) => Ok(None),
        }
    }

    async fn respond_whole(&self, origin: Origin) -> Result<Response<Body>, Reject> {
        let meter = &self.meter;
        let failed = |failure| failed(&failure, meter);
        match origin {
            Origin::Upstream(plan) => {
                let whole = Arc::clone(&self.gateway.completions).whole(*plan, meter.clone()).await;
                let Whole { body, vary, .. } = whole.map_err(failed)?;
                whole_response(self.route, body, vary, meter)
            }
            Origin::Cached(plan, entry, age) => {
                let family = self.route.family();
                let body = splicer(family).completion(&entry.completion(family).ok_or_else(Reject::defect)?);
                self.reuses(plan.selection.model);
                self.reused(&plan, &entry.tally);
                let mut response = whole_response(self.route, body, None, meter)?;
                response::age(&mut response, age);
                Ok(response)
            }
            Origin::Coalesced(plan, subscriber, role) => {
                let (body, vary) = self.coalesced_whole(&plan, subscriber, role).await.map_err(failed)?;
                whole_response(self.route, body, vary, meter)
            }
        }
    }

    /// A coalesced answer as one body, and its `vary`.
    async fn coalesced_whole(
        &self,
        plan: &Plan,
        subscriber: Subscriber,
        role: Role,
    ) -> Result<(Bytes, Option<HeaderValue>), Failure> {
        let mut subscriber = self.enter(plan, subscriber, role).await?;
        let head = subscriber.head().await?;
        let (body, tally) = match &head.whole {
            Some(body) => (body.clone(), subscriber.tally()),
            None => whole(subscriber, self.route.family()).await?,
        };
        if role == Role::Leads {
            return Ok((body, head.vary.clone()));
        }
        let id = self.gateway.completions.models().find(Some(&head.model));
        id.into_iter().for_each(|id| self.reuses(id));
        self.reused(plan, &tally);
        Ok((splicer(self.route.family()).completion(&body), head.vary.clone()))
    }

    /// Tells the meter how much the answer has that is reused.
    fn reused(&self, plan: &Plan, tally: &Tally) {
        let tally = Tally { prompt_tokens: plan.request.estimated_prompt_tokens(), ..tally.clone() };
        self.meter.record().reused(tally.tokens());
    }
}

impl Head {
    fn with_output(vary: Option<HeaderValue>) -> Self {
        Self { vary, has_output: true, answerer_is_known: true, age: None }
    }

    /// When the first heartbeat is due: at once where the head goes out without output.
    pub(super) fn first_heartbeat(&self, every: Option<Duration>) -> Duration {
        every.filter(|_| self.has_output).unwrap_or_default()
    }

    /// The response whose body is `frames`.
    pub(super) fn response(self, frames: Frames, meter: &Meter) -> Response<Body> {
        let mut response = response::stream(frames, self.vary);
        match self.answerer_is_known {
            true => response::describe(&mut response, meter),
            false => response::name_cache(&mut response, meter),
        }
        self.age.into_iter().for_each(|age| response::age(&mut response, age));
        response
    }
}

/// The response with a whole answer, in the form of the route; it settles the meter.
///
/// # Errors
/// The upstream's JSON lacks what the form needs.
fn whole_response(
    route: Route,
    body: Bytes,
    vary: Option<HeaderValue>,
    meter: &Meter,
) -> Result<Response<Body>, Reject> {
    let model = meter.record().answering().map(|(model, ..)| model.to_owned()).unwrap_or_default();
    let body = route.family().write_answer(body, route.form(), &model);
    let mut response = json(body.map_err(|none| failed(&Failure::from(none), meter))?);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    vary.into_iter().for_each(|vary| drop(headers.insert(header::VARY, vary)));
    describe(&mut response, meter);
    add_cost(&mut response, meter);
    let mut record = meter.record();
    record.status(StatusCode::OK);
    record.settle(Outcome::Ok);
    drop(record);
    Ok(response)
}
