//! A ledger on disk, for a look at the broker later, when this process or the broker's machine has died in between.
//!
//! Lines of words, each with a checksum of all that precedes it in the file. What was acknowledged is in the file before it counts,
//! and so outlives this process; it is synced ten times a second. What the last moment took away was acknowledged and is not known
//! to be: that may hide a loss, and never makes one up.
//!
//! ```text
//! klamm-ledger VERSION RUN_ID TOPIC once|at-least-once
//! partition INDEX START
//! stream NUMBER PARTITION
//! acknowledged STREAM FIRST_NUMBER END_NUMBER OFFSET|- APPEND_MS
//! sent STREAM COUNT                                                 when nothing more comes
//! ```

use crate::cluster::Fault;
use crate::verify::ledger::{Ledger, Promise, Stream};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::{FromStr, SplitAsciiWhitespace};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MAGIC: &str = "klamm-ledger";
const VERSION: u32 = 1;
const SYNC_PAUSE: Duration = Duration::from_millis(100);

/// What a ledger begins with.
pub struct Head {
    pub run_id: u64,
    pub topic: String,
    pub exactly_once: bool,
    /// Where each partition ended before the run.
    pub starts: BTreeMap<i32, i64>,
    /// The partition of each stream.
    pub streams: Vec<i32>,
}

/// A ledger that is being written.
pub struct LedgerFile {
    path: PathBuf,
    file: File,
    /// The checksum of what is written, and what went wrong first.
    state: Mutex<(u32, Option<io::Error>)>,
}

impl LedgerFile {
    /// Begins a ledger in a file that must not exist.
    pub fn create(path: &Path, head: &Head) -> Result<Arc<Self>, Fault> {
        let fault = |error| Fault::Io(path.display().to_string(), error);
        let file = OpenOptions::new().append(true).create_new(true).open(path).map_err(fault)?;
        let ledger = Arc::new(LedgerFile { path: path.to_path_buf(), file, state: Mutex::new((0, None)) });
        let once = if head.exactly_once { "once" } else { "at-least-once" };
        let mut lines = vec![format!("{MAGIC} {VERSION} {} {} {once}", head.run_id, head.topic)];
        lines.extend(head.starts.iter().map(|(partition, start)| format!("partition {partition} {start}")));
        lines.extend(head.streams.iter().enumerate().map(|(i, partition)| format!("stream {i} {partition}")));
        ledger.append(&lines);
        ledger.result()?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(fault)?;
        let syncing = Arc::downgrade(&ledger);
        std::thread::spawn(move || {
            while let Some(ledger) = syncing.upgrade() {
                ledger.sync();
                drop(ledger);
                std::thread::sleep(SYNC_PAUSE);
            }
        });
        Ok(ledger)
    }

    /// Adds lines; after the first failure nothing is added.
    fn append(&self, lines: &[String]) {
        let (checksum, error) = &mut *self.state.lock().expect("no thread panics while it writes");
        if error.is_none() {
            let mut text = String::new();
            for line in lines {
                *checksum = crc32c::crc32c_append(*checksum, line.as_bytes());
                text += &format!("{line} {checksum:08x}\n");
            }
            *error = (&self.file).write_all(text.as_bytes()).err();
        }
    }

    fn sync(&self) {
        if let Err(failed) = self.file.sync_all() {
            let (_, error) = &mut *self.state.lock().expect("no thread panics while it writes");
            error.get_or_insert(failed);
        }
    }

    /// What went wrong with the file first, after a sync.
    fn result(&self) -> Result<(), Fault> {
        self.sync();
        let (_, error) = &mut *self.state.lock().expect("no thread panics while it writes");
        error.take().map_or(Ok(()), |error| Err(Fault::Io(self.path.display().to_string(), error)))
    }

    pub fn acknowledge(&self, stream: u32, numbers: &Range<u64>, promise: &Promise) {
        let offset = promise.offset.map_or("-".to_string(), |offset| offset.to_string());
        let Range { start, end } = numbers;
        self.append(&[format!("acknowledged {stream} {start} {end} {offset} {}", promise.append_ms)]);
    }

    /// Says how much was sent; fails if the file does not have everything.
    pub fn finish(&self, streams: &[Stream]) -> Result<(), Fault> {
        let sent = |(i, stream): (usize, &Stream)| format!("sent {i} {}", stream.sent());
        self.append(&streams.iter().enumerate().map(sent).collect::<Vec<_>>());
        self.result()
    }
}

/// A ledger that was written: its topic, where its partitions began, and what was acknowledged.
pub struct Kept {
    pub topic: String,
    pub starts: BTreeMap<i32, i64>,
    pub ledger: Ledger,
}

/// Reads a ledger. Its last line may be cut.
pub fn read(path: &Path) -> Result<Kept, Fault> {
    let fault = |why| Fault::Other(format!("{}: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| Fault::Io(path.display().to_string(), error))?;
    parse(&bytes).map_err(fault)
}

fn parse(bytes: &[u8]) -> Result<Kept, String> {
    let (mut checksum, mut head, mut streams) = (0, None, Vec::new());
    for (i, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if line.last() != Some(&b'\n') {
            break;
        }
        let Some(text) = checked(line, &mut checksum) else {
            let what = if i == 0 { "no ledger" } else { "not as it was written" };
            return Err(format!("line {}: {what}", i + 1));
        };
        let mut words = Words(text.split_ascii_whitespace());
        let entered = match &mut head {
            None => words.head().map(|found| head = Some(found)),
            Some(head) => words.entry(head, &mut streams),
        };
        entered.map_err(|why| format!("line {}: {why}", i + 1))?;
    }
    let head = head.ok_or("no line of a ledger")?;
    Ok(Kept { topic: head.topic, starts: head.starts, ledger: Ledger::new(head.run_id, streams, head.exactly_once) })
}

/// The text of a line if its checksum is right.
fn checked<'a>(line: &'a [u8], checksum: &mut u32) -> Option<&'a str> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (text, sum) = line.rsplit_once(' ')?;
    let expected = crc32c::crc32c_append(*checksum, text.as_bytes());
    *checksum = expected;
    (sum == format!("{expected:08x}")).then_some(text)
}

struct Words<'a>(SplitAsciiWhitespace<'a>);

impl Words<'_> {
    fn next<T: FromStr>(&mut self) -> Result<T, String> {
        let word = self.0.next().ok_or("a word is missing")?;
        word.parse().map_err(|_| format!("{word} does not belong here"))
    }

    fn head(&mut self) -> Result<Head, String> {
        let (magic, version): (String, u32) = (self.next()?, self.next()?);
        if (magic.as_str(), version) != (MAGIC, VERSION) {
            return Err(format!("{magic} {version}, and this program reads {MAGIC} {VERSION}"));
        }
        let (run_id, topic, once): (_, _, String) = (self.next()?, self.next()?, self.next()?);
        Ok(Head { run_id, topic, exactly_once: once == "once", starts: BTreeMap::new(), streams: Vec::new() })
    }

    /// Enters what a line after the first says.
    fn entry(&mut self, head: &mut Head, streams: &mut Vec<Stream>) -> Result<(), String> {
        let kind: String = self.next()?;
        if kind == "partition" {
            head.starts.insert(self.next()?, self.next()?);
            return Ok(());
        }
        let number: usize = self.next()?;
        if kind == "stream" && number == streams.len() {
            streams.push(Stream::unfinished(self.next()?));
            return Ok(());
        }
        let stream = streams.get_mut(number).ok_or("a stream that is not there")?;
        match kind.as_str() {
            "acknowledged" => {
                let (numbers, offset, append_ms) = (self.next()?..self.next()?, self.next::<String>()?, self.next()?);
                let offset = if offset == "-" { None } else { Some(offset.parse().map_err(|_| "no offset")?) };
                stream.enter(numbers, Promise { offset, append_ms });
            }
            "sent" => stream.finish(self.next()?),
            _ => return Err(format!("{kind} does not belong here")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::ledger::{Counts, Flaw, Flaws, Place};
    use crate::verify::seal::Seal;

    /// A file that goes with the test.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("loadgen-{name}-{}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            Temporary(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn head() -> Head {
        Head {
            run_id: 5,
            topic: "t".to_string(),
            exactly_once: true,
            starts: BTreeMap::from([(0, 7), (3, 0)]),
            streams: vec![0, 3],
        }
    }

    /// A ledger of two streams, of the second of which 0 to 4 and 6 to 8 are acknowledged and 10 were sent.
    fn written(file: &Temporary) -> Vec<u8> {
        let ledger = LedgerFile::create(&file.0, &head()).unwrap();
        let mut streams = vec![Stream::new(0), Stream::new(3)];
        streams[1].send(10);
        ledger.acknowledge(1, &(0..4), &Promise { offset: Some(0), append_ms: -1 });
        ledger.acknowledge(1, &(6..8), &Promise { offset: None, append_ms: 9 });
        ledger.finish(&streams).unwrap();
        std::fs::read(&file.0).unwrap()
    }

    /// What is found when so many numbers of the second stream are read.
    fn counts(bytes: &[u8], seen: u64) -> Counts {
        let mut ledger = parse(bytes).unwrap().ledger;
        for number in 0..seen {
            let seal = Seal { run_id: 5, stream: 1, number, created_ms: 1 };
            ledger.see(&seal, &Place { partition: 3, offset: number as i64, timestamp_ms: 1, is_append_time: false });
        }
        ledger.counts()
    }

    #[test]
    fn what_was_acknowledged_comes_back() {
        let file = Temporary::new("ledger-back");
        let bytes = written(&file);
        let kept = parse(&bytes).unwrap();
        assert_eq!((kept.topic.as_str(), &kept.starts), ("t", &head().starts));
        let found = counts(&bytes, 7);
        assert_eq!((found.acknowledged, found.unknown, found.unknown_present), (6, 4, 2));
        assert_eq!(found.flaws.count(Flaw::Lost), 1);
        assert_eq!(counts(&bytes, 10).flaws, Flaws::default());
        assert_eq!(counts(&bytes, 11).flaws.count(Flaw::Corrupted), 1);
        assert!(matches!(LedgerFile::create(&file.0, &head()), Err(Fault::Io(..))), "a ledger is not overwritten");
    }

    #[test]
    fn a_ledger_may_be_cut_behind_its_first_lines() {
        let file = Temporary::new("ledger-cut");
        let bytes = written(&file);
        let ends: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] == b'\n').map(|at| at + 1).collect();
        let [.., begun, first, second, _, _] = ends[..] else { panic!("{ends:?}") };
        for length in begun..bytes.len() {
            let found = counts(&bytes[..length], 11);
            let acknowledged = 4 * u64::from(length >= first) + 2 * u64::from(length >= second);
            // Nobody knows how much was sent, or what else was acknowledged.
            assert_eq!((found.acknowledged, found.unknown), (acknowledged, 11 - acknowledged), "{length}");
            assert_eq!(found.flaws, Flaws::default(), "{length}");
        }
        for length in 0..ends[0] {
            assert!(parse(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_change_in_the_middle_is_found() {
        let file = Temporary::new("ledger-change");
        let bytes = written(&file);
        // Without its last byte the last line counts as cut.
        for at in 0..bytes.len() - 1 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(parse(&changed).is_err(), "{at}");
        }
        let lines: Vec<_> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
        for missing in 0..lines.len() - 1 {
            let rest = [&lines[..missing], &lines[missing + 1..]].concat().concat();
            assert!(parse(&rest).is_err(), "line {missing}");
        }
        let other = Words("klamm-ledger 2 5 t once".split_ascii_whitespace()).head();
        assert!(other.is_err_and(|why| why.contains("klamm-ledger 1")));
    }
}
