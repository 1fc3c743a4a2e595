//! Stage 6: the response to a completion, in the form that the request asks for.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, header};
use tokio::time::timeout;

use super::exchange::Exchange;
use super::refusal::{defect, failed};
use super::response;
use super::response_head::{add_age, add_cost, describe, name_cache};
use super::routes::Route;
use super::source::{AnswerSource, Origin, Share, splicer};
use super::streams;
use crate::body::{Body, Frames};
use crate::cache::replay::Replay;
use crate::cache::response_cache::Reuse;
use crate::cache::source::{self, CacheSource};
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
use families::chat::answer;

/// When the head goes out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    /// With the first output, or at `stream.commit_after`.
    FirstOutput,
    /// At once: the response is no stream.
    Now,
}

/// What the head of a stream depends on.
#[derive(Default)]
pub(super) struct Head {
    /// The `vary` of the upstream's answer.
    vary: Option<HeaderValue>,
    /// The first output has come in.
    has_output: bool,
    /// No other model will be asked.
    answerer_is_known: bool,
    /// The age of a cached answer.
    age: Option<Duration>,
}

impl Exchange {
    /// A stream, a resumable stream or a whole answer.
    ///
    /// # Errors
    /// The failure of the last candidate, or a wrong `tokenway-resumable`.
    pub(super) async fn respond(&self, plan: Box<Plan>, reuse: Option<Reuse>) -> Result<Response<Body>, Reject> {
        let streaming = plan.request.stream();
        if streams::is_wanted(&self.parts.headers, streaming)? {
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
                let every = self.gateway.completions.rules().heartbeat;
                Box::pin(StreamBody::new(*source).with_heartbeat(every, head.first_heartbeat(every)))
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
        let (share, origin, head) = match origin {
            Origin::Upstream(plan) => {
                let one = plan.has_one_candidate();
                let mut opening = Arc::clone(&gateway.completions).stream(plan, meter.clone());
                let (start, head) = match self.committed(&mut opening, commit).await? {
                    Some(opened) => {
                        let head = Head::with_output(opened.feed.vary().cloned());
                        (Start::Opened(opened), head)
                    }
                    // with a fallback, another model may still be the one that answers
                    None => (Start::Opening(opening), Head { answerer_is_known: one, ..Head::default() }),
                };
                let source = UpstreamSource::new(start, sink, meter.clone(), gateway.streams());
                return Ok((AnswerSource::Upstream(source), head));
            }
            Origin::Cached(share, entry, age) => {
                let replay = Replay::instant(entry).ok_or_else(defect)?;
                let paced = gateway.config.cache.as_ref().is_some_and(|rules| rules.paced);
                let replay = match paced && commit == Commit::FirstOutput {
                    true => replay.paced(&gateway.shared.drain.begun),
                    false => replay,
                };
                self.reuses(share.model);
                (share, source::Origin::Cached(replay), Head { age: Some(age), ..Head::with_output(None) })
            }
            Origin::Coalesced(mut share, subscriber) => {
                let mut entering = self.enter(subscriber, share.joins.take());
                let (origin, head) = match self.committed(&mut entering, commit).await? {
                    Some(subscriber) => {
                        let vary = subscriber.known_head().and_then(|head| head.vary.clone());
                        (source::Origin::Coalesced(subscriber), Head::with_output(vary))
                    }
                    None => {
                        let answerer_is_known = share.leads && share.has_one_candidate;
                        (source::Origin::Entering(entering), Head { answerer_is_known, ..Head::default() })
                    }
                };
                (share, origin, head)
            }
        };
        let source = CacheSource::new(origin, self.part(&share), meter.clone(), share.wants_usage);
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
                let whole = Arc::clone(&self.gateway.completions).whole(plan, meter.clone()).await;
                self.whole(whole.map_err(failed)?)
            }
            Origin::Cached(share, entry, age) => {
                let body = splicer().completion(&entry.completion().ok_or_else(defect)?);
                self.reuses(share.model);
                meter.record().reused(Tally { prompt_tokens: share.prompt_tokens, ..entry.tally.clone() }.tokens());
                let mut response = self.whole(Whole { body, vary: None })?;
                add_age(&mut response, age);
                Ok(response)
            }
            Origin::Coalesced(share, subscriber) => {
                let whole = self.coalesced_whole(*share, subscriber).await.map_err(failed)?;
                self.whole(whole)
            }
        }
    }

    /// The response with a whole answer: the upstream's own JSON, or the short form of it.
    ///
    /// # Errors
    /// The upstream's JSON has no text where the short form needs it.
    fn whole(&self, whole: Whole) -> Result<Response<Body>, Reject> {
        let meter = &self.meter;
        let body = match self.route {
            Route::Chat => {
                let model = meter.record().answering().map(|(model, ..)| model.to_owned()).unwrap_or_default();
                let unusable = |_| failed(&Failure::BadBody("it is no chat completion"), meter);
                answer::to_short(&whole.body, &model).map_err(unusable)?.into()
            }
            _ => whole.body,
        };
        let mut response = response::json(body);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        whole.vary.into_iter().for_each(|vary| drop(headers.insert(header::VARY, vary)));
        describe(&mut response, meter);
        add_cost(&mut response, meter);
        let mut record = meter.record();
        record.status(response.status());
        record.settle(Outcome::Ok);
        drop(record);
        Ok(response)
    }

    async fn coalesced_whole(&self, share: Share, subscriber: Subscriber) -> Result<Whole, Failure> {
        let mut subscriber = self.enter(subscriber, share.joins).await?;
        let head = subscriber.head().await?;
        let (body, tally) = match &head.whole {
            Some(body) => (body.clone(), subscriber.tally()),
            None => source::whole(subscriber).await?,
        };
        if share.leads {
            return Ok(Whole { body, vary: head.vary.clone() });
        }
        let id = self.gateway.completions.models().find(Some(&head.model));
        id.into_iter().for_each(|id| self.reuses(id));
        self.meter.record().reused(Tally { prompt_tokens: share.prompt_tokens, ..tally }.tokens());
        Ok(Whole { body: splicer().completion(&body), vary: head.vary.clone() })
    }
}

impl Head {
    fn with_output(vary: Option<HeaderValue>) -> Self {
        Self { vary, has_output: true, answerer_is_known: true, age: None }
    }

    /// The time until the first heartbeat: zero if the head goes out without output.
    pub(super) fn first_heartbeat(&self, every: Option<Duration>) -> Duration {
        every.filter(|_| self.has_output).unwrap_or_default()
    }

    /// The response whose body is `frames`.
    pub(super) fn response(self, frames: Frames, meter: &Meter) -> Response<Body> {
        let mut response = response::stream(frames, self.vary);
        match self.answerer_is_known {
            true => describe(&mut response, meter),
            false => name_cache(&mut response, meter),
        }
        self.age.into_iter().for_each(|age| add_age(&mut response, age));
        response
    }
}
