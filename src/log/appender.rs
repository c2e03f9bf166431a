//! How batches get to the end of a segment's file by direct I/O: in whole pages, the first of them with what it holds
//! already, and into room that was made before.
//!
//! A pure machine for one file that is written from its end on. Whoever has the file asks [`Appender::want`] what has to be
//! read first, shows it to [`Appender::feed`], and carries out what [`Appender::plan`] returns.

use super::reading::SegmentFile;
use super::{Close, Flush, SegmentId};
use bytes::Bytes;

/// The unit of direct I/O.
pub const PAGE_BYTES: u64 = 4096;
/// A segment file grows by doubling, and by this much at the most.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const GROWTH_BYTES_MIN: u64 = 64 << 10;

/// What the file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appender {
    segment: SegmentId,
    allocated: u64,
    end: u64,
    /// The last page as far as it is filled; `None` if that is not known.
    page: Option<Vec<u8>>,
}

/// A write of whole pages: [`Appender::head`], then the batches, then zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageWrite {
    /// The file must be as long as this before, if it is not yet.
    pub grow: Option<u64>,
    /// Where in the file the write begins: at a page.
    pub position: u64,
    /// How long it is: whole pages.
    pub bytes: usize,
}

/// A file ends before the batches that it should hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated;

/// A part of closing a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseStep {
    /// The batches' file gets this length. It is there, and as long at least.
    Cut(u64),
    /// The file gets this content.
    Write(SegmentFile, Bytes),
}

impl Close {
    /// What is to be done, in this order.
    pub fn steps(&self) -> [CloseStep; 3] {
        assert!(self.bytes > 0, "a segment that is closed holds a batch");
        [
            CloseStep::Cut(u64::from(self.bytes)),
            CloseStep::Write(SegmentFile::Index, self.index.clone()),
            CloseStep::Write(SegmentFile::TimeIndex, self.timeindex.clone()),
        ]
    }
}

fn page_start(position: u64) -> u64 {
    position / PAGE_BYTES * PAGE_BYTES
}

impl Appender {
    /// A file of `allocated` bytes, of which the first `end` are batches.
    pub fn new(segment: SegmentId, end: u64, allocated: u64) -> Appender {
        let page = (end == page_start(end)).then(Vec::new);
        Appender { segment, allocated, end, page }
    }

    /// The segment that the file is of.
    pub fn segment(&self) -> SegmentId {
        self.segment
    }

    /// Whether these batches follow those in the file: if not, it is another one, or what is known of it is not true.
    pub fn is_for(&self, flush: &Flush) -> bool {
        (flush.segment, u64::from(flush.position)) == (self.segment, self.end)
    }

    /// Where the batches end.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The page that has to be read before a write, and how much of it is batches; `None` if it is known.
    pub fn want(&self) -> Option<(u64, usize)> {
        let start = page_start(self.end);
        self.page.is_none().then_some((start, (self.end - start) as usize))
    }

    /// Takes the page that was wanted.
    pub fn feed(&mut self, page: &[u8]) -> Result<(), Truncated> {
        let (_, bytes) = self.want().expect("a page is wanted");
        self.page = Some(page.get(..bytes).ok_or(Truncated)?.to_vec());
        Ok(())
    }

    /// What the first page that is written holds already.
    pub fn head(&self) -> &[u8] {
        self.page.as_deref().expect("the page was read before")
    }

    /// How to write these batches. A segment is about as large as `segment_bytes` at the most.
    pub fn plan(&self, flush: &Flush, segment_bytes: u32) -> PageWrite {
        assert!(self.is_for(flush), "batches follow each other");
        let position = page_start(self.end);
        let bytes = (self.head().len() + flush.bytes).next_multiple_of(PAGE_BYTES as usize);
        let end = position + bytes as u64;
        let grow = (end > self.allocated).then(|| {
            let ceiling = (u64::from(segment_bytes) + PAGE_BYTES).next_multiple_of(PAGE_BYTES).max(end);
            let doubled = end.next_power_of_two().max(GROWTH_BYTES_MIN);
            doubled.min(end + GROWTH_BYTES_MAX).min(ceiling).next_multiple_of(PAGE_BYTES)
        });
        PageWrite { grow, position, bytes }
    }

    /// The file is so long.
    pub fn grown(&mut self, allocated: u64) {
        self.allocated = self.allocated.max(allocated);
    }

    /// A write was done; `written` are its pages, of which all beyond the batches are zeros.
    pub fn written(&mut self, flush: &Flush, written: &[u8]) {
        let start = page_start(self.end);
        self.end += flush.bytes as u64;
        assert!(self.end <= start + written.len() as u64 && start + written.len() as u64 <= self.allocated);
        let last = (page_start(self.end) - start) as usize;
        self.page = Some(written[last..(self.end - start) as usize].to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: SegmentId = SegmentId { base: 7, generation: 0 };

    fn flush(position: u32, content: &[u8]) -> Flush {
        let parts = vec![Bytes::copy_from_slice(content)];
        Flush { segment: SEGMENT, position, parts, bytes: content.len(), offset_end: 0, cut: false }
    }

    /// Carries out a write on a file in memory.
    fn write(appender: &mut Appender, file: &mut Vec<u8>, content: &[u8]) {
        let flush = flush(appender.end() as u32, content);
        if let Some((position, bytes)) = appender.want() {
            appender.feed(&file[position as usize..][..bytes.max(1)]).unwrap();
        }
        let plan = appender.plan(&flush, 1 << 20);
        if let Some(length) = plan.grow {
            file.resize(length as usize, 0);
            appender.grown(length);
        }
        let mut pages = [appender.head(), content].concat();
        pages.resize(plan.bytes, 0);
        assert!(plan.position.is_multiple_of(PAGE_BYTES) && (plan.bytes as u64).is_multiple_of(PAGE_BYTES));
        file[plan.position as usize..][..pages.len()].copy_from_slice(&pages);
        appender.written(&flush, &pages);
    }

    #[test]
    fn pages_that_are_written_again_keep_what_they_hold() {
        let (mut appender, mut file, mut all) = (Appender::new(SEGMENT, 0, 0), Vec::new(), Vec::new());
        for (number, bytes) in [100, 3996, 1, 5000, 70_000, 4095, 200_000].into_iter().enumerate() {
            let content = vec![number as u8 + 1; bytes];
            write(&mut appender, &mut file, &content);
            all.extend_from_slice(&content);
            assert_eq!((appender.end(), &file[..all.len()]), (all.len() as u64, &all[..]));
            assert!(file[all.len()..].iter().all(|byte| *byte == 0) && file.len().is_multiple_of(64 << 10));
            // Another process goes on where this one ended.
            if number % 2 == 0 {
                appender = Appender::new(SEGMENT, appender.end(), file.len() as u64);
            }
        }
    }

    #[test]
    fn a_file_grows_by_doubling_up_to_its_limit() {
        let grow = |end: u64, bytes, limit| {
            let mut appender = Appender::new(SEGMENT, end, end);
            if let Some((_, head)) = appender.want() {
                appender.feed(&vec![0; head]).unwrap();
            }
            let content = vec![1; bytes];
            appender.plan(&flush(end as u32, &content), limit).grow
        };
        let (mib, most) = (1 << 20, u32::MAX / 2);
        assert_eq!(grow(0, 1, most), Some(64 << 10));
        assert_eq!(grow(mib, 1, most), Some(2 * mib));
        assert_eq!(grow(700 * mib, 1, most), Some(764 * mib + 4096));
        assert_eq!(grow(mib, 1, 1 << 20), Some(mib + 4096), "the limit, and what a last batch needs");
        assert_eq!(Appender::new(SEGMENT, 0, 64 << 10).plan(&flush(0, &[1]), 1 << 20).grow, None);
    }

    #[test]
    fn a_file_that_is_too_short_is_not_written() {
        let mut appender = Appender::new(SEGMENT, 5000, 8192);
        assert_eq!(appender.want(), Some((4096, 904)));
        assert_eq!(appender.feed(&[0; 903]), Err(Truncated));
    }
}
