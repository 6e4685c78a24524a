//! One request of the contract, as one request to S3.

use super::body::{checksum, stream};
use super::complaints::Complaints;
use super::verdict::{Kind, text, verdict};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::BucketVersioningStatus;
use karst_core::machine::Rope;
use karst_core::store::{
    Cause, ETag, Found, Key, Precondition, Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult,
};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, warn};

/// S3's own limit of a page.
const PAGE: usize = 1000;

/// What a look at the bucket's settings may take: nothing depends on it.
const LOOK: Duration = Duration::from_secs(5);

/// A bucket to make requests to.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pub(super) client: Client,
    pub(super) bucket: String,
    pub(super) complaints: Arc<Complaints>,
}

impl Requests {
    /// Does it, for as long as it may take; then the attempt is dropped, and its connection with it.
    pub(super) async fn perform(&self, call: StoreCall) -> StoreResult {
        let (doing, key) = name(&call.op);
        let result = match tokio::time::timeout(call.within, self.attempt(call.op)).await {
            Ok(result) => result,
            Err(_) => {
                let why = format!("no answer within {:.1} s", call.within.as_secs_f32());
                self.complaints.failed(doing, &key.0, &why);
                return Err(StoreError::Ambiguous(Cause::Timeout));
            }
        };
        if matches!(result, Ok(_) | Err(StoreError::Exists | StoreError::Missing)) {
            self.complaints.answered();
        }
        result
    }

    async fn attempt(&self, op: StoreOp) -> StoreResult {
        match op {
            StoreOp::Put { key, body, only_if } => self.put(&key, &body, &only_if).await,
            StoreOp::Get { key, span } => self.get(&key, span).await,
            StoreOp::Delete { key } => self.delete(&key).await,
            StoreOp::List { prefix, after, max } => self.list(&prefix, after, max).await,
        }
    }

    async fn put(&self, key: &Key, body: &Rope, only_if: &Precondition) -> StoreResult {
        let request = self.client.put_object().bucket(&self.bucket).key(&key.0);
        let request = request.checksum_crc32_c(checksum(body)).body(stream(body));
        let request = match only_if {
            Precondition::Absent => request.if_none_match("*"),
            Precondition::Is(etag) => request.if_match(&etag.0),
        };
        let put = request.send().await.map_err(|error| self.failed("put", key, Kind::Write, &error))?;
        match put.e_tag {
            Some(etag) => Ok(StoreDone::Put { etag: ETag(etag) }),
            None => Err(self.makes_no_sense("put", key, "no ETag", StoreError::Ambiguous(Cause::Server))),
        }
    }

    async fn get(&self, key: &Key, span: Span) -> StoreResult {
        if let Span::Range { len: 0, .. } | Span::Last { len: 0 } = span {
            return self.nothing_of(key, span).await;
        }
        let request = self.client.get_object().bucket(&self.bucket).key(&key.0).set_range(range(span));
        match request.send().await {
            Ok(got) => self.got(key, span, got).await,
            // Past the end, or of an empty object.
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 416) => {
                self.nothing_of(key, span).await
            }
            Err(error) => Err(self.failed("get", key, Kind::Read, &error)),
        }
    }

    async fn got(&self, key: &Key, span: Span, got: GetObjectOutput) -> StoreResult {
        let told = got.content_length.and_then(|len| u64::try_from(len).ok());
        let body = collect(got.body).await.map_err(|error| {
            self.complaints.failed("get", &key.0, &error);
            StoreError::Ambiguous(Cause::CutOff)
        })?;
        let len = body.len() as u64;
        let total = if span == Span::Whole { Some(len) } else { part_of(span, len, got.content_range.as_deref()) };
        let (Some(total), Some(etag)) = (total.filter(|_| told.is_none_or(|told| told == len)), got.e_tag) else {
            return Err(self.makes_no_sense("get", key, "another part, or no ETag", StoreError::Corrupt));
        };
        Ok(StoreDone::Got { body: body.to_bytes().into(), etag: ETag(etag), total })
    }

    /// A part without bytes, which S3 has no request for.
    async fn nothing_of(&self, key: &Key, span: Span) -> StoreResult {
        let request = self.client.head_object().bucket(&self.bucket).key(&key.0);
        let head = request.send().await.map_err(|error| self.failed("get", key, Kind::Read, &error))?;
        let total = head.content_length.and_then(|len| u64::try_from(len).ok());
        match (total, head.e_tag) {
            (Some(total), Some(etag)) if is_empty(span, total) => {
                Ok(StoreDone::Got { body: Vec::new().into(), etag: ETag(etag), total })
            }
            _ => Err(self.makes_no_sense("get", key, "no part of an object that has it", StoreError::Corrupt)),
        }
    }

    async fn delete(&self, key: &Key) -> StoreResult {
        match self.client.delete_object().bucket(&self.bucket).key(&key.0).send().await {
            Ok(_) => Ok(StoreDone::Deleted),
            Err(error) => match self.failed("delete", key, Kind::Write, &error) {
                StoreError::Missing => Ok(StoreDone::Deleted),
                other => Err(other),
            },
        }
    }

    async fn list(&self, prefix: &Key, after: Option<Key>, max: usize) -> StoreResult {
        let max = i32::try_from(max.min(PAGE)).unwrap_or(i32::MAX);
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix.0).max_keys(max);
        let request = request.set_start_after(after.map(|key| key.0));
        let listed = request.send().await.map_err(|error| self.failed("list", prefix, Kind::List, &error))?;
        let found = listed.contents.unwrap_or_default().into_iter().map(|object| {
            let len = u64::try_from(object.size?).ok()?;
            Some(Found { key: Key(object.key?), len })
        });
        match found.collect::<Option<Vec<_>>>() {
            Some(found) => Ok(StoreDone::Listed { found, more: listed.is_truncated.unwrap_or_default() }),
            None => Err(self.makes_no_sense("list", prefix, "names or lengths are missing", StoreError::Corrupt)),
        }
    }

    /// Tells the operator of a bucket that keeps what is deleted. Who may not ask is not told.
    pub(super) async fn look_at_versioning(&self) {
        let request = self.client.get_bucket_versioning().bucket(&self.bucket).send();
        match tokio::time::timeout(LOOK, request).await {
            Ok(Ok(found)) if found.status == Some(BucketVersioningStatus::Enabled) => warn!(
                "the bucket {} keeps versions: what Karst deletes and replaces will go on taking space. Switch versioning \
                 off, or have old versions expire",
                self.bucket
            ),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!("whether the bucket keeps versions is unknown: {}", text(&error)),
            Err(_) => debug!("whether the bucket keeps versions is unknown: no answer"),
        }
    }

    fn failed<E>(&self, doing: &str, key: &Key, kind: Kind, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let verdict = verdict(kind, error);
        match verdict {
            StoreError::Exists | StoreError::Missing | StoreError::Conflict => debug!(%key, "{doing}: {verdict}"),
            _ => {
                self.complaints.failed(doing, &key.0, &text(error));
            }
        }
        verdict
    }

    fn makes_no_sense(&self, doing: &str, key: &Key, what: &str, verdict: StoreError) -> StoreError {
        self.complaints.failed(doing, &key.0, &format_args!("the answer makes no sense: {what}"));
        verdict
    }
}

fn name(op: &StoreOp) -> (&'static str, Key) {
    match op {
        StoreOp::Put { key, .. } => ("put", key.clone()),
        StoreOp::Get { key, .. } => ("get", key.clone()),
        StoreOp::Delete { key } => ("delete", key.clone()),
        StoreOp::List { prefix, .. } => ("list", prefix.clone()),
    }
}

async fn collect(mut body: ByteStream) -> Result<Rope, aws_sdk_s3::primitives::ByteStreamError> {
    let mut rope = Rope::default();
    while let Some(piece) = body.next().await {
        rope.push(piece?);
    }
    Ok(rope)
}

/// The header that asks for it; none for the whole.
fn range(span: Span) -> Option<String> {
    match span {
        Span::Whole => None,
        Span::Range { at, len } => Some(format!("bytes={at}-{}", at.saturating_add(len).saturating_sub(1))),
        Span::Last { len } => Some(format!("bytes=-{len}")),
    }
}

/// The whole object's length, if `len` bytes are what `span` asks for, by the answer's `bytes FIRST-LAST/TOTAL`.
fn part_of(span: Span, len: u64, told: Option<&str>) -> Option<u64> {
    let (part, total) = told?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = part.split_once('-')?;
    let (first, last, total) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, total.parse::<u64>().ok()?);
    let (from, to) = match span {
        Span::Whole => (0, total),
        Span::Range { at, len } => (at, at.saturating_add(len).min(total)),
        Span::Last { len } => (total - len.min(total), total),
    };
    (first == from && last.checked_add(1) == Some(to) && to.checked_sub(from) == Some(len)).then_some(total)
}

fn is_empty(span: Span, total: u64) -> bool {
    match span {
        Span::Whole => total == 0,
        Span::Range { at, len } => len == 0 || at >= total,
        Span::Last { len } => len == 0 || total == 0,
    }
}

#[cfg(test)]
mod tests;
