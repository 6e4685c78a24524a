//! Room for what later versions add to a block.

use crate::envelope::{DecodeError, Fields};
use alloc::vec::Vec;
use bytes::{BufMut, Bytes};

/// A tag with this bit is refused by a reader that does not know it.
pub(super) const MUST_UNDERSTAND: u16 = 0x8000;

/// Skips all fields that may be skipped.
///
/// # Errors
/// `Unsupported` if one must be understood; `Short` if one is longer than the room.
pub(super) fn skip(room: Bytes) -> Result<(), DecodeError> {
    let mut fields = Fields::new(room);
    while fields.left() > 0 {
        let tag = fields.u16()?;
        let len = fields.u32()? as usize;
        fields.bytes(len)?;
        if tag & MUST_UNDERSTAND != 0 {
            return Err(DecodeError::Unsupported);
        }
    }
    Ok(())
}

/// One field.
pub(super) fn put(tag: u16, value: &[u8], out: &mut Vec<u8>) {
    out.put_u16(tag);
    out.put_u32(u32::try_from(value.len()).expect("fields are far below 4 GiB"));
    out.put_slice(value);
}
