//! Object names as paths below a directory.

use karst_core::store::Key;
use std::path::{Path, PathBuf};

/// The file of an object, or `None` if the name can't be one: empty, absolute, with an empty component, or with one that
/// begins with a dot (`..`, and what the store keeps for itself) or is longer than file systems allow.
pub(super) fn file_of(root: &Path, key: &Key) -> Option<PathBuf> {
    let mut path = root.to_path_buf();
    for component in key.0.split('/') {
        if !is_component(component) {
            return None;
        }
        path.push(component);
    }
    Some(path)
}

/// Whether an entry of a directory can be part of an object's name.
pub(super) fn is_component(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && !name.contains(['\0', '/', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_root() {
        let file = |name: &str| file_of(Path::new("/root"), &name.into());
        assert_eq!(file("a/b-c/d.e"), Some("/root/a/b-c/d.e".into()));
        for bad in ["", "/", "/etc/passwd", "a/", "a//b", "..", "a/../../b", ".", ".tmp/1", "a/.lock", "a\0b", "a\\b"] {
            assert_eq!(file(bad), None, "{bad:?}");
        }
        assert_eq!(file(&"x".repeat(256)), None);
    }
}
