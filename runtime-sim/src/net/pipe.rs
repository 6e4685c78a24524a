//! One direction of a connection: bytes in order, on their way.

use crate::time::SimTime;
use bytes::{Bytes, BytesMut};
use karst_core::machine::Rope;
use std::collections::VecDeque;

/// Names a send for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendTag(pub u64);

/// What travels, in order.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    /// The sender has closed.
    End,
    /// The connection is broken from here on.
    Break,
}

/// What waits for room.
#[derive(Debug)]
pub(super) enum Outgoing {
    Data(SendTag, Rope),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Flowing,
    Paused,
}

#[derive(Debug)]
pub(super) struct Pipe {
    /// Not yet taken by the sender's host.
    pub(super) waiting: VecDeque<Outgoing>,
    /// Taken, each with its moment of arrival; these never decrease.
    pieces: VecDeque<(SimTime, Piece)>,
    /// Bytes taken and not yet read.
    pub(super) held: usize,
    pub(super) reading: Reading,
    /// Nothing more gets into it.
    pub(super) broken: bool,
    /// Since when a partition holds it up.
    pub(super) frozen: Option<SimTime>,
    /// When somebody looks at it next.
    pub(super) flows_at: Option<SimTime>,
    last_arrival: SimTime,
}

impl Pipe {
    /// One that carries nothing before `open`.
    pub(super) fn new(open: SimTime) -> Self {
        Self {
            waiting: VecDeque::new(),
            pieces: VecDeque::new(),
            held: 0,
            reading: Reading::Flowing,
            broken: false,
            frozen: None,
            flows_at: None,
            last_arrival: open,
        }
    }

    /// Sends a piece on its way, to arrive at `at`.
    pub(super) fn push(&mut self, at: SimTime, piece: Piece) {
        assert!(at >= self.last_arrival, "nothing overtakes");
        self.last_arrival = at;
        if let Piece::Data(bytes) = &piece {
            self.held += bytes.len();
        }
        self.pieces.push_back((self.last_arrival, piece));
    }

    /// When the next piece arrives or has arrived.
    pub(super) fn next_arrival(&self) -> Option<SimTime> {
        self.pieces.front().map(|(at, _)| *at)
    }

    pub(super) fn last_arrival(&self) -> SimTime {
        self.last_arrival
    }

    /// Bytes that can be read now, before the end or a break.
    pub(super) fn readable(&self, now: SimTime) -> usize {
        let arrived = self.pieces.iter().take_while(|(at, _)| *at <= now);
        arrived.map_while(|(_, piece)| if let Piece::Data(bytes) = piece { Some(bytes.len()) } else { None }).sum()
    }

    /// Reads that many bytes of those that can be read.
    pub(super) fn read(&mut self, len: usize) -> Bytes {
        self.held -= len;
        let mut parts = BytesMut::new();
        let mut left = len;
        while left > 0 {
            let Some((_, Piece::Data(bytes))) = self.pieces.front_mut() else { unreachable!("as many were readable") };
            let part = bytes.split_to(left.min(bytes.len()));
            if bytes.is_empty() {
                self.pieces.pop_front();
            }
            if part.len() == len {
                return part;
            }
            left -= part.len();
            parts.extend_from_slice(&part);
        }
        parts.freeze()
    }

    /// Takes the end or the break that is next.
    pub(super) fn take_mark(&mut self, now: SimTime) -> Option<Piece> {
        match self.pieces.front() {
            Some((at, Piece::End | Piece::Break)) if *at <= now => self.pieces.pop_front().map(|(_, piece)| piece),
            _ => None,
        }
    }

    /// Loses all bytes on their way.
    pub(super) fn discard(&mut self) {
        self.pieces.retain(|(_, piece)| !matches!(piece, Piece::Data(_)));
        self.held = 0;
    }
}
