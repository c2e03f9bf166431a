//! Pictures of latencies as SVG, without anything from elsewhere. Milliseconds go upwards, each decade as high as the other; to the
//! right go percentiles, each nine as wide as the other, or seconds, or rates, each decade as wide as the other.

use std::collections::BTreeMap;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const PLOT_HEIGHT: f64 = 400.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 30.0;
const BOTTOM: f64 = 70.0;
const TITLE_HEIGHT: f64 = 36.0;
const LEGEND_HEIGHT: f64 = 18.0;
const LEGEND_COLUMNS: usize = 4;
const LEGEND_CHARS: usize = 26;
const LATENCY: &str = "latency, ms";
const TEXT: &str = "#222222";
const GRID: &str = "#dddddd";
const HEAT: &str = "#0072b2";
/// Columns of a heat map at most.
const HEAT_COLUMNS_MAX: f64 = 160.0;
/// Shares of slower requests that the axis marks, with the names of their percentiles.
const MARKS: [(f64, &str); 9] = [
    (1.0, "0 %"),
    (0.5, "50 %"),
    (0.1, "90 %"),
    (0.01, "99 %"),
    (1e-3, "99.9 %"),
    (1e-4, "99.99 %"),
    (1e-5, "99.999 %"),
    (1e-6, "99.9999 %"),
    (1e-7, "99.99999 %"),
];

pub struct Curve {
    pub name: String,
    pub color: &'static str,
    /// What goes to the right, and milliseconds; not a number where there is a gap.
    pub points: Vec<(f64, f64)>,
    /// Each point was measured by itself, and is marked.
    pub is_dotted: bool,
}

/// What the curves of several runs come to: what goes to the right, then the middle and both ends of its interval in milliseconds.
pub struct Band {
    pub name: String,
    pub color: &'static str,
    /// Pieces, between which there are gaps.
    pub pieces: Vec<Vec<(f64, [f64; 3])>>,
}

/// How many requests took from `low_ms` to `high_ms`, in an interval of `seconds` from `from` on.
pub struct Cell {
    pub from: f64,
    pub seconds: f64,
    pub low_ms: f64,
    pub high_ms: f64,
    pub count: u64,
}

/// What the axis to the right shows.
enum Right {
    /// Shares of slower requests, as a number of nines.
    Nines(f64),
    Seconds(f64),
    /// Rates from one to the other.
    Rates(f64, f64),
}

struct Plot {
    svg: String,
    right: Right,
    /// What goes upwards.
    up: &'static str,
    /// Decades of it.
    low: f64,
    high: f64,
    top: f64,
}

impl Plot {
    /// An empty plot with room for a legend of so many names.
    fn new(title: &str, right: Right, ms: impl Iterator<Item = f64> + Clone, names: usize) -> Plot {
        Plot::of(title, (right, LATENCY), ms, names)
    }

    fn of(
        title: &str,
        (right, up): (Right, &'static str),
        ms: impl Iterator<Item = f64> + Clone,
        names: usize,
    ) -> Plot {
        let ms = ms.filter(|ms| ms.is_finite() && *ms > 0.0);
        let low = ms.clone().fold(f64::INFINITY, f64::min).max(1e-3);
        let high = ms.fold(low, f64::max);
        // Whole decades, at least one.
        let low = if low.is_finite() { low.log10().floor() } else { 0.0 };
        let high = if high.is_finite() { high.log10().ceil() } else { low };
        let top = TITLE_HEIGHT + LEGEND_HEIGHT * (names.div_ceil(LEGEND_COLUMNS) as f64) + 6.0;
        let height = top + PLOT_HEIGHT + BOTTOM;
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
             font-size=\"13\" fill=\"{TEXT}\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"bold\">{}</text>\n",
            escape(title)
        );
        let mut plot = Plot { svg, right, up, low, high: high.max(low + 1.0), top };
        plot.grid();
        plot
    }

    fn put(&mut self, text: &str) {
        writeln!(self.svg, "{text}").expect("a string takes all");
    }

    fn x(&self, value: f64) -> f64 {
        let share = match self.right {
            Right::Nines(nines) => -value.log10() / nines,
            Right::Seconds(seconds) => value / seconds,
            Right::Rates(low, high) => (value / low).ln() / (high / low).ln(),
        };
        LEFT + (WIDTH - LEFT - RIGHT) * share.clamp(0.0, 1.0)
    }

    fn y(&self, ms: f64) -> f64 {
        let up = (ms.max(1e-9).log10() - self.low) / (self.high - self.low);
        self.bottom() - PLOT_HEIGHT * up.clamp(0.0, 1.0)
    }

    fn bottom(&self) -> f64 {
        self.top + PLOT_HEIGHT
    }

    fn grid(&mut self) {
        let (top, bottom, right) = (self.top, self.bottom(), WIDTH - RIGHT);
        let (marks, title): (Vec<(f64, String)>, _) = match self.right {
            Right::Nines(nines) => {
                let marks = MARKS.iter().filter(|(share, _)| -share.log10() <= nines + 1e-9);
                (marks.map(|(share, name)| (*share, name.to_string())).collect(), "percentile")
            }
            Right::Seconds(seconds) => {
                let step = step(seconds);
                let marks = (0..).map(|n| f64::from(n) * step).take_while(|mark| *mark <= seconds);
                (marks.map(|mark| (mark, label(mark))).collect(), "seconds")
            }
            Right::Rates(low, high) => {
                let inside = rate_marks(low, high).into_iter().filter(|mark| (low..=high).contains(mark));
                (inside.map(|mark| (mark, label(mark))).collect(), "records a second")
            }
        };
        for (value, name) in marks {
            let x = self.x(value);
            self.put(&format!("<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{GRID}\"/>"));
            self.put(&format!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>", bottom + 20.0));
        }
        for decade in self.low as i32..=self.high as i32 {
            for step in [1.0, 2.0, 5.0] {
                let ms = step * 10f64.powi(decade);
                if ms.log10() > self.high + 1e-9 {
                    continue;
                }
                let y = self.y(ms);
                self.put(&format!(
                    "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"{GRID}\"/>"
                ));
                let (x, y, ms) = (LEFT - 8.0, y + 4.0, label(ms));
                self.put(&format!("<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{ms}</text>"));
            }
        }
        let (middle, below) = ((LEFT + right) / 2.0, bottom + 50.0);
        self.put(&format!("<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{title}</text>"));
        let middle = (top + bottom) / 2.0;
        let place = format!("transform=\"translate(20 {middle}) rotate(-90)\" text-anchor=\"middle\"");
        self.put(&format!("<text {place}>{}</text>", self.up));
    }

    fn line(&mut self, curve: &Curve, index: usize) {
        let mut path = String::new();
        let mut last = None;
        for &(value, ms) in &curve.points {
            if !ms.is_finite() {
                last = None;
                continue;
            }
            let point = format!("{:.1} {:.1}", self.x(value), self.y(ms));
            match &last {
                // A point between two gaps is to be seen as well.
                None => write!(path, "M{point} L{point} "),
                Some(last) if *last == point => Ok(()),
                Some(_) => write!(path, "L{point} "),
            }
            .expect("a string takes all");
            last = Some(point);
        }
        let color = curve.color;
        self.put(&format!(
            "<path d=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\" stroke-linecap=\"round\"/>",
            path.trim_end()
        ));
        for (value, ms) in curve.points.iter().filter(|(_, ms)| curve.is_dotted && ms.is_finite()) {
            let (x, y) = (self.x(*value), self.y(*ms));
            self.put(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{color}\"/>"));
        }
        self.legend(index, color, &curve.name, 3.0);
    }

    fn legend(&mut self, index: usize, color: &str, name: &str, width: f64) {
        let (x, y) = (LEFT + 220.0 * (index % LEGEND_COLUMNS) as f64, (index / LEGEND_COLUMNS) as f64);
        let y = TITLE_HEIGHT + LEGEND_HEIGHT * y + 8.0;
        self.put(&format!(
            "<line x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{color}\" stroke-width=\"{width}\"/>\n\
             <text x=\"{}\" y=\"{}\">{}</text>",
            x + 24.0,
            x + 30.0,
            y + 4.0,
            escape(&shorten(name))
        ));
    }

    fn band(&mut self, band: &Band, index: usize) {
        let color = band.color;
        for piece in &band.pieces {
            let place =
                |&(value, ends): &(f64, [f64; 3]), end: usize| format!("{:.1},{:.1}", self.x(value), self.y(ends[end]));
            let along = |end: usize| piece.iter().map(move |point| place(point, end));
            let around = along(1).chain(along(2).rev()).collect::<Vec<_>>().join(" ");
            let middle = along(0).collect::<Vec<_>>().join(" ");
            self.put(&format!(
                "<polygon points=\"{around}\" fill=\"{color}\" fill-opacity=\"0.18\"/>\n\
                 <polyline points=\"{middle}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"3\"/>"
            ));
        }
        self.legend(index, color, &band.name, 8.0);
    }

    fn end(self) -> String {
        self.svg + "</svg>\n"
    }
}

/// Percentile curves: points are shares of the requests that took longer, falling from 1, and milliseconds, rising.
pub fn percentiles(title: &str, bands: &[Band], curves: &[Curve]) -> String {
    let shares = curves.iter().flat_map(|curve| &curve.points).map(|point| point.0);
    draw(title, Right::Nines(-shares.fold(0.01, f64::min).log10()), bands, curves)
}

/// Curves over seconds.
pub fn over_time(title: &str, bands: &[Band], curves: &[Curve]) -> String {
    let seconds = curves.iter().flat_map(|curve| &curve.points).map(|point| point.0);
    draw(title, Right::Seconds(seconds.fold(1.0, f64::max)), bands, curves)
}

/// Bands lie within the curves that they are of, and below them.
fn draw(title: &str, right: Right, bands: &[Band], curves: &[Curve]) -> String {
    plot(title, (right, LATENCY), bands, curves).end()
}

fn plot(title: &str, axes: (Right, &'static str), bands: &[Band], curves: &[Curve]) -> Plot {
    let values = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
    let mut plot = Plot::of(title, axes, values, bands.len() + curves.len());
    bands.iter().enumerate().for_each(|(index, band)| plot.band(band, index));
    curves.iter().enumerate().for_each(|(index, curve)| plot.line(curve, bands.len() + index));
    plot
}

/// Latencies, and below them cores, against rates.
pub fn against_rate(title: &str, latencies: &[Curve], cores: &[Curve]) -> String {
    let rates = latencies.iter().chain(cores).flat_map(|curve| &curve.points).map(|point| point.0);
    let (low, high) = rates.fold((f64::INFINITY, 0.0), |(low, high), rate| (rate.min(low), rate.max(high)));
    let (low, high) = if high > 0.0 { (low, high) } else { (1.0, 1.0) };
    // From mark to mark; a single rate has a width too.
    let marks = rate_marks(low, high);
    let low = marks.iter().copied().rfind(|mark| *mark <= low).unwrap_or(low);
    let high = marks.iter().copied().find(|mark| *mark >= high && *mark > low).unwrap_or(high);
    let above = plot(title, (Right::Rates(low, high), LATENCY), &[], latencies);
    let below = (!cores.is_empty()).then(|| plot("", (Right::Rates(low, high), "cores"), &[], cores));
    let height = |plot: &Plot| plot.bottom() + BOTTOM;
    let all = height(&above) + below.as_ref().map_or(0.0, height);
    let mut svg = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {all}\">\n");
    let mut y = 0.0;
    for plot in [Some(above), below].into_iter().flatten() {
        let place = format!("<svg y=\"{y}\" width=\"{WIDTH}\" height=\"{}\" ", height(&plot));
        y += height(&plot);
        svg += &plot.end().replacen("<svg ", &place, 1);
    }
    svg + "</svg>\n"
}

/// Requests by time and latency: the darker the more, each ten times as many by the same step.
pub fn heat_map(title: &str, cells: &[Cell]) -> String {
    let seconds = cells.iter().map(|cell| cell.from + cell.seconds).fold(1.0, f64::max);
    let ms = cells.iter().flat_map(|cell| [cell.low_ms, cell.high_ms]);
    let mut plot = Plot::new(title, Right::Seconds(seconds), ms, 0);
    let width = (seconds / HEAT_COLUMNS_MAX).max(1.0);
    // By column and latency, the latter by its place in the picture in tenths, which are whole numbers.
    let mut counts: BTreeMap<(u64, i64, i64), u64> = BTreeMap::new();
    for cell in cells {
        let tenths = |ms: f64| (plot.y(ms) * 10.0).round() as i64;
        let column = (cell.from / width).max(0.0) as u64;
        *counts.entry((column, tenths(cell.high_ms), tenths(cell.low_ms))).or_default() += cell.count;
    }
    let most = counts.values().max().map_or(1.0, |&count| (1.0 + count as f64).ln());
    for ((column, top, bottom), count) in counts {
        let (from, to) = (plot.x(column as f64 * width), plot.x((column + 1) as f64 * width));
        let (top, bottom) = (top as f64 / 10.0, bottom as f64 / 10.0);
        let opacity = (1.0 + count as f64).ln() / most;
        plot.put(&format!(
            "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{HEAT}\" \
             fill-opacity=\"{opacity:.2}\"/>",
            to - from,
            bottom - top
        ));
    }
    plot.end()
}

/// Marks of rates, each about twice the one before, of which some lie below and some above.
fn rate_marks(low: f64, high: f64) -> Vec<f64> {
    let decades = low.log10().floor() as i32..=high.log10().floor() as i32 + 1;
    decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(decade))).collect()
}

/// A distance of marks of which about ten fit.
fn step(seconds: f64) -> f64 {
    let decade = 10f64.powf((seconds / 10.0).log10().floor());
    let fits = |step: &f64| seconds / step <= 10.0;
    [1.0, 2.0, 5.0, 10.0].map(|step| step * decade).into_iter().find(fits).unwrap_or(decade * 10.0)
}

/// A step of an axis without the noise of floating point.
fn label(value: f64) -> String {
    format!("{value:.6}").trim_end_matches('0').trim_end_matches('.').to_string()
}

/// The end of a name, by which runs differ.
fn shorten(name: &str) -> String {
    let chars = name.chars().count();
    match chars > LEGEND_CHARS {
        true => format!("…{}", name.chars().skip(chars - LEGEND_CHARS + 1).collect::<String>()),
        false => name.to_string(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves() -> Vec<Curve> {
        let curve = |name: &str, scale: f64| Curve {
            name: name.to_string(),
            color: "#123456",
            points: (0..1000).map(|n| (1.0 - n as f64 / 1000.0, scale * (n + 1) as f64)).collect(),
            is_dotted: false,
        };
        vec![curve("a<b", 0.01), curve("second", 0.02)]
    }

    /// All coordinates of paths are in the plot.
    fn check(svg: &str) {
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
        for path in svg.split("d=\"").skip(1) {
            let path = path.split('"').next().unwrap();
            let mut numbers = path.split(['M', 'L', ' ']).filter_map(|number| number.parse::<f64>().ok());
            while let (Some(x), Some(y)) = (numbers.next(), numbers.next()) {
                assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (TITLE_HEIGHT..=TITLE_HEIGHT + 500.0).contains(&y));
            }
        }
    }

    #[test]
    fn both_curves_stay_inside_and_are_named() {
        let svg = percentiles("Latency", &[], &curves());
        check(&svg);
        assert_eq!(svg.matches("<path").count(), 2);
        for expected in ["a&lt;b", "second", "99.9 %", "percentile", "latency, ms", "0.01", ">20<"] {
            assert!(svg.contains(expected), "{expected}");
        }
        assert!(!svg.contains("99.99 %"));
    }

    #[test]
    fn equal_shares_of_nines_are_equally_wide() {
        let plot = Plot::new("", Right::Nines(3.0), [0.1, 10.0].into_iter(), 0);
        let width = |a: f64, b: f64| plot.x(b) - plot.x(a);
        assert!((width(1.0, 0.1) - width(0.1, 0.01)).abs() < 0.01);
        assert!(plot.y(0.1) > plot.y(1.0));
    }

    #[test]
    fn a_second_without_requests_is_a_gap() {
        let points = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0), (3.0, 2.0)];
        let svg = over_time("p99", &[], &[Curve { name: "x".repeat(40), color: "#123456", points, is_dotted: false }]);
        check(&svg);
        assert!(svg.contains(">2.5</text>") && svg.contains(">0.5</text>"), "{svg}");
        assert_eq!((svg.matches('M').count(), svg.matches(">3</text>").count()), (2, 1));
        assert!(svg.contains(&format!(">…{}<", "x".repeat(LEGEND_CHARS - 1))));
    }

    #[test]
    fn a_band_goes_along_one_end_and_back_along_the_other() {
        let piece = vec![(0.0, [2.0, 1.0, 10.0]), (3.0, [2.0, 1.0, 10.0])];
        let band = Band { name: "median".to_string(), color: "#654321", pieces: vec![piece.clone(), piece] };
        let points = vec![(0.0, 1.0), (3.0, 10.0)];
        let svg =
            over_time("p99", &[band], &[Curve { name: "one".to_string(), color: "#123456", points, is_dotted: false }]);
        check(&svg);
        let (left, right, bottom) = (LEFT, WIDTH - RIGHT, TITLE_HEIGHT + LEGEND_HEIGHT + 6.0 + PLOT_HEIGHT);
        let top = bottom - PLOT_HEIGHT;
        let around =
            format!("points=\"{left:.1},{bottom:.1} {right:.1},{bottom:.1} {right:.1},{top:.1} {left:.1},{top:.1}\"");
        assert_eq!((svg.matches(&around).count(), svg.matches("<polyline").count()), (2, 2), "{svg}");
        // Both are in the legend, side by side.
        assert!(svg.contains(">median</text>") && svg.contains(&format!("<text x=\"{}\"", LEFT + 250.0)), "{svg}");
    }

    #[test]
    fn cells_of_one_place_add_up() {
        let cell = |from: f64, low_ms: f64, count| Cell { from, seconds: 1.0, low_ms, high_ms: low_ms * 2.0, count };
        let svg = heat_map("heat", &[cell(0.0, 1.0, 5), cell(0.2, 1.0, 4), cell(1.0, 4.0, 1)]);
        check(&svg);
        // The background is one as well.
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(svg.contains("fill-opacity=\"1.00\"") && svg.contains("fill-opacity=\"0.30\""), "{svg}");
        let long: Vec<Cell> = (0..10_000).map(|second| cell(f64::from(second), 1.0, 1)).collect();
        assert!(heat_map("heat", &long).matches("<rect").count() <= 2 + HEAT_COLUMNS_MAX as usize);
    }

    #[test]
    fn rates_go_to_the_right_and_cores_are_below() {
        let curve = |name: &str, scale: f64| Curve {
            name: name.to_string(),
            color: "#123456",
            points: [1e3, 2e3, 1e5].map(|rate| (rate, rate * scale)).to_vec(),
            is_dotted: scale != 1e-3,
        };
        let svg = against_rate("Rates", &[curve("p50", 1e-4), curve("p99", 1e-3)], &[curve("broker", 1e-5)]);
        check(&svg);
        for expected in [">records a second<", ">latency, ms<", ">cores<", ">1000<", ">50000<", ">broker<"] {
            assert!(svg.contains(expected), "{expected}: {svg}");
        }
        assert_eq!(
            (svg.matches("<path").count(), svg.matches("<svg ").count(), svg.matches("</svg>").count()),
            (3, 3, 3)
        );
        assert_eq!(svg.matches("<circle").count(), 6, "{svg}");
        let one = Curve { points: vec![(700.0, 1.0)], ..curve("p50", 1.0) };
        let svg = against_rate("", &[one], &[]);
        check(&svg);
        assert!(svg.contains(">500<") && svg.contains(">1000<") && !svg.contains(">200<"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 1, "a single point is to be seen: {svg}");
    }

    #[test]
    fn nothing_to_draw_is_drawn_as_nothing() {
        check(&percentiles("", &[], &[]));
        check(&over_time("", &[], &[]));
        check(&against_rate("", &[], &[]));
        check(&heat_map("", &[]));
    }
}
