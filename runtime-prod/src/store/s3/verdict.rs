//! What an answer of S3's, or the lack of one, means to machines.
//!
//! | answer | read | write |
//! |---|---|---|
//! | 412 | the precondition does not hold | the same |
//! | 409 | a concurrent conditional put is being decided | the same |
//! | 404 | no such object, or no such bucket | the same |
//! | 401, 403, credentials that expired or are not there | denied | denied |
//! | 429, 503 | throttled | unknown: throttled |
//! | 507, or a quota | no space | no space |
//! | 408, 499, no answer | unknown: timeout | unknown: timeout |
//! | a body that was damaged on its way | unknown: cut off | unknown: cut off |
//! | 301, 501, other 4xx | malformed | malformed |
//! | all else | unknown: server | unknown: server |

use super::profile;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use karst_core::store::{Cause, Fatal, StoreError};
use std::error::Error;
use std::fmt::Write;

/// What a request may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing; it is about an object.
    Read,
    /// Nothing; it is about the bucket.
    List,
    /// An object.
    Write,
}

/// Classes an error of the SDK's.
pub(super) fn verdict<E>(kind: Kind, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(lacking) = credentials(error) {
        return lacking;
    }
    match error {
        SdkError::ServiceError(answer) => of_answer(kind, answer.raw().status().as_u16(), answer.err().code()),
        // The status of an answer that makes no sense otherwise; a success may have been one.
        SdkError::ResponseError(answer) => of_answer(kind, answer.raw().status().as_u16(), None),
        SdkError::TimeoutError(_) => StoreError::Ambiguous(Cause::Timeout),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => StoreError::Ambiguous(Cause::Timeout),
        SdkError::DispatchFailure(_) => StoreError::Ambiguous(Cause::CutOff),
        SdkError::ConstructionFailure(_) => StoreError::Fatal(Fatal::BadRequest),
        _ => StoreError::Ambiguous(Cause::Server),
    }
}

/// Classes a status and S3's own code, where the body had one.
pub(super) fn of_answer(kind: Kind, status: u16, code: Option<&str>) -> StoreError {
    let throttled = match kind {
        Kind::Read | Kind::List => StoreError::Throttled,
        Kind::Write => StoreError::Ambiguous(Cause::Throttled),
    };
    match (status, code.unwrap_or_default()) {
        (412, _) => StoreError::Exists,
        (409, _) => StoreError::Conflict,
        (404, "NoSuchBucket") => StoreError::Fatal(Fatal::NoBucket),
        (404, _) if kind == Kind::List => StoreError::Fatal(Fatal::NoBucket),
        (404, _) => StoreError::Missing,
        (401 | 403, _) | (400, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "InvalidAccessKeyId") => {
            StoreError::Denied
        }
        (
            400,
            "BadDigest"
            | "IncompleteBody"
            | "RequestTimeout"
            | "XAmzContentChecksumMismatch"
            | "XAmzContentSHA256Mismatch",
        ) => StoreError::Ambiguous(Cause::CutOff),
        (408 | 499, _) => StoreError::Ambiguous(Cause::Timeout),
        (429 | 503, _) | (_, "SlowDown") => throttled,
        (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded") => {
            StoreError::Fatal(Fatal::NoSpace)
        }
        (301 | 501 | 400..=498, _) => StoreError::Fatal(Fatal::BadRequest),
        _ => StoreError::Ambiguous(Cause::Server),
    }
}

/// What went wrong, for the operator: S3's code and message, or the innermost cause, which names addresses.
pub(super) fn text<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let mut text = String::new();
    if let Some(raw) = error.raw_response() {
        let _ = write!(text, "{} ", raw.status());
        if let Some(region) = raw.headers().get("x-amz-bucket-region").filter(|_| raw.status().as_u16() == 301) {
            let _ = write!(text, "(the bucket is in region {region}) ");
        }
    }
    match error.as_service_error() {
        Some(answer) => {
            text += answer.code().unwrap_or("without a code");
            if let Some(message) = answer.message() {
                let _ = write!(text, ": {message}");
            }
        }
        None => {
            if credentials(error).is_some() {
                text += &tried();
            }
            text += &causes(error);
        }
    }
    text
}

/// Where credentials were looked for in vain: the SDK tells of the last place alone.
fn tried() -> String {
    let env = |name: &str| std::env::var(name).ok();
    let [config, credentials] = profile::files(&env);
    format!(
        "no credentials, neither from AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, nor from the profile {:?} in {} or {}, \
         nor from a web identity, nor from a container's or an instance's role: ",
        profile::name(&env),
        config.display(),
        credentials.display()
    )
}

fn causes(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = cause.source();
    }
    texts.join(": ")
}

/// Whether, and how, it failed for want of credentials: no request was made.
fn credentials(error: &(dyn Error + 'static)) -> Option<StoreError> {
    let mut next = Some(error);
    while let Some(cause) = next {
        match cause.downcast_ref::<CredentialsError>() {
            Some(CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_)) => {
                return Some(StoreError::Denied);
            }
            Some(CredentialsError::ProviderTimedOut(_)) => return Some(StoreError::Ambiguous(Cause::Timeout)),
            Some(_) => return Some(StoreError::Ambiguous(Cause::Server)),
            None => next = cause.source(),
        }
    }
    None
}

#[cfg(test)]
mod tests;
