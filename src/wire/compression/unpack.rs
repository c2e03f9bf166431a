//! Decompression in pieces: records are walked without ever being in memory as a whole.
//!
//! What is accepted is what every client reads, which is less than what some do: one gzip member, one lz4 frame of
//! independent blocks (Kafka's Java client reads no others), one zstd frame; nothing behind it.

use super::super::batch::Compression;
use super::gzip::Gzip;
use super::input::{PIECE_BYTES, UnpackError, Workspace};
use super::lz4::Lz4;
use super::snappy::Snappy;
use super::zstd::Zstd;

/// What a compressed byte may cost whatever becomes of it, and a decompressed one of each kind: nanoseconds, about.
const INPUT_COST: usize = 8;
const PLAIN_COST_SHIFT: u32 = 3;
const GZIP_COST: usize = 3;

/// One decompression under way. The compressed bytes are not part of it: each call is shown all of them.
pub struct Unpack {
    /// Where in the compressed bytes the next piece begins.
    at: usize,
    /// All of them have been seen and are sound.
    ended: bool,
    state: State,
}

enum State {
    Plain,
    Gzip(Gzip),
    Snappy(Snappy),
    Lz4(Lz4),
    Zstd(Zstd),
}

/// Some of the decompressed bytes, perhaps none.
pub struct Piece<'a> {
    /// The bytes that have become readable.
    pub bytes: &'a [u8],
    /// What it took to make it: nanoseconds, about, on a machine of no particular kind.
    pub cost: usize,
}

impl Unpack {
    /// Nothing is unpacked yet.
    pub fn new(compression: Compression) -> Unpack {
        let state = match compression {
            Compression::None => State::Plain,
            Compression::Gzip => State::Gzip(Gzip::default()),
            Compression::Snappy => State::Snappy(Snappy::default()),
            Compression::Lz4 => State::Lz4(Lz4::default()),
            Compression::Zstd => State::Zstd(Zstd::default()),
        };
        Unpack { at: 0, ended: false, state }
    }

    /// The next piece of what `input` becomes; `None` once all of it has been seen and is sound. `input` is the same each time.
    pub fn next<'a>(
        &mut self,
        input: &'a [u8],
        workspace: &'a mut Workspace,
    ) -> Result<Option<Piece<'a>>, UnpackError> {
        if self.ended {
            return Ok(None);
        }
        let before = self.at;
        let bytes = match &mut self.state {
            State::Plain => plain(input, &mut self.at),
            State::Gzip(gzip) => gzip.next(input, &mut self.at, workspace)?,
            State::Snappy(snappy) => snappy.next(input, &mut self.at, workspace)?,
            State::Lz4(lz4) => lz4.next(input, &mut self.at, workspace)?,
            State::Zstd(zstd) => zstd.next(input, &mut self.at, workspace)?,
        };
        assert!(before <= self.at && self.at <= input.len(), "a codec reads what there is, once");
        let read = self.at - before;
        match bytes {
            Some(bytes) => {
                let cost = match self.state {
                    State::Plain => bytes.len() >> PLAIN_COST_SHIFT,
                    State::Gzip(_) => (GZIP_COST * bytes.len()).max(INPUT_COST * read),
                    _ => bytes.len().max(INPUT_COST * read),
                };
                Ok(Some(Piece { bytes, cost: cost.max(1) }))
            }
            None if self.at < input.len() => Err(UnpackError::Corrupt),
            None => {
                self.ended = true;
                Ok(None)
            }
        }
    }

    /// Leaves what the next decompression can use.
    pub fn end(self, workspace: &mut Workspace) {
        match self.state {
            State::Gzip(gzip) => gzip.end(workspace),
            State::Zstd(zstd) => zstd.end(workspace),
            _ => {}
        }
    }
}

fn plain<'a>(input: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = &input[*at..];
    let piece = &rest[..rest.len().min(PIECE_BYTES)];
    *at += piece.len();
    (!piece.is_empty()).then_some(piece)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::compression::{Codec, Pack, WINDOW_BYTES_MAX, compress, lz4::XxHash};
    use std::io::Write;

    const PACKED: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn unpack(compression: Compression, input: &[u8], workspace: &mut Workspace) -> Result<Vec<u8>, UnpackError> {
        let (mut unpack, mut out) = (Unpack::new(compression), Vec::new());
        while let Some(piece) = unpack.next(input, workspace)? {
            assert!(piece.cost >= piece.bytes.len() >> PLAIN_COST_SHIFT && piece.cost > 0);
            out.extend_from_slice(piece.bytes);
        }
        assert!(matches!(unpack.next(input, workspace), Ok(None)), "the end stays the end");
        unpack.end(workspace);
        match compression {
            Compression::Gzip => assert!(workspace.inflate.is_some(), "the next one need not make it"),
            Compression::Zstd => assert!(workspace.zstd.is_some(), "the next one need not make it"),
            _ => {}
        }
        Ok(out)
    }

    fn once(compression: Compression, input: &[u8]) -> Result<Vec<u8>, UnpackError> {
        unpack(compression, input, &mut Workspace::default())
    }

    /// Bytes that compress, but not to nothing.
    fn text(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 24
        };
        let mut out = Vec::with_capacity(length + 64);
        while out.len() < length {
            out.extend(std::iter::repeat_n(b'a' + (next() % 20) as u8, 1 + (next() % 7) as usize));
        }
        out.truncate(length);
        out
    }

    fn pack(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut pack = Pack::new(Codec { compression, level: None });
        bytes.chunks(10_007).for_each(|piece| pack.write(piece));
        pack.finish()
    }

    #[test]
    fn what_was_compressed_comes_back_in_pieces() {
        let mut workspace = Workspace::default();
        for length in [0, 1, 100, 32 << 10, (64 << 10) + 1, 3_000_000] {
            let bytes = text(length);
            for compression in [&PACKED[..], &[Compression::None]].concat() {
                for packed in [pack(compression, &bytes), compress(Codec { compression, level: None }, &bytes)] {
                    let back = unpack(compression, &packed, &mut workspace);
                    assert!(back == Ok(bytes.clone()), "{compression:?} {length}");
                }
            }
        }
    }

    #[test]
    fn what_ends_early_or_goes_on_is_refused() {
        let bytes = text(5000);
        for compression in PACKED {
            let packed = pack(compression, &bytes);
            for end in 0..packed.len() {
                let cut = once(compression, &packed[..end]);
                // A stream of blocks may end after any of them.
                let whole_blocks = compression == Compression::Snappy && end == 16;
                assert_eq!(cut.is_ok(), whole_blocks, "{compression:?} {end}");
            }
            for behind in [&[0][..], &packed] {
                let more = [&packed, behind].concat();
                assert_eq!(once(compression, &more), Err(UnpackError::Corrupt), "{compression:?}");
            }
        }
        let raw = compress(Codec { compression: Compression::Snappy, level: None }, &bytes);
        assert!((0..raw.len()).all(|end| once(Compression::Snappy, &raw[..end]).is_err()));
        assert_eq!(once(Compression::Snappy, &[&raw[..], &raw].concat()), Err(UnpackError::Corrupt));
    }

    #[test]
    fn changed_bytes_are_survived_and_mostly_seen() {
        let bytes = text(3000);
        let mut workspace = Workspace::default();
        for compression in PACKED {
            for packed in [pack(compression, &bytes), compress(Codec { compression, level: None }, &bytes)] {
                for at in 0..packed.len() {
                    for value in [0, 1, 0x7f, 0x80, 0xff] {
                        let mut changed = packed.clone();
                        changed[at] = value;
                        if let Ok(out) = unpack(compression, &changed, &mut workspace) {
                            assert!(out.len() <= 255 * packed.len());
                        }
                    }
                }
                assert!(unpack(compression, &packed, &mut workspace) == Ok(bytes.clone()), "the workspace is sound");
            }
        }
    }

    #[test]
    fn a_large_snappy_block_is_decompressed_in_pieces() {
        let mut bytes = text(1 << 20);
        bytes.extend(vec![7; 1 << 20]);
        bytes.extend(text(1 << 20));
        let packed = compress(Codec { compression: Compression::Snappy, level: None }, &bytes);
        let mut workspace = Workspace::default();
        let mut unpacking = Unpack::new(Compression::Snappy);
        let mut out = Vec::new();
        while let Some(piece) = unpacking.next(&packed, &mut workspace).expect("sound") {
            assert!(piece.bytes.len() <= PIECE_BYTES);
            out.extend_from_slice(piece.bytes);
        }
        assert!(out == bytes);
        for end in [packed.len() - 1, packed.len() / 2, 10] {
            assert_eq!(once(Compression::Snappy, &packed[..end]), Err(UnpackError::Corrupt));
        }
        assert_eq!(once(Compression::Snappy, &[&packed[..], &[0]].concat()), Err(UnpackError::Corrupt));
    }

    #[test]
    fn a_snappy_block_may_refer_back_by_the_window_and_no_further() {
        /// A block of one literal, a run that repeats it, then a copy from `offset` bytes ago.
        fn block(offset: u32) -> Vec<u8> {
            let run = 9 << 20;
            let mut block = Vec::new();
            let mut length = run + 64 + 64;
            while length >= 0x80 {
                block.push(length as u8 | 0x80);
                length >>= 7;
            }
            block.push(length as u8);
            block.extend([60 << 2, 63]);
            block.extend(0..64);
            for _ in 0..run / 64 {
                block.extend([63 << 2 | 2, 64, 0]);
            }
            block.push(63 << 2 | 3);
            block.extend(offset.to_le_bytes());
            block
        }
        let window = WINDOW_BYTES_MAX as u32;
        let out = once(Compression::Snappy, &block(window)).expect("within the window");
        assert!(out.chunks(64).all(|chunk| chunk.iter().copied().eq(0..64)));
        assert_eq!(once(Compression::Snappy, &block(window + 64)), Err(UnpackError::Window));
        assert_eq!(once(Compression::Snappy, &block(u32::MAX)), Err(UnpackError::Corrupt));
        assert_eq!(once(Compression::Snappy, &block(0)), Err(UnpackError::Corrupt));
    }

    #[test]
    fn gzip_with_every_header_field_is_read() {
        let bytes = text(1000);
        let mut encoder = flate2::GzBuilder::new()
            .filename("name")
            .comment("comment")
            .extra(vec![1, 2, 3])
            .mtime(7)
            .write(Vec::new(), flate2::Compression::best());
        encoder.write_all(&bytes).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(once(Compression::Gzip, &packed), Ok(bytes));
        for (at, value) in [(0, 0), (2, 7), (3, 0xff)] {
            let mut odd = packed.clone();
            odd[at] = value;
            assert_eq!(once(Compression::Gzip, &odd), Err(UnpackError::Corrupt));
        }
        for at in packed.len() - 8..packed.len() {
            let mut odd = packed.clone();
            odd[at] ^= 1;
            assert_eq!(once(Compression::Gzip, &odd), Err(UnpackError::Corrupt), "checksum and length");
        }
    }

    /// An lz4 frame of these flags around one block that is not compressed.
    fn lz4(flags: u8, optional: &[u8], checksum_from: usize, bytes: &[u8]) -> Vec<u8> {
        let mut frame = [&0x184d_2204u32.to_le_bytes()[..], &[flags, 0x40], optional].concat();
        frame.push((XxHash::of(&frame[checksum_from..]) >> 8) as u8);
        frame.extend((bytes.len() as u32 | 1 << 31).to_le_bytes());
        frame.extend(bytes);
        if flags & 0x10 != 0 {
            frame.extend(XxHash::of(bytes).to_le_bytes());
        }
        frame.extend([0; 4]);
        if flags & 0x04 != 0 {
            frame.extend(XxHash::of(bytes).to_le_bytes());
        }
        frame
    }

    #[test]
    fn lz4_frames_that_some_client_cannot_read_are_refused() {
        let bytes = b"twenty bytes, or near";
        let size = (bytes.len() as u64).to_le_bytes();
        let lz4 = |flags, optional: &[u8], from| once(Compression::Lz4, &lz4(flags, optional, from, bytes));
        assert_eq!(lz4(0x60, &[], 4), Ok(bytes.to_vec()));
        assert_eq!(lz4(0x7c, &size, 4), Ok(bytes.to_vec()), "checksums, and the content's size");
        assert_eq!(lz4(0x7c, &[9; 8], 4), Err(UnpackError::Corrupt), "the content's size is a lie");
        assert_eq!(lz4(0x40, &[], 4), Err(UnpackError::Lz4Frame), "blocks that depend on each other");
        assert_eq!(lz4(0x61, &[1; 4], 4), Err(UnpackError::Lz4Frame), "a dictionary");
        assert_eq!(lz4(0x60, &[], 0), Err(UnpackError::Lz4Frame), "the checksum of Kafka before 0.10");
        assert_eq!(lz4(0x60, &[], 5), Err(UnpackError::Corrupt), "a wrong checksum");
        assert_eq!(lz4(0x20, &[], 4), Err(UnpackError::Corrupt), "another version");
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(
            lz4_flex::frame::FrameInfo::new().block_checksums(true).content_checksum(true),
            Vec::new(),
        );
        encoder.write_all(&text(200_000)).unwrap();
        assert_eq!(once(Compression::Lz4, &encoder.finish().unwrap()), Ok(text(200_000)));
    }

    /// A zstd frame that declares a window of `1 << window_log` bytes and becomes blocks of 128 KiB of one byte.
    fn zstd_frame(window_log: u8, blocks: usize) -> Vec<u8> {
        const BLOCK_BYTES: u32 = 128 << 10;
        const RUN: u32 = 1 << 1;
        let mut frame = [&0xfd2f_b528u32.to_le_bytes()[..], &[0, (window_log - 10) << 3]].concat();
        for block in 1..=blocks {
            let last = u32::from(block == blocks);
            frame.extend(&(BLOCK_BYTES << 3 | RUN | last).to_le_bytes()[..3]);
            frame.push(b'r');
        }
        frame
    }

    #[test]
    fn a_zstd_frame_of_a_large_window_is_read_while_it_is_small() {
        let length = |window_log, blocks| once(Compression::Zstd, &zstd_frame(window_log, blocks)).map(|out| out.len());
        assert_eq!(length(23, 65), Ok(65 << 17));
        assert_eq!(length(27, 64), Ok(WINDOW_BYTES_MAX));
        assert_eq!(length(27, 65), Err(UnpackError::Window));
        assert_eq!(length(28, 1), Err(UnpackError::Corrupt));
        let ultra = ::zstd::encode_all(&text(10_000)[..], 22).expect("to memory");
        assert_eq!(once(Compression::Zstd, &ultra), Ok(text(10_000)));
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4], &ultra[..]].concat();
        assert_eq!(once(Compression::Zstd, &skipped), Err(UnpackError::Corrupt), "a frame that is to be skipped");
    }
}
