//! Compression in pieces, for batches that are stored in another way than they came.

use super::{Codec, SNAPPY_JAVA_MAGIC};
use crate::wire::batch::Compression;
use ::zstd::zstd_safe::CParameter;
use std::io::Write;

/// Bytes of a block of snappy-java's stream, as snappy-java makes them.
const SNAPPY_BLOCK_BYTES: usize = 32 << 10;
/// The stream's version, and the oldest that reads it.
const SNAPPY_JAVA_VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// zstd refers back this far at most: its tables grow with the window, at the highest level to a gigabyte.
const ZSTD_WINDOW_LOG: u32 = 20;
const TO_MEMORY: &str = "writing to memory does not fail";

/// One compression under way.
pub struct Pack(State);

enum State {
    Plain(Vec<u8>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Snappy { out: Vec<u8>, block: Vec<u8> },
    Lz4(Box<lz4_flex::frame::FrameEncoder<Vec<u8>>>),
    Zstd(::zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Pack {
    /// Begins a stream.
    pub fn new(codec: Codec) -> Pack {
        Pack(match codec.compression {
            Compression::None => State::Plain(Vec::new()),
            Compression::Gzip => State::Gzip(flate2::write::GzEncoder::new(Vec::new(), codec.gzip_level())),
            Compression::Snappy => {
                let out = [&SNAPPY_JAVA_MAGIC[..], &SNAPPY_JAVA_VERSIONS].concat();
                State::Snappy { out, block: Vec::with_capacity(SNAPPY_BLOCK_BYTES) }
            }
            Compression::Lz4 => State::Lz4(Box::new(lz4_flex::frame::FrameEncoder::new(Vec::new()))),
            Compression::Zstd => {
                const LEVEL_IS_CHECKED: &str = "a level out of zstd's range counts as the nearest";
                let mut encoder =
                    ::zstd::stream::write::Encoder::new(Vec::new(), codec.zstd_level()).expect(LEVEL_IS_CHECKED);
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_LOG)).expect("zstd has such a window");
                State::Zstd(encoder)
            }
        })
    }

    /// Adds bytes to what is compressed.
    pub fn write(&mut self, mut bytes: &[u8]) {
        match &mut self.0 {
            State::Plain(out) => out.extend_from_slice(bytes),
            State::Gzip(encoder) => encoder.write_all(bytes).expect(TO_MEMORY),
            State::Lz4(encoder) => encoder.write_all(bytes).expect(TO_MEMORY),
            State::Zstd(encoder) => encoder.write_all(bytes).expect(TO_MEMORY),
            State::Snappy { out, block } => {
                while !bytes.is_empty() {
                    let (head, tail) = bytes.split_at(bytes.len().min(SNAPPY_BLOCK_BYTES - block.len()));
                    block.extend_from_slice(head);
                    bytes = tail;
                    if block.len() == SNAPPY_BLOCK_BYTES {
                        snappy_block(out, block);
                    }
                }
            }
        }
    }

    /// Compressed bytes so far; some may be held back.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            State::Plain(out) | State::Snappy { out, .. } => out.len(),
            State::Gzip(encoder) => encoder.get_ref().len(),
            State::Lz4(encoder) => encoder.get_ref().len(),
            State::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    /// Ends the stream, and returns all of it.
    pub fn finish(self) -> Vec<u8> {
        match self.0 {
            State::Plain(out) => out,
            State::Gzip(encoder) => encoder.finish().expect(TO_MEMORY),
            State::Lz4(encoder) => encoder.finish().expect(TO_MEMORY),
            State::Zstd(encoder) => encoder.finish().expect(TO_MEMORY),
            State::Snappy { mut out, mut block } => {
                if !block.is_empty() {
                    snappy_block(&mut out, &mut block);
                }
                out
            }
        }
    }
}

fn snappy_block(out: &mut Vec<u8>, block: &mut Vec<u8>) {
    let packed = snap::raw::Encoder::new().compress_vec(block).expect("a block is below snappy's 4 GiB");
    out.extend((packed.len() as u32).to_be_bytes());
    out.extend(packed);
    block.clear();
}
