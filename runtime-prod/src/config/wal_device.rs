//! What the write-ahead log is written to.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place for a write-ahead log, said as a URI. What is really there is found out when it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalDevice {
    /// `file:PATH`, a file that is made where there is none.
    File(PathBuf),
    /// `block:PATH`, a whole block device.
    Block(PathBuf),
    /// `object:`, objects beside all others in the object store.
    Objects,
}

impl WalDevice {
    /// Reads a URI.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, path) = text
            .split_once(':')
            .filter(|(kind, _)| !kind.contains('/'))
            .ok_or("names no kind: say file:PATH, block:PATH of a block device, or object:")?;
        if kind == "object" {
            let nothing = path.is_empty().then_some(Self::Objects);
            return nothing.ok_or_else(|| "says where, and an object WAL is in the object store: say object:".into());
        }
        let make = match kind {
            "file" => Self::File,
            "block" => Self::Block,
            _ => return Err(format!("is of the kind {kind:?}, and there are file, block and object")),
        };
        if path.is_empty() || path.starts_with("//") {
            return Err(format!("names no path: say {kind}:PATH, such as {kind}:/dev/nvme1n1"));
        }
        Ok(make(path.into()))
    }

    /// Where it is, unless that is the object store.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Block(path) => Some(path),
            Self::Objects => None,
        }
    }
}

impl fmt::Display for WalDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Block(path) => write!(f, "block:{}", path.display()),
            Self::Objects => f.write_str("object:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_told() {
        for (text, place) in [
            ("file:/x/wal", WalDevice::File("/x/wal".into())),
            ("file:here", WalDevice::File("here".into())),
            ("block:/dev/disk/by-id/a:b", WalDevice::Block("/dev/disk/by-id/a:b".into())),
            ("object:", WalDevice::Objects),
        ] {
            assert_eq!(WalDevice::parse(text).as_ref(), Ok(&place));
            assert_eq!(place.to_string(), text);
        }
        for (text, named) in [
            ("/dev/sdb", "names no kind"),
            ("", "names no kind"),
            ("./a:b", "names no kind"),
            ("raw:/dev/sdb", "there are file, block and object"),
            ("object:s3://bucket", "in the object store"),
            ("block:", "names no path"),
            ("file:///x", "names no path"),
        ] {
            let error = WalDevice::parse(text).expect_err(text);
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
