//! Nothing left behind: an ADD that fails or is killed at any point leaves Pod and node as they were.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::{Command, Stdio},
};

use coordinator_core::{
    attachment::{self, AddCall, AttachmentError, Fault, Namespace, Places, ResultAddress},
    pipeline::Pipeline,
    settings::{Layers, resolve},
};
use coordinator_lab::{Families, Lab, Network, Pod, difference, plugin, run};
use coordinator_sdk::Request;
use serde_json::{Value, json};

/// Settings under which a plan holds every kind of edit.
fn settings(lab: &Lab) -> Value {
    let mut settings = lab.cluster();
    for (key, value) in [
        ("podMACPrefix", json!("0a:1b")),
        ("txQueueLen", json!(777)),
        ("vethLinkAddress", json!("169.254.99.1")),
        ("podRPFilter", json!(2)),
        ("hijackCIDR", json!(["169.254.20.10", "fd00:20::/64"])),
    ] {
        settings[key] = value;
    }
    settings
}

fn call(lab: &Lab, pod: &Pod, network: &Network) -> anyhow::Result<AddCall> {
    let settings = settings(lab);
    let layers = Layers { configuration: settings.as_object(), ..Layers::default() };
    let resolved = resolve(&layers).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let address = |(prefix, gateway): &(String, String)| -> anyhow::Result<ResultAddress> {
        Ok(ResultAddress { prefix: prefix.parse()?, gateway: Some(gateway.parse()?) })
    };
    Ok(AddCall {
        request: Request { container: pod.container.parse()?, network: network.name.clone(), ..Request::default() },
        settings: resolved.settings,
        namespace: Namespace::open(&pod.host.path())?,
        addresses: network.addresses.iter().map(address).collect::<Result<_, _>>()?,
        pipeline: Pipeline::builtin()?,
        places: Places::default(),
    })
}

#[test]
fn a_failure_after_any_change_is_undone() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.underlay(20, Families::Dual);
        pod.attach_without_us("eth0", &network)?;
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        let mut failed = 0;
        loop {
            match attachment::add_with_fault(&call(lab, &pod, &network)?, Some(Fault { at: failed })) {
                Ok(_) => break,
                Err(AttachmentError::Apply { .. }) => {}
                Err(other) => anyhow::bail!("after change {failed}: {other}"),
            }
            assert_eq!(difference(&before.0, &lab.node.snapshot()?), [""; 0], "node, after change {failed}");
            assert_eq!(difference(&before.1, &pod.host.snapshot()?), [""; 0], "pod, after change {failed}");
            assert_eq!(std::fs::read_dir("/run/coordinator")?.count(), 0, "records, after change {failed}");
            failed += 1;
        }
        // Every kind of edit is in this plan; fewer would mean that the test lost its subject.
        assert!(failed > 35, "only {failed} changes");
        Ok(())
    });
}

#[test]
fn a_failure_of_a_repeated_add_keeps_the_first_ones_work() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.underlay(20, Families::Dual);
        pod.attach_without_us("eth0", &network)?;
        attachment::add(&call(lab, &pod, &network)?)?;
        pod.host.run("nft", &["flush", "ruleset"])?;
        pod.host.ip(&["-6 route flush table 100"])?;
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        for at in 0.. {
            if attachment::add_with_fault(&call(lab, &pod, &network)?, Some(Fault { at })).is_ok() {
                assert!(at >= 2, "only {at} changes");
                break;
            }
            let lost = |before: &coordinator_lab::Snapshot, after: coordinator_lab::Snapshot| {
                difference(before, &after).into_iter().filter(|line| line.starts_with('-')).count()
            };
            assert_eq!(lost(&before.0, lab.node.snapshot()?), 0, "node, after change {at}");
            assert_eq!(lost(&before.1, pod.host.snapshot()?), 0, "pod, after change {at}");
        }
        Ok(())
    });
}

/// Kills an ADD at the n-th call by which it changes anything outside itself. False when it came to its end before.
fn is_killed(pod: &Pod, network: &Network, settings: &Value, result: &Value, at: usize) -> anyhow::Result<bool> {
    let mut configuration = network.configuration("coordinator", settings);
    configuration["prevResult"] = result.clone();
    let inject = format!("inject=sendto,renameat,write:signal=SIGKILL:when={at}");
    let mut child = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "trace=sendto,renameat,write", "-e", &inject])
        .arg(plugin()?)
        .envs(pod.environment("ADD", "eth0"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), configuration.to_string().as_bytes())?;
    let status = child.wait()?;
    assert!(status.success() || status.signal() == Some(9), "{status}");
    Ok(!status.success())
}

#[test]
fn a_killed_add_is_cleaned_up_by_the_next_call() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.underlay(20, Families::Dual);
        let settings = settings(lab);
        let result = pod.attach_without_us("eth0", &network)?;
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        let mut at = 1;
        while is_killed(&pod, &network, &settings, &result, at)? {
            if at % 2 == 0 {
                pod.add("eth0", &network, &settings, &result)?;
            }
            pod.del("eth0", &network, &settings)?;
            assert_eq!(difference(&before.0, &lab.node.snapshot()?), [""; 0], "node, killed at {at}");
            assert_eq!(difference(&before.1, &pod.host.snapshot()?), [""; 0], "pod, killed at {at}");
            at += 1;
        }
        assert!(at > 20, "only {at} places to die");
        Ok(())
    });
}

/// What the first ADD made and the second gives up is in no claim of the second.
#[test]
fn a_killed_add_with_other_settings_is_cleaned_up_with_the_one_before() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.underlay(20, Families::Dual);
        let (first, second) = (settings(lab), lab.cluster());
        let result = pod.attach_without_us("eth0", &network)?;
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        for at in 1.. {
            pod.add("eth0", &network, &first, &result)?;
            let is_killed = is_killed(&pod, &network, &second, &result, at)?;
            pod.del("eth0", &network, &second)?;
            assert_eq!(difference(&before.0, &lab.node.snapshot()?), [""; 0], "node, killed at {at}");
            assert_eq!(difference(&before.1, &pod.host.snapshot()?), [""; 0], "pod, killed at {at}");
            if !is_killed {
                assert!(at > 15, "only {at} places to die");
                break;
            }
        }
        Ok(())
    });
}
