//! A copy of the repository in which bugs are planted, and built. It stays from one plant to the next, and so does what
//! was built: only what a plant changes is built again.

use super::patch::{How, Plant};
use karst_runtime_sim::trace::TraceHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The copy.
#[derive(Debug)]
pub(super) struct Copy {
    sources: PathBuf,
    target: PathBuf,
    /// Where what was built is put.
    programs: PathBuf,
    /// Of all that is compiled, as it is without a plant.
    digest: u64,
    /// What the files were that are changed by the plant that is in it now; `None` if it made them.
    before: BTreeMap<PathBuf, Option<Vec<u8>>>,
}

/// What is compiled, by extension.
const COMPILED: [&str; 6] = ["rs", "toml", "lock", "js", "css", "html"];

/// How a plant is built: a campaign of seconds is not worth the last tenth of speed, and nobody debugs it. With these, and
/// with what was built before, a plant costs some seconds.
const BUILD: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "true"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    // Not even between the parts of one crate.
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2"),
];

/// What is no source.
const LEFT_OUT: [&str; 4] = [".git", "target", "karst-data", "node_modules"];

impl Copy {
    /// Makes the copy of a repository in `folder` like the repository. Files that are equal are left alone, so that
    /// they need not be built again.
    pub(super) fn refresh(root: &Path, folder: &Path) -> io::Result<Self> {
        let sources = folder.join("sources");
        let wanted = list(root)?;
        fs::create_dir_all(&sources)?;
        for stale in list(&sources)?.difference(&wanted) {
            fs::remove_file(sources.join(stale))?;
        }
        let mut digest = TraceHasher::default();
        for file in &wanted {
            let (from, to) = (fs::read(root.join(file))?, sources.join(file));
            if file.extension().is_some_and(|found| COMPILED.iter().any(|extension| found == *extension)) {
                (file, &from).hash(&mut digest);
            }
            if fs::read(&to).ok().as_ref() != Some(&from) {
                to.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::write(to, from)?;
            }
        }
        let (target, programs) = (folder.join("target"), folder.join("programs"));
        fs::create_dir_all(&programs)?;
        Ok(Self { sources, target, programs, digest: digest.finish(), before: BTreeMap::new() })
    }

    /// What tells these sources from others, but for the plant.
    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }

    fn plant(&mut self, plant: &Plant) -> Result<(), String> {
        self.restore().map_err(|error| format!("the plant before can't be taken out: {error}"))?;
        for file in &plant.files {
            self.before.insert(file.clone(), fs::read(self.sources.join(file)).ok());
        }
        plant.apply(&self.sources, How::Really)
    }

    /// Takes out what was planted.
    pub(super) fn restore(&mut self) -> io::Result<()> {
        for (file, content) in std::mem::take(&mut self.before) {
            let path = self.sources.join(file);
            match content {
                Some(content) => fs::write(path, content)?,
                None => fs::remove_file(path)?,
            }
        }
        Ok(())
    }

    /// Builds `karst-sim` with a bug, in place of the one before. Returns where it is: it stays when the next is built.
    ///
    /// # Errors
    /// What git or the compiler says.
    pub(super) fn build_with(&mut self, plant: &Plant) -> Result<PathBuf, String> {
        self.plant(plant)?;
        let built = self.build()?;
        let program = self.programs.join(plant.name.replace('/', "-"));
        fs::copy(&built, &program).map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(program)
    }

    fn build(&self) -> Result<PathBuf, String> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.sources).args(["build", "--quiet", "--release", "--bin", "karst-sim"]);
        // An environment's flags would replace the ones that the simulation needs.
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        cargo.env("CARGO_TARGET_DIR", &self.target).envs(BUILD);
        let output = cargo.output().map_err(|error| format!("cargo can't be started: {error}"))?;
        if output.status.success() {
            Ok(self.target.join("release/karst-sim"))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

/// All files below a folder, from there.
fn list(root: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            if LEFT_OUT.iter().any(|name| entry.file_name() == **name) {
                continue;
            }
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else {
                files.insert(path);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_becomes_like_its_original_and_is_left_alone_where_it_is() {
        let folder = std::env::temp_dir().join(format!("karst-copy-{}", std::process::id()));
        let (root, copy) = (folder.join("root"), folder.join("copy"));
        for (file, text) in [("a/one", "1"), ("two", "2"), ("target/no", "3")] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        Copy::refresh(&root, &copy).expect("copied");
        let written = |file: &str| fs::metadata(copy.join("sources").join(file)).and_then(|data| data.modified()).ok();
        let before = written("a/one");
        let digest = |root: &Path| Copy::refresh(root, &copy).expect("copied").digest();
        let of_two = digest(&root);
        fs::write(root.join("table.md"), "rows").expect("a file");
        assert_eq!(digest(&root), of_two, "nobody compiles it");
        fs::write(root.join("one.rs"), "fn").expect("a file");
        assert_ne!(digest(&root), of_two);
        fs::remove_file(root.join("table.md")).expect("it is there");
        fs::remove_file(root.join("one.rs")).expect("it is there");
        fs::write(root.join("two"), "4").expect("a file");
        fs::write(copy.join("sources/stale"), "5").expect("a file");
        Copy::refresh(&root, &copy).expect("copied again");
        assert_eq!(written("a/one"), before);
        assert_eq!(list(&copy.join("sources")).expect("listed"), ["a/one".into(), "two".into()].into());
        assert_eq!(fs::read(copy.join("sources/two")).expect("read"), b"4");
        fs::remove_dir_all(folder).expect("removed");
    }
}
