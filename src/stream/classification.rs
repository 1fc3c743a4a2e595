//! Requests for `auto` whose classification is pending: asks the classifier, and the easy model at the same time.
//!
//! No byte of the easy model is sent before the decision: [`Completions::stream`] returns one model's stream, and by then
//! the other model's stream is cancelled.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::completions::Completions;
use super::feed::Opened;
use super::feed::Opening;
use crate::metering::meter::Meter;
use crate::routing::auto::{Classifier, Mode};
use crate::routing::plan::{Pending, Plan};
use crate::routing::router::NoVerdict;
use crate::routing::verdict::{Decision, Verdict};
use crate::upstream::failure::Failure;
use families::chat::answer;

impl Completions {
    pub(super) async fn classify_and_open(
        self: Arc<Self>,
        plan: Plan,
        pending: Arc<Pending>,
        meter: Meter,
    ) -> Result<Opened, Failure> {
        if pending.auto.mode != Mode::Speculative {
            let plan = self.classified(plan, &pending, &meter).await?;
            return self.open(plan, meter).await;
        }
        let mut easy: Opening = Box::pin(Arc::clone(&self).open(plan.clone(), meter.clone()));
        let (decision, opened) = {
            let mut decision = pin!(self.decide(&plan, &pending, &meter));
            tokio::select! {
                biased;
                decision = &mut decision => (decision, None),
                opened = &mut easy => (decision.await, Some(opened)),
            }
        };
        meter.record().routed(decision);
        match (decision.verdict, opened) {
            (Verdict::Easy, None) => easy.await,
            (Verdict::Easy, Some(opened)) => opened.map(|opened| opened.committed(Instant::now())),
            (Verdict::Hard, opened) => {
                // cancelled before the other model is asked
                drop((opened, easy));
                let plan = self.to_hard(plan, &pending, &meter).await?;
                self.open(plan, meter).await
            }
        }
    }

    /// Returns the plan with the model that the classification selects.
    pub(super) async fn classified(&self, plan: Plan, pending: &Pending, meter: &Meter) -> Result<Plan, Failure> {
        let decision = self.decide(&plan, pending, meter).await;
        meter.record().routed(decision);
        match decision.verdict {
            Verdict::Easy => Ok(plan),
            Verdict::Hard => self.to_hard(plan, pending, meter).await,
        }
    }

    /// Sends the same request to the hard model, within the caller's limits at that model.
    async fn to_hard(&self, plan: Plan, pending: &Pending, meter: &Meter) -> Result<Plan, Failure> {
        let hard = pending.auto.hard;
        self.reserve_at(hard, &plan, meter).await?;
        let candidates = self.candidates(hard, &plan.request, &plan.caller);
        Ok(Plan { candidates, ..plan })
    }

    async fn decide(&self, plan: &Plan, pending: &Pending, meter: &Meter) -> Decision {
        let classify = async {
            let Classifier { model, timeout } = pending.classifier;
            let question = Plan::of_question(&pending.question, model, plan.caller.clone(), plan.request_id.clone());
            self.classify(question.ok_or(NoVerdict::Unclear)?, timeout, meter).await
        };
        self.router.decide(pending, plan.request_id.to_str().unwrap_or_default(), classify).await
    }

    /// Asks the classifier a question: see [`crate::routing::classifier::Question::plan`]. No cached verdict is used.
    ///
    /// # Errors
    /// The reason why there is no verdict.
    pub async fn classify(&self, question: Plan, time: Duration, meter: &Meter) -> Result<Verdict, NoVerdict> {
        // pinned here: `timeout` would move it, and it has several kilobytes
        let asked = pin!(self.get(question, meter));
        let whole = timeout(time, asked).await.map_err(|_| NoVerdict::Timeout)?;
        let whole = whole.map_err(NoVerdict::Failed)?;
        let text = answer::text(&whole.body).ok().flatten();
        text.as_deref().and_then(Verdict::read).ok_or(NoVerdict::Unclear)
    }
}
