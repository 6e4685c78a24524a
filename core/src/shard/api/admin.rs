//! Questions of administrators that change nothing. Each is answered of what the shard knows, once the answer is paid for.
//!
//! Where Karst has nothing to tell of (transactions, quotas, access control, other replicas), the answer is that of a
//! Kafka that has none either: tools ask for all of it, and an error that they don't expect stops some of them.

mod acls;
mod leaders;
mod log_dirs;
mod producers;
mod quotas;
mod reassignments;
mod scram;
mod transactions;

use crate::kafka::AdminRequest;
use crate::machine::{Effects, Now, Rope};
use crate::shard::joins::Asked;
use crate::shard::unpaid::Unanswered;
use crate::shard::{Effect, Shard, encoded};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use kafka_protocol::messages::TopicName;

/// What the answer about one thing takes while it is made, about, beside texts.
const LINE: usize = 96;

impl Shard {
    pub(in crate::shard) fn handle_admin(
        &mut self,
        now: Now,
        asked: Asked,
        mut request: Box<AdminRequest>,
        out: &mut Effects<Effect>,
    ) {
        if let AdminRequest::Producers(request) = &mut *request {
            // Its answer may be far larger than a partition's number.
            each_once(request.topics.iter_mut().map(|topic| (&topic.name, &mut topic.partition_indexes)));
        }
        let bytes = self.weigh_admin(&request) as u64;
        self.answer_when_paid(now, asked, (Unanswered::Admin(request), bytes), out);
    }

    /// What the answer takes, about.
    fn weigh_admin(&self, request: &AdminRequest) -> usize {
        match request {
            AdminRequest::Acls(_) => LINE,
            AdminRequest::CreateAcls(request) => LINE * request.creations.len(),
            AdminRequest::DeleteAcls(request) => LINE * request.filters.len(),
            AdminRequest::LogDirs(request) => self.weigh_log_dirs(request),
            AdminRequest::ElectLeaders(request) => self.weigh_elections(request),
            AdminRequest::Reassign(request) => reassignments::weigh(request),
            AdminRequest::Reassignments(_) | AdminRequest::ClientQuotas(_) => LINE,
            AdminRequest::ScramCredentials(request) => scram::weigh(request),
            AdminRequest::Producers(request) => self.weigh_producers(request),
            AdminRequest::Transactions(request) => transactions::weigh(request),
            AdminRequest::ListTransactions(request) => transactions::weigh_list(request),
        }
    }

    /// The answer's body.
    pub(in crate::shard) fn admin_answer(&self, asked: Asked, request: &AdminRequest) -> Rope {
        let version = asked.version;
        match request {
            AdminRequest::Acls(_) => encoded(version, &acls::described()),
            AdminRequest::CreateAcls(request) => encoded(version, &acls::created(request)),
            AdminRequest::DeleteAcls(request) => encoded(version, &acls::deleted(request)),
            AdminRequest::LogDirs(request) => encoded(version, &self.log_dirs(request)),
            AdminRequest::ElectLeaders(request) => encoded(version, &self.elected(version, request)),
            AdminRequest::Reassign(request) => encoded(version, &self.reassigned(version, request)),
            AdminRequest::Reassignments(_) => encoded(version, &reassignments::ongoing()),
            AdminRequest::ClientQuotas(request) => encoded(version, &quotas::described(request)),
            AdminRequest::ScramCredentials(request) => encoded(version, &scram::described(request)),
            AdminRequest::Producers(request) => encoded(version, &self.producers_of(request)),
            AdminRequest::Transactions(request) => encoded(version, &transactions::described(request)),
            AdminRequest::ListTransactions(request) => encoded(version, &transactions::listed(request)),
        }
    }
}

/// Leaves out partitions that were named before.
fn each_once<'a>(topics: impl Iterator<Item = (&'a TopicName, &'a mut Vec<i32>)>) {
    let mut seen = BTreeSet::new();
    for (name, partitions) in topics {
        partitions.retain(|index| seen.insert((name, *index)));
    }
}
