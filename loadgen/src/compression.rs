//! The records of a batch, compressed as Kafka's clients do it, and back.

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use klamm::wire::batch::{Batch, Compression, HEADER_BYTES};
use std::borrow::Cow;
use std::io::{self, Read, Write};

/// What precedes xerial's framing of Snappy, which Kafka's clients write: a magic, version 1, compatible with 1.
const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// Most bytes that a batch's records may be once they are no longer compressed.
const PLAIN_BYTES_MAX: u64 = 1 << 30;

pub fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    const IN_MEMORY: &str = "writing to memory does not fail";
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY)
        }
        Compression::Snappy => {
            let mut out = XERIAL_HEADER.to_vec();
            for block in bytes.chunks(XERIAL_BLOCK_BYTES) {
                let block = snap::raw::Encoder::new().compress_vec(block).expect("a block is short");
                out.extend_from_slice(&(block.len() as u32).to_be_bytes());
                out.extend_from_slice(&block);
            }
            out
        }
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(bytes).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY)
        }
        Compression::Zstd => zstd::bulk::compress(bytes, zstd::DEFAULT_COMPRESSION_LEVEL).expect("zstd has its memory"),
    }
}

pub fn decompress(bytes: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => read_all(MultiGzDecoder::new(bytes)),
        Compression::Snappy => decompress_snappy(bytes),
        Compression::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(bytes)),
        Compression::Zstd => read_all(zstd::stream::read::Decoder::new(bytes)?),
    }
}

/// Calls `look` with a batch whose records are not compressed.
pub fn plain<T>(batch: &Batch<'_>, look: impl FnOnce(&Batch<'_>) -> T) -> io::Result<T> {
    let bytes = match batch.header.compression() {
        Some(Compression::None) => Cow::Borrowed(batch.bytes),
        Some(compression) => {
            let records = decompress(&batch.bytes[HEADER_BYTES..], compression)?;
            Cow::Owned([&batch.bytes[..HEADER_BYTES], &records].concat())
        }
        None => return Err(io::Error::other("an unknown compression")),
    };
    Ok(look(&Batch { position: 0, header: batch.header, bytes: &bytes }))
}

fn read_all(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    decoder.take(PLAIN_BYTES_MAX).read_to_end(&mut out)?;
    Ok(out)
}

/// Either framing: one raw block, or xerial's header and blocks with their lengths.
fn decompress_snappy(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let block = |bytes: &[u8]| snap::raw::Decoder::new().decompress_vec(bytes).map_err(io::Error::other);
    if !bytes.starts_with(&XERIAL_HEADER[..8]) {
        return block(bytes);
    }
    let mut rest = bytes.get(XERIAL_HEADER.len()..).ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut out = Vec::new();
    while let Some((&length, behind)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(length) as usize;
        let (compressed, behind) = behind.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.extend_from_slice(&block(compressed)?);
        rest = behind;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    #[test]
    fn what_was_compressed_comes_back() {
        let bytes: Vec<u8> = (0..100_000u32).flat_map(|n| (n / 7).to_be_bytes()).collect();
        for compression in ALL {
            for length in [1, 1_000, XERIAL_BLOCK_BYTES, bytes.len()] {
                let compressed = compress(&bytes[..length], compression);
                assert!(decompress(&compressed, compression).unwrap() == bytes[..length], "{compression:?} {length}");
                assert!(compression == Compression::None || length < 1_000 || compressed.len() < length);
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        let compressed = compress(&[7; 1_000], Compression::Snappy);
        assert!(decompress(&compressed[..compressed.len() - 1], Compression::Snappy).is_err());
        for compression in &ALL[1..] {
            assert!(decompress(&[0xff; 40], *compression).is_err(), "{compression:?}");
        }
        assert_eq!(
            decompress(&snap::raw::Encoder::new().compress_vec(b"raw").unwrap(), Compression::Snappy).unwrap(),
            b"raw"
        );
    }
}
