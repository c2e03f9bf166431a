//! `klamm offsets`.

use crate::stage::Stage;
use serde_json::json;

#[test]
fn offsets_are_listed_and_records_deleted() {
    let stage = Stage::new();
    stage.topic("t");
    let listed = "TOPIC  PARTITION  EARLIEST  LATEST  OFFSETS\n\
        t              0         0      10       10\n\
        t              1         0       0        0\n";
    assert_eq!(stage.told("offsets list t"), listed);
    assert_eq!(stage.told("offsets list"), listed);
    assert_eq!(stage.json("offsets list t:1"), json!([{ "topic": "t", "partition": 1, "earliest": 0, "latest": 0 }]));

    assert_eq!(stage.told("offsets delete t:0 --before 4"), "TOPIC  PARTITION  EARLIEST\nt              0         4\n");
    assert_eq!(stage.json("offsets list t:0")[0]["earliest"], 4);
    assert_eq!(stage.json("offsets delete t --before end")[0], json!({ "topic": "t", "partition": 0, "earliest": 10 }));
}

#[test]
fn offsets_at_a_time_are_found() {
    let stage = Stage::new();
    stage.topic("t");
    let offset = |at: &str| stage.json(&format!("offsets list t:0 --at {at}"))[0]["offset"].clone();
    assert_eq!((offset("earliest"), offset("latest"), offset("-1h")), (json!(0), json!(10), json!(0)));
    assert_eq!((offset("2000-01-01T00:00:00Z"), offset("2900-01-01")), (json!(0), json!(null)));
    let last = stage.json("offsets list t:0 --at max-timestamp");
    assert!(last[0]["timestamp"].as_i64().is_some_and(|ms| ms > 1_700_000_000_000), "{last}");
    let table = stage.told("offsets list t:1 --at -1h");
    assert_eq!(table, "TOPIC  PARTITION  OFFSET  TIME\nt              1       -     -\n");
}

#[test]
fn refusals_say_why() {
    let stage = Stage::new();
    stage.topic("t");
    let ill = |status, line: &str| stage.klamm(line).ill(status);
    assert_eq!(
        ill(1, "offsets list nope"),
        "klamm: topic nope: UNKNOWN_TOPIC_OR_PARTITION: there is no such topic or partition\n"
    );
    assert_eq!(
        ill(1, "offsets list t:7"),
        "klamm: partition 7 of topic t: UNKNOWN_TOPIC_OR_PARTITION: there is no such topic or partition\n"
    );
    assert_eq!(
        ill(1, "offsets delete t:0 --before 99"),
        "klamm: records of t-0: OFFSET_OUT_OF_RANGE: the partition has no such offset\n"
    );
    assert!(ill(2, "offsets list t --at noon").contains("\"noon\" is no time"));
    assert!(ill(2, "offsets delete t --before x").contains("\"x\" is no offset"));
    assert!(ill(2, "offsets list t:x").contains("Invalid partition 'x'"));
}
