//! Stages in the languages whose compilers are packages of other worlds: a new one of each builds and passes its tests.
//!
//! They are not a part of every test run: npm and pip fetch some hundred megabytes.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{need::Job, setup, steps::Steps, workspace};

/// Each language, with what its page says to run before `coordinatorctl stage test`.
const LANGUAGES: [(&str, &str); 2] = [
    ("javascript", "npm install --no-audit --no-fund"),
    ("python", "python3 -m venv .venv && .venv/bin/pip install --quiet --requirement requirements.txt"),
];

/// Takes a step for each language.
pub fn all(steps: &mut Steps) -> Result<()> {
    setup::provide(Job::Languages)?;
    let target = workspace::target()?;
    let tool = target.join("debug/coordinatorctl");
    let folder = target.join("languages");
    for (language, prepare) in LANGUAGES {
        let stage = folder.join(format!("my-{language}"));
        if stage.exists() {
            fs::remove_dir_all(&stage).with_context(|| format!("cannot remove {}", stage.display()))?;
        }
        fs::create_dir_all(&folder)?;
        steps.take(&format!("a stage in {language}"), || {
            workspace::run(Command::new(&tool).args(["stage", "new"]).arg(&stage).args(["--language", language]))?;
            workspace::run(Command::new("sh").current_dir(&stage).args(["-c", prepare]))?;
            workspace::run(Command::new(&tool).current_dir(&stage).args(["stage", "test"]))?;
            Ok("ok".to_owned())
        });
    }
    Ok(())
}
