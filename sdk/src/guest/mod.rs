//! The guest side: what turns a [`Stage`] into a WebAssembly component. It exists for `wasm32` only.
//!
//! [`export_stage!`](crate::export_stage) is its one user. The conversion between the interface's values and
//! this crate's stands in `facts.rs` (what comes in) and `changes.rs` (what goes out), and on this side nowhere
//! else.

mod changes;
mod facts;

use std::{mem::ManuallyDrop, sync::Once};

use crate::{Facts, LogLevel, Refusal, Stage, options};

/// A component's memory is its own and goes with it. This allocator is 8 KB smaller than the standard library's, of which every
/// byte would be compiled, hashed and mapped with each guest.
#[cfg(feature = "allocator")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// What `wit-bindgen` makes of `wit/`. The only unsafe code of this crate is in there.
#[allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications, missing_debug_implementations)]
#[allow(clippy::all, clippy::as_conversions, clippy::indexing_slicing, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "stage",
        pub_export_macro: true,
        export_macro_name: "export_component",
        runtime_path: "coordinator_sdk::guest::rt",
        default_bindings_module: "coordinator_sdk::guest::bindings",
    });
}

pub use bindings::export_component;
pub use wit_bindgen::rt;

use bindings::coordinator::stage::{
    about::{Description, Problem},
    changes as out, host,
};

/// What the export `describe` answers. Where the `schema` of the options is known beforehand, the code that makes it is not
/// in the component.
#[inline(always)]
pub fn describe<S: Stage>(name: &str, version: &str, needs: &[&str], schema: Option<&str>) -> Description {
    report_panics();
    Description {
        name: name.to_owned(),
        version: version.to_owned(),
        needs: needs.iter().map(|grant| (*grant).to_owned()).collect(),
        schema: schema.map_or_else(options::schema::<S::Options>, str::to_owned),
    }
}

/// What the export `check` answers.
pub fn check<S: Stage>(text: &str) -> Vec<Problem> {
    report_panics();
    let problem = options::parse::<S::Options>(text).err();
    problem.into_iter().map(|problem| Problem { path: problem.path, text: problem.text }).collect()
}

/// What the export `decide` answers.
///
/// # Errors
/// The stage refuses, or the options are not the ones that `check` let pass.
pub fn decide<S: Stage>(snapshot: bindings::Snapshot, text: &str) -> Result<out::Decision, out::Refusal> {
    report_panics();
    let options = options::parse::<S::Options>(text).map_err(|problem| Refusal::new(format!("options: {problem}")));
    // The instance is thrown away after this: nothing is given back one by one, and there is no code that would.
    let (options, facts) = (ManuallyDrop::new(options?), ManuallyDrop::new(Facts::from(snapshot)));
    S::decide(&facts, &options).map(out::Decision::from).map_err(out::Refusal::from)
}

/// Writes into the host's log.
pub(crate) fn log(level: LogLevel, text: &str) {
    let level = match level {
        LogLevel::Debug => host::Level::Debug,
        LogLevel::Info => host::Level::Info,
        LogLevel::Warn => host::Level::Warn,
        LogLevel::Error => host::Level::Error,
    };
    host::log(level, text);
}

/// A panic's message goes to the host's log before the trap that it ends in.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| host::log(host::Level::Error, &panic.to_string()))));
}
