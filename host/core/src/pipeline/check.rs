//! Whether the stages of a draft exist, fit together and say nothing that has no meaning.

use coordinator_stages::decide;

use super::{
    draft::Draft,
    source::{Flaw, Place},
    stage_entry::StageEntry,
};
use crate::settings::nearest;

/// The stages that are no decisions.
const PHASES: [&str; 5] = ["observe", "probe", "findings", "apply", "announce"];
/// The stage that decides the mode.
const MODE: &str = "native:mode";
/// The stage that writes the kernel.
const APPLY: &str = "native:apply";

/// What a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Reads the kernel.
    Observe,
    /// Decides, built in.
    Decide,
    /// Asks the wire.
    Probe,
    /// Judges what the wire answered.
    Findings,
    /// Writes the kernel.
    Apply,
    /// Tells the neighbours.
    Announce,
    /// Decides, in a sandbox.
    Guest,
}

/// What a `use` means; what is wrong with it otherwise.
pub(super) fn kind_of(uses: &str) -> Result<Kind, String> {
    match uses.split_once(':') {
        Some(("native", "observe")) => Ok(Kind::Observe),
        Some(("native", "probe")) => Ok(Kind::Probe),
        Some(("native", "findings")) => Ok(Kind::Findings),
        Some(("native", "apply")) => Ok(Kind::Apply),
        Some(("native", "announce")) => Ok(Kind::Announce),
        Some(("native", name)) if decide::NAMES.contains(&name) => Ok(Kind::Decide),
        Some(("native", name)) => {
            let guess = nearest(name, decide::NAMES.into_iter().chain(PHASES));
            let question = guess.map(|name| format!("; did you mean \"native:{name}\"?")).unwrap_or_default();
            Err(format!("there is no native stage {name:?}{question}"))
        }
        Some(("wasm", "")) => Err("\"wasm:\" names no file: it should be \"wasm:PATH\"".to_owned()),
        Some(("wasm", _)) => Ok(Kind::Guest),
        _ => Err(format!("{uses:?} is no stage: it should be \"native:NAME\" or \"wasm:PATH\"")),
    }
}

/// Finds what is wrong with a stage, wherever it stands.
pub(super) fn check_stage(draft: &Draft, stage: &StageEntry, flaws: &mut Vec<Flaw>) {
    let name = &stage.name.value;
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.chars().all(is_plain) || name.len() > 64 {
        let message = format!("name {name:?}: a stage's name has lower-case letters, digits and '-', at most 64");
        flaws.push(Flaw::error(&stage.name.place, message));
    }
    match kind_of(&stage.uses.value) {
        Ok(kind) => check_keys(draft, stage, kind, flaws),
        Err(message) => flaws.push(Flaw::error(&stage.uses.place, message)),
    }
}

/// Finds what is wrong with the arrangement of the stages.
pub(super) fn check_order(draft: &Draft, flaws: &mut Vec<Flaw>) {
    let uses: Vec<&str> = draft.stages.iter().map(|stage| stage.uses.value.as_str()).collect();
    for (at, stage) in draft.stages.iter().enumerate() {
        check_twin(draft, at, stage, flaws);
        let (before, _) = uses.split_at_checked(at).unwrap_or_default();
        for message in misplaced(&stage.uses.value, before) {
            flaws.push(Flaw::error(&stage.uses.place, message));
        }
        if let Some(when) = stage.when.as_ref().filter(|when| !when.value.modes.is_empty())
            && !before.contains(&MODE)
        {
            let message = "the mode is decided by the stage that uses \"native:mode\", which does not stand before";
            flaws.push(Flaw::warning(&when.place, message));
        }
    }
    if !uses.contains(&APPLY) && !uses.is_empty() {
        let end = draft.sources.files().first().map_or(0, |file| file.text.len());
        let message = "there is no stage that uses \"native:apply\"";
        flaws.push(Flaw::error(&Place { file: 0, span: end..end }, message));
    }
}

/// What is wrong with the place of a stage behind those that stand before it.
fn misplaced(uses: &str, before: &[&str]) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    if (uses == "native:observe") != before.is_empty() {
        wrong.push("observe, and nothing else, comes first");
    }
    if before.contains(&APPLY) && uses != "native:announce" {
        wrong.push("nothing but announce can stand after apply");
    }
    if uses == "native:announce" && !before.contains(&APPLY) {
        wrong.push("announce stands after apply: the neighbours are told what is so");
    }
    if matches!(uses, "native:probe" | "native:findings" | "native:announce") && before.contains(&uses) {
        wrong.push("there can be one such stage only");
    }
    if uses == "native:findings" && !before.contains(&"native:probe") {
        wrong.push("findings stands after probe, which finds them");
    }
    if uses == "native:detect" && before.contains(&"native:probe") {
        wrong.push("detect stands before probe: nobody would ask what it proposes");
    }
    wrong
}

/// Finds another stage of the same name.
fn check_twin(draft: &Draft, at: usize, stage: &StageEntry, flaws: &mut Vec<Flaw>) {
    let name = &stage.name.value;
    let Some(earlier) = draft.stages.iter().take(at).find(|earlier| earlier.name.value == *name) else { return };
    // Whatever the order in which they run, the one that was written later is too many.
    let order = |stage: &StageEntry| (usize::MAX - stage.name.place.file, stage.name.place.span.start);
    let (first, second) = if order(earlier) <= order(stage) { (earlier, stage) } else { (stage, earlier) };
    let there = match first.name.place.file == second.name.place.file {
        true => format!("line {}", draft.sources.position(&first.name.place).0),
        false => draft.sources.line(&first.name.place),
    };
    let message = format!("there is a stage called {name:?} already, in {there}");
    flaws.push(Flaw::error(&second.name.place, message));
}

/// Keys that mean nothing for a stage of this kind, and those that it lacks.
fn check_keys(draft: &Draft, stage: &StageEntry, kind: Kind, flaws: &mut Vec<Flaw>) {
    if kind == Kind::Guest {
        if stage.sha256.is_none() && draft.guest(stage).is_none() {
            let message = "sha256 is missing: a guest's compiled form is found by it; `coordinatorctl pipeline lock` \
                           writes it into the lock file";
            flaws.push(Flaw::error(&stage.uses.place, message));
        }
        return;
    }
    let of_guests = [
        ("sha256", stage.sha256.as_ref().map(|it| &it.place)),
        ("grant", stage.grants.first().map(|it| &it.place)),
        ("limits", stage.limits.as_ref().map(|it| &it.place)),
    ];
    for (key, place) in of_guests.into_iter().filter_map(|(key, place)| Some((key, place?))) {
        flaws.push(Flaw::error(place, format!("{key} is for guests: a native stage is part of the plugin")));
    }
    if let Some(with) = stage.with.as_ref().filter(|with| !with.value.is_empty()) {
        flaws.push(Flaw::error(&with.place, format!("{:?} takes no options", stage.uses.value)));
    }
    if kind != Kind::Decide {
        let of_decisions = [
            ("when", stage.when.as_ref().map(|it| &it.place)),
            ("on-failure", stage.on_failure.as_ref().map(|it| &it.place)),
        ];
        for (key, place) in of_decisions.into_iter().filter_map(|(key, place)| Some((key, place?))) {
            let message = format!("{key} is for deciding stages: {:?} always runs", stage.uses.value);
            flaws.push(Flaw::error(place, message));
        }
    }
}
