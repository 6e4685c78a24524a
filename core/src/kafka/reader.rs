//! Reads Kafka's primitive types from the front of a slice, with errors instead of panics.

/// Why bytes from a client are not a request. Closes their connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Malformed {
    /// The field in which it shows.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The frame ends within it.
    Short,
    /// A length that can't be.
    Length(i64),
    /// A count of elements that the rest of the frame can't hold.
    Count(u32),
    /// A variable-length number of more than 32 bits.
    Number,
    /// A tagged field's value is not as long as announced.
    Tag(u32),
    /// Decoded, it would take a multiple of the frame's length in memory.
    Memory,
    /// An API that is not served.
    Api(i16),
    /// A version of an API that is not served.
    Version(i16),
    /// One that clients older than those that Kafka 4 serves would ask for (KIP-896).
    OldVersion(i16),
    /// Not text, or something else that the decoder refuses.
    Content,
}

impl Malformed {
    /// Bytes that have the right length, and can't be what they should.
    pub(crate) const fn content(field: &'static str) -> Self {
        Self { field, fault: Fault::Content }
    }

    /// A version that is not known.
    pub(crate) const fn version(field: &'static str, version: i16) -> Self {
        Self { field, fault: Fault::Version(version) }
    }
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let field = self.field;
        match self.fault {
            Fault::Short => write!(f, "the request ends within its {field}"),
            Fault::Length(length) => write!(f, "the length of {field} is {length}"),
            Fault::Count(count) => write!(f, "{field} can't have {count} elements in a request of this length"),
            Fault::Number => write!(f, "a number in {field} has more than 32 bits"),
            Fault::Tag(tag) => write!(f, "the tagged field {tag} of {field} has another length than it says"),
            Fault::Memory => write!(f, "{field} would take too much memory for a request of this length"),
            Fault::Api(key) => write!(f, "{field} {key} is not served"),
            Fault::Version(version) => write!(f, "version {version} of {field} is not served"),
            Fault::OldVersion(version) => {
                write!(f, "version {version} of {field} is not served: as for Kafka 4, clients must be of 2.1 or later")
            }
            Fault::Content => write!(f, "{field} can't be decoded"),
        }
    }
}

/// A position in a frame. Each method names the field that it reads, for the error.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Bytes not read yet.
    pub(crate) const fn left(&self) -> usize {
        self.left.len()
    }

    /// The next `len` bytes.
    pub(crate) fn bytes(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, left) = self.left.split_at_checked(len).ok_or(Malformed { field, fault: Fault::Short })?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(Malformed { field, fault: Fault::Short })?;
        self.left = left;
        Ok(*taken)
    }

    pub(crate) fn i16(&mut self, field: &'static str) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.array(field)?))
    }

    pub(crate) fn i32(&mut self, field: &'static str) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array(field)?))
    }

    pub(crate) fn i64(&mut self, field: &'static str) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array(field)?))
    }

    /// An unsigned number of one to five bytes, seven bits each, the lowest first.
    pub(crate) fn varint(&mut self, field: &'static str) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for at in 0..5 {
            let [byte] = self.array::<1>(field)?;
            if at == 4 && byte > 0x0f {
                return Err(Malformed { field, fault: Fault::Number });
            }
            value |= u32::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    /// A string or bytes: a length and so many bytes. `None` is null.
    pub(crate) fn sized(&mut self, field: &'static str, prefix: Prefix) -> Result<Option<&'a [u8]>, Malformed> {
        let Some(len) = self.length(field, prefix)? else { return Ok(None) };
        // Every target that this runs on has pointers of at least 32 bits.
        self.bytes(field, len as usize).map(Some)
    }

    /// A length or count; `None` is null.
    pub(crate) fn length(&mut self, field: &'static str, prefix: Prefix) -> Result<Option<u32>, Malformed> {
        let signed = match prefix {
            Prefix::Compact => i64::from(self.varint(field)?) - 1,
            Prefix::Two => i64::from(self.i16(field)?),
            Prefix::Four => i64::from(self.i32(field)?),
        };
        match signed {
            -1 => Ok(None),
            length => u32::try_from(length).map(Some).map_err(|_| Malformed { field, fault: Fault::Length(length) }),
        }
    }
}

/// How a length or count is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// One more than it, as a variable-length number; 0 is null.
    Compact,
    /// Two bytes; -1 is null.
    Two,
    /// Four bytes; -1 is null.
    Four,
}
