//! A connection's credit: what its requests cost, and from where it is paid.
//!
//! The first credit that the shard grants is the *idle* credit: it stays with the connection and pays for small
//! requests. What a request costs beyond what is free of it is wanted from a pool, and goes back there.

use super::mail::{Effect, Fee};
use crate::id::ConnId;
use crate::machine::Effects;
use crate::shard::{Mail, Pool};
use alloc::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Credit {
    conn: ConnId,
    /// Free of the idle credit; `None` before that was granted.
    free: Option<u64>,
    wish: Option<Wish>,
    /// All that the shard granted and has not got back.
    held: BTreeMap<Pool, u64>,
}

/// One request waits for more credit.
#[derive(Debug)]
struct Wish {
    pool: Pool,
    /// What the idle credit contributes.
    idle: u64,
    /// What the shard said to it, if anything yet.
    granted: Option<u64>,
}

/// What one request costs from its first bytes until its answer has left.
#[derive(Debug)]
#[must_use]
pub(super) struct Charge {
    idle: u64,
    pool: Pool,
    extra: u64,
}

impl Charge {
    pub(super) const fn bytes(&self) -> u64 {
        self.idle + self.extra
    }
}

impl Credit {
    pub(super) const fn new(conn: ConnId) -> Self {
        Self { conn, free: None, wish: None, held: BTreeMap::new() }
    }

    /// Pays for a request of `bytes`. `None` as long as it has to wait: then ask again, for the same request, when
    /// more has come.
    pub(super) fn pay(&mut self, pool: Pool, bytes: u64, out: &mut Effects<Effect>) -> Option<Charge> {
        if let Some(wish) = self.wish.take_if(|wish| wish.granted.is_some()) {
            return Some(Charge { idle: wish.idle, pool: wish.pool, extra: wish.granted.unwrap_or(0) });
        }
        let free = self.free.as_mut().filter(|_| self.wish.is_none())?;
        if bytes <= *free {
            *free -= bytes;
            return Some(Charge { idle: bytes, pool, extra: 0 });
        }
        let idle = core::mem::take(free);
        self.wish = Some(Wish { pool, idle, granted: None });
        out.push(Mail::CreditWanted(self.conn, pool, bytes - idle));
        None
    }

    /// A request's answer has left, or there will be none.
    pub(super) fn refund(&mut self, charge: Charge, out: &mut Effects<Effect>) {
        if let Some(free) = &mut self.free {
            *free += charge.idle;
        }
        self.give_back(charge.pool, charge.extra, out);
    }

    /// A request goes on waiting with what the idle credit pays of it.
    pub(super) fn refund_extra(&mut self, charge: &mut Charge, out: &mut Effects<Effect>) {
        let extra = core::mem::take(&mut charge.extra);
        self.give_back(charge.pool, extra, out);
    }

    /// An answer has left for which the shard took this.
    pub(super) fn answer_left(&mut self, fee: Fee, out: &mut Effects<Effect>) {
        if fee.bytes > 0 {
            out.push(Mail::CreditBack(self.conn, fee.pool, fee.bytes));
        }
    }

    /// The shard grants credit.
    pub(super) fn granted(&mut self, pool: Pool, bytes: u64, out: &mut Effects<Effect>) {
        *self.held.entry(pool).or_default() += bytes;
        match &mut self.wish {
            _ if self.free.is_none() => self.free = Some(bytes),
            Some(wish) if wish.pool == pool && wish.granted.is_none() => wish.granted = Some(bytes),
            // Nobody asked for it.
            _ => self.give_back(pool, bytes, out),
        }
    }

    /// What should be held: the free part, and what requests cost that together cost `charged`.
    pub(super) fn invariants(&self, charged: u64) {
        let wished = self.wish.as_ref().map_or(0, |wish| wish.idle + wish.granted.unwrap_or(0));
        let held: u64 = self.held.values().sum();
        assert_eq!(held, self.free.unwrap_or(0) + wished + charged, "credit is neither made nor lost");
    }

    fn give_back(&mut self, pool: Pool, bytes: u64, out: &mut Effects<Effect>) {
        if bytes > 0 {
            let held = self.held.get_mut(&pool).expect("only what was granted goes back");
            *held = held.checked_sub(bytes).expect("no more than was granted goes back");
            out.push(Mail::CreditBack(self.conn, pool, bytes));
        }
    }
}
