//! Where a bucket is: `s3://BUCKET?region=REGION&endpoint=URL&path-style=true`.

/// A bucket, as the operator names it. What is left out comes from the environment, as for every AWS program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The bucket's name.
    pub bucket: String,
    /// Its region.
    pub region: Option<String>,
    /// Where its server is, if not at AWS: `http://HOST:PORT` or `https://HOST`.
    pub endpoint: Option<String>,
    /// Whether the bucket is named in the path and not in the host.
    pub path_style: bool,
}

const SCHEME: &str = "s3://";

impl Location {
    /// Reads an URL.
    ///
    /// # Errors
    /// Says what is wrong with it, to be put behind the name of what it was given for. What may be a secret is not shown.
    pub fn parse(value: &str) -> Result<Self, String> {
        if value.contains('@') {
            return Err(
                "has an '@', and is not shown since there may be a secret before it: an object store is named \
                        without credentials"
                    .into(),
            );
        }
        let shown = value.split('?').next().unwrap_or_default();
        let bad =
            |what: String| format!("{shown:?}: {what}; say s3://BUCKET?region=REGION&endpoint=URL&path-style=true");
        let rest = value.strip_prefix(SCHEME).ok_or_else(|| bad("it does not begin with s3://".into()))?;
        let (bucket, query) = rest.split_once('?').unwrap_or((rest, ""));
        let bucket = bucket.strip_suffix('/').unwrap_or(bucket);
        if bucket.contains('/') {
            return Err(bad("a cluster takes a whole bucket, not a part of one".into()));
        }
        if !is_bucket(bucket) {
            return Err(bad(format!("{bucket:?} is not a bucket's name")));
        }
        let (mut region, mut endpoint, mut path_style) = (None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, given) = pair.split_once('=').ok_or_else(|| bad(format!("{pair:?} has no value")))?;
            let place = match name {
                "region" if is_region(given) => &mut region,
                "endpoint" if is_endpoint(given) => &mut endpoint,
                "path-style" if matches!(given, "true" | "false") => &mut path_style,
                "region" | "endpoint" | "path-style" => return Err(bad(format!("{given:?} is no value for {name}"))),
                _ => return Err(bad(format!("there is no setting {name:?}"))),
            };
            if place.replace(given.to_owned()).is_some() {
                return Err(bad(format!("{name} is given twice")));
            }
        }
        // Few servers but AWS's own have a host name per bucket.
        let path_style = path_style.map_or(endpoint.is_some(), |given| given == "true");
        Ok(Self { bucket: bucket.into(), region, endpoint, path_style })
    }
}

impl Location {
    /// As it would be given.
    #[must_use]
    pub fn url(&self) -> String {
        let region = self.region.iter().map(|region| format!("region={region}"));
        let endpoint = self.endpoint.iter().map(|endpoint| format!("endpoint={endpoint}"));
        let settings: Vec<String> = region.chain(endpoint).chain([format!("path-style={}", self.path_style)]).collect();
        format!("{SCHEME}{}?{}", self.bucket, settings.join("&"))
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}{}", self.bucket)?;
        match &self.endpoint {
            Some(endpoint) => write!(f, " at {endpoint}"),
            None => Ok(()),
        }
    }
}

fn is_bucket(name: &str) -> bool {
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    (3..=63).contains(&name.len())
        && name.bytes().all(is_legal)
        && is_end(name.bytes().next())
        && is_end(name.bytes().last())
}

fn is_region(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_endpoint(url: &str) -> bool {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    host.is_some_and(|host| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'?' | b'#'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_default() {
        let at = |value| Location::parse(value).expect(value);
        let bare = Location { bucket: "b.1-x".into(), region: None, endpoint: None, path_style: false };
        assert_eq!(at("s3://b.1-x"), bare);
        assert_eq!(at("s3://b.1-x/?"), bare);
        let full = at("s3://abc?region=eu-west-1&endpoint=http://127.0.0.1:9000&path-style=false");
        assert_eq!(full.region.as_deref(), Some("eu-west-1"));
        assert_eq!(full.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert!(!full.path_style);
        assert!(at("s3://abc?endpoint=https://minio.example").path_style, "as most servers need it");
        assert_eq!(full.to_string(), "s3://abc at http://127.0.0.1:9000");
        for location in [full, bare] {
            assert_eq!(Location::parse(&location.url()), Ok(location));
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (value, named) in [
            ("abc", "does not begin with s3://"),
            ("https://s3.amazonaws.com/abc", "does not begin with s3://"),
            ("s3://", "not a bucket's name"),
            ("s3://ab", "not a bucket's name"),
            ("s3://Abc", "not a bucket's name"),
            ("s3://key:secret@abc", "has an '@'"),
            ("s3://abc/karst", "a whole bucket"),
            ("s3://abc?regoin=x", "no setting \"regoin\""),
            ("s3://abc?region=", "\"\" is no value for region"),
            ("s3://abc?region=a&region=b", "given twice"),
            ("s3://abc?path-style", "has no value"),
            ("s3://abc?path-style=yes", "no value for path-style"),
            ("s3://abc?endpoint=127.0.0.1:9000", "no value for endpoint"),
            ("s3://abc?endpoint=http://u:secret@h", "has an '@'"),
            ("s3://abc?secret-key=secret", "no setting \"secret-key\""),
            ("s3://abc?endpoint=http://", "no value for endpoint"),
        ] {
            let error = Location::parse(value).expect_err(value);
            assert!(error.contains(named), "{value}: {error}");
            assert!(!error.replace("secret-key", "").replace("a secret before", "").contains("secret"), "{error}");
        }
    }
}
