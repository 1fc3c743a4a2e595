//! A request that is undecided when the configuration changes.

use demo_upstream::{Demo, Knobs};
use http_body_util::BodyExt;
use tokio::net::TcpListener;

use super::{asks, says};
use crate::support::child::{Child, Plan, post};
use crate::support::edge::expected;
use crate::support::soon;

#[tokio::test]
async fn what_began_undecided_is_decided_and_answered_as_it_began() {
    let judge = Knobs { hold: Some(0), ..says("hard") };
    let judge = Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), judge).unwrap();
    let models = format!(
        "[[upstreams]]\nname = \"bench\"\nbase_url = \"http://{}/v1\"\n\
         [[models]]\nname = \"judge\"\nupstream = \"bench\"\n\
         [[models]]\nname = \"strong\"\nupstream = \"demo\"\n",
        judge.addr
    );
    let auto = "[routing.auto]\neasy = \"demo\"\nhard = \"strong\"\nclassifier = \"judge\"\ntimeout = \"60s\"\n";
    let with_auto = format!("{models}{auto}");
    let child = Child::start(Plan { more: &with_auto, ..Plan::default() }).await;
    let request = asks("auto", "Hm?", true);
    let mut client = soon(child.target.h2()).await;
    let answer = client.send_request(post(&request));
    let reload = async {
        soon(judge.until(|counts| counts.held == 1)).await;
        // the models of it are gone, too
        child.configure(Plan::default());
        child.server.signal("HUP");
        child.until(|now| now.sum("tokenway_config_reloads_total", &[("result", "ok")]) == 1.0).await;
        judge.release(1);
    };
    let (answer, ()) = tokio::join!(soon(answer), reload);
    let answer = answer.unwrap();
    assert_eq!(
        (&answer.headers()["tokenway-route"], &answer.headers()["tokenway-model"]),
        (&"hard;by=classifier".parse().unwrap(), &"strong".parse().unwrap())
    );
    let body = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(body, expected(&asks("strong", "Hm?", true)).concat());
    let after = soon(client.send_request(post(&request))).await.unwrap();
    assert_eq!(after.status(), 404, "there is no `auto` any more");
}
