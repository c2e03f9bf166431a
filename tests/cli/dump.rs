//! `klamm dump`: every kind of file, sound and damaged.

use crate::process::Broker;
use crate::stage::{Ran, Stage, alone};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What a broker leaves that has served a topic with closed segments and a group, and ended.
fn data() -> (tempfile::TempDir, PathBuf) {
    let Stage { broker, dir } = Stage::new();
    let address = broker.address;
    let run = |line: &str| alone(&format!("{line} --bootstrap-server {address}")).well();
    run("topic create t --partitions 1 --config segment.bytes=1048576");
    // One after the other, so that no segment consists of a single batch.
    for part in 0..20 {
        let lines: String = (0..200).map(|n| format!("key {}|{}\n", part * 200 + n, "v".repeat(700))).collect();
        let mut produce = crate::process::klamm(&[]);
        let address = address.to_string();
        produce.args(["produce", "t", "-f", "%k|%v", "-H", "h=1", "--idempotent", "--bootstrap-server", &address]);
        let mut child = produce.stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
    run("consume t --group g --count 5");
    run("config alter --broker-default --set message.max.bytes=6000000");
    assert_eq!(broker.stop(), Some(0));
    let data = dir.path().join("data");
    // What a run without an end leaves besides: blocks in the journal.
    let broker = Broker::start(&data, &[("offsets.topic.num.partitions", "2")]);
    let address = broker.address;
    alone(&format!("topic create u --bootstrap-server {address}")).well();
    crate::client::Produce::to("u", 0, crate::batches::batch(3)).write(&mut crate::client::Client::connect(address));
    broker.kill();
    (dir, data)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn dump(path: &Path, options: &str) -> Ran {
    alone(&format!("dump {} {options}", path.display()))
}

/// The rows of a sound file, as objects.
#[track_caller]
fn rows(path: &Path, options: &str) -> Vec<Value> {
    let out = dump(path, &format!("{options} --format json")).well();
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn find<'a>(files: &'a [PathBuf], end: &str) -> &'a Path {
    files.iter().find(|path| path.to_str().unwrap().ends_with(end)).unwrap_or_else(|| panic!("no {end} in {files:?}"))
}

#[test]
fn every_file_of_a_data_directory_is_shown() {
    let (_dir, data) = data();
    let files = files(&data);
    let human = dump(&data, "--records").well();
    for file in files.iter().filter(|file| !file.ends_with(".lock")) {
        assert!(human.contains(&format!("{}: ", file.display())), "{}", file.display());
    }

    let segment = rows(find(&files, "t-0/00000000000000000000.log"), "--records");
    let records: Vec<&Value> = segment.iter().filter(|row| row["kind"] == "record").collect();
    assert_eq!((records[7]["offset"].as_i64(), records[7]["key"].as_str()), (Some(7), Some("key 7")));
    assert_eq!(records[7]["headers"][0][1], "1");
    assert!(
        segment.iter().any(|row| row["kind"] == "batch" && row["producer_id"].is_i64() && row["sequence_first"] == 0)
    );
    let index = rows(find(&files, "t-0/00000000000000000000.index"), "");
    let times = rows(find(&files, "t-0/00000000000000000000.timeindex"), "");
    assert!(!index.is_empty() && !times.is_empty() && index.iter().chain(&times).all(|row| row["kind"] == "entry"));

    let journal = rows(&data.join("journal"), "");
    let of = |kind: &str| journal.iter().filter(|row| row["kind"] == kind).count();
    assert!(of("block") >= 1 && of("entry") >= 1 && of("batch") >= 1, "{journal:?}");
    let metadata = rows(&data.join("metadata"), "");
    let created = metadata.iter().find(|row| row["kind"] == "topic-created" && row["topic"] == "t").unwrap();
    assert_eq!(created["settings"]["segment.bytes"], "1048576");
    assert!(metadata.iter().any(|row| row["kind"] == "broker-settings"));
    let checkpoint = files.iter().find(|path| path.to_str().unwrap().contains("/checkpoint-")).unwrap();
    let checkpoint = rows(checkpoint, "");
    assert!(
        ["checkpoint", "partition", "segment", "producer"]
            .iter()
            .all(|kind| checkpoint.iter().any(|row| row["kind"] == *kind))
    );
    let properties = rows(&data.join("meta.properties"), "");
    assert!(properties.iter().any(|row| row["text"] == "node.id=1"));
}

#[test]
fn committed_offsets_are_decoded() {
    let (_dir, data) = data();
    let folders = (0..2).map(|index| data.join(format!("__consumer_offsets-{index}"))).filter(|folder| folder.exists());
    let all: Vec<Value> = folders.flat_map(|folder| rows(&folder, "--offsets")).collect();
    let commit = all.iter().find(|row| row["key"]["data"]["topic"] == "t").unwrap();
    assert_eq!(
        (commit["key"]["data"]["group"].as_str(), commit["value"]["data"]["offset"].as_i64()),
        (Some("g"), Some(5))
    );
    let is_group = |row: &&Value| row["key"]["type"] == 2 && row["value"]["data"]["protocolType"] == "consumer";
    assert!(all.iter().any(|row| is_group(&row)), "{all:?}");
    assert!(all.iter().any(|row| row["kind"] == "checkpoint"), "the groups' own checkpoint is there");
}

#[test]
fn damage_has_a_position() {
    let (dir, data) = data();
    let files = files(&data);
    let harmed = dir.path().join("harmed");
    std::fs::create_dir_all(harmed.join("metadata")).unwrap();
    let checkpoint = files.iter().find(|path| path.to_str().unwrap().contains("/checkpoint-")).unwrap();
    let cases: [(&Path, usize, &str); 7] = [
        (
            find(&files, "t-0/00000000000000000000.log"),
            70,
            "damage position=0 what=\"record batch does not match its checksum\"",
        ),
        (find(&files, "t-0/00000000000000000000.index"), 6, "no batch with offset"),
        (find(&files, "t-0/00000000000000000000.timeindex"), 0, "the entry is not behind the one before"),
        (find(&files, ".journal"), 50, "the block does not match its checksum"),
        (find(&files, "metadata/log-00000000000000000000"), 60, "no whole record stands here"),
        (checkpoint, 40, "the checkpoint does not match its checksum"),
        (find(&files, "group.checkpoint"), 30, "checkpoint"),
    ];
    for (file, at, what) in cases {
        let mut bytes = std::fs::read(file).unwrap();
        assert!(bytes.len() > at, "{}", file.display());
        bytes[at] ^= 0xc1;
        let name = Path::new(file.file_name().unwrap());
        let is_metadata = name.to_str().unwrap().starts_with("log-");
        let path = if is_metadata { harmed.join("metadata").join(name) } else { harmed.join(name) };
        // An index is compared with the segment beside it.
        if name.extension().is_some_and(|end| end == "index") {
            std::fs::copy(file.with_extension("log"), path.with_extension("log")).unwrap();
        }
        std::fs::write(&path, &bytes).unwrap();
        let ran = dump(&path, "");
        assert_eq!(ran.status, Some(1), "{}: {}", path.display(), ran.out);
        assert!(ran.out.contains("  damage position=") && ran.out.contains(what), "{}: {}", path.display(), ran.out);
        assert!(ran.err.contains("damaged"), "{}", ran.err);
    }
    let ran = dump(&data.join("nothing"), "");
    assert!(ran.ill(1).contains("No such file"));
    let stranger = dir.path().join("thesis.tex");
    std::fs::write(&stranger, "x").unwrap();
    assert!(dump(&stranger, "").ill(1).contains("not a file of Klamm's or Kafka's"));
}

#[test]
fn no_file_however_harmed_is_too_much() {
    let (dir, data) = data();
    let mut random = StdRng::seed_from_u64(7);
    let harmed = dir.path().join("harmed");
    for (number, file) in files(&data).iter().enumerate() {
        let mut bytes = std::fs::read(file).unwrap();
        // The rest of a journal file and of a segment is more of the same.
        bytes.truncate(200_000);
        if bytes.is_empty() {
            continue;
        }
        for round in 0..20 {
            let mut copy = bytes.clone();
            for _ in 0..random.random_range(0..4) {
                // Most where lengths and counts stand.
                let near = if random.random_bool(0.7) { copy.len().min(150) } else { copy.len() };
                let at = random.random_range(0..near);
                copy[at] = *[0, 1, 0x7f, 0x80, 0xff, random.random()].get(random.random_range(0..6)).unwrap();
            }
            if round % 4 == 0 {
                copy.truncate(random.random_range(0..copy.len()));
            }
            let folder = harmed.join(format!("{number}-{round}")).join(file.parent().unwrap().file_name().unwrap());
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(file.file_name().unwrap()), &copy).unwrap();
        }
    }
    for options in ["--records", "--offsets --format json"] {
        let ran = dump(&harmed, options);
        assert_eq!(ran.status, Some(1), "{}", ran.err);
        assert!(ran.out.contains("damage") && !ran.err.contains("panicked"), "{}", ran.err);
    }
}

/// Kafka's own files that Klamm does not write.
#[test]
fn kafkas_files_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let producer = [&7i64.to_be_bytes()[..], &1i16.to_be_bytes(), &[0; 42]].concat();
    let body = [&1u32.to_be_bytes()[..], &producer].concat();
    let snapshot = [&1i16.to_be_bytes()[..], &crc32c::crc32c(&body).to_be_bytes(), &body].concat();
    let path = write("00000000000000000009.snapshot", &snapshot);
    assert_eq!((rows(&path, "")[0]["producer_id"].as_i64(), rows(&path, "").len()), (Some(7), 1));
    let path = write("00000000000000000010.snapshot", &snapshot[..snapshot.len() - 1]);
    assert!(dump(&path, "").out.contains("1 producers are missing"));

    let aborted =
        [&0i16.to_be_bytes()[..], &7i64.to_be_bytes(), &1i64.to_be_bytes(), &5i64.to_be_bytes(), &6i64.to_be_bytes()]
            .concat();
    let path = write("00000000000000000000.txnindex", &aborted);
    assert_eq!(
        (rows(&path, "")[0]["offset_first"].as_i64(), rows(&path, "")[0]["offset_last"].as_i64()),
        (Some(1), Some(5))
    );

    // An index of Kafka's is larger than it is filled while its segment is open.
    let index = [&3u32.to_be_bytes()[..], &100u32.to_be_bytes(), &[0; 80]].concat();
    let path = write("00000000000000000100.index", &index);
    let found = rows(&path, "");
    assert_eq!((found[0]["offset"].as_i64(), found[1]["kind"].as_str()), (Some(103), Some("room")));
    let path = write("leader-epoch-checkpoint", b"0\n1\n0 0\n");
    assert_eq!(rows(&path, "").len(), 3);
    let old = [&[0; 16][..], &[1], &[0; 60]].concat();
    let path = write("00000000000000000200.log", &[&[1; 8][..], &old[8..]].concat());
    assert!(dump(&path, "").out.contains("record batch has format 1, not 2"));
}
