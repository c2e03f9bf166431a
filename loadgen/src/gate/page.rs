//! A comparison as one HTML file that needs nothing else: the tables, and of each latency percentile curves, percentiles over
//! time, and heat maps.

use crate::chart::{Cell, Curve, heat_map, over_time, percentiles};
use crate::gate::comparison::Comparison;
use crate::gate::print::{apart, escape_xml, fate_text, medians, outcome_text, runs};
use crate::gate::runs::{BANDS_PER_DECADE, Interval, Kept, Latency};
use hdrhistogram::Histogram;

/// Colours that the colour-blind can tell apart, on white: blues for the base, oranges for what is new.
const COLORS_BASE: [&str; 5] = ["#0072b2", "#56b4e9", "#00456b", "#3d94c7", "#8ccbf0"];
const COLORS_NEW: [&str; 5] = ["#d55e00", "#e69f00", "#8a3d00", "#ff8b3d", "#c9a227"];
const STYLE: &str = "body{font:15px sans-serif;color:#222;max-width:1000px;margin:2em auto;padding:0 1em}\
    table{border-collapse:collapse;margin:1em 0;font-variant-numeric:tabular-nums}\
    td,th{border-bottom:1px solid #ddd;padding:.25em .7em;text-align:right;white-space:nowrap}\
    td:first-child,th:first-child{text-align:left}div{overflow-x:auto}\
    .worse,.failed{color:#a33b00;font-weight:bold}.better,.passed{color:#00634a;font-weight:bold}.undecided{color:#666}\
    svg{width:100%;height:auto;margin:.5em 0}";

pub fn page(comparison: &Comparison, base: &[Kept], new: &[Kept]) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Load: comparison</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>Load: comparison</h1>\n"
    );
    if !comparison.judged.is_empty() {
        let outcome = outcome_text(comparison.outcome());
        html += &format!("<p>Gate: <span class=\"{outcome}\">{outcome}</span></p>\n<ul>\n");
        for judged in &comparison.judged {
            let (fate, rule, why) = (fate_text(judged.fate), escape_xml(&judged.rule.text), escape_xml(&judged.why));
            html += &format!("<li><code>{rule}</code>: <span class=\"{fate}\">{fate}</span>: {why}</li>\n");
        }
        html += "</ul>\n";
    }
    comparison.notes.iter().for_each(|note| html += &format!("<p>Note: {}</p>\n", escape_xml(note)));
    html += &table(&medians(comparison));
    apart(comparison).iter().for_each(|run| html += &format!("<p>Outlier: {}</p>\n", escape_xml(run)));
    html += &table(&runs(comparison));
    let sides = [("base", base, COLORS_BASE), ("new", new, COLORS_NEW)];
    let tags = base[0].latencies.keys().filter(|tag| new.iter().any(|run| run.latencies.contains_key(*tag)));
    for tag in tags {
        let title = if tag.is_empty() { "Latency".to_string() } else { format!("Latency: {tag}") };
        html += &format!("<h2>{}</h2>\n", escape_xml(&title));
        html += &percentiles("By percentile", &curves(sides, tag, |latency| shares(&latency.sum)));
        html += &over_time("p50 over time", &curves(sides, tag, |latency| series(latency, |one| one.p50_ms)));
        html += &over_time("p99 over time", &curves(sides, tag, |latency| series(latency, |one| one.p99_ms)));
        for (side, runs, _) in sides {
            html += &heat_map(&format!("All runs of {side}"), &cells(runs, tag));
        }
    }
    html + "</body>\n</html>\n"
}

fn table(rows: &[Vec<String>]) -> String {
    let mut html = "<div><table>\n".to_string();
    for (number, row) in rows.iter().enumerate() {
        let cell = |text: &String| match text.as_str() {
            _ if number == 0 => format!("<th>{}</th>", escape_xml(text)),
            "better" | "worse" | "undecided" => format!("<td class=\"{text}\">{text}</td>"),
            text => format!("<td>{}</td>", escape_xml(text)),
        };
        html += &format!("<tr>{}</tr>\n", row.iter().map(cell).collect::<String>());
    }
    html + "</table></div>\n"
}

type Side<'a> = (&'static str, &'a [Kept], [&'static str; 5]);

/// A curve for each run that has latencies with the tag.
fn curves(sides: [Side; 2], tag: &str, points: impl Fn(&Latency) -> Vec<(f64, f64)>) -> Vec<Curve> {
    let mut curves = Vec::new();
    for (_, runs, colors) in sides {
        for (place, run) in runs.iter().enumerate() {
            let Some(latency) = run.latencies.get(tag) else { continue };
            let (name, color) = (run.name.clone(), colors[place % colors.len()]);
            curves.push(Curve { name, color, points: points(latency) });
        }
    }
    curves
}

/// Share of the requests that took longer, and the milliseconds that they took longer than.
fn shares(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    let total = latency.len() as f64;
    let mut below = 0.0;
    let mut points = Vec::new();
    for value in latency.iter_recorded() {
        points.push((1.0 - below / total, latency.highest_equivalent(value.value_iterated_to()) as f64 / 1e6));
        below += value.count_at_value() as f64;
    }
    points
}

/// Seconds since the first interval, which comes behind the warm-up.
fn since_first(latency: &Latency, interval: &Interval) -> f64 {
    interval.from - latency.intervals.first().map_or(0.0, |first| first.from)
}

fn series(latency: &Latency, value: impl Fn(&Interval) -> f64) -> Vec<(f64, f64)> {
    let point = |interval: &Interval| {
        let ms = if interval.latency.is_empty() { f64::NAN } else { value(interval) };
        (since_first(latency, interval) + interval.seconds, ms)
    };
    latency.intervals.iter().map(point).collect()
}

fn cells(runs: &[Kept], tag: &str) -> Vec<Cell> {
    let mut cells = Vec::new();
    for latency in runs.iter().filter_map(|run| run.latencies.get(tag)) {
        for interval in &latency.intervals {
            let (from, seconds) = (since_first(latency, interval), interval.seconds);
            let ms = |band: i32| 10f64.powf(f64::from(band) / BANDS_PER_DECADE);
            let cell = |(&band, &count)| Cell { from, seconds, low_ms: ms(band), high_ms: ms(band + 1), count };
            cells.extend(interval.latency.iter().map(cell));
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::histogram;

    #[test]
    fn the_curve_falls_from_all_to_the_slowest() {
        let mut latency = histogram();
        (1..=1000).for_each(|n| latency.record(n * 10_000).unwrap());
        let points = shares(&latency);
        assert_eq!(points[0].0, 1.0);
        assert!(points.windows(2).all(|pair| pair[0].0 > pair[1].0 && pair[0].1 < pair[1].1));
        assert!(points.last().unwrap().0 > 0.0);
    }
}
