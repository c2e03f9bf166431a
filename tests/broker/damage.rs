//! What a drive has lost or spoilt: said, and refused, and nothing else suffers.

use crate::batches::batch;
use crate::client::{Client, Produce, fetch_once, read_all};
use crate::process::Broker;
use klamm::journal::{ALIGNMENT, BLOCK_HEADER_BYTES, BlockHeader, ENTRY_HEADER_BYTES, decode_entries};
use klamm::wire::batch::batches;
use std::path::Path;

const STORAGE_ERROR: i16 = 56;
const BATCHES: i64 = 100;

/// Spoils 16 bytes of the payload in the block that holds the batch of this partition and offset.
fn spoil(dir: &Path, partition: i32, offset: i64) {
    let path = dir.join("journal/00/000000.journal");
    let mut content = std::fs::read(&path).unwrap();
    let found = (0..content.len()).step_by(ALIGNMENT).find(|at| {
        let header = BlockHeader::decode(&content[*at..]);
        let entries = header.and_then(|header| decode_entries(&content[*at..*at + header.bytes as usize]));
        let holds = |entries: Vec<_>| {
            entries.iter().any(|(entry, _): &(klamm::journal::Entry, _)| {
                (entry.partition.index, entry.offset) == (partition, offset)
            })
        };
        entries.is_some_and(holds)
    });
    let payload = found.expect("the block is there") + BLOCK_HEADER_BYTES + ENTRY_HEADER_BYTES;
    content[payload + 24..payload + 40].iter_mut().for_each(|byte| *byte ^= 0x5a);
    std::fs::write(&path, content).unwrap();
}

fn bases(client: &mut Client, partition: i32) -> Vec<i64> {
    batches(&read_all(client, "t", partition, 0)).map(|found| found.header.base_offset.get()).collect()
}

#[test]
fn damage_in_the_middle_of_the_journal_costs_one_partition_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    client.create("t", 2, &[]);
    for offset in 0..BATCHES {
        for partition in 0..2 {
            assert_eq!(Produce::to("t", partition, batch(1)).write(&mut client), offset);
        }
    }
    broker.kill();
    spoil(dir.path(), 0, 10);
    for life in 0..3 {
        let broker = Broker::start(dir.path(), &[]);
        if life == 0 {
            broker.wait_for_log("damaged at byte");
        }
        broker.wait_for_log("t-0: records from offset 10 to ");
        let log = broker.log();
        assert_eq!(log.contains("damaged at byte"), life == 0, "{log}");
        assert!(log.contains("t-0: records from offset 10 to 10 are lost") || life > 0, "{log}");
        let mut client = Client::connect(broker.address);
        let (code, _, bytes) = fetch_once(&mut client, "t", 0, 0, 1 << 20);
        let read: Vec<i64> = batches(&bytes).map(|found| found.header.base_offset.get()).collect();
        assert_eq!((code, read), (0, (0..10).collect()), "what lies before is served");
        assert_eq!(fetch_once(&mut client, "t", 0, 10, 1 << 20).0, STORAGE_ERROR);
        assert_eq!(Produce::to("t", 0, batch(1)).ask(&mut client).code, STORAGE_ERROR);
        assert_eq!(bases(&mut client, 1), (0..BATCHES + life).collect::<Vec<_>>(), "nothing else is lost");
        assert_eq!(Produce::to("t", 1, batch(1)).write(&mut client), BATCHES + life);
        if life == 1 {
            broker.kill();
        } else {
            assert_eq!(broker.stop(), Some(0));
        }
    }
    let kept = std::fs::read_dir(dir.path().join("journal/damaged")).unwrap().count();
    assert_eq!(kept, 1, "the file with the damage is put aside");
}

/// A file that a start or a death has left in part is no part of the ring.
#[test]
fn a_journal_file_of_another_size_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    assert_eq!(Produce::to("t", 0, batch(1)).write(&mut client), 0);
    broker.kill();
    let odd = dir.path().join("journal/00/000007.journal");
    std::fs::write(&odd, vec![0; 12_345]).unwrap();
    let broker = Broker::start(dir.path(), &[]);
    assert!(!odd.exists());
    let mut client = Client::connect(broker.address);
    assert_eq!(Produce::to("t", 0, batch(1)).write(&mut client), 1);
    assert_eq!(broker.stop(), Some(0));
}
