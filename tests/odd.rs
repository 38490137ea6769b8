//! Odd nodes and odd Pods: what must be refused, and what must work all the same.

use anyhow::{Context as _, Result};
use coordinator_lab::{Families, Lab, Network, Overlay, Pod, all_are_well, difference, plugin, run};
use serde_json::{Value, json};

/// The plugin's refusal of an ADD, after which Pod, node and records are as they were.
fn refused(lab: &Lab, pod: &Pod, network: &Network, settings: &Value) -> Result<String> {
    let before = lab.both(pod)?;
    let said = coordinator_lab::refused(pod.add("eth0", network, settings, &pod.result("eth0")), 100)?;
    lab.is_as_before(pod, &before)?;
    assert!(!said["details"].as_str().unwrap_or_default().is_empty(), "no advice: {said}");
    Ok(said["msg"].as_str().unwrap_or_default().to_owned())
}

fn with_address(lab: &Lab, address: &str, gateway: &str) -> Network {
    let addresses = vec![(address.to_owned(), gateway.to_owned())];
    Network { addresses, has_routes: false, ..lab.network(1, 20, Families::V4) }
}

/// Routes to Pods precede the node's own: an address that is not the Pod's alone must not get one.
#[test]
fn an_address_that_would_steer_the_nodes_traffic_is_refused() {
    for (address, words) in [
        ("10.6.1.10/16", "the node's own address"),
        ("10.6.0.1/16", "a router of the node"),
        ("10.96.7.7/16", "lies in serviceCIDR 10.96.0.0/16"),
    ] {
        run(move |lab| {
            let pod = lab.pod("p1")?;
            let network = with_address(lab, address, "10.6.0.254");
            pod.attach_without_us("eth0", &network)?;
            let message = refused(lab, &pod, &network, &lab.cluster())?;
            let ip = address.split('/').next().unwrap_or_default();
            assert!(message.contains(ip) && message.contains(words), "{message}");
            Ok(())
        });
    }
}

#[test]
fn an_address_that_another_pod_holds_is_refused_until_that_one_is_gone() {
    run(|lab| {
        let network = lab.network(1, 20, Families::Dual);
        let (one, two) = (lab.pod("p1")?, lab.pod("p2")?);
        one.attach("eth0", &network, &lab.cluster())?;
        // Duplicate detection is off in the lab's Pods, as it is for those of many runtimes.
        two.attach_without_us("eth0", &network)?;
        let message = refused(lab, &two, &network, &lab.cluster())?;
        assert!(message.contains("in use by container p1-0123456789abcdef"), "{message}");
        one.del("eth0", &network, &lab.cluster())?;
        two.add("eth0", &network, &lab.cluster(), &two.result("eth0"))?;
        Ok(())
    });
}

#[test]
fn an_interface_without_an_address_for_others_is_refused() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = with_address(lab, "169.254.7.7/16", "169.254.0.1");
        pod.attach_without_us("eth0", &network)?;
        let message = refused(lab, &pod, &network, &lab.cluster())?;
        assert!(message.contains("eth0 has no address"), "{message}");
        Ok(())
    });
}

#[test]
fn overlay_on_the_first_interface_is_refused() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.network(1, 20, Families::V4);
        pod.attach_without_us("eth0", &network)?;
        let mut settings = lab.cluster();
        settings["mode"] = json!("overlay");
        let message = refused(lab, &pod, &network, &settings)?;
        assert!(message.contains("mode overlay cannot serve eth0"), "{message}");
        Ok(())
    });
}

/// A parent device without addresses: the node has no route to the Pod's subnet.
#[test]
fn a_node_without_a_route_to_the_pods_subnet_is_no_error() {
    run(|lab| {
        lab.node.ip(&["link add ens3 type veth peer name port4 netns router", "link set ens3 up"])?;
        lab.router.ip(&["link set port4 up", "address add 10.8.0.1/16 dev port4"])?;
        let pod = lab.pod("p1")?;
        let addresses = vec![("10.8.2.20/16".to_owned(), "10.8.0.1".to_owned())];
        let network = Network { parent: "ens3".to_owned(), addresses, ..lab.network(1, 20, Families::V4) };
        // The node's default route would lead there by the router. (It also has the node answer for the overlay's
        // link-local router.)
        lab.node.ip(&["route del default", "route add 169.254.1.1 dev mgmt0"])?;
        pod.attach("eth0", &network, &lab.cluster())?;
        lab.expose(&pod)?;
        for check in lab.checks(&pod).iter().filter(|check| !check.name().contains("outside")) {
            let outcome = check.run()?;
            assert!(check.name().ends_with("router") || outcome.is_well(), "{check}: {outcome:?}");
        }
        pod.del("eth0", &network, &lab.cluster())?;
        Ok(())
    });
}

/// The first interface's kind decides, not whether our veth is there yet.
#[test]
fn auto_finds_the_mode_in_any_order_and_beside_helper_interfaces() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        // Other programs have interfaces in the Pod: a pair within it, a bridge with an address, a route of its own.
        pod.host.ip(&[
            "link add helper0 type veth peer name helper1",
            "link add tun-like type bridge",
            "address add 192.168.99.1/24 dev tun-like",
            "link set tun-like up",
            "link set helper0 up",
            "link set helper1 up",
            "route add 192.168.100.0/24 dev tun-like table 77",
            "rule add from 192.168.99.1 lookup 77",
        ])?;
        let before = pod.host.snapshot()?;
        let networks: Vec<Network> =
            [(1, 20), (2, 21), (2, 22)].map(|(lan, number)| lab.network(lan, number, Families::Dual)).into();
        let names = ["eth0", "net1", "net2"];
        for (name, network) in names.iter().zip(&networks) {
            pod.attach_without_us(name, network)?;
        }
        for at in [2, 0, 1] {
            pod.add(names[at], &networks[at], &lab.cluster(), &pod.result(names[at]))?;
        }
        lab.all_is_well(&pod)?;
        for at in [0, 2, 1] {
            pod.detach(names[at], &networks[at], &lab.cluster())?;
        }
        // The kernel takes its time to notice the carrier of the helpers.
        let own = |line: &&String| !["eth0", "net1", "net2", "link helper"].iter().any(|name| line.contains(name));
        let left = difference(&before, &pod.host.snapshot()?);
        assert_eq!(left.iter().filter(own).collect::<Vec<_>>(), [""; 0]);
        Ok(())
    });
}

/// A first interface that is one end of a pair within the Pod does not lead to the node.
#[test]
fn a_pair_within_the_pod_is_no_overlay() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        pod.host.ip(&["link add eth0 type veth peer name inner", "link set eth0 up", "link set inner up"])?;
        pod.attach("net1", &lab.network(1, 20, Families::V4), &lab.cluster())?;
        assert!(pod.host.snapshot()?.with("veth0").count() > 0, "served as underlay");
        lab.all_is_well(&pod)?;
        Ok(())
    });
}

#[test]
fn two_interfaces_in_one_subnet_answer_each_for_its_own_addresses() {
    for is_overlay in [false, true] {
        run(move |lab| {
            let pod = match is_overlay {
                true => lab.overlay_pod("p1", "eth0", 30, Overlay::Calico, Families::Dual)?,
                false => lab.pod("p1")?,
            };
            let names = if is_overlay { ["net1", "net2"] } else { ["eth0", "net1"] };
            let networks = [lab.network(1, 20, Families::Dual), lab.network(1, 21, Families::Dual)];
            for (name, network) in names.iter().zip(&networks) {
                pod.attach_without_us(name, network)?;
            }
            for at in [1, 0] {
                pod.add(names[at], &networks[at], &lab.cluster(), &pod.result(names[at]))?;
            }
            lab.expose(&pod)?;
            // The router has to ask for each address: what it hears decides where the packets come in.
            lab.router.ip(&["neighbour flush all", "-6 neighbour flush all"])?;
            all_are_well(&lab.checks(&pod))?;
            for (name, network) in names.iter().zip(&networks) {
                let ip = network.addresses[0].0.split('/').next().unwrap_or_default();
                let entry = lab.router.run("ip", &["-j", "neighbour", "show", ip])?;
                let entry: Value = serde_json::from_str(&entry)?;
                let link = pod.host.run("ip", &["-j", "link", "show", name])?;
                let link: Value = serde_json::from_str(&link)?;
                assert_eq!(entry[0]["lladdr"], link[0]["address"], "{ip} is not found at {name}");
            }
            Ok(())
        });
    }
}

#[test]
fn no_program_is_needed_at_all() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.network(1, 20, Families::Dual);
        let result = pod.attach_without_us("eth0", &network)?;
        let mut configuration = network.configuration("coordinator", &lab.cluster());
        configuration["prevResult"] = result;
        let mut child = std::process::Command::new(plugin()?);
        child.env_clear().envs(pod.environment("ADD", "eth0")).env("PATH", "/nonexistent");
        child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        let mut child = child.spawn()?;
        std::io::Write::write_all(&mut child.stdin.take().context("stdin")?, configuration.to_string().as_bytes())?;
        assert!(child.wait()?.success());
        lab.all_is_well(&pod)?;
        Ok(())
    });
}
