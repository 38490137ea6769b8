//! Bindings for C, generated of the interface: what a stage in C includes and links.

use std::{fs, path::Path};

use wit_bindgen_core::{Files, wit_parser::Resolve};

use crate::failure::Failure;

/// Writes `bindings.h`, `bindings.c` and the object that describes the world.
pub(crate) fn write(wit: &Path, into: &Path) -> Result<(), Failure> {
    let failed = |reason: String| Failure::Interface { path: wit.to_owned(), reason };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).map_err(|error| failed(format!("{error:#}")))?;
    let world = resolve.select_world(&[package], Some("stage")).map_err(|error| failed(format!("{error:#}")))?;
    let options = wit_bindgen_c::Opts { rename_world: Some("bindings".to_owned()), ..Default::default() };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files).map_err(|error| failed(format!("{error:#}")))?;
    let written = |source| Failure::Write { path: into.to_owned(), source };
    fs::create_dir_all(into).map_err(written)?;
    for (name, content) in files.iter() {
        fs::write(into.join(name), content).map_err(written)?;
    }
    Ok(())
}
