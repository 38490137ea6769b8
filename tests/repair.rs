//! `coordinatorctl check --repair`: every damage is undone, and nothing else is touched.

#[path = "damage.rs"]
mod damage;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use coordinator_lab::{ask_json, difference, run};
use serde_json::Value;

use damage::{NAMES, Random, attached, damages, settings};

/// The tool's answer about all attachments, and its exit code.
fn check(more: &[&str]) -> Result<(Vec<Value>, i32)> {
    let (answer, code) = ask_json(&[&["check"], more].concat())?;
    Ok((answer.as_array().context("a list")?.clone(), code))
}

fn drifted(answers: &[Value]) -> BTreeSet<String> {
    let drifts = answers.iter().flat_map(|answer| answer["drifts"].as_array().into_iter().flatten());
    drifts.filter_map(|drift| drift["object"].as_str()).map(str::to_owned).collect()
}

#[test]
fn every_one_of_200_random_damages_is_repaired_and_nothing_else_is_touched() {
    run(|lab| {
        let (pod, _networks) = attached(lab, &settings(lab))?;
        let whole = lab.both(&pod)?;
        let (answers, code) = check(&[])?;
        assert_eq!((answers.len(), drifted(&answers), code), (NAMES.len(), BTreeSet::new(), 0));
        let seed = std::env::var("COORDINATOR_SEED").map_or(Ok(0x5eed_0006), |seed| seed.parse())?;
        let mut random = Random(seed);
        for round in 0..200 {
            let mut choice = damages(lab, &pod)?;
            let damage = choice.swap_remove(random.below(choice.len()));
            let shown = format!("seed {seed}, round {round}: {} {}", damage.program, damage.arguments.join(" "));
            damage.cause().with_context(|| shown.clone())?;
            let (answers, code) = check(&[])?;
            assert_eq!(drifted(&answers), BTreeSet::from([damage.object.clone()]), "{shown}");
            assert_eq!(code, 1, "{shown}");
            let (answers, code) = check(&["--repair"])?;
            assert_eq!(code, 0, "{shown}: {answers:?}");
            lab.is_as_before(&pod, &whole).with_context(|| shown.clone())?;
            let (answers, code) = check(&[])?;
            assert_eq!((drifted(&answers), code), (BTreeSet::new(), 0), "{shown}");
        }
        Ok(())
    });
}

#[test]
fn a_pod_whose_veth_pair_is_gone_gets_all_of_it_back() {
    run(|lab| {
        let (pod, _networks) = attached(lab, &settings(lab))?;
        let whole = lab.both(&pod)?;
        pod.host.ip(&["link del veth0"])?;
        let (answers, code) = check(&["--repair"])?;
        assert_eq!(code, 0, "{answers:?}");
        lab.is_as_before(&pod, &whole)?;
        Ok(())
    });
}

#[test]
fn what_belongs_to_no_record_goes_and_nothing_else() {
    run(|lab| {
        let gc = |more: &[&str]| -> Result<(Vec<String>, i32)> {
            let (edits, code) = ask_json(&[&["gc"], more].concat())?;
            Ok((serde_json::from_value(edits)?, code))
        };
        let empty = lab.node.snapshot()?;
        assert_eq!(gc(&["--dry-run"])?, (Vec::new(), 0));
        let (living, orphan) = (lab.pod("p1")?, lab.pod("p2")?);
        for (pod, number) in [(&living, 20), (&orphan, 30)] {
            pod.attach("eth0", &lab.network(1, number, coordinator_lab::Families::Dual), &lab.cluster())?;
        }
        // A foreign twin of our rule, and a foreign route in our table, are nobody's business.
        lab.node.ip(&["route add 10.99.0.1/32 dev docker0 table 500"])?;
        assert_eq!(gc(&["--dry-run"])?, (Vec::new(), 0));
        let whole = lab.both(&living)?;
        std::fs::remove_dir_all(format!("/run/coordinator/{}", orphan.container))?;

        let (named, code) = gc(&["--dry-run"])?;
        assert_eq!(code, 1);
        assert!(named.contains(&"delete link node/vethp2-01234567".to_owned()), "{named:?}");
        assert_eq!(difference(&whole.node, &lab.node.snapshot()?), [""; 0], "looking changes nothing");
        let (done, code) = gc(&[])?;
        assert_eq!((done, code), (named, 0));
        assert_eq!(lab.node.snapshot()?.with("vethp2").count() + lab.node.snapshot()?.with("10.6.2.30").count(), 0);
        assert_eq!(difference(&whole.pod, &living.host.snapshot()?), [""; 0]);
        let (answers, code) = check(&[])?;
        assert_eq!((drifted(&answers), code), (BTreeSet::new(), 0));

        std::fs::remove_dir_all(format!("/run/coordinator/{}", living.container))?;
        gc(&[])?;
        lab.node.ip(&["route del 10.99.0.1/32 dev docker0 table 500"])?;
        assert_eq!(difference(&empty, &lab.node.snapshot()?), [""; 0]);
        assert_eq!(gc(&["--dry-run"])?, (Vec::new(), 0));
        Ok(())
    });
}
