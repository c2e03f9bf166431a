//! `klamm topic`, and `klamm cluster`.

use crate::stage::Stage;

#[test]
fn topics_are_made_shown_changed_and_deleted() {
    let stage = Stage::new();
    assert_eq!(stage.told("topic list"), "TOPIC  PARTITIONS\n");
    assert_eq!(
        stage.told("topic create t --partitions 2 --config flush.ms=60000"),
        "topic t made: partitions 2, replication factor 1\n"
    );
    assert_eq!(
        stage.told("topic create u --validate-only"),
        "topic u could be made: partitions 1, replication factor 1\n"
    );
    assert_eq!(stage.told("topic list"), "TOPIC  PARTITIONS\nt               2\n");

    let id = stage.json("topic list")[0]["id"].as_str().unwrap().to_string();
    let expected = format!(
        "t\nid  {id}\nflush.ms = 60000\n\
        PARTITION  LEADER  EPOCH  REPLICAS  IN-SYNC  OFFLINE\n        \
        0       1      0         1        1        -\n        \
        1       1      0         1        1        -\n"
    );
    assert_eq!(stage.told("topic describe t"), expected);
    assert_eq!(stage.told("topic describe"), expected);
    let json = &stage.json("topic describe t")[0];
    assert_eq!((json["name"].as_str(), json["configs"]["flush.ms"].as_str()), (Some("t"), Some("60000")));
    assert_eq!(json["partitions"][1]["replicas"], serde_json::json!([1]));

    let alter = "topic alter t --partitions 3 --config segment.bytes=2000000 --delete-config flush.ms";
    assert_eq!(stage.told(&format!("{alter} --validate-only")), "topic t could be altered\n");
    assert_eq!(stage.told("topic describe t"), expected);
    assert_eq!(stage.told(alter), "topic t altered\n");
    let json = &stage.json("topic describe t")[0];
    assert_eq!(json["configs"], serde_json::json!({ "segment.bytes": "2000000" }));
    assert_eq!(json["partitions"].as_array().map(Vec::len), Some(3));

    assert_eq!(stage.told("topic delete t"), "topic t deleted\n");
    assert_eq!(stage.json("topic list"), serde_json::json!([]));
}

#[test]
fn several_topics_are_made_by_one_command() {
    let stage = Stage::new();
    let line = |name: &str| format!("topic {name} made: partitions 2, replication factor 1\n");
    assert_eq!(stage.told("topic create a b --partitions 2"), line("a") + &line("b"));
    // One that cannot be made is told of, and the others are made.
    let ran = stage.klamm("topic create c a d --partitions 2");
    assert_eq!((ran.status, ran.out), (Some(1), line("c") + &line("d")));
    assert_eq!(ran.err, "klamm: topic a: TOPIC_ALREADY_EXISTS: Topic 'a' already exists.\n");
    let made = stage.json("topic create a e f --if-not-exists --partitions 3");
    assert_eq!((made[0]["name"].as_str(), made[1]["name"].as_str(), made[2].is_null()), (Some("e"), Some("f"), true));
    assert_eq!(stage.json("topic create g")["partitions"], 1, "of one topic no list is printed");
    assert_eq!(stage.told("topic list").lines().count(), 8);
}

#[test]
fn what_is_there_is_described_beside_what_is_not() {
    let stage = Stage::new();
    stage.told("topic create a b");
    let all = stage.klamm("topic describe a missing b gone");
    assert_eq!((all.status, all.out), (Some(1), stage.told("topic describe a b")));
    let unknown =
        |name: &str| format!("klamm: topic {name}: UNKNOWN_TOPIC_OR_PARTITION: there is no such topic or partition\n");
    assert_eq!(all.err, unknown("missing") + &unknown("gone"));
    assert_eq!(stage.told("topic describe a missing b --if-exists"), stage.told("topic describe a b"));
}

#[test]
fn filters_choose_partitions() {
    let stage = Stage::new();
    stage.told("topic create t --config min.insync.replicas=1");
    stage.told("topic create strict --config min.insync.replicas=2");
    let names = |filter: &str| {
        let found = stage.json(&format!("topic describe {filter}"));
        found.as_array().unwrap().iter().map(|topic| topic["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names("--at-min-isr"), ["t"]);
    assert_eq!(names("--under-min-isr"), ["strict"]);
    assert_eq!(names("--under-min-isr --at-min-isr"), ["strict", "t"]);
    assert!(names("--under-replicated").is_empty() && names("--unavailable").is_empty());
}

#[test]
fn internal_topics_are_hidden_until_they_are_asked_for() {
    let stage = Stage::new();
    stage.topic("t");
    stage.told("group reset-offsets g --topic t --to-latest --execute");
    assert_eq!(stage.told("topic list"), "TOPIC  PARTITIONS\nt               2\n");
    let all = "TOPIC               PARTITIONS\n__consumer_offsets           2\nt                            2\n";
    assert_eq!(stage.told("topic list --internal"), all);
    assert!(stage.told("topic describe __consumer_offsets").starts_with("__consumer_offsets (internal)\n"));
    assert!(!stage.told("topic describe").contains("__consumer_offsets"));
}

#[test]
fn refusals_say_why_and_what_may_be_meant() {
    let stage = Stage::new();
    stage.told("topic create orders");
    let ill = |line: &str| stage.klamm(line).ill(1);
    assert_eq!(
        ill("topic create orders"),
        "klamm: topic orders: TOPIC_ALREADY_EXISTS: Topic 'orders' already exists.\n"
    );
    assert_eq!(stage.told("topic create orders --if-not-exists"), "");
    assert_eq!(
        ill("topic describe ordres"),
        "klamm: topic ordres: UNKNOWN_TOPIC_OR_PARTITION: there is no such topic or partition; did you mean orders?\n"
    );
    assert_eq!(
        ill("topic describe xyz"),
        "klamm: topic xyz: UNKNOWN_TOPIC_OR_PARTITION: there is no such topic or partition\n"
    );
    assert_eq!(stage.told("topic describe xyz --if-exists"), "");
    let unknown = ill("topic create t --config retention.m=5");
    assert!(
        unknown.starts_with("klamm: topic t: INVALID_CONFIG: ") && unknown.ends_with("; did you mean retention.ms?\n")
    );
    assert!(
        ill("topic create t --config retention.ms=x").contains("INVALID_CONFIG: Invalid value x for configuration")
    );
    assert!(ill("topic create 'a b'").contains("INVALID_TOPIC_EXCEPTION"));
    assert!(ill("topic create t --replication-factor 3").contains("INVALID_REPLICATION_FACTOR"));
    assert!(ill("topic alter orders --partitions 1").contains("INVALID_PARTITIONS"));
    assert!(ill("topic alter xyz --partitions 2").contains("UNKNOWN_TOPIC_OR_PARTITION"));
    assert_eq!(stage.told("topic alter xyz --partitions 2 --if-exists"), "");
    assert!(ill("topic delete xyz").contains("topic xyz: UNKNOWN_TOPIC_OR_PARTITION"));
    assert_eq!(stage.told("topic delete xyz --if-exists"), "");
    // The others are deleted all the same.
    let ran = stage.klamm("topic delete xyz orders");
    assert_eq!((ran.status, ran.out.as_str()), (Some(1), "topic orders deleted\n"));
    assert!(ran.err.contains("topic xyz"));
    assert!(stage.klamm("topic alter orders").ill(2).contains("nothing to alter"));
}

#[test]
fn the_cluster_is_shown() {
    let stage = Stage::new();
    stage.topic("t");
    let port = stage.broker.address.port();
    let line = format!(" 1  127.0.0.1  {port}     -  yes\n");
    assert_eq!(
        stage.told("cluster brokers"),
        format!("ID  HOST       {:>width$}  RACK  CONTROLLER\n", "PORT", width = port.to_string().len()) + &line
    );
    let broker = &stage.json("cluster brokers")[0];
    assert_eq!((broker["id"].as_i64(), broker["is_controller"].as_bool()), (Some(1), Some(true)));
    let id = stage.json("cluster id")["cluster_id"].as_str().unwrap().to_string();
    assert_eq!((stage.told("cluster id"), id.len()), (format!("{id}\n"), 22));

    let versions = stage.json("cluster api-versions --broker 1");
    let produce = versions.as_array().unwrap().iter().find(|api| api["name"] == "Produce").unwrap();
    assert_eq!((produce["key"].as_i64(), produce["version_max"].as_i64()), (Some(0), Some(13)));
    assert!(stage.told("cluster api-versions").starts_with("KEY  API "));

    let dirs = stage.json("cluster log-dirs --topic t");
    let dir = &dirs[0];
    assert_eq!((dir["broker"].as_i64(), dir["error"].is_null()), (Some(1), true));
    assert_eq!(dir["partitions"].as_array().map(Vec::len), Some(2));
    assert_eq!(dir["partitions"][0]["topic"], "t");
    assert!(stage.told("cluster log-dirs --topic t").starts_with("BROKER  DIRECTORY"));
    assert_eq!(stage.klamm("cluster log-dirs --broker 7").ill(1), "klamm: there is no broker 7\n");
    assert_eq!(stage.klamm("cluster api-versions --broker 7").ill(1), "klamm: there is no broker 7\n");
}
