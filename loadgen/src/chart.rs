//! Percentile curves as an SVG: percentiles to the right, each nine as wide as the other; milliseconds upwards, each decade as high.

use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 70.0;
/// Colours that the colour-blind can tell apart, on white.
const COLORS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const TEXT: &str = "#222222";
const GRID: &str = "#dddddd";
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
    /// Share of the requests that took longer, falling from 1, and milliseconds, rising.
    pub points: Vec<(f64, f64)>,
}

/// Where shares and milliseconds are in the picture.
struct Scale {
    nines: f64,
    low: f64,
    high: f64,
}

impl Scale {
    fn of(curves: &[Curve]) -> Self {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let share = points().map(|point| point.0).fold(0.01, f64::min);
        let low = points().map(|point| point.1).fold(f64::INFINITY, f64::min).max(1e-3);
        let high = points().map(|point| point.1).fold(low, f64::max);
        let low = if low.is_finite() { low } else { 1.0 };
        // Whole decades, at least one.
        let low = low.log10().floor();
        let high = if high.is_finite() { high.log10().ceil() } else { low };
        Scale { nines: -share.log10(), low, high: high.max(low + 1.0) }
    }

    fn x(&self, share: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (-share.log10() / self.nines).clamp(0.0, 1.0)
    }

    fn y(&self, ms: f64) -> f64 {
        let up = (ms.max(1e-9).log10() - self.low) / (self.high - self.low);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * up.clamp(0.0, 1.0)
    }
}

/// The whole picture.
pub fn draw(curves: &[Curve]) -> String {
    let scale = Scale::of(curves);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"{TEXT}\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"bold\">Latency by percentile</text>\n"
    );
    grid(&mut svg, &scale);
    for (i, curve) in curves.iter().enumerate() {
        line(&mut svg, &scale, curve, COLORS[i % COLORS.len()], i);
    }
    svg + "</svg>\n"
}

fn grid(svg: &mut String, scale: &Scale) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let mut put = |text: String| writeln!(svg, "{text}").expect("a string takes all");
    for (share, name) in MARKS.iter().filter(|(share, _)| -share.log10() <= scale.nines + 1e-9) {
        let x = scale.x(*share);
        put(format!("<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{GRID}\"/>"));
        put(format!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>", bottom + 20.0));
    }
    for decade in scale.low as i32..=scale.high as i32 {
        for step in [1.0, 2.0, 5.0] {
            let ms = step * 10f64.powi(decade);
            if ms.log10() > scale.high + 1e-9 {
                continue;
            }
            let y = scale.y(ms);
            put(format!("<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"{GRID}\"/>"));
            put(format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, y + 4.0, label(ms)));
        }
    }
    let middle = (LEFT + right) / 2.0;
    put(format!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">percentile</text>", HEIGHT - 18.0));
    let middle = (TOP + bottom) / 2.0;
    put(format!("<text transform=\"translate(20 {middle}) rotate(-90)\" text-anchor=\"middle\">latency, ms</text>"));
}

/// A step of the axis without the noise of floating point.
fn label(ms: f64) -> String {
    if ms >= 1.0 { format!("{ms:.0}") } else { format!("{ms:.6}").trim_end_matches('0').to_string() }
}

fn line(svg: &mut String, scale: &Scale, curve: &Curve, color: &str, index: usize) {
    let mut path = String::new();
    let (mut last, mut command) = (None, 'M');
    for &(share, ms) in &curve.points {
        let point = (format!("{:.1}", scale.x(share)), format!("{:.1}", scale.y(ms)));
        if last.as_ref() != Some(&point) {
            write!(path, "{command}{} {} ", point.0, point.1).expect("a string takes all");
            command = 'L';
        }
        last = Some(point);
    }
    let x = LEFT + 220.0 * index as f64;
    let name = escape(&curve.name);
    writeln!(
        svg,
        "<path d=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>\n\
         <line x1=\"{x}\" y1=\"42\" x2=\"{}\" y2=\"42\" stroke=\"{color}\" stroke-width=\"3\"/>\n\
         <text x=\"{}\" y=\"46\">{name}</text>",
        path.trim_end(),
        x + 24.0,
        x + 30.0
    )
    .expect("a string takes all");
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
            points: (0..1000).map(|n| (1.0 - n as f64 / 1000.0, scale * (n + 1) as f64)).collect(),
        };
        vec![curve("a<b", 0.01), curve("second", 0.02)]
    }

    #[test]
    fn both_curves_stay_inside_and_are_named() {
        let svg = draw(&curves());
        assert_eq!(svg.matches("<path").count(), 2);
        for expected in ["a&lt;b", "second", "99.9 %", "percentile", "latency, ms", "0.01", ">20<"] {
            assert!(svg.contains(expected), "{expected}");
        }
        assert!(!svg.contains("99.99 %") && !svg.contains("NaN") && !svg.contains("inf"));
        for path in svg.split("d=\"").skip(1) {
            let path = path.split('"').next().unwrap();
            let mut numbers = path.split(['M', 'L', ' ']).filter_map(|number| number.parse::<f64>().ok());
            while let (Some(x), Some(y)) = (numbers.next(), numbers.next()) {
                assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y));
            }
        }
    }

    #[test]
    fn equal_shares_of_nines_are_equally_wide() {
        let scale = Scale::of(&curves());
        let width = |a: f64, b: f64| scale.x(b) - scale.x(a);
        assert!((width(1.0, 0.1) - width(0.1, 0.01)).abs() < 0.01);
        assert!(scale.y(0.1) > scale.y(1.0));
    }

    #[test]
    fn nothing_to_draw_is_drawn_as_nothing() {
        let svg = draw(&[]);
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}
