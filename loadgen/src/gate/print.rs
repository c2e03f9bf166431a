//! A comparison as text, JSON, CSV, Markdown and JUnit.

use crate::gate::comparison::{Compared, Comparison, Outcome, change_text, level_text};
use crate::gate::record::SCHEMA_VERSION;
use crate::gate::statistics::{Fate, Verdict};
use serde_json::{Map, Value, json};

pub fn verdict_text(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Same => "same",
        Verdict::Undecided => "undecided",
    }
}

pub fn fate_text(fate: Fate) -> &'static str {
    match fate {
        Fate::Seen => "failed",
        Fate::RuledOut => "passed",
        Fate::Undecided => "undecided",
    }
}

pub fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Undecided => "undecided",
    }
}

/// The rows of the table of medians, its head first.
pub fn medians(comparison: &Comparison) -> Vec<Vec<String>> {
    let head = ["metric", "base", "new", "change (95 % interval)", "verdict"];
    let row = |compared: &Compared| {
        vec![
            compared.metric.name.clone(),
            level_text(compared.base_level, compared.metric.unit),
            level_text(compared.new_level, compared.metric.unit),
            change_text(compared.change),
            verdict_text(compared.verdict).to_string(),
        ]
    };
    [head.map(str::to_string).to_vec()].into_iter().chain(comparison.metrics.iter().map(row)).collect()
}

/// The rows of the table of runs: each run with all its values; its head first.
pub fn runs(comparison: &Comparison) -> Vec<Vec<String>> {
    let head = ["side", "run"].map(str::to_string).into_iter();
    let mut rows = vec![head.chain(comparison.metrics.iter().map(|compared| compared.metric.name.clone())).collect()];
    for (side, names) in [("base", &comparison.base), ("new", &comparison.new)] {
        for (place, name) in names.iter().enumerate() {
            let value = |compared: &Compared| {
                let values = if side == "base" { &compared.base } else { &compared.new };
                // Units are in the table of medians.
                values[place].map_or("-".to_string(), |value| level_text(value, ""))
            };
            let values = comparison.metrics.iter().map(value);
            rows.push([side.to_string(), name.clone()].into_iter().chain(values).collect());
        }
    }
    rows
}

/// Sentences about runs that stand apart.
pub fn apart(comparison: &Comparison) -> Vec<String> {
    let mut runs: Vec<(&String, Vec<&str>)> = Vec::new();
    for compared in &comparison.metrics {
        for run in &compared.outliers {
            match runs.iter_mut().find(|(name, _)| *name == run) {
                Some((_, metrics)) => metrics.push(&compared.metric.name),
                None => runs.push((run, vec![&compared.metric.name])),
            }
        }
    }
    runs.into_iter().map(|(run, metrics)| format!("{run} in {}", metrics.join(", "))).collect()
}

/// Columns padded to their widest, the first `left` of them to the left.
fn align(rows: &[Vec<String>], left: usize) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let cell = |(column, cell): (usize, &String)| {
            let width = width(column);
            if column < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        };
        text += row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end();
        text += "\n";
    }
    text
}

pub fn text(comparison: &Comparison) -> String {
    let mut text = String::new();
    comparison.notes.iter().for_each(|note| text += &format!("note: {note}\n"));
    text += &align(&medians(comparison), 1);
    text += "\n";
    text += &align(&runs(comparison), 2);
    apart(comparison).iter().for_each(|run| text += &format!("outlier: {run}\n"));
    if !comparison.judged.is_empty() {
        text += "\n";
        for judged in &comparison.judged {
            text += &format!("{}: {}: {}\n", judged.rule.text, fate_text(judged.fate), judged.why);
        }
        text += &format!("gate: {}\n", outcome_text(comparison.outcome()));
    }
    text
}

pub fn json(comparison: &Comparison) -> String {
    let metric = |compared: &Compared| {
        let interval = compared.change.and_then(|change| change.interval);
        json!({
            "metric": compared.metric.name,
            "unit": compared.metric.unit,
            "verdict": verdict_text(compared.verdict),
            "base": compared.base_level,
            "new": compared.new_level,
            "ratio": compared.change.map(|change| change.ratio),
            "ratio_low": interval.map(|interval| interval.0),
            "ratio_high": interval.map(|interval| interval.1),
            "base_runs": compared.base,
            "new_runs": compared.new,
            "outliers": compared.outliers,
        })
    };
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_string(), value);
    put("schema_version", json!(SCHEMA_VERSION));
    put("base", json!(comparison.base));
    put("new", json!(comparison.new));
    put("notes", json!(comparison.notes));
    put("metrics", comparison.metrics.iter().map(metric).collect());
    let rules = comparison
        .judged
        .iter()
        .map(|judged| json!({"fail_if": judged.rule.text, "outcome": fate_text(judged.fate), "why": judged.why}));
    put("gate", rules.collect());
    put("outcome", json!(outcome_text(comparison.outcome())));
    format!("{}\n", Value::Object(object))
}

/// One line for each metric; values of runs are parted by spaces, `-` where a run has none.
pub fn csv(comparison: &Comparison) -> String {
    let mut text = "metric,unit,base,new,ratio,ratio_low,ratio_high,verdict,base_runs,new_runs\n".to_string();
    for compared in &comparison.metrics {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let interval = compared.change.and_then(|change| change.interval);
        let runs = |values: &[Option<f64>]| {
            values
                .iter()
                .map(|value| value.map_or("-".to_string(), |value| value.to_string()))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let cells = [
            compared.metric.name.clone(),
            compared.metric.unit.to_string(),
            compared.base_level.to_string(),
            compared.new_level.to_string(),
            number(compared.change.map(|change| change.ratio)),
            number(interval.map(|interval| interval.0)),
            number(interval.map(|interval| interval.1)),
            verdict_text(compared.verdict).to_string(),
            runs(&compared.base),
            runs(&compared.new),
        ];
        text += &(cells.map(|cell| csv_cell(&cell)).join(",") + "\n");
    }
    text
}

/// RFC 4180.
fn csv_cell(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}

pub fn markdown(comparison: &Comparison) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('\n', " ");
    let table = |rows: Vec<Vec<String>>, left: usize| {
        let line = |row: &Vec<String>| {
            format!("| {} |\n", row.iter().map(|cell| escape(cell)).collect::<Vec<_>>().join(" | "))
        };
        let rule = (0..rows[0].len()).map(|column| if column < left { "---" } else { "---:" }).collect::<Vec<_>>();
        let lines: String = rows[1..].iter().map(line).collect();
        format!("{}| {} |\n{lines}", line(&rows[0]), rule.join(" | "))
    };
    let mut text = match comparison.judged.is_empty() {
        true => "### Load: comparison\n\n".to_string(),
        false => format!("### Load: {}\n\n", outcome_text(comparison.outcome())),
    };
    for judged in &comparison.judged {
        let (rule, fate) = (&judged.rule.text, fate_text(judged.fate));
        text += &format!("- `{rule}`: **{fate}**: {}\n", escape(&judged.why));
    }
    if !comparison.judged.is_empty() {
        text += "\n";
    }
    comparison.notes.iter().for_each(|note| text += &format!("> {}\n\n", escape(note)));
    text += &table(medians(comparison), 1);
    apart(comparison).iter().for_each(|run| text += &format!("\nOutlier: {}\n", escape(run)));
    text + "\n<details><summary>Runs</summary>\n\n" + &table(runs(comparison), 2) + "\n</details>\n"
}

/// A test case for each condition. One that is undecided is an error: the test could not be carried out.
pub fn junit(comparison: &Comparison) -> String {
    let count = |fate| comparison.judged.iter().filter(|judged| judged.fate == fate).count();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\"",
        comparison.judged.len(),
        count(Fate::Seen),
        count(Fate::Undecided)
    );
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_string();
    xml += &format!("<testsuites {counts}>\n<testsuite name=\"loadgen compare\" {counts}>\n");
    for judged in &comparison.judged {
        let (name, why) = (escape_xml(&judged.rule.text), escape_xml(&judged.why));
        let case = format!("<testcase classname=\"loadgen.compare\" name=\"{name}\"");
        xml += &match judged.fate {
            Fate::RuledOut => format!("{case}/>\n"),
            Fate::Seen => format!("{case}><failure message=\"{why}\"/></testcase>\n"),
            Fate::Undecided => format!("{case}><error message=\"undecided: {why}\"/></testcase>\n"),
        };
    }
    xml + &format!("<system-out>{}</system-out>\n</testsuite>\n</testsuites>\n", escape_xml(&text(comparison)))
}

/// Text for XML and HTML, between tags and in double quotes.
pub fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
