//! Makes a snapshot of an image, a part at a time.

use super::delta::Delta;
use super::image::{Cursor, Image};
use super::log::{self, Frame, Kind, LogError};
use super::record::Record;

/// A part takes no further record when it holds so many bytes.
const PART_BYTES: usize = 256 << 10;

/// Bytes of a file that is to become the snapshot. A part at position 0 begins a new file beside the snapshot; when `last`
/// is written the file is synced and takes the snapshot's place.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Where in the file they go.
    pub position: u64,
    /// Bytes of the snapshot.
    pub bytes: Vec<u8>,
    /// Whether the snapshot ends with them.
    pub last: bool,
}

/// A snapshot that is being written, one part after the other.
#[derive(Debug)]
pub(super) struct Snapshot {
    image: Image,
    cursor: Cursor,
    frames: u64,
    position: u64,
    writing: bool,
    complete: bool,
}

impl Snapshot {
    pub(super) fn new(image: Image) -> Snapshot {
        Snapshot { image, cursor: Cursor::Start, frames: 0, position: 0, writing: false, complete: false }
    }

    /// The next part, unless one is being written.
    pub(super) fn plan_part(&mut self) -> Option<Part> {
        if self.writing {
            return None;
        }
        assert!(!self.complete);
        let (position, mut bytes, mut payload) = (self.position, Vec::new(), Vec::new());
        let (index_last, term) = (self.image.index(), self.image.term());
        if position == 0 {
            bytes.extend_from_slice(&log::encode_snapshot_header(index_last, term));
        }
        while payload.len() < PART_BYTES {
            match self.image.record_after(&self.cursor) {
                Some((cursor, record)) => {
                    self.cursor = cursor;
                    log::push_record(&mut payload, &record.encode());
                }
                None => {
                    self.complete = true;
                    break;
                }
            }
        }
        let mut frame = |kind, payload: &[u8]| {
            self.frames += 1;
            Frame { index: self.frames, index_synced: 0, term, kind, payload }.encode(&mut bytes);
        };
        if !payload.is_empty() {
            frame(Kind::Records, &payload);
        }
        if self.complete {
            frame(Kind::SnapshotEnds, &[]);
        }
        self.writing = true;
        self.position += bytes.len() as u64;
        Some(Part { position, bytes, last: self.complete })
    }

    /// Takes whether the part that was under way is written. Returns index and bytes of the snapshot if that was the
    /// last part and none has failed.
    pub(super) fn part_written(&mut self, ok: bool) -> Option<(u64, u64)> {
        assert!(self.writing);
        self.writing = false;
        (self.complete && ok).then_some((self.image.index(), self.position))
    }
}

/// The image that a snapshot holds.
pub(super) fn decode(bytes: &[u8]) -> Result<Image, LogError> {
    let (head, frames) = log::decode_snapshot(bytes)?;
    let mut image = Image::default();
    for (position, frame) in frames {
        let applied = frame.records().and_then(|records| {
            records.into_iter().try_for_each(|record| image.stage(&Record::decode(record)?, &mut Delta::default()))
        });
        applied.map_err(|error| LogError::Record { position, error })?;
    }
    if head.index > 0 {
        image.advance(head.index, head.term);
    }
    Ok(image)
}
