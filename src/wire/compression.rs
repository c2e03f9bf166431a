//! Decompression of a batch's records, for the few places that must look into them.

use super::batch::Compression;
use std::io::Read;

/// Snappy as Kafka's clients write it: snappy-java's stream, which begins with these bytes, a version and a minimum version
/// (int32 each); then blocks, each behind its length (int32). Some clients write one raw block instead.
const SNAPPY_JAVA_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const SNAPPY_JAVA_HEADER_BYTES: usize = 16;

/// The records, or `None` if the bytes are not what they claim or become more than `bytes_max`.
pub fn decompress(compression: Compression, bytes: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    match compression {
        Compression::None => Some(bytes.to_vec()),
        Compression::Gzip => read_all(flate2::read::MultiGzDecoder::new(bytes), bytes_max),
        Compression::Snappy => snappy(bytes, bytes_max),
        Compression::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(bytes), bytes_max),
        Compression::Zstd => read_all(zstd::stream::read::Decoder::new(bytes).ok()?, bytes_max),
    }
}

fn read_all(reader: impl Read, bytes_max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut out).ok()?;
    (out.len() <= bytes_max).then_some(out)
}

fn snappy(bytes: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    if !bytes.starts_with(&SNAPPY_JAVA_MAGIC) {
        snappy_block(bytes, bytes_max, &mut out)?;
        return Some(out);
    }
    let mut rest = bytes.get(SNAPPY_JAVA_HEADER_BYTES..)?;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        snappy_block(after.get(..length)?, bytes_max, &mut out)?;
        rest = &after[length..];
    }
    rest.is_empty().then_some(out)
}

fn snappy_block(block: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Option<()> {
    // The claimed length sizes the buffer: a block expands at most about 21-fold, so a larger claim is a lie.
    let length = snap::raw::decompress_len(block).ok()?;
    if length > block.len().saturating_mul(32) || out.len() + length > bytes_max {
        return None;
    }
    out.append(&mut snap::raw::Decoder::new().decompress_vec(block).ok()?);
    Some(())
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
            (Compression::Zstd, zstd::encode_all(&text()[..], 1).unwrap()),
        ]
    }

    #[test]
    fn every_compression_is_read() {
        for (compression, bytes) in samples() {
            assert_eq!(decompress(compression, &bytes, 1 << 20).as_deref(), Some(&text()[..]), "{compression:?}");
        }
    }

    #[test]
    fn lies_and_bombs_are_refused() {
        for (compression, bytes) in samples().into_iter().skip(1) {
            assert_eq!(decompress(compression, &bytes, text().len() - 1), None, "{compression:?}");
            assert_eq!(decompress(compression, &bytes[..bytes.len() / 2], 1 << 20), None, "{compression:?}");
            assert_eq!(decompress(compression, &[0xff; 40], 1 << 20), None, "{compression:?}");
        }
    }
}
