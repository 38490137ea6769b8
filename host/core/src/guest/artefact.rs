//! Artefacts: components compiled for this engine, in a directory that only root can write, and mapped only as they
//! were compiled.
//!
//! An artefact is machine code, so whoever can write one owns the node, and the engine does not check its content. The
//! directory and each file in it are therefore checked on the open descriptor (owner, mode, no links), and what the bytes
//! must be is written down: a checksum in the file itself, verified at each use ([`Image`]), and a SHA-256 in a manifest
//! beside it, for when an operator or the runtime asks.

use std::{fmt, io::Read as _, path::Path, str::FromStr};

use coordinator_stages::kernel::directory::{Directory, DirectoryError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    engine::{BUILD, BUILD_NUMBER},
    failure::GuestError,
    image::Image,
};

/// Where artefacts lie on a node.
pub const DIRECTORY: &str = "/var/lib/coordinator/stages";

/// More than any artefact has, bytes. (A Python guest has some ten MiB.)
const LIMIT: u64 = 256 << 20;
const MANIFEST_LIMIT: u64 = 1 << 20;

/// A SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 digest has 64 hexadecimal digits")]
pub struct DigestError;

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(DigestError);
        }
        let mut digest = [0; 32];
        for (slot, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = str::from_utf8(pair).map_err(|_| DigestError)?;
            *slot = u8::from_str_radix(pair, 16).map_err(|_| DigestError)?;
        }
        Ok(Self(digest))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// What is known of an artefact without running it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The component's digest.
    pub source: Digest,
    /// The artefact's digest.
    pub artefact: Digest,
    /// The artefact's size, bytes.
    pub bytes: u64,
    /// What compiled it.
    pub build: String,
    /// The name that the stage gives itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The grants that it asks for.
    pub needs: Vec<String>,
    /// The JSON Schema of its options.
    pub schema: String,
}

/// The directory of artefacts.
#[derive(Debug)]
pub struct Artefacts {
    directory: Directory,
}

impl Artefacts {
    /// Opens the directory; absent when there is none.
    ///
    /// # Errors
    /// It cannot be opened, or others could write into it.
    pub fn open(path: &Path) -> Result<Option<Self>, GuestError> {
        let opened = Directory::open_existing(path)?;
        Ok(opened.map(|directory| Self { directory }))
    }

    /// Opens the directory to write into it; makes it when it is missing.
    ///
    /// # Errors
    /// As [`Artefacts::open`], or it cannot be made.
    pub fn make(path: &Path) -> Result<Self, GuestError> {
        Ok(Self { directory: Directory::open_private(path)? })
    }

    /// The manifest of this component's artefact for this engine; absent when there is none.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn manifest(&self, digest: Digest) -> Result<Option<Manifest>, GuestError> {
        let read = self.read(&file(digest, "json"), MANIFEST_LIMIT)?;
        let Some(text) = read else { return Ok(None) };
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| self.problem(digest, format!("has a manifest that cannot be read: {error}")))?;
        if manifest.source != digest || manifest.build != BUILD {
            return Err(self.problem(digest, "has the manifest of another one".to_owned()));
        }
        Ok(Some(manifest))
    }

    /// Stores an artefact and its manifest: each appears whole or not at all, and first the artefact, so that what has a
    /// manifest is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn store(&self, artefact: &[u8], manifest: &Manifest) -> Result<(), GuestError> {
        let text = serde_json::to_vec_pretty(manifest).unwrap_or_default();
        let stored = self.directory.write(&file(manifest.source, "cwasm"), artefact);
        stored.and_then(|()| self.directory.write(&file(manifest.source, "json"), text))?;
        Ok(())
    }

    /// Removes the artefacts of other builds, which nothing will ever map; says how many.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn prune(&self) -> Result<usize, GuestError> {
        let current = format!(".{BUILD_NUMBER}.");
        let is_ours = |name: &String| name.ends_with(".cwasm") || name.ends_with(".json");
        let names: Vec<String> = self.directory.names()?.filter(is_ours).collect();
        let stale: Vec<&String> = names.iter().filter(|name| !name.contains(&current)).collect();
        for name in &stale {
            self.directory.remove(name)?;
        }
        Ok(stale.len())
    }

    /// The artefact of this component, mapped.
    ///
    /// # Errors
    /// There is none for this engine, it is not what was compiled, or somebody else could have written it.
    pub(super) fn image(&self, digest: Digest) -> Result<Image, GuestError> {
        let opened = self.directory.open_file(&file(digest, "cwasm"))?;
        let file = opened.ok_or_else(|| not_compiled(digest, self.directory.path()))?;
        let mapped = Image::of(&file, digest).map_err(|source| self.unreadable(digest, source))?;
        mapped.ok_or_else(|| self.problem(digest, "is not what was compiled: its checksum is another".to_owned()))
    }

    /// Whether the artefact is, byte for byte, what was compiled: by its SHA-256.
    ///
    /// # Errors
    /// As [`Artefacts::open`], there is none, or it is another.
    pub fn verify(&self, digest: Digest) -> Result<Manifest, GuestError> {
        let manifest = self.manifest(digest)?.ok_or_else(|| not_compiled(digest, self.directory.path()))?;
        let artefact = self.read(&file(digest, "cwasm"), LIMIT)?;
        let artefact = artefact.ok_or_else(|| not_compiled(digest, self.directory.path()))?;
        match Digest::of(&artefact) == manifest.artefact {
            true => Ok(manifest),
            false => Err(self.problem(digest, "is not what was compiled: its SHA-256 is another".to_owned())),
        }
    }

    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, GuestError> {
        let Some(file) = self.directory.open_file(name)? else { return Ok(None) };
        let path = self.directory.path().join(name);
        // With room for all of it, it is read in one piece.
        let expected = file.metadata().map_or(0, |found| found.len().min(limit).saturating_add(1));
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        let length =
            read.map_err(|source| GuestError::from(DirectoryError::Io { verb: "read", path: path.clone(), source }))?;
        match u64::try_from(length) {
            Ok(length) if length <= limit => Ok(Some(bytes)),
            _ => Err(GuestError::from(DirectoryError::TooLarge { path, limit })),
        }
    }

    fn unreadable(&self, digest: Digest, source: std::io::Error) -> GuestError {
        let path = self.directory.path().join(file(digest, "cwasm"));
        GuestError::from(DirectoryError::Io { verb: "map", path, source })
    }

    pub(super) fn problem(&self, digest: Digest, problem: String) -> GuestError {
        let directory = self.directory.path().display().to_string();
        GuestError::Artefact { digest: digest.to_string(), directory, problem }
    }
}

/// The error of an artefact that is not there.
pub(super) fn not_compiled(digest: Digest, directory: &Path) -> GuestError {
    GuestError::NotCompiled { digest: digest.to_string(), directory: directory.display().to_string() }
}

/// The name of a file of a component's artefact: digest and build tell it from all others.
fn file(digest: Digest, extension: &str) -> String {
    format!("{digest}.{BUILD_NUMBER}.{extension}")
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::PathBuf,
    };

    use super::*;
    use crate::guest::{Guest, Shelf, StageFailure, compile};

    #[test]
    fn a_digest_comes_back_as_it_was_written() {
        let text = "00ff".repeat(16);
        assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        for bad in ["", "00", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32), &"+1".repeat(32)] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    /// A guest that agrees with everything, compiled into a directory of its own.
    fn compiled() -> (tempfile::TempDir, PathBuf, Manifest) {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("stages");
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let component = coordinator_guests::handwritten(&coordinator_guests::skeleton("", "(i32.const 2048)", 2), &wit);
        let compiled = compile(&component.unwrap()).unwrap();
        Artefacts::make(&directory).unwrap().store(&compiled.artefact, &compiled.manifest).unwrap();
        (folder, directory, compiled.manifest)
    }

    fn error(directory: &Path, digest: Digest) -> String {
        let failed = Guest::new("rails", digest, Shelf::at(directory)).decide(&coordinator_sdk::Facts::default());
        let Err(StageFailure::Failed(failure)) = failed else { panic!("{failed:?}") };
        curable(&failure)
    }

    /// What is found by who verifies more than a use does: the manifest too.
    fn found(directory: &Path, digest: Digest) -> String {
        curable(&Guest::new("rails", digest, Shelf::at(directory)).verify().unwrap_err())
    }

    /// Of one of the two files.
    fn error_of(extension: &str, directory: &Path, digest: Digest) -> String {
        let found = found(directory, digest);
        if extension == "cwasm" {
            assert_eq!(error(directory, digest), found);
        }
        found
    }

    fn curable(failure: &GuestError) -> String {
        assert!(failure.is_curable() && failure.remedy("rails").contains("coordinatorctl stage compile"), "{failure}");
        match std::error::Error::source(failure) {
            Some(source) => format!("{failure}: {source}"),
            None => failure.to_string(),
        }
    }

    #[test]
    fn what_was_compiled_runs() {
        let (_folder, directory, manifest) = compiled();
        let decided = Guest::new("rails", manifest.source, Shelf::at(&directory)).decide(&Default::default());
        assert_eq!(decided.unwrap().proposals, []);
        let artefacts = Artefacts::open(&directory).unwrap().unwrap();
        assert_eq!(artefacts.verify(manifest.source).unwrap(), manifest);
    }

    #[test]
    fn a_single_bit_is_seen_wherever_it_is() {
        let (_folder, directory, manifest) = compiled();
        let path = directory.join(file(manifest.source, "cwasm"));
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 50) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            assert!(error(&directory, manifest.source).contains("checksum"), "byte {at}");
            let artefacts = Artefacts::open(&directory).unwrap().unwrap();
            assert!(artefacts.verify(manifest.source).unwrap_err().to_string().contains("SHA-256"), "byte {at}");
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(error(&directory, manifest.source).contains("checksum"), "cut short");
    }

    #[test]
    fn what_others_could_write_is_not_mapped() {
        let (folder, directory, manifest) = compiled();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&directory, 0o770);
        assert!(error(&directory, manifest.source).contains("0770"));
        set(&directory, 0o700);
        for extension in ["cwasm", "json"] {
            let path = directory.join(file(manifest.source, extension));
            set(&path, 0o660);
            assert!(error_of(extension, &directory, manifest.source).contains("0660"), "{extension}");
            set(&path, 0o600);
            let elsewhere = folder.path().join("elsewhere");
            fs::rename(&path, &elsewhere).unwrap();
            symlink(&elsewhere, &path).unwrap();
            assert!(error_of(extension, &directory, manifest.source).contains("cannot be used"), "a link: {extension}");
            fs::remove_file(&path).unwrap();
            assert!(
                error_of(extension, &directory, manifest.source).contains("no artefact of"),
                "missing: {extension}"
            );
            fs::rename(&elsewhere, &path).unwrap();
        }
        let link = folder.path().join("link");
        symlink(&directory, &link).unwrap();
        assert!(error(&link, manifest.source).contains("cannot be used"));
        assert!(error(&folder.path().join("nowhere"), manifest.source).contains("no artefact of"));
    }

    /// Whoever owns only itself in a user namespace cannot give a file away: this test wants real root.
    #[test]
    fn a_foreign_owner_is_refused() {
        let (_folder, directory, manifest) = compiled();
        let within = |extension| directory.join(file(manifest.source, extension));
        for (extension, path) in [("cwasm", within("cwasm")), ("json", within("json")), ("cwasm", directory.clone())] {
            let give = |owner| std::os::unix::fs::chown(&path, Some(owner), None).expect("it is real root's to give");
            give(1);
            assert!(
                error_of(extension, &directory, manifest.source).contains("belongs to user 1"),
                "{}",
                path.display()
            );
            give(0);
        }
        Guest::new("rails", manifest.source, Shelf::at(&directory)).decide(&Default::default()).unwrap();
    }

    #[test]
    fn the_artefact_of_another_build_is_not_seen_and_pruned() {
        let (_folder, directory, manifest) = compiled();
        for extension in ["cwasm", "json"] {
            let name = file(manifest.source, extension);
            let other = name.replace(BUILD_NUMBER, &"0".repeat(16));
            fs::rename(directory.join(name), directory.join(other)).unwrap();
        }
        assert!(error(&directory, manifest.source).contains("for this version of coordinator"));
        let artefacts = Artefacts::open(&directory).unwrap().unwrap();
        assert_eq!((artefacts.prune().unwrap(), fs::read_dir(&directory).unwrap().count()), (2, 0));
        // One that bears our name and is another's all the same.
        let another = Manifest { build: "wasmtime-1".to_owned(), ..manifest.clone() };
        artefacts.store(b"", &another).unwrap();
        assert!(error(&directory, manifest.source).contains("not what was compiled"));
        assert!(found(&directory, manifest.source).contains("manifest of another one"));
    }
}
