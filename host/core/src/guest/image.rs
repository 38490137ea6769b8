//! An artefact's file, and what it is once it is mapped: a page that says what follows, then the engine's machine code.
//!
//! The file is mapped once. What was verified is therefore what runs: not another reading of the same file.

use std::{fs::File, io};

use memmap2::{Mmap, MmapOptions};
use wasmtime::{Config, component::Component};
use xxhash_rust::xxh3::xxh3_128;

use super::{
    artefact::Digest,
    engine::{BUILD, Runtime},
    exports::Fitting,
};

/// What the first page of a file has room for, bytes. The code begins with a page of its own.
const PAGE: usize = 4096;

/// The content of the file for what an engine's `Component::serialize` gave, less its symbols, which the engine never reads.
#[cfg(any(feature = "compiler", test))]
pub(super) fn content(source: Digest, code: &[u8]) -> Vec<u8> {
    let mut content = head(source, code).into_bytes();
    content.resize(PAGE, 0);
    content.extend_from_slice(code);
    content
}

/// What the first page says, before zeros: of which component this is the code, who made it, and its checksum (XXH3, 128
/// bits).
///
/// The checksum finds a file that was damaged, and takes a tenth of the time of a SHA-256. It is no protection from somebody
/// who can write the file, who could write the checksum too; that is what the directory's owner and mode are for.
fn head(source: Digest, code: &[u8]) -> String {
    let checksum = xxh3_128(code);
    format!("coordinator artefact\nsource {source}\nbuild {BUILD}\nchecksum {checksum:032x}\n")
}

/// A mapped artefact. Who has one has looked at all of it.
#[derive(Debug)]
pub(super) struct Image {
    content: Mmap,
}

impl Image {
    /// Maps the file of this component's artefact; absent when it is not, byte for byte, what was compiled.
    ///
    /// # Errors
    /// The kernel does not map it.
    #[allow(unsafe_code, reason = "the file must not change while it is mapped")]
    pub(super) fn of(file: &File, source: Digest) -> io::Result<Option<Self>> {
        // `Artefacts` opened it, and saw on the open descriptor that nobody else can write or shorten it; this program replaces
        // files by renames.
        // SAFETY: By this the file stays as it is while it is mapped.
        let content = unsafe { MmapOptions::new().map_exec(file) }?;
        let whole = content.split_at_checked(PAGE).is_some_and(|(page, code)| {
            let said = head(source, code);
            // All of them are looked at, many at once: to stop at the first that is none takes ten times as long.
            let rest = page.strip_prefix(said.as_bytes());
            rest.is_some_and(|rest| rest.iter().fold(0, |seen, byte| seen | byte) == 0)
        });
        Ok(whole.then_some(Self { content }))
    }

    /// The component, which must not outlive this image.
    ///
    /// # Errors
    /// Another engine made it, or the kernel does not run what is in this file.
    #[allow(unsafe_code, reason = "the engine trusts the content of an artefact")]
    pub(super) fn component(&self, runtime: &Runtime) -> wasmtime::Result<Fitting> {
        let code = self.content.get(PAGE..).unwrap_or_default();
        // `Component::deserialize_raw` must get only what an engine's `Component::serialize` made, which must stay as it is
        // for as long as the component lives. These bytes have the checksum that `content` wrote before them, in a file
        // which belongs to the effective user and can be written by nobody else, in a directory of which the same is true.
        // The engine itself refuses the artefact of another engine, by the version string of `engine.rs`. `Loaded` in
        // `stage.rs`, the only caller, keeps the image until the component is gone.
        #[cfg(not(feature = "compiler"))]
        // SAFETY: By all this the content is what `Component::serialize` made, and stays so while the component lives.
        let component = unsafe { Component::deserialize_raw(&runtime.engine, std::ptr::NonNull::from(code)) }?;
        // A program that compiles too has its engine make code executable, in memory of the engine's own: here, in a copy.
        #[cfg(feature = "compiler")]
        // SAFETY: The content is what `Component::serialize` made.
        let component = unsafe { Component::deserialize(&runtime.engine, code) }?;
        // SAFETY: `compile`, which alone makes artefacts, asks before it makes one.
        Ok(unsafe { Fitting::known(component) })
    }
}

/// Has the engine take memory that is not its own, and is mapped to be executed already.
pub(super) fn configure(config: &mut Config) {
    #[cfg(not(feature = "compiler"))]
    config.with_custom_code_memory(Some(std::sync::Arc::new(Mapped)));
    // The data of a memory is copied once: to map it again, from a file of its own, pays from the second instance on.
    config.memory_init_cow(false);
}

#[cfg(not(feature = "compiler"))]
struct Mapped;

#[cfg(not(feature = "compiler"))]
impl wasmtime::CustomCodeMemory for Mapped {
    fn required_alignment(&self) -> usize {
        PAGE
    }

    fn publish_executable(&self, _: *const u8, _: usize) -> wasmtime::Result<()> {
        Ok(())
    }

    fn unpublish_executable(&self, _: *const u8, _: usize) -> wasmtime::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_first_page_says_what_the_rest_is() {
        let (source, other) = (Digest([7; 32]), Digest([8; 32]));
        let whole = content(source, b"code");
        let is_whole = |bytes: &[u8], source| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            Image::of(&file, source).unwrap().is_some()
        };
        assert!(is_whole(&whole, source));
        assert!(!is_whole(&whole, other));
        assert!(!is_whole(&whole[..whole.len() - 1], source));
        for at in (0..whole.len()).step_by(31).chain(PAGE - 1..whole.len()) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(!is_whole(&damaged, source), "byte {at}");
        }
        assert!(!is_whole(&whole[..PAGE], source) && !is_whole(&whole[..PAGE - 1], source) && !is_whole(b"x", source));
    }
}
