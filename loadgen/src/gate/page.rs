//! A comparison as one HTML file that needs nothing else: the tables, the changes with their intervals, and of each latency
//! percentile curves, percentiles over time, and heat maps. Beside the curves of runs are the medians of both sides with their
//! 95 % intervals, where there are runs enough.

use crate::chart::{Band, Cell, Curve, heat_map, over_time, percentiles};
use crate::gate::changes::changes;
use crate::gate::comparison::Comparison;
use crate::gate::print::{apart, escape_xml, fate_text, medians, outcome_text, runs};
use crate::gate::runs::{BANDS_PER_DECADE, Interval, Kept, Latency};
use crate::gate::statistics::median_interval;
use hdrhistogram::Histogram;

/// Colours that the colour-blind can tell apart, on white: blues for the base, oranges for what is new.
const COLORS_BASE: [&str; 5] = ["#0072b2", "#56b4e9", "#00456b", "#3d94c7", "#8ccbf0"];
const COLORS_NEW: [&str; 5] = ["#d55e00", "#e69f00", "#8a3d00", "#ff8b3d", "#c9a227"];
/// Points of a median's curve in each nine of percentiles.
const STEPS_PER_NINE: f64 = 20.0;
const STYLE: &str = ":root{color-scheme:light;background:#fff}body{font:15px sans-serif;color:#222;max-width:1000px;margin:2em auto;padding:0 1em}\
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
    html += &changes(comparison);
    apart(comparison).iter().for_each(|run| html += &format!("<p>Outlier: {}</p>\n", escape_xml(run)));
    html += &table(&runs(comparison));
    let sides = [("base", base, COLORS_BASE), ("new", new, COLORS_NEW)];
    let tags = base[0].latencies.keys().filter(|tag| new.iter().any(|run| run.latencies.contains_key(*tag)));
    for tag in tags {
        let title = if tag.is_empty() { "Latency".to_string() } else { format!("Latency: {tag}") };
        html += &format!("<h2>{}</h2>\n", escape_xml(&title));
        html += &percentiles(
            "By percentile",
            &bands(sides, tag, share_medians),
            &curves(sides, tag, |latency| shares(&latency.sum)),
        );
        html += &percentile_over_time("p50", sides, tag, |one| one.p50_ms);
        html += &percentile_over_time("p99", sides, tag, |one| one.p99_ms);
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

fn percentile_over_time(name: &str, sides: [Side; 2], tag: &str, value: impl Fn(&Interval) -> f64) -> String {
    let bands = bands(sides, tag, |runs| second_medians(runs, &value));
    over_time(&format!("{name} over time"), &bands, &curves(sides, tag, |latency| series(latency, &value)))
}

/// A curve for each run that has latencies with the tag.
fn curves(sides: [Side; 2], tag: &str, points: impl Fn(&Latency) -> Vec<(f64, f64)>) -> Vec<Curve> {
    let mut curves = Vec::new();
    for (_, runs, colors) in sides {
        for (place, run) in runs.iter().enumerate() {
            let Some(latency) = run.latencies.get(tag) else { continue };
            let (name, color) = (run.name.clone(), colors[place % colors.len()]);
            curves.push(Curve { name, color, points: points(latency), is_dotted: false });
        }
    }
    curves
}

/// What goes to the right, and the median of runs with the ends of its interval; `None` is a gap.
type Medians = Vec<Option<(f64, [f64; 3])>>;

/// The median of each side's runs.
fn bands(sides: [Side; 2], tag: &str, medians: impl Fn(&[&Latency]) -> Medians) -> Vec<Band> {
    let band = |(side, runs, colors): Side| {
        let latencies: Vec<&Latency> = runs.iter().filter_map(|run| run.latencies.get(tag)).collect();
        let medians = medians(&latencies);
        let pieces = medians.split(Option::is_none).map(|piece| piece.iter().flatten().copied().collect());
        let pieces: Vec<Vec<_>> = pieces.filter(|piece: &Vec<_>| !piece.is_empty()).collect();
        let name = format!("{side}: median, 95 %");
        (!pieces.is_empty()).then_some(Band { name, color: colors[0], pieces })
    };
    sides.into_iter().filter_map(band).collect()
}

/// Down to the share that is one request of the run that has the fewest: further on runs are missing.
fn share_medians(runs: &[&Latency]) -> Medians {
    let fewest = runs.iter().map(|run| run.sum.len()).min().unwrap_or(0).max(1) as f64;
    let steps = (fewest.log10() * STEPS_PER_NINE).floor() as usize;
    let at = |step: usize| {
        let share = 10f64.powf(-(step as f64) / STEPS_PER_NINE);
        let ms = |run: &&Latency| run.sum.value_at_quantile(1.0 - share) as f64 / 1e6;
        Some((share, median_interval(&runs.iter().map(ms).collect::<Vec<_>>())?))
    };
    (0..=steps).map(at).collect()
}

/// By the second, each run with the interval that the middle of the second lies in. A second in which one has none is a gap.
fn second_medians(runs: &[&Latency], value: impl Fn(&Interval) -> f64) -> Medians {
    let end = |run: &&Latency| run.intervals.last().map_or(0.0, |last| since_first(run, last) + last.seconds);
    let seconds = runs.iter().map(end).fold(f64::INFINITY, f64::min);
    let seconds = if seconds.is_finite() { seconds.round() as usize } else { 0 };
    let at = |second: usize| {
        let middle = second as f64 + 0.5;
        let ms = |run: &&Latency| {
            let is_there = |interval: &&Interval| {
                let from = since_first(run, interval);
                (from..from + interval.seconds).contains(&middle) && !interval.latency.is_empty()
            };
            run.intervals.iter().find(is_there).map(&value)
        };
        let values: Option<Vec<f64>> = runs.iter().map(ms).collect();
        Some((second as f64 + 1.0, median_interval(&values?)?))
    };
    (0..seconds).map(at).collect()
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

    /// A run of so many seconds, each with the same thousand requests, of which the slowest took `ms`; none in those named.
    fn latency(ms: u64, seconds: u32, without: &[u32]) -> Latency {
        let mut sum = histogram();
        let mut intervals = Vec::new();
        for second in 0..seconds {
            let is_empty = without.contains(&second);
            if !is_empty {
                (1..=1000).for_each(|n| sum.record(n * ms * 1_000).unwrap());
            }
            let (from, p99_ms) = (7.0 + f64::from(second) * 1.01, ms as f64 * 0.99);
            let latency = if is_empty { Default::default() } else { [(0, 1000)].into() };
            intervals.push(Interval { from, seconds: 1.01, latency, p50_ms: ms as f64 / 2.0, p99_ms });
        }
        Latency { sum, intervals }
    }

    #[test]
    fn medians_of_runs_have_their_intervals() {
        let runs: Vec<Latency> = [10, 11, 12, 13, 14].map(|ms| latency(ms, 5, &[])).into();
        let runs: Vec<&Latency> = runs.iter().collect();
        let shares = share_medians(&runs);
        assert!(shares.len() >= 70 && shares.iter().all(Option::is_some), "{shares:?}");
        let (share, [middle, low, high]) = shares[20].unwrap();
        assert!((share - 0.1).abs() < 1e-9 && (middle - 10.8).abs() < 0.1, "{middle}");
        assert!((low - 9.0).abs() < 0.1 && (high - 12.6).abs() < 0.1, "{low} {high}");
        let seconds = second_medians(&runs, |one| one.p99_ms);
        assert_eq!(seconds.len(), 5);
        assert_eq!(seconds[4].unwrap().1.map(f64::round), [12.0, 10.0, 14.0]);
        // Four runs have no interval.
        assert!(
            share_medians(&runs[1..]).iter().chain(&second_medians(&runs[1..], |one| one.p50_ms)).all(Option::is_none)
        );
        assert!(second_medians(&[], |one| one.p50_ms).is_empty());
    }

    #[test]
    fn a_second_that_a_run_lacks_is_a_gap() {
        let runs: Vec<Latency> = [&[][..], &[2], &[], &[], &[]].map(|without| latency(10, 5, without)).into();
        let runs: Vec<&Latency> = runs.iter().collect();
        let there: Vec<bool> = second_medians(&runs, |one| one.p50_ms).iter().map(Option::is_some).collect();
        assert_eq!(there, [true, true, false, true, true]);
    }

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
