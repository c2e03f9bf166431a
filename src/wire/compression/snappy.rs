//! Snappy: one raw block, or snappy-java's stream of blocks.

use super::input::{PIECE_BYTES, UnpackError, WINDOW_BYTES_MAX, Workspace, sized, take, take_array};
use super::{SNAPPY_JAVA_HEADER_BYTES, SNAPPY_JAVA_MAGIC};

/// A block that becomes no more is decompressed at once; clients make blocks of 32 KiB, or one of a whole batch.
const WHOLE_BYTES_MAX: usize = 256 << 10;
/// A version of snappy-java's stream below this was never used.
const JAVA_VERSION_MIN: u32 = 1;

#[derive(Default)]
pub(super) struct Snappy {
    framing: Option<Framing>,
    /// A large block that is under way, and where it ends in the compressed bytes.
    large: Option<(Block, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Raw,
    Java,
}

impl Snappy {
    pub(super) fn next<'a>(
        &mut self,
        input: &[u8],
        at: &mut usize,
        workspace: &'a mut Workspace,
    ) -> Result<Option<&'a [u8]>, UnpackError> {
        if self.large.is_some() {
            return self.go_on(input, at, workspace).map(Some);
        }
        let framing = match self.framing {
            Some(_) if *at == input.len() => return Ok(None),
            Some(Framing::Raw) => return Err(UnpackError::Corrupt),
            Some(Framing::Java) => Framing::Java,
            None => *self.framing.insert(begin(input, at)?),
        };
        let length = match framing {
            Framing::Raw => input.len() - *at,
            Framing::Java if *at == input.len() => return Ok(None),
            Framing::Java => u32::from_be_bytes(take_array(input, at)?) as usize,
        };
        let (begin, block) = (*at, take(input, at, length)?);
        // An empty block is no block: it lacks its length.
        if block.is_empty() {
            return Err(UnpackError::Corrupt);
        }
        let bytes = snap::raw::decompress_len(block).map_err(|_| UnpackError::Corrupt)?;
        if bytes <= WHOLE_BYTES_MAX {
            let out = sized(&mut workspace.piece, bytes);
            let made = snap::raw::Decoder::new().decompress(block, out).map_err(|_| UnpackError::Corrupt)?;
            return Ok(Some(&out[..made]));
        }
        *at = begin;
        varint(input, at)?;
        self.large = Some((Block::new(bytes), begin + length));
        self.go_on(input, at, workspace).map(Some)
    }

    /// Some more of the large block.
    fn go_on<'a>(
        &mut self,
        input: &[u8],
        at: &mut usize,
        workspace: &'a mut Workspace,
    ) -> Result<&'a [u8], UnpackError> {
        let (block, end) = self.large.as_mut().expect("a large block is under way");
        let out = sized(&mut workspace.piece, PIECE_BYTES);
        let made = block.run(&input[..*end], at, out)?;
        if block.left == 0 {
            if *at != *end {
                return Err(UnpackError::Corrupt);
            }
            self.large = None;
        }
        Ok(&out[..made])
    }
}

fn begin(input: &[u8], at: &mut usize) -> Result<Framing, UnpackError> {
    if !input.starts_with(&SNAPPY_JAVA_MAGIC) {
        return Ok(Framing::Raw);
    }
    let header = take(input, at, SNAPPY_JAVA_HEADER_BYTES)?;
    let mut version = SNAPPY_JAVA_MAGIC.len();
    if u32::from_be_bytes(take_array(header, &mut version)?) < JAVA_VERSION_MIN {
        return Err(UnpackError::Corrupt);
    }
    Ok(Framing::Java)
}

/// The length that a block begins with, which is behind `at` then.
fn varint(input: &[u8], at: &mut usize) -> Result<(), UnpackError> {
    while take_array::<1>(input, at)?[0] >= 0x80 {}
    Ok(())
}

/// A block that is decompressed a piece at a time.
struct Block {
    /// Bytes that are still to come out.
    left: usize,
    made: usize,
    /// The last bytes that came out, in a ring: byte `n` of the block is at `n % WINDOW_BYTES_MAX`.
    window: Vec<u8>,
    element: Element,
}

/// What is being copied.
enum Element {
    None,
    Literal { left: usize },
    Copy { offset: usize, left: usize },
}

impl Block {
    fn new(bytes: usize) -> Block {
        Block { left: bytes, made: 0, window: Vec::new(), element: Element::None }
    }

    /// Fills `out` from `input` as far as both go; returns how many bytes it has then.
    fn run(&mut self, input: &[u8], at: &mut usize, out: &mut [u8]) -> Result<usize, UnpackError> {
        let mut filled = 0;
        let room = out.len().min(self.left);
        while filled < room {
            match self.element {
                Element::None => self.element = element(input, at)?,
                Element::Literal { left } => {
                    let length = left.min(room - filled);
                    let literal = take(input, at, length)?;
                    out[filled..filled + length].copy_from_slice(literal);
                    self.keep(literal);
                    filled += length;
                    self.element = if left > length { Element::Literal { left: left - length } } else { Element::None };
                }
                Element::Copy { offset, left } => {
                    if offset == 0 || offset > self.made {
                        return Err(UnpackError::Corrupt);
                    }
                    if offset > WINDOW_BYTES_MAX {
                        return Err(UnpackError::Window);
                    }
                    let length = left.min(room - filled).min(offset);
                    let copied = &mut out[filled..filled + length];
                    self.look_back(offset, copied);
                    self.keep(copied);
                    filled += length;
                    self.element =
                        if left > length { Element::Copy { offset, left: left - length } } else { Element::None };
                }
            }
        }
        self.left -= filled;
        // More would come out than the block says.
        if self.left == 0 && !matches!(self.element, Element::None) {
            return Err(UnpackError::Corrupt);
        }
        Ok(filled)
    }

    /// Copies what came out `offset` bytes ago, which is at least as long as `to`.
    fn look_back(&self, offset: usize, to: &mut [u8]) {
        let from = (self.made - offset) % WINDOW_BYTES_MAX;
        let (head, tail) = to.split_at_mut(to.len().min(WINDOW_BYTES_MAX - from));
        head.copy_from_slice(&self.window[from..from + head.len()]);
        tail.copy_from_slice(&self.window[..tail.len()]);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let at = self.made % WINDOW_BYTES_MAX;
        let (head, tail) = bytes.split_at(bytes.len().min(WINDOW_BYTES_MAX - at));
        for (at, part) in [(at, head), (0, tail)] {
            let within = part.len().min(self.window.len().saturating_sub(at));
            self.window[at..at + within].copy_from_slice(&part[..within]);
            self.window.extend_from_slice(&part[within..]);
        }
        self.made += bytes.len();
        assert!(self.window.len() <= WINDOW_BYTES_MAX);
    }
}

fn element(input: &[u8], at: &mut usize) -> Result<Element, UnpackError> {
    let [tag] = take_array(input, at)?;
    let high = usize::from(tag >> 2);
    Ok(match tag & 3 {
        0 if high < 60 => Element::Literal { left: high + 1 },
        0 => {
            let mut length = [0; 8];
            let bytes = high - 59;
            length[..bytes].copy_from_slice(take(input, at, bytes)?);
            Element::Literal { left: usize::from_le_bytes(length) + 1 }
        }
        1 => {
            let [low] = take_array(input, at)?;
            Element::Copy { offset: (high >> 3) << 8 | usize::from(low), left: (high & 7) + 4 }
        }
        2 => Element::Copy { offset: usize::from(u16::from_le_bytes(take_array(input, at)?)), left: high + 1 },
        _ => Element::Copy { offset: u32::from_le_bytes(take_array(input, at)?) as usize, left: high + 1 },
    })
}
