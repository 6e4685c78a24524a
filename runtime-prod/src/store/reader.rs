//! Reading a store without having a part in it: nothing is written, and nothing is locked, so it may be the store of a
//! running broker.

use super::key_path::file_of;
use super::listing;
use super::{S3, Submit};
use crate::failure::Failure;
use bytes::Bytes;
use karst_core::store::{Found, Key, Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

/// A store as its reader sees it.
#[derive(Debug)]
pub struct Reader(Place);

#[derive(Debug)]
enum Place {
    Directory(PathBuf),
    Bucket(S3),
}

impl Reader {
    /// Of a directory.
    ///
    /// # Errors
    /// Says that it is none.
    pub fn directory(root: &Path) -> Result<Self, Failure> {
        match std::fs::metadata(root) {
            Ok(found) if found.is_dir() => Ok(Self(Place::Directory(root.into()))),
            Ok(_) => Err(Failure::new(format_args!("{} is no directory of objects", root.display()))),
            Err(error) => Err(Failure::new(format_args!("the object directory {}: {error}", root.display()))),
        }
    }

    /// Of a bucket.
    #[must_use]
    pub const fn bucket(bucket: S3) -> Self {
        Self(Place::Bucket(bucket))
    }

    /// An object; `None` if there is none of that name.
    ///
    /// # Errors
    /// Says why it can't be read.
    pub fn get(&self, key: &Key) -> Result<Option<Bytes>, Failure> {
        match &self.0 {
            Place::Directory(root) => read_file(root, key),
            Place::Bucket(bucket) => match ask(bucket, &StoreOp::Get { key: key.clone(), span: Span::Whole }) {
                Ok(StoreDone::Got { body, .. }) => Ok(Some(body.0)),
                Ok(other) => unreachable!("a get was answered with {other:?}"),
                Err(StoreError::Missing) => Ok(None),
                Err(error) => Err(refused(bucket, key, error)),
            },
        }
    }

    /// All names with that prefix, in order, with their lengths.
    ///
    /// # Errors
    /// Says why they can't be listed.
    pub fn list(&self, prefix: &str) -> Result<Vec<Found>, Failure> {
        let mut all: Vec<Found> = Vec::new();
        loop {
            let after = all.last().map(|found| found.key.clone());
            let (page, more) = self.page(prefix, after)?;
            all.extend(page);
            if !more {
                return Ok(all);
            }
        }
    }

    fn page(&self, prefix: &str, after: Option<Key>) -> Result<(Vec<Found>, bool), Failure> {
        match &self.0 {
            Place::Directory(root) => {
                let listed = listing::list(root, prefix, after.as_ref().map(|key| key.0.as_str()), usize::MAX);
                listed.map_err(|error| Failure::new(format_args!("cannot list {}: {error}", root.display())))
            }
            Place::Bucket(bucket) => {
                let op = StoreOp::List { prefix: prefix.into(), after, max: PAGE };
                match ask(bucket, &op) {
                    Ok(StoreDone::Listed { found, more }) => Ok((found, more)),
                    Ok(other) => unreachable!("a list was answered with {other:?}"),
                    Err(error) => Err(refused(bucket, &prefix.into(), error)),
                }
            }
        }
    }
}

/// Names asked for at once: S3 gives no more.
const PAGE: usize = 1000;

/// What an attempt may take.
const WITHIN: Duration = Duration::from_secs(60);

/// Attempts, and the pause after the first one, which doubles.
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(200);

fn read_file(root: &Path, key: &Key) -> Result<Option<Bytes>, Failure> {
    let Some(path) = file_of(root, key) else { return Ok(None) };
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => Ok(None),
            _ => Err(Failure::new(format_args!("cannot read {}: {error}", path.display()))),
        },
    }
}

/// Asks until the answer is one that stays.
fn ask(bucket: &S3, op: &StoreOp) -> StoreResult {
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        match once(bucket, op) {
            Err(error) if error.may_pass() => std::thread::sleep(pause),
            ended => return ended,
        }
        pause *= 2;
    }
    once(bucket, op)
}

fn once(bucket: &S3, op: &StoreOp) -> StoreResult {
    let (tell, told) = channel();
    // Nobody waits for it only when this thread is gone.
    bucket.submit(StoreCall { op: op.clone(), within: WITHIN }, Box::new(move |result| drop(tell.send(result))));
    told.recv().expect("every call is completed, or its thread ends the process")
}

fn refused(bucket: &S3, key: &Key, error: StoreError) -> Failure {
    let latest = bucket.latest_failure().map_or_else(String::new, |latest| format!("\nIt said last: {latest}"));
    Failure::new(format_args!("cannot read {key}: {error}{latest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_directory_is_read_and_not_touched() {
        let scratch = Scratch::new("reader");
        let root = scratch.path().join("objects");
        Reader::directory(&root).expect_err("it is not there");
        std::fs::create_dir_all(root.join("data/0a")).expect("writable");
        std::fs::write(root.join("data/0a/1"), "one").expect("writable");
        std::fs::write(root.join(".lock"), "").expect("writable");
        let reader = Reader::directory(&root).expect("it is there");
        assert_eq!(reader.get(&"data/0a/1".into()).expect("readable"), Some(Bytes::from_static(b"one")));
        for none in ["data/0a/2", "data/0a", "data/0a/1/x", "../objects", ".lock", ""] {
            assert_eq!(reader.get(&none.into()).expect("no error"), None, "{none}");
        }
        let found = reader.list("").expect("readable");
        assert_eq!(found, [Found { key: "data/0a/1".into(), len: 3 }]);
        assert_eq!(std::fs::read_dir(&root).expect("readable").count(), 2, "nothing was added");
        Reader::directory(&root.join("data/0a/1")).expect_err("a file");
    }
}
