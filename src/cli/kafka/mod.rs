//! Kafka's tools by their names: their flags, and output that scripts expect.

mod admin;
mod console_consumer;
mod console_producer;
mod formatter;
mod settings;
mod storage;

use admin::Tool;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Starts a broker; its arguments are those of `klamm`.
const SERVER_NAME: &str = "kafka-server-start";
/// How the names of Kafka's tools begin.
const PREFIXES: [&str; 3] = ["kafka-", "connect-", "zookeeper-"];

/// Does what the tool of the name that the program was started under does; `None` if that is none of Kafka's.
pub fn run(arguments: &[OsString]) -> Option<ExitCode> {
    let name = Path::new(arguments.first()?).file_name()?.to_str()?;
    let name = name.strip_suffix(".sh").unwrap_or(name);
    if name == storage::NAME {
        return Some(storage::start(&arguments[1..]));
    }
    match tools().find(|tool| tool.name == name) {
        Some(tool) => Some(tool.run(&arguments[1..])),
        None => is_missing(name).then(|| say_missing(name)),
    }
}

/// The tools that ask a broker.
fn tools() -> impl Iterator<Item = &'static Tool> {
    const CONSOLE: [Tool; 2] = [console_producer::TOOL, console_consumer::TOOL];
    admin::TOOLS.iter().chain(&CONSOLE)
}

/// Whether this is the name of one of Kafka's tools that is not there: whoever calls it does not want a broker.
fn is_missing(name: &str) -> bool {
    name != SERVER_NAME && PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn say_missing(name: &str) -> ExitCode {
    let mut known: Vec<&str> = tools().map(|tool| tool.name).chain([storage::NAME, SERVER_NAME]).collect();
    known.sort_unstable();
    eprintln!("{name}: klamm has no such tool; of Kafka's it has {}", known.join(", "));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_by_their_names() {
        let known = |name: &str| run(&[name.into()]).is_some();
        assert!(known("kafka-topics") && known("/usr/bin/kafka-topics.sh"));
        assert!(!known("/usr/bin/klamm") && !known("topics") && !known("kafka-server-start.sh"));
        assert!(known("kafka-acls") && known("kafka-topics.bat") && known("bin/connect-distributed.sh"));
    }
}
