//! The profile that AWS_PROFILE names. The SDK goes on to the next place for credentials where there is no such profile, and
//! in the end says something about that place; who names one wants that one.

use std::path::PathBuf;

/// Where the environment may say something: a variable's value, unless it is empty.
type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The profile that would be asked for credentials.
pub(super) fn name(env: Env<'_>) -> String {
    said(env, "AWS_PROFILE").unwrap_or_else(|| "default".into())
}

/// The files in which profiles are looked for: of configuration, and of credentials.
pub(super) fn files(env: Env<'_>) -> [PathBuf; 2] {
    let home = said(env, "HOME").unwrap_or_default();
    let file = |variable, usual| {
        let path = said(env, variable).unwrap_or_else(|| format!("~/.aws/{usual}"));
        path.strip_prefix("~/").map_or_else(|| PathBuf::from(&path), |below| PathBuf::from(&home).join(below))
    };
    [file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials")]
}

/// Checks that the profile which AWS_PROFILE names is there, if credentials are not in the environment anyway.
///
/// # Errors
/// Says where it was looked for.
pub(super) fn check(env: Env<'_>) -> Result<(), String> {
    let Some(wanted) = said(env, "AWS_PROFILE").filter(|_| said(env, "AWS_ACCESS_KEY_ID").is_none()) else {
        return Ok(());
    };
    let [config, credentials] = files(env);
    let has = |file: &PathBuf, is_wanted: &dyn Fn(&str) -> bool| {
        std::fs::read(file).is_ok_and(|bytes| headings(&String::from_utf8_lossy(&bytes)).any(is_wanted))
    };
    let in_config = |heading: &str| match heading.strip_prefix("profile") {
        Some(name) if name.starts_with(char::is_whitespace) => unquoted(name) == wanted,
        _ => heading == "default" && wanted == "default",
    };
    if has(&config, &in_config) || has(&credentials, &|heading| unquoted(heading) == wanted) {
        return Ok(());
    }
    Err(format!(
        "there is no profile {wanted:?}, which AWS_PROFILE names: {} has no [profile {wanted}], and {} no [{wanted}]. \
         Write one of them, or unset AWS_PROFILE",
        config.display(),
        credentials.display()
    ))
}

fn said(env: Env<'_>, variable: &str) -> Option<String> {
    env(variable).filter(|value| !value.is_empty())
}

/// What stands in brackets at the beginning of lines.
fn headings(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| Some(line.trim().strip_prefix('[')?.split_once(']')?.0.trim()))
}

fn unquoted(name: &str) -> &str {
    name.trim().trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_profile_that_is_named_must_be_there() {
        let dir = Scratch::new("profile");
        let (config, credentials) = (dir.path().join("config"), dir.path().join("credentials"));
        std::fs::write(&config, "[default]\nregion=x\n [ profile  work ] # mine\n[profile \"two words\"]\n[plain]\n")
            .unwrap();
        std::fs::write(&credentials, "[keys]\naws_access_key_id = [no]\n").unwrap();
        let check = |profile: &str, key: Option<&str>| {
            check(&|name| match name {
                "AWS_PROFILE" => Some(profile.into()),
                "AWS_ACCESS_KEY_ID" => key.map(Into::into),
                "AWS_CONFIG_FILE" => Some(config.display().to_string()),
                "AWS_SHARED_CREDENTIALS_FILE" => Some(credentials.display().to_string()),
                _ => None,
            })
        };
        for there in ["", "default", "work", "two words", "keys"] {
            assert_eq!(check(there, None), Ok(()), "{there}");
        }
        for gone in ["plain", "no", "profile", "Work"] {
            let why = check(gone, None).expect_err(gone);
            assert!(why.contains(&format!("{gone:?}")) && why.contains("config has no"), "{why}");
            assert_eq!(check(gone, Some("id")), Ok(()), "keys in the environment come first");
        }
    }

    #[test]
    fn files_are_at_home_unless_they_are_named() {
        let of = |home: &str, named: Option<&str>| {
            files(&|name| match name {
                "HOME" => Some(home.into()),
                "AWS_CONFIG_FILE" => named.map(Into::into),
                _ => None,
            })
        };
        assert_eq!(of("/root", None), ["/root/.aws/config", "/root/.aws/credentials"].map(PathBuf::from));
        assert_eq!(of("/root", Some("~/c"))[0], PathBuf::from("/root/c"));
        assert_eq!(of("/root", Some("/etc/c"))[0], PathBuf::from("/etc/c"));
        assert_eq!(name(&|_| None), "default");
    }
}
