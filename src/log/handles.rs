//! Files of segments that stay open for readers.

use super::SegmentId;
use super::reading::SegmentKey;
use crate::types::PartitionId;
use std::collections::VecDeque;

/// Open files by segment, the least recently used first.
#[derive(Debug)]
pub struct Handles<T> {
    open: VecDeque<(SegmentKey, T)>,
    open_max: usize,
    /// How often files were to be forgotten.
    forgets: u64,
}

/// Says when the opening of a file began: see [`Handles::keep`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening(u64);

impl<T: Clone> Handles<T> {
    /// At most `open_max` files stay open.
    pub fn new(open_max: usize) -> Handles<T> {
        assert!(open_max > 0, "the file that is read must be open");
        Handles { open: VecDeque::new(), open_max, forgets: 0 }
    }

    /// The segment's file, if it is open.
    pub fn get(&mut self, segment: SegmentKey) -> Option<T> {
        let at = self.open.iter().position(|(known, _)| *known == segment)?;
        let entry = self.open.remove(at).expect("it was just found");
        let file = entry.1.clone();
        self.open.push_back(entry);
        Some(file)
    }

    /// A file is about to be opened.
    pub fn opening(&self) -> Opening {
        Opening(self.forgets)
    }

    /// The file has been opened, and stays open unless files were to be forgotten meanwhile: it may be one of them.
    pub fn keep(&mut self, opening: Opening, segment: SegmentKey, file: T) {
        let twice = self.open.iter().any(|(known, _)| *known == segment);
        if opening == self.opening() && !twice {
            self.open.push_back((segment, file));
        }
        if self.open.len() > self.open_max {
            self.open.pop_front();
        }
        assert!(self.open.len() <= self.open_max);
    }

    /// Files of the partition are removed, and take up space as long as they are open: those of a segment, or all.
    pub fn forget(&mut self, partition: PartitionId, segment: Option<SegmentId>) {
        self.forgets += 1;
        self.open.retain(|(key, _)| !key.is_of(partition, segment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Offset, Uuid};

    fn key(topic: u8, base: Offset) -> SegmentKey {
        let partition = PartitionId { topic: Uuid([topic; 16]), index: 0 };
        SegmentKey { partition, segment: SegmentId::new(base, 0) }
    }

    #[test]
    fn the_least_recently_used_file_is_closed() {
        let mut handles = Handles::new(2);
        for (base, file) in [(0, 'a'), (10, 'b')] {
            handles.keep(handles.opening(), key(1, base), file);
        }
        assert_eq!(handles.get(key(1, 0)), Some('a'));
        handles.keep(handles.opening(), key(1, 20), 'c');
        assert_eq!([0, 10, 20].map(|base| handles.get(key(1, base))), [Some('a'), None, Some('c')]);
        handles.keep(handles.opening(), key(1, 20), 'd');
        assert_eq!(handles.get(key(1, 20)), Some('c'), "another reader was first");
    }

    #[test]
    fn a_file_that_is_forgotten_while_it_is_opened_does_not_stay_open() {
        let mut handles = Handles::new(9);
        handles.keep(handles.opening(), key(2, 0), 'a');
        let opening = handles.opening();
        handles.forget(key(1, 0).partition, None);
        handles.keep(opening, key(1, 0), 'b');
        assert_eq!((handles.get(key(1, 0)), handles.get(key(2, 0))), (None, Some('a')));
        handles.forget(key(2, 0).partition, Some(key(2, 10).segment));
        assert_eq!(handles.get(key(2, 0)), Some('a'), "another segment's was removed");
        handles.forget(key(2, 0).partition, Some(key(2, 0).segment));
        assert_eq!(handles.get(key(2, 0)), None);
    }
}
