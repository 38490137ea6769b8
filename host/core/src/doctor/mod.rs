//! Known trouble of nodes and Pods, each finding with its treatment.
//!
//! Nothing is treated here: a person decides. What is looked at is cheap and writes nothing.

mod node;
mod pod;

pub use node::node;
pub use pod::pod;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Pods work, until something happens that is known to happen.
    Risk,
    /// Pods do not work as they should.
    Trouble,
}

/// A finding and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// A word for programs and for the documentation.
    pub code: &'static str,
    /// How much it matters.
    pub gravity: Gravity,
    /// What it is about: `node`, or an attachment.
    pub subject: String,
    /// What was found, and what it leads to.
    pub finding: String,
    /// What helps: sentences, or commands to type.
    pub treatment: String,
}

impl Diagnosis {
    fn of_node(code: &'static str, gravity: Gravity, finding: String, treatment: &str) -> Self {
        Self { code, gravity, subject: "node".to_owned(), finding, treatment: treatment.to_owned() }
    }
}
