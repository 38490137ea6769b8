//! What a call may cost in things that can be counted: no clock is read here.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use coordinator_lab::{Families, Network, Pod, plugin, run};
use serde_json::Value;

/// The system calls of these names that a call makes, threads included.
fn system_calls(
    names: &str,
    command: &str,
    pod: &Pod,
    network: &Network,
    settings: &Value,
    result: &Value,
) -> anyhow::Result<Vec<String>> {
    let mut configuration = network.configuration("coordinator", settings);
    configuration["prevResult"] = result.clone();
    let trace = tempfile::NamedTempFile::new()?;
    let mut child = Command::new("strace")
        .args(["-f", "-q", "-e", &format!("trace={names}"), "-e", "signal=none", "-o"])
        .args([trace.path(), &plugin()?])
        .envs(pod.environment(command, "eth0"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    child.stdin.take().unwrap().write_all(configuration.to_string().as_bytes())?;
    assert!(child.wait()?.success(), "{command}");
    // A call that another thread interrupts has a second line, where it is resumed.
    let lines = std::fs::read_to_string(trace.path())?;
    Ok(lines.lines().filter(|line| line.contains('(') && !line.contains("resumed>")).map(str::to_owned).collect())
}

#[test]
fn no_call_starts_a_process() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.underlay(20, Families::Dual);
        let result = pod.attach_without_us("eth0", &network)?;
        for command in ["ADD", "ADD", "DEL", "DEL"] {
            let calls = system_calls("process", command, &pod, &network, &lab.cluster(), &result)?;
            let executed = calls.iter().filter(|line| line.contains("execve(")).count();
            assert_eq!(executed, 1, "{command}: {calls:#?}");
            let is_birth = |line: &&String| ["fork(", "clone(", "clone3("].iter().any(|name| line.contains(name));
            let mut births = calls.iter().filter(is_birth);
            assert!(births.all(|line| line.contains("CLONE_THREAD")), "{command}: {calls:#?}");
        }
        Ok(())
    });
}

#[test]
fn foreign_addresses_links_and_routes_are_not_asked_for_one_by_one() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.underlay(20, Families::Dual);
        let result = pod.attach_without_us("eth0", &network)?;
        let mut counts = Vec::new();
        for round in 0..2 {
            if round == 1 {
                let mut lines = Vec::new();
                for at in 0..50 {
                    lines.push(format!("link add other{at} type veth peer name peer{at}"));
                    lines.push(format!("link set other{at} up"));
                    lines.push(format!("route add 10.99.{at}.0/24 dev other{at} table 500"));
                    lines.push(format!("neighbour add 10.99.{at}.1 lladdr 0a:00:00:00:00:01 dev other{at}"));
                }
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                lab.node.ip(&lines)?;
            }
            let bytes: usize = system_calls("sendto", "ADD", &pod, &network, &lab.cluster(), &result)?
                .iter()
                .filter_map(|line| line.rsplit_once("= ")?.1.trim().parse::<usize>().ok())
                .sum();
            counts.push(bytes);
            pod.del("eth0", &network, &lab.cluster())?;
        }
        assert!(counts.iter().all(|bytes| *bytes > 1000), "{counts:?}");
        assert_eq!(counts.first(), counts.last());
        Ok(())
    });
}
