//! `cargo bench --bench limits`: what the check of a credential and the decision about one request cost, together and each
//! by itself, and what a million callers weigh.
//!
//! Processor time of this thread, as the kernel accounts it; the best of five rounds counts, since everything else that
//! runs on the machine only adds. Ends with status 1 where one request costs more than two microseconds.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cors::decision;
use http::request::Parts;
use http::{Request, header};
use tokenway::auth::authenticate::Authenticator;
use tokenway::auth::caller::Caller;
use tokenway::auth::claims::Claims;
use tokenway::auth::key::Key;
use tokenway::auth::revocations::LocalRevocations;
use tokenway::auth::settings::Access;
use tokenway::auth::signatures::Signatures;
use tokenway::auth::token::Tokens;
use tokenway::auth::token_key::{SigningKey, TokenKey};
use tokenway::config::Config;
use tokenway::limits::limiter::{Demand, Limiter};
use tokenway::limits::policy::{Limits, Rules};
use tokenway::metrics::Metrics;

type BoxError = Box<dyn std::error::Error>;

const ROUNDS: usize = 5;
const REQUESTS: u32 = 200_000;
/// Between two looks at the time, of what may cost a hundred times as much.
const SIGNATURES: u32 = 500;
/// Long beside the steps in which the kernel accounts.
const LONG: f64 = 2e8;
const MOST_NANOSECONDS: f64 = 2000.0;
const CALLERS: usize = 1_000_000;
const ORIGIN: &str = "https://app.example";
const SECRET: &str = "a-secret-of-the-benchmark-which-opens-nothing";
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn main() -> Result<ExitCode, BoxError> {
    // `cargo test --all-targets` starts it without a flag, nextest with `--list`: there is no test in here
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(ExitCode::SUCCESS);
    }
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
    println!("{:<48}{:>12}{:>12}{:>12}", "nanoseconds of processor time per request", "check", "decision", "both");
    for (what, rules, callers) in [
        ("an address, three limits", &rules, 1),
        ("an address, six limits (a model's too)", &with_model, 1),
        ("an address, refused", &refused, 1),
        ("a million addresses in turn, three limits", &rules, 1_000_000),
    ] {
        let decision = decision(rules, callers).await?;
        println!("{what:<48}{:>12}{decision:>12.0}{:>12}", "-", "-");
        worst = worst.max(decision);
    }
    for credential in Credential::all()? {
        let (check, both) = (credential.check()?, credential.check_and_decision(&rules).await?);
        println!("{:<48}{check:>12.0}{:>12.0}{both:>12.0}", format!("{}, three limits", credential.name), both - check);
        worst = worst.max(both);
    }
    println!("the signature of a token that was not seen before");
    for (name, tokens, token) in signed_tokens()? {
        let nanoseconds = first_sight(&tokens, &token)?;
        println!("{name:<48}{nanoseconds:>12.0}");
    }

    let limiter = Limiter::local(CALLERS, Arc::new(Metrics::new()?));
    let before = resident_kib()?;
    for number in 0..CALLERS as u32 {
        decide(&limiter, &rules, &by_address(number)).await;
    }
    let grown = (resident_kib()? - before) * 1024.0;
    println!("{:<48}{:>12.0} bytes each", "a million callers, max_callers = 1000000", grown / CALLERS as f64);
    Ok(if worst <= MOST_NANOSECONDS { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Nanoseconds of processor time per request.
async fn decision(rules: &Rules, callers: u32) -> Result<f64, BoxError> {
    let limiter = Limiter::local(CALLERS, Arc::new(Metrics::new()?));
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let before = processor_nanoseconds()?;
        for number in 0..REQUESTS {
            decide(&limiter, rules, &by_address(number % callers)).await;
        }
        best = best.min((processor_nanoseconds()? - before) / f64::from(REQUESTS));
    }
    Ok(best)
}

fn by_address(number: u32) -> Caller {
    Caller::anonymous(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
}

/// Both steps of an admission, and their settlement: all that the limits of a caller cost one request.
async fn decide(limiter: &Arc<Limiter>, rules: &Rules, caller: &Caller) {
    let of_request = limiter.admit(rules, caller).await;
    black_box(&of_request.fields);
    let Ok(request) = of_request.outcome else { return };
    let of_tokens = limiter.admit_tokens(rules, Demand { caller, model: "dear", tokens: 1500 }).await;
    black_box(&of_tokens.fields);
    request.settle(700);
    if let Ok(tokens) = of_tokens.outcome {
        tokens.settle(700);
    }
}

/// A request with a credential, and all that its check needs.
struct Credential {
    name: &'static str,
    access: Access,
    signatures: Signatures,
    revocations: LocalRevocations,
    metrics: Arc<Metrics>,
    parts: Parts,
    cors: decision::Decision,
}

impl Credential {
    fn all() -> Result<Vec<Self>, BoxError> {
        let key = Key::from_random([7; 32]);
        let mut all = vec![Self::new("a gateway key", key.expose(), None)?];
        for (name, tokens, token) in signed_tokens()? {
            all.push(Self::new(name, &token, Some(tokens))?);
        }
        all.push(Self::session()?);
        Ok(all)
    }

    /// One that stands in `authorization`.
    fn new(name: &'static str, credential: &str, tokens: Option<Tokens>) -> Result<Self, BoxError> {
        let mut config = config()?;
        if let Some(tokens) = tokens {
            config.access.tokens = tokens;
        }
        let (parts, ()) =
            request().header(header::AUTHORIZATION, format!("Bearer {credential}")).body(())?.into_parts();
        Self::with(name, config, parts)
    }

    fn session() -> Result<Self, BoxError> {
        let config = config()?;
        let login = Self::new("", &SigningKey::from_secret(SECRET.as_bytes())?.sign(&claims()?)?, None)?;
        let sessions = config.access.sessions.as_ref().ok_or("no sessions")?;
        let (_, cookie) =
            login.authenticator().log_in(sessions, &login.parts, ADDRESS).map_err(|reject| reject.message)?;
        let cookie = cookie.to_str()?.split(';').next().unwrap_or_default().to_owned();
        let (parts, ()) = request().header(header::COOKIE, cookie).body(())?.into_parts();
        // sealed by the same secret
        Self::with("a session's cookie", config, parts)
    }

    fn with(name: &'static str, config: Config, parts: Parts) -> Result<Self, BoxError> {
        let cors = decision::decide(&config.cors, "POST", &parts.method, &parts.headers);
        let (signatures, revocations) = (Signatures::default(), LocalRevocations::default());
        let metrics = Arc::new(Metrics::new()?);
        Ok(Self { name, access: config.access, signatures, revocations, metrics, parts, cors })
    }

    fn authenticator(&self) -> Authenticator<'_> {
        let Self { access, signatures, revocations, metrics, .. } = self;
        Authenticator { rules: access, signatures, revocations, metrics }
    }

    fn caller(&self) -> Result<Caller, String> {
        self.authenticator()
            .authenticate(&self.parts, &self.cors, ADDRESS)
            .map_err(|reject| format!("{}: {reject:?}", self.name))
    }

    fn check(&self) -> Result<f64, BoxError> {
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            let before = processor_nanoseconds()?;
            for _ in 0..REQUESTS {
                black_box(self.caller()?);
            }
            best = best.min((processor_nanoseconds()? - before) / f64::from(REQUESTS));
        }
        Ok(best)
    }

    async fn check_and_decision(&self, rules: &Rules) -> Result<f64, BoxError> {
        let limiter = Limiter::local(CALLERS, Arc::clone(&self.metrics));
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            let before = processor_nanoseconds()?;
            for _ in 0..REQUESTS {
                let caller = self.caller()?;
                decide(&limiter, rules, &caller).await;
            }
            best = best.min((processor_nanoseconds()? - before) / f64::from(REQUESTS));
        }
        Ok(best)
    }
}

fn request() -> http::request::Builder {
    Request::post("/v1/chat/completions")
        .header(header::ORIGIN, ORIGIN)
        .header(header::CONTENT_TYPE, "application/json")
}

/// All three kinds are taken; a thousand keys are known.
fn config() -> Result<Config, BoxError> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("limits-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let keys = (0..1000_u16).map(|number| {
        let mut bits = [7; 32];
        if number > 0 {
            bits[..2].copy_from_slice(&number.to_le_bytes());
        }
        format!("[[keys]]\nname = \"caller-{number}\"\nsha256 = \"{}\"\n", Key::from_random(bits).hash())
    });
    std::fs::write(directory.join("keys.toml"), keys.collect::<String>())?;
    let text = format!(
        r#"
[server]
plaintext = true
hosts = ["localhost"]
[cors]
origins = ["{ORIGIN}"]
credentials = true
[access]
accept = ["key", "token", "session"]
keys_file = "keys.toml"
[[upstreams]]
name = "one"
base_url = "http://127.0.0.1:9/v1"
[[models]]
name = "dear"
upstream = "one"
"#
    );
    let config =
        Config::parse(&text, &directory, &|_| Some(SECRET.to_owned())).map_err(|problems| problems.to_string());
    std::fs::remove_dir_all(&directory)?;
    Ok(config?)
}

fn claims() -> Result<Claims, BoxError> {
    let exp = (now()? + 600) as f64;
    let origin = Some(ORIGIN.to_owned());
    Ok(Claims {
        sub: "user-17".to_owned(),
        exp,
        nbf: None,
        aud: None,
        origin,
        models: Some(vec!["dear".to_owned(), "cheap".to_owned()]),
        rpm: Some(1_000_000_000),
        tpm: None,
        streams: None,
        budget: None,
    })
}

/// One of each algorithm, with who verifies it.
fn signed_tokens() -> Result<Vec<(&'static str, Tokens, String)>, BoxError> {
    const RSA: (&str, &str) =
        (include_str!("../src/auth/test_keys/rsa.pem"), include_str!("../src/auth/test_keys/rsa.pub.pem"));
    let pair = |algorithm| -> Result<_, BoxError> {
        let pair = rcgen::KeyPair::generate_for(algorithm)?;
        let signing = SigningKey::from_pem(pair.serialize_pem().as_bytes())?;
        Ok((signing, TokenKey::from_pem(pair.public_key_pem().as_bytes())?))
    };
    let secret = (SigningKey::from_secret(SECRET.as_bytes())?, TokenKey::from_secret(SECRET.as_bytes())?);
    let rsa = (SigningKey::from_pem(RSA.0.as_bytes())?, TokenKey::from_pem(RSA.1.as_bytes())?);
    [
        ("a token, HS256", secret),
        ("a token, EdDSA", pair(&rcgen::PKCS_ED25519)?),
        ("a token, ES256", pair(&rcgen::PKCS_ECDSA_P256_SHA256)?),
        ("a token, RS256 (2048 bits)", rsa),
    ]
    .into_iter()
    .map(|(name, (signing, key))| {
        Ok((name, Tokens::new(vec![key], Duration::from_mins(15), None), signing.sign(&claims()?)?))
    })
    .collect()
}

/// What a token costs that was not seen before.
fn first_sight(tokens: &Tokens, token: &str) -> Result<f64, BoxError> {
    let now = now()?;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let (before, mut verified, mut spent) = (processor_nanoseconds()?, 0, 0.0);
        while spent < LONG {
            for _ in 0..SIGNATURES {
                let checked = tokens.check(black_box(token), Some(ORIGIN), now);
                black_box(checked.map_err(|refusal| refusal.as_str())?);
            }
            verified += SIGNATURES;
            spent = processor_nanoseconds()? - before;
        }
        best = best.min(spent / f64::from(verified));
    }
    Ok(best)
}

fn now() -> Result<u64, BoxError> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
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
