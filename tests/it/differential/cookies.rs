//! Compares the cookies that a real Chromium stores and sends back with the prediction of the crate `browser`.

use browser::cookie::{Context, CookieOutcome, SetCookie};
use browser::fetch::Fetch;
use browser::origin::PageOrigin;
use browser::quirks::Browser;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;

use super::case::{Case, Hop, Interface, Location, Play, Site};
use super::chromium::ThirdParties;
use super::predicted::page_request;
use super::stage::Sites;
use super::{Bench, seeded};

/// The cookies set in each browser, which stores at most 180 for a host.
const COOKIES: u64 = 170;

#[tokio::test]
async fn cookies_are_stored_as_predicted() {
    let (mut runner, seed) = seeded();
    println!("TOKENWAY_SEED={seed}");
    let mut wrong = Vec::new();
    let mut stored = 0;
    for third_parties in [ThirdParties::Allowed, ThirdParties::Blocked] {
        let mut bench = Bench::open(third_parties).await;
        let cases: Vec<(Case, &str)> =
            (0..COOKIES).map(|_| cookie_case().new_tree(&mut runner).unwrap().current()).collect();
        let running: Vec<(u64, &Case)> = (1..).zip(&cases).map(|(id, (case, _))| (id, case)).collect();
        for (id, case) in &running {
            bench.stage.put_on(*id, case);
        }
        // once to set it, once to see it
        for _ in 0..2 {
            bench.chromium.run(&running, &bench.stage.sites).await;
        }
        for ((id, case), (_, line)) in running.into_iter().zip(&cases) {
            let predicted = predict(case, line, id, &bench.stage.sites, third_parties);
            let cookies = bench.stage.last_cookies(id);
            let actual = cookies.split("; ").any(|cookie| cookie.ends_with(&format!("c{id}=v")));
            stored += u64::from(actual);
            if actual != matches!(predicted, CookieOutcome::Stored | CookieOutcome::Partitioned) {
                wrong.push(format!(
                    "{line} (third parties {third_parties:?}) from {:?}, credentials {}: {predicted:?}",
                    case.hops[0].site, case.credentials
                ));
            }
        }
        bench.close().await;
    }
    wrong.sort_by_key(String::len);
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} are different, such as\n{}",
        wrong.len(),
        wrong[..wrong.len().min(8)].join("\n")
    );
    assert!(stored >= COOKIES / 10, "only {stored} cookies were stored");
}

fn predict(case: &Case, line: &str, id: u64, sites: &Sites, third_parties: ThirdParties) -> CookieOutcome {
    let fetch = Fetch::new(&page_request(case, id, sites)).unwrap();
    let page = PageOrigin::parse(sites.of(Site::Own)).unwrap();
    let context = Context {
        url: fetch.request().url(),
        page: &page,
        credentials: fetch.outgoing().credentials,
        browser: Browser::Chromium,
        third_parties_blocked: third_parties == ThirdParties::Blocked,
    };
    SetCookie::parse(line.replace("{id}", &id.to_string()).as_bytes()).unwrap().outcome(&context)
}

/// A call whose answer sets one cookie, `c{id}`.
fn cookie_case() -> impl Strategy<Value = (Case, &'static str)> {
    let attributes = vec(select(ATTRIBUTES), 0..5).prop_map(|parts| parts.concat());
    let line = (select(&["", "", "", "__Host-", "__Secure-", "__secure-"][..]), attributes)
        .prop_map(|(prefix, attributes)| &*format!("{prefix}c{{id}}=v{attributes}").leak());
    let site = select(&[Site::Other, Site::Own, Site::Third][..]);
    (line, site, select(&["include", "include", "same-origin", "omit"][..])).prop_map(|(line, site, credentials)| {
        let lines = vec![
            ("access-control-allow-origin", "{own}"),
            ("access-control-allow-credentials", "true"),
            ("set-cookie", line),
        ];
        let play = Play { status: 200, lines };
        let hop = Hop { site, preflight: play.clone(), response: play, location: Location::Absolute };
        let case = Case {
            interface: Interface::Fetch,
            method: "GET",
            headers: Vec::new(),
            credentials,
            mode: "cors",
            redirect: "follow",
            body: false,
            hops: vec![hop],
        };
        (case, line)
    })
}

const ATTRIBUTES: &[&str] = &[
    "; Secure",
    "; secure",
    "; SameSite=None",
    "; SameSite=None; Secure",
    "; SameSite=Lax",
    "; samesite=strict",
    "; SameSite=Other",
    "; SameSite",
    "; Partitioned",
    "; Partitioned; Secure; SameSite=None",
    "; HttpOnly",
    "; Path=/",
    "; Path=/case",
    "; Path=/case/",
    "; Path=/ca",
    "; Path=/other",
    "; Path=x",
    "; Path=",
    "; Domain=localhost",
    "; Domain=LOCALHOST",
    "; Domain=127.0.0.1",
    "; Domain=third.localhost",
    "; Domain=.third.localhost",
    "; Domain=0.0.1",
    "; Domain=example.com",
    "; Domain=",
    "; Domain",
    "; Max-Age=60",
    "; Max-Age=0",
    "; Max-Age=-1",
    "; Max-Age=x",
    "; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    "; Expires=Thu, 01 Jan 2099 00:00:00 GMT",
    "; Unknown=1",
    ";",
    "; ;",
];
