//! The figures as a table or as JSON, with their ratio to the floor, and the goals beside them. Pure.

use std::fmt::{self, Write};

use serde_json::json;

use crate::{BoxError, Outcome};

/// A kind of figure; less is better in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    EventInVolley,
    Event,
    LatencyMedian,
    LatencyP99,
    FirstTokenReused,
    FirstTokenNew,
    FirstTokenBurst,
    DirectReused,
    DirectNew,
    Request,
    Memory,
    Idle,
    ScaleEvent,
}

impl Measure {
    const ALL: [Measure; 13] = [
        Measure::EventInVolley,
        Measure::Event,
        Measure::LatencyMedian,
        Measure::LatencyP99,
        Measure::FirstTokenReused,
        Measure::FirstTokenNew,
        Measure::FirstTokenBurst,
        Measure::DirectReused,
        Measure::DirectNew,
        Measure::Request,
        Measure::Memory,
        Measure::Idle,
        Measure::ScaleEvent,
    ];

    fn title(self) -> &'static str {
        match self {
            Measure::EventInVolley => "processor time per event, events in volleys each millisecond, µs",
            Measure::Event => "processor time per event, events one by one, µs",
            Measure::LatencyMedian => "source to client, events one by one, median, µs",
            Measure::LatencyP99 => "source to client, events one by one, 99th percentile, µs",
            Measure::FirstTokenReused => "added time to first token, reused connection, µs",
            Measure::FirstTokenNew => "added time to first token, new connection and handshake, µs",
            Measure::FirstTokenBurst => "added time to first token, eight requests at the same moment, mean, µs",
            Measure::DirectReused => "time to first token without a proxy, reused connection, µs",
            Measure::DirectNew => "time to first token without a proxy, new connection, µs",
            Measure::Request => "processor time per request of one event, reused connections, µs",
            Measure::Memory => "resident set per open idle stream, KiB",
            Measure::Idle => "processor time per open idle stream and second, µs",
            Measure::ScaleEvent => "processor time per event by open streams, same total rate, µs",
        }
    }
}

/// What a figure belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) target: &'static str,
    pub(crate) protocol: &'static str,
    pub(crate) streams: usize,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject { target, protocol, streams } = self;
        let plural = if *streams == 1 { "" } else { "s" };
        write!(f, "{target:<18} {protocol:<5} {streams:>5} stream{plural}")
    }
}

struct Row {
    measure: Measure,
    subject: Subject,
    rounds: Vec<f64>,
}

impl Row {
    fn best(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn median(&self) -> f64 {
        let mut rounds = self.rounds.clone();
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    }
}

/// All figures of a run.
pub(crate) struct Report {
    machine: String,
    notes: Vec<String>,
    rows: Vec<Row>,
}

impl Report {
    /// No figures yet.
    pub(crate) fn new(machine: String) -> Self {
        Report { machine, notes: Vec::new(), rows: Vec::new() }
    }

    /// Something that the reader of the figures must know. Said at once, too: a run takes minutes.
    pub(crate) fn note(&mut self, note: String) {
        eprintln!("{note}");
        self.notes.push(note);
    }

    /// Whether nothing was out of the ordinary.
    pub(crate) fn is_without_notes(&self) -> bool {
        self.notes.is_empty()
    }

    /// One round's figure.
    pub(crate) fn add(&mut self, measure: Measure, subject: Subject, value: f64) {
        match self.rows.iter_mut().find(|row| row.measure == measure && row.subject == subject) {
            Some(row) => row.rounds.push(value),
            None => self.rows.push(Row { measure, subject, rounds: vec![value] }),
        }
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut out = format!("{}\n", self.machine);
        self.write_table(&mut out).map_or_else(|fmt::Error| String::new(), |()| out)
    }

    /// For programs.
    pub(crate) fn json(&self) -> Outcome<String> {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "measure": row.measure.title(), "target": row.subject.target, "protocol": row.subject.protocol,
                    "streams": row.subject.streams, "rounds": row.rounds, "best": row.best(), "median": row.median(),
                    "to_floor": self.to_floor(row),
                })
            })
            .collect();
        let goals: Vec<_> = self
            .goals()
            .iter()
            .map(|goal| json!({"goal": goal.name, "value": goal.value, "limit": goal.limit, "reached": goal.is_reached()}))
            .collect();
        let all = json!({"machine": self.machine, "notes": self.notes, "figures": rows, "goals": goals});
        serde_json::to_string_pretty(&all).map_err(BoxError::from)
    }

    fn write_table(&self, out: &mut String) -> fmt::Result {
        for measure in Measure::ALL {
            let rows: Vec<_> = self.rows.iter().filter(|row| row.measure == measure).collect();
            if rows.is_empty() {
                continue;
            }
            writeln!(out, "\n{:<68} {:>8} {:>8} {:>8}", measure.title(), "best", "median", "× floor")?;
            for row in rows {
                let ratio = self.to_floor(row).map_or(String::new(), |ratio| format!("{ratio:.2}"));
                let subject = row.subject.to_string();
                writeln!(out, "  {subject:<66} {:>8.2} {:>8.2} {ratio:>8}", row.best(), row.median())?;
            }
        }
        let goals = self.goals();
        if !goals.is_empty() {
            writeln!(out, "\n{:<68} {:>8} {:>8}", "goals", "is", "limit")?;
        }
        for goal in &goals {
            let Goal { name, value, limit } = goal;
            let verdict = if goal.is_reached() { "reached" } else { "MISSED" };
            writeln!(out, "  {name:<66} {value:>8.2} {limit:>8.2} {verdict:>8}")?;
        }
        if !self.notes.is_empty() {
            writeln!(out, "\nnotes")?;
        }
        for (note, times) in self.distinct_notes() {
            let more = if times > 1 { format!(" (and {} like it)", times - 1) } else { String::new() };
            writeln!(out, "  {note}{more}")?;
        }
        Ok(())
    }

    /// Notes that differ in more than their numbers, with how often each came.
    fn distinct_notes(&self) -> Vec<(&str, usize)> {
        let shape = |note: &str| note.replace(|letter: char| letter.is_ascii_digit(), "");
        let mut distinct: Vec<(&str, usize)> = Vec::new();
        for note in &self.notes {
            match distinct.iter_mut().find(|(known, _)| shape(known) == shape(note)) {
                Some((_, times)) => *times += 1,
                None => distinct.push((note, 1)),
            }
        }
        distinct
    }

    fn best(&self, measure: Measure, target: &str, protocol: &str, streams: Option<usize>) -> Option<f64> {
        let wanted = |subject: &Subject| {
            subject.target == target
                && subject.protocol == protocol
                && streams.is_none_or(|streams| streams == subject.streams)
        };
        self.rows.iter().find(|row| row.measure == measure && wanted(&row.subject)).map(Row::best)
    }

    fn to_floor(&self, row: &Row) -> Option<f64> {
        let floor = self.best(row.measure, "floor", "h1", Some(row.subject.streams))?;
        (floor > 0.0).then(|| row.best() / floor)
    }

    /// Those goals for which this run has the figures.
    fn goals(&self) -> Vec<Goal> {
        let h1 = |measure, target| self.best(measure, target, "h1", None);
        let ratio = |measure, to| Some(h1(measure, "tokenway")? / h1(measure, to)?);
        let h2 = |measure, target| self.best(measure, target, "h2", None);
        let ratio_h2 = |measure, to| Some(h2(measure, "tokenway")? / h2(measure, to)?);
        let growth = |target| {
            let at = |streams| self.best(Measure::ScaleEvent, target, "h1", Some(streams));
            Some(at(4000)? / at(100)?)
        };
        let resumable = |measure| Some(h1(measure, "tokenway resumable")? / h1(measure, "tokenway")?);
        let limited = |measure| Some(h1(measure, "tokenway limited")? / h1(measure, "tokenway")?);
        let more_growth = || Some(growth("tokenway")? / growth("floor")?);
        [
            ("event in a volley: times the floor", ratio(Measure::EventInVolley, "floor"), 1.15),
            ("event in a volley: times nginx", ratio(Measure::EventInVolley, "nginx"), 1.0),
            ("event alone: times the floor", ratio(Measure::Event, "floor"), 1.15),
            ("event alone: times nginx", ratio(Measure::Event, "nginx"), 1.0),
            ("resumable event in a volley: times a plain one", resumable(Measure::EventInVolley), 1.1),
            ("resumable event alone: times a plain one", resumable(Measure::Event), 1.1),
            ("keys and limits: event in a volley, times one without", limited(Measure::EventInVolley), 1.05),
            ("keys and limits: event alone, times one without", limited(Measure::Event), 1.05),
            ("keys and limits: first token, reused connection, times", limited(Measure::FirstTokenReused), 1.05),
            ("keys and limits: first token, new connection, times", limited(Measure::FirstTokenNew), 1.05),
            ("first token, reused connection: times the floor", ratio(Measure::FirstTokenReused, "floor"), 1.4),
            ("first token, reused connection: times nginx", ratio(Measure::FirstTokenReused, "nginx"), 1.25),
            ("first token, HTTP/2, reused: times nginx", ratio_h2(Measure::FirstTokenReused, "nginx"), 1.25),
            ("first token, eight at the same moment: times nginx", ratio(Measure::FirstTokenBurst, "nginx"), 1.25),
            ("first token, HTTP/2, eight at a moment: times nginx", ratio_h2(Measure::FirstTokenBurst, "nginx"), 1.25),
            ("first token, new connection: times the floor", ratio(Measure::FirstTokenNew, "floor"), 1.4),
            ("first token, new connection: times nginx", ratio(Measure::FirstTokenNew, "nginx"), 1.0),
            ("short request: processor time, times nginx", ratio(Measure::Request, "nginx"), 1.2),
            ("short request, HTTP/2: processor time, times nginx", ratio_h2(Measure::Request, "nginx"), 1.2),
            ("idle stream on its own connection, KiB", h1(Measure::Memory, "tokenway"), 22.0),
            ("idle stream on a shared connection, KiB", h2(Measure::Memory, "tokenway"), 22.0),
            ("event at 4,000 to event at 100 streams: times the floor's growth", more_growth(), 1.1),
        ]
        .into_iter()
        .filter_map(|(name, value, limit)| Some(Goal { name, value: value?, limit }))
        .collect()
    }
}

struct Goal {
    name: &'static str,
    value: f64,
    limit: f64,
}

impl Goal {
    fn is_reached(&self) -> bool {
        self.value <= self.limit
    }
}
