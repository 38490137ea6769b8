//! Announcements: whoever remembers an address for another hardware address learns the new one at once.

use std::time::Duration;

use coordinator_lab::{Families, Seen, run};
use serde_json::json;

/// Less than a lost first packet takes (1 s): nobody waits for a neighbour to be asked again.
const AT_ONCE: Duration = Duration::from_millis(900);

#[test]
fn a_peer_that_remembers_the_old_hardware_address_reaches_the_pod_at_once() {
    run(|lab| {
        let network = lab.underlay(20, Families::Dual);
        let pod = lab.pod("p1")?;
        let peer = lab.neighbour("peer", 1, &["10.6.2.77/16", "fd00:10:6::77/64"])?;
        let result = pod.attach_without_us("eth0", &network)?;
        let old = pod.host.mac("eth0")?;
        for ip in pod.addresses() {
            // An entry that the kernel would not doubt before half a minute is over.
            peer.ip(&[&format!("neighbour replace {ip} lladdr {old} dev eth0 nud reachable")])?;
        }
        let capture = peer.capture("eth0")?;
        let mut settings = lab.cluster();
        settings["podMACPrefix"] = json!("0a:1b");
        let added = pod.add("eth0", &network, &settings, &result)?;
        let new = pod.host.mac("eth0")?;
        assert_ne!(new, old);
        assert_eq!(added["interfaces"][0]["mac"], json!(new));
        for ip in pod.addresses() {
            assert!(peer.reaches(&ip.to_string(), AT_ONCE)?, "{ip} is not reached");
            let entry = peer.run("ip", &["neighbour", "show", &ip.to_string(), "dev", "eth0"])?;
            assert!(entry.contains(&new), "{entry}");
        }
        let seen = capture.end()?;
        let arp =
            format!("{new} > ff:ff:ff:ff:ff:ff: arp request, 10.6.2.20 is {new}, to 10.6.2.20 at 00:00:00:00:00:00");
        let advertisement = format!(
            "{new} > 33:33:00:00:00:01: fd00:10:6::2:14 > ff02::1: advertisement of fd00:10:6::2:14, flags override, \
             option 2 is {new}"
        );
        for told in [arp, advertisement] {
            assert!(seen.iter().any(|it| it.line == told), "{told} is not in {seen:#?}");
        }
        Ok(())
    });
}

#[test]
fn every_address_is_told_once_and_on_the_attached_interface_only() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let first = lab.underlay(20, Families::Dual);
        pod.attach("eth0", &first, &lab.cluster())?;
        let mut second = lab.network(2, 30, Families::Dual);
        second.addresses.push(("10.7.2.31/16".to_owned(), "10.7.0.1".to_owned()));
        second.has_routes = false;
        let result = pod.attach_without_us("net1", &second)?;
        let (lan1, lan2) = (lab.router.capture("lan1")?, lab.router.capture("lan2")?);
        pod.add("net1", &second, &lab.cluster(), &result)?;
        let (lan1, lan2) = (lan1.end()?, lan2.end()?);
        for ip in ["10.7.2.30", "10.7.2.31"] {
            let by_itself =
                lan2.iter().filter(|it| it.says(&["arp request", &format!("{ip} is"), &format!("to {ip} ")]));
            assert_eq!(by_itself.count(), 1, "{lan2:#?}");
        }
        let told = |seen: &[Seen], text: &str| seen.iter().filter(|it| it.says(&[text])).count();
        assert_eq!(told(&lan2, "advertisement of fd00:10:7::2:1e, flags override"), 1, "{lan2:#?}");
        assert_eq!(told(&lan1, "10.7.2.") + told(&lan1, "fd00:10:7::2"), 0, "{lan1:#?}");
        Ok(())
    });
}
