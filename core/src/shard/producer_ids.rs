//! Ids for idempotent producers: given out of a block that the metadata leased to this broker.

use super::joins::Asked;
use crate::id::ConnId;
use crate::producers::ProducerId;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Ids that nobody has yet, and who waits for one.
#[derive(Debug, Default)]
pub(super) struct ProducerIds {
    next: u64,
    left: u32,
    waiting: VecDeque<Asked>,
    is_asked: bool,
}

impl ProducerIds {
    /// An id, unless all are given out.
    pub(super) fn take(&mut self) -> Option<ProducerId> {
        self.left = self.left.checked_sub(1)?;
        self.next += 1;
        Some(ProducerId(self.next - 1))
    }

    /// Waits for the next block. Says whether that is to be asked for.
    #[must_use]
    pub(super) fn wait(&mut self, asked: Asked) -> bool {
        self.waiting.push_back(asked);
        !core::mem::replace(&mut self.is_asked, true)
    }

    /// The next block, or none: everybody who waits.
    pub(super) fn answered(&mut self, block: Option<(ProducerId, u32)>) -> Vec<Asked> {
        self.is_asked = false;
        if let Some((first, count)) = block {
            (self.next, self.left) = (first.0, count);
        }
        self.waiting.drain(..).collect()
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.waiting.retain(|asked| asked.conn != conn);
    }

    /// Whether nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}
