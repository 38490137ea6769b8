//! `coordinatorctl pipeline schema`: the file's JSON Schema, for editors.

use coordinator_core::pipeline::schema;

use crate::{exit::Exit, failure::Failure, terminal::Terminal};

pub(crate) fn run(terminal: &Terminal) -> Result<Exit, Failure> {
    terminal.answer_json(&schema().to_value())?;
    Ok(Exit::Success)
}
