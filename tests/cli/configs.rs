//! `klamm config`.

use crate::stage::Stage;

#[test]
fn settings_of_topics_are_described_and_altered() {
    let stage = Stage::new();
    stage.told("topic create t --config flush.ms=60000");
    assert_eq!(
        stage.told("config describe --topic t"),
        "NAME      VALUE  SOURCE                CHANGEABLE\nflush.ms  60000  DYNAMIC_TOPIC_CONFIG  yes\n"
    );
    let alter = "config alter --topic t --set segment.ms=70000 --set cleanup.policy+=compact --delete flush.ms";
    let changed = |line: &str| {
        let ran = stage.klamm(line);
        assert_eq!(ran.status, Some(0));
        assert_eq!(ran.err, "klamm: cleanup.policy=compact is kept, but has no effect in this broker\n");
        ran.out
    };
    assert_eq!(changed(&format!("{alter} --validate-only")), "3 settings could be altered\n");
    assert_eq!(stage.json("config describe --topic t").as_array().map(Vec::len), Some(1));
    assert_eq!(changed(alter), "3 settings altered\n");
    let entries = stage.json("config describe --topic t");
    let pairs: Vec<(&str, &str)> = entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["name"].as_str().unwrap(), entry["value"].as_str().unwrap()))
        .collect();
    assert_eq!(pairs, [("cleanup.policy", "delete,compact"), ("segment.ms", "70000")]);
    assert_eq!(entries[1]["synonyms"][0]["source"], "DYNAMIC_TOPIC_CONFIG");

    let all = stage.json("config describe --topic t --all");
    assert!(all.as_array().is_some_and(|all| all.len() > 30));
    let documented = stage.told("config describe --topic t --name retention.ms --documentation");
    assert!(documented.starts_with("retention.ms = 604800000  (DEFAULT_CONFIG)\n    "), "{documented}");
}

#[test]
fn settings_of_brokers_have_two_levels() {
    let stage = Stage::new();
    stage.told("config alter --broker-default --set message.max.bytes=6000000");
    stage.told("config alter --broker 1 --set message.max.bytes=5000000");
    let value = |of: &str| stage.json(&format!("config describe {of}"))[0].clone();
    assert_eq!(value("--broker 1")["value"], "5000000");
    assert_eq!(value("--broker 1")["source"], "DYNAMIC_BROKER_CONFIG");
    assert_eq!(value("--broker-default")["value"], "6000000");
    stage.told("config alter --broker 1 --delete message.max.bytes");
    assert_eq!(stage.json("config describe --broker 1"), serde_json::json!([]));
    let effective = value("--broker 1 --name message.max.bytes");
    assert_eq!((effective["value"].as_str(), effective["is_read_only"].as_bool()), (Some("6000000"), Some(false)));
}

#[test]
fn settings_without_effect_are_told_wherever_they_are_set() {
    let stage = Stage::new();
    let told = |line: &str| {
        let ran = stage.klamm(line);
        assert_eq!(ran.status, Some(0), "{line}: {}", ran.err);
        ran.err
    };
    let of = |name: &str| format!("klamm: {name} is kept, but has no effect in this broker\n");
    assert_eq!(told("topic create t --config preallocate=true --config flush.ms=9"), of("preallocate"));
    assert_eq!(told("topic alter t --config compression.lz4.level=3"), of("compression.lz4.level"));
    assert_eq!(told("config alter --topic t --set preallocate=false --set flush.ms=8"), of("preallocate"));
    assert_eq!(told("config alter --topic t --delete preallocate"), "");
    assert_eq!(told("config alter --topic t --set cleanup.policy=delete --set retention.ms=8"), "");
    assert_eq!(told("config alter --broker-default --set background.threads=9"), of("background.threads"));
    assert_eq!(told("config alter --broker 1 --set background.threads=8"), of("background.threads"));
}

#[test]
fn refusals_say_why() {
    let stage = Stage::new();
    stage.told("topic create t");
    let ill = |line: &str| stage.klamm(line).ill(1);
    assert!(ill("config alter --topic t --set retention.m=5").ends_with("; did you mean retention.ms?\n"));
    assert!(ill("config alter --topic t --set retention.ms=x").contains("INVALID_CONFIG"));
    assert!(ill("config describe --topic nope").contains("topic nope: UNKNOWN_TOPIC_OR_PARTITION"));
    assert_eq!(ill("config describe --broker 9"), "klamm: there is no broker 9\n");
    assert_eq!(
        ill("config describe --topic t --name retention.sm"),
        "klamm: there is no setting retention.sm; did you mean retention.ms?\n"
    );
    for wrong in ["--set a=b", "--topic t", "--topic t --broker 1 --set a=b", "--topic t --set a"] {
        stage.klamm(&format!("config alter {wrong}")).ill(2);
    }
}
