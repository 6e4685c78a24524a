//! How an object's index is learnt: from its last bytes, and if those don't hold all of it, from where its footer says.

use super::{Footer, Index};
use crate::envelope::DecodeError;
use crate::id::{ClusterId, ObjectId};
use crate::machine::Payload;
use crate::store::Span;

/// What is read of an object next to learn its index.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IndexStep {
    /// Its last bytes.
    Tail,
    /// The whole index, of which those were too few.
    Whole(Footer),
}

/// What one answer taught.
pub(crate) enum Learned {
    /// All of it.
    Index(Index),
    /// This is to be read next.
    Next(IndexStep),
}

impl IndexStep {
    /// Where that is; of an object of which nothing is known so many bytes are read.
    pub(crate) fn span(self, tail: u64) -> Span {
        match self {
            Self::Tail => Span::Last { len: tail },
            Self::Whole(footer) => Span::Range { at: footer.index_at, len: footer.index_len.into() },
        }
    }

    /// What the bytes teach that were read of an object, which is `total` bytes long.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn learn(
        self,
        cluster: ClusterId,
        object: ObjectId,
        body: &Payload,
        total: u64,
    ) -> Result<Learned, DecodeError> {
        let (footer, origin) = match self {
            Self::Whole(footer) => (footer, footer.index_at),
            Self::Tail => {
                let origin = total.checked_sub(body.len() as u64).ok_or(DecodeError::Malformed)?;
                (Footer::decode(cluster, object, total, body)?, origin)
            }
        };
        match (footer.index_in(origin, body), self) {
            (Some(index), _) => Index::decode(object, &footer, &index).map(Learned::Index),
            (None, Self::Tail) => Ok(Learned::Next(Self::Whole(footer))),
            (None, Self::Whole(_)) => Err(DecodeError::Short),
        }
    }
}
