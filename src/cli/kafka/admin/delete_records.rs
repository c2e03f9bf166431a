//! `kafka-delete-records`.

use super::arguments::{Given, Spec, value};
use super::{End, Tool, connect, exception, say};
use crate::cli::failure::Failure;
use crate::cli::operation::{TopicPartition, offsets};
use crate::types::Offset;
use serde_json::Value;
use std::collections::BTreeMap;

const SPECS: [Spec; 3] = [
    value("bootstrap-server", "REQUIRED: The brokers to connect to."),
    value(
        "offset-json-file",
        "REQUIRED: A file: {\"partitions\": [{\"topic\": \"foo\", \"partition\": 1, \"offset\": 1}], \"version\": 1}",
    ),
    value("command-config", "A file of settings of the client."),
];

pub(super) const TOOL: Tool = Tool {
    name: "kafka-delete-records",
    about: "This tool helps to delete records of the given partitions down to the specified offset.",
    specs: &SPECS,
    run,
};

fn run(given: &Given) -> Result<(), End> {
    given.require(&["bootstrap-server", "offset-json-file"])?;
    let path = given.one("offset-json-file")?.unwrap_or_default();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::File { path: path.to_string(), error })?;
    let wanted = read(&text)?;
    let mut client = connect(given)?;
    say("Executing records delete operation")?;
    let mut names: Vec<&str> = wanted.keys().map(|place| place.topic.as_str()).collect();
    names.dedup();
    let cluster = client.cluster(Some(&names))?;
    let results = offsets::delete_records(&mut client, &cluster, &wanted)?;
    say("Records delete operation completed:")?;
    for (place, result) in results {
        match result {
            Ok(first) => say(&format!("partition: {place}\tlow_watermark: {first}"))?,
            Err(failure) => say(&format!("partition: {place}\terror: {}", exception::text(&failure)))?,
        }
    }
    Ok(())
}

/// Offsets of the JSON file.
fn read(text: &str) -> Result<BTreeMap<TopicPartition, Offset>, Failure> {
    let other = |text: &str| Failure::Other(text.to_string());
    let json: Value = serde_json::from_str(text).map_err(|_| other("The input string is not a valid JSON"))?;
    match json.get("version") {
        None => {}
        Some(version) if version.as_i64() == Some(1) => {}
        Some(version) => return Err(other(&format!("Not supported version field value {version}"))),
    }
    let partitions = json.get("partitions").and_then(Value::as_array);
    let (mut offsets, mut twice) = (BTreeMap::new(), Vec::new());
    for entry in partitions.ok_or_else(|| other("Missing partitions field"))? {
        let field = |name: &str| entry.get(name).ok_or_else(|| other(&format!("No such field exists: `{name}`")));
        let (topic, partition, offset) = (field("topic")?, field("partition")?, field("offset")?);
        let read = topic.as_str().zip(partition.as_i64().and_then(|number| i32::try_from(number).ok()));
        let wrong = || other(&format!("{entry} is no partition with an offset"));
        let ((topic, partition), offset) = read.zip(offset.as_i64()).ok_or_else(wrong)?;
        let place = TopicPartition::new(topic, partition);
        if offsets.insert(place.clone(), offset).is_some() {
            twice.push(place.to_string());
        }
    }
    match twice.is_empty() {
        true => Ok(offsets),
        false => Err(other(&format!("Offset json file contains duplicate topic partitions: {}", twice.join(",")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read() {
        let read = |text: &str| read(text).map_err(|failure| failure.to_string());
        let one = r#"{"partitions": [{"topic": "t", "partition": 1, "offset": 5}], "version": 1}"#;
        assert_eq!(read(one), Ok(BTreeMap::from([(TopicPartition::new("t", 1), 5)])));
        let faults = [
            ("x", "not a valid JSON"),
            (r#"{"version": 2}"#, "Not supported version field value 2"),
            ("{}", "Missing partitions field"),
            (r#"{"partitions": [{"topic": "t"}]}"#, "No such field exists: `partition`"),
            (r#"{"partitions": [{"topic": 1, "partition": 1, "offset": 1}]}"#, "is no partition"),
        ];
        for (text, fault) in faults {
            assert!(read(text).unwrap_err().contains(fault), "{text}");
        }
        let twice = one.replace("}]", r#"}, {"topic": "t", "partition": 1, "offset": 6}]"#);
        assert!(read(&twice).unwrap_err().ends_with("duplicate topic partitions: t-1"));
    }
}
