//! The bill of a workload that is described by flags.

use serde_json::json;

use super::{Args, Per, PriceTable, columns};
use crate::cli::failure::Failure;
use bench::report::format::plural;
use tokenway::config::Priced;
use tokenway::price::Cost;
use tokenway::spend::workload::{Bills, Models, Part, Tokens, Workload};

/// Returns both bills, as a table or as JSON.
pub(super) fn bill(args: &Args, table: &PriceTable) -> Result<String, Failure> {
    let cheap = table.cheap(args.cheap.as_deref())?;
    let strong = table.strong(args.strong.as_deref())?;
    let classifier = args.classifier.as_deref().map(|name| table.find("--classifier", name)).transpose()?;
    let times = if args.per == Per::Day { args.days } else { 1 };
    let month = |tokens: Option<u64>| tokens.unwrap_or_default().saturating_mul(times);
    let tokens = Tokens { input: month(args.input), output: month(args.output) };
    let workload = Workload { tokens, cache_hit: args.cache_hit, easy: args.easy };
    let models = Models {
        cheap: cheap.prices,
        strong: strong.prices,
        classifier: classifier.map(|model| model.prices),
        speculative: args.speculative,
    };
    let bills = Bills::of(&workload, &models);
    let named = Named { cheap, strong, classifier };
    let assumptions = assumptions(args, table, &named, tokens);
    Ok(match args.json {
        true => as_json(&bills, &named, &assumptions, tokens),
        false => as_text(&bills, &named, &assumptions, tokens),
    })
}

struct Named<'t> {
    cheap: &'t Priced,
    strong: &'t Priced,
    classifier: Option<&'t Priced>,
}

impl Named<'_> {
    fn tier(&self, part: Part) -> (&'static str, &str) {
        match part {
            Part::Cache => ("cache", "-"),
            Part::Easy => ("easy", &self.cheap.name),
            Part::Hard => ("hard", &self.strong.name),
            Part::Classifier => ("classifier", self.classifier.map_or("-", |model| &model.name)),
            Part::Cancelled => ("cancelled", &self.cheap.name),
        }
    }
}

fn assumptions(args: &Args, table: &PriceTable, named: &Named<'_>, month: Tokens) -> Vec<String> {
    let price = |model: &Priced| {
        let prices = model.prices;
        format!("{} ${} / ${} per million prompt / completion tokens", model.name, prices.input, prices.output)
    };
    let mut all = vec![
        format!("prices: {}", table.source),
        format!("strong: {}", price(named.strong)),
        format!("cheap: {}", price(named.cheap)),
        match args.per {
            Per::Day => format!("a month has {}, each like the other", plural(args.days, "day", "days")),
            Per::Month => "the tokens given are those of a month".to_owned(),
        },
        format!("in a month {} prompt and {} completion tokens", month.input, month.output),
        format!(
            "cache: {} of all tokens are answered from it, prompts and completions alike, for nothing",
            args.cache_hit
        ),
        format!("easy: {} of the rest, prompts and completions alike", args.easy),
        "every model writes answers of the same length".to_owned(),
        "nothing is tried twice, and no provider's own discount (prompt cache, batch) is counted".to_owned(),
        "naive: no cache, and the strong model for everything".to_owned(),
    ];
    all.push(match named.classifier {
        None => "the decision costs nothing: rules make it".to_owned(),
        Some(model) => format!(
            "classifier: {} reads each prompt that is not in the cache, whole; its one token of answer is left out",
            price(model)
        ),
    });
    if args.speculative {
        all.push("cancelled: the cheap model has read the prompts of hard questions, and written nothing".to_owned());
    }
    all
}

fn saved(bills: &Bills) -> (Option<Cost>, String) {
    let share = |cost: Cost| cost.percent_of(bills.naive).map(|percent| format!(" ({percent}% of the naive bill)"));
    match bills.naive.checked_sub(bills.routed) {
        Some(saved) => (Some(saved), format!("${}{}", saved.cents(), share(saved).unwrap_or_default())),
        None => (None, "nothing: deciding costs more than it saves".to_owned()),
    }
}

fn as_text(bills: &Bills, named: &Named<'_>, assumptions: &[String], month: Tokens) -> String {
    let header = ["", "model", "prompt tokens", "completion tokens", "$ a month"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let line = |name: &str, model: &str, tokens: Tokens, cost: Cost| {
        vec![name.to_owned(), model.to_owned(), tokens.input.to_string(), tokens.output.to_string(), cost.cents()]
    };
    rows.push(line("naive", &named.strong.name, month, bills.naive));
    for tier in &bills.tiers {
        let (name, model) = named.tier(tier.part);
        rows.push(line(name, model, tier.tokens, tier.cost));
    }
    rows.push(vec!["routed".to_owned(), String::new(), String::new(), String::new(), bills.routed.cents()]);
    let assumed: String = assumptions.iter().map(|line| format!("  {line}\n")).collect();
    format!("{}\nsaved: {}\n\nassumed:\n{assumed}", columns(&rows), saved(bills).1)
}

fn as_json(bills: &Bills, named: &Named<'_>, assumptions: &[String], month: Tokens) -> String {
    let tiers: Vec<_> = bills
        .tiers
        .iter()
        .map(|tier| {
            let (name, model) = named.tier(tier.part);
            json!({
                "tier": name, "model": model, "input_tokens": tier.tokens.input, "output_tokens": tier.tokens.output,
                "dollars": tier.cost.short(),
            })
        })
        .collect();
    let document = json!({
        "per": "month",
        "naive": {
            "model": named.strong.name, "input_tokens": month.input, "output_tokens": month.output,
            "dollars": bills.naive.short(),
        },
        "routed": { "tiers": tiers, "dollars": bills.routed.short() },
        "saved_dollars": saved(bills).0.map(Cost::short),
        "assumptions": assumptions,
    });
    format!("{document}\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Args, bill};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn run(flags: &str) -> Result<String, String> {
        let command = Command::try_parse_from(["cost"].into_iter().chain(flags.split_whitespace()));
        let command = command.map_err(|error| error.to_string())?;
        bill(&command.args).map_err(|failure| failure.to_string())
    }

    const QUOTED: &str =
        "--input 30M --output 15M --per day --cache-hit 40% --easy 70% --cheap glm-4-plus --strong gpt-4o";

    #[test]
    fn the_example_of_the_help_prints_both_bills_and_what_they_rest_on() {
        let text = run(QUOTED).unwrap();
        let row = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}:\n{text}"));
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(row("naive"), "naive gpt-4o 900000000 450000000 6750.00");
        assert_eq!(row("cache"), "cache - 360000000 180000000 0.00");
        assert_eq!(row("easy"), "easy glm-4-plus 378000000 189000000 226.80");
        assert_eq!(row("hard"), "hard gpt-4o 162000000 81000000 1215.00");
        assert_eq!(row("routed"), "routed 1441.80");
        assert_eq!(row("saved"), "saved: $5308.20 (78.6% of the naive bill)");
        for words in ["30 days", "40% of all tokens", "70% of the rest", "$2.50 / $10.00", "rules make it"] {
            assert!(text.contains(words), "{words}:\n{text}");
        }
    }

    #[test]
    fn as_json_for_machines_with_exact_amounts() {
        let json: serde_json::Value = serde_json::from_str(&run(&format!("{QUOTED} --json")).unwrap()).unwrap();
        assert_eq!((&json["naive"]["dollars"], &json["routed"]["dollars"]), (&"6750.00".into(), &"1441.80".into()));
        assert_eq!(json["routed"]["tiers"].as_array().unwrap().len(), 3);
        let day: serde_json::Value =
            serde_json::from_str(&run("--input 1 --output 0 --per month --json").unwrap()).unwrap();
        assert_eq!((&day["naive"]["model"], &day["naive"]["dollars"]), (&"gpt-4o".into(), &"0.0000025".into()));
    }

    #[test]
    fn a_decision_that_costs_more_than_it_saves_says_so() {
        let text =
            run("--input 1M --output 0 --easy 0% --classifier gpt-4o --cheap glm-4-plus --strong gpt-4o").unwrap();
        assert!(text.contains("saved: nothing") && text.contains("classifier"), "{text}");
    }

    #[test]
    fn wrong_flags_say_what_is_expected() {
        for (flags, words) in [
            ("", "--input"),
            ("--input 1 --output 1 --strong x", "write one of deepseek-v4-flash"),
            ("--input 1x --output 1", "write 30M"),
            ("--input 1 --output 1 --easy 110%", "write 40%"),
            ("--input 1 --output 1 --days 0", "1..=366"),
            ("--log x --input 1", "cannot be used with"),
            ("--input 1 --output 1 --config /nonexistent", "cannot be read"),
        ] {
            let error = run(flags).unwrap_err();
            assert!(error.contains(words), "{flags}: {error}");
        }
    }
}
