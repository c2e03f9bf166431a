//! Kafka's tools by their names: their flags, and output that scripts expect.

mod admin;
mod console_consumer;
mod console_producer;
mod formatter;
mod settings;
mod storage;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Does what the tool of the name that the program was started under does; `None` if that is none of Kafka's.
pub fn run(arguments: &[OsString]) -> Option<ExitCode> {
    let name = Path::new(arguments.first()?).file_name()?.to_str()?;
    let name = name.strip_suffix(".sh").unwrap_or(name);
    if name == storage::NAME {
        return Some(storage::start(&arguments[1..]));
    }
    admin::run(name, &arguments[1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_by_their_names() {
        let known = |name: &str| run(&[name.into()]).is_some();
        assert!(known("kafka-topics") && known("/usr/bin/kafka-topics.sh"));
        assert!(!known("/usr/bin/klamm") && !known("kafka-topics.bat") && !known("topics"));
    }
}
