//! `coordinatorctl node prepare` on a node with a kernel of its own: what it changes, that a second time changes nothing,
//! and that everything comes back, but not what an administrator changed since.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use coordinator_lab::{Families, Lab, run, tool};
use serde_json::Value;

/// Exit code, answer, remarks.
fn prepare(options: &[&str]) -> Result<(i32, String, String)> {
    let output = Command::new(tool()?).args(["node", "prepare"]).args(options).output()?;
    let code = output.status.code().context("an exit code")?;
    Ok((code, String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

/// Every parameter of the node's network and every file that a preparation could write, with their contents.
fn state() -> Result<BTreeMap<PathBuf, String>> {
    fn gather(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                gather(&path, found);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.insert(path, text);
            }
        }
    }
    let mut found = BTreeMap::new();
    for folder in ["/proc/sys/net", "/etc/sysctl.d", "/etc/NetworkManager", "/var/lib/coordinator"] {
        gather(Path::new(folder), &mut found);
    }
    // These live.
    found.retain(|path, _| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.ends_with("_count") && !name.contains("stable_secret") && !name.contains("fib_sync_mem")
    });
    ensure!(found.len() > 200, "{}", found.len());
    Ok(found)
}

fn difference(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let paths = before.keys().chain(after.keys());
    let mut changed: Vec<String> = paths
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| format!("{}: {:?} → {:?}", path.display(), before.get(path), after.get(path)))
        .collect();
    changed.sort();
    changed.dedup();
    changed
}

/// A node that nobody prepared: it forwards nothing, filters strictly, and has NetworkManager.
fn unprepared(lab: &Lab) -> Result<()> {
    for (key, value) in [
        ("net/ipv4/conf/all/forwarding", "0"),
        ("net/ipv6/conf/all/forwarding", "0"),
        ("net/ipv4/conf/ens1/rp_filter", "1"),
        ("net/netfilter/nf_conntrack_tcp_be_liberal", "0"),
        // Somebody wanted these two for one interface.
        ("net/ipv4/conf/ens2/forwarding", "1"),
        ("net/ipv6/conf/ens2/forwarding", "1"),
    ] {
        lab.node.sysctl(key, value)?;
    }
    // The lab's layer over /etc; the machine's own is not touched.
    Ok(fs::create_dir_all("/etc/NetworkManager/conf.d")?)
}

fn value(key: &str) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/sys/{key}"))?.trim().to_owned())
}

#[test]
fn a_node_is_prepared_once_and_everything_comes_back() {
    run(|lab| {
        unprepared(lab)?;
        let before = state()?;
        let (code, shown, _) = prepare(&["--dry-run", "--be-liberal"])?;
        ensure!(code == 1 && shown.contains("net/ipv4/conf/all/forwarding: 0 → 1 ("), "{code} {shown}");
        ensure!(shown.contains("write /etc/NetworkManager/conf.d/90-coordinator.conf ("), "{shown}");
        let (code, json, _) = prepare(&["--dry-run", "--be-liberal", "--json"])?;
        let json: Value = serde_json::from_str(&json)?;
        let steps = json.as_array().context("a list")?;
        ensure!(code == 1 && steps.len() == shown.lines().count(), "{json}");
        ensure!(steps.iter().all(|step| !step["why"].as_str().unwrap_or_default().is_empty()), "{json}");
        ensure!(difference(&before, &state()?).is_empty(), "asking changes something");

        let (code, done, said) = prepare(&["--be-liberal"])?;
        ensure!(code == 0 && done == shown, "{code} {done} {said}");
        for (key, expected) in [
            ("net/ipv4/conf/all/forwarding", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv6/conf/ens1/accept_ra", "2"),
            ("net/ipv4/conf/all/rp_filter", "2"),
            ("net/ipv4/conf/all/arp_notify", "1"),
            ("net/netfilter/nf_conntrack_tcp_be_liberal", "1"),
        ] {
            ensure!(value(key)? == expected, "{key} is {}", value(key)?);
        }
        let prepared = state()?;
        for options in [&["--be-liberal"][..], &["--be-liberal", "--dry-run"], &[]] {
            let (code, said, _) = prepare(options)?;
            ensure!((code, said.as_str()) == (0, "Nothing is to be changed.\n"), "{options:?}: {code} {said}");
            ensure!(difference(&prepared, &state()?).is_empty(), "{options:?} changes something");
        }

        let (code, said, _) = prepare(&["--revert", "--dry-run"])?;
        ensure!(code == 1 && said.contains("net/ipv4/conf/all/forwarding: 1 → 0 (as it was before)"), "{said}");
        ensure!(difference(&prepared, &state()?).is_empty(), "asking changes something");
        let (code, _, said) = prepare(&["--revert"])?;
        ensure!(code == 0 && said.is_empty(), "{said}");
        let left = difference(&before, &state()?);
        ensure!(left.is_empty(), "{left:#?}");
        let (code, said, _) = prepare(&["--revert"])?;
        ensure!((code, said.as_str()) == (0, "Nothing is to be changed.\n"), "{said}");
        Ok(())
    });
}

/// What the preparation is for: Pods that nobody could reach before.
#[test]
fn pods_of_a_prepared_node_reach_everything() {
    run(|lab| {
        unprepared(lab)?;
        let pod = lab.pod("p1")?;
        pod.attach("eth0", &lab.underlay(20, Families::Dual), &lab.cluster())?;
        lab.expose(&pod)?;
        let failing = || -> Result<usize> {
            let mut count = 0;
            for check in lab.checks(&pod) {
                count += usize::from(!check.run()?.is_well());
            }
            Ok(count)
        };
        ensure!(failing()? > 0, "the unprepared node serves everything");
        let (code, said, _) = prepare(&["--be-liberal"])?;
        ensure!(code == 0, "{said}");
        ensure!(failing()? == 0, "{:?}", lab.checks(&pod).iter().map(|it| it.run()).collect::<Vec<_>>());
        let doctor = Command::new(tool()?).args(["doctor", "--json"]).output()?;
        let found: Value = serde_json::from_slice(&doctor.stdout)?;
        let codes: Vec<&str> = found.as_array().into_iter().flatten().filter_map(|it| it["code"].as_str()).collect();
        for known in ["forwarding-off", "strict-rp-filter", "invalid-drop", "network-manager", "neighbours-crowded"] {
            ensure!(!codes.contains(&known), "{found}");
        }
        Ok(())
    });
}

#[test]
fn what_an_administrator_changed_since_stays() {
    run(|lab| {
        unprepared(lab)?;
        let before = state()?;
        ensure!(prepare(&[])?.0 == 0, "it is not prepared");
        lab.node.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
        lab.node.sysctl("net/ipv4/conf/ens2/forwarding", "0")?;
        fs::write("/etc/sysctl.d/90-coordinator.conf", "# mine now\n")?;
        // A second preparation would bring its own values again: that is what it is asked for.
        let (code, shown, _) = prepare(&["--dry-run"])?;
        ensure!(code == 1 && shown.contains("change /etc/sysctl.d/90-coordinator.conf ("), "{shown}");

        let (code, shown, said) = prepare(&["--revert"])?;
        ensure!(code == 0 && shown.contains("net/ipv4/conf/all/forwarding: 1 → 0"), "{shown}");
        let told: Vec<&str> = said.lines().collect();
        ensure!(
            told == ["/etc/sysctl.d/90-coordinator.conf was changed by somebody since: it stays"],
            "what has the value of before is no difference: {said}"
        );
        let left = difference(&before, &state()?);
        let expected = [
            "/etc/sysctl.d/90-coordinator.conf: None → Some(\"# mine now\\n\")",
            "/proc/sys/net/ipv4/conf/ens2/forwarding: Some(\"1\\n\") → Some(\"0\\n\")",
        ];
        ensure!(left == expected, "{left:#?}");
        Ok(())
    });
}

#[test]
fn what_cannot_be_done_is_told_and_nothing_half_done() {
    run(|lab| {
        unprepared(lab)?;
        fs::create_dir_all("/var/lib/coordinator")?;
        fs::write("/var/lib/coordinator/prepared.json", "{")?;
        let before = state()?;
        for options in [&[][..], &["--revert"]] {
            let (code, shown, said) = prepare(options)?;
            ensure!(code == 74 && shown.is_empty(), "{code} {shown}");
            ensure!(said.contains("/var/lib/coordinator/prepared.json cannot be understood"), "{said}");
        }
        ensure!(difference(&before, &state()?).is_empty(), "something is changed");
        let (code, _, said) = prepare(&["--revert", "--be-liberal"])?;
        ensure!(code == 2 && said.contains("cannot be used with"), "{code} {said}");
        Ok(())
    });
}
