//! A disk that is full, or gone: nothing that was acknowledged is lost, what makes room can be done, and the broker ends when
//! it is told to.

use crate::batches::{batch, now_ms};
use crate::client::{Client, Produce, ask, fetch_once};
use crate::process::{Broker, cores, klamm, wait_for};
use bytes::Bytes;
use klamm::wire::batch::BatchBuilder;
use klamm::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use klamm::wire::messages::{DeleteRecordsRequest, DeleteTopicsRequest};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const DISK_BYTES: usize = 48 << 20;
const STORAGE_ERROR: i16 = 56;

/// A small file system, which only those see whom it starts.
struct Disk {
    /// Holds the mount as long as it runs.
    holder: Child,
    dir: tempfile::TempDir,
}

impl Disk {
    /// `None`, and a line that says so, where this user may mount nothing.
    fn new() -> Option<Disk> {
        let dir = tempfile::tempdir().unwrap();
        let script = "mount -t tmpfs -o size=$1 none \"$2\" && echo mounted && read end";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(DISK_BYTES.to_string()).arg(dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().ok()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).ok()?;
        let disk = Disk { holder, dir };
        if line != "mounted\n" {
            eprintln!("not tested: this user may not mount a file system");
            return None;
        }
        Some(disk)
    }

    /// The data directory as this process sees it.
    fn data(&self) -> PathBuf {
        let inside = self.dir.path().join("data");
        format!("/proc/{}/root{}", self.holder.id(), inside.display()).into()
    }

    fn start(&self) -> Broker {
        let data = self.dir.path().join("data");
        let program = klamm(&[
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("log.dirs", data.to_str().unwrap()),
            ("cores", &cores(1)),
            ("journal.file.bytes", "4194304"),
            ("journal.files.max", "4"),
            ("core.memory.bytes", "16777216"),
        ]);
        let mut command = Command::new("nsenter");
        let holder = self.holder.id().to_string();
        command.args(["--preserve-credentials", "--user", "--mount", "--target", &*holder]);
        command.arg(program.get_program()).args(program.get_args()).stdin(Stdio::null());
        program.get_envs().for_each(|(name, _)| {
            command.env_remove(name);
        });
        Broker::spawn(command)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn large() -> Bytes {
    BatchBuilder::new(0).record(now_ms(), None, Some(&vec![7; 500_000])).build()
}

/// A broker whose disk is full of `t`, whose first records have offset 0, and that has one record of `u`; the end of `t`.
fn filled(disk: &Disk) -> (Broker, Client, i64) {
    let broker = disk.start();
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[("segment.bytes", "1048576")]);
    client.create("u", 1, &[]);
    assert_eq!(Produce::to("u", 0, batch(1)).write(&mut client), 0);
    let end = fill(disk, &mut client, 0);
    broker.wait_for_log("No space left on device");
    (broker, client, end)
}

/// Writes to `t` until that is refused, and leaves no room for anything else; the end of `t`, which was there before.
fn fill(disk: &Disk, client: &mut Client, mut end: i64) -> i64 {
    let records = large();
    loop {
        let produced = Produce::to("t", 0, records.clone()).ask(client);
        match produced.code {
            0 => end = produced.offset + 1,
            code => {
                assert_eq!(code, STORAGE_ERROR, "{:?}", produced.message);
                break;
            }
        }
        assert!((end as usize) < DISK_BYTES / 250_000, "it does not become full");
    }
    let rest = std::fs::OpenOptions::new().create(true).append(true).open(disk.data().with_file_name("rest"));
    let mut rest = rest.expect("a name takes no room");
    while rest.write(&[0; 4096]).is_ok_and(|bytes| bytes > 0) {}
    end
}

/// A record can be written, in the end.
fn write_again(client: &mut Client) {
    let offset = wait_for("room", || {
        let produced = Produce::to("u", 0, batch(1)).ask(client);
        (produced.code == 0).then_some(produced.offset)
    });
    assert_eq!(offset, 1, "what was refused was not written");
    assert_eq!(fetch_once(client, "u", 0, 0, 1000).1, 2);
}

#[test]
fn a_broker_with_a_full_disk_ends_starts_and_gets_room_by_deletions() {
    let Some(disk) = Disk::new() else { return };
    let (broker, _, mut end) = filled(&disk);
    assert_eq!(broker.stop(), Some(0));
    // What a start clears away may make room for what was acknowledged: then it is filled again.
    let (broker, mut client) = (0..5)
        .find_map(|_| {
            let broker = disk.start();
            let mut client = Client::connect(broker.address);
            if broker.log().contains("takes no writes (is it full?)") {
                return Some((broker, client));
            }
            end = fill(&disk, &mut client, end);
            broker.kill();
            None
        })
        .expect("a start on a full disk");
    assert_eq!(fetch_once(&mut client, "t", 0, 0, 1).1, end, "what was acknowledged is there");
    assert_eq!(Produce::to("u", 0, batch(1)).ask(&mut client).code, STORAGE_ERROR);
    let request = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 60_000, ..Default::default() };
    let response = ask!(client, DeleteTopics, 5, DeleteTopicsResponse, request);
    assert_eq!(response.responses[0].error_code, 0);
    write_again(&mut client);
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn records_are_deleted_on_a_full_disk() {
    let Some(disk) = Disk::new() else { return };
    let (broker, mut client, end) = filled(&disk);
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: end }];
    let topics = vec![DeleteRecordsTopic { name: "t".into(), partitions }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 60_000 };
    let response = ask!(client, DeleteRecords, 2, DeleteRecordsResponse, request);
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.low_watermark), (0, end));
    write_again(&mut client);
    // The partition whose segment could not be written takes records when that has been tried again.
    let again = wait_for("the partition", || {
        let produced = Produce::to("t", 0, batch(1)).ask(&mut client);
        (produced.code == 0).then_some(produced.offset)
    });
    assert_eq!(again, end);
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn a_broker_whose_data_directory_is_gone_ends() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let broker = Broker::start(&data, &[]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    Produce::to("t", 0, batch(1)).write(&mut client);
    std::fs::remove_dir_all(&data).unwrap();
    assert!(broker.stop().is_some(), "it ends by itself");
}
