//! What is to be seen of a run while it goes on: a line for each look, or `--live`, a picture of the last looks in the terminal.

mod terminal;

use crate::report::{percentile_ms, progress};
use crate::run::{LAG, SERVICE, Watched};
use crate::tally::Tally;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use terminal::Terminal;

const SECOND_NS: f64 = 1e9;
const MIB: f64 = (1 << 20) as f64;
/// Heights of a column, lowest first: a block, or where the locale has no such characters, others.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const PLAIN: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];
const VALUE_WIDTH: usize = 12;
const SCALE_WIDTH: usize = 14;
/// Looks that are kept, more than a terminal has columns.
const LOOKS_MAX: usize = 1000;

/// The terminal while there are pictures in it.
static STAGE: Mutex<Option<Stage>> = Mutex::new(None);

fn stage() -> MutexGuard<'static, Option<Stage>> {
    STAGE.lock().expect("no thread panics while it holds it")
}

/// A line on standard error; above the pictures, with the next ones, where there are any.
pub fn say(line: String) {
    match stage().as_mut() {
        Some(stage) => stage.notes.push(line),
        None => eprintln!("{line}"),
    }
}

/// The terminal, and the pictures of all loads that run at the same time, one below the other.
struct Stage {
    terminal: Terminal,
    pictures: Vec<Picture>,
    /// What is said meanwhile.
    notes: Vec<String>,
}

impl Stage {
    /// Draws all, those first that go on; or says what it was to say if the terminal is not this program's.
    fn draw(&mut self) -> bool {
        let notes = std::mem::take(&mut self.notes);
        if !self.terminal.is_in_front() {
            self.terminal.leave();
            notes.iter().for_each(|note| eprintln!("{note}"));
            return false;
        }
        let mut pictures: Vec<&Picture> = self.pictures.iter().filter(|picture| picture.looks > 0).collect();
        pictures.sort_by_key(|picture| picture.is_over);
        let width = self.terminal.size().0;
        let lines: Vec<String> = pictures.iter().flat_map(|picture| picture.lines(width)).collect();
        self.terminal.draw(&notes, &lines);
        true
    }
}

/// Where a run shows how it goes on.
pub struct Screen {
    /// What it is called among others.
    name: Option<String>,
    /// The place of its picture, if there is one.
    place: Option<usize>,
}

impl Screen {
    /// `is_live` asks for a picture; there is one only in a terminal.
    pub fn open(is_live: bool, name: Option<&str>) -> Screen {
        let name = name.map(str::to_string);
        let mut stage = stage();
        if is_live && stage.is_none() {
            *stage = Terminal::open().map(|terminal| Stage { terminal, pictures: Vec::new(), notes: Vec::new() });
        }
        let place = stage.as_mut().filter(|_| is_live).map(|stage| {
            let levels = levels(|name| std::env::var(name).ok());
            stage.pictures.push(Picture::new(levels, name.clone().unwrap_or_default()));
            stage.pictures.len() - 1
        });
        Screen { name, place }
    }

    /// What was counted in so many seconds up to `now_ns`, by tag.
    pub fn show(&mut self, now_ns: u64, seconds: f64, watched: &[Watched], intervals: &[(Tally, bool)]) {
        let now = now_ns as f64 / SECOND_NS;
        if let (Some(place), Some(stage)) = (self.place, stage().as_mut()) {
            stage.pictures[place].add(now, seconds, watched, intervals);
            if stage.draw() {
                return;
            }
        }
        let second = watched.iter().position(|watched| watched.tag == Some("delivery"));
        let second = second.map(|at| &intervals[at].0.latency);
        let name = self.name.as_ref().map_or(String::new(), |name| format!("{name}: "));
        eprintln!("{name}{}", progress(now, seconds, &intervals[0].0, second));
    }
}

impl Drop for Screen {
    /// The last of several leaves the terminal as it is then.
    fn drop(&mut self) {
        let mut all = stage();
        let (Some(place), Some(stage)) = (self.place, all.as_mut()) else { return };
        stage.pictures[place].is_over = true;
        if stage.pictures.iter().all(|picture| picture.is_over) {
            stage.terminal.leave();
            stage.notes.iter().for_each(|note| eprintln!("{note}"));
            *all = None;
        }
    }
}

/// Blocks where the locale is one of UTF-8; the first of the variables that is set decides (POSIX).
fn levels(variable: impl Fn(&str) -> Option<String>) -> [char; 8] {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default().to_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") { BLOCKS } else { PLAIN }
}

/// One line of the picture.
struct Series {
    name: String,
    unit: &'static str,
    /// Of each look; not a number where nothing was counted.
    values: VecDeque<f64>,
}

struct Picture {
    levels: [char; 8],
    /// Of its load, if there are several.
    name: String,
    /// Its load has ended.
    is_over: bool,
    title: String,
    series: Vec<Series>,
    /// Looks since the start.
    looks: usize,
    errors: BTreeMap<String, u64>,
    censored: u64,
}

impl Picture {
    fn new(levels: [char; 8], name: String) -> Picture {
        let (title, series, errors) = (String::new(), Vec::new(), BTreeMap::new());
        Picture { levels, name, is_over: false, title, series, looks: 0, errors, censored: 0 }
    }

    fn add(&mut self, now: f64, seconds: f64, watched: &[Watched], intervals: &[(Tally, bool)]) {
        let (main, is_measured) = &intervals[0];
        let part = if *is_measured { "" } else { ", warm-up" };
        self.title = format!("{now:.1} s{part}, {:.1} MiB/s", main.bytes as f64 / MIB / seconds);
        self.looks += 1;
        self.put("rate", "/s", main.records as f64 / seconds);
        for (watched, (tally, _)) in watched.iter().zip(intervals) {
            let percentiles: &[(&str, f64)] = match watched.tag {
                Some(SERVICE) => &[],
                Some(LAG) => &[("p99", 99.0)],
                _ => &[("p50", 50.0), ("p99", 99.0)],
            };
            for (name, percentile) in percentiles {
                let name = watched.tag.map_or(name.to_string(), |tag| format!("{tag} {name}"));
                let is_empty = tally.latency.is_empty();
                self.put(&name, " ms", if is_empty { f64::NAN } else { percentile_ms(&tally.latency, *percentile) });
            }
            tally.errors_named().into_iter().for_each(|(name, count)| *self.errors.entry(name).or_default() += count);
        }
        self.censored += main.censored();
    }

    fn put(&mut self, name: &str, unit: &'static str, value: f64) {
        let place = self.series.iter().position(|series| series.name == name).unwrap_or_else(|| {
            self.series.push(Series { name: name.to_string(), unit, values: VecDeque::new() });
            self.series.len() - 1
        });
        let values = &mut self.series[place].values;
        values.push_back(value);
        if values.len() > LOOKS_MAX {
            values.pop_front();
        }
    }

    /// As many columns as fit, each of one look: nothing is summed up. No line is longer than `width`.
    fn lines(&self, width: usize) -> Vec<String> {
        let name_width = self.series.iter().map(|series| series.name.len()).max().unwrap_or(0);
        let columns = width.saturating_sub(name_width + VALUE_WIDTH + SCALE_WIDTH + 2).min(LOOKS_MAX);
        let shown = columns.min(self.looks);
        let mut title = self.name.clone();
        if !title.is_empty() {
            title += if self.is_over { ", ended: " } else { ": " };
        }
        title += &self.title;
        if shown > 0 {
            title += &format!(", a column for each of the last {shown} looks of {}", self.looks);
        }
        let mut lines = vec![title];
        for series in &self.series {
            let Series { name, unit, values } = series;
            let last = values.back().copied().unwrap_or(f64::NAN);
            let value = if last.is_nan() { "none".to_string() } else { format!("{}{unit}", digits(last)) };
            let mut line = format!("{name:<name_width$}{value:>VALUE_WIDTH$}");
            if shown > 0 {
                let values = || values.iter().skip(values.len().saturating_sub(shown)).copied();
                let most = values().filter(|value| value.is_finite()).fold(0.0, f64::max);
                let columns: String = values().map(|value| self.column(value, most)).collect();
                line += &format!("  {columns}  0 to {}", digits(most));
            }
            lines.push(line);
        }
        if self.censored > 0 {
            lines.push(format!("censored  {}", self.censored));
        }
        if !self.errors.is_empty() {
            let errors = self.errors.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>();
            lines.push(format!("errors  {}", errors.join(", ")));
        }
        lines.into_iter().map(|line| line.chars().take(width).collect()).collect()
    }

    /// Heights begin at zero, so that twice the value is twice as high.
    fn column(&self, value: f64, most: f64) -> char {
        let level = (value / most * self.levels.len() as f64).round();
        match value.is_nan() {
            true => ' ',
            false => self.levels[(level.max(1.0) as usize).min(self.levels.len()) - 1],
        }
    }
}

/// Three digits that matter, or the whole number.
fn digits(value: f64) -> String {
    match value {
        small if small < 10.0 => format!("{small:.2}"),
        middle if middle < 100.0 => format!("{middle:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at a load whose rate and latency rise by the second; nothing comes in the third.
    fn picture(looks: u64, tags: [Option<&'static str>; 3]) -> Picture {
        let watched = tags.map(|tag| Watched::new(tag, 1));
        let mut picture = Picture::new(BLOCKS, String::new());
        for look in 1..=looks {
            let tally = |scale: u64| {
                let mut tally = Tally::new();
                if look != 3 {
                    tally.records = 100 * look;
                    (1..=100).for_each(|n| tally.request(0, n * look * scale));
                }
                tally
            };
            let intervals = [(tally(1_000_000), look > 1), (tally(10_000), true), (tally(5_000), true)];
            picture.add(look as f64, 1.0, &watched, &intervals);
        }
        picture
    }

    #[test]
    fn each_look_is_a_column_from_zero_up() {
        let lines = picture(8, [None, Some(LAG), Some(SERVICE)]).lines(60);
        let expected = [
            "8.0 s, 0.0 MiB/s, a column for each of the last 8 looks of 8",
            "rate          800/s  ▁▂▁▄▅▆▇█  0 to 800",
            "p50          400 ms  ▁▂ ▄▅▆▇█  0 to 400",
            "p99          792 ms  ▁▂ ▄▅▆▇█  0 to 792",
            "lag p99     7.92 ms  ▁▂ ▄▅▆▇█  0 to 7.92",
        ];
        let rounded: Vec<String> = lines.iter().map(|line| line.replace("793", "792")).collect();
        assert_eq!(rounded, expected);
    }

    #[test]
    fn a_line_is_never_longer_than_the_terminal() {
        let mut picture = picture(200, [Some("ack"), Some("delivery"), Some(LAG)]);
        picture.errors.insert("NOT_LEADER_OR_FOLLOWER".to_string(), 7);
        picture.censored = 5;
        for width in 0..300 {
            let lines = picture.lines(width);
            assert_eq!(lines.len(), 9);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width} {lines:?}");
        }
        // The title says how many of the looks there are, and the scale is that of what is to be seen.
        let lines = picture.lines(100);
        let count = |line: &str| line.chars().filter(|c| BLOCKS.contains(c)).count();
        assert_eq!(count(&lines[1]), 100 - "delivery p99".len() - VALUE_WIDTH - SCALE_WIDTH - 2);
        assert!(lines[0].ends_with(&format!("the last {} looks of 200", count(&lines[1]))), "{lines:?}");
        assert!(lines[1].ends_with("0 to 20000") && !lines[1].contains('▁'), "{lines:?}");
        (picture.name, picture.is_over) = ("big".to_string(), true);
        assert!(picture.lines(100)[0].starts_with("big, ended: 200.0 s, "), "{:?}", picture.lines(100)[0]);
        // Too narrow for columns, figures are left.
        assert!(count(&picture.lines(36)[1]) == 0 && picture.lines(36)[1].ends_with("20000/s"));
    }

    #[test]
    fn the_warm_up_and_what_went_wrong_are_said() {
        let mut picture = picture(1, [None, Some(LAG), Some(SERVICE)]);
        assert!(picture.lines(80)[0].starts_with("1.0 s, warm-up, "));
        let mut tally = Tally::new();
        tally.error(6, 3);
        tally.miss(crate::tally::Miss::Lost, 4);
        picture.add(2.0, 1.0, &[Watched::new(None, 1)], &[(tally, true)]);
        let lines = picture.lines(80);
        assert_eq!(lines[5..], ["censored  4", "errors  NOT_LEADER_OR_FOLLOWER 3"]);
        assert!(lines[2].contains("none"), "{lines:?}");
    }

    #[test]
    fn the_locale_decides_on_the_characters() {
        let with = |values: [(&'static str, &'static str); 2]| {
            levels(|name| values.iter().find(|(other, _)| *other == name).map(|(_, value)| value.to_string()))
        };
        assert_eq!(with([("LANG", "de_DE.UTF-8"), ("LC_ALL", "")]), BLOCKS);
        assert_eq!(with([("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")]), PLAIN);
        assert_eq!(with([("LC_CTYPE", "C.utf8"), ("LANG", "C")]), BLOCKS);
        assert_eq!(levels(|_| None), PLAIN);
    }
}
