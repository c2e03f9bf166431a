//! Kafka's tools for administration: their options, and what scripts expect to read.
//!
//! A tool only reads its options and prints; what it does is in `operation`. Where Kafka's tools go by the order of a Java
//! map, so do these.

pub(super) mod arguments;
mod configs;
mod delete_records;
mod exception;
mod get_offsets;
mod groups;
mod groups_print;
mod java;
mod log_dirs;
mod topics;

use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output;
use arguments::{Given, Spec};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// One of Kafka's tools.
pub(super) struct Tool {
    pub name: &'static str,
    pub about: &'static str,
    pub specs: &'static [Spec],
    pub run: fn(&Given) -> Result<(), End>,
}

/// The tools of this folder.
pub(super) const TOOLS: [Tool; 6] =
    [topics::TOOL, groups::TOOL, configs::TOOL, get_offsets::TOOL, delete_records::TOOL, log_dirs::TOOL];
/// How long Kafka's tools wait for a broker (`default.api.timeout.ms`).
const TIMEOUT: Duration = Duration::from_secs(60);

/// How a tool ends that does not do what it was asked.
pub(super) enum End {
    /// The command line is wrong: the message, and the options.
    Usage(String),
    /// The message alone.
    Said(String),
    /// Everything has been said already.
    Failed,
    Failure(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> End {
        End::Failure(failure)
    }
}

impl Tool {
    /// Does what the tool does with these arguments.
    pub fn run(&self, arguments: &[OsString]) -> ExitCode {
        let arguments: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let Err(end) = self.start(&arguments) else { return ExitCode::SUCCESS };
        match end {
            End::Usage(message) => eprintln!("{message}\n{}", arguments::usage(self.specs)),
            End::Said(message) => eprintln!("{message}"),
            End::Failure(failure) => eprintln!("{}\n{}", exception::message(&failure), exception::text(&failure)),
            End::Failed => {}
        }
        ExitCode::FAILURE
    }

    fn start(&self, arguments: &[String]) -> Result<(), End> {
        let given = Given::read(self.specs, arguments).map_err(End::Said)?;
        if arguments.is_empty() || given.has("help") {
            return Err(End::Usage(self.about.into()));
        }
        if given.has("version") {
            return say(env!("CARGO_PKG_VERSION"));
        }
        (self.run)(&given)
    }
}

/// A line on standard output.
fn say(line: &str) -> Result<(), End> {
    output::print(&format!("{line}\n")).map_err(End::Failure)
}

/// Connects as `--bootstrap-server` and `--command-config` say.
pub(super) fn connect(given: &Given) -> Result<Client, End> {
    let mut timeout = TIMEOUT;
    if let Some(path) = given.one("command-config")? {
        for (name, value) in properties(path)? {
            match (name.as_str(), value.as_str()) {
                ("security.protocol", protocol) if protocol != "PLAINTEXT" => {
                    return Err(End::Said(format!("{path}: security.protocol={protocol} is not supported")));
                }
                ("default.api.timeout.ms", ms) => {
                    let ms = ms.parse().map_err(|_| End::Said(format!("{path}: {name}={ms} is no number")))?;
                    timeout = Duration::from_millis(ms);
                }
                _ => {}
            }
        }
    }
    let addresses = given.one("bootstrap-server")?.unwrap_or_default();
    let addresses: Vec<String> = addresses.split(',').map(|address| address.trim().to_string()).collect();
    Ok(Client::connect(&addresses, timeout)?)
}

/// Names and values of a properties file.
pub(super) fn properties(path: &str) -> Result<Vec<(String, String)>, End> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::File { path: path.to_string(), error })?;
    let found = crate::config::properties::parse(&text);
    let found = found.map_err(|(line, why)| End::Said(format!("{path}:{line}: {why}")))?;
    Ok(found.into_iter().map(|property| (property.key, property.value)).collect())
}

/// A pattern of names, as Kafka's `IncludeList` reads it: a regular expression for the whole name, or several between commas.
pub(super) struct Pattern(regex_lite::Regex);

impl Pattern {
    pub fn new(text: &str) -> Result<Pattern, Failure> {
        let plain = text.trim().replace(',', "|").replace(' ', "");
        let plain = plain.trim_matches(['"', '\'']);
        let whole = regex_lite::Regex::new(&format!("^(?:{plain})$"));
        whole.map(Pattern).map_err(|_| Failure::Other(format!("{plain} is an invalid regex.")))
    }

    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_of_whole_names() {
        let matches = |pattern: &str, name: &str| Pattern::new(pattern).ok().map(|pattern| pattern.matches(name));
        assert_eq!(matches("a.*", "abc"), Some(true));
        assert_eq!(matches("a", "abc"), Some(false));
        assert_eq!(matches("a, b", "b"), Some(true));
        assert_eq!(matches("(", "b"), None);
    }
}
