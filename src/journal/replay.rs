//! Reading a core's journal back. The reader of files stands outside: [`Replay`] says which bytes it wants next.

use super::{ALIGNMENT, BlockHeader, FileIndex};

/// Orders the files of one core's directory by their first block and walks their blocks in sequence.
#[derive(Debug)]
pub struct Replay {
    /// `(sequence of the first block, file)` of the newest generation found, ascending.
    files: Vec<(u64, FileIndex)>,
    at: usize,
    position: u64,
    expected: u64,
    header: BlockHeader,
}

/// What [`Replay`] wants next.
#[derive(PartialEq, Eq, Debug)]
pub enum ReplayStep {
    /// Show the bytes of `file` from `position` on to [`Replay::feed`], at least `bytes` of them or up to its end.
    Want { file: FileIndex, position: u64, bytes: usize },
    /// The block `bytes` long at the start of what was fed is next and follows the one before; check and apply it.
    Block { bytes: usize, sequence: u64 },
    /// There is no further block.
    End,
}

impl Replay {
    /// `heads`: the first [`ALIGNMENT`] bytes of each file that exists. Returns `None` if none of them holds a block.
    /// Blocks with a sequence of at most `covered`, if they are of generation `covered_generation`, are left out.
    pub fn new(heads: &[(FileIndex, Vec<u8>)], covered_generation: u64, covered: u64) -> Option<Replay> {
        let found: Vec<(FileIndex, BlockHeader)> =
            heads.iter().filter_map(|(file, head)| Some((*file, BlockHeader::decode(head)?))).collect();
        let newest = found.iter().map(|(_, header)| header.generation).max()?;
        let mut files: Vec<(u64, FileIndex)> =
            found.iter().filter(|(_, h)| h.generation == newest).map(|(file, h)| (h.sequence, *file)).collect();
        files.sort_unstable();
        let covered = if covered_generation == newest { covered } else { 0 };
        // The last file that begins at or before the first block that is wanted.
        let at = files.iter().rposition(|(first, _)| *first <= covered + 1).unwrap_or(0);
        let header = found.iter().find(|(file, _)| *file == files[at].1).expect("it is one of them").1;
        Some(Replay { expected: files[at].0, files, at, position: 0, header })
    }

    pub fn generation(&self) -> u64 {
        self.header.generation
    }

    pub fn want(&self) -> ReplayStep {
        match self.files.get(self.at) {
            Some((_, file)) => ReplayStep::Want { file: *file, position: self.position, bytes: ALIGNMENT },
            None => ReplayStep::End,
        }
    }

    /// Looks at `bytes`, the content of the wanted file from the wanted position on (empty at its end).
    pub fn feed(&mut self, bytes: &[u8]) -> ReplayStep {
        let Some(&(_, file)) = self.files.get(self.at) else {
            return ReplayStep::End;
        };
        let header = BlockHeader::decode(bytes).filter(|h| {
            h.generation == self.header.generation && h.core == self.header.core && h.sequence == self.expected
        });
        match header {
            Some(header) if bytes.len() < header.bytes as usize => {
                ReplayStep::Want { file, position: self.position, bytes: header.bytes as usize }
            }
            Some(header) => ReplayStep::Block { bytes: header.bytes as usize, sequence: header.sequence },
            None => {
                // The block may stand at the beginning of the next file; otherwise this is the end.
                self.at += 1;
                self.position = 0;
                match self.files.get(self.at) {
                    Some((first, _)) if *first == self.expected => self.want(),
                    _ => {
                        self.at = self.files.len();
                        ReplayStep::End
                    }
                }
            }
        }
    }

    /// The block that was just fed is sound: go on behind it.
    pub fn accept(&mut self, bytes: usize) {
        assert!(self.at < self.files.len() && bytes > 0);
        self.position += (bytes as u64).next_multiple_of(ALIGNMENT as u64);
        self.expected += 1;
    }

    /// The block that was just fed is torn: it was never acknowledged, and nothing after it was.
    pub fn stop(&mut self) {
        self.at = self.files.len();
    }
}
