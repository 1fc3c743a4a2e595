//! `tokenway token mint`: makes a token as the app's own backend does, for tests and scripts.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args as ClapArgs, Subcommand};

use super::failure::Failure;
use settings::{Env, Secret, parse_duration};
use tokenway::auth::claims::{Audience, Claims};
use tokenway::auth::token_key::SigningKey;

/// Mints tokens: short-lived credentials for pages, which the app's own backend makes in the same way.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Example:
  tokenway token mint --sub user-17 --ttl 5m --models gpt-4o")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints a signed token to stdout
    Mint(Mint),
}

/// Prints a signed token to stdout.
///
/// Exit status: 0 good, 64 a wrong flag, secret or key.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  export TOKENWAY_TOKEN_SECRET=$(openssl rand -hex 32)
  tokenway token mint --sub user-17 --ttl 5m --models gpt-4o --rpm 20 \\
    --origin https://app.example.com

  tokenway token mint --sub user-17 --ttl 5m --private-key ed25519.pem")]
struct Mint {
    /// The subject: a user's id
    #[arg(long, value_name = "SUBJECT")]
    sub: String,
    /// The lifetime; at most access.token_max_age
    #[arg(long, value_name = "DURATION", value_parser = ttl)]
    ttl: Duration,
    /// The one origin whose pages may use it
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// The models that it may use, with commas between them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    models: Option<Vec<String>>,
    /// Requests per minute
    #[arg(long, value_name = "NUMBER")]
    rpm: Option<u64>,
    /// Tokens per minute
    #[arg(long, value_name = "NUMBER")]
    tpm: Option<u64>,
    /// Concurrent streams
    #[arg(long, value_name = "NUMBER")]
    streams: Option<u64>,
    /// US dollars a day
    #[arg(long, value_name = "DOLLARS")]
    budget: Option<f64>,
    /// access.token_audience, if that is set
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// The environment variable that holds the shared secret (HS256)
    #[arg(long, value_name = "NAME", default_value = "TOKENWAY_TOKEN_SECRET", conflicts_with = "private_key")]
    secret_env: String,
    /// A private key in PKCS #8 PEM form instead: Ed25519 (EdDSA), P-256 (ES256) or RSA (RS256)
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
}

/// Runs the command with this process's environment and streams.
pub(crate) fn run(args: &Args) -> ExitCode {
    let Command::Mint(mint) = &args.command;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match minted(mint, &|name| std::env::var(name).ok(), now) {
        Ok(token) => match writeln!(io::stdout(), "{token}") {
            Ok(()) => ExitCode::SUCCESS,
            // stdout is closed
            Err(_) => ExitCode::FAILURE,
        },
        Err(reason) => Failure::usage(reason).report("", false),
    }
}

fn minted(mint: &Mint, env: Env<'_>, now: Duration) -> Result<String, String> {
    let claims = Claims {
        sub: mint.sub.clone(),
        exp: (now + mint.ttl).as_secs() as f64,
        nbf: None,
        aud: mint.audience.clone().map(Audience::One),
        origin: mint.origin.clone(),
        models: mint.models.clone(),
        rpm: mint.rpm,
        tpm: mint.tpm,
        streams: mint.streams,
        budget: mint.budget,
    };
    key(mint, env)?.sign(&claims)
}

fn key(mint: &Mint, env: Env<'_>) -> Result<SigningKey, String> {
    if let Some(path) = &mint.private_key {
        let named = |reason: String| format!("--private-key: the file {reason}");
        let pem = std::fs::read(path).map_err(|error| named(format!("cannot be read: {error}")))?;
        return SigningKey::from_pem(&pem).map_err(named);
    }
    let named =
        |reason: &str| format!("the variable of --secret-env (TOKENWAY_TOKEN_SECRET, unless it is written) {reason}");
    let secret = env(&mint.secret_env).ok_or_else(|| named("is not set; set it to the gateway's token secret"))?;
    let secret = Secret::parse(secret.as_bytes()).map_err(|mistake| named(&mistake.reason))?;
    SigningKey::from_secret(secret.expose().as_bytes()).map_err(|reason| named(&reason))
}

fn ttl(text: &str) -> Result<Duration, String> {
    let long_enough = |ttl: &Duration| *ttl >= Duration::from_secs(1);
    let expected = || "expected a duration such as 90s or 5m".to_owned();
    parse_duration(text).ok().filter(long_enough).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use tempfile::TempDir;
    use tokenway::auth::token::Tokens;
    use tokenway::auth::token_key::TokenKey;

    const SECRET: &str = "canary-0123456789abcdef0123456789";
    const NOW: Duration = Duration::from_secs(1_800_000_000);

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn mint(words: &str, secret: Option<&str>) -> Result<String, String> {
        let cli = Cli::try_parse_from(["token", "mint"].into_iter().chain(words.split(' ')));
        let Command::Mint(mint) = cli.map_err(|error| error.to_string())?.args.command;
        let env = |name: &str| secret.filter(|_| name == "TOKENWAY_TOKEN_SECRET").map(str::to_owned);
        minted(&mint, &env, NOW)
    }

    fn good(token: &str, key: TokenKey, audience: Option<&str>) -> bool {
        let tokens = Tokens::new(vec![key], Duration::from_mins(15), audience.map(str::to_owned));
        tokens.check(token, Some("https://a.example"), NOW.as_secs()).is_ok_and(|verified| {
            &*verified.subject == "ann"
                && verified.terms.models.as_deref() == Some(&["m".to_owned(), "n".to_owned()][..])
        })
    }

    #[test]
    fn a_minted_token_is_a_good_one() {
        let words = "--sub ann --ttl 5m --models m,n --origin https://a.example --audience gateway";
        let token = mint(words, Some(&format!("{SECRET}\n"))).unwrap();
        assert!(good(&token, TokenKey::from_secret(SECRET.as_bytes()).unwrap(), Some("gateway")));
    }

    #[test]
    fn a_private_key_signs_by_its_own_algorithm() {
        let dir = TempDir::new().unwrap();
        for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256] {
            let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let file = dir.path().join("key.pem");
            std::fs::write(&file, pair.serialize_pem()).unwrap();
            let words = format!("--sub ann --ttl 5m --models m,n --private-key {}", file.display());
            let token = mint(&words, None).unwrap();
            assert!(good(&token, TokenKey::from_pem(pair.public_key_pem().as_bytes()).unwrap(), None));
        }
    }

    #[test]
    fn mistakes_are_reported_without_the_secret() {
        for (words, secret, reason) in [
            ("--sub ann --ttl 5m", None, "is not set"),
            ("--sub ann --ttl 5m", Some("canary"), "fewer than 32 bytes"),
            ("--sub ann --ttl 5m", Some(""), "is empty"),
            ("--sub ann --ttl 0s", Some(SECRET), "such as 90s"),
            ("--sub ann", Some(SECRET), "--ttl"),
            ("--sub ann --ttl 5m --private-key /nonexistent", None, "cannot be read"),
        ] {
            let refused = mint(words, secret).unwrap_err();
            assert!(refused.contains(reason) && !refused.contains("canary"), "{refused}");
        }
    }
}
