//! `klamm dump`: what is in a file of ours or of Kafka's, without a broker.
//!
//! Files are read from front to back, a batch, a block or a frame at a time; only a core's checkpoint, which is one
//! FlatBuffer, is read whole. Nothing in a file is trusted: what does not fit is a row of kind `damage` with its position.

mod checkpoint;
mod index;
mod input;
mod journal;
mod metadata;
mod printer;
mod segment;

use self::input::Input;
use self::printer::Printer;
use super::failure::{Failure, Result};
use super::output::Format;
use crate::metadata::{SNAPSHOT_NAME, file_index};
use serde_json::json;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Longest line of a text file that is shown whole.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Print what is in files of a data directory, Klamm's or Kafka's, without a broker
///
/// Segments (.log, .index, .timeindex, .txnindex, .snapshot), journal files, checkpoints, the metadata log and its snapshot,
/// and the small text files. A directory stands for all files in it. Whatever is damaged is reported with its position, and
/// the exit status is then 1.
#[derive(clap::Args)]
pub struct Arguments {
    /// Files or directories
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also the records of each batch, decompressed
    #[arg(long)]
    records: bool,
    /// The same, with keys and values of __consumer_offsets decoded
    #[arg(long)]
    offsets: bool,
    /// Lines for people, or one JSON object a line
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How much of each batch is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Depth {
    Batches,
    Records,
    /// Records with keys and values of `__consumer_offsets`.
    Offsets,
}

impl Arguments {
    pub fn run(&self) -> Result<()> {
        let depth = match self {
            Arguments { offsets: true, .. } => Depth::Offsets,
            Arguments { records: true, .. } => Depth::Records,
            _ => Depth::Batches,
        };
        let mut out = Printer::new(self.format);
        let mut unread = 0;
        for path in &self.files {
            if let Err(failure) = dump_path(path, depth, &mut out) {
                out.flush()?;
                failure.report();
                unread += 1;
            }
        }
        out.flush()?;
        match (out.damages, unread) {
            (0, 0) => Ok(()),
            (0, unread) => Err(Failure::Other(format!("{unread} of {} arguments could not be read", self.files.len()))),
            (damages, _) => Err(Failure::Other(format!("{damages} places are damaged"))),
        }
    }
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Segment,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    ProducerSnapshot,
    Journal,
    Metadata,
    Checkpoint,
    GroupCheckpoint,
    Text,
    Nothing,
}

impl Kind {
    /// By the file's name, which damage leaves alone, or else by what it begins with.
    fn of(path: &Path, head: &[u8]) -> Option<Kind> {
        let name = path.file_name()?.to_str()?;
        // Kafka deletes a segment a minute after it has renamed it.
        let name = name.strip_suffix(".deleted").unwrap_or(name);
        let is_in = |folder: &str| path.parent().is_some_and(|parent| parent.ends_with(folder));
        let kind = match name {
            "group.checkpoint" => Kind::GroupCheckpoint,
            _ if is_in("metadata") && (name == SNAPSHOT_NAME || file_index(name).is_some()) => Kind::Metadata,
            "meta.properties" | "partition.metadata" | "leader-epoch-checkpoint" | "quorum-state" => Kind::Text,
            ".lock" | "io.probe" | ".kafka_cleanshutdown" => Kind::Nothing,
            // Room that is kept for a checkpoint on a full disk.
            _ if name.ends_with(".reserve") => Kind::Nothing,
            _ if name.ends_with("-offset-checkpoint") => Kind::Text,
            _ if name.ends_with(".log") || name.ends_with(".checkpoint") => Kind::Segment,
            _ if name.ends_with(".index") => Kind::OffsetIndex,
            _ if name.ends_with(".timeindex") => Kind::TimeIndex,
            _ if name.ends_with(".txnindex") => Kind::TransactionIndex,
            _ if name.ends_with(".snapshot") => Kind::ProducerSnapshot,
            _ if name.ends_with(".journal") => Kind::Journal,
            _ if name.starts_with("checkpoint-") => Kind::Checkpoint,
            _ => return Kind::of_bytes(head),
        };
        Some(kind)
    }

    fn of_bytes(head: &[u8]) -> Option<Kind> {
        match head {
            _ if head.starts_with(b"KLJ1") => Some(Kind::Journal),
            _ if head.starts_with(b"klammeta") => Some(Kind::Metadata),
            _ if head.starts_with(b"KGRP") => Some(Kind::GroupCheckpoint),
            _ if head.get(4..8) == Some(b"KLCP") => Some(Kind::Checkpoint),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Segment => "segment",
            Kind::OffsetIndex => "offset index",
            Kind::TimeIndex => "time index",
            Kind::TransactionIndex => "index of aborted transactions",
            Kind::ProducerSnapshot => "snapshot of producers",
            Kind::Journal => "journal",
            Kind::Metadata => "metadata",
            Kind::Checkpoint => "checkpoint of a core",
            Kind::GroupCheckpoint => "checkpoint of groups",
            Kind::Text => "text",
            Kind::Nothing => "no content",
        }
    }
}

fn dump_path(path: &Path, depth: Depth, out: &mut Printer) -> Result<()> {
    let failure = |error: io::Error| Failure::File { path: path.display().to_string(), error };
    if !fs::metadata(path).map_err(failure)?.is_dir() {
        return dump_file(path, depth, out);
    }
    let entries = fs::read_dir(path).map_err(failure)?.collect::<io::Result<Vec<_>>>().map_err(failure)?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().try_for_each(|path| dump_path(path, depth, out))
}

fn dump_file(path: &Path, depth: Depth, out: &mut Printer) -> Result<()> {
    let mut input = Input::open(path)?;
    let Some(kind) = Kind::of(path, input.peek()?) else {
        return Err(Failure::Other(format!("{}: not a file of Klamm's or Kafka's data", path.display())));
    };
    out.begin(path, kind.name())?;
    match kind {
        Kind::Segment => segment::dump(&mut input, depth, out),
        Kind::OffsetIndex => index::dump_offsets(&mut input, out),
        Kind::TimeIndex => index::dump_times(&mut input, out),
        Kind::TransactionIndex => index::dump_transactions(&mut input, out),
        Kind::ProducerSnapshot => index::dump_producers(&mut input, out),
        Kind::Journal => journal::dump(&mut input, depth, out),
        Kind::Metadata => metadata::dump(&mut input, out),
        Kind::Checkpoint => checkpoint::dump_core(&mut input, out),
        Kind::GroupCheckpoint => checkpoint::dump_groups(&mut input, out),
        Kind::Text => dump_text(&mut input, out),
        Kind::Nothing => Ok(()),
    }
}

fn dump_text(input: &mut Input, out: &mut Printer) -> Result<()> {
    loop {
        let position = input.position;
        let line = input.line(LINE_BYTES_MAX)?;
        match std::str::from_utf8(&line) {
            Ok("") => return Ok(()),
            Ok(line) => out.row(json!({"kind": "line", "text": line.trim_end_matches('\n')}))?,
            Err(_) => return out.damage(position, "the line is not UTF-8"),
        }
    }
}
