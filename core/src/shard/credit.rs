//! Credit: what bounds every inbox. Bytes are taken where work enters, and returned when its answer has left.
//!
//! Each pool grants in arrival order. A wish larger than its pool is admitted alone and takes the whole pool. When a wish
//! has waited for [`Limits::crowded_after`], those who hold the pool's credit are told to hurry, and again and again until
//! nobody waits: a client that does not go on then loses its connection, and with it what it holds.

use super::Pool;
use crate::id::ConnId;
use crate::limits::Limits;
use crate::machine::{Deadline, Instant, Mark, sometimes};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

/// A grant to be mailed to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) conn: ConnId,
    pub(super) pool: Pool,
    pub(super) bytes: u64,
}

const POOLS: [Pool; 6] =
    [Pool::Idle, Pool::Produce, Pool::LargeProduce, Pool::Control, Pool::Answers, Pool::ControlAnswers];

/// How a pool of credit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// Which one.
    pub pool: Pool,
    /// Bytes in all.
    pub total: u64,
    /// Bytes that nobody holds.
    pub free: u64,
    /// Wishes that wait.
    pub waiting: usize,
}

#[derive(Debug)]
pub(super) struct Credit {
    idle: Purse,
    produce: Purse,
    large_produce: Purse,
    control: Purse,
    answers: Purse,
    control_answers: Purse,
    patience: Duration,
}

#[derive(Debug)]
struct Purse {
    total: u64,
    free: u64,
    /// What each connection holds. One that asked for more than there is may owe more than the pool.
    held: BTreeMap<ConnId, u64>,
    /// All of that together.
    owed: u64,
    waiting: VecDeque<(ConnId, u64)>,
    /// Since when the first wish is the first, or when the holders were last told to hurry.
    since: Option<Instant>,
}

impl Credit {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            idle: Purse::new(u64::from(limits.idle_credit) * u64::from(limits.connections)),
            produce: Purse::new(limits.produce_credit),
            large_produce: Purse::new(limits.large_produce_credit),
            control: Purse::new(limits.control_credit),
            answers: Purse::new(limits.answer_credit),
            control_answers: Purse::new(limits.control_answer_credit),
            patience: limits.crowded_after,
        }
    }

    /// A session wants so many bytes, at once or not at all.
    pub(super) fn want(&mut self, now: Instant, conn: ConnId, pool: Pool, bytes: u64) -> Vec<Grant> {
        self.purse(pool).waiting.push_back((conn, bytes));
        let grants = self.grant(now, pool);
        sometimes!(Mark::CreditWaited, !self.purse(pool).waiting.is_empty());
        grants
    }

    /// Takes bytes at once, if nobody waits and they are there.
    pub(super) fn take(&mut self, conn: ConnId, pool: Pool, bytes: u64) -> bool {
        let purse = self.purse(pool);
        let fits = purse.waiting.is_empty() && bytes <= purse.free;
        if fits {
            purse.lend(conn, bytes);
        }
        fits
    }

    /// A session gives bytes back.
    pub(super) fn give_back(&mut self, now: Instant, conn: ConnId, pool: Pool, bytes: u64) -> Vec<Grant> {
        self.purse(pool).give_back(conn, bytes);
        self.grant(now, pool)
    }

    /// A session is gone: what it wished for is void.
    pub(super) fn forget_wishes(&mut self, now: Instant, conn: ConnId) -> Vec<Grant> {
        let mut grants = Vec::new();
        for pool in POOLS {
            self.purse(pool).waiting.retain(|(waiting, _)| *waiting != conn);
            grants.extend(self.grant(now, pool));
        }
        grants
    }

    /// A session is gone: what it held is free again, and what it wished for is void.
    pub(super) fn close(&mut self, now: Instant, conn: ConnId) -> Vec<Grant> {
        let mut grants = self.forget_wishes(now, conn);
        for pool in POOLS {
            let purse = self.purse(pool);
            let held = purse.held.get(&conn).copied().unwrap_or(0);
            if held > 0 {
                purse.give_back(conn, held);
            }
            grants.extend(self.grant(now, pool));
        }
        grants
    }

    /// Who holds what others have waited for too long.
    pub(super) fn crowded(&mut self, now: Instant) -> BTreeSet<ConnId> {
        let mut holders = BTreeSet::new();
        for pool in POOLS {
            let patience = self.patience;
            let purse = self.purse(pool);
            if purse.since.is_some_and(|since| since.after(patience) <= now) {
                sometimes!(Mark::HoldersHurried);
                purse.since = Some(now);
                holders.extend(purse.held.keys());
            }
        }
        holders
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let since = self.purses().into_iter().filter_map(|purse| purse.since).min()?;
        Some(Deadline { at: since.after(self.patience), reason: "hurry those who hold credit" })
    }

    /// Whether a connection is there: it holds its idle credit as long as it is.
    pub(super) fn knows(&self, conn: ConnId) -> bool {
        self.idle.held.contains_key(&conn)
    }

    /// How much one answer may take now: a part of what is free, so that however many clients ask and don't read, there
    /// is something left for those who do.
    pub(super) fn share_of_answers(&self) -> u64 {
        self.answers.free / 8
    }

    /// Whether all credit is back.
    pub(super) fn is_whole(&self) -> bool {
        self.purses().iter().all(|purse| purse.free == purse.total && purse.waiting.is_empty())
    }

    pub(super) fn states(&self) -> impl Iterator<Item = PoolState> {
        POOLS.into_iter().zip(self.purses()).map(|(pool, Purse { total, free, waiting, .. })| PoolState {
            pool,
            total: *total,
            free: *free,
            waiting: waiting.len(),
        })
    }

    #[cfg(test)]
    pub(super) fn answers_are_whole(&self) -> bool {
        self.answers.free == self.answers.total && self.answers.waiting.is_empty()
    }

    pub(super) fn invariants(&self) {
        for purse in self.purses() {
            assert_eq!(purse.since.is_some(), !purse.waiting.is_empty(), "time runs exactly while somebody waits");
            let held: u64 = purse.held.values().sum();
            assert!(
                held == purse.owed && purse.free == purse.total.saturating_sub(held),
                "credit is neither made nor lost: {} held and {} free of {}",
                held,
                purse.free,
                purse.total
            );
        }
    }

    fn purses(&self) -> [&Purse; POOLS.len()] {
        [&self.idle, &self.produce, &self.large_produce, &self.control, &self.answers, &self.control_answers]
    }

    fn purse(&mut self, pool: Pool) -> &mut Purse {
        match pool {
            Pool::Idle => &mut self.idle,
            Pool::Produce => &mut self.produce,
            Pool::LargeProduce => &mut self.large_produce,
            Pool::Control => &mut self.control,
            Pool::Answers => &mut self.answers,
            Pool::ControlAnswers => &mut self.control_answers,
        }
    }

    fn grant(&mut self, now: Instant, pool: Pool) -> Vec<Grant> {
        let granted = self.purse(pool).grant(now);
        granted.into_iter().map(|(conn, bytes)| Grant { conn, pool, bytes }).collect()
    }
}

impl Purse {
    fn new(total: u64) -> Self {
        Self { total, free: total, held: BTreeMap::new(), owed: 0, waiting: VecDeque::new(), since: None }
    }

    fn grant(&mut self, now: Instant) -> Vec<(ConnId, u64)> {
        let mut granted = Vec::new();
        while let Some((conn, bytes)) = self.waiting.front().copied() {
            let fits = bytes <= self.free || (bytes > self.total && self.free == self.total);
            if !fits {
                break;
            }
            sometimes!(Mark::WishBeyondPool, bytes > self.total);
            self.waiting.pop_front();
            self.lend(conn, bytes);
            granted.push((conn, bytes));
        }
        if self.waiting.is_empty() {
            self.since = None;
        } else if self.since.is_none() || !granted.is_empty() {
            self.since = Some(now);
        }
        granted
    }

    fn lend(&mut self, conn: ConnId, bytes: u64) {
        *self.held.entry(conn).or_default() += bytes;
        self.owed += bytes;
        self.free = self.total.saturating_sub(self.owed);
    }

    fn give_back(&mut self, conn: ConnId, bytes: u64) {
        let held = self.held.get_mut(&conn).expect("credit comes back from who holds it");
        *held = held.checked_sub(bytes).expect("no more credit comes back than was held");
        if *held == 0 {
            self.held.remove(&conn);
        }
        self.owed -= bytes;
        self.free = self.total.saturating_sub(self.owed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);
    const T0: Instant = Instant(0);

    fn credit() -> Credit {
        Credit::new(&Limits { produce_credit: 100, control_credit: 50, answer_credit: 100, ..Limits::default() })
    }

    #[test]
    fn grants_in_arrival_order_even_if_a_later_wish_would_fit() {
        let mut credit = credit();
        assert_eq!(credit.want(T0, A, Pool::Produce, 80).len(), 1);
        assert_eq!(credit.want(T0, B, Pool::Produce, 30), []);
        assert_eq!(credit.want(T0, A, Pool::Produce, 10), []);
        let granted: Vec<u64> = credit.give_back(T0, A, Pool::Produce, 80).iter().map(|grant| grant.bytes).collect();
        assert_eq!(granted, [30, 10]);
        credit.invariants();
    }

    #[test]
    fn a_wish_larger_than_the_pool_is_admitted_alone() {
        let mut credit = credit();
        credit.want(T0, A, Pool::Produce, 1);
        assert_eq!(credit.want(T0, B, Pool::Produce, 500), []);
        assert_eq!(credit.give_back(T0, A, Pool::Produce, 1).len(), 1);
        assert_eq!(credit.want(T0, A, Pool::Produce, 1), []);
        credit.invariants();
        assert_eq!(credit.give_back(T0, B, Pool::Produce, 500).len(), 1);
        credit.give_back(T0, A, Pool::Produce, 1);
        assert!(credit.is_whole());
    }

    #[test]
    fn answers_that_did_not_leave_are_paid_back_with_their_connection() {
        let mut credit = credit();
        assert_eq!(credit.want(T0, A, Pool::Answers, 60).len(), 1);
        assert_eq!(credit.want(T0, B, Pool::Answers, 60), []);
        assert_eq!(credit.close(T0, A).len(), 1);
        credit.give_back(T0, B, Pool::Answers, 60);
        assert!(credit.is_whole());
    }

    #[test]
    fn a_wish_that_can_never_be_granted_dies_with_its_connection_and_holds_nobody_up_after() {
        let mut credit = credit();
        credit.want(T0, A, Pool::Control, 10);
        assert_eq!(credit.want(T0, B, Pool::Control, 1_000), []);
        assert_eq!(credit.want(T0, A, Pool::Control, 10), []);
        assert_eq!(credit.want(T0, A, Pool::Idle, 1).len(), 1, "idle credit is another purse");
        assert_eq!(credit.close(T0, B).len(), 1);
        credit.close(T0, A);
        assert!(credit.is_whole());
    }

    #[test]
    fn a_wish_dies_though_what_was_held_is_not_free_yet() {
        let mut credit = credit();
        credit.want(T0, A, Pool::Control, 40);
        assert_eq!(credit.want(T0, A, Pool::Control, 50), []);
        assert_eq!(credit.want(T0, B, Pool::Control, 10), []);
        assert_eq!(credit.forget_wishes(T0, A).len(), 1, "nobody is behind it any more");
        credit.invariants();
        credit.close(T0, A);
        credit.close(T0, B);
        assert!(credit.is_whole());
    }

    #[test]
    fn a_wish_dies_with_its_connection() {
        let mut credit = credit();
        credit.want(T0, A, Pool::Control, 50);
        credit.want(T0, B, Pool::Control, 50);
        credit.close(T0, B);
        assert_eq!(credit.give_back(T0, A, Pool::Control, 40), []);
        credit.close(T0, A);
        assert!(credit.is_whole());
    }
}
