use super::*;
use aws_sdk_s3::error::{ConnectorError, ErrorMetadata};
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::primitives::SdkBody;

type Refused = SdkError<PutObjectError, HttpResponse>;

fn answer(status: u16) -> HttpResponse {
    HttpResponse::new(status.try_into().expect("a status"), SdkBody::empty())
}

fn refused(status: u16, code: &str, message: &str) -> Refused {
    let about = ErrorMetadata::builder().code(code).message(message).build();
    SdkError::service_error(PutObjectError::generic(about), answer(status))
}

#[test]
fn statuses_and_codes_are_what_they_mean() {
    use StoreError::{Ambiguous, Conflict, Denied, Exists, Missing};
    let bad_request = StoreError::Fatal(Fatal::BadRequest);
    let no_bucket = StoreError::Fatal(Fatal::NoBucket);
    let no_space = StoreError::Fatal(Fatal::NoSpace);
    for (status, code, expected) in [
        (412, "PreconditionFailed", Exists),
        (412, "", Exists),
        (409, "ConditionalRequestConflict", Conflict),
        (409, "OperationAborted", Conflict),
        (404, "NoSuchKey", Missing),
        (404, "", Missing),
        (404, "NoSuchBucket", no_bucket),
        (401, "", Denied),
        (403, "AccessDenied", Denied),
        (403, "InvalidAccessKeyId", Denied),
        (403, "SignatureDoesNotMatch", Denied),
        (403, "RequestTimeTooSkewed", Denied),
        (400, "ExpiredToken", Denied),
        (400, "InvalidArgument", bad_request),
        (400, "EntityTooLarge", bad_request),
        (400, "AuthorizationHeaderMalformed", bad_request),
        (400, "BadDigest", Ambiguous(Cause::CutOff)),
        (400, "RequestTimeout", Ambiguous(Cause::CutOff)),
        (400, "XMinioAdminBucketQuotaExceeded", no_space),
        (405, "MethodNotAllowed", bad_request),
        (408, "", Ambiguous(Cause::Timeout)),
        (499, "", Ambiguous(Cause::Timeout)),
        (498, "", bad_request),
        (301, "PermanentRedirect", bad_request),
        (307, "TemporaryRedirect", Ambiguous(Cause::Server)),
        (500, "InternalError", Ambiguous(Cause::Server)),
        (501, "NotImplemented", bad_request),
        (502, "", Ambiguous(Cause::Server)),
        (504, "", Ambiguous(Cause::Server)),
        (507, "XMinioStorageFull", no_space),
        (200, "", Ambiguous(Cause::Server)),
    ] {
        let code = Some(code).filter(|code| !code.is_empty());
        assert_eq!(of_answer(Kind::Write, status, code), expected, "{status} {code:?} of a write");
        assert_eq!(of_answer(Kind::Read, status, code), expected, "{status} {code:?} of a read");
    }
    assert_eq!(of_answer(Kind::List, 404, None), no_bucket);
}

#[test]
fn a_throttled_write_may_have_been_done_and_a_read_can_not() {
    for (status, code) in [(503, Some("SlowDown")), (503, None), (429, None), (500, Some("SlowDown"))] {
        assert_eq!(of_answer(Kind::Write, status, code), StoreError::Ambiguous(Cause::Throttled));
        assert_eq!(of_answer(Kind::Read, status, code), StoreError::Throttled);
        assert_eq!(of_answer(Kind::List, status, code), StoreError::Throttled);
    }
}

#[test]
fn no_status_ever_makes_a_write_look_undone_that_may_have_been_done() {
    for status in (100..=399).chain(500..=999).filter(|status| ![301, 501, 503, 507].contains(status)) {
        let verdict = of_answer(Kind::Write, status, None);
        assert!(matches!(verdict, StoreError::Ambiguous(_)), "{status}: {verdict:?}");
    }
}

#[test]
fn errors_without_an_answer_leave_the_outcome_open() {
    let io = || std::io::Error::from(std::io::ErrorKind::ConnectionReset).into();
    for (error, cause) in [
        (Refused::timeout_error("late"), Cause::Timeout),
        (Refused::dispatch_failure(ConnectorError::timeout(io())), Cause::Timeout),
        (Refused::dispatch_failure(ConnectorError::io(io())), Cause::CutOff),
        (Refused::dispatch_failure(ConnectorError::other(io(), None)), Cause::CutOff),
        (Refused::response_error("garbage", answer(200)), Cause::Server),
        (Refused::response_error("garbage", answer(500)), Cause::Server),
    ] {
        assert_eq!(verdict(Kind::Write, &error), StoreError::Ambiguous(cause), "{error:?}");
    }
    assert_eq!(verdict(Kind::Write, &Refused::response_error("garbage", answer(412))), StoreError::Exists);
    assert_eq!(verdict(Kind::Write, &refused(412, "PreconditionFailed", "no")), StoreError::Exists);
}

#[test]
fn lacking_credentials_are_told_from_a_service_for_them_that_fails() {
    let wrapped = |error: CredentialsError| Refused::dispatch_failure(ConnectorError::other(error.into(), None));
    let none = wrapped(CredentialsError::not_loaded("nothing configured"));
    assert_eq!(verdict(Kind::Read, &none), StoreError::Denied);
    assert!(text(&none).contains("nothing configured"), "{}", text(&none));
    let invalid = wrapped(CredentialsError::invalid_configuration("half a key"));
    assert_eq!(verdict(Kind::Read, &invalid), StoreError::Denied);
    let late = wrapped(CredentialsError::provider_timed_out(std::time::Duration::from_secs(5)));
    assert_eq!(verdict(Kind::Read, &late), StoreError::Ambiguous(Cause::Timeout));
    let failed = wrapped(CredentialsError::provider_error("500"));
    assert_eq!(verdict(Kind::Read, &failed), StoreError::Ambiguous(Cause::Server));
}

#[test]
fn the_operator_hears_what_the_store_said() {
    assert_eq!(text(&refused(403, "AccessDenied", "who are you")), "403 AccessDenied: who are you");
    let io = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let down = text(&Refused::dispatch_failure(ConnectorError::io(io.into())));
    assert!(down.ends_with("connection refused"), "{down}");
    let mut elsewhere = answer(301);
    elsewhere.headers_mut().insert("x-amz-bucket-region", "eu-west-1");
    let about = ErrorMetadata::builder().code("PermanentRedirect").build();
    let moved: Refused = SdkError::service_error(PutObjectError::generic(about), elsewhere);
    assert_eq!(text(&moved), "301 (the bucket is in region eu-west-1) PermanentRedirect");
}
