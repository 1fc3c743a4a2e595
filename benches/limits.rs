//! `cargo bench --bench limits`: what the decision about one request costs, and what a million callers weigh.
//!
//! Processor time of this thread, as the kernel accounts it; the best of five rounds counts, since everything else that
//! runs on the machine only adds. Ends with status 1 above two microseconds.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;

use tokenway::caller::Caller;
use tokenway::limit::rules::{Limits, Rules};
use tokenway::limiter::{Asked, Limiter};
use tokenway::metrics::Metrics;

type BoxError = Box<dyn std::error::Error>;

const ROUNDS: usize = 5;
const REQUESTS: u32 = 200_000;
const MOST_NANOSECONDS: f64 = 2000.0;
const CALLERS: usize = 1_000_000;

fn main() -> Result<ExitCode, BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<ExitCode, BoxError> {
    // never reached: every request passes, and is settled
    let all = Limits {
        requests_per_minute: 1_000_000_000,
        burst: 0,
        tokens_per_minute: 1_000_000_000,
        concurrent_streams: 1_000_000,
    };
    let rules = Rules { caller: all, models: Vec::new(), reserve_tokens: 1024 };
    let with_model = Rules { models: vec![("dear".to_owned(), all)], ..rules.clone() };
    let refused =
        Rules { caller: Limits { requests_per_minute: 1, burst: 1, ..Limits::default() }, ..Rules::default() };

    let mut worst: f64 = 0.0;
    let mut report = |what: &str, nanoseconds: f64| {
        println!("{what:<58}{:>8.0} ns", nanoseconds);
        worst = worst.max(nanoseconds);
    };
    report("one caller, three limits, granted and settled", best(&rules, 1).await?);
    report("one caller, six limits (a model's too)", best(&with_model, 1).await?);
    report("one caller, refused", best(&refused, 1).await?);
    report("a million callers in turn, three limits", best(&rules, 1_000_000).await?);

    let limiter = Limiter::local(CALLERS, Arc::new(Metrics::new()?));
    let before = resident_kib()?;
    for number in 0..CALLERS as u32 {
        decide(&limiter, &rules, number).await;
    }
    let grown = (resident_kib()? - before) * 1024.0;
    println!("{:<58}{:>8.0} bytes each", "a million callers, max_callers = 1000000", grown / CALLERS as f64);
    Ok(if worst <= MOST_NANOSECONDS { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Nanoseconds of processor time per request.
async fn best(rules: &Rules, callers: u32) -> Result<f64, BoxError> {
    let limiter = Limiter::local(CALLERS, Arc::new(Metrics::new()?));
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let before = processor_nanoseconds()?;
        for number in 0..REQUESTS {
            decide(&limiter, rules, number % callers).await;
        }
        best = best.min((processor_nanoseconds()? - before) / f64::from(REQUESTS));
    }
    Ok(best)
}

/// Who calls and whether it may: all that a request pays before the upstream is asked, from its address on.
async fn decide(limiter: &Arc<Limiter>, rules: &Rules, number: u32) {
    let caller = Caller::anonymous(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)));
    let asked = Asked { caller: &caller, model: "dear", tokens: 1500 };
    let decision = limiter.admit(rules, asked).await;
    black_box(&decision.fields);
    if let Ok(grant) = decision.outcome {
        grant.settle(700);
    }
}

/// proc(5): the first field of schedstat is the time that this thread has spent on a processor.
fn processor_nanoseconds() -> Result<f64, BoxError> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(schedstat.split(' ').next().unwrap_or_default().parse()?)
}

fn resident_kib() -> Result<f64, BoxError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
