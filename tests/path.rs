//! `coordinatorctl path`: no false alarm where real packets come back the way they went, and the right reason where
//! they do not.

use anyhow::{Context as _, Result, ensure};
use coordinator_lab::{Families, Lab, Overlay, Pod, run, table, tool};
use serde_json::{Value, json};

/// Every path of the Pod, and the exit code.
fn paths(pod: &Pod, more: &[&str]) -> Result<(Vec<Value>, i32)> {
    let mut command = std::process::Command::new(tool()?);
    let output = command.args(["path", &pod.container, "--json"]).args(more).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let answers = serde_json::from_slice(&output.stdout).with_context(|| said)?;
    Ok((answers, output.status.code().context("an exit code")?))
}

/// Real packets and the tool agree that all is well.
fn all_is_well(lab: &Lab, pod: &Pod) -> Result<()> {
    lab.expose(pod)?;
    let mut bad = Vec::new();
    for check in lab.checks(pod) {
        let outcome = check.run()?;
        if !outcome.is_well() {
            bad.push((check.name().to_owned(), outcome));
        }
    }
    ensure!(bad.is_empty(), "{}", table(&bad));
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

/// Something that makes packets go astray, how it is undone, and what the tool must say of it.
struct Seed {
    /// `pod` or `node`, and what is run there by a shell.
    cause: (&'static str, String),
    /// What takes it back beside a repair; nothing when it was an object of ours.
    undo: String,
    code: &'static str,
    /// The Pod's address that it must be said of.
    local: &'static str,
    /// What the reason, or the objects that drifted, must name.
    says: &'static str,
}

const END: &str = "vethp1-01234567";
/// The addresses of eth0, net1 and net2, IPv4 then IPv6.
const ETH0: [&str; 2] = ["10.6.2.20", "fd00:10:6::2:14"];
const NET1: [&str; 2] = ["10.7.2.21", "fd00:10:7::2:15"];
const NET2: [&str; 2] = ["10.7.2.22", "fd00:10:7::2:16"];

fn seed(
    side: &'static str,
    cause: &str,
    undo: &str,
    code: &'static str,
    local: &'static str,
    says: &'static str,
) -> Seed {
    Seed { cause: (side, cause.replace("END", END)), undo: undo.replace("END", END), code, local, says }
}

/// Objects of ours that are taken away or altered: a repair brings them back.
fn ours() -> Vec<Seed> {
    let ours = |side, cause: &str, code, local, says| seed(side, cause, "", code, local, says);
    vec![
        ours(
            "pod",
            "ip rule del priority 1001 from 10.7.2.21",
            "wrong-way",
            NET1[0],
            "rule ipv4 1001: from 10.7.2.21/32 lookup 101",
        ),
        ours(
            "pod",
            "ip -6 rule del priority 1001 from fd00:10:7::2:16",
            "wrong-way",
            NET2[1],
            "from fd00:10:7::2:16/128 lookup 102",
        ),
        ours("pod", "ip rule del priority 1000", "wrong-way", ETH0[0], "fwmark 0x1/0x1 lookup 100"),
        ours("pod", "ip -6 rule del priority 1000", "wrong-way", ETH0[1], "fwmark 0x1/0x1 lookup 100"),
        ours("pod", "ip route del default table 101", "wrong-way", NET1[0], "route 0.0.0.0/0 metric 0 in table 101"),
        ours("pod", "ip -6 route del default table 102", "wrong-way", NET2[1], "in table 102"),
        ours("pod", "ip route del 10.96.0.0/16", "wrong-way", ETH0[0], "route 10.96.0.0/16 metric 0 in table 254"),
        ours("pod", "ip route del 10.244.0.0/16", "wrong-way", ETH0[0], "route 10.244.0.0/16 metric 0 in table 254"),
        ours("pod", "ip -6 route del fd00:96::/112", "wrong-way", ETH0[1], "fd00:96::/112 metric 1024 in table 254"),
        ours(
            "pod",
            "ip route del 10.96.0.0/16 table 101",
            "wrong-way",
            NET1[0],
            "route 10.96.0.0/16 metric 0 in table 101",
        ),
        ours("pod", "ip route del 10.6.1.10/32", "wrong-way", ETH0[0], "route 10.6.1.10/32 metric 0 in table 254"),
        ours(
            "pod",
            "ip route del 172.20.0.10/32 table 102",
            "wrong-way",
            NET2[0],
            "172.20.0.10/32 metric 0 in table 102",
        ),
        ours("pod", "ip route flush table 100", "wrong-way", NET1[0], "route 0.0.0.0/0 metric 0 in table 100"),
        ours("pod", "nft delete table inet coordinator", "mark-lost", ETH0[0], "replies are not marked"),
        ours("pod", "nft flush chain inet coordinator prerouting", "mark-lost", NET1[0], "replies are not marked"),
        ours("pod", "nft flush chain inet coordinator output", "mark-lost", ETH0[1], "replies are not marked"),
        ours(
            "pod",
            "echo 0 > /proc/sys/net/ipv4/conf/all/src_valid_mark; echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter",
            "reverse-filter",
            ETH0[0],
            "rp_filter 1 on veth0",
        ),
        ours(
            "pod",
            "echo 0 > /proc/sys/net/ipv4/conf/all/src_valid_mark; echo 1 > /proc/sys/net/ipv4/conf/veth0/rp_filter",
            "reverse-filter",
            NET2[0],
            "rp_filter 1 on veth0",
        ),
        ours(
            "pod",
            "ip neighbour change 10.6.1.10 dev veth0 lladdr 0a:00:00:00:00:99 nud permanent",
            "neighbour",
            ETH0[0],
            "neighbour 10.6.1.10 on pod/veth0",
        ),
        ours("pod", "ip link set veth0 address 0a:00:00:00:00:88", "neighbour", NET1[1], "0a:00:00:00:00:88"),
        ours("pod", "ip link set veth0 down", "link-down", ETH0[1], "the pod's veth0"),
        ours("pod", "ip link del veth0", "link-down", ETH0[0], "the pod's veth0"),
        ours(
            "pod",
            "echo 0 > /proc/sys/net/ipv4/conf/net1/arp_ignore",
            "answers",
            NET1[0],
            "net/ipv4/conf/net1/arp_ignore: expected",
        ),
        ours(
            "pod",
            "echo 0 > /proc/sys/net/ipv4/conf/net2/arp_announce",
            "answers",
            NET2[0],
            "net/ipv4/conf/net2/arp_announce",
        ),
        ours(
            "node",
            "ip rule del priority 1000",
            "node-wrong-way",
            ETH0[0],
            "node rule ipv4 1000: from all lookup 500",
        ),
        ours("node", "ip -6 rule del priority 1000", "node-wrong-way", NET1[1], "node rule ipv6 1000"),
        ours("node", "ip route del 10.6.2.20 table 500", "node-wrong-way", ETH0[0], "node by ens1"),
        ours("node", "ip -6 route del fd00:10:7::2:15 table 500", "node-wrong-way", NET1[1], "node by ens2"),
        ours(
            "node",
            "ip route replace 10.7.2.22/32 dev docker0 table 500 protocol 66 scope link",
            "node-wrong-way",
            NET2[0],
            "node by docker0",
        ),
        ours(
            "node",
            "ip neighbour change 10.6.2.20 dev END lladdr 0a:00:00:00:00:99 nud permanent",
            "neighbour",
            ETH0[0],
            "found 0a:00:00:00:00:99",
        ),
        ours("node", "ip neighbour del fd00:10:7::2:16 dev END", "neighbour", NET2[1], "found nothing"),
        ours("node", "ip link set END address 0a:00:00:00:00:88", "neighbour", ETH0[0], "0a:00:00:00:00:88"),
        ours("node", "ip link set END down", "link-down", NET1[0], "the node's vethp1-01234567"),
    ]
}

/// What others add: it stands until they take it away.
fn foreign() -> Vec<Seed> {
    vec![
        seed(
            "pod",
            "ip route add 10.96.0.0/24 via 10.6.0.1 dev eth0",
            "ip route del 10.96.0.0/24",
            "wrong-way",
            ETH0[0],
            "10.96.0.0/24 via 10.6.0.1 dev eth0 in table 254",
        ),
        seed(
            "pod",
            "ip route prepend default via 10.7.0.1 dev net1",
            "ip route del default via 10.7.0.1 dev net1",
            "wrong-way",
            ETH0[0],
            "via 10.7.0.1 dev net1 in table 254",
        ),
        seed(
            "pod",
            "ip -6 route add 2001:db8:ffff::/48 via fd00:10:7::1 dev net1",
            "ip -6 route del 2001:db8:ffff::/48",
            "wrong-way",
            ETH0[1],
            "2001:db8:ffff::/48 via fd00:10:7::1 dev net1",
        ),
        seed(
            "pod",
            "ip rule add from 10.7.2.21 lookup 102 priority 900",
            "ip rule del priority 900",
            "wrong-way",
            NET1[0],
            "rule ipv4 900: from 10.7.2.21/32 lookup 102",
        ),
        seed(
            "pod",
            "ip -6 rule add from fd00:10:7::2:16 lookup 101 priority 900",
            "ip -6 rule del priority 900",
            "wrong-way",
            NET2[1],
            "rule ipv6 900: from fd00:10:7::2:16/128 lookup 101",
        ),
        seed(
            "pod",
            "ip rule add from all lookup 101 priority 5",
            "ip rule del priority 5",
            "wrong-way",
            ETH0[0],
            "rule ipv4 5: from all lookup 101",
        ),
        seed(
            "pod",
            "ip rule add fwmark 0x1/0x1 lookup main priority 2",
            "ip rule del priority 2",
            "wrong-way",
            ETH0[0],
            "rule ipv4 2: from all fwmark 0x1/0x1 lookup 254",
        ),
        seed(
            "pod",
            "ip route prepend default via 10.6.0.1 dev eth0 table 100",
            "ip route del default via 10.6.0.1 dev eth0 table 100",
            "wrong-way",
            ETH0[0],
            "via 10.6.0.1 dev eth0 in table 100",
        ),
        seed(
            "pod",
            "ip route add prohibit 203.0.113.0/24",
            "ip route del prohibit 203.0.113.0/24",
            "no-route",
            ETH0[0],
            "no route",
        ),
        seed(
            "pod",
            "ip route add unreachable 10.96.0.0/20 table 101",
            "ip route del unreachable 10.96.0.0/20 table 101",
            "no-route",
            NET1[0],
            "no route",
        ),
        seed(
            "pod",
            "ip -6 route add blackhole 2001:db8:ffff::/48 table 102",
            "ip -6 route del blackhole 2001:db8:ffff::/48 table 102",
            "no-route",
            NET2[1],
            "no route",
        ),
        seed(
            "node",
            "ip rule add to 10.7.0.0/16 lookup main priority 500",
            "ip rule del priority 500",
            "node-wrong-way",
            NET1[0],
            "rule ipv4 500: from all to 10.7.0.0/16 lookup 254",
        ),
        seed(
            "node",
            "ip route add blackhole 10.6.2.20/32 table 400; ip rule add lookup 400 priority 400",
            "ip rule del priority 400; ip route flush table 400",
            "node-no-route",
            ETH0[0],
            "no way back",
        ),
        seed(
            "node",
            "echo 0 > /proc/sys/net/ipv4/conf/END/forwarding",
            "echo 1 > /proc/sys/net/ipv4/conf/END/forwarding",
            "forwarding-off",
            ETH0[0],
            "vethp1-01234567",
        ),
        seed(
            "node",
            "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding",
            "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
            "forwarding-off",
            NET1[1],
            "forwarding is off",
        ),
    ]
}

fn attached(lab: &Lab) -> Result<Pod> {
    let pod = lab.pod("p1")?;
    for (name, lan, number) in [("eth0", 1, 20), ("net1", 2, 21), ("net2", 2, 22)] {
        pod.attach(name, &lab.network(lan, number, Families::Dual), &lab.cluster())?;
    }
    Ok(pod)
}

fn shell(lab: &Lab, pod: &Pod, side: &str, script: &str) -> Result<()> {
    let host = if side == "pod" { &pod.host } else { &lab.node };
    host.run("sh", &["-ec", script]).map(drop)
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
fn is_found(lab: &Lab, pod: &Pod, seed: &Seed) -> Result<()> {
    let (side, cause) = &seed.cause;
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
    assert!(ours().len() + foreign().len() >= 40);
    run(|lab| {
        let pod = attached(lab)?;
        lab.expose(&pod)?;
        let mut felt = 0;
        for seed in ours().into_iter().chain(foreign()) {
            is_found(lab, &pod, &seed)?;
            felt += usize::from(is_felt(lab, &pod)?);
            shell(lab, &pod, seed.cause.0, &seed.undo)?;
            let repair = std::process::Command::new(tool()?).args(["check", "--repair"]).output()?;
            ensure!(repair.status.success(), "{}", String::from_utf8_lossy(&repair.stdout));
            let (wrong, code) = paths(&pod, &["--faults"])?;
            ensure!(code == 0, "after {}: {wrong:#?}", seed.cause.1);
        }
        // The others need destinations that the lab does not have, or luck.
        ensure!(felt >= 40, "only {felt} of them are seen by real packets");
        Ok(())
    });
}

#[test]
fn a_lost_interface_or_address_is_found() {
    for (cause, code, local) in [
        ("ip link set net1 down", "link-down", NET1[0]),
        ("ip address del 10.7.2.22/16 dev net2", "address-gone", NET2[0]),
        ("ip -6 address del fd00:10:6::2:14/64 dev eth0", "address-gone", ETH0[1]),
        ("ip link del net2", "address-gone", NET2[1]),
    ] {
        run(move |lab| is_found(lab, &attached(lab)?, &seed("pod", cause, "", code, local, "")));
    }
}

#[test]
fn one_destination_and_one_address_can_be_asked_for() {
    run(|lab| {
        let pod = attached(lab)?;
        let (found, code) = paths(&pod, &["--to", "192.0.2.10", "--from", NET1[0]])?;
        assert_eq!(code, 0);
        let ways: Vec<_> = found.iter().map(|path| (&path["direction"], &path["interface"], &path["kind"])).collect();
        assert_eq!(ways.len(), 3, "{ways:?}");
        assert!(found.iter().all(|path| path["kind"] == "outside" && path["local"] == NET1[0]));
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
            let output =
                std::process::Command::new(tool()?).args(["report", &pod.container, "--html", "-"]).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8(output.stdout)?)
        };
        let page = report(&pod)?;
        if let Ok(path) = std::env::var("COORDINATOR_REPORT") {
            std::fs::write(path, &page)?;
        }
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
