use std::net::IpAddr;

use tokio::time::advance;

use super::*;
use crate::limits::policy::Limits;

const SECOND: Duration = Duration::from_secs(1);

fn limiter() -> (Arc<Limiter>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new().unwrap());
    (Limiter::local(1000, metrics.clone()), metrics)
}

fn rules(caller: Limits) -> Rules {
    Rules { caller, ..Rules::default() }
}

fn caller() -> Caller {
    Caller::anonymous(IpAddr::from([192, 0, 2, 1]))
}

/// The grants of both steps.
struct Grants(Grant, Grant);

impl Grants {
    fn settle(self, used: u64) {
        self.0.settle(used);
        self.1.settle(used);
    }
}

async fn ask(limiter: &Arc<Limiter>, rules: &Rules, tokens: u64) -> Result<Grants, Reject> {
    let of_request = limiter.admit(rules, &caller()).await.outcome?;
    let of_tokens = limiter.admit_tokens(rules, Demand { caller: &caller(), model: "m", tokens }).await.outcome?;
    Ok(Grants(of_request, of_tokens))
}

#[tokio::test(start_paused = true)]
async fn nothing_is_limited_without_limits() {
    let (limiter, _) = limiter();
    let demand = Demand { caller: &caller(), model: "m", tokens: u64::MAX };
    let of_request = limiter.admit(&Rules::default(), &caller()).await;
    let of_tokens = limiter.admit_tokens(&Rules::default(), demand).await;
    for decision in [of_request, of_tokens] {
        assert!(decision.outcome.is_ok() && decision.fields.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_limit_and_when_to_come_back() {
    let (limiter, metrics) = limiter();
    let rules = rules(Limits { requests_per_minute: 6, burst: 1, ..Limits::default() });
    assert!(ask(&limiter, &rules, 0).await.is_ok());
    advance(SECOND / 2).await;
    let reject = ask(&limiter, &rules, 0).await.err().unwrap();
    assert_eq!((reject.code, reject.retry_after), (Code::RateLimited, Some(SECOND * 19 / 2)));
    assert!(reject.message.contains("requests per minute") && reject.message.contains("10 s"), "{}", reject.message);
    assert_eq!(metrics.rate_limited.with_label_values(&["requests"]).get(), 1);
    advance(SECOND * 19 / 2).await;
    assert!(ask(&limiter, &rules, 0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_however_a_completion_ends() {
    let (limiter, _) = limiter();
    let rules = rules(Limits { concurrent_streams: 1, ..Limits::default() });
    let settled = |grants: Grants| grants.settle(5);
    let dropped = |grants: Grants| drop(grants);
    let panicked = |grants: Grants| {
        let panic = std::panic::AssertUnwindSafe(move || {
            let _grants = grants;
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(std::panic::catch_unwind(panic).is_err());
    };
    for end in [&settled as &dyn Fn(Grants), &dropped, &panicked] {
        let grant = ask(&limiter, &rules, 0).await.unwrap();
        assert!(ask(&limiter, &rules, 0).await.is_err());
        end(grant);
    }
    assert!(ask(&limiter, &rules, 0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn tokens_are_reserved_then_settled_with_what_was_used() {
    let (limiter, _) = limiter();
    let rules = rules(Limits { tokens_per_minute: 1000, ..Limits::default() });
    let grant = ask(&limiter, &rules, 800).await.unwrap();
    assert!(ask(&limiter, &rules, 300).await.is_err());
    grant.settle(100);
    // 100 are used, 900 are left
    let grant = ask(&limiter, &rules, 900).await.unwrap();
    assert!(ask(&limiter, &rules, 1).await.is_err());
    // more than was reserved is owed
    grant.settle(1900);
    advance(SECOND * 60).await;
    let owed = ask(&limiter, &rules, 1).await.err().unwrap();
    assert_eq!(owed.retry_after.map(|wait| wait.as_secs()), Some(0));
    advance(SECOND).await;
    assert!(ask(&limiter, &rules, 1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn more_than_a_minutes_tokens_are_reserved_as_a_minutes() {
    let (limiter, _) = limiter();
    let rules = rules(Limits { tokens_per_minute: 1000, ..Limits::default() });
    assert!(ask(&limiter, &rules, 1_000_000).await.is_ok());
    assert!(ask(&limiter, &rules, 1).await.is_ok(), "the first one was given back");
}
