//! `kafka-get-offsets`, `kafka-delete-records` and `kafka-log-dirs`: output as Kafka's own tools give it (compared with
//! Kafka 4.3's against this broker).

use crate::stage::Stage;
use serde_json::{Value, json};

#[test]
fn offsets_are_listed() {
    let stage = Stage::new();
    stage.topic("t");
    stage.told("topic create u");
    let get = |line: &str| stage.tool("kafka-get-offsets", line);
    assert_eq!(get("").well(), "t:0:10\nt:1:0\nu:0:0\n");
    assert_eq!(get("--topic t --time earliest").well(), "t:0:0\nt:1:0\n");
    assert_eq!(get("--topic t --partitions 1").well(), "t:1:0\n");
    assert_eq!(get("--topic-partitions t:0-1,u.*").well(), "t:0:10\nu:0:0\n");
    assert_eq!(get("--topic t --time 1").well(), "t:0:0\n");
    let ill = |line: &str| get(line).ill(1);
    assert_eq!(
        ill("--topic nope"),
        "Error occurred: Could not match any topic-partitions with the specified filters\n"
    );
    assert!(
        ill("--topic t --time 5x")
            .starts_with("Error occurred: Malformed time argument 5x. Please use -1 or latest / ")
    );
    assert!(ill("--topic t --topic-partitions t").contains("cannot be used with --topic or --partitions"));
}

#[test]
fn records_are_deleted() {
    let stage = Stage::new();
    stage.topic("t");
    let delete = |text: &str| {
        let file = stage.file("offsets.json", text);
        stage.tool("kafka-delete-records", &format!("--offset-json-file {file}"))
    };
    assert_eq!(
        delete(r#"{"partitions": [{"topic": "t", "partition": 0, "offset": 3}], "version": 1}"#).well(),
        "Executing records delete operation\nRecords delete operation completed:\npartition: t-0\tlow_watermark: 3\n"
    );
    let late = delete(r#"{"partitions": [{"topic": "t", "partition": 0, "offset": 99}]}"#).well();
    let error = "partition: t-0\terror: org.apache.kafka.common.errors.OffsetOutOfRangeException: ";
    assert!(late.contains(error), "{late}");
    assert!(delete("{").ill(1).starts_with("The input string is not a valid JSON\n"));
    assert!(
        stage.tool("kafka-delete-records", "").ill(1).starts_with("Missing required argument \"[offset-json-file]\"\n")
    );
}

#[test]
fn directories_are_described() {
    let stage = Stage::new();
    stage.topic("t");
    stage.told("topic create u");
    let dirs = |line: &str| stage.tool("kafka-log-dirs", line);
    let told = dirs("--describe --topic-list t").well();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "Querying brokers for log directories information");
    assert_eq!(lines[1], "Received log directory information from brokers 1");
    let found: Value = serde_json::from_str(lines[2]).expect("JSON");
    assert_eq!((&found["version"], &found["brokers"][0]["broker"]), (&json!(1), &json!(1)));
    let dir = &found["brokers"][0]["logDirs"][0];
    assert_eq!((&dir["error"], dir["partitions"].as_array().map(Vec::len)), (&json!(null), Some(2)));
    let size = dir["partitions"].as_array().unwrap().iter().find(|replica| replica["partition"] == "t-0").unwrap();
    assert_eq!((&size["offsetLag"], &size["isFuture"]), (&json!(0), &json!(false)));
    assert_eq!(
        dirs("--describe --broker-list 1,7").ill(1),
        "ERROR: The given brokers do not exist from --broker-list: 7. Current existent brokers: 1\n"
    );
    assert!(dirs("").ill(1).starts_with("Missing required argument \"[describe]\"\n"));
}
