//! `coordinatorctl path`: no false alarm where real packets come back the way they went, and the right reason where
//! they do not.

use anyhow::{Context as _, Result, bail, ensure};
use coordinator_lab::{Families, Lab, Overlay, Pod, ask, ask_json, run};
use serde_json::{Value, json};

/// Every path of the Pod, and the exit code.
fn paths(pod: &Pod, more: &[&str]) -> Result<(Vec<Value>, i32)> {
    let (answer, code) = ask_json(&[&["path", pod.container.as_str()], more].concat())?;
    Ok((answer.as_array().context("a list")?.clone(), code))
}

/// Real packets and the tool agree that all is well.
fn all_is_well(lab: &Lab, pod: &Pod) -> Result<()> {
    lab.all_is_well(pod)?;
    let (paths, code) = paths(pod, &[])?;
    let wrong: Vec<_> = paths.iter().filter(|path| path["symmetric"] == false).collect();
    ensure!(wrong.is_empty() && code == 0, "{} of {}: {wrong:#?}", wrong.len(), paths.len());
    for ip in pod.addresses() {
        let kinds = paths.iter().filter(|path| path["local"] == ip.to_string()).count();
        ensure!(kinds >= 6, "only {kinds} paths of {ip}");
    }
    Ok(())
}

#[test]
fn underlay_pods_that_work_raise_no_alarm() {
    for families in Families::ALL {
        run(move |lab| {
            let pod = lab.pod("p1")?;
            for (name, lan, number) in [("eth0", 1, 20), ("net1", 2, 21), ("net2", 2, 22)] {
                pod.attach(name, &lab.network(lan, number, families), &lab.cluster())?;
                all_is_well(lab, &pod)?;
            }
            Ok(())
        });
    }
}

#[test]
fn overlay_pods_that_work_raise_no_alarm() {
    for shape in Overlay::ALL {
        run(move |lab| {
            let pod = lab.overlay_pod("p1", "eth0", 7, shape, Families::Dual)?;
            for (name, lan, number) in [("net1", 1, 20), ("net2", 2, 21)] {
                pod.attach(name, &lab.network(lan, number, Families::Dual), &lab.cluster())?;
                all_is_well(lab, &pod)?;
            }
            Ok(())
        });
    }
}

#[test]
fn every_reverse_path_filter_that_works_raises_no_alarm() {
    run(|lab| {
        for value in [0, 1, 2] {
            let mut settings = lab.cluster();
            settings["podRPFilter"] = json!(value);
            let pod = lab.pod(&format!("p{value}"))?;
            for (name, lan) in [("eth0", 1), ("net1", 2)] {
                pod.attach(name, &lab.network(lan, 20 + value, Families::Dual), &settings)?;
            }
            all_is_well(lab, &pod)?;
        }
        Ok(())
    });
}

/// Asymmetries, one a line.
const SEEDS: &str = include_str!("asymmetries.txt");
/// The node's end of the pair.
const END: &str = "vethp1-01234567";

/// Something that makes packets go astray, how it is undone, and what the tool must say of it.
#[derive(Debug, Clone, Copy)]
struct Seed<'s> {
    /// `pod` or `node`.
    side: &'s str,
    /// What is run there by a shell.
    cause: &'s str,
    /// What takes it back; nothing when it was an object of ours.
    undo: Option<&'s str>,
    code: &'s str,
    /// The Pod's address that it must be said of.
    local: &'s str,
    /// What the reason, or the objects that drifted, must name.
    says: &'s str,
}

impl<'s> Seed<'s> {
    fn parse(line: &'s str) -> Result<Self> {
        let columns: Vec<&str> = line.split(" | ").collect();
        let [side, cause, undo, code, local, says] = columns[..] else { bail!("not six columns: {line}") };
        Ok(Self { side, cause, undo: (undo != "repair").then_some(undo), code, local, says })
    }
}

fn attached(lab: &Lab) -> Result<Pod> {
    let pod = lab.pod("p1")?;
    pod.named("shop", "web-0");
    for (name, lan, number) in [("eth0", 1, 20), ("net1", 2, 21), ("net2", 2, 22)] {
        pod.attach(name, &lab.network(lan, number, Families::Dual), &lab.cluster())?;
    }
    Ok(pod)
}

fn shell(lab: &Lab, pod: &Pod, side: &str, script: &str) -> Result<()> {
    let host = if side == "pod" { &pod.host } else { &lab.node };
    host.run("sh", &["-ec", &script.replace("END", END)]).map(drop)
}

/// True when a user of the Pod would see that something is wrong.
fn is_felt(lab: &Lab, pod: &Pod) -> Result<bool> {
    for check in lab.checks(pod) {
        if !check.run()?.is_well() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Causes it and looks for what must be said.
fn is_found(lab: &Lab, pod: &Pod, seed: &Seed<'_>) -> Result<()> {
    let Seed { side, cause, .. } = seed;
    shell(lab, pod, side, cause)?;
    let (found, code) = paths(pod, &["--faults"])?;
    ensure!(code == 1 && !found.is_empty(), "{side}: {cause}: nothing is found");
    let text = |path: &Value| format!("{} {}", path["reason"]["text"], path["drifts"]);
    let is_right = |path: &&Value| {
        path["reason"]["code"] == seed.code && path["local"] == seed.local && text(path).contains(seed.says)
    };
    let said: Vec<_> = found
        .iter()
        .map(|path| format!("{} {} {} {}", path["local"], path["remote"], path["reason"]["code"], text(path)))
        .collect();
    ensure!(
        found.iter().any(|path| is_right(&path)),
        "{side}: {cause}: {} {} {:?} in {said:#?}",
        seed.code,
        seed.local,
        seed.says
    );
    Ok(())
}

#[test]
fn every_seeded_asymmetry_is_found_with_its_reason() {
    run(|lab| {
        let pod = attached(lab)?;
        lab.expose(&pod)?;
        let (mut seeded, mut felt) = (0, 0);
        for line in SEEDS.lines().filter(|line| !line.starts_with('#')) {
            let seed = Seed::parse(line)?;
            is_found(lab, &pod, &seed)?;
            seeded += 1;
            felt += usize::from(is_felt(lab, &pod)?);
            if let Some(undo) = seed.undo {
                shell(lab, &pod, seed.side, undo)?;
            }
            let repair = ask(&["check", "--repair"])?;
            ensure!(repair.code == 0, "{}", repair.answer);
            let (wrong, code) = paths(&pod, &["--faults"])?;
            ensure!(code == 0, "after {}: {wrong:#?}", seed.cause);
        }
        // Every reason that the documentation lists is among them, or is seeded below.
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md"))?;
        let list = page.split("## A path that is asymmetric").nth(1).context("a section")?;
        let rows = list.split("\n## ").next().into_iter().flat_map(str::lines);
        let reasons = rows.filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        for reason in reasons.flat_map(|cell| cell.split(", ")).map(|reason| reason.trim_matches('`')) {
            let is_seeded = SEEDS.contains(&format!(" | {reason} | ")) || reason == "address-gone";
            ensure!(is_seeded, "nothing is seeded that is {reason}");
        }
        println!("{seeded} asymmetries, all found; real packets see {felt} of them");
        ensure!(seeded >= 40, "only {seeded} asymmetries");
        // The others need destinations that the lab does not have, or luck.
        ensure!(felt >= 40, "only {felt} of them are seen by real packets");
        Ok(())
    });
}

#[test]
fn a_lost_interface_or_address_is_found() {
    for (cause, code, local) in [
        ("ip link set net1 down", "link-down", "10.7.2.21"),
        ("ip address del 10.7.2.22/16 dev net2", "address-gone", "10.7.2.22"),
        ("ip -6 address del fd00:10:6::2:14/64 dev eth0", "address-gone", "fd00:10:6::2:14"),
        ("ip link del net2", "address-gone", "fd00:10:7::2:16"),
    ] {
        let seed = Seed { side: "pod", cause, undo: None, code, local, says: "" };
        run(move |lab| is_found(lab, &attached(lab)?, &seed));
    }
}

#[test]
fn one_destination_and_one_address_can_be_asked_for() {
    run(|lab| {
        let pod = attached(lab)?;
        let from = "10.7.2.21";
        let (found, code) = paths(&pod, &["--to", "192.0.2.10", "--from", from])?;
        assert_eq!(code, 0);
        let ways: Vec<_> = found.iter().map(|path| (&path["direction"], &path["interface"], &path["kind"])).collect();
        assert_eq!(ways.len(), 3, "{ways:?}");
        assert!(found.iter().all(|path| path["kind"] == "outside" && path["local"] == from));
        assert_eq!(found[0]["out"]["table"], 101);
        assert_eq!(found[0]["out"]["rule"], "ipv4 1001: from 10.7.2.21/32 lookup 101");
        assert_eq!(found[0]["out"]["gateway"], "10.7.0.1");
        Ok(())
    });
}

#[test]
fn the_report_shows_all_of_it_and_needs_nothing_beside_itself() {
    run(|lab| {
        let pod = attached(lab)?;
        let report = |pod: &Pod| -> Result<String> {
            let said = ask(&["report", &pod.container, "--html", "-"])?;
            ensure!(said.code == 0, "{}", said.remarks);
            Ok(said.answer)
        };
        let page = report(&pod)?;
        if let Ok(path) = std::env::var("COORDINATOR_REPORT") {
            std::fs::write(path, &page)?;
        }
        assert!(page.contains("<h1>shop/web-0</h1>"));
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        for foreign in ["http:", "https:", "<script", "<link", "url(", "@import"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        for name in ["eth0", "net1", "net2", "veth0", END, "ens1", "ens2"] {
            assert!(page.contains(&format!(">{name}</text>")), "{name} is not drawn");
        }
        for ip in pod.addresses() {
            assert!(page.contains(&format!("<td class=\"mono\">{ip}</td>")), "{ip} has no row of paths");
        }
        for text in ["pod table 101 (net1)", "pod table 254 (main)", "node table 500", "fwmark 0x1/0x1 lookup 100"] {
            assert!(page.contains(text), "{text}");
        }
        assert!(page.contains("paths come back the way they went</span>") && !page.contains('✗'));
        pod.host.ip(&["rule del priority 1001 from 10.7.2.21"])?;
        let page = report(&pod)?;
        assert!(page.contains("paths do not come back the way they went</span>") && page.contains('✗'));
        Ok(())
    });
}
