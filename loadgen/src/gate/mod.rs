//! What a run leaves behind (`--out DIR`), and the comparison of two sets of such runs.

mod changes;
mod comparison;
mod metric;
mod page;
mod print;
mod prometheus;
mod record;
mod rule;
mod runs;
mod statistics;

pub use record::{LOG_FILE, RUN_FILE, Row, keep, keep_all, prepare};
pub use rule::Rule;
pub use runs::latencies;

use crate::options::{Compare, Format};
use comparison::{Comparison, Outcome, Settings};
use runs::Kept;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit status where the gate could not decide: too few or too uncertain runs, runs that cannot be compared or read.
const UNDECIDED: u8 = 4;

pub fn compare(options: &Compare) -> ExitCode {
    match compared(options) {
        Ok((text, outcome)) => {
            print!("{text}");
            match outcome {
                Outcome::Passed => ExitCode::SUCCESS,
                Outcome::Failed => ExitCode::FAILURE,
                Outcome::Undecided => ExitCode::from(UNDECIDED),
            }
        }
        Err(why) => {
            eprintln!("loadgen: {why}");
            ExitCode::from(UNDECIDED)
        }
    }
}

fn compared(options: &Compare) -> Result<(String, Outcome), String> {
    let read = |paths: &[PathBuf]| paths.iter().map(|path| Kept::read(path)).collect::<Result<Vec<_>, _>>();
    let (base, new) = (read(&options.base)?, read(&options.new)?);
    let settings = Settings { margin: options.margin / 100.0, rules: &options.fail_if, force: options.force };
    let comparison = Comparison::new(&base, &new, &settings)?;
    if let Some(html) = &options.html {
        let page = page::page(&comparison, &base, &new);
        fs::write(html, page).map_err(|error| format!("{}: {error}", html.display()))?;
    }
    let text = match options.format {
        Format::Text => print::text(&comparison),
        Format::Json => print::json(&comparison),
        Format::Csv => print::csv(&comparison),
        Format::Markdown => print::markdown(&comparison),
        Format::Junit => print::junit(&comparison),
    };
    Ok((text, comparison.outcome()))
}
