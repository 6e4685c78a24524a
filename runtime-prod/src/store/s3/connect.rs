//! A client with the usual credential chain, and without the SDK's own ideas of trying again.

use super::location::Location;
use super::profile;
use crate::config::Credentials;
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials as Given;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Builder, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// Where nothing else is said and the server is none of AWS's: it only takes part in the signature.
const NOWHERE: &str = "us-east-1";

/// A client for it. Makes no request to S3; credentials are fetched, and renewed, as requests need them.
///
/// # Errors
/// When the region is unknown, or there is no such profile as is named.
pub(super) async fn connect(location: &Location, credentials: &Credentials) -> Result<Client, String> {
    if credentials.access_key.is_none() {
        profile::check(&|name| std::env::var(name).ok()).map_err(|why| format!("{location}: {why}"))?;
    }
    let shared = load(location, credentials).await;
    if shared.region().is_none() {
        return Err(format!(
            "no region is known for {location}: add region=REGION to --object-store, or set AWS_REGION"
        ));
    }
    Ok(client(&shared, location))
}

/// That client, with what is known.
pub(super) fn client(shared: &SdkConfig, location: &Location) -> Client {
    let config = Builder::from(shared)
        .force_path_style(location.path_style)
        // Machines try again: with their own back-off, and after they have looked at what an attempt did.
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Every put has its checksum; trailers confuse other servers than AWS's.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    Client::from_conf(config.build())
}

/// HTTP and HTTPS, with the operating system's certificates.
pub(super) fn http() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

async fn load(location: &Location, credentials: &Credentials) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http());
    if let Some(region) = region(location, |name| std::env::var(name).ok()) {
        loader = loader.region(Region::new(region));
    }
    if let Some(endpoint) = &location.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Credentials { access_key: Some(id), secret_key: Some(key), token } = credentials {
        let token = token.as_ref().map(|token| token.reveal().into());
        loader = loader.credentials_provider(Given::new(id, key.reveal(), token, None, "karst's configuration"));
    }
    loader.load().await
}

/// What need not be looked for: the chain would ask the metadata service of a cloud that is not there.
fn region(location: &Location, env: impl Fn(&str) -> Option<String>) -> Option<String> {
    let given = location.region.clone().or_else(|| env("AWS_REGION")).or_else(|| env("AWS_DEFAULT_REGION"));
    given.or_else(|| location.endpoint.is_some().then(|| NOWHERE.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_the_one_that_is_named_first() {
        let at = |value, named: &[&str]| {
            let location = Location::parse(value).expect(value);
            region(&location, |name| named.contains(&name).then(|| format!("by {name}")))
        };
        assert_eq!(at("s3://abc?region=x", &["AWS_REGION"]).as_deref(), Some("x"));
        assert_eq!(at("s3://abc", &["AWS_REGION", "AWS_DEFAULT_REGION"]).as_deref(), Some("by AWS_REGION"));
        assert_eq!(at("s3://abc?endpoint=http://h", &["AWS_DEFAULT_REGION"]).as_deref(), Some("by AWS_DEFAULT_REGION"));
        assert_eq!(at("s3://abc?endpoint=http://h", &[]).as_deref(), Some(NOWHERE));
        assert_eq!(at("s3://abc", &[]), None, "the chain may know");
    }
}
