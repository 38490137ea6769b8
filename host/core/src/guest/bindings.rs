//! What wasmtime makes of `wit/`, version 0.1.0. Generated code, and nothing else.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated")]
#![allow(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "stage",
});
