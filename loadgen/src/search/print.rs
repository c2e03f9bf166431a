//! What a search came to: for people, as one JSON object, a line for each step, and a chart.

use super::Found;
use super::step::{BROKER_CORES, Step};
use crate::chart::{Curve, against_rate};
use crate::search::Limit;
use serde_json::{Value, json};
use std::fmt::Write;

/// Colours that the colour-blind can tell apart, on white.
const LATENCIES: [(&str, &str, &str); 3] =
    [("p50", "p50_ms", "#56b4e9"), ("p99", "p99_ms", "#0072b2"), ("p99.9", "p999_ms", "#00456b")];
const DELIVERIES: [(&str, &str, &str); 3] = [
    ("delivery p50", "delivery_p50_ms", "#cc79a7"),
    ("delivery p99", "delivery_p99_ms", "#a0447c"),
    ("delivery p99.9", "delivery_p999_ms", "#5c1f47"),
];
const CORES: [(&str, &str, &str); 2] =
    [("broker, cores", BROKER_CORES, "#d55e00"), ("load, cores", "load_cores", "#e69f00")];
const LIMIT_COLOR: &str = "#888888";
const FOUND_COLOR: &str = "#00634a";

/// One step, while the search goes on.
pub fn line(number: usize, step: &Step) -> String {
    let figure = |name: &str| step.figure(name).unwrap_or(f64::NAN);
    let mut line = format!(
        "step {number:>2}  {:>10} records/s  {:<7}  p50 {:.3}  p99 {:.3}  p99.9 {:.3} ms",
        step.rate,
        step.verdict.name(),
        figure("p50_ms"),
        figure("p99_ms"),
        figure("p999_ms")
    );
    for (name, key, _) in DELIVERIES {
        if let Some(ms) = step.figure(key) {
            write!(line, "  {name} {ms:.3} ms").expect("a string takes all");
        }
    }
    for (name, key, _) in CORES {
        if let Some(cores) = step.figure(key) {
            write!(line, "  {} {cores:.2}", name.replace(',', "")).expect("a string takes all");
        }
    }
    match step.verdict.why() {
        why if why.is_empty() => line,
        why => format!("{line}  {why}"),
    }
}

pub fn text(found: &Found) -> String {
    let mut text = String::new();
    let mut put = |line: String| writeln!(text, "{line}").expect("a string takes all");
    found.steps.iter().enumerate().for_each(|(i, step)| put(line(i + 1, step)));
    match found.rate {
        Some(rate) => put(format!("{:<22}{rate} records/s", "highest rate")),
        None => put(format!("{:<22}none", "highest rate")),
    }
    found.limited_by.iter().for_each(|why| put(format!("{:<22}{why}", "limited by")));
    found.drive.iter().for_each(|drive| put(format!("{:<22}{drive}", "the broker's drive")));
    found.why.iter().for_each(|why| put(format!("{:<22}{why}", "NOT VALID")));
    text
}

pub fn object(found: &Found, limits: &[Limit]) -> Value {
    json!({
        "rate": found.rate,
        "max": limits.iter().map(|limit| &limit.text).collect::<Vec<_>>(),
        "limited_by": found.limited_by,
        "valid": found.why.is_empty(),
        "why": found.why,
        "drive": found.drive,
        "steps": found.steps.iter().map(Step::json).collect::<Vec<_>>(),
    })
}

/// A line for each step, in the order of the search.
pub fn csv(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        let Value::Object(object) = step.json() else { unreachable!("a step is an object") };
        if text.is_empty() {
            text = object.keys().cloned().collect::<Vec<_>>().join(",") + "\n";
        }
        let cell = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(word) => word.clone(),
            Value::Array(_) => format!("\"{}\"", step.verdict.why().replace('"', "\"\"")),
            value => value.to_string(),
        };
        text += &(object.values().map(cell).collect::<Vec<_>>().join(",") + "\n");
    }
    text
}

/// Latencies and processor time against the rate, of the steps that are valid; what was found, and the limits.
pub fn chart(found: &Found, limits: &[Limit]) -> String {
    let mut valid: Vec<&Step> = found.steps.iter().filter(|step| step.verdict.is_valid()).collect();
    valid.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let curve = |(name, key, color): (&str, &str, &'static str)| {
        let points = valid.iter().filter_map(|step| Some((step.rate, step.figure(key)?)));
        Curve { name: name.to_string(), color, points: points.collect(), is_dotted: true }
    };
    let is_known = |curve: &Curve| !curve.points.is_empty();
    let latencies = LATENCIES.into_iter().chain(DELIVERIES).map(curve);
    let mut latencies: Vec<Curve> = latencies.filter(is_known).collect();
    let cores: Vec<Curve> = CORES.into_iter().map(curve).filter(is_known).collect();
    let (Some(first), Some(last)) = (valid.first(), valid.last()) else {
        return against_rate("No step was valid", &[], &[]);
    };
    // Of a single step they have a width too.
    let (from, to) = if first.rate < last.rate { (first.rate, last.rate) } else { (0.9 * first.rate, 1.1 * last.rate) };
    let across = |limit: &Limit| Curve {
        name: limit.text.clone(),
        color: LIMIT_COLOR,
        points: vec![(from, limit.ms), (to, limit.ms)],
        is_dotted: false,
    };
    latencies.extend(limits.iter().map(across));
    let ms: Vec<f64> = latencies.iter().flat_map(|curve| &curve.points).map(|point| point.1).collect();
    if let Some(rate) = found.rate {
        let ends = [ms.iter().copied().fold(f64::INFINITY, f64::min), ms.iter().copied().fold(0.0, f64::max)];
        let points = ends.map(|ms| (rate, ms)).to_vec();
        latencies.push(Curve { name: format!("{rate} records/s"), color: FOUND_COLOR, points, is_dotted: false });
    }
    against_rate("Latency and processor time against the rate", &latencies, &cores)
}

#[cfg(test)]
mod tests {
    use super::super::step::{Verdict, tests::report};
    use super::*;

    fn found() -> Found {
        let step = |rate: f64, ms, verdict| Step::new(rate, &report(ms), verdict);
        let broker = vec!["p99 \"19.8\" ms".to_string(), "errors: X 1".to_string()];
        let failed = Verdict { broker, own: Vec::new() };
        Found {
            steps: vec![
                step(1_000.0, 2, Verdict::default()),
                step(4_000.0, 20, failed),
                step(2_000.0, 400, Verdict { own: vec!["steal".to_string()], broker: Vec::new() }),
            ],
            rate: Some(1_000.0),
            limited_by: vec!["p99 19.8 ms".to_string()],
            why: Vec::new(),
            drive: Some("vda: 9 us".to_string()),
        }
    }

    #[test]
    fn each_step_has_a_line_with_all_columns() {
        let csv = csv(&found().steps);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 4, "{csv}");
        assert!(lines[0].starts_with("rate,outcome,records_per_second,p50_ms,p99_ms,p999_ms,"), "{csv}");
        assert!(lines[1].starts_with("1000.0,passed,100.0,") && lines[1].ends_with(",\"\""), "{csv}");
        assert!(lines[2].ends_with("\"p99 \"\"19.8\"\" ms; errors: X 1\""), "{csv}");
        assert!(lines[1..].iter().all(|line| line.split(',').count() == lines[0].split(',').count()), "{csv}");
    }

    #[test]
    fn both_forms_say_what_was_found() {
        let found = found();
        let text = text(&found);
        assert!(
            text.contains("highest rate          1000 records/s\n") && text.contains("limited by            p99"),
            "{text}"
        );
        assert!(text.contains("the broker's drive    vda: 9 us\n"), "{text}");
        assert!(text.contains("step  2        4000 records/s  failed   p50 10.0"), "{text}");
        let limits = ["p99<10ms".parse().unwrap()];
        let object = object(&found, &limits);
        assert_eq!(
            (&object["rate"], &object["valid"], &object["max"]),
            (&json!(1000.0), &json!(true), &json!(["p99<10ms"]))
        );
        assert_eq!((&object["drive"], object["steps"].as_array().unwrap().len()), (&json!("vda: 9 us"), 3));
    }

    #[test]
    fn the_chart_has_what_is_valid() {
        let limits = ["p99<10ms".parse().unwrap()];
        let svg = chart(&found(), &limits);
        for name in ["p50", "p99", "p99.9", "p99&lt;10ms", "1000 records/s", "records a second"] {
            assert!(svg.contains(&format!(">{name}<")), "{name}: {svg}");
        }
        // Steps that are not valid would raise the axis to a second.
        assert!(!svg.contains(">500<") && svg.contains(">20<"), "{svg}");
        let none = Found { steps: Vec::new(), rate: None, ..found() };
        assert!(chart(&none, &limits).contains("No step was valid"));
    }
}
