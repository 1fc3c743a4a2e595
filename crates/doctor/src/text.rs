//! A report as text: the steps, the verdict, the fix, the findings. Pure.

use std::fmt::Write;

use super::mend::Target;
use super::redact::printable;
use super::report::{Blocked, Finding, Outcome, Report, Severity, Step, Verdict};

/// Sentences are wrapped at this column; text to paste is not.
const WIDTH: usize = 100;

/// The style of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Whether to use colours (ANSI SGR).
    pub colour: bool,
    /// The fixes to show.
    pub mend: MendChoice,
}

/// The fixes to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MendChoice {
    /// For the server that the response headers point to, or else for Tokenway.
    #[default]
    Guessed,
    /// For this one.
    One(Target),
    /// For every server.
    All,
}

/// Writes a report.
pub fn write(report: &Report, style: Style) -> String {
    let mut page = Page { text: String::new(), colour: style.colour };
    let request = &report.request;
    page.line(0, &format!("{} {}", page.bold(&request.method), page.bold(&printable(&request.url))));
    let by = format!(
        "{}, by {}, credentials {}, {} rules",
        request.origin, request.interface, request.credentials, request.browser
    );
    page.line(0, &page.dim(&format!("from a page of {by}")));
    for note in &report.notes {
        page.sentence(0, "note: ", note, Paint::Dim);
    }
    page.gap();
    for (place, step) in report.steps.iter().enumerate() {
        page.step(place + 1, step);
    }
    page.gap();
    match &report.block {
        None => {
            let verdict = page.paint(Paint::Good, "ALLOWED");
            page.line(0, &format!("{verdict}  the page may read the response"));
        }
        Some(block) => page.block(report, block, style.mend),
    }
    for other in &report.other_browsers {
        let verdict = match other.verdict {
            Verdict::Allowed => "allowed".to_owned(),
            Verdict::Blocked => format!("blocked, {}", other.code.map_or("not by CORS", |code| code.as_str())),
        };
        page.sentence(2, &format!("{}: ", other.browser), &format!("{verdict}. {}", other.reason), Paint::Warn);
    }
    page.findings(report);
    page.text
}

/// The text so far.
struct Page {
    text: String,
    colour: bool,
}

#[derive(Clone, Copy)]
enum Paint {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Warn,
}

impl Page {
    fn paint(&self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Plain => return text.to_owned(),
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Good => "1;32",
            Paint::Bad => "1;31",
            Paint::Warn => "33",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.paint(Paint::Bold, text)
    }

    fn dim(&self, text: &str) -> String {
        self.paint(Paint::Dim, text)
    }

    fn gap(&mut self) {
        self.text.push('\n');
    }

    fn line(&mut self, indent: usize, text: &str) {
        let _ = writeln!(self.text, "{:indent$}{text}", "");
    }

    /// Writes a label and a sentence, wrapped at spaces and indented below its first word.
    fn sentence(&mut self, indent: usize, label: &str, sentence: &str, paint: Paint) {
        let hang = indent + label.chars().count();
        let mut label = self.paint(paint, label);
        for row in wrapped(&printable(sentence), WIDTH.saturating_sub(hang)) {
            let start = if label.is_empty() { hang } else { indent };
            self.line(start, &format!("{label}{row}"));
            label.clear();
        }
    }

    fn step(&mut self, number: usize, step: &Step) {
        let mark = match step.outcome {
            Outcome::Passed => self.paint(Paint::Good, "✓ "),
            Outcome::Failed => self.paint(Paint::Bad, "✗ "),
            Outcome::Info => String::new(),
        };
        let took = step.milliseconds.map_or(String::new(), |milliseconds| format!("  {milliseconds:.0} ms"));
        let number = self.bold(&format!("{number:>2}"));
        self.line(0, &format!("{number}  {mark}{}{}", printable(&step.title), self.dim(&took)));
        for line in &step.lines {
            self.line(6, &self.dim(&shortened(&printable(line), WIDTH - 6)));
        }
    }

    fn block(&mut self, report: &Report, block: &Blocked, choice: MendChoice) {
        let verdict = self.paint(Paint::Bad, "BLOCKED");
        let code = report.code.map_or("not by CORS", |code| code.as_str());
        let code = self.bold(code);
        self.line(0, &format!("{verdict}  {code}"));
        match &block.received[..] {
            [] if report.code.is_some() => self.sentence(2, "received  ", "no such header", Paint::Dim),
            lines => {
                for line in lines {
                    self.sentence(2, "received  ", line, Paint::Dim);
                }
            }
        }
        self.sentence(2, "needed    ", &block.needed, Paint::Dim);
        self.sentence(2, "standard  ", &format!("{}: {}", block.standard, block.standard_url), Paint::Dim);
        self.sentence(2, "mend      ", &block.advice, Paint::Dim);
        self.mends(block, choice);
    }

    fn mends(&mut self, block: &Blocked, choice: MendChoice) {
        let guessed = block.mends.iter().find(|mend| Some(mend.target.as_str()) == block.server);
        for mend in &block.mends {
            let (is_shown, why) = match (choice, guessed) {
                (MendChoice::All, _) => (true, String::new()),
                (MendChoice::One(target), _) => (mend.target == target, String::new()),
                (MendChoice::Guessed, Some(guessed)) => {
                    (mend == guessed, ", chosen by the response headers; --mend selects another".to_owned())
                }
                (MendChoice::Guessed, None) => {
                    let others: Vec<_> = Target::ALL[1..].iter().map(|target| target.as_str()).collect();
                    (mend.target == Target::Tokenway, format!("; or --mend {}", others.join(", ")))
                }
            };
            if !is_shown {
                continue;
            }
            self.gap();
            let name = self.bold(mend.target.name());
            self.line(2, &format!("{name}{}", self.dim(&why)));
            match (&mend.text, &mend.reason) {
                (Some(text), _) => text.lines().for_each(|line| self.line(if line.is_empty() { 0 } else { 4 }, line)),
                (None, reason) => self.sentence(4, "", reason.as_deref().unwrap_or_default(), Paint::Plain),
            }
        }
    }

    fn findings(&mut self, report: &Report) {
        if report.probed.is_empty() {
            return;
        }
        self.gap();
        let rest = if report.block.is_some() { "; the others need an allowed page" } else { "" };
        let probes = self.dim(&format!("of {}{rest}", plural(report.probed.len() as u64, "probe", "probes")));
        let found = match report.findings.len() as u64 {
            0 => self.paint(Paint::Good, "no findings"),
            count => self.bold(&plural(count, "finding", "findings")),
        };
        self.line(0, &format!("{found} {probes}"));
        report.findings.iter().for_each(|finding| self.finding(finding));
    }

    fn finding(&mut self, finding: &Finding) {
        let paint = match finding.severity {
            Severity::Error => Paint::Bad,
            Severity::Warning => Paint::Warn,
            Severity::Note => Paint::Plain,
        };
        let severity = self.paint(paint, &format!("{:<9}", finding.severity.as_str()));
        self.line(2, &format!("{severity}{}", self.dim(finding.id)));
        self.sentence(11, "", finding.title, Paint::Plain);
        for seen in &finding.seen {
            self.sentence(11, "seen  ", seen, Paint::Dim);
        }
        self.sentence(11, "mend  ", &finding.mend, Paint::Dim);
    }
}

/// A count and its noun: `1 finding`, `2 findings`.
pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Rows of at most `width` characters, wrapped at spaces; a longer word has a row of its own.
pub fn wrapped(sentence: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in sentence.split(' ') {
        let row = rows.last_mut().expect("there is always a row");
        if row.is_empty() {
            row.push_str(word);
        } else if row.chars().count() + 1 + word.chars().count() <= width {
            row.push(' ');
            row.push_str(word);
        } else {
            rows.push(word.to_owned());
        }
    }
    rows
}

/// One row: of a longer list, its first members and the number of the others. `--json` has all of them.
fn shortened(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    // room for the number of the others
    let room: String = line.chars().take(width.saturating_sub(12)).collect();
    match room.rfind(',') {
        Some(end) => format!("{}, … {} more", &room[..end], line[end + 1..].split(',').count()),
        None => format!("{room}…"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::{Mend, Summary};
    use browser::code::Code;

    fn report() -> Report {
        Report {
            request: Summary {
                url: "https://api.example/v1".into(),
                origin: "https://app.example".into(),
                method: "POST".into(),
                credentials: "include",
                interface: "fetch",
                browser: "chromium",
            },
            verdict: Verdict::Blocked,
            code: Some(Code::PreflightInvalidStatus),
            block: Some(Blocked {
                stage: "preflight",
                reason: "The preflight's status is not of 200 to 299.".into(),
                standard: "Fetch §4.8".into(),
                standard_url: "https://fetch.spec.whatwg.org/#x".into(),
                received: vec!["status 401 Unauthorized".into()],
                needed: "status 204".into(),
                advice: "Answer first.".into(),
                server: Some("nginx"),
                mends: [Target::Tokenway, Target::Nginx]
                    .map(|target| Mend { target, text: Some(format!("{}\n", target.as_str())), reason: None })
                    .into(),
            }),
            steps: vec![Step::info("preflight-needed", "preflight needed").with_lines(vec!["because".into()])],
            other_browsers: Vec::new(),
            findings: vec![Finding {
                id: "x",
                severity: Severity::Warning,
                title: "Bad.",
                seen: vec!["this".into()],
                mend: "do that".into(),
            }],
            probed: vec!["x", "y"],
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_fix_for_the_server_that_answered_is_shown_unless_another_is_chosen() {
        let shown = |mend| write(&report(), Style { colour: false, mend });
        assert!(shown(MendChoice::Guessed).contains("\n    nginx\n"));
        assert!(!shown(MendChoice::Guessed).contains("\n    tokenway\n"));
        assert!(shown(MendChoice::One(Target::Tokenway)).contains("\n    tokenway\n"));
        let all = shown(MendChoice::All);
        assert!(all.contains("\n    nginx\n") && all.contains("\n    tokenway\n"));
    }

    #[test]
    fn counts_are_singular_or_plural() {
        let last = |findings: usize, probed: &[&'static str]| {
            let finding = report().findings.remove(0);
            let report = Report { findings: vec![finding; findings], probed: probed.to_vec(), block: None, ..report() };
            let text = write(&report, Style::default());
            text.lines().find(|line| line.contains(" of ") && line.contains("finding")).unwrap().to_owned()
        };
        assert_eq!(last(0, &["x"]), "no findings of 1 probe");
        assert_eq!(last(1, &["x"]), "1 finding of 1 probe");
        assert_eq!(last(2, &["x", "y"]), "2 findings of 2 probes");
    }

    #[test]
    fn colours_are_used_on_request_only() {
        assert!(!write(&report(), Style::default()).contains('\u{1b}'));
        assert!(write(&report(), Style { colour: true, ..Style::default() }).contains("\u{1b}[1;31mBLOCKED\u{1b}[0m"));
    }

    #[test]
    fn text_of_a_server_cannot_control_the_terminal() {
        let mut report = report();
        report.steps[0].lines.push("< server: \u{1b}[2J".into());
        report.request.url.push('\u{7}');
        let text = write(&report, Style::default());
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }

    #[test]
    fn a_long_list_is_cut_at_a_member_and_counted() {
        assert_eq!(shortened("a, b", 10), "a, b");
        assert_eq!(shortened("alpha, beta, gamma, delta", 24), "alpha, beta, … 2 more");
        assert_eq!(shortened("abcdefghijklmnopqrstuvwxyz", 20), "abcdefgh…");
    }

    proptest! {
        #[test]
        fn no_line_is_cut_within_a_character(line in "\\PC{0,80}", width in 0_usize..40) {
            let _ = shortened(&line, width);
        }

        #[test]
        fn wrapping_changes_only_spaces(sentence in "[a-z ]{0,200}", width in 1_usize..60) {
            let rows = wrapped(&sentence, width);
            prop_assert_eq!(rows.join(" ").replace(' ', ""), sentence.replace(' ', ""));
            prop_assert!(rows.iter().all(|row| row.len() <= width || !row.trim().contains(' ')));
        }
    }
}
