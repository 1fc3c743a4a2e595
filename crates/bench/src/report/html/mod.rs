//! The results as one page that stands by itself: no script, nothing from elsewhere, light and dark. Pure.
//!
//! Everything that comes from outside (URLs, model names, words about failures) goes through [`escape::Text`]. The page forbids
//! itself scripts and requests (`Content-Security-Policy`), should that ever fail.

mod axis;
mod charts;
mod escape;
mod plot;

#[cfg(test)]
mod tests;

use std::fmt::Write;

use super::document::{Comparison, Document, Speed, Summary, Target};
use super::format::{ms, number, thousands};
use super::terminal::{compared, ended, noticed, setting};
use charts::SERIES;
use escape::Text;

/// Colours and type that the playground and the dashboard have, too; then what is this page's own.
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
            Text(&setting(self)),
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

    /// Which colour is which target, where there are two.
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
    format!("<p class='compared'>{}</p>", Text(&compared(comparison)))
}

/// What most readers want to know of a target.
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
        Text(&ended(target)),
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
        let _ = write!(notes, "<p class='note'>So say {agree} of {of} streams.</p>");
    }
    format!("<div class='verdict {class}'><p>{}</p>{notes}</div>", Text(&delivery.words))
}

/// What stands between backticks is code.
fn with_code(words: &str) -> String {
    let parts = words.split('`').enumerate();
    let each = parts.map(|(index, part)| match index % 2 {
        0 => Text(part).to_string(),
        _ => format!("<code>{}</code>", Text(part)),
    });
    each.collect()
}

fn failures(target: &Target) -> String {
    let mut items = String::new();
    for failure in &target.failures {
        let (count, kind, words) = (thousands(failure.count as f64), Text(&failure.kind), Text(&failure.words));
        let _ = write!(items, "<li><b>{count} × {kind}</b> <span class='note'>{words}</span></li>");
    }
    for refused in target.cors.iter().flat_map(|cors| &cors.refused) {
        let count = thousands(refused.count as f64);
        let (step, code) = (Text(refused.step), Text(refused.code));
        let _ =
            write!(items, "<li><b>{count} × refused by a browser</b> <span class='note'>{step}: {code}</span></li>");
    }
    if items.is_empty() { String::new() } else { format!("<ul class='failures'>{items}</ul>") }
}

fn table(target: &Target) -> String {
    let rows = [
        ("Late to begin", noticed(target.start_lag_ms)),
        ("Name look-up", noticed(target.dns_ms)),
        ("TCP connect", target.connect_ms),
        ("TLS handshake", target.tls_ms),
        ("Preflight", target.preflight_ms),
        ("Head of the answer", target.head_ms),
        ("First byte", target.first_byte_ms),
        ("First token", target.first_token_ms),
        ("Between tokens", target.inter_token_ms),
        ("Per output token", target.time_per_output_token_ms),
        ("Whole stream", target.total_ms),
    ];
    let mut body = String::new();
    for (name, summary) in rows.into_iter().filter_map(|(name, summary)| Some((name, summary?))) {
        let Summary { count, min, mean, p50, p90, p99, p99_9, max } = summary;
        let class = if name == "First token" { " class='first'" } else { "" };
        let _ = write!(body, "<tr{class}><th scope='row'>{name}</th>");
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
         <p class='note'>* The other way round: p90 is what 90 % of the streams reach, max is the slowest.</p>"
    )
}

fn foot(document: &Document) -> String {
    let began = document.run.began_unix_s;
    format!(
        "{}, {} UTC. Times count from when a stream was to start. docs/BENCH.md of Tokenway defines each figure.",
        document.tool,
        super::format::date_time(began)
    )
}
