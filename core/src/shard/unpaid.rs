//! Answers that may be large, however short their requests: none is made before it is paid for.
//!
//! ```text
//!   request ──► how large? ── small ──► made and sent
//!                   │                      ▲
//!                   └─ credit wanted ── granted, perhaps much later: made of what is known by then
//! ```

use super::api::Question;
use super::fetches::Fetch;
use super::joins::Asked;
use super::lookups::Listing;
use super::{Effect, Pool, Shard};
use crate::kafka::AdminRequest;
use crate::machine::{Effects, Now, Rope};
use crate::session::{Answer, Fee};
use alloc::boxed::Box;
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeTopicPartitionsRequest, MetadataRequest};

/// What waits for credit for answers. None of it is an answer yet: one that is made is in memory already.
#[derive(Debug)]
pub(super) enum Unpaid {
    /// A fetch that has found records, or has to read objects.
    Fetch(Fetch),
    /// A search by time that has to look into records.
    Listing(Listing),
    /// An answer that is made of what the shard knows.
    Answer(Asked, Unanswered),
}

/// What such an answer is to.
#[derive(Debug)]
pub(super) enum Unanswered {
    Metadata(MetadataRequest),
    DescribeTopicPartitions(DescribeTopicPartitionsRequest),
    DescribeConfigs(DescribeConfigsRequest),
    Groups(Question),
    Admin(Box<AdminRequest>),
}

impl Shard {
    /// Answers once there is credit for an answer of so many bytes; a small one needs none.
    pub(super) fn answer_when_paid(
        &mut self,
        now: Now,
        asked: Asked,
        (what, bytes): (Unanswered, u64),
        out: &mut Effects<Effect>,
    ) {
        if bytes <= u64::from(self.limits.idle_credit) {
            let body = self.body_of(asked, what);
            return self.send_answer(asked, Answer::Body(body), out);
        }
        let fee = Fee { pool: Pool::ControlAnswers, bytes };
        self.want_answer_credit(now, asked.conn, fee, Unpaid::Answer(asked, what), out);
    }

    /// There is credit for it now.
    pub(super) fn go_on_paid(&mut self, now: Now, unpaid: Unpaid, fee: Fee, out: &mut Effects<Effect>) {
        match unpaid {
            Unpaid::Fetch(fetch) => self.try_fetch(now, Fetch { held: fee.bytes, ..fetch }, out),
            Unpaid::Listing(listing) => self.go_on_listing(now, Listing { held: fee.bytes, ..listing }, out),
            Unpaid::Answer(asked, what) => {
                let body = self.body_of(asked, what);
                self.send_answer(asked, Answer::Paid(body, fee), out);
            }
        }
    }

    fn body_of(&self, asked: Asked, what: Unanswered) -> Rope {
        match what {
            Unanswered::Metadata(request) => self.metadata(asked, &request),
            Unanswered::DescribeTopicPartitions(request) => self.described_topics(asked, &request),
            Unanswered::DescribeConfigs(request) => self.describe_configs(asked.version, &request),
            Unanswered::Admin(request) => self.admin_answer(asked, &request),
            Unanswered::Groups(question) => self.group_answer(asked, question),
        }
    }
}
