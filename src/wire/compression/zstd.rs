//! One zstd frame (RFC 8878).

use super::input::{Step, UnpackError, WINDOW_BYTES_MAX, Workspace, step, take_array};
use ::zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

const MAGIC: u32 = 0xfd2f_b528;
const SINGLE_SEGMENT: u8 = 1 << 5;
/// The largest window that any client takes without being told to (the library's own default). Its memory is touched only
/// as far as output fills it.
const WINDOW_LOG_MAX: u32 = 27;

#[derive(Default)]
pub(super) struct Zstd {
    decoder: Option<Decoder<'static>>,
    /// The frame's output may be this large.
    left: u64,
    ended: bool,
}

impl Zstd {
    pub(super) fn next<'a>(
        &mut self,
        input: &[u8],
        at: &mut usize,
        workspace: &'a mut Workspace,
    ) -> Result<Option<&'a [u8]>, UnpackError> {
        if self.ended {
            return Ok(None);
        }
        if self.decoder.is_none() {
            let large = window_bytes(input)? > WINDOW_BYTES_MAX as u64;
            self.left = if large { WINDOW_BYTES_MAX as u64 } else { u64::MAX };
            self.decoder = Some(decoder(workspace)?);
        }
        let decoder = self.decoder.as_mut().expect("it was just made");
        let (bytes, ended) = step(input, at, &mut workspace.piece, |shown, piece| {
            let (mut shown, mut out) = (InBuffer::around(shown), OutBuffer::around(piece));
            let wanted = decoder.run(&mut shown, &mut out).map_err(|_| UnpackError::Corrupt)?;
            // The frame is complete, checksum included, and all of it has come out.
            Ok(Step { read: shown.pos(), made: out.pos(), ended: wanted == 0 })
        })?;
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(UnpackError::Window)?;
        self.ended = ended;
        Ok(Some(bytes))
    }

    pub(super) fn end(self, workspace: &mut Workspace) {
        workspace.zstd = self.decoder.or(workspace.zstd.take());
    }
}

fn decoder(workspace: &mut Workspace) -> Result<Decoder<'static>, UnpackError> {
    let decoder = match workspace.zstd.take() {
        Some(mut decoder) => decoder.reinit().map(|()| decoder),
        None => Decoder::new().and_then(|mut decoder| {
            decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
            Ok(decoder)
        }),
    };
    decoder.map_err(|_| UnpackError::Corrupt)
}

/// What a frame that begins so wants to refer back to.
fn window_bytes(input: &[u8]) -> Result<u64, UnpackError> {
    let at = &mut 0;
    if u32::from_le_bytes(take_array(input, at)?) != MAGIC {
        return Err(UnpackError::Corrupt);
    }
    let [descriptor] = take_array(input, at)?;
    if descriptor & SINGLE_SEGMENT == 0 {
        let [window] = take_array(input, at)?;
        let base = 1u64 << (10 + (window >> 3));
        return Ok(base + base / 8 * u64::from(window & 7));
    }
    // The window is the content.
    *at += [0, 1, 2, 4][usize::from(descriptor & 3)];
    Ok(match descriptor >> 6 {
        0 => u64::from(take_array::<1>(input, at)?[0]),
        1 => u64::from(u16::from_le_bytes(take_array(input, at)?)) + 256,
        2 => u64::from(u32::from_le_bytes(take_array(input, at)?)),
        _ => u64::from_le_bytes(take_array(input, at)?),
    })
}
