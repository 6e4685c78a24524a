//! LeaveGroup: members go, one or several at once (KIP-345).

use super::Name;
use super::coordinator::{Coordinator, Out};
use super::reply::{Left, Reply};
use crate::kafka::ErrorCode;
use crate::machine::Now;
use crate::shard::Asked;
use alloc::vec::Vec;

/// Who is to go. An administrator names a static member by its instance alone.
#[derive(Clone, Debug)]
pub(crate) struct Leaver {
    pub(crate) member: Name,
    pub(crate) instance: Option<Name>,
}

impl Coordinator {
    pub(crate) fn leave(&mut self, now: Now, asked: Asked, id: &str, leavers: Vec<Leaver>, out: &mut Out) {
        let mut members = Vec::new();
        let mut error = ErrorCode::None;
        match self.ready(id) {
            Err(why) => error = why,
            Ok(_) if id.is_empty() => error = ErrorCode::InvalidGroupId,
            Ok(_) if !self.may_write() => error = ErrorCode::CoordinatorNotAvailable,
            Ok(_) => {
                for leaver in leavers {
                    let result = self.leave_one(now, id, &leaver, out);
                    members.push((leaver.member, leaver.instance, result.err().unwrap_or(ErrorCode::None)));
                }
            }
        }
        out.reply(asked, Reply::Leave(Left { error, members }));
        self.settle(now, id, out);
    }

    fn leave_one(&mut self, now: Now, id: &str, leaver: &Leaver, out: &mut Out) -> Result<(), ErrorCode> {
        let (group, limits) = self.existing(id)?;
        let member = match &leaver.instance {
            Some(instance) if leaver.member.is_empty() => {
                group.statics.get(instance).cloned().ok_or(ErrorCode::UnknownMemberId)?
            }
            instance => {
                if instance.is_none() && group.pending.remove(&leaver.member).is_some() {
                    group.try_complete_join(now, out);
                    return Ok(());
                }
                group.check_member(&leaver.member, instance.as_deref())?;
                leaver.member.clone()
            }
        };
        group.remove(&member, ErrorCode::UnknownMemberId, out);
        group.rebalance(now, limits, out);
        Ok(())
    }
}
