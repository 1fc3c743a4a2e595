//! The results as one self-contained HTML page: no script, no requests, light and dark. Pure.
//!
//! Text from outside (URLs, model names, messages) goes through [`escape::Text`]. As a second barrier, the page forbids
//! scripts and requests (`Content-Security-Policy`).

mod axis;
mod charts;
mod escape;
mod plot;

#[cfg(test)]
mod tests;

use std::fmt::Write;

use super::document::{Comparison, Document, Speed, Summary, Target};
use super::format::{ms, number, thousands};
use super::terminal::{comparison_text, rows, run_text, streams_text};
use charts::SERIES;
use escape::Text;

/// The shared colours and fonts of the project's pages, then the styles of this page.
const STYLE: &str = concat!(include_str!("../../../../../web/base.css"), include_str!("page.css"));

impl Document {
    /// The whole page.
    pub fn html(&self) -> String {
        let names: Vec<_> = self.targets.iter().map(|target| target.name.as_str()).collect();
        let title = format!("Bench of {}", names.join(" and "));
        format!(
            "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n\
             <meta name='viewport' content='width=device-width, initial-scale=1'>\n\
             <meta name='color-scheme' content='light dark'>\n\
             <meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<div class='page'>\n\
             <header class='top'><h1>Tokenway <span>bench</span></h1><p class='note'>{}</p></header>\n\
             <main>\n{}</main>\n<p class='note foot'>{}</p>\n</div>\n</body>\n</html>\n",
            Text(&title),
            Text(&run_text(self)),
            self.cards(),
            Text(&foot(self)),
        )
    }

    fn cards(&self) -> String {
        let mut cards = String::new();
        let mut card = |class: &str, heading: &str, body: &str| {
            if !body.is_empty() {
                let heading = if heading.is_empty() { String::new() } else { format!("<h2>{heading}</h2>") };
                // writing to a String cannot fail
                let _ = writeln!(cards, "<section class='card {class}'>{heading}{body}</section>");
            }
        };
        if let Some(comparison) = &self.comparison {
            card("wide", "Difference", &difference(comparison));
        }
        let both = if self.targets.len() == 2 { "" } else { "wide" };
        for (class, target) in SERIES.into_iter().zip(&self.targets) {
            card(both, "", &summary(target, class));
        }
        if self.targets.iter().any(|target| target.first_token_ms.is_some()) {
            let keys = self.keys();
            card("", "Time to first token, by percentile", &format!("{keys}{}", charts::percentiles(self)));
            card("", "Time to first token, how often", &format!("{keys}{}", charts::histogram(self)));
            card("wide", "Time to first token, over the run", &format!("{keys}{}", charts::over_time(self)));
            for (class, target) in
                SERIES.into_iter().zip(&self.targets).filter(|(_, target)| !target.arrivals.is_empty())
            {
                let name = if self.targets.len() == 2 { key(target, class) } else { String::new() };
                card("wide", "Arrival of events", &format!("{name}{}", charts::raster(self, target, class)));
            }
            for (class, target) in
                SERIES.into_iter().zip(&self.targets).filter(|(_, target)| target.first_token_ms.is_some())
            {
                let name = if self.targets.len() == 2 { key(target, class) } else { String::new() };
                card("wide", "All times, in milliseconds", &format!("{name}{}", table(target)));
            }
        }
        cards
    }

    /// The legend, if there are two targets.
    fn keys(&self) -> String {
        if self.targets.len() < 2 {
            return String::new();
        }
        let keys: String = SERIES.into_iter().zip(&self.targets).map(|(class, target)| key(target, class)).collect();
        format!("<div class='keys'>{keys}</div>")
    }
}

fn key(target: &Target, class: &str) -> String {
    format!("<span class='key {class}'>{}</span>", Text(&target.name))
}

fn difference(comparison: &Comparison) -> String {
    format!("<p class='compared'>{}</p>", Text(&comparison_text(comparison)))
}

/// The most important figures of a target.
fn summary(target: &Target, class: &str) -> String {
    let mut figures = String::new();
    let mut figure = |name: &str, value: &str, unit: &str, note: &str| {
        let _ = write!(
            figures,
            "<div class='figure'><dt>{name}</dt><dd>{value} <small>{unit}</small></dd><dd class='note'>{}</dd></div>",
            Text(note)
        );
    };
    if let Some(first) = target.first_token_ms {
        figure("First token", &ms(first.p50), "ms", &format!("median; 99 % within {}", ms(first.p99)));
    }
    if let Some(gap) = target.inter_token_ms {
        figure("Between tokens", &ms(gap.p50), "ms", &format!("median; 99 % within {}", ms(gap.p99)));
    }
    if let Some(speed) = target.stream_tokens_per_second {
        figure("One stream", &number(speed.p50), "tokens/s", &format!("median; 90 % above {}", number(speed.p10)));
    }
    if target.streams.whole > 0 {
        let streams = format!("in {} streams/s", number(target.streams_per_second));
        figure("All streams", &number(target.output_tokens_per_second), "tokens/s", &streams);
    }
    format!(
        "<p class='name {class}'>{}</p><p class='note ended'>{}</p><dl class='figures'>{figures}</dl>{}{}",
        Text(&target.url),
        Text(&streams_text(target)),
        verdict(target),
        failures(target)
    )
}

fn verdict(target: &Target) -> String {
    if target.first_token_ms.is_none() {
        return String::new();
    }
    let delivery = &target.delivery;
    let class = match delivery.verdict {
        _ if delivery.buffered => "bad",
        "streaming" => "",
        _ => "open",
    };
    let mut notes = String::new();
    if let Some(look_at) = &delivery.look_at {
        let _ = write!(notes, "<p class='note'>Look at: {}</p>", with_code(look_at));
    }
    if delivery.streams_agreeing < delivery.streams_judged {
        let (agree, of) = (thousands(delivery.streams_agreeing as f64), thousands(delivery.streams_judged as f64));
        let _ = write!(notes, "<p class='note'>{agree} of {of} streams have this verdict.</p>");
    }
    format!("<div class='verdict {class}'><p>{}</p>{notes}</div>", Text(&delivery.words))
}

/// Text between backticks becomes code.
fn with_code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let each = parts.map(|(index, part)| match index % 2 {
        0 => Text(part).to_string(),
        _ => format!("<code>{}</code>", Text(part)),
    });
    each.collect()
}

fn failures(target: &Target) -> String {
    let mut items = String::new();
    for failure in &target.failures {
        let (count, kind, message) = (thousands(failure.count as f64), Text(&failure.kind), Text(&failure.words));
        let _ = write!(items, "<li><b>{count} × {kind}</b> <span class='note'>{message}</span></li>");
    }
    for refused in target.cors.iter().flat_map(|cors| &cors.refused) {
        let count = thousands(refused.count as f64);
        let (step, code) = (Text(refused.step), Text(refused.code));
        let _ =
            write!(items, "<li><b>{count} × blocked by a browser</b> <span class='note'>{step}: {code}</span></li>");
    }
    if items.is_empty() { String::new() } else { format!("<ul class='failures'>{items}</ul>") }
}

fn table(target: &Target) -> String {
    let mut body = String::new();
    for (name, summary) in rows(target) {
        let Summary { count, min, mean, p50, p90, p99, p99_9, max } = summary;
        let class = if name == "first token" { " class='first'" } else { "" };
        let (initial, rest) = name.split_at(1);
        let _ = write!(body, "<tr{class}><th scope='row'>{}{rest}</th>", initial.to_uppercase());
        for value in [min, p50, p90, p99, p99_9, max, mean] {
            let _ = write!(body, "<td>{}</td>", ms(value));
        }
        let _ = writeln!(body, "<td>{}</td></tr>", thousands(count as f64));
    }
    if let Some(Speed { count, min, p0_1, p1, p10, p50, mean, max }) = target.stream_tokens_per_second {
        let _ = write!(body, "<tr><th scope='row'>Tokens/s of a stream*</th>");
        for value in [max, p50, p10, p1, p0_1, min, mean] {
            let _ = write!(body, "<td>{}</td>", number(value));
        }
        let _ = writeln!(body, "<td>{}</td></tr>", thousands(count as f64));
    }
    let heading: String = ["min", "p50", "p90", "p99", "p99.9", "max", "mean", "values"]
        .into_iter()
        .map(|name| format!("<th scope='col'>{name}</th>"))
        .collect();
    format!(
        "<div class='scroll' tabindex='0'><table><thead><tr><th></th>{heading}</tr></thead><tbody>{body}</tbody></table></div>\
         <p class='note'>* Low values are bad here: p90 is what 90 % of the streams reach, max is the slowest.</p>"
    )
}

fn foot(document: &Document) -> String {
    let began = document.run.began_unix_s;
    format!(
        "{}, {} UTC. Times count from the scheduled start of a stream. docs/BENCH.md of Tokenway defines each figure.",
        document.tool,
        super::format::date_time(began)
    )
}
