//! What the formats have in common that decompress in pieces: limits, errors, buffers, and how bytes are taken off the input.

/// How far back compressed bytes may refer, which is what has to be kept in memory. zstd up to level 19 declares no larger
/// window; a frame that does may not become larger than this.
pub const WINDOW_BYTES_MAX: usize = 8 << 20;
/// Bytes of one piece, where the codec leaves the choice.
pub(super) const PIECE_BYTES: usize = 64 << 10;
/// Compressed bytes that are shown to a codec at a time: they may become nothing, and cost time all the same.
const INPUT_BYTES: usize = 8 << 10;

/// Why bytes do not decompress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnpackError {
    /// They are not what they claim to be, end early, or more follows them.
    Corrupt,
    /// They refer further back than [`WINDOW_BYTES_MAX`].
    Window,
    /// An lz4 frame that not every client reads: dependent blocks, a dictionary, or the checksum of Kafka before 0.10.
    Lz4Frame,
}

/// Buffers that decompressors leave to the next one, because they are dear to make.
#[derive(Default)]
pub struct Workspace {
    pub(super) piece: Vec<u8>,
    pub(super) inflate: Option<flate2::Decompress>,
    pub(super) zstd: Option<::zstd::stream::raw::Decoder<'static>>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace").field("piece", &self.piece.len()).finish_non_exhaustive()
    }
}

/// As many bytes from `at` on.
pub(super) fn take<'a>(input: &'a [u8], at: &mut usize, length: usize) -> Result<&'a [u8], UnpackError> {
    let end = at.checked_add(length).ok_or(UnpackError::Corrupt)?;
    let taken = input.get(*at..end).ok_or(UnpackError::Corrupt)?;
    *at = end;
    Ok(taken)
}

pub(super) fn take_array<const N: usize>(input: &[u8], at: &mut usize) -> Result<[u8; N], UnpackError> {
    take(input, at, N).map(|bytes| bytes.try_into().expect("as many bytes were taken"))
}

/// What one step of a codec has read and made, and whether it is at its end.
pub(super) struct Step {
    pub read: usize,
    pub made: usize,
    pub ended: bool,
}

/// Has a codec read some of the input from `at` on and fill `piece`; what it made, and whether it is at its end. A codec that
/// can do neither wants more than there is.
pub(super) fn step<'a>(
    input: &[u8],
    at: &mut usize,
    piece: &'a mut Vec<u8>,
    codec: impl FnOnce(&[u8], &mut [u8]) -> Result<Step, UnpackError>,
) -> Result<(&'a [u8], bool), UnpackError> {
    let shown = &input[*at..input.len().min(*at + INPUT_BYTES)];
    let piece = sized(piece, PIECE_BYTES);
    let Step { read, made, ended } = codec(shown, piece)?;
    if !ended && read == 0 && made == 0 {
        return Err(UnpackError::Corrupt);
    }
    *at += read;
    Ok((&piece[..made], ended))
}

/// `buffer` with at least `length` bytes.
pub(super) fn sized(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    &mut buffer[..length]
}
