//! Two sets of runs side by side: whether they may be compared, what changed, and what the gate makes of it.

use crate::gate::metric::{Kind, Metric, values};
use crate::gate::record::SCHEMA_VERSION;
use crate::gate::rule::{Bound, Rule};
use crate::gate::runs::Kept;
use crate::gate::statistics::{Change, Fate, RUNS_MAX, RUNS_MIN, Verdict, in_turn, median, outliers};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Options in which runs of a set may differ: where the broker is and what the result is called.
const OPTIONS_FREE: [&str; 10] =
    ["bootstrap_server", "topic", "group", "broker_pid", "json", "live", "hdr", "out", "ledger", "name"];

pub struct Comparison {
    /// Names of the runs, and of which of them the interval is not to be believed.
    pub base: Vec<String>,
    pub new: Vec<String>,
    /// From where on a change counts in the verdicts (0.03 is 3 %).
    pub margin: f64,
    /// What a reader has to know before the figures.
    pub notes: Vec<String>,
    pub metrics: Vec<Compared>,
    pub judged: Vec<Judged>,
}

/// One metric.
pub struct Compared {
    pub metric: Metric,
    /// A value for each run that has one.
    pub base: Vec<Option<f64>>,
    pub new: Vec<Option<f64>>,
    /// Median, or sum of faults.
    pub base_level: f64,
    pub new_level: f64,
    pub change: Option<Change>,
    pub verdict: Verdict,
    /// Names of runs that stand apart from the others of their side.
    pub outliers: Vec<String>,
}

/// One condition of the gate.
pub struct Judged {
    pub rule: Rule,
    pub fate: Fate,
    pub why: String,
}

/// What the gate says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Passed,
    Failed,
    Undecided,
}

pub struct Settings<'a> {
    pub margin: f64,
    pub rules: &'a [Rule],
    /// Compare what is not comparable; the differences become notes.
    pub force: bool,
}

impl Comparison {
    /// `Err` says why the runs cannot be compared.
    pub fn new(base: &[Kept], new: &[Kept], settings: &Settings) -> Result<Comparison, String> {
        if base.len().max(new.len()) > RUNS_MAX {
            return Err(format!("more than {RUNS_MAX} runs a side"));
        }
        let all: Vec<&Kept> = base.iter().chain(new).collect();
        let differences = differences(&all);
        if !differences.is_empty() && !settings.force {
            return Err(format!("not comparable (--force compares all the same): {}", differences.join("; ")));
        }
        let common = |tag: &&String| all.iter().all(|run| run.latencies.contains_key(*tag));
        if !all[0].latencies.keys().any(|tag| common(&tag)) {
            return Err("the runs have no tag of latencies in common".to_string());
        }
        let mut notes = differences;
        notes.extend(hosts(&all));
        let tags: BTreeSet<&String> = all.iter().flat_map(|run| run.latencies.keys()).collect();
        let partly = tags.into_iter().filter(|tag| !common(tag));
        notes.extend(partly.map(|tag| format!("not all runs have latencies with the tag {tag:?}")));
        let invalid: Vec<String> =
            all.iter().filter_map(|run| Some(format!("{} is not valid: {}", run.name, run.invalid()?))).collect();
        let is_sound = invalid.is_empty() || settings.force;
        notes.extend(invalid);
        if base.len().min(new.len()) < RUNS_MIN {
            notes.push(format!("less than {RUNS_MIN} runs a side decide nothing"));
        }
        let names = |runs: &[Kept]| runs.iter().map(|run| run.name.clone()).collect::<Vec<_>>();
        let (base_names, new_names) = (names(base), names(new));
        let sides = [(base, base_names.as_slice()), (new, new_names.as_slice())];
        let times = |runs: &[Kept]| runs.iter().map(Kept::ended_seconds).collect::<Vec<_>>();
        let pairs = in_turn(&times(base), &times(new)).filter(|pairs| pairs.len() >= RUNS_MIN);
        if pairs.is_some() {
            notes.push(
                "the runs were made in turn: where those of a pair hang together, pairs are compared".to_string(),
            );
        }
        let metrics = compare(sides, pairs.as_deref(), settings.margin, is_sound);
        let judged = settings.rules.iter().map(|rule| judge(rule, &metrics, is_sound)).collect();
        let margin = settings.margin;
        Ok(Comparison { base: base_names, new: new_names, margin, notes, metrics, judged })
    }

    pub fn outcome(&self) -> Outcome {
        let has = |fate| self.judged.iter().any(|judged| judged.fate == fate);
        match () {
            () if has(Fate::Seen) => Outcome::Failed,
            () if has(Fate::Undecided) => Outcome::Undecided,
            () => Outcome::Passed,
        }
    }
}

/// Differences for which runs are refused: of the schema, the command, the options.
fn differences(all: &[&Kept]) -> Vec<String> {
    let mut differences = Vec::new();
    for run in all.iter().filter(|run| run.schema_version() != SCHEMA_VERSION) {
        differences.push(format!("{} has schema version {}, not {SCHEMA_VERSION}", run.name, run.schema_version()));
    }
    let recorded: Vec<&&Kept> = all.iter().filter(|run| !run.record.is_null()).collect();
    let Some(first) = recorded.first() else { return differences };
    for other in &recorded[1..] {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
        let mut differ = |what: &str, a: &Value, b: &Value| {
            if a != b {
                let (a, b) = (text(a), text(b));
                differences.push(format!("{what} is {a} in {} and {b} in {}", first.name, other.name));
            }
        };
        differ("the command", &first.record["command"], &other.record["command"]);
        let none = Map::new();
        let options = |run: &&&Kept| run.record["options"].as_object().unwrap_or(&none).clone();
        let (a, b) = (options(first), options(other));
        let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for name in names.into_iter().filter(|name| !OPTIONS_FREE.contains(&name.as_str())) {
            let value = |options: &Map<String, Value>| options.get(name).cloned().unwrap_or("not set".into());
            differ(&format!("--{}", name.replace('_', "-")), &value(&a), &value(&b));
        }
    }
    differences
}

/// Differences of which a reader has to know: another machine, kernel or load generator.
fn hosts(all: &[&Kept]) -> Vec<String> {
    let recorded: Vec<&&Kept> = all.iter().filter(|run| !run.record.is_null()).collect();
    let mut notes = Vec::new();
    let whats = [
        ("the processor", "/host/cpu"),
        ("the number of cores", "/host/cores"),
        ("the kernel", "/host/kernel"),
        ("loadgen's version", "/loadgen"),
    ];
    for (what, path) in whats {
        let value = |run: &Kept| run.record.pointer(path).cloned().unwrap_or_default();
        let values: BTreeSet<String> = recorded
            .iter()
            .map(|run| value(run))
            .map(|value| value.as_str().map_or(value.to_string(), str::to_string))
            .collect();
        if values.len() > 1 {
            notes.push(format!("{what} differs: {}", values.into_iter().collect::<Vec<_>>().join(", ")));
        }
    }
    notes
}

/// The metrics that both sides have, in the order of the first run that has them.
fn compare(
    sides: [(&[Kept], &[String]); 2],
    pairs: Option<&[(usize, usize)]>,
    margin: f64,
    is_sound: bool,
) -> Vec<Compared> {
    let mut order: Vec<Metric> = Vec::new();
    let mut tables: [Vec<BTreeMap<String, f64>>; 2] = [Vec::new(), Vec::new()];
    for ((runs, _), table) in sides.iter().zip(&mut tables) {
        for run in *runs {
            let values = values(run);
            order.extend(values.iter().map(|(metric, _)| metric.clone()));
            table.push(values.into_iter().map(|(metric, value)| (metric.name, value)).collect());
        }
    }
    let mut seen = BTreeSet::new();
    order.retain(|metric| seen.insert(metric.name.clone()));
    let column = |table: &[BTreeMap<String, f64>], metric: &Metric| -> Vec<Option<f64>> {
        table.iter().map(|values| values.get(&metric.name).copied()).collect()
    };
    let compared = order.into_iter().filter_map(|metric| {
        let [base, new] = [0, 1].map(|side| column(&tables[side], &metric));
        let [base_there, new_there] =
            [&base, &new].map(|values| values.iter().flatten().copied().collect::<Vec<f64>>());
        let level = |values: &[f64]| match metric.kind {
            Kind::Faults => (!values.is_empty()).then(|| values.iter().fold(0.0, |sum, value| sum + value)),
            Kind::Cost | Kind::Yield => median(values),
        };
        let (base_level, new_level) = (level(&base_there)?, level(&new_there)?);
        let paired = || {
            let both = |&(base_at, new_at): &(usize, usize)| Some((base[base_at]?, new[new_at]?));
            Change::of_pairs(&pairs?.iter().map(both).collect::<Option<Vec<_>>>()?)
        };
        let either = || paired().or_else(|| Change::between(&base_there, &new_there));
        let change = (metric.kind != Kind::Faults).then(either).flatten();
        let verdict = match (metric.kind, change) {
            _ if !is_sound => Verdict::Undecided,
            (Kind::Faults, _) => faults_verdict(base_level, new_level),
            // Five runs that have the value are needed, not five runs.
            (kind, Some(change)) => change.verdict(kind == Kind::Cost, margin),
            (_, None) => Verdict::Undecided,
        };
        let named = |(values, names): (&Vec<Option<f64>>, &[String])| {
            let names: Vec<&String> =
                names.iter().zip(values).filter_map(|(name, value)| value.map(|_| name)).collect();
            let there: Vec<f64> = values.iter().flatten().copied().collect();
            outliers(&there, margin).into_iter().map(|place| names[place].clone()).collect::<Vec<_>>()
        };
        let outliers = match metric.kind {
            Kind::Faults => Vec::new(),
            Kind::Cost | Kind::Yield => [(&base, sides[0].1), (&new, sides[1].1)].into_iter().flat_map(named).collect(),
        };
        Some(Compared { metric, base, new, base_level, new_level, change, verdict, outliers })
    });
    compared.collect()
}

/// Faults where there were none are worse, however few runs there are. Between some and some others there is no telling.
fn faults_verdict(base: f64, new: f64) -> Verdict {
    match (base > 0.0, new > 0.0) {
        (false, false) => Verdict::Same,
        (false, true) => Verdict::Worse,
        (true, false) => Verdict::Better,
        (true, true) => Verdict::Undecided,
    }
}

fn judge(rule: &Rule, metrics: &[Compared], is_sound: bool) -> Judged {
    let judged = |fate, why: String| Judged { rule: rule.clone(), fate, why };
    let Some(compared) = metrics.iter().find(|compared| compared.metric.name == rule.metric) else {
        return judged(Fate::Undecided, "not measured on both sides".to_string());
    };
    let is_level = |is_beyond: bool| if is_beyond { Fate::Seen } else { Fate::RuledOut };
    let (fate, is_change) = match (rule.bound, compared.change) {
        (Bound::Above(level), _) => (is_level(compared.new_level > level), false),
        (Bound::Below(level), _) => (is_level(compared.new_level < level), false),
        (Bound::Rise(margin), Some(change)) => (change.rise(margin), true),
        (Bound::Fall(margin), Some(change)) => (change.fall(margin), true),
        (_, None) => return judged(Fate::Undecided, "there is no ratio".to_string()),
    };
    let partly = [&compared.base, &compared.new].iter().any(|values| values.contains(&None));
    let why = match is_change {
        true => change_text(compared.change),
        false => level_text(compared.new_level, compared.metric.unit),
    };
    match fate {
        Fate::RuledOut if partly => judged(Fate::Undecided, format!("{why}, and not all runs have it")),
        // A level of runs that are not to be believed may be beyond its bound, and cannot be within.
        _ if !is_sound && (is_change || fate != Fate::Seen) => {
            judged(Fate::Undecided, format!("{why}, and a run is not valid"))
        }
        _ => judged(fate, why),
    }
}

/// A change for people: `+5.3 % (-1.0 to +9.8 %)`.
pub fn change_text(change: Option<Change>) -> String {
    let percent = |ratio: f64| format!("{:+.1}", (ratio - 1.0) * 100.0);
    match change {
        None => "-".to_string(),
        Some(Change { ratio, interval: None }) => format!("{} %", percent(ratio)),
        Some(Change { ratio, interval: Some((low, high)) }) => {
            format!("{} % ({} to {} %)", percent(ratio), percent(low), percent(high))
        }
    }
}

/// A value with its unit and four digits that matter.
pub fn level_text(value: f64, unit: &str) -> String {
    let text = match value.abs() {
        small if small < 10.0 && small.fract() != 0.0 => format!("{value:.3}"),
        middle if middle < 100.0 && middle.fract() != 0.0 => format!("{value:.2}"),
        middle if middle < 1000.0 && middle.fract() != 0.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    match unit {
        "" => text,
        unit if unit.starts_with('/') => format!("{text}{unit}"),
        unit => format!("{text} {unit}"),
    }
}
