//! Runs a pipeline's steps on facts: what ADD, `plan` and replays share.
//!
//! Each step sees the world as the steps before it will have made it. Nothing here reads or writes the kernel:
//! where the facts come from, who asks the wire, and what becomes of the projection, is the caller's business.

use coordinator_sdk::{Decision, Finding, OnFinding, Outcome, ProjectError, Projection, Refusal};

use tracing::{debug, warn};

use crate::{
    guest::{GuestError, StageFailure},
    pipeline::{OnFailure, Phase, Pipeline, Step},
};

/// Why the steps came to no end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A stage refused.
    #[error("stage {stage} refuses: {refusal}")]
    Refused {
        /// The stage.
        stage: String,
        /// Its reason, hint, and whether a retry may help.
        refusal: Refusal,
    },
    /// The wire's answers are bad ones, and nobody wants to go on with them.
    #[error("stage {stage} refuses: {}", joined(.findings))]
    Found {
        /// The stage.
        stage: String,
        /// Every one of them.
        findings: Vec<Finding>,
    },
    /// A guest failed, and the pipeline does not go on without it.
    #[error("stage {stage} failed: {failure}")]
    Guest {
        /// The stage.
        stage: String,
        /// Why.
        #[source]
        failure: GuestError,
    },
    /// A proposal does not fit what was observed.
    #[error(transparent)]
    Proposal(#[from] ProjectError),
}

impl RunError {
    /// The addresses that others use, when that is why.
    pub fn conflicts(&self) -> impl Iterator<Item = &Finding> {
        let findings = if let Self::Found { findings, .. } = self { findings.as_slice() } else { &[] };
        findings.iter().filter(|finding| finding.outcome == Outcome::Conflict)
    }
}

fn joined(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Who asks the wire on behalf of a pipeline.
pub trait Wire {
    /// What ends the run when the wire cannot be asked.
    type Error: From<RunError>;

    /// Asks what the projection's probes want to know; a finding for each of them.
    ///
    /// # Errors
    /// The wire cannot be asked.
    fn ask(&mut self, projection: &Projection) -> Result<Vec<Finding>, Self::Error>;
}

/// Asks nobody, and gives the findings that the facts hold already: for `plan` and replays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recorded;

impl Wire for Recorded {
    type Error = RunError;

    fn ask(&mut self, projection: &Projection) -> Result<Vec<Finding>, RunError> {
        Ok(projection.facts().findings.clone().unwrap_or_default())
    }
}

/// Runs the steps in their order. One that does not run for this attachment, or that failed where its failure is
/// to be passed over, is said so in the log and in [`Projection::skipped`].
///
/// # Errors
/// A stage refuses, or proposes what does not fit; or the wire cannot be asked.
pub fn run<W: Wire>(pipeline: &Pipeline, mut projection: Projection, wire: &mut W) -> Result<Projection, W::Error> {
    for step in &pipeline.steps {
        if let Some(why) = step.when.objection(projection.facts()) {
            debug!(stage = step.name, why, "The stage is skipped.");
            projection.skip(&step.name, why);
            continue;
        }
        match &step.phase {
            Phase::Decide(stage) => {
                let decision = stage.decide(projection.facts());
                let decision = decision.map_err(|refusal| RunError::Refused { stage: step.name.clone(), refusal })?;
                take_in(step, decision, &mut projection)?;
            }
            Phase::Guest(guest) => match guest.decide(projection.facts()) {
                Ok(decision) => take_in(step, decision, &mut projection)?,
                Err(StageFailure::Refused(refusal)) => {
                    return Err(RunError::Refused { stage: step.name.clone(), refusal }.into());
                }
                Err(StageFailure::Failed(failure)) if step.on_failure == OnFailure::Skip => {
                    warn!(stage = step.name, %failure, "The stage failed and is skipped.");
                    projection.skip(&step.name, failure.to_string());
                }
                Err(StageFailure::Failed(failure)) => {
                    return Err(RunError::Guest { stage: step.name.clone(), failure }.into());
                }
            },
            Phase::Probe => {
                let findings = wire.ask(&projection)?;
                projection.set_findings(findings);
            }
            Phase::Findings => judge(&step.name, &mut projection)?,
        }
    }
    Ok(projection)
}

/// Projects a decision; what half of it did must not stay when the other half does not fit.
fn take_in(step: &Step, decision: Decision, projection: &mut Projection) -> Result<(), RunError> {
    let before = (step.on_failure == OnFailure::Skip).then(|| projection.clone());
    match (projection.project(&step.name, decision), before) {
        (Err(error), Some(before)) => {
            *projection = before;
            warn!(stage = step.name, %error, "The stage failed and is skipped.");
            projection.skip(&step.name, error.to_string());
            Ok(())
        }
        (result, _) => Ok(result?),
    }
}

/// Does what each probe asks for where its finding is a bad one.
///
/// A stage between the probes and this step may have altered what a probe asks for: the last word counts.
fn judge(stage: &str, projection: &mut Projection) -> Result<(), RunError> {
    let facts = projection.facts();
    let mut decision = Decision::default();
    let mut refused = Vec::new();
    for finding in facts.findings.iter().flatten().filter(|finding| finding.outcome.is_bad()) {
        let probe = facts.probes.iter().find(|probe| finding.answers(probe)).unwrap_or(&finding.probe);
        match probe.on_finding {
            OnFinding::Refuse => refused.push(finding.clone()),
            OnFinding::Warn => decision.warn(finding.to_string()),
            OnFinding::Report => {}
        }
    }
    if !refused.is_empty() {
        return Err(RunError::Found { stage: stage.to_owned(), findings: refused });
    }
    Ok(projection.project(stage, decision)?)
}

#[cfg(test)]
mod tests {
    use coordinator_sdk::{
        Bound, Change, Device, Facts, Family, Link, LinkEdit, Mac, Mode, Probe, ProbeKind, Rule, Side, Stage,
        TABLE_MAIN,
    };

    use super::*;
    use crate::pipeline::When;

    /// Asks whether an address is free, as an earlier stage may.
    struct Curious;

    impl Stage for Curious {
        type Options = OnFinding;
        fn decide(facts: &Facts, on_finding: &OnFinding) -> Result<Decision, Refusal> {
            let asked = facts.probes.first().cloned();
            let probe = asked.unwrap_or(Probe {
                kind: ProbeKind::Address,
                device: Device::pod("eth0"),
                target: [10, 0, 0, 2].into(),
                retries: 3,
                interval_ms: 10,
                timeout_ms: 100,
                on_finding: OnFinding::Refuse,
            });
            Ok(Decision::default().propose(Change::SetProbe(Probe { on_finding: *on_finding, ..probe }), "to know"))
        }
    }

    /// Everything is in use.
    struct Crowded;

    impl Wire for Crowded {
        type Error = RunError;
        fn ask(&mut self, projection: &Projection) -> Result<Vec<Finding>, RunError> {
            let conflict = |probe: &Probe| Finding {
                probe: probe.clone(),
                outcome: Outcome::Conflict,
                mac: Some(Mac([2, 0, 0, 0, 0, 9])),
            };
            Ok(projection.facts().probes.iter().map(conflict).collect())
        }
    }

    fn run_with(before: OnFinding, after: Option<OnFinding>) -> Result<Projection, RunError> {
        let curious = |options| Phase::Decide(Box::new(Bound::<Curious> { options }));
        let mut phases = vec![curious(before), Phase::Probe];
        phases.extend(after.map(curious));
        phases.push(Phase::Findings);
        let steps = phases.into_iter().map(|phase| Step::always("step", phase)).collect();
        let pipeline = Pipeline { steps, ..Pipeline::default() };
        run(&pipeline, Projection::new(Facts::default()), &mut Crowded)
    }

    #[test]
    fn a_bad_finding_refuses_warns_or_is_left_to_a_stage() {
        let error = run_with(OnFinding::Refuse, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "stage step refuses: address 10.0.0.2 on eth0 is used by another host, MAC 02:00:00:00:00:09"
        );
        assert_eq!(error.conflicts().count(), 1);
        let warned = run_with(OnFinding::Warn, None).unwrap();
        assert!(warned.warnings()[0].contains("is used by another host"), "{:?}", warned.warnings());
        let reported = run_with(OnFinding::Report, None).unwrap();
        assert_eq!((reported.warnings().len(), reported.facts().findings.as_ref().unwrap().len()), (0, 1));
    }

    #[test]
    fn a_stage_after_the_probes_has_the_last_word() {
        assert!(run_with(OnFinding::Refuse, Some(OnFinding::Report)).is_ok());
        assert!(run_with(OnFinding::Report, Some(OnFinding::Refuse)).is_err());
    }

    #[test]
    fn a_replay_gives_the_findings_that_it_holds() {
        let pipeline = Pipeline { steps: vec![Step::always("probe", Phase::Probe)], ..Pipeline::default() };
        let run = |facts| run(&pipeline, Projection::new(facts), &mut Recorded).unwrap().facts().findings.clone();
        assert_eq!(run(Facts::default()), Some(Vec::new()));
        let findings = run_with(OnFinding::Report, None).unwrap().facts().findings.clone();
        assert_eq!(run(Facts { findings: findings.clone(), ..Facts::default() }), findings);
    }

    /// Proposes something that fits and something that does not.
    struct Half;

    impl Stage for Half {
        type Options = ();

        fn decide(_facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
            let rule = Rule::all(Side::Pod, Family::Ipv4, 7, TABLE_MAIN);
            let nobody = LinkEdit::of(Device::pod("nobody"));
            Ok(Decision::default().propose(Change::AddRule(rule), "fits").propose(Change::SetLink(nobody), "does not"))
        }
    }

    fn run_half(when: When, on_failure: OnFailure) -> Result<Projection, RunError> {
        let phase = Phase::Decide(Box::new(Bound::<Half> { options: () }));
        let steps = vec![Step { when, on_failure, ..Step::always("half", phase) }];
        let mut facts = Facts::default();
        facts.model.links.push(Link::named(Device::pod("eth0")));
        run(&Pipeline { steps, ..Pipeline::default() }, Projection::new(facts), &mut Recorded)
    }

    #[test]
    fn a_stage_that_fails_ends_the_run_or_is_passed_over_without_a_trace() {
        let refused = run_half(When::default(), OnFailure::Refuse).unwrap_err();
        assert!(refused.to_string().contains("pod/nobody"), "{refused}");
        let passed = run_half(When::default(), OnFailure::Skip).unwrap();
        assert_eq!(passed.plan().edits, []);
        assert_eq!(passed.skipped().len(), 1);
        assert!(passed.skipped()[0].why.contains("pod/nobody"));
    }

    #[test]
    fn a_stage_for_other_attachments_does_not_run() {
        let when = When { modes: vec![Mode::Overlay], ..When::default() };
        let skipped = run_half(when, OnFailure::Refuse).unwrap();
        assert_eq!(skipped.skipped()[0].why, "the mode is not decided yet, not overlay");
        assert_eq!(skipped.plan().edits, []);
    }
}
