//! Says which crates have a say in the code of an artefact, as one number: an artefact of another set is not mapped.

use std::{env, fs, path::PathBuf};

/// The engine's settings and the artefacts' layout: another number for every change of one.
const LAYOUT: &str = "4";
/// The packages of the lock file whose versions count.
const COMPILERS: [&str; 6] = ["wasmtime", "cranelift", "regalloc2", "pulley", "wasmparser", "object"];

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let lock = here.join("../../Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let text = fs::read_to_string(&lock).unwrap_or_default();
    let counts = |package: &&str| {
        let name = package.lines().find_map(|line| line.strip_prefix("name = \"")).unwrap_or_default();
        COMPILERS.iter().any(|prefix| name.starts_with(prefix))
    };
    let lines = text.split("[[package]]").filter(counts).flat_map(str::lines);
    let versions = lines.filter(|line| ["name", "version", "checksum"].iter().any(|key| line.starts_with(key)));
    // FNV-1a: it tells builds apart, it does not protect them.
    let hash = std::iter::once(LAYOUT)
        .chain(versions)
        .flat_map(str::bytes)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    println!("cargo::rustc-env=COORDINATOR_ENGINE_BUILD={hash:016x}");
    println!("cargo::rustc-env=COORDINATOR_TARGET={}", env::var("TARGET").unwrap_or_default());
}
