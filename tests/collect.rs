//! GC and STATUS, and many Pods at once: what the runtime does to a whole node.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result};
use coordinator_lab::{Families, Lab, Network, PluginError, Pod, difference, plugin, run};
use serde_json::{Value, json};

const RECORDS: &str = "/run/coordinator";
/// As many Pods as a node holds by Kubernetes' default.
const POD_LIMIT: u8 = 110;

fn named(lab: &Lab, name: &str, lan: u8, number: u8) -> Network {
    Network { name: name.to_owned(), ..lab.network(lan, number, Families::Dual) }
}

/// GC of a network: the attachments that are valid, as the runtime lists them.
fn collect(pod: &Pod, network: &str, valid: &[(&str, &str)]) -> Result<()> {
    let valid: Vec<Value> =
        valid.iter().map(|(container, interface)| json!({"containerID": container, "ifname": interface})).collect();
    let configuration = json!({"cniVersion": "1.1.0", "name": network, "cni.dev/valid-attachments": valid});
    pod.call(&plugin()?, "GC", "unused", &configuration).map(drop)
}

/// Every attachment that has a record, as `container/interface`.
fn recorded() -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for container in fs::read_dir(RECORDS)? {
        let container = container?;
        for file in fs::read_dir(container.path())? {
            let file = file?.file_name().into_string().unwrap_or_default();
            let interface = file.strip_prefix("if-").and_then(|rest| rest.strip_suffix(".json"));
            let interface = interface.with_context(|| format!("a strange record: {file}"))?;
            all.insert(format!("{}/{interface}", container.file_name().to_string_lossy()));
        }
    }
    Ok(all)
}

/// 100 orphans (half of them in Pods that are gone) and 100 living attachments of one network, and 20 of another.
#[test]
fn gc_removes_exactly_the_orphans_of_its_network() {
    run(|lab| {
        let mut pods = Vec::new();
        let mut living = BTreeSet::new();
        for number in 2..102_u8 {
            let pod = lab.pod(&format!("p{number}"))?;
            pod.attach("eth0", &named(lab, "a", 1, number), &lab.cluster())?;
            pod.attach("net1", &named(lab, "a", 2, number), &lab.cluster())?;
            // The first interfaces of other Pods stay with their own network.
            if number % 5 == 0 {
                pod.attach("net2", &named(lab, "b", 2, number + 110), &lab.cluster())?;
                living.insert(format!("{}/net2", pod.container));
            }
            pods.push(pod);
        }
        let (orphans, valid) = pods.split_at(50);
        assert_eq!(recorded()?.len(), 220);
        for pod in valid {
            living.extend(["eth0", "net1"].map(|interface| format!("{}/{interface}", pod.container)));
        }
        // Half of the orphans' Pods are gone; their namespaces went with their interfaces.
        let (gone, here) = orphans.split_at(25);
        for pod in gone {
            pod.host.unbind()?;
        }
        let untouched: Vec<_> = valid.iter().take(5).map(|pod| pod.host.snapshot()).collect::<Result<_>>()?;
        let listed: Vec<(&str, &str)> =
            valid.iter().flat_map(|pod| [(pod.container.as_str(), "eth0"), (pod.container.as_str(), "net1")]).collect();

        collect(&pods[0], "a", &listed)?;

        assert_eq!(recorded()?, living);
        for (pod, before) in valid.iter().zip(&untouched) {
            assert_eq!(difference(before, &pod.host.snapshot()?), [""; 0], "{}", pod.container);
        }
        for pod in here {
            let snapshot = pod.host.snapshot()?;
            let has_other = living.contains(&format!("{}/net2", pod.container));
            assert_eq!(snapshot.with("veth0").count() > 0, has_other, "{}", pod.container);
            let numbers = pod.container.trim_start_matches('p').split('-').next().unwrap_or_default();
            let orphaned = format!("from 10.7.2.{numbers} ");
            assert_eq!(snapshot.with(&orphaned).count(), 0, "{}", pod.container);
        }
        let node = lab.node.snapshot()?;
        for (number, pod) in (2..102_u8).zip(&pods) {
            for lan in ["10.6.2", "10.7.2"] {
                let routes =
                    node.with(&format!("{lan}.{number} dev")).filter(|line| line.contains("table 500")).count();
                let is_valid = living.contains(&format!("{}/eth0", pod.container));
                assert_eq!(routes, usize::from(is_valid), "{lan}.{number}");
            }
        }
        // Again: there is nothing left to do.
        collect(&pods[0], "a", &listed)?;
        assert_eq!(recorded()?, living);
        // And of the other network, all go.
        collect(&pods[0], "b", &[])?;
        living.retain(|attachment| !attachment.ends_with("net2"));
        assert_eq!(recorded()?, living);
        Ok(())
    });
}

#[test]
fn gc_without_a_list_removes_nothing() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        pod.attach("eth0", &named(lab, "a", 1, 20), &lab.cluster())?;
        for wrong in [json!(null), json!("all"), json!([{"containerID": "../x", "ifname": "eth0"}])] {
            let mut configuration = json!({"cniVersion": "1.1.0", "name": "a"});
            if !wrong.is_null() {
                configuration["cni.dev/valid-attachments"] = wrong;
            }
            let error = pod.call(&plugin()?, "GC", "unused", &configuration).unwrap_err();
            assert_eq!(error.downcast_ref::<PluginError>().context("an error of the plugin")?.0["code"], 7);
        }
        assert_eq!(recorded()?.len(), 1);
        Ok(())
    });
}

/// A Pod with a macvlan interface, before our ADD.
type Seat = (Pod, Network, Value);
type Work<'w> = dyn Fn(&Seat) -> Result<()> + Sync + 'w;

#[test]
fn as_many_pods_as_a_node_holds_come_and_go_at_once() {
    run(|lab| {
        let before = lab.node.snapshot()?;
        let mut seats = Vec::new();
        for number in 0..POD_LIMIT {
            let pod = lab.pod(&format!("p{number}"))?;
            let network = lab.underlay(2 + number, Families::Dual);
            let result = pod.attach_without_us("eth0", &network)?;
            seats.push((pod, network, result));
        }
        let settings = lab.cluster();
        let at_once = |work: &Work<'_>| -> Vec<String> {
            std::thread::scope(|scope| {
                let threads: Vec<_> = seats.iter().map(|seat| scope.spawn(move || work(seat))).collect();
                threads
                    .into_iter()
                    .filter_map(|thread| thread.join().unwrap().err())
                    .map(|error| format!("{error:#}"))
                    .collect()
            })
        };
        let add =
            |(pod, network, result): &(Pod, Network, Value)| pod.add("eth0", network, &settings, result).map(drop);
        assert_eq!(at_once(&add), [""; 0]);
        assert_eq!(recorded()?.len(), usize::from(POD_LIMIT));
        let node = lab.node.snapshot()?;
        assert_eq!(node.with("table 500").filter(|line| line.starts_with("route4")).count(), usize::from(POD_LIMIT));
        let del = |(pod, network, _): &Seat| pod.del("eth0", network, &settings);
        assert_eq!(at_once(&del), [""; 0]);
        assert_eq!(fs::read_dir(RECORDS)?.count(), 0);
        assert_eq!(difference(&before, &lab.node.snapshot()?), [""; 0]);
        Ok(())
    });
}

fn status(pod: &Pod, more: &Value) -> Result<u64> {
    let mut configuration = json!({"cniVersion": "1.1.0", "name": "a", "type": "coordinator"});
    for (key, value) in more.as_object().into_iter().flatten() {
        configuration[key] = value.clone();
    }
    match pod.call(&plugin()?, "STATUS", "unused", &configuration) {
        Ok(_) => Ok(0),
        Err(error) => {
            let said = &error.downcast_ref::<PluginError>().context("an error of the plugin")?.0;
            said["code"].as_u64().with_context(|| said.to_string())
        }
    }
}

#[test]
fn status_says_whether_an_add_would_work() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let nothing = json!({});
        assert_eq!(status(&pod, &nothing)?, 0);
        assert_eq!(status(&pod, &json!({"vethMTU": -1}))?, 7);
        assert_eq!(status(&pod, &json!({"pipeline": "missing"}))?, 50);
        // The node's defaults are there and of no use.
        fs::create_dir_all("/run/spidernet")?;
        let socket = std::os::unix::net::UnixListener::bind("/run/spidernet/spiderpool.sock")?;
        drop(socket);
        assert_eq!(status(&pod, &nothing)?, 50);
        fs::remove_file("/run/spidernet/spiderpool.sock")?;
        // Others could write the records.
        fs::create_dir_all(RECORDS)?;
        fs::set_permissions(RECORDS, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        assert_eq!(status(&pod, &nothing)?, 50);
        fs::set_permissions(RECORDS, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        assert_eq!(status(&pod, &nothing)?, 0);
        // Somebody took away the rule that leads to all Pods.
        pod.attach("eth0", &named(lab, "a", 1, 20), &lab.cluster())?;
        assert_eq!(status(&pod, &nothing)?, 0);
        lab.node.ip(&["rule del priority 1000"])?;
        assert_eq!(status(&pod, &nothing)?, 51);
        assert_eq!(status(&pod, &json!({"mode": "disable"}))?, 0);
        Ok(())
    });
}
