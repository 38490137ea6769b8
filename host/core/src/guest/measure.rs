//! What a decision of a guest takes: instructions and memory. For the tool's benchmark; ADD counts neither.

use coordinator_sdk::Facts;
use wasmtime::{
    Config, Engine, Store,
    component::{Component, HasSelf, Linker},
};

use super::{
    bindings::Stage,
    convert,
    failure::GuestError,
    limits::{Limits, State},
};

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Instructions of one decision, more or less (wasmtime's fuel).
    pub fuel: u64,
    /// Linear memory of the instance after it, bytes.
    pub memory_bytes: usize,
}

/// Counts what one decision takes; instantiation and the check of the options do not count.
///
/// # Errors
/// The component cannot be compiled, or fails.
pub fn measure(component: &[u8], facts: &Facts, options: &str) -> Result<Used, GuestError> {
    counted(component, facts, options).map_err(|error| GuestError::Interface { reason: format!("{error:#}") })
}

fn counted(component: &[u8], facts: &Facts, options: &str) -> wasmtime::Result<Used> {
    let mut config = Config::new();
    config.consume_fuel(true);
    let engine = Engine::new(&config)?;
    let component = Component::new(&engine, component)?;
    let mut linker = Linker::<State>::new(&engine);
    Stage::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    let mut store = Store::new(&engine, State::new("measured", Limits::MOST));
    store.limiter(|state| state);
    store.set_fuel(u64::MAX)?;
    let instance = Stage::instantiate(&mut store, &component, &linker)?;
    let before = store.get_fuel()?;
    // A refusal is a decision too.
    drop(instance.call_decide(&mut store, &convert::snapshot(facts), options)?);
    let fuel = before.saturating_sub(store.get_fuel()?);
    Ok(Used { fuel, memory_bytes: store.data().memory_bytes })
}
