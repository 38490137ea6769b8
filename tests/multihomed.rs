//! Pods with several interfaces, as their users see them: every address answers on the way on which it is asked.

use anyhow::{Context as _, Result, anyhow};
use coordinator_lab::{Families, Lab, Overlay, Pod, difference, plugin, run};
use serde_json::{Value, json};

fn with(lab: &Lab, key: &str, value: Value) -> Value {
    let mut settings = lab.cluster();
    settings[key] = value;
    settings
}

#[test]
fn two_and_three_underlay_interfaces_work_in_every_family() {
    for families in Families::ALL {
        run(move |lab| {
            let before = lab.node.snapshot()?;
            let pod = lab.pod("p1")?;
            let networks = [lab.network(1, 20, families), lab.network(2, 21, families), lab.network(2, 22, families)];
            let names = ["eth0", "net1", "net2"];
            for (name, network) in names.iter().zip(&networks) {
                pod.attach(name, network, &lab.cluster())?;
            }
            lab.all_is_well(&pod)?;
            // A repeated ADD of each changes nothing.
            let made = (lab.node.snapshot()?, pod.host.snapshot()?);
            for (name, network) in names.iter().zip(&networks) {
                pod.add(name, network, &lab.cluster(), &pod.result(name))?;
            }
            assert_eq!(difference(&made.0, &lab.node.snapshot()?), [""; 0]);
            assert_eq!(difference(&made.1, &pod.host.snapshot()?), [""; 0]);
            for (name, network) in names.iter().zip(&networks) {
                pod.del(name, network, &lab.cluster())?;
            }
            let services = |line: &&String| !line.contains("nftables");
            let left = difference(&before, &lab.node.snapshot()?);
            assert_eq!(left.iter().filter(services).collect::<Vec<_>>(), [""; 0]);
            assert_eq!(pod.host.snapshot()?.with("veth0").count(), 0);
            Ok(())
        });
    }
}

#[test]
fn a_deleted_interface_leaves_the_others_working_whichever_it_is() {
    for gone in 0..3 {
        run(move |lab| {
            let pod = lab.pod("p1")?;
            let networks = [
                lab.network(1, 20, Families::Dual),
                lab.network(2, 21, Families::Dual),
                lab.network(1, 22, Families::Dual),
            ];
            let names = ["eth0", "net1", "net2"];
            for (name, network) in names.iter().zip(&networks) {
                pod.attach(name, network, &lab.cluster())?;
            }
            pod.detach(names[gone], &networks[gone], &lab.cluster())?;
            pod.forget(&networks[gone]);
            lab.all_is_well(&pod)?;
            for (address, _) in &networks[gone].addresses {
                let ip = address.split('/').next().unwrap_or_default();
                let left: Vec<String> = pod.host.snapshot()?.with(&format!("from {ip} ")).map(str::to_owned).collect();
                assert_eq!(left, [""; 0], "rules of {} stay", names[gone]);
            }
            for at in (0..3).filter(|at| *at != gone) {
                let mut configuration = networks[at].configuration("coordinator", &lab.cluster());
                configuration["prevResult"] = pod.result(names[at]);
                pod.call(&plugin()?, "CHECK", names[at], &configuration)?;
            }
            for at in (0..3).filter(|at| *at != gone) {
                pod.detach(names[at], &networks[at], &lab.cluster())?;
            }
            assert_eq!(pod.host.snapshot()?.with("veth0").count(), 0);
            assert_eq!(std::fs::read_dir("/run/coordinator")?.count(), 0);
            Ok(())
        });
    }
}

/// Our DEL comes first, and its interface goes later: what had moved must not take the others' packets until then.
#[test]
fn the_others_work_while_a_deleted_interface_is_still_there() {
    for is_overlay in [false, true] {
        run(move |lab| {
            let pod = match is_overlay {
                true => lab.overlay_pod("p1", "eth0", 20, Overlay::Calico, Families::Dual)?,
                false => lab.pod("p1")?,
            };
            if !is_overlay {
                pod.attach("eth0", &lab.network(1, 20, Families::Dual), &lab.cluster())?;
            }
            let before = defaults(&pod)?;
            let network = lab.network(2, 21, Families::Dual);
            pod.attach("net1", &network, &lab.cluster())?;
            pod.del("net1", &network, &lab.cluster())?;
            assert_eq!(defaults(&pod)?, before);
            pod.forget(&network);
            lab.expose(&pod)?;
            // Whoever lives in the network of an interface is answered by it, also by another one's address.
            let mut checks = lab.checks(&pod);
            checks.retain(|check| !check.name().contains("10.7.0.1 >") && !check.name().contains("fd00:10:7::1 >"));
            coordinator_lab::all_are_well(&checks)?;
            // The same attachment may come again before anybody has removed the interface.
            pod.add("net1", &network, &lab.cluster(), &pod.result("net1"))?;
            assert_eq!(defaults(&pod)?, before);
            lab.all_is_well(&pod)
        });
    }
}

#[test]
fn families_are_handled_each_on_its_own() {
    for (first, second) in [
        (Families::V4, Families::V6),
        (Families::V6, Families::V4),
        (Families::V4, Families::Dual),
        (Families::V6, Families::Dual),
    ] {
        run(move |lab| {
            let pod = lab.pod("p1")?;
            pod.attach("eth0", &lab.network(1, 20, first), &lab.cluster())?;
            pod.attach("net1", &lab.network(2, 21, second), &lab.cluster())?;
            lab.all_is_well(&pod)
        });
    }
}

#[test]
fn overlay_pods_of_every_shape_work_with_further_interfaces() {
    for shape in Overlay::ALL {
        run(move |lab| {
            let pod = lab.overlay_pod("p1", "eth0", 20, shape, Families::Dual)?;
            let before = (lab.node.snapshot()?, pod.host.snapshot()?);
            let networks = [lab.network(1, 21, Families::Dual), lab.network(2, 22, Families::Dual)];
            pod.attach("net1", &networks[0], &lab.cluster())?;
            pod.attach("net2", &networks[1], &lab.cluster())?;
            lab.all_is_well(&pod)?;
            for (name, network) in ["net1", "net2"].iter().zip(&networks) {
                pod.detach(name, network, &lab.cluster())?;
            }
            let foreign =
                |line: &&String| !line.contains("nftables") && !line.contains("/net1/") && !line.contains("/net2/");
            let left = difference(&before.0, &lab.node.snapshot()?);
            assert_eq!(left.iter().filter(foreign).collect::<Vec<_>>(), [""; 0], "{shape:?}, node");
            let left = difference(&before.1, &pod.host.snapshot()?);
            assert_eq!(left.iter().filter(foreign).collect::<Vec<_>>(), [""; 0], "{shape:?}, pod");
            Ok(())
        });
    }
}

#[test]
fn a_family_that_the_overlay_lacks_uses_its_pair() {
    for (of_overlay, of_ours) in
        [(Families::V4, Families::V6), (Families::V6, Families::V4), (Families::V4, Families::Dual)]
    {
        run(move |lab| {
            let pod = lab.overlay_pod("p1", "eth0", 20, Overlay::Calico, of_overlay)?;
            let network = lab.network(2, 21, of_ours);
            pod.attach("net1", &network, &lab.cluster())?;
            lab.all_is_well(&pod)?;
            let made = lab.both(&pod)?;
            pod.add("net1", &network, &lab.cluster(), &pod.result("net1"))?;
            lab.is_as_before(&pod, &made)
        });
    }
}

/// Where one end of the overlay's pair does not speak the family, the Pod gets what it can get and is told the rest.
#[test]
fn a_family_that_the_overlays_pair_does_not_speak_is_left_out() {
    for is_node in [false, true] {
        run(move |lab| {
            let pod = lab.overlay_pod("p1", "eth0", 20, Overlay::Calico, Families::V4)?;
            let (host, link) = if is_node { (&lab.node, "over20") } else { (&pod.host, "eth0") };
            host.sysctl(&format!("net/ipv6/conf/{link}/disable_ipv6"), "1")?;
            let network = lab.network(2, 21, Families::Dual);
            pod.attach("net1", &network, &lab.cluster())?;
            let node = lab.node.snapshot()?;
            assert_eq!(node.with("fd00:10:7::2:15").filter(|line| line.contains("over20")).count(), 0);
            assert!(node.with("10.7.2.21").any(|line| line.contains("over20")));
            lab.expose(&pod)?;
            // From the LAN, and to it, both families work; through the node, IPv4 does.
            let mut checks = lab.checks(&pod);
            checks.retain(|check| {
                check.name().starts_with("v4") || ["> router", "> outside"].iter().any(|it| check.name().ends_with(it))
            });
            coordinator_lab::all_are_well(&checks)
        });
    }
}

#[test]
fn the_first_interface_may_have_another_name() {
    run(|lab| {
        let settings = with(lab, "podDefaultCniNic", json!("main0"));
        let pod = lab.overlay_pod("p1", "main0", 20, Overlay::Calico, Families::Dual)?;
        pod.attach("eth0", &lab.network(1, 21, Families::Dual), &settings)?;
        lab.all_is_well(&pod)?;
        let pod = lab.pod("p2")?;
        pod.attach("main0", &lab.network(1, 22, Families::Dual), &settings)?;
        pod.attach("eth0", &lab.network(2, 23, Families::Dual), &settings)?;
        lab.all_is_well(&pod)
    });
}

#[test]
fn the_default_route_goes_where_the_settings_say_and_comes_back() {
    run(|lab| {
        let settings = with(lab, "podDefaultRouteNic", json!("net1"));
        for is_overlay in [false, true] {
            let name = if is_overlay { "p2" } else { "p1" };
            let pod = match is_overlay {
                true => lab.overlay_pod(name, "eth0", 30, Overlay::Calico, Families::Dual)?,
                false => lab.pod(name)?,
            };
            if !is_overlay {
                pod.attach("eth0", &lab.network(1, 20, Families::Dual), &settings)?;
            }
            let before = defaults(&pod)?;
            assert_eq!(before.len(), 2, "{before:?}");
            let network = lab.network(2, 40 + u8::from(is_overlay), Families::Dual);
            pod.attach("net1", &network, &settings)?;
            let after = defaults(&pod)?;
            assert!(after.len() == 2 && after.iter().all(|line| line.contains("dev net1")), "{after:?}");
            lab.all_is_well(&pod)?;
            pod.detach("net1", &network, &settings)?;
            assert_eq!(defaults(&pod)?, before);
        }
        Ok(())
    });
}

#[test]
fn each_interface_that_stays_inherits_the_default_route_in_its_turn() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let networks: Vec<_> = (0..3).map(|at| lab.network(1 + at % 2, 20 + at, Families::Dual)).collect();
        let names = ["eth0", "net1", "net2"];
        for (name, network) in names.iter().zip(&networks) {
            pod.attach(name, network, &lab.cluster())?;
        }
        for at in 0..2 {
            pod.detach(names[at], &networks[at], &lab.cluster())?;
            pod.forget(&networks[at]);
            lab.all_is_well(&pod)?;
            let left = defaults(&pod)?;
            assert!(left.len() == 2 && left.iter().all(|line| line.contains(names[at + 1])), "{left:?}");
        }
        Ok(())
    });
}

#[test]
fn a_default_route_returns_with_the_interface_that_it_gave_way_to_and_no_other() {
    run(|lab| {
        let settings = with(lab, "podDefaultRouteNic", json!("net2"));
        let pod = lab.overlay_pod("p1", "eth0", 20, Overlay::Flannel, Families::V4)?;
        let before = defaults(&pod)?;
        let networks = [lab.network(1, 21, Families::V4), lab.network(2, 22, Families::V4)];
        for (name, network) in ["net1", "net2"].iter().zip(&networks) {
            pod.attach(name, network, &settings)?;
        }
        // Now `net2` is there: what a repeated ADD of `net1` finds moved is not its own doing.
        pod.add("net1", &networks[0], &settings, &pod.result("net1"))?;
        pod.detach("net1", &networks[0], &settings)?;
        let left = defaults(&pod)?;
        assert!(left.len() == 1 && left[0].contains("net2"), "{left:?}");
        pod.detach("net2", &networks[1], &settings)?;
        assert_eq!(defaults(&pod)?, before);
        Ok(())
    });
}

fn defaults(pod: &Pod) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for family in ["-4", "-6"] {
        let shown = pod.host.run("ip", &[family, "route", "show", "default"])?;
        lines.extend(shown.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()));
    }
    Ok(lines)
}

#[test]
fn routes_are_left_alone_when_nobody_wants_them_tuned() {
    run(|lab| {
        let settings = with(lab, "tunePodRoutes", json!(false));
        let pod = lab.overlay_pod("p1", "eth0", 20, Overlay::Calico, Families::Dual)?;
        let network = lab.network(1, 21, Families::Dual);
        let result = pod.attach_without_us("net1", &network)?;
        let before = defaults(&pod)?;
        pod.add("net1", &network, &settings, &result)?;
        assert_eq!(defaults(&pod)?, before);
        assert_eq!(pod.host.snapshot()?.with("from 10.6.2.21").count(), 0);
        Ok(())
    });
}

#[test]
fn an_interface_without_routes_answers_by_its_gateway() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        pod.attach("eth0", &lab.network(1, 20, Families::Dual), &lab.cluster())?;
        let network = coordinator_lab::Network { has_routes: false, ..lab.network(2, 21, Families::Dual) };
        pod.attach("net1", &network, &lab.cluster())?;
        lab.all_is_well(&pod)
    });
}

#[test]
fn tables_survive_hot_plug_and_nobody_elses_is_taken() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        pod.host.ip(&["rule add from 203.0.113.1 lookup 101 priority 5000"])?;
        let networks: Vec<_> = (0..3).map(|at| lab.network(1 + at % 2, 20 + at, Families::V4)).collect();
        let names = ["eth0", "net1", "net2"];
        let table_of = |at: usize| -> Result<String> {
            let address = networks[at].addresses[0].0.split('/').next().unwrap_or_default().to_owned();
            let rules = pod.host.run("ip", &["rule", "show", "from", &address])?;
            Ok(rules.split_whitespace().skip_while(|word| *word != "lookup").nth(1).unwrap_or_default().to_owned())
        };
        for (name, network) in names.iter().zip(&networks) {
            pod.attach(name, network, &lab.cluster())?;
        }
        assert_eq!((table_of(1)?, table_of(2)?), ("102".to_owned(), "103".to_owned()));
        pod.detach("net1", &networks[1], &lab.cluster())?;
        pod.attach("net1", &networks[1], &lab.cluster())?;
        pod.add("net2", &networks[2], &lab.cluster(), &pod.result("net2"))?;
        assert_eq!((table_of(1)?, table_of(2)?), ("102".to_owned(), "103".to_owned()));
        Ok(())
    });
}

/// An ADD does not look into the tables of the other attachments, unless it meets what it did not expect.
#[test]
fn what_came_back_to_main_is_moved_by_the_next_interfaces_add() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let networks = [(1, 20), (2, 21), (1, 22)].map(|(lan, number)| lab.network(lan, number, Families::Dual));
        pod.attach("eth0", &networks[0], &lab.cluster())?;
        pod.attach("net1", &networks[1], &lab.cluster())?;
        let before = pod.host.snapshot()?;
        pod.host.ip(&["route append default via 10.7.0.1 dev net1", "route del default table 101"])?;
        pod.attach("net2", &networks[2], &lab.cluster())?;
        let after = pod.host.snapshot()?;
        let of_net1 = |line: &&str| line.contains("dev net1 ");
        let defaults = |lines: &coordinator_lab::Snapshot| -> Vec<String> {
            lines.with("default").filter(of_net1).map(str::to_owned).collect()
        };
        assert_eq!(defaults(&after), defaults(&before));
        lab.all_is_well(&pod)?;
        let mut configuration = networks[1].configuration("coordinator", &lab.cluster());
        configuration["prevResult"] = pod.result("net1");
        pod.call(&plugin()?, "CHECK", "net1", &configuration)?;
        Ok(())
    });
}

/// Makes a record what the first version of records was: one line with all that calls act on, and two for people.
fn as_of_old(pod: &Pod, interface: &str) -> Result<()> {
    let path = format!("/run/coordinator/{}/if-{interface}.json", pod.container);
    let text = std::fs::read_to_string(&path)?;
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let [mut head, before, after, about, plan] = <[Value; 5]>::try_from(lines).map_err(|_| anyhow!("no five lines"))?;
    let fields = head.as_object_mut().context("no object")?;
    fields.retain(|name, _| !matches!(name.as_str(), "claims" | "moved"));
    fields
        .extend([("version", json!(1)), ("before", before), ("after", after)].map(|(name, it)| (name.to_owned(), it)));
    Ok(std::fs::write(&path, format!("{head}\n{about}\n{plan}\n"))?)
}

/// A plugin is replaced under living Pods.
#[test]
fn records_of_the_first_version_serve_as_those_of_today_do() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let networks = [(1, 20), (2, 21), (1, 22)].map(|(lan, number)| lab.network(lan, number, Families::Dual));
        let names = ["eth0", "net1", "net2"];
        for (name, network) in names.iter().zip(&networks) {
            pod.attach(name, network, &lab.cluster())?;
        }
        let record = || std::fs::read_to_string(format!("/run/coordinator/{}/if-net2.json", pod.container));
        // What had moved does not return with the DEL of one interface of several.
        pod.del("net2", &networks[2], &lab.cluster())?;
        pod.add("net2", &networks[2], &lab.cluster(), &pod.result("net2"))?;
        let of_today = record()?;
        pod.del("net2", &networks[2], &lab.cluster())?;
        as_of_old(&pod, "eth0")?;
        as_of_old(&pod, "net1")?;
        pod.add("net2", &networks[2], &lab.cluster(), &pod.result("net2"))?;
        assert_eq!(record()?, of_today);
        lab.all_is_well(&pod)?;
        as_of_old(&pod, "net2")?;
        pod.add("net2", &networks[2], &lab.cluster(), &pod.result("net2"))?;
        pod.detach("eth0", &networks[0], &lab.cluster())?;
        pod.forget(&networks[0]);
        lab.all_is_well(&pod)?;
        for (name, network) in names.iter().zip(&networks).skip(1) {
            pod.detach(name, network, &lab.cluster())?;
        }
        assert_eq!(pod.host.snapshot()?.with("veth0").count(), 0);
        assert_eq!(std::fs::read_dir("/run/coordinator")?.count(), 0);
        Ok(())
    });
}
