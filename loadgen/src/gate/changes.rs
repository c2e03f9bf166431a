//! The changes of a comparison as SVG: for each metric the medians' ratio and its 95 % interval, on an axis on which twice as
//! much is as far from no change as half as much.

use crate::gate::comparison::{Compared, Comparison, change_text};
use crate::gate::print::escape_xml;
use crate::gate::statistics::Verdict;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 250.0;
const TOP: f64 = 44.0;
const ROW_HEIGHT: f64 = 24.0;
const BOTTOM: f64 = 50.0;
const DOT_RADIUS: f64 = 4.0;
const WHISKER: f64 = 6.0;
/// Ratios to both sides of 1 that are shown at least and at most; what lies beyond ends in an arrow.
const REACH_MIN: f64 = 1.05;
const REACH_MAX: f64 = 4.0;
/// Percent that the axis may have marks at. Where there is no room for all, the first ones have it.
const MARKS: [f64; 19] = [
    0.0, -50.0, 100.0, -75.0, 300.0, -20.0, 25.0, -33.0, 50.0, -10.0, 10.0, -67.0, 200.0, -5.0, 5.0, -2.0, 2.0, -1.0,
    1.0,
];
/// Marks are not nearer to each other, in units of the picture.
const MARK_DISTANCE: f64 = 42.0;

/// Empty where no metric has a ratio.
pub fn changes(comparison: &Comparison) -> String {
    let with_ratio = |compared: &&Compared| compared.change.is_some();
    let rows: Vec<&Compared> = comparison.metrics.iter().filter(with_ratio).collect();
    if rows.is_empty() {
        return String::new();
    }
    let far = |ratio: f64| ratio.max(1.0 / ratio);
    let ends = rows.iter().filter_map(|row| row.change).flat_map(|change| {
        let (low, high) = change.interval.unwrap_or((change.ratio, change.ratio));
        [low, high, change.ratio]
    });
    let reach = ends.map(far).fold(REACH_MIN.max(1.0 + 2.0 * comparison.margin), f64::max).min(REACH_MAX);
    let axis = Axis { reach, bottom: TOP + ROW_HEIGHT * rows.len() as f64 };
    let height = axis.bottom + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#222222\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"20\" y=\"24\" font-size=\"16\" font-weight=\"bold\">Changes from base to new, with 95 % intervals</text>\n"
    );
    axis.draw(&mut svg, comparison.margin);
    for (place, compared) in rows.into_iter().enumerate() {
        axis.row(&mut svg, TOP + ROW_HEIGHT * (place as f64 + 0.5), compared);
    }
    svg + "</svg>\n"
}

struct Axis {
    /// The ratio at the right end; its inverse is at the left end.
    reach: f64,
    bottom: f64,
}

impl Axis {
    fn x(&self, ratio: f64) -> f64 {
        let share = 0.5 + 0.5 * ratio.ln() / self.reach.ln();
        LEFT + (WIDTH - LEFT - RIGHT) * share.clamp(0.0, 1.0)
    }

    /// Whether a ratio lies beyond the axis, but for rounding.
    fn is_beyond(&self, ratio: f64) -> bool {
        ratio.ln().abs() > self.reach.ln() + 1e-9
    }

    fn draw(&self, svg: &mut String, margin: f64) {
        let (from, to, bottom) = (self.x(1.0 / (1.0 + margin)), self.x(1.0 + margin), self.bottom);
        put(
            svg,
            &format!(
                "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#eeeeee\"/>",
                to - from,
                bottom - TOP
            ),
        );
        let mut taken: Vec<f64> = Vec::new();
        for percent in MARKS {
            let ratio = 1.0 + percent / 100.0;
            let x = self.x(ratio);
            if self.is_beyond(ratio) || taken.iter().any(|other| (other - x).abs() < MARK_DISTANCE) {
                continue;
            }
            taken.push(x);
            let (color, name) = match percent {
                0.0 => ("#666666", "0 %".to_string()),
                percent => ("#dddddd", format!("{percent:+.0} %")),
            };
            put(
                svg,
                &format!(
                    "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{color}\"/>\n\
                     <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
                    bottom + 18.0
                ),
            );
        }
        let (x, y) = ((LEFT + WIDTH - RIGHT) / 2.0, bottom + 38.0);
        put(
            svg,
            &format!(
                "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#666666\">shaded: changes that do not count \
             (--margin)</text>"
            ),
        );
    }

    fn row(&self, svg: &mut String, y: f64, compared: &Compared) {
        let Some(change) = compared.change else { return };
        let color = match compared.verdict {
            Verdict::Better => "#00634a",
            Verdict::Worse => "#a33b00",
            Verdict::Same => "#222222",
            Verdict::Undecided => "#888888",
        };
        let (name, text) = (escape_xml(&compared.metric.name), escape_xml(&change_text(Some(change))));
        put(
            svg,
            &format!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\n\
             <text x=\"{}\" y=\"{:.1}\" fill=\"{color}\">{text}</text>",
                LEFT - 12.0,
                y + 4.0,
                WIDTH - RIGHT + 12.0,
                y + 4.0
            ),
        );
        if let Some((low, high)) = change.interval {
            let (from, to) = (self.x(low), self.x(high));
            put(
                svg,
                &format!(
                    "<line x1=\"{from:.1}\" y1=\"{y:.1}\" x2=\"{to:.1}\" y2=\"{y:.1}\" stroke=\"{color}\" stroke-width=\"2\"/>"
                ),
            );
            self.end(svg, (low, -1.0), y, color);
            self.end(svg, (high, 1.0), y, color);
        }
        // Without an interval the dot is hollow.
        let fill = if change.interval.is_some() { color } else { "#ffffff" };
        put(
            svg,
            &format!(
                "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"{DOT_RADIUS}\" fill=\"{fill}\" stroke=\"{color}\"/>",
                self.x(change.ratio)
            ),
        );
    }

    /// A bar across the end of an interval, or an arrow if it goes on beyond the axis.
    fn end(&self, svg: &mut String, (ratio, direction): (f64, f64), y: f64, color: &str) {
        let x = self.x(ratio);
        let inwards = x - direction * WHISKER;
        let (above, below) = (y - WHISKER, y + WHISKER);
        let points = match self.is_beyond(ratio) {
            true => format!("{inwards:.1},{above:.1} {x:.1},{y:.1} {inwards:.1},{below:.1}"),
            false => format!("{x:.1},{above:.1} {x:.1},{below:.1}"),
        };
        put(svg, &format!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>"));
    }
}

fn put(svg: &mut String, text: &str) {
    writeln!(svg, "{text}").expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::metric::{Kind, Metric};
    use crate::gate::statistics::Change;

    fn compared(name: &str, change: Option<Change>) -> Compared {
        Compared {
            metric: Metric { name: name.to_string(), unit: "ms", kind: Kind::Cost },
            base: vec![Some(1.0)],
            new: vec![Some(1.0)],
            base_level: 1.0,
            new_level: 1.0,
            verdict: change.map_or(Verdict::Undecided, |change| change.verdict(true, 0.03)),
            change,
            outliers: Vec::new(),
        }
    }

    fn comparison(metrics: Vec<Compared>) -> Comparison {
        let (base, new, notes, judged) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Comparison { base, new, margin: 0.03, notes, metrics, judged }
    }

    /// Ends of the horizontal lines and places of the dots.
    fn numbers(svg: &str, element: &str, names: &[&str]) -> Vec<Vec<f64>> {
        let lines = svg.lines().filter(|line| line.starts_with(element) && line.contains("stroke=\"#"));
        let number = |line: &str, name: &str| {
            let rest = line.split_once(&format!("{name}=\"")).unwrap().1;
            rest.split_once('"').unwrap().0.parse::<f64>().unwrap()
        };
        lines.map(|line| names.iter().map(|name| number(line, name)).collect()).collect()
    }

    #[test]
    fn an_interval_lies_around_its_ratio_and_as_far_to_each_side_as_it_is() {
        let change = Change { ratio: 1.1, interval: Some((1.0 / 1.2, 1.2)) };
        let svg = changes(&comparison(vec![compared("p<99", Some(change)), compared("faults", None)]));
        assert!(svg.contains(">p&lt;99</text>") && !svg.contains("faults") && svg.ends_with("</svg>\n"), "{svg}");
        let rows = numbers(&svg, "<line", &["x1", "x2", "y1", "y2"]);
        let row = rows.iter().find(|row| row[2] == row[3]).unwrap();
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        assert!(((row[0] + row[1]) / 2.0 - middle).abs() < 0.2, "{row:?}");
        // 1.2 is the farthest and so at the end.
        assert!((row[1] - (WIDTH - RIGHT)).abs() < 0.2, "{row:?}");
        let dot = &numbers(&svg, "<circle", &["cx", "cy"])[0];
        let expected = middle + (row[1] - middle) * 1.1f64.ln() / 1.2f64.ln();
        assert!((dot[0] - expected).abs() < 0.2 && dot[1] == row[2], "{dot:?} {expected}");
        for mark in [">0 %<", ">-10 %<", ">+10 %<", "+10.0 % (-16.7 to +20.0 %)"] {
            assert!(svg.contains(mark), "{mark} {svg}");
        }
    }

    #[test]
    fn what_is_undecided_or_beyond_looks_so() {
        let few = Change { ratio: 2.0, interval: None };
        let svg = changes(&comparison(vec![compared("p50", Some(few))]));
        assert!(svg.contains("fill=\"#ffffff\" stroke=\"#888888\""), "{svg}");
        let far = Change { ratio: 2.0, interval: Some((0.5, 9.0)) };
        let svg = changes(&comparison(vec![compared("p50", Some(far))]));
        let ends: Vec<usize> =
            svg.lines().filter(|line| line.starts_with("<polyline")).map(|line| line.matches(',').count()).collect();
        assert_eq!(ends, [2, 3], "a bar, and an arrow");
        assert_eq!(changes(&comparison(vec![compared("errors", None)])), "");
    }
}
