//! `klamm group`.

use crate::member::join;
use crate::stage::Stage;
use serde_json::json;

#[test]
fn offsets_are_planned_first_and_reset_then() {
    let stage = Stage::new();
    stage.topic("t");
    let planned =
        "TOPIC  PARTITION  COMMITTED  NEW\nt              0          -    0\nt              1          -    0\n";
    let dry = stage.told("group reset-offsets g --topic t --to-earliest");
    assert_eq!(dry, format!("{planned}nothing is changed without --execute\n"));
    assert_eq!(stage.json("group list"), json!([]));
    assert_eq!(stage.told("group reset-offsets g --topic t --to-earliest --execute"), planned);

    let new = |options: &str| {
        let ran = stage.klamm(&format!("group reset-offsets g {options} --format json"));
        let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err));
        let news = json["offsets"].as_array().unwrap().iter().map(|row| row["new"].as_i64().unwrap());
        (news.collect::<Vec<_>>(), ran.err)
    };
    let silent = |offsets: &[i64]| (offsets.to_vec(), String::new());
    assert_eq!(new("--topic t --to-latest"), silent(&[10, 0]));
    assert_eq!(new("--topic t:0 --to-offset 7 --execute"), silent(&[7]));
    assert_eq!(new("--topic t:0 --shift-by -3"), silent(&[4]));
    assert_eq!(new("--all-topics --to-current"), silent(&[7, 0]));
    assert_eq!(new("--topic t:0 --to-datetime 2020-01-01T00:00:00Z"), silent(&[0]));
    assert_eq!(new("--topic t:0 --by-duration 1h"), silent(&[0]));
    let note = |text: &str| format!("klamm: t-0: {text}\n");
    assert_eq!(new("--topic t:0 --to-offset 11"), (vec![10], note("11 is behind the end, which is 10")));
    assert_eq!(new("--topic t:0 --shift-by -8"), (vec![0], note("-1 is before the first record, which is 0")));
    assert_eq!(
        new("--topic t:0 --to-datetime 2900-01-01"),
        (vec![10], note("no record is so late; the end was taken"))
    );
    let file = stage.file("plan", "t,0,5\nother,t,1,0\ng,t,1,0\n");
    assert_eq!(new(&format!("--from-file {file}")), silent(&[5, 0]));

    let rows = stage.json("group describe g");
    assert_eq!((rows[0]["lag"].as_i64(), rows[0]["state"].as_str()), (Some(3), Some("Empty")));
    assert_eq!(rows[0]["offsets"][0]["committed"], 7);
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let stage = Stage::new();
    stage.topic("t");
    stage.told("group reset-offsets idle --topic t:0 --to-offset 4 --execute");
    let (_member, id) = join(&stage.broker, "busy", "t");
    assert_eq!(
        stage.told("group list"),
        "GROUP  STATE   TYPE     PROTOCOL\nbusy   Stable  classic  consumer\nidle   Empty   classic  -\n"
    );
    assert_eq!(stage.json("group list --state empty")[0]["group"], "idle");
    assert_eq!(stage.json("group list --type consumer"), json!([]));

    let wide = id.len();
    let expected = format!(
        "GROUP  TOPIC  PARTITION  COMMITTED  END  LAG  {:<wide$}  CLIENT  HOST\n\
        busy   t              0          -   10    -  {id}  test    /127.0.0.1\n\
        busy   t              1          -    0    -  {id}  test    /127.0.0.1\n",
        "MEMBER"
    );
    assert_eq!(stage.told("group describe busy"), expected);
    assert_eq!(
        stage.told("group describe busy --members"),
        format!(
            "GROUP  {:<wide$}  INSTANCE  CLIENT  HOST        PARTITIONS\nbusy   {id}         -  test    /127.0.0.1  t:0,1\n",
            "MEMBER"
        )
    );
    let state = stage.json("group describe busy --state");
    assert_eq!((state[0]["state"].as_str(), state[0]["assignor"].as_str()), (Some("Stable"), Some("range")));
    assert_eq!(stage.json("group describe busy --members")[0]["members"][0]["member"], id);
    assert_eq!(stage.json("group describe").as_array().map(Vec::len), Some(2));
    assert_eq!(stage.json("group describe idle")[0]["offsets"][0]["lag"], 6);

    assert_eq!(
        stage.klamm("group delete busy").ill(1),
        "klamm: group busy: NON_EMPTY_GROUP: the group has members; stop them first\n"
    );
    assert_eq!(
        stage.klamm("group reset-offsets busy --topic t --to-latest").ill(1),
        "klamm: group busy is Stable: its members must leave first\n"
    );
    assert_eq!(stage.told("group delete-offsets idle t:0"), "t-0: forgotten\n");
    stage.told("group reset-offsets idle --topic t:0 --to-offset 4 --execute");
    let both = stage.klamm("group delete busy idle");
    assert_eq!((both.status, both.out.as_str()), (Some(1), "group idle deleted\n"));
    assert_eq!(
        stage.klamm("group describe idel").ill(1),
        "klamm: group idel: GROUP_ID_NOT_FOUND: Group idel not found.\n"
    );
    assert_eq!(stage.klamm("group describe bsuy").ill(1), "klamm: there is no group bsuy; did you mean busy?\n");
}

#[test]
fn wrong_resets_are_refused() {
    let stage = Stage::new();
    stage.topic("t");
    let ill = |status, options: &str| stage.klamm(&format!("group reset-offsets g {options}")).ill(status);
    for usage in ["--topic t", "--to-latest", "--topic t --to-latest --to-earliest", "--topic t --by-duration x"] {
        ill(2, usage);
    }
    assert!(ill(2, "--topic t --to-datetime x").contains("\"x\" is no time"));
    assert!(ill(2, "--topic t:0 --shift-by 1").contains("no current committed offset"));
    assert!(ill(1, "--topic nope --to-latest").contains("topic nope: UNKNOWN_TOPIC_OR_PARTITION"));
    assert!(ill(1, "--topic t:5,6 --to-latest").contains("The partitions \"t-5,t-6\" do not exist"));
    assert!(ill(1, "--from-file /nowhere").contains("/nowhere: No such file"));
    let file = stage.file("plan", "other,t,1,0\n");
    assert!(ill(2, &format!("--from-file {file}")).contains("says nothing of group g"));
    let file = stage.file("plan", "t;0;1\n");
    assert!(ill(2, &format!("--from-file {file}")).contains("line 1: \"t;0;1\" is not TOPIC,PARTITION,OFFSET"));
}
