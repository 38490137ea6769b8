//! `cargo xtask dist`: the release binaries, static, each built in its own cargo invocation.
//!
//! Cargo unifies features over one invocation, so building two binaries together would link into
//! the small one what only the large one needs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{need::Job, no_arguments, setup, workspace};

/// The target of every release binary: musl links statically, which saves a short-lived process
/// the work of the dynamic linker.
pub const TRIPLE: &str = "x86_64-unknown-linux-musl";

/// A release binary.
#[derive(Debug)]
pub struct Binary {
    package: &'static str,
    name: &'static str,
    /// The folder in the target directory that it is put into.
    folder: &'static str,
}

/// The plugin that runtimes execute.
pub const PLUGIN: Binary = Binary { package: "coordinator", name: "coordinator", folder: "dist" };

/// The operator's tool.
pub const TOOL: Binary = Binary { package: "coordinatorctl", name: "coordinatorctl", folder: "dist" };

/// The agent of nodes and of the cluster. Its own invocation: nothing of it may get into the plugin.
pub const AGENT: Binary = Binary { package: "coordinator-agent", name: "coordinator-agent", folder: "dist" };

/// The benchmark's reference; it is no part of the product.
pub const FLOOR: Binary = Binary { package: "coordinator-bench", name: "floor", folder: "bench" };

/// What `dist` builds.
const PRODUCT: [&Binary; 3] = [&PLUGIN, &TOOL, &AGENT];

/// Builds the product.
pub fn run(arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    setup::provide(Job::Dist)?;
    for binary in PRODUCT {
        let path = build(binary)?;
        println!("{} ({} bytes)", path.display(), fs::metadata(&path)?.len());
    }
    Ok(())
}

/// Builds one binary and returns where it was put.
pub fn build(binary: &Binary) -> Result<PathBuf> {
    let Binary { package, name, folder } = binary;
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release", "--target", TRIPLE, "--package", package, "--bin", name]);
    workspace::run(&mut cargo)?;
    let target = workspace::target()?;
    let built = target.join(TRIPLE).join("release").join(name);
    if let Some(interpreter) = interpreter(&built)? {
        bail!("{} is not static: it asks for {interpreter}", built.display());
    }
    put(&built, &target.join(folder))
}

/// Copies a file into a folder in one step: whoever runs the old one keeps it, nobody sees half of
/// the new one.
fn put(built: &Path, folder: &Path) -> Result<PathBuf> {
    let name = built.file_name().with_context(|| format!("{} has no name", built.display()))?;
    let there = folder.join(name);
    let part = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // On the disk too: a start of a file that is not there yet takes twenty page faults more (seen).
    fs::copy(built, &part)
        .and_then(|_| fs::File::open(&part)?.sync_all())
        .and_then(|()| fs::rename(&part, &there))
        .with_context(|| format!("cannot put {} into {}", built.display(), folder.display()))?;
    Ok(there)
}

/// The dynamic linker that a program asks for (ELF segment `PT_INTERP`); absent for a static one.
pub fn interpreter(program: &Path) -> Result<Option<String>> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    interpreter_in(&bytes).with_context(|| format!("{} is not a 64-bit little-endian ELF file", program.display()))
}

/// The offsets are those of `Elf64_Ehdr` and `Elf64_Phdr` (elf(5)). Absent when it is no such file.
fn interpreter_in(file: &[u8]) -> Option<Option<String>> {
    const PT_INTERP: u64 = 3;
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = number(file, 0x20, 8)?;
    let size = number(file, 0x36, 2)?;
    for entry in 0..number(file, 0x38, 2)? {
        let at = usize::try_from(table + entry * size).ok()?;
        if number(file, at, 4)? == PT_INTERP {
            let start = usize::try_from(number(file, at + 0x08, 8)?).ok()?;
            let length = usize::try_from(number(file, at + 0x20, 8)?).ok()?;
            let path = file.get(start..)?.get(..length)?;
            return Some(Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned()));
        }
    }
    Some(None)
}

/// A little-endian number of `width` bytes.
fn number(file: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = file.get(at..)?.get(..width)?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with one segment of this type, whose content is `/lib/ld.so`.
    fn elf(kind: u8) -> Vec<u8> {
        let mut file = vec![0; 0x40 + 0x38];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (file[0x20], file[0x36], file[0x38]) = (0x40, 0x38, 1);
        (file[0x40], file[0x48], file[0x60]) = (kind, 0x78, 11);
        file.extend(b"/lib/ld.so\0");
        file
    }

    #[test]
    fn the_interpreter_is_read_from_the_program_header() {
        assert_eq!(interpreter_in(&elf(3)), Some(Some("/lib/ld.so".to_owned())));
        assert_eq!(interpreter_in(&elf(1)), Some(None));
        assert_eq!(interpreter_in(b"#!/bin/sh\n"), None);
        assert_eq!(interpreter_in(&elf(3)[..0x50]), None, "cut short");
    }

    #[test]
    fn the_shell_asks_for_a_dynamic_linker() {
        assert!(interpreter(Path::new("/bin/sh")).unwrap().unwrap().contains("ld"));
    }

    #[test]
    fn a_file_is_replaced_in_one_step() {
        let target = workspace::target().unwrap().join(format!("xtask-put-{}", std::process::id()));
        let (from, to) = (target.join("from"), target.join("to"));
        for content in ["old", "new"] {
            fs::create_dir_all(&from).unwrap();
            fs::write(from.join("file"), content).unwrap();
            let there = put(&from.join("file"), &to).unwrap();
            assert_eq!(fs::read_to_string(there).unwrap(), content);
        }
        let left = fs::read_dir(&to).unwrap().count();
        fs::remove_dir_all(&target).unwrap();
        assert_eq!(left, 1, "no temporary file stays");
    }
}
