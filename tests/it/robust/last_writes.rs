//! The end of the process: what the last streams used is in Redis before it.

use serde_json::{Value, json};

use super::schedules::settled;
use crate::cost::budgets::nano;
use crate::support::child::{Child, Plan, chat, post, with};
use crate::support::redis::Redis;
use crate::support::soon;
use crate::support::sse::Events;

/// Streams that are cut together.
const STREAMS: usize = 16;

#[tokio::test]
async fn budgets_and_permits_of_streams_that_a_drain_cuts_are_settled_in_redis_before_the_process_ends() {
    let redis = Redis::start().await;
    let more = format!(
        "[limits]\nrequests_per_minute = 0\nconcurrent_streams = 100\n[cost]\nbudget_per_day = 100\n\
         [redis]\nurl = \"{}\"\ntimeout = \"5s\"\n",
        redis.url()
    );
    let mut child = Child::start(Plan { server: "drain = \"100ms\"", more: &more, ..Plan::default() }).await;
    let body = chat(true, json!({ "tokens": 8, "hold": 3 }));
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        // through a log of their own, and directly
        let request = with(post(&body), "tokenway-resumable", if number % 2 == 0 { "true" } else { "false" });
        let mut events = Events::of(soon(soon(child.target.h2()).await.send_request(request)).await.unwrap());
        soon(events.next()).await.unwrap();
        streams.push(events);
    }
    // a slow Redis that has lost its scripts: a settlement takes two round trips, the first of them longer than the drain
    redis.command::<()>(&["SCRIPT", "FLUSH"]).await;
    redis.command::<()>(&["CLIENT", "PAUSE", "500", "ALL"]).await;
    child.server.signal("TERM");
    for events in &mut streams {
        assert!(events.rest().await.last().unwrap().text.contains("\"draining\""));
    }
    assert_eq!(child.server.ended().await.code(), Some(0));
    let lines = child.server.output();
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let costs: Vec<u64> = lines.filter_map(|line| line["cost"].as_str().map(nano)).collect();
    assert_eq!(costs.len(), STREAMS);
    settled(&redis, costs.iter().sum()).await.unwrap();
}
