//! One gzip member (RFC 1952).

use super::input::{Step, UnpackError, Workspace, step, take, take_array};
use flate2::{Crc, Decompress, FlushDecompress, Status};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

#[derive(Default)]
pub(super) struct Gzip {
    /// `None` before the header and behind the trailer.
    inflate: Option<Decompress>,
    crc: Crc,
    ended: bool,
}

impl Gzip {
    pub(super) fn next<'a>(
        &mut self,
        input: &[u8],
        at: &mut usize,
        workspace: &'a mut Workspace,
    ) -> Result<Option<&'a [u8]>, UnpackError> {
        if self.ended {
            return Ok(None);
        }
        if self.inflate.is_none() {
            header(input, at)?;
        }
        let fresh = || match workspace.inflate.take() {
            Some(mut inflate) => {
                inflate.reset(false);
                inflate
            }
            None => Decompress::new(false),
        };
        let inflate = self.inflate.get_or_insert_with(fresh);
        let (bytes, ended) = step(input, at, &mut workspace.piece, |shown, piece| {
            let before = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(shown, piece, FlushDecompress::None).map_err(|_| UnpackError::Corrupt)?;
            let (read, made) = ((inflate.total_in() - before.0) as usize, (inflate.total_out() - before.1) as usize);
            Ok(Step { read, made, ended: status == Status::StreamEnd })
        })?;
        self.crc.update(bytes);
        self.ended = ended;
        if ended {
            let (sum, length) = (take_array::<4>(input, at)?, take_array::<4>(input, at)?);
            if u32::from_le_bytes(sum) != self.crc.sum() || u32::from_le_bytes(length) != self.crc.amount() {
                return Err(UnpackError::Corrupt);
            }
        }
        Ok(Some(bytes))
    }

    pub(super) fn end(self, workspace: &mut Workspace) {
        workspace.inflate = self.inflate.or(workspace.inflate.take());
    }
}

fn header(input: &[u8], at: &mut usize) -> Result<(), UnpackError> {
    let begin = *at;
    let fixed: [u8; 10] = take_array(input, at)?;
    let flags = fixed[3];
    if fixed[..2] != MAGIC || fixed[2] != DEFLATE || flags & RESERVED != 0 {
        return Err(UnpackError::Corrupt);
    }
    if flags & EXTRA != 0 {
        let length = u16::from_le_bytes(take_array(input, at)?);
        take(input, at, usize::from(length))?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let length = input[*at..].iter().position(|byte| *byte == 0).ok_or(UnpackError::Corrupt)?;
            take(input, at, length + 1)?;
        }
    }
    if flags & HEADER_CRC != 0 {
        let mut crc = Crc::new();
        crc.update(&input[begin..*at]);
        if u16::from_le_bytes(take_array(input, at)?) != crc.sum() as u16 {
            return Err(UnpackError::Corrupt);
        }
    }
    Ok(())
}
