//! `klamm produce`: lines of standard input become records.

use super::encoding::from_json;
use super::failure::{Failure, Result};
use super::options::Options;
use super::output::{Format, print};
use super::pattern::{LANGUAGE, LinePattern, Produced};
use super::progress::Progress;
use super::sending::{Manner, Sending};
use super::time::{now_ms, parse_time};
use crate::cli::client::Client;
use crate::types::PartitionIndex;
use crate::wire::batch::Compression;
use crate::wire::compression::Codec;
use serde_json::Value;
use std::io::{self, BufRead, IsTerminal, Read};
use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

/// Longest line that is read.
const LINE_BYTES_MAX: u64 = 256 << 20;
/// Lines that are read ahead.
const LINES_MAX: usize = 4096;

/// Write the lines of standard input as records of a topic
///
/// With --format json each line is an object as `klamm consume --format json` prints it, of which key, value, headers and
/// timestamp count, and the partition where the topic has it.
#[derive(clap::Args)]
#[command(after_help = LANGUAGE)]
pub struct Arguments {
    /// The topic; the broker is asked to make it if it is not there
    topic: String,
    /// How lines become records: %k %v %h %p %T, with something between them; see below
    #[arg(short = 'f', long, default_value = "%v", conflicts_with = "format")]
    pattern: String,
    /// A field of the line that is just this is null
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// Key of records that have none
    #[arg(short, long)]
    key: Option<String>,
    /// A header of each record
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = super::key_value)]
    header: Vec<(String, String)>,
    /// Partition of records whose line names none; otherwise their keys decide, as for Kafka's own clients
    #[arg(short, long)]
    partition: Option<PartitionIndex>,
    /// Time of records whose line names none: 2026-01-31T12:00:00Z, -1h or milliseconds since 1970
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    timestamp: Option<String>,
    /// none, gzip, snappy, lz4 or zstd, and for gzip and zstd the level: zstd:19
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none", value_parser = parse_codec)]
    compression: Codec,
    /// What is acknowledged: 0 nothing, 1 by the leader, all by all replicas in sync
    #[arg(long, default_value = "all", value_parser = parse_acks)]
    acks: i16,
    /// Write each record once even if it must be sent again
    #[arg(long)]
    idempotent: bool,
    /// Fail if the topic is not there
    #[arg(long)]
    no_create: bool,
    #[command(flatten)]
    options: Options,
}

/// As Kafka's producers take them.
const GZIP_LEVELS: RangeInclusive<i32> = 1..=9;
const ZSTD_LEVELS: RangeInclusive<i32> = -131_072..=22;

pub fn parse_codec(text: &str) -> Result<Codec, String> {
    let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
    let compression = match name {
        "none" | "uncompressed" => Compression::None,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => return Err(format!("{name:?} is no compression: none, gzip, snappy, lz4 and zstd are")),
    };
    let Some(level) = level else { return Ok(Codec { compression, level: None }) };
    let levels = match compression {
        Compression::Gzip => GZIP_LEVELS,
        Compression::Zstd => ZSTD_LEVELS,
        _ => return Err(format!("{text:?}: only gzip and zstd have levels")),
    };
    match level.parse::<i32>() {
        Ok(level) if levels.contains(&level) => Ok(Codec { compression, level: Some(level) }),
        _ => Err(format!("{text:?}: levels of {name} are {} to {}", levels.start(), levels.end())),
    }
}

pub fn parse_acks(text: &str) -> Result<i16, String> {
    match text {
        "0" => Ok(0),
        "1" => Ok(1),
        "all" | "-1" => Ok(-1),
        _ => Err(format!("{text:?}: 0, 1 and all are what can be acknowledged")),
    }
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let pattern = LinePattern::parse(&self.pattern, self.null.as_deref()).map_err(Failure::Usage)?;
        let timestamp = self.timestamp.as_deref().map(|text| parse_time(text, now_ms())).transpose();
        let timestamp = timestamp.map_err(Failure::Usage)?;
        if self.idempotent && self.acks != -1 {
            return Err(Failure::Usage("--idempotent needs --acks all".into()));
        }
        let mut client = self.options.connect()?;
        let create = !self.no_create;
        let manner = Manner { acks: self.acks, idempotent: self.idempotent, codec: self.compression, create };
        let sending = Sending::open(&mut client, &self.topic, manner)?;
        let json = self.options.format == Format::Json;
        let header = |(name, value): &(String, String)| (name.clone(), Some(value.clone().into_bytes()));
        let headers: Vec<_> = self.header.iter().map(header).collect();
        // What comes from another topic may have more partitions. Records of one key are in one of them, and so stay
        // together and in order, whether their partition is there or their key decides.
        let known = sending.partitions();
        let read = |line: &[u8]| -> Result<Produced, String> {
            let mut record = if json { read_json(line)? } else { pattern.read(line)? };
            record.partition = record.partition.filter(|index| !json || known.contains(index));
            record.key = record.key.or_else(|| self.key.as_ref().map(|key| key.clone().into_bytes()));
            record.partition = record.partition.or(self.partition);
            record.timestamp = record.timestamp.or(timestamp);
            record.headers.extend(headers.iter().cloned());
            Ok(record)
        };
        send_lines(&mut client, sending, None, read)
    }
}

/// Sends the records that `read` makes of the lines of standard input, until it ends. `prompt` is shown when a line is waited for.
pub fn send_lines(
    client: &mut Client,
    mut sending: Sending,
    prompt: Option<&str>,
    mut read: impl FnMut(&[u8]) -> Result<Produced, String>,
) -> Result<()> {
    let lines = read_lines();
    let mut progress = Progress::new(io::stdin().is_terminal());
    let mut result = Ok(());
    for number in 1u64.. {
        let line = match lines.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => break,
            // Nothing more is there: what has gathered is not to wait for it.
            Err(TryRecvError::Empty) => {
                sending.flush(client).map_err(|failure| told(failure, &sending))?;
                prompt.map_or(Ok(()), print)?;
                match lines.recv() {
                    Ok(line) => line,
                    Err(_) => break,
                }
            }
        };
        let record = line
            .map_err(|error| Failure::File { path: "standard input".into(), error })
            .and_then(|line| read(&line).map_err(|why| Failure::Other(format!("line {number}: {why}"))));
        match record {
            Ok(record) => sending.add(client, &record).map_err(|failure| told(failure, &sending))?,
            Err(failure) => {
                result = Err(failure);
                break;
            }
        }
        let (records, bytes) = (sending.records, sending.bytes);
        progress.show(|| format!("{records} records, {:.1} MB", bytes as f64 / 1e6));
    }
    // The lines before one that cannot be read are records all the same.
    sending.flush(client).map_err(|failure| told(failure, &sending))?;
    result
}

fn told(failure: Failure, sending: &Sending) -> Failure {
    match sending.records {
        0 => failure,
        records => Failure::Other(format!("{failure} ({records} records were sent before)")),
    }
}

/// The lines of standard input without their ends, as they come.
fn read_lines() -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) => return,
                Ok(bytes) if bytes as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a line is longer than {LINE_BYTES_MAX} bytes"),
                )),
                Ok(_) => {
                    line.pop_if(|byte| *byte == b'\n');
                    Ok(line)
                }
                Err(error) => Err(error),
            };
            let is_last = line.is_err();
            if sender.send(line).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

/// A record of an object as `klamm consume --format json` prints it.
fn read_json(line: &[u8]) -> Result<Produced, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let fields = value.as_object().ok_or("not a JSON object")?;
    let number = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| format!("{name}: {value} is no whole number")),
    };
    let bytes =
        |name: &str| from_json(fields.get(name).unwrap_or(&Value::Null)).map_err(|why| format!("{name}: {why}"));
    let partition =
        number("partition")?.map(|index| i32::try_from(index).map_err(|_| format!("there is no partition {index}")));
    let mut headers = Vec::new();
    for header in fields.get("headers").and_then(Value::as_array).into_iter().flatten() {
        let pair = header.as_array().filter(|pair| pair.len() == 2).ok_or("headers: not [NAME, VALUE]")?;
        let name = pair[0].as_str().ok_or("headers: a name is a text")?;
        headers.push((name.to_string(), from_json(&pair[1])?));
    }
    Ok(Produced {
        partition: partition.transpose()?,
        timestamp: number("timestamp")?,
        key: bytes("key")?,
        value: bytes("value")?,
        headers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_become_records() {
        let line = br#"{"topic":"t","partition":1,"offset":9,"timestamp":5,"key":null,"value":{"hex":"ff"},"headers":[["a","b"],["c",null]]}"#;
        let headers = vec![("a".to_string(), Some(b"b".to_vec())), ("c".into(), None)];
        let record = Produced { partition: Some(1), timestamp: Some(5), key: None, value: Some(vec![0xff]), headers };
        assert_eq!(read_json(line), Ok(record));
        assert_eq!(read_json(b"{}"), Ok(Produced::default()));
        for (wrong, why) in [
            (r#"{"partition":"x"}"#, "partition: \"x\" is no whole number"),
            (r#"{"partition":5000000000}"#, "there is no partition 5000000000"),
            (r#"{"value":5}"#, "value: 5 is not a text"),
            (r#"{"headers":[["a"]]}"#, "headers: not"),
            ("[]", "not a JSON object"),
            ("{", "EOF"),
        ] {
            let told = read_json(wrong.as_bytes()).unwrap_err();
            assert!(told.starts_with(why), "{told}");
        }
    }

    #[test]
    fn codecs_have_names_and_levels() {
        assert_eq!(parse_codec("lz4"), Ok(Codec { compression: Compression::Lz4, level: None }));
        assert_eq!(parse_codec("zstd:19"), Ok(Codec { compression: Compression::Zstd, level: Some(19) }));
        assert!(parse_codec("lz4:3").unwrap_err().contains("have levels"));
        assert_eq!(parse_codec("zstd:99"), Err("\"zstd:99\": levels of zstd are -131072 to 22".to_string()));
        for wrong in ["gzip:x", "gzip:0", "gzip:10", "zstd:23", "zstd:", "gzip:99999999999"] {
            assert!(parse_codec(wrong).unwrap_err().contains(": levels of "), "{wrong}");
        }
        assert!(parse_codec("lz5").unwrap_err().contains("is no compression"));
        assert_eq!((parse_acks("all"), parse_acks("1"), parse_acks("2").is_err()), (Ok(-1), Ok(1), true));
    }
}
