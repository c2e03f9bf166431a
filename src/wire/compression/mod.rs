//! Compression of a batch's records: all at once for who holds them in memory ([`compress`], [`decompress`]), and in pieces
//! for the broker ([`Unpack`], [`Pack`]).

mod gzip;
mod input;
mod lz4;
mod pack;
mod snappy;
mod unpack;
mod zstd;

pub use self::input::{UnpackError, WINDOW_BYTES_MAX, Workspace};
pub use self::pack::Pack;
pub use self::unpack::{Piece, Unpack};

use super::batch::Compression;
use std::io::{Read, Write};

/// Snappy as Kafka's clients write it: snappy-java's stream, which begins with these bytes, a version and a minimum version
/// (int32 each); then blocks, each behind its length (int32). Some clients write one raw block instead.
const SNAPPY_JAVA_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const SNAPPY_JAVA_HEADER_BYTES: usize = 16;

/// How records are to be compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Codec {
    /// The format.
    pub compression: Compression,
    /// Of gzip and zstd; `None` is the codec's own choice. The others have one level.
    pub level: Option<i32>,
}

impl Codec {
    fn gzip_level(self) -> flate2::Compression {
        self.level.and_then(|level| u32::try_from(level).ok()).map(flate2::Compression::new).unwrap_or_default()
    }

    fn zstd_level(self) -> i32 {
        self.level.unwrap_or(::zstd::DEFAULT_COMPRESSION_LEVEL)
    }
}

/// Why bytes do not decompress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecompressError {
    /// They are not what they claim to be.
    Corrupt,
    /// They become more than is allowed.
    TooLarge,
}

/// The bytes in compressed form.
pub fn compress(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    const TO_MEMORY: &str = "writing to memory does not fail";
    let out = Vec::with_capacity(bytes.len() / 2);
    match codec.compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(out, codec.gzip_level());
            writer.write_all(bytes).and_then(|()| writer.finish()).expect(TO_MEMORY)
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(bytes).expect("a batch is below snappy's 4 GiB"),
        Compression::Lz4 => {
            let mut writer = lz4_flex::frame::FrameEncoder::new(out);
            writer.write_all(bytes).expect(TO_MEMORY);
            writer.finish().expect(TO_MEMORY)
        }
        Compression::Zstd => ::zstd::encode_all(bytes, codec.zstd_level()).expect(TO_MEMORY),
    }
}

/// The records, at most `bytes_max` of them.
pub fn decompress(compression: Compression, bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecompressError> {
    match compression {
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => read_all(flate2::read::MultiGzDecoder::new(bytes), bytes_max),
        Compression::Snappy => snappy(bytes, bytes_max),
        Compression::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(bytes), bytes_max),
        Compression::Zstd => {
            let decoder = ::zstd::stream::read::Decoder::new(bytes).map_err(|_| DecompressError::Corrupt)?;
            read_all(decoder, bytes_max)
        }
    }
}

fn read_all(reader: impl Read, bytes_max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut out).map_err(|_| DecompressError::Corrupt)?;
    if out.len() > bytes_max { Err(DecompressError::TooLarge) } else { Ok(out) }
}

fn snappy(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    if !bytes.starts_with(&SNAPPY_JAVA_MAGIC) {
        snappy_block(bytes, bytes_max, &mut out)?;
        return Ok(out);
    }
    let mut rest = bytes.get(SNAPPY_JAVA_HEADER_BYTES..).ok_or(DecompressError::Corrupt)?;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        snappy_block(after.get(..length).ok_or(DecompressError::Corrupt)?, bytes_max, &mut out)?;
        rest = &after[length..];
    }
    if rest.is_empty() { Ok(out) } else { Err(DecompressError::Corrupt) }
}

fn snappy_block(block: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let length = snap::raw::decompress_len(block).map_err(|_| DecompressError::Corrupt)?;
    // The claimed length sizes the buffer: a block expands at most about 21-fold, so a larger claim is a lie.
    if length > block.len().saturating_mul(32) {
        return Err(DecompressError::Corrupt);
    }
    if out.len() + length > bytes_max {
        return Err(DecompressError::TooLarge);
    }
    out.append(&mut snap::raw::Decoder::new().decompress_vec(block).map_err(|_| DecompressError::Corrupt)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn text() -> Vec<u8> {
        b"a record, and the like of it again: ".repeat(100)
    }

    fn samples() -> Vec<(Compression, Vec<u8>)> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text()).unwrap();
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&text()).unwrap();
        let block = snap::raw::Encoder::new().compress_vec(&text()).unwrap();
        let mut java = [&SNAPPY_JAVA_MAGIC[..], &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        java.extend((block.len() as u32).to_be_bytes());
        java.extend(&block);
        vec![
            (Compression::None, text()),
            (Compression::Gzip, gzip.finish().unwrap()),
            (Compression::Snappy, block),
            (Compression::Snappy, java),
            (Compression::Lz4, lz4.finish().unwrap()),
            (Compression::Zstd, ::zstd::encode_all(&text()[..], 1).unwrap()),
        ]
    }

    #[test]
    fn every_compression_is_read() {
        for (compression, bytes) in samples() {
            assert_eq!(decompress(compression, &bytes, 1 << 20), Ok(text()), "{compression:?}");
        }
    }

    #[test]
    fn what_is_compressed_is_read_back() {
        let mut sizes = Vec::new();
        for (compression, level) in [
            (Compression::None, None),
            (Compression::Snappy, None),
            (Compression::Lz4, None),
            (Compression::Gzip, None),
            (Compression::Gzip, Some(-1)),
            (Compression::Gzip, Some(9)),
            (Compression::Zstd, Some(1)),
            (Compression::Zstd, Some(22)),
        ] {
            let packed = compress(Codec { compression, level }, &text());
            assert_eq!(decompress(compression, &packed, text().len()), Ok(text()), "{compression:?} {level:?}");
            sizes.push(packed.len());
        }
        assert!(sizes[1..].iter().all(|size| *size < text().len() / 2), "{sizes:?}");
        let fastest = Codec { compression: Compression::Zstd, level: Some(-131_072) };
        assert!(compress(fastest, &text()).len() > sizes[6], "levels are obeyed");
    }

    #[test]
    fn lies_and_bombs_are_refused() {
        for (compression, bytes) in samples().into_iter().skip(1) {
            let too_large = decompress(compression, &bytes, text().len() - 1);
            assert_eq!(too_large, Err(DecompressError::TooLarge), "{compression:?}");
            for lie in [&bytes[..bytes.len() / 2], &[0xff; 40]] {
                assert_eq!(decompress(compression, lie, 1 << 20), Err(DecompressError::Corrupt), "{compression:?}");
            }
        }
    }
}
