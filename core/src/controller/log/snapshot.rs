//! A snapshot: the image at one entry, in place of everything up to it.

use super::{Name, VERSION};
use crate::envelope::{self, DecodeError, Fields, Kind};
use crate::id::ClusterId;
use crate::metadata::Image;
use crate::metadata::codec::Field;
use alloc::vec::Vec;
use bytes::Bytes;

/// The image at the SEQ in its name.
///
/// The body of an envelope of kind 5:
///
/// ```text
///  0         16
///  +---------+---------------+----------------+
///  | cluster | name (record) | image (record) |
///  +---------+---------------+----------------+
///  | what later versions append
/// ```
#[derive(Debug)]
pub(in crate::controller) struct Snapshot;

impl Snapshot {
    /// As bytes.
    pub(in crate::controller) fn encode(name: Name, image: &Image) -> Bytes {
        let mut body = Vec::new();
        image.cluster.put(&mut body);
        name.put(&mut body);
        image.put(&mut body);
        envelope::seal(Kind::Snapshot, VERSION, &body).into()
    }

    /// From bytes that stood under `name` in the bucket of `cluster`. `Foreign` if they belong elsewhere.
    pub(in crate::controller) fn decode(bytes: &Bytes, cluster: ClusterId, name: Name) -> Result<Image, DecodeError> {
        let (_, body) = envelope::open(Kind::Snapshot, VERSION, bytes)?;
        let mut fields = Fields::new(body);
        let written = (ClusterId::take(&mut fields)?, Name::take(&mut fields)?);
        if written != (cluster, name) {
            return Err(DecodeError::Foreign);
        }
        let image = Image::take(&mut fields)?;
        let same = image.cluster == cluster && image.seq == name.seq;
        if same { Ok(image) } else { Err(DecodeError::Malformed) }
    }
}
