//! A node's guests: taken out of mounted folders and out of registries, and compiled for this node.
//!
//! This program has no compiler and speaks with no registry: `coordinatorctl` of its image does both, in a process of its
//! own. What was taken once stays: a registry that is down, or a guest that cannot be compiled, changes nothing of what runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use coordinator_core::guest::{Artefacts, Digest};
use tracing::info;

use crate::install::{self, InstallError, failed, read_if_there, replace, together};

/// Where guests come from and go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guests {
    /// `coordinatorctl`.
    pub tool: PathBuf,
    /// The folder in which ConfigMaps and images are mounted, where there is one.
    pub mounted: PathBuf,
    /// References to registries: REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:DIGEST.
    pub references: Vec<String>,
    /// Where the files are that came from registries.
    pub pulled: PathBuf,
    /// Where all of them are put on the node.
    pub folder: PathBuf,
    /// Where artefacts are.
    pub artefacts: PathBuf,
}

impl Guests {
    /// Makes the node have these guests and no others of ours, each with an artefact of this very version.
    ///
    /// # Errors
    /// One cannot be had or compiled; the others are there.
    pub fn install(&self) -> Result<(), InstallError> {
        let pulled = self.pull();
        let mut sources = vec![self.pulled.clone()];
        if self.mounted.is_dir() {
            sources.extend(install::with_inner(&self.mounted)?);
        }
        sources.retain(|source| source.is_dir());
        if !sources.is_empty() || self.folder.is_dir() {
            install::put_folder(&sources, &self.folder)?;
            return together([pulled, self.compile()].into_iter().filter_map(Result::err).collect());
        }
        pulled
    }

    /// Removes artefacts of other versions, which nothing will ever run.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn prune(&self) -> Result<(), InstallError> {
        let removed = match Artefacts::open(&self.artefacts).map_err(InstallError::Artefacts)? {
            Some(artefacts) => artefacts.prune().map_err(InstallError::Artefacts)?,
            None => 0,
        };
        if removed > 0 {
            info!(removed, "Artefacts of other versions are gone.");
        }
        Ok(())
    }

    /// Takes everything away again.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn uninstall(&self) -> Result<(), InstallError> {
        install::take_away_folder(&self.folder)?;
        for folder in [&self.pulled, &self.artefacts] {
            if folder.is_dir() {
                fs::remove_dir_all(folder).map_err(failed("remove", folder))?;
            }
        }
        Ok(())
    }

    /// Takes what is not there yet out of registries; what nobody names any more goes.
    ///
    /// A tag is asked for once: as with images, another version has another tag.
    fn pull(&self) -> Result<(), InstallError> {
        let mut files: Vec<(&str, PathBuf)> = Vec::new();
        for reference in &self.references {
            let name = file_name(reference).ok_or_else(|| InstallError::Reference { reference: reference.clone() })?;
            let file = self.pulled.join(name);
            if let Some((other, _)) = files.iter().find(|(_, known)| *known == file) {
                return Err(InstallError::Twice { one: PathBuf::from(*other), other: PathBuf::from(reference) });
            }
            files.push((reference.as_str(), file));
        }
        if self.pulled.is_dir() {
            for name in install::names(&self.pulled)? {
                let file = self.pulled.join(name);
                if !files.iter().any(|(_, known)| *known == file) {
                    fs::remove_file(&file).map_err(failed("remove", &file))?;
                }
            }
        }
        // Each is tried: one registry that is down must not hold up another.
        let errors = files.iter().filter_map(|(reference, file)| self.pull_one(reference, file).err());
        together(errors.collect())
    }

    fn pull_one(&self, reference: &str, file: &Path) -> Result<(), InstallError> {
        let note = note(file);
        if file.is_file() && read_if_there(&note)?.as_deref() == Some(reference.as_bytes()) {
            return Ok(());
        }
        fs::create_dir_all(&self.pulled).map_err(failed("make", &self.pulled))?;
        self.ask(&["pull", reference, "--output"], file)
            .map_err(|said| InstallError::Pull { reference: reference.to_owned(), said })?;
        replace(&note, reference.as_bytes(), 0o600)?;
        info!(reference, file = %file.display(), "Pulled.");
        Ok(())
    }

    /// Compiles what has no artefact of this version: new guests, and all of them after an upgrade.
    fn compile(&self) -> Result<(), InstallError> {
        let artefacts = Artefacts::open(&self.artefacts).map_err(InstallError::Artefacts)?;
        let mut errors = Vec::new();
        for guest in install::ours(&self.folder)? {
            let bytes = fs::read(&guest).map_err(failed("read", &guest))?;
            // One that cannot be understood is as good as none: it is written anew.
            let known = artefacts.as_ref().and_then(|artefacts| artefacts.manifest(Digest::of(&bytes)).ok().flatten());
            if known.is_some() {
                continue;
            }
            let artefacts = self.artefacts.to_string_lossy();
            match self.ask(&["compile", "--into", artefacts.as_ref()], &guest) {
                Ok(()) => info!(guest = %guest.display(), "Compiled."),
                Err(said) => errors.push(InstallError::Compile { guest, said }),
            }
        }
        together(errors)
    }

    /// Runs the tool; what it said when it says no.
    fn ask(&self, words: &[&str], file: &Path) -> Result<(), String> {
        let output = Command::new(&self.tool).arg("stage").args(words).arg(file).output();
        let output = output.map_err(|error| format!("cannot run {}: {error}", self.tool.display()))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
    }
}

/// What tells where a pulled file came from: beside it, hidden.
fn note(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.from"))
}

/// The repository's own name, as a file.
fn file_name(reference: &str) -> Option<String> {
    let (_, path) = reference.split_once('/')?;
    let last = path.split('@').next()?.rsplit('/').next()?;
    let name = last.split(':').next().filter(|name| !name.is_empty() && !name.starts_with('.'))?;
    Some(format!("{name}.wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tool that writes what it was asked for, and says no to what is called bad.
    const TOOL: &str = "#!/bin/sh
echo \"$@\" >> \"$0.calls\"
case \"$*\" in *bad*) echo no >&2; exit 1;; esac
[ \"$2\" = pull ] && echo \"$3\" > \"$5\"
exit 0
";

    fn guests(folder: &Path, references: &[&str]) -> Guests {
        let at = |name: &str| folder.join(name);
        if !at("tool").exists() {
            replace(&at("tool"), TOOL.as_bytes(), 0o755).unwrap();
        }
        Guests {
            tool: at("tool"),
            mounted: at("mounted"),
            references: references.iter().map(|it| (*it).to_owned()).collect(),
            pulled: at("pulled"),
            folder: at("stages"),
            artefacts: at("artefacts"),
        }
    }

    fn calls(guests: &Guests) -> Vec<String> {
        let file = guests.tool.with_file_name("tool.calls");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        text.lines().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn a_reference_is_pulled_once_and_a_registry_that_is_down_takes_nothing_away() {
        let place = tempfile::tempdir().unwrap();
        let one = guests(place.path(), &["r.example/a/rail:1", "r.example:5000/mac@sha256:00"]);
        one.install().unwrap();
        assert_eq!(install::names(&one.folder).unwrap(), ["mac.wasm", "rail.wasm"]);
        let pulls: Vec<String> = calls(&one).into_iter().filter(|call| call.contains("pull")).collect();
        assert_eq!(pulls, ["stage pull r.example/a/rail:1", "stage pull r.example:5000/mac@sha256:00"]);
        one.install().unwrap();
        assert!(!calls(&one).iter().any(|call| call.contains("pull")), "it is asked for again");

        let two = guests(place.path(), &["bad.example/a/rail:2", "r.example/new:1", "bad.example/late:1"]);
        let error = two.install().unwrap_err().to_string();
        let expected = "guest bad.example/a/rail:2 cannot be pulled: no; guest bad.example/late:1 cannot be pulled: no";
        assert_eq!(error, expected);
        assert_eq!(install::names(&two.folder).unwrap(), ["new.wasm", "rail.wasm"], "mac is not named any more");
        assert_eq!(fs::read_to_string(two.folder.join("rail.wasm")).unwrap(), "r.example/a/rail:1\n");
        two.uninstall().unwrap();
        assert_eq!(install::names(&two.folder).unwrap(), [""; 0]);
        assert!(!two.pulled.exists());
    }

    #[test]
    fn references_that_make_no_file_of_their_own_are_refused() {
        let place = tempfile::tempdir().unwrap();
        for (references, expected) in [
            (&["rail"][..], "guest reference \"rail\": expected REGISTRY/REPOSITORY:TAG"),
            (&["r/"], "guest reference \"r/\": expected"),
            (&["r/a/rail:1", "s/rail:2"], "r/a/rail:1 and s/rail:2 have one name"),
        ] {
            let error = guests(place.path(), references).install().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_told_and_the_others_are() {
        let place = tempfile::tempdir().unwrap();
        let guests = guests(place.path(), &[]);
        fs::create_dir(&guests.mounted).unwrap();
        for name in ["bad.wasm", "good.wasm"] {
            fs::write(guests.mounted.join(name), name).unwrap();
        }
        let error = guests.install().unwrap_err().to_string();
        assert_eq!(error, format!("guest {} cannot be compiled: no", guests.folder.join("bad.wasm").display()));
        assert_eq!(calls(&guests).len(), 2);
        // It is tried again, whatever is there: no artefact came of it.
        assert!(guests.install().is_err());
    }
}
