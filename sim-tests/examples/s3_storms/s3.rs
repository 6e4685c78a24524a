//! S3's requests as the model's, and its answers as S3's.
//!
//! | the model | the wire |
//! |---|---|
//! | unknown: timeout | no answer |
//! | unknown: cut off | the connection breaks without an answer |
//! | a truncated read | the connection breaks in the middle of the body |
//! | throttled, server | 503 SlowDown, 500 InternalError |
//! | the precondition does not hold | 412 |
//! | a concurrent conditional put | 409 ConditionalRequestConflict |
//! | no such object, no such bucket | 404 |
//! | denied, read-only | 403 |
//! | no space | 507 |

use crate::store::{Heard, Store};
use crate::truncated::Truncated;
use async_trait::async_trait;
use karst_core::machine::{Payload, Rope};
use karst_core::store::{Cause, ETag, Fatal, Key, Precondition, Span, StoreDone, StoreError, StoreOp};
use s3s::dto;
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The largest object that is taken.
const LARGEST: usize = 512 << 20;

/// Who gets no answer and does not go away is cut off after so long.
const SILENCE: Duration = Duration::from_secs(300);

/// The most names in a page.
const PAGE: usize = 1000;

/// Carried by each request: whether its connection breaks instead of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Whether it does.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Its name.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) store: Store,
}

#[async_trait]
impl S3 for Bucket {
    async fn put_object(&self, request: S3Request<dto::PutObjectInput>) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let S3Request { input, extensions, .. } = request;
        self.check(&input.bucket)?;
        let only_if = match (input.if_none_match, input.if_match) {
            (Some(dto::ETagCondition::Any), None) => Precondition::Absent,
            (None, Some(dto::ETagCondition::ETag(etag))) => Precondition::Is(ETag(format!("\"{}\"", etag.value()))),
            _ => return Err(s3_error!(NotImplemented, "every put has one condition")),
        };
        let body = match input.body {
            Some(body) => Body::from(body).store_all_limited(LARGEST).await,
            None => Ok(Default::default()),
        };
        let body = body.map_err(|error| S3Error::with_message(S3ErrorCode::IncompleteBody, error.to_string()))?;
        if let Some(told) = input.checksum_crc32c
            && told != base64(crc32c::crc32c(&body).to_be_bytes())
        {
            return Err(s3_error!(BadDigest, "the body has another checksum"));
        }
        let op = StoreOp::Put { key: Key(input.key), body: Rope::from(body), only_if };
        match self.ask(op, &extensions).await? {
            Answer::Done(StoreDone::Put { etag }) => {
                Ok(S3Response::new(dto::PutObjectOutput { e_tag: Some(wire(&etag)), ..Default::default() }))
            }
            other => Err(other.senseless()),
        }
    }

    async fn get_object(&self, request: S3Request<dto::GetObjectInput>) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let S3Request { input, extensions, .. } = request;
        self.check(&input.bucket)?;
        let span = span(input.range);
        let (body, content, etag, total) =
            match self.ask(StoreOp::Get { key: Key(input.key), span }, &extensions).await? {
                Answer::Done(StoreDone::Got { body, etag, total }) => (body.clone(), Body::from(body.0), etag, total),
                Answer::Truncated { body, etag, total } => {
                    (body.clone(), Body::http_body(Truncated::new(body.0)), etag, total)
                }
                other => return Err(other.senseless()),
            };
        let len = body.0.len() as u64;
        let first = match span {
            Span::Whole | Span::Last { .. } => total - len,
            Span::Range { at, .. } => at,
        };
        let output = dto::GetObjectOutput {
            body: Some(content.into()),
            content_length: i64::try_from(len).ok(),
            content_range: (span != Span::Whole)
                .then(|| format!("bytes {first}-{}/{total}", (first + len).saturating_sub(1))),
            e_tag: Some(wire(&etag)),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn head_object(
        &self,
        request: S3Request<dto::HeadObjectInput>,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        let S3Request { input, extensions, .. } = request;
        self.check(&input.bucket)?;
        let op = StoreOp::Get { key: Key(input.key), span: Span::Whole };
        let (etag, total) = match self.ask(op, &extensions).await? {
            Answer::Done(StoreDone::Got { etag, total, .. }) | Answer::Truncated { etag, total, .. } => (etag, total),
            other => return Err(other.senseless()),
        };
        let content_length = i64::try_from(total).ok();
        let output = dto::HeadObjectOutput { content_length, e_tag: Some(wire(&etag)), ..Default::default() };
        Ok(S3Response::new(output))
    }

    async fn delete_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        let S3Request { input, extensions, .. } = request;
        self.check(&input.bucket)?;
        match self.ask(StoreOp::Delete { key: Key(input.key) }, &extensions).await? {
            Answer::Done(StoreDone::Deleted) => Ok(S3Response::new(Default::default())),
            other => Err(other.senseless()),
        }
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        let S3Request { input, extensions, .. } = request;
        self.check(&input.bucket)?;
        let max = input.max_keys.and_then(|max| usize::try_from(max).ok()).map_or(PAGE, |max| max.min(PAGE));
        // A token is the last name of the page before.
        let after = input.continuation_token.or(input.start_after).map(Key);
        let op = StoreOp::List { prefix: Key(input.prefix.unwrap_or_default()), after, max };
        let (found, more) = match self.ask(op, &extensions).await? {
            Answer::Done(StoreDone::Listed { found, more }) => (found, more),
            other => return Err(other.senseless()),
        };
        let output = dto::ListObjectsV2Output {
            name: Some(input.bucket),
            key_count: i32::try_from(found.len()).ok(),
            next_continuation_token: if more { found.last().map(|last| last.key.0.clone()) } else { None },
            is_truncated: Some(more),
            contents: Some(found.into_iter().map(|one| object(one.key, one.len)).collect()),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<dto::GetBucketVersioningInput>,
    ) -> S3Result<S3Response<dto::GetBucketVersioningOutput>> {
        self.check(&request.input.bucket)?;
        Ok(S3Response::new(Default::default()))
    }
}

/// What is not an error.
enum Answer {
    Done(StoreDone),
    Truncated { body: Payload, etag: ETag, total: u64 },
}

impl Answer {
    /// Never happens: the model answers what it is asked.
    fn senseless(self) -> S3Error {
        s3_error!(InternalError, "the model answers something else")
    }
}

impl Bucket {
    fn check(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.name { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    async fn ask(&self, op: StoreOp, extensions: &hyper::http::Extensions) -> S3Result<Answer> {
        let error = match self.store.ask(op).await {
            Heard::Result(Ok(done)) => return Ok(Answer::Done(done)),
            Heard::Truncated { body, etag, total } => return Ok(Answer::Truncated { body, etag, total }),
            Heard::Result(Err(error)) => error,
        };
        if error == StoreError::Ambiguous(Cause::Timeout) {
            tokio::time::sleep(SILENCE).await;
        }
        if let StoreError::Ambiguous(Cause::Timeout | Cause::CutOff) = error {
            let cut = extensions.get::<Cut>().expect("each request has one");
            cut.0.store(true, Ordering::Relaxed);
        }
        Err(said(error))
    }
}

fn said(error: StoreError) -> S3Error {
    let code = match error {
        StoreError::Exists => S3ErrorCode::PreconditionFailed,
        StoreError::Missing => S3ErrorCode::NoSuchKey,
        StoreError::Conflict => S3ErrorCode::ConditionalRequestConflict,
        StoreError::Throttled | StoreError::Ambiguous(Cause::Throttled) => S3ErrorCode::SlowDown,
        StoreError::Denied | StoreError::Fatal(Fatal::ReadOnly) => S3ErrorCode::AccessDenied,
        StoreError::Fatal(Fatal::NoBucket) => S3ErrorCode::NoSuchBucket,
        // The model says so of a part without any byte.
        StoreError::Fatal(Fatal::BadRequest) => S3ErrorCode::InvalidRange,
        StoreError::Fatal(Fatal::NoSpace) => {
            let mut full = S3Error::new(S3ErrorCode::Custom("QuotaExceeded".into()));
            full.set_status_code(hyper::StatusCode::INSUFFICIENT_STORAGE);
            return full;
        }
        StoreError::Ambiguous(_) | StoreError::Corrupt | StoreError::Fatal(_) => S3ErrorCode::InternalError,
    };
    S3Error::with_message(code, error.to_string())
}

fn span(range: Option<dto::Range>) -> Span {
    match range {
        None => Span::Whole,
        Some(dto::Range::Int { first, last }) => {
            let len = last.map_or(u64::MAX, |last| last.saturating_add(1).saturating_sub(first));
            Span::Range { at: first, len }
        }
        Some(dto::Range::Suffix { length }) => Span::Last { len: length },
    }
}

fn object(key: Key, len: u64) -> dto::Object {
    dto::Object { key: Some(key.0), size: i64::try_from(len).ok(), ..Default::default() }
}

fn wire(etag: &ETag) -> dto::ETag {
    dto::ETag::Strong(etag.0.trim_matches('"').to_owned())
}

/// A checksum as S3's headers have it (RFC 4648, section 4).
fn base64(bytes: [u8; 4]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u64::from(u32::from_be_bytes(bytes)) << 4;
    let letters = (0..6).rev().map(|n| char::from(LETTERS[(bits >> (6 * n) & 63) as usize]));
    letters.chain(['=', '=']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_written_as_s3_has_them() {
        assert_eq!(base64([0; 4]), "AAAAAA==");
        assert_eq!(base64([0x8a, 0x91, 0x36, 0xaa]), "ipE2qg==", "32 zero bytes");
        assert_eq!(base64([0xff; 4]), "/////w==");
    }

    #[test]
    fn ranges_are_the_models() {
        assert_eq!(span(None), Span::Whole);
        assert_eq!(span(dto::Range::parse("bytes=5-9").ok()), Span::Range { at: 5, len: 5 });
        assert_eq!(span(dto::Range::parse("bytes=5-").ok()), Span::Range { at: 5, len: u64::MAX });
        assert_eq!(span(dto::Range::parse("bytes=-7").ok()), Span::Last { len: 7 });
    }
}
