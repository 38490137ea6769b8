//! The agent's care on a node with real Pods: what vanished is released, what drifted is named, what lives is left.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

use std::{collections::BTreeSet, path::Path};

use coordinator_agent::care::{Treatment, round};
use coordinator_lab::{Families, run};

const STATE: &str = "/run/coordinator";
const NAMESPACES: &str = "/run/netns";

#[test]
fn orphans_go_after_two_rounds_and_the_living_stay() {
    run(|lab| {
        let network = lab.underlay(20, Families::Dual);
        let (dead, alive) = (lab.pod("dead")?, lab.pod("alive")?);
        let networks = [lab.underlay(21, Families::Dual), network.clone()];
        let settings = lab.cluster();
        let before = lab.node.snapshot()?;
        for (pod, network) in [&dead, &alive].into_iter().zip(&networks) {
            let result = pod.attach_without_us("eth0", network)?;
            pod.add("eth0", network, &settings, &result)?;
        }
        let round = |gone: &BTreeSet<_>| round(Path::new(STATE), Path::new(NAMESPACES), gone, Treatment::Tell);
        let first = round(&BTreeSet::new())?;
        assert_eq!((first.living, first.gone.len(), first.released), (2, 0, 0));
        assert_eq!(first.drifted, []);

        dead.host.unbind()?;
        drop(dead);
        let second = round(&first.gone)?;
        assert_eq!((second.living, second.gone.len(), second.released), (1, 1, 0), "one look is not enough");
        let third = round(&second.gone)?;
        assert_eq!((third.living, third.gone.len(), third.released), (1, 0, 1));
        let left: Vec<_> = std::fs::read_dir(STATE)?.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].starts_with("alive"), "{left:?}");
        lab.expose(&alive)?;
        let rows = lab
            .checks(&alive)
            .iter()
            .map(|check| Ok((check.name().to_owned(), check.run()?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        assert!(rows.iter().all(|(_, outcome)| outcome.is_well()), "\n{}", coordinator_lab::table(&rows));

        alive.del("eth0", &network, &settings)?;
        let after = lab.node.snapshot()?;
        let ours = |text: &str| coordinator_lab::difference(&before, &after).iter().any(|line| line.contains(text));
        assert!(!ours("dead") && !ours("alive"), "{:?}", coordinator_lab::difference(&before, &after));
        Ok(())
    });
}

#[test]
fn what_drifted_is_named_by_kind() {
    run(|lab| {
        let network = lab.underlay(20, Families::V4);
        let pod = lab.pod("p1")?;
        let result = pod.attach_without_us("eth0", &network)?;
        pod.add("eth0", &network, &lab.cluster(), &result)?;
        pod.host.run("nft", &["flush", "ruleset"])?;
        pod.host.sysctl("net/ipv4/conf/veth0/rp_filter", "2")?;
        let outcome = round(Path::new(STATE), Path::new(NAMESPACES), &BTreeSet::new(), Treatment::Tell)?;
        let [drifted] = outcome.drifted.as_slice() else { panic!("{:?}", outcome.drifted) };
        let kinds: BTreeSet<&str> = drifted.differences.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, BTreeSet::from(["mark", "sysctl"]), "{drifted:?}");
        assert_eq!((drifted.container.as_str(), drifted.interface.as_str()), ("p1-0123456789abcdef", "eth0"));
        assert!(!drifted.is_repaired, "it was only told");
        let repair = || round(Path::new(STATE), Path::new(NAMESPACES), &BTreeSet::new(), Treatment::Repair);
        assert!(repair()?.drifted.iter().all(|drifted| drifted.is_repaired));
        assert_eq!(repair()?.drifted, [], "nothing is left to repair");
        Ok(())
    });
}

#[test]
fn where_namespaces_cannot_be_seen_nothing_is_released() {
    run(|lab| {
        let network = lab.underlay(20, Families::V4);
        let pod = lab.pod("p1")?;
        let result = pod.attach_without_us("eth0", &network)?;
        pod.add("eth0", &network, &lab.cluster(), &result)?;
        let name = ("p1-0123456789abcdef".parse()?, "eth0".parse()?);
        // The mount is missing: everything looks as if it were gone.
        let outcome = round(Path::new(STATE), Path::new("/not/mounted"), &BTreeSet::from([name]), Treatment::Repair)?;
        assert_eq!((outcome.unknown, outcome.released, outcome.gone.len()), (1, 0, 0));
        assert!(Path::new(STATE).join("p1-0123456789abcdef").exists());
        Ok(())
    });
}
