//! `tokenway key`: gateway keys, made, listed and revoked in the keys file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};

use super::failure::Failure;
use bench::report::format::plural;
use settings::parse_duration;
use tokenway::auth::caller::{Allowance, Terms};
use tokenway::auth::key::Key;
use tokenway::auth::key_file;
use tokenway::auth::keyring::KeyRecord;
use tokenway::price::Cost;

/// Creates, lists and revokes gateway keys: the credentials of servers and scripts.
///
/// The keys file holds the SHA-256 of each key and never a key. A running gateway reads it again after `kill -HUP`. Exit
/// status: 0 good, 64 a wrong name or file, 1 the file cannot be read or written.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  tokenway key new nightly-report --requests-per-minute 30 \\
    --models gpt-4o --expires 2160h
  curl https://gateway.example/v1/models -H \"authorization: Bearer $KEY\"

  tokenway key revoke nightly-report && kill -HUP $(pidof tokenway)")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// The file that access.keys_file names
    #[arg(long, global = true, value_name = "FILE", default_value = "keys.toml")]
    keys_file: PathBuf,
    /// Write JSON to stdout instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Creates a key, prints it to stdout once, and adds its hash to the file
    #[command(after_help = "\
Examples:
  tokenway key new nightly-report --models gpt-4o --expires 2160h
  tokenway key new batch --concurrent-streams 2 --budget-per-day 5 \\
    --keys-file /etc/tokenway/keys.toml")]
    New(NewArgs),
    /// Lists the keys: name, state, limits
    #[command(after_help = "\
Examples:
  tokenway key list
  tokenway key list --json | jq 'select(.good) | .name'")]
    List,
    /// Revokes a key; its entry stays, so that its name is not used again
    #[command(after_help = "\
Example:
  tokenway key revoke nightly-report && kill -HUP $(pidof tokenway)")]
    Revoke {
        /// The key's name
        name: String,
    },
}

#[derive(Debug, ClapArgs)]
struct NewArgs {
    /// The user of the key: 1 to 64 letters, digits and `._-`; appears in logs and metrics
    name: String,
    /// Instead of limits.requests_per_minute; 0 = no limit
    #[arg(long, value_name = "NUMBER")]
    requests_per_minute: Option<u64>,
    /// Instead of limits.tokens_per_minute; 0 = no limit
    #[arg(long, value_name = "NUMBER")]
    tokens_per_minute: Option<u64>,
    /// Instead of limits.concurrent_streams; 0 = no limit
    #[arg(long, value_name = "NUMBER")]
    concurrent_streams: Option<u64>,
    /// US dollars a day, instead of cost.budget_per_day; 0 = no bound
    #[arg(long, value_name = "DOLLARS", value_parser = Cost::parse)]
    budget_per_day: Option<Cost>,
    /// The models that it may use, with commas between them; without this, all
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    models: Option<Vec<String>>,
    /// When the key expires: a duration from now such as 2160h, or a time in UTC such as 2027-01-31
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

/// Why a command failed.
enum Failed {
    /// The arguments or the file are wrong.
    Wrong(String),
    Io(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Io(error)
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    let file = args.keys_file.display();
    match execute(args, now(), &mut io::stdout().lock()) {
        Ok(note) => {
            eprint!("{note}");
            ExitCode::SUCCESS
        }
        Err(Failed::Wrong(reason)) => Failure::usage(format!("{file}: {reason}")).report("", args.json),
        Err(Failed::Io(error)) => {
            let mend = "name a readable file, in a directory that may be written to, with --keys-file";
            Failure::failed(format!("{file}: {error}; {mend}")).report("", args.json)
        }
    }
}

/// Writes the result to `out`; returns the message for stderr.
fn execute(args: &Args, now: u64, out: &mut impl Write) -> Result<String, Failed> {
    match &args.command {
        Command::New(new) => {
            let mut bits = [0; 32];
            getrandom::fill(&mut bits).map_err(|error| io::Error::other(error.to_string()))?;
            let key = Key::from_random(bits);
            let record = new.record(&key, now)?;
            edit(&args.keys_file, |text| {
                let records = key_file::parse(text).map_err(all)?;
                match records.iter().any(|other| other.name == record.name) {
                    true => Err(Failed::Wrong(format!("the name {} is taken; choose another", record.name))),
                    false => Ok(key_file::with_key(text, &record, now)),
                }
            })?;
            match args.json {
                true => writeln!(out, "{}", json!({ "name": &*record.name, "key": key.expose() }))?,
                false => writeln!(out, "{}", key.expose())?,
            }
            let file = args.keys_file.display();
            Ok(format!("{file} holds its hash, and the key is stored nowhere: store it now. {RELOAD}\n"))
        }
        Command::List => {
            let records = key_file::parse(&fs::read_to_string(&args.keys_file)?).map_err(all)?;
            for record in &records {
                match args.json {
                    true => writeln!(out, "{}", described(record, now))?,
                    false => writeln!(out, "{}", line(record, now))?,
                }
            }
            Ok(String::new())
        }
        Command::Revoke { name } => {
            edit(&args.keys_file, |text| {
                let changed = key_file::with_revoked(text, name, now).map_err(|flaw| all(vec![flaw]))?;
                changed.ok_or_else(|| Failed::Wrong(format!("no key has the name {name}; see `tokenway key list`")))
            })?;
            if args.json {
                writeln!(out, "{}", json!({ "name": name, "revoked": key_file::format_time(now) }))?;
            }
            Ok(format!("{name} is revoked. {RELOAD}\n"))
        }
    }
}

const RELOAD: &str = "A running gateway applies this after `kill -HUP`.";

impl NewArgs {
    fn record(&self, key: &Key, now: u64) -> Result<KeyRecord, Failed> {
        key_file::check_name(&self.name).map_err(|reason| Failed::Wrong(reason.to_owned()))?;
        let expires = self.expires.as_deref().map(|when| end(when, now)).transpose()?;
        let allowance = Allowance {
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            concurrent_streams: self.concurrent_streams,
            budget_per_day: self.budget_per_day,
        };
        let terms = Terms { allowance, models: self.models.clone().map(Into::into) };
        Ok(KeyRecord { name: self.name.as_str().into(), hash: key.hash(), expires, revoked: None, terms })
    }
}

fn end(when: &str, now: u64) -> Result<u64, Failed> {
    let after = parse_duration(when).ok().map(|duration| now.saturating_add(duration.as_secs()));
    let end = after.or_else(|| key_file::parse_time(when)).ok_or_else(|| {
        Failed::Wrong(
            "--expires is neither a duration such as 2160h nor a time such as 2027-01-31T12:00:00Z".to_owned(),
        )
    })?;
    match end > now {
        true => Ok(end),
        false => Err(Failed::Wrong("--expires is in the past: write a later time".to_owned())),
    }
}

fn line(record: &KeyRecord, now: u64) -> String {
    let mut line = format!("{}  {}", record.name, state(record, now));
    let allowance = record.terms.allowance;
    for (value, one, many, pace) in [
        (allowance.requests_per_minute, "request", "requests", "per minute"),
        (allowance.tokens_per_minute, "token", "tokens", "per minute"),
        (allowance.concurrent_streams, "stream", "streams", "at once"),
    ] {
        match value {
            None => {}
            Some(0) => line += &format!(", any number of {many} {pace}"),
            Some(value) => line += &format!(", {} {pace}", plural(value, one, many)),
        }
    }
    if let Some(budget) = allowance.budget_per_day {
        line += &format!(", ${} a day", budget.short());
    }
    if let Some(models) = &record.terms.models {
        line += &format!(", only {}", models.join(" "));
    }
    line
}

fn state(record: &KeyRecord, now: u64) -> String {
    match (record.revoked, record.expires) {
        (Some(since), _) => format!("revoked since {}", key_file::format_time(since)),
        (None, Some(end)) if end <= now => format!("expired since {}", key_file::format_time(end)),
        (None, Some(end)) => format!("good until {}", key_file::format_time(end)),
        (None, None) => "good".to_owned(),
    }
}

fn described(record: &KeyRecord, now: u64) -> Value {
    let allowance = record.terms.allowance;
    let good = record.revoked.is_none() && record.expires.is_none_or(|end| end > now);
    json!({
        "name": &*record.name,
        "good": good,
        "expires": record.expires.map(key_file::format_time),
        "revoked": record.revoked.map(key_file::format_time),
        "requests_per_minute": allowance.requests_per_minute,
        "tokens_per_minute": allowance.tokens_per_minute,
        "concurrent_streams": allowance.concurrent_streams,
        "budget_per_day": allowance.budget_per_day.map(Cost::short),
        "models": record.terms.models.as_deref(),
    })
}

/// Replaces the file by the result of `change`, as a whole or not at all. A missing file counts as empty. A concurrent
/// `tokenway key` waits.
fn edit(path: &Path, change: impl FnOnce(&str) -> Result<String, Failed>) -> Result<(), Failed> {
    // a symbolic link stays: its target is replaced
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lock = File::open(directory)?;
    lock.lock()?;
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let changed = change(&text)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = directory.join(format!(".{name}.{}", std::process::id()));
    let written = write_new(&draft, &changed).and_then(|()| fs::rename(&draft, &path)).and_then(|()| lock.sync_all());
    if written.is_err() {
        // remove what is left of the attempt
        let _ = fs::remove_file(&draft);
    }
    Ok(written?)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn all(flaws: Vec<key_file::Flaw>) -> Failed {
    Failed::Wrong(flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use clap::{CommandFactory, Parser};

    use super::*;
    use tempfile::TempDir;
    use tokenway::auth::keyring::Keyring;

    const NOW: u64 = 1_800_000_000;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn tokenway_key(file: &Path, words: &str) -> Result<String, String> {
        let words = ["key"].into_iter().chain(words.split(' '));
        let cli = Cli::try_parse_from(words.chain(["--keys-file", file.to_str().unwrap()])).unwrap();
        let mut out = Vec::new();
        match execute(&cli.args, NOW, &mut out) {
            Ok(_) => Ok(String::from_utf8(out).unwrap()),
            Err(Failed::Wrong(reason)) => Err(reason),
            Err(Failed::Io(error)) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_key_is_printed_once_stored_as_a_hash_listed_and_revoked() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("keys.toml");
        let made = tokenway_key(&file, "new bot --requests-per-minute 9 --models a,b --expires 1h").unwrap();
        let key = made.trim_end();
        let text = fs::read_to_string(&file).unwrap();
        assert!(key.starts_with("tw_") && !text.contains(&key[3..]));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let find = |at| {
            let records = key_file::parse(&fs::read_to_string(&file).unwrap()).unwrap();
            Keyring::new(records).find(key, std::net::Ipv4Addr::LOCALHOST.into(), at)
        };
        let caller = find(NOW + 3599).unwrap();
        assert!(caller.may_use("a") && !caller.may_use("c"));
        assert_eq!(caller.allowance().requests_per_minute, Some(9));
        assert!(find(NOW + 3600).is_err());

        assert!(tokenway_key(&file, "new bot").unwrap_err().contains("is taken"));
        tokenway_key(&file, "new second --concurrent-streams 0").unwrap();
        let listed = tokenway_key(&file, "list").unwrap();
        assert_eq!(
            listed,
            "bot  good until 2027-01-15T09:00:00Z, 9 requests per minute, only a b\nsecond  good, any number of streams at once\n"
        );
        tokenway_key(&file, "revoke bot").unwrap();
        assert!(find(NOW).is_err());
        assert!(tokenway_key(&file, "list").unwrap().starts_with("bot  revoked since 2027-01-15T08:00:00Z"));
        // the message names no line of the file
        let refused = tokenway_key(&file, "revoke absent").unwrap_err();
        assert_eq!(refused, "no key has the name absent; see `tokenway key list`");
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["keys.toml"], "no draft is left");
    }

    #[test]
    fn keys_that_are_made_at_once_are_all_there() {
        let dir = TempDir::new().unwrap();
        let file = &dir.path().join("keys.toml");
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || tokenway_key(file, &format!("new bot-{number}")).unwrap());
            }
        });
        assert_eq!(key_file::parse(&fs::read_to_string(file).unwrap()).unwrap().len(), 8);
    }

    #[test]
    fn what_is_wrong_is_refused_and_changes_nothing() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("keys.toml");
        for (words, reason) in [
            ("new a/b", "letters, digits"),
            ("new token", "other callers"),
            ("new a --expires soon", "neither a duration"),
            ("new a --expires 2020-01-01", "in the past"),
            ("list", "No such file"),
            ("revoke a", "no key has the name a"),
        ] {
            let refused = tokenway_key(&file, words).unwrap_err();
            assert!(refused.contains(reason), "{words}: {refused}");
            assert!(!file.exists(), "{words}");
        }
        fs::write(&file, "[[keys]]\nname = 5\n").unwrap();
        assert!(tokenway_key(&file, "new a").unwrap_err().contains("line 2"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "[[keys]]\nname = 5\n");
    }

    #[test]
    fn json_is_one_object_a_key() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("keys.toml");
        let made: Value = serde_json::from_str(&tokenway_key(&file, "new bot --json").unwrap()).unwrap();
        assert!(made["key"].as_str().unwrap().starts_with("tw_"));
        let listed: Value = serde_json::from_str(&tokenway_key(&file, "list --json").unwrap()).unwrap();
        assert_eq!((&listed["name"], &listed["good"], &listed["models"]), (&json!("bot"), &json!(true), &Value::Null));
    }

    #[test]
    fn help_shows_an_example() {
        assert!(Cli::command().render_long_help().to_string().contains("tokenway key new"));
    }
}
