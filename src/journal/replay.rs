//! Reading a core's journal back. The reader of files stands outside: [`Replay`] says which bytes it wants next.
//!
//! Blocks follow each other by sequence. Where the next one is not found, either the journal ends there, perhaps with
//! writes that a crash has torn, or what stood there is damaged. A later block decides which: it says up to which sequence
//! all blocks were durable when it was made. So the replay searches everything behind for blocks. What those prove to have
//! been durable is damage, and is shown as far as it can still be read.

use super::format::{BlockHeader, Entry, decode_entries, salvage_entries};
use super::{ALIGNMENT, FileIndex};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a start shows of each file: see [`Replay::new`].
pub const HEAD_BYTES: usize = 16 * ALIGNMENT;

/// A place in the journal's files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Spot {
    /// The file.
    pub file: FileIndex,
    /// The byte in it.
    pub position: u64,
}

/// Blocks that were durable and cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Where they begin.
    pub spot: Spot,
    /// Sequence of the first of them.
    pub sequence_first: u64,
    /// Sequence of the last of them.
    pub sequence_last: u64,
    /// Whether all entries of the blocks are known from their headers: they are in what [`Replay::feed`] returned.
    pub complete: bool,
}

/// One block of the journal.
#[derive(PartialEq, Eq, Debug)]
pub struct Block {
    /// The block's sequence.
    pub sequence: u64,
    /// Each with the range of its payload in what was fed.
    pub entries: Vec<(Entry, Range<usize>)>,
    /// Whether the block does not match its checksum: a payload then counts if it matches its own.
    pub damaged: bool,
}

/// Bytes of a file that [`Replay`] wants to see: at least so many, or all up to the file's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The file.
    pub file: FileIndex,
    /// Where the bytes begin in it.
    pub position: u64,
    /// How many there are.
    pub bytes: usize,
}

/// What a search has found of a block.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    spot: Spot,
    /// Bytes to read for it.
    bytes: usize,
    sound: bool,
    durable: u64,
}

/// A walk over pages for blocks, wherever they are.
#[derive(Debug)]
struct Search {
    /// What is still to be searched, last first.
    places: Vec<Spot>,
    /// Bytes wanted at the place, more than a page where a block begins.
    bytes: usize,
    /// By generation and sequence.
    found: BTreeMap<(u64, u64), Candidate>,
}

#[derive(Debug)]
enum Step {
    /// Before anything else: files whose beginning cannot be read.
    Survey(Search),
    Walk,
    Search(Search),
    /// What the search found, last first.
    List(Vec<(u64, Candidate)>),
    End,
}

/// Orders the files of one core's directory by their first block and walks their blocks in sequence.
#[derive(Debug)]
pub struct Replay {
    core: u16,
    generation: u64,
    /// Blocks up to this sequence are not needed.
    covered: u64,
    checkpoints: Vec<(u64, u64)>,
    /// `(sequence of the first block, file)` of the newest generation found, ascending.
    files: Vec<(u64, FileIndex)>,
    /// First blocks of all files, of any generation.
    heads: Vec<(FileIndex, BlockHeader)>,
    /// Files whose beginning cannot be read.
    unknown: Vec<FileIndex>,
    /// Blocks in such files.
    surveyed: BTreeMap<(u64, u64), Candidate>,
    at: usize,
    position: u64,
    /// Bytes that the block at the position has; 0 while that is not known.
    bytes: usize,
    expected: u64,
    step: Step,
    damages: Vec<Damage>,
}

impl Search {
    fn new(mut places: Vec<Spot>) -> Search {
        places.reverse();
        Search { places, bytes: ALIGNMENT, found: BTreeMap::new() }
    }

    fn want(&self) -> Option<Wanted> {
        let spot = self.places.last()?;
        Some(Wanted { file: spot.file, position: spot.position, bytes: self.bytes })
    }

    /// Looks for blocks from the wanted place on, as far as `content` goes.
    fn feed(&mut self, content: &[u8], core: u16, from: (u64, u64)) {
        let spot = self.places.last_mut().expect("something was wanted");
        let complete = content.len() < self.bytes;
        if content.is_empty() {
            self.places.pop();
            self.bytes = ALIGNMENT;
            return;
        }
        let mut at = 0;
        while at < content.len() {
            let rest = &content[at..];
            let header = BlockHeader::decode(rest).filter(|h| h.core == core && (h.generation, h.sequence) >= from);
            let mut bytes = ALIGNMENT;
            if let Some(header) = header {
                let length = header.bytes as usize;
                if length > rest.len() && !(complete && at == 0) {
                    // Cut off; at the file's end it is none.
                    spot.position += at as u64;
                    self.bytes = length;
                    return;
                }
                let sound = rest.get(..length).is_some_and(|block| decode_entries(block).is_some());
                let found = Candidate {
                    spot: Spot { file: spot.file, position: spot.position + at as u64 },
                    bytes: length,
                    sound,
                    durable: header.sequence_durable(),
                };
                let known = self.found.entry((header.generation, header.sequence)).or_insert(found);
                if sound && !known.sound {
                    *known = found;
                }
                if sound {
                    bytes = length.next_multiple_of(ALIGNMENT);
                }
            }
            at += bytes;
        }
        spot.position += at as u64;
        self.bytes = ALIGNMENT;
    }
}

impl Replay {
    /// A replay of the files whose `heads` these are: the first [`HEAD_BYTES`] of each, fewer where the file is
    /// shorter. `None` if no block can be in them. `checkpoints` are generations, and the sequence up to which blocks
    /// of each are not needed; blocks of older generations are not needed either, unless `older_needed`.
    pub fn new(
        core: u16,
        heads: &[(FileIndex, Vec<u8>)],
        checkpoints: &[(u64, u64)],
        older_needed: bool,
    ) -> Option<Replay> {
        let decode = |(file, head): &(FileIndex, Vec<u8>)| Some((*file, BlockHeader::decode(head)?));
        let known: Vec<(FileIndex, BlockHeader)> =
            heads.iter().filter_map(decode).filter(|(_, header)| header.core == core).collect();
        let unread = |(file, head): &&(FileIndex, Vec<u8>)| {
            known.iter().all(|(other, _)| other != file) && head.iter().any(|byte| *byte != 0)
        };
        let unknown: Vec<FileIndex> = heads.iter().filter(unread).map(|(file, _)| *file).collect();
        if known.is_empty() && unknown.is_empty() {
            return None;
        }
        let latest = checkpoints.iter().map(|(generation, _)| *generation).max().unwrap_or(0);
        let oldest = if older_needed { 0 } else { latest };
        let survey = unknown.iter().map(|file| Spot { file: *file, position: 0 }).collect();
        let mut replay = Replay {
            core,
            generation: oldest,
            covered: 0,
            checkpoints: checkpoints.to_vec(),
            files: Vec::new(),
            heads: known,
            unknown,
            surveyed: BTreeMap::new(),
            at: 0,
            position: 0,
            bytes: 0,
            expected: 0,
            step: Step::Survey(Search::new(survey)),
            damages: Vec::new(),
        };
        replay.settle();
        Some(replay)
    }

    /// The generation that is read. It is certain once [`Replay::is_surveyed`].
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether all files are known, so that the first block can be wanted.
    pub fn is_surveyed(&self) -> bool {
        !matches!(self.step, Step::Survey(_))
    }

    /// Files that hold blocks of the generation, or what cannot be read.
    pub fn files(&self) -> impl Iterator<Item = FileIndex> {
        self.files.iter().map(|(_, file)| *file).chain(self.unknown.iter().copied())
    }

    /// The blocks that were durable and cannot be read, as far as the replay has come.
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// Goes on to the next step where one has come to its end.
    fn settle(&mut self) {
        loop {
            match &mut self.step {
                Step::Survey(search) if search.places.is_empty() => {
                    self.surveyed = std::mem::take(&mut search.found);
                    self.begin();
                }
                Step::Search(search) if search.places.is_empty() => {
                    let found = std::mem::take(&mut search.found);
                    self.judge(found);
                }
                _ => return,
            }
        }
    }

    /// Chooses the generation and the file to begin with.
    fn begin(&mut self) {
        let sound = self.surveyed.iter().filter(|(_, found)| found.sound).map(|((generation, _), _)| *generation);
        let newest = self.heads.iter().map(|(_, header)| header.generation).chain(sound).max();
        let Some(newest) = newest.filter(|newest| *newest >= self.generation) else {
            self.step = Step::End;
            return;
        };
        self.generation = newest;
        let covered = self.checkpoints.iter().filter(|(generation, _)| *generation == newest);
        self.covered = covered.map(|(_, sequence)| *sequence).max().unwrap_or(0);
        let ours = self.heads.iter().filter(|(_, header)| header.generation == newest);
        self.files = ours.map(|(file, header)| (header.sequence, *file)).collect();
        self.files.sort_unstable();
        if self.checkpoints.iter().any(|(generation, _)| *generation > newest) {
            // The start after it has recovered, so the checkpoint that covered released blocks may be gone.
            let surveyed = self.surveyed.keys().filter(|(generation, _)| *generation == newest);
            let first = self.files.iter().map(|(first, _)| *first).chain(surveyed.map(|(_, sequence)| *sequence)).min();
            self.covered = self.covered.max(first.map_or(0, |first| first - 1));
        }
        self.step = Step::Walk;
        // The last file that begins at or before the first block that is wanted.
        match self.files.iter().rposition(|(first, _)| *first <= self.covered + 1) {
            Some(at) => (self.at, self.expected) = (at, self.files[at].0),
            None => {
                self.expected = self.covered + 1;
                self.search();
            }
        }
    }

    /// The bytes that [`Replay::feed`] is to be given next; `None` if the replay is at its end.
    pub fn want(&self) -> Option<Wanted> {
        match &self.step {
            Step::Survey(search) | Step::Search(search) => search.want(),
            Step::Walk => {
                let (_, file) = self.files[self.at];
                Some(Wanted { file, position: self.position, bytes: self.bytes.max(ALIGNMENT) })
            }
            Step::List(list) => {
                let (_, next) = list.last().expect("a list that is empty has ended");
                Some(Wanted { file: next.spot.file, position: next.spot.position, bytes: next.bytes })
            }
            Step::End => None,
        }
    }

    /// Looks at `content`, the bytes of the wanted file from the wanted position on (none at its end).
    pub fn feed(&mut self, content: &[u8]) -> Option<Block> {
        match &mut self.step {
            Step::Survey(search) => {
                search.feed(content, self.core, (self.generation, 0));
                self.settle();
                None
            }
            Step::Search(search) => {
                search.feed(content, self.core, (self.generation, self.expected));
                self.settle();
                None
            }
            Step::Walk => self.walk(content),
            Step::List(_) => self.listed(content),
            Step::End => None,
        }
    }

    fn walk(&mut self, content: &[u8]) -> Option<Block> {
        let header = BlockHeader::decode(content)
            .filter(|h| h.generation == self.generation && h.core == self.core && h.sequence == self.expected);
        let asked = std::mem::take(&mut self.bytes);
        let Some(header) = header else {
            // The block may stand at the beginning of the next file.
            match self.files.get(self.at + 1) {
                Some((first, _)) if *first == self.expected => (self.at, self.position) = (self.at + 1, 0),
                _ => self.search(),
            }
            return None;
        };
        let bytes = header.bytes as usize;
        if content.len() < bytes && asked == 0 {
            self.bytes = bytes;
            return None;
        }
        let needed = header.sequence > self.covered;
        let entries = match content.get(..bytes) {
            Some(_) if !needed => Some(Vec::new()),
            Some(block) => decode_entries(block),
            None => None,
        };
        let Some(entries) = entries else {
            self.search();
            return None;
        };
        self.position += bytes.next_multiple_of(ALIGNMENT) as u64;
        self.expected += 1;
        needed.then_some(Block { sequence: header.sequence, entries, damaged: false })
    }

    /// Looks for the expected block, which is not where it should be, and for all later ones, in what follows.
    fn search(&mut self) {
        let mut places = Vec::new();
        let mut later = 0;
        if let Some((first, file)) = self.files.get(self.at)
            && *first <= self.expected
        {
            places.push(Spot { file: *file, position: self.position });
            later = self.at + 1;
        }
        places.extend(self.files[later..].iter().map(|(_, file)| Spot { file: *file, position: 0 }));
        self.step = Step::Search(Search::new(places));
        self.settle();
    }

    /// Ends the search: shows what later blocks prove to have been durable, and nothing else.
    fn judge(&mut self, found: BTreeMap<(u64, u64), Candidate>) {
        let surveyed = std::mem::take(&mut self.surveyed);
        let mut all: BTreeMap<u64, Candidate> = BTreeMap::new();
        for ((generation, sequence), candidate) in surveyed.into_iter().chain(found) {
            if generation == self.generation && sequence >= self.expected {
                let known = all.entry(sequence).or_insert(candidate);
                if candidate.sound && !known.sound {
                    *known = candidate;
                }
            }
        }
        let durable = all.values().filter(|found| found.sound).map(|found| found.durable).max().unwrap_or(0);
        let durable = durable.max(self.covered);
        self.guess_first(&mut all, durable);
        let (mut expected, mut list) = (self.expected, Vec::new());
        let mut end = self.spot();
        for (sequence, candidate) in all {
            if sequence > expected && durable >= expected {
                let last = durable.min(sequence - 1);
                self.damaged(end, expected, last);
                expected = last + 1;
            }
            if sequence > expected || (!candidate.sound && durable < sequence) {
                break;
            }
            if sequence > self.covered {
                list.push((sequence, candidate));
            }
            let bytes = (candidate.bytes as u64).next_multiple_of(ALIGNMENT as u64);
            end = Spot { position: candidate.spot.position + bytes, ..candidate.spot };
            expected = sequence + 1;
        }
        list.reverse();
        self.step = if list.is_empty() { Step::End } else { Step::List(list) };
    }

    fn spot(&self) -> Spot {
        let file = self.files.get(self.at).or(self.files.first()).map(|(_, file)| *file);
        Spot { file: file.or(self.unknown.first().copied()).unwrap_or(0), position: self.position }
    }

    /// Adds the expected block to `all`, if its place is known although its header cannot be read: its entries may be
    /// readable.
    fn guess_first(&self, all: &mut BTreeMap<u64, Candidate>, durable: u64) {
        if all.contains_key(&self.expected) || durable < self.expected {
            return;
        }
        let walked = self.files.get(self.at).filter(|(first, _)| *first <= self.expected).map(|_| self.spot());
        let unknown = self.unknown.iter().map(|file| Spot { file: *file, position: 0 });
        for spot in walked.into_iter().chain(unknown) {
            let others = all.values().map(|found| found.spot).filter(|other| other.file == spot.file);
            if let Some(next) = others.filter(|other| other.position > spot.position).min() {
                let bytes = (next.position - spot.position) as usize;
                all.insert(self.expected, Candidate { spot, bytes, sound: false, durable: 0 });
                return;
            }
        }
    }

    fn damaged(&mut self, spot: Spot, sequence_first: u64, sequence_last: u64) {
        let sequence_first = sequence_first.max(self.covered + 1);
        if sequence_first <= sequence_last {
            self.note(Damage { spot, sequence_first, sequence_last, complete: false });
        }
    }

    /// Notes damage, unless a checkpoint of a later generation stands: that generation's blocks are written over this
    /// one's, and only when checkpoints hold what these said.
    fn note(&mut self, damage: Damage) {
        if self.checkpoints.iter().all(|(generation, _)| *generation <= self.generation) {
            self.damages.push(damage);
        }
    }

    /// The next block of what a search found.
    fn listed(&mut self, content: &[u8]) -> Option<Block> {
        let Step::List(list) = &mut self.step else { unreachable!("asked for a listed block") };
        let (sequence, found) = list.pop().expect("a list that is empty has ended");
        if list.is_empty() {
            self.step = Step::End;
        }
        let content = &content[..found.bytes.min(content.len())];
        if found.sound
            && let Some(entries) = decode_entries(content)
        {
            return Some(Block { sequence, entries, damaged: false });
        }
        let (entries, complete) = salvage_entries(content, (self.generation, sequence));
        let (first, last) = (sequence, sequence);
        self.note(Damage { spot: found.spot, sequence_first: first, sequence_last: last, complete });
        Some(Block { sequence, entries, damaged: true })
    }
}
