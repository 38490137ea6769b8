//! The attached interface's transmit queue length: `txQueueLen`.

use coordinator_sdk::{Change, Decision, Facts, LinkEdit, Refusal, Stage};

/// Sets the length that the settings ask for, in the Pod.
#[derive(Debug, Clone, Copy)]
pub struct TransmitQueueStage;

impl Stage for TransmitQueueStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let decision = Decision::default();
        let Some(length) = facts.settings.tx_queue_len else { return Ok(decision) };
        let edit = LinkEdit { transmit_queue: Some(length), ..LinkEdit::of(facts.attached()) };
        Ok(decision.propose(Change::SetLink(edit), "txQueueLen asks for it"))
    }
}
