//! Identifiers, positions and counters. Each is a type of its own, so that none can stand in for another.

use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The value after this one.
            ///
            /// # Panics
            /// When the numbers are used up, which takes longer than any cluster lives.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! random {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Draws a new one; never the nil value, which means "none" on the wire.
            #[must_use]
            pub fn draw(rng: &mut crate::machine::Rng) -> Self {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&rng.next_u64().to_be_bytes());
                bytes[8..].copy_from_slice(&rng.next_u64().to_be_bytes());
                // Version 4, variant 1 of RFC 9562: tools show it as an ordinary random UUID.
                bytes[6] = (bytes[6] & 0x0f) | 0x40;
                bytes[8] = (bytes[8] & 0x3f) | 0x80;
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (at, byte) in self.0.iter().enumerate() {
                    if matches!(at, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

number!(
    /// A broker, chosen by its operator; Kafka's broker id.
    NodeId(u32)
);
number!(
    /// Grows at each registration of a broker. Everything that an older epoch of the same node sends is refused.
    NodeEpoch(u64)
);
number!(
    /// A contiguous sequence of offsets with one writer at a time. A partition's log is one stream.
    StreamId(u64)
);
number!(
    /// Grows at each opening of a stream and fences its earlier writers; Kafka's leader epoch.
    StreamEpoch(u32)
);
number!(
    /// A position in a stream, counted in records; Kafka's offset.
    Offset(u64)
);
number!(
    /// A byte position in a write-ahead log. It never wraps and starts at 0 in each life (UUID) of a ring.
    Lsn(u64)
);
number!(
    /// A data object in the bucket. Issued once, used for one content only.
    ObjectId(u64)
);
number!(
    /// Counts the cuts of one node epoch, from 1. The controller takes each exactly once, in order.
    CutNumber(u64)
);
number!(
    /// A connection of a client to this broker, in this incarnation of it.
    ConnId(u64)
);
number!(
    /// Position of an entry in the metadata log.
    Seq(u64)
);
number!(
    /// A leadership of the metadata log. Grows with each claim.
    Term(u64)
);
number!(
    /// Counts the commands of one node to the controller, within a node epoch (or incarnation, before there is one).
    CommandSeq(u64)
);
number!(
    /// A partition's index within its topic.
    PartitionIndex(u32)
);
number!(
    /// Names one recovery of one fenced node epoch: the position of the metadata entry that ordered it.
    RecoveryNumber(u64)
);
number!(
    /// Version of everything durable that this cluster may write. See the metadata room.
    FeatureLevel(u16)
);

random!(
    /// The cluster, drawn when its bucket is initialised.
    ClusterId
);
random!(
    /// A topic, stable over its life; a new topic of the same name has another.
    TopicId
);
random!(
    /// One life of a ring WAL, drawn when it is formatted.
    WalUuid
);
random!(
    /// One run of a broker process.
    Incarnation
);

impl WalUuid {
    /// From the text that it is shown as: 32 hexadecimal digits, with or without hyphens between them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = text.chars().filter(|char| *char != '-').map(|char| char.to_digit(16));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            let (high, low) = (digits.next()??, digits.next()??);
            *byte = u8::try_from(16 * high + low).ok()?;
        }
        digits.next().is_none().then_some(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::WalUuid;
    use crate::machine::Rng;
    use alloc::string::ToString;

    #[test]
    fn a_wal_is_named_as_it_is_shown() {
        let uuid = WalUuid::draw(&mut Rng::new(1));
        let shown = uuid.to_string();
        assert_eq!(WalUuid::parse(&shown), Some(uuid));
        assert_eq!(WalUuid::parse(&shown.replace('-', "").to_uppercase()), Some(uuid));
        for wrong in ["", "no", &shown[1..], &(shown.clone() + "0"), &shown.replace('4', "g")] {
            assert_eq!(WalUuid::parse(wrong), None, "{wrong}");
        }
    }
}
