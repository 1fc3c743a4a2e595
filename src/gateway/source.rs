//! Stage 5: where the answer comes from.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::answers;
use super::begun::{Begun, Head};
use super::exchange::Exchange;
use crate::config;
use crate::error::Reject;
use crate::routing::plan::Plan;
use crate::stream::relay::Relay;

impl Exchange {
    /// Opens a stream, up to its first output or `commit_after`.
    pub(super) async fn begin(&self, plan: Plan, rules: &config::Stream) -> Result<Begun<Relay>, Reject> {
        let (gateway, meter) = (&self.gateway, &self.meter);
        let only_one = plan.has_one_candidate();
        let commit = sleep_until(Instant::now() + rules.commit_after);
        let mut opening = Arc::clone(&gateway.router).stream(plan, meter.clone());
        tokio::select! {
            biased;
            opened = &mut opening => {
                let opened = opened.map_err(|failure| answers::failed(&failure, meter))?;
                let vary = opened.feed.vary().cloned();
                let relay = Relay::opened(opened, meter.clone(), rules, &gateway.shared.open);
                let head = Head { vary, has_output: true, answerer_is_known: true, age: None };
                Ok(Begun { source: relay, head })
            }
            // nothing was sent until here, so that the status could be the right one: now the client must hear something
            () = commit => {
                let relay = Relay::opening(opening, meter.clone(), rules, &gateway.shared.open);
                // with a fallback, another model may still be the one that answers
                let head = Head { vary: None, has_output: false, answerer_is_known: only_one, age: None };
                Ok(Begun { source: relay, head })
            }
        }
    }
}
