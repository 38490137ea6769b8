//! While the wire is asked and right after: interfaces that are raised for it, calls that come meanwhile, the agent, and
//! stages that have a say.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    time::{Duration, Instant},
};

use coordinator_core::{
    attachment::{self, AddCall, AttachmentError, Namespace, Places, ResultAddress},
    conflict_report::{self, ConflictReport},
    pipeline::{Phase, Pipeline, Step},
    settings::{Layers, resolve},
};
use coordinator_lab::{Families, Pod, refused, run};
use coordinator_sdk::{Bound, Change, Decision, Facts, OnFinding, Outcome, Probe, ProbeKind, Refusal, Request, Stage};
use serde_json::json;

/// Longer than anything on the lab's LANs takes.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn an_interface_that_is_down_is_raised_and_lowered_again_when_the_add_fails() {
    run(|lab| {
        let (pod, network, result) = lab.unserved_pod(Families::Dual)?;
        let settings = lab.asking(json!({"detectGateway": false}));
        pod.host.ip(&["link set eth0 down", "-6 address add fd00:10:6::2:14/64 dev eth0"])?;
        let before = lab.both(&pod)?;
        assert_eq!(before.pod.with("fd00:10:6::2:14").filter(|line| line.starts_with("address")).count(), 1);
        let other = lab.neighbour("other", 1, &["10.6.2.20/16"])?;
        refused(pod.add("eth0", &network, &settings, &result), 101)?;
        lab.is_as_before(&pod, &before)?;
        assert!(!Path::new("/run/coordinator").join(&pod.container).exists());

        // Killed while it asks, the next call lowers it.
        let slow = lab.asking(json!({"detectGateway": false, "detectOptions": {"timeout": "60s"}}));
        other.ip(&["address del 10.6.2.20/16 dev eth0"])?;
        let call = pod.begin_add(&lab.node, &[], "eth0", &network, &slow, &result)?;
        await_asking(&pod)?;
        assert!(pod.host.run("ip", &["link", "show", "dev", "eth0"])?.contains(",UP"));
        call.kill()?;
        pod.del("eth0", &network, &settings)?;
        lab.is_as_before(&pod, &before)?;

        pod.add("eth0", &network, &settings, &result)?;
        assert!(pod.host.run("ip", &["link", "show", "dev", "eth0"])?.contains(",UP"));
        pod.add("eth0", &network, &settings, &result)?;
        assert!(pod.host.run("ip", &["link", "show", "dev", "eth0"])?.contains(",UP"));
        pod.del("eth0", &network, &settings)?;
        lab.is_as_before(&pod, &before)?;
        Ok(())
    });
}

/// Waits until an ADD has let go of its lock and listens.
fn await_asking(pod: &Pod) -> anyhow::Result<()> {
    let begun = Instant::now();
    let is_listening = || std::fs::read_to_string("/proc/thread-self/net/packet").map(|text| text.lines().count() > 1);
    while !pod.host.enter(is_listening)?? {
        assert!(begun.elapsed() < PATIENCE, "nobody asks");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The lock is let go of right after.
    std::thread::sleep(Duration::from_millis(50));
    Ok(())
}

#[test]
fn a_del_that_comes_while_the_wire_is_asked_ends_the_add() {
    run(|lab| {
        let (pod, network, result) = lab.unserved_pod(Families::Dual)?;
        let before = lab.both(&pod)?;
        let settings = lab.asking(json!({"detectOptions": {"timeout": "4s"}}));
        let call = pod.begin_add(&lab.node, &[], "eth0", &network, &settings, &result)?;
        await_asking(&pod)?;
        let begun = Instant::now();
        pod.del("eth0", &network, &settings)?;
        assert!(begun.elapsed() < Duration::from_secs(3), "the DEL waited for the ADD: {:?}", begun.elapsed());
        refused(call.end(), 11)?;
        lab.is_as_before(&pod, &before)?;
        assert!(!Path::new("/run/coordinator").join(&pod.container).exists());
        Ok(())
    });
}

/// Both see the other's work in the end, though each looked before the other had begun.
#[test]
fn another_attachment_may_be_made_while_the_wire_is_asked() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let networks = [lab.underlay(20, Families::Dual), lab.network(2, 30, Families::Dual)];
        let results = [pod.attach_without_us("eth0", &networks[0])?, pod.attach_without_us("net1", &networks[1])?];
        let settings = lab.asking(json!({"detectOptions": {"timeout": "1s"}}));
        let call = pod.begin_add(&lab.node, &[], "net1", &networks[1], &settings, &results[1])?;
        await_asking(&pod)?;
        pod.add("eth0", &networks[0], &lab.cluster(), &results[0])?;
        call.end()?;
        lab.all_is_well(&pod)?;
        Ok(())
    });
}

#[test]
fn the_agent_is_told_of_a_conflict() {
    run(|lab| {
        let (pod, network, result) = lab.unserved_pod(Families::Dual)?;
        let other = lab.neighbour("other", 1, &["10.6.2.20/16"])?;
        std::fs::create_dir_all("/run/coordinator-agent")?;
        let listener = UnixListener::bind(conflict_report::SOCKET)?;
        let agent = std::thread::spawn(move || -> anyhow::Result<ConflictReport> {
            let (mut stream, _) = listener.accept()?;
            let mut text = String::new();
            let mut chunk = [0; 1024];
            while !text.ends_with("]}") {
                let length = stream.read(&mut chunk)?;
                text.push_str(std::str::from_utf8(&chunk[..length])?);
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
            Ok(serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap_or_default())?)
        });
        refused(pod.add("eth0", &network, &lab.asking(json!({})), &result), 101)?;
        let report = agent.join().unwrap()?;
        assert_eq!((report.container.as_str(), report.interface.as_str()), (pod.container.as_str(), "eth0"));
        let conflicts: Vec<_> =
            report.conflicts.iter().map(|it| (it.ip.to_string(), it.mac.unwrap().to_string())).collect();
        assert_eq!(conflicts, [("10.6.2.20".to_owned(), other.mac("eth0")?)]);
        Ok(())
    });
}

/// A stage of a site: a migrating virtual machine's source answers until the target takes over.
struct Migration;

impl Stage for Migration {
    type Options = ();
    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let mut decision = Decision::default();
        for finding in facts.findings.iter().flatten().filter(|finding| finding.outcome == Outcome::Conflict) {
            if finding.probe.retries != 5 {
                return Err(Refusal::new("the stage before the probes was not heard"));
            }
            let probe = Probe { on_finding: OnFinding::Report, ..finding.probe.clone() };
            decision.push(Change::SetProbe(probe), "the source still answers");
        }
        Ok(decision)
    }
}

/// A stage of a site: patience with addresses, and no harm from silent gateways.
struct Patience;

impl Stage for Patience {
    type Options = ();
    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let mut decision = Decision::default();
        for probe in &facts.probes {
            let probe = match probe.kind {
                ProbeKind::Address => Probe { retries: 5, ..probe.clone() },
                ProbeKind::Gateway => Probe { on_finding: OnFinding::Warn, ..probe.clone() },
            };
            decision.push(Change::SetProbe(probe), "the site's rule");
        }
        Ok(decision)
    }
}

#[test]
fn stages_before_and_after_the_probes_have_their_say() {
    run(|lab| {
        let (pod, network, _) = lab.unserved_pod(Families::V4)?;
        lab.neighbour("source", 1, &["10.6.2.20/16"])?;
        lab.router.ip(&["address del 10.6.0.1/16 dev lan1"])?;
        let settings = lab.asking(json!({}));
        let call = |stages: &[&str]| -> anyhow::Result<AddCall> {
            let mut pipeline = Pipeline::builtin()?;
            let mut insert = |behind: usize, phase| {
                let probe = pipeline.steps.iter().position(|step| step.name == "probe").unwrap();
                pipeline.steps.insert(probe + behind, Step::always("site", phase));
            };
            if stages.contains(&"patience") {
                insert(0, Phase::Decide(Box::new(Bound::<Patience> { options: () })));
            }
            if stages.contains(&"migration") {
                insert(1, Phase::Decide(Box::new(Bound::<Migration> { options: () })));
            }
            let resolved = resolve(&Layers { configuration: settings.as_object(), ..Layers::default() });
            let address = ResultAddress { prefix: "10.6.2.20/16".parse()?, gateway: None };
            Ok(AddCall {
                request: Request {
                    container: pod.container.parse()?,
                    network: network.name.clone(),
                    ..Request::default()
                },
                settings: resolved.unwrap().settings,
                namespace: Namespace::open(&pod.host.path())?,
                addresses: vec![address],
                pipeline,
                places: Places::default(),
            })
        };
        let error = attachment::add(&call(&[])?).unwrap_err().to_string();
        assert!(
            error.contains("is used by another host") && error.contains("gateway 10.6.0.1 does not answer"),
            "{error}"
        );
        let error = attachment::add(&call(&["patience"])?).unwrap_err();
        assert!(!error.to_string().contains("gateway"), "{error}");
        let error = attachment::add(&call(&["migration"])?).unwrap_err();
        assert!(error.to_string().contains("was not heard"), "{error}");
        assert!(matches!(error, AttachmentError::Run(_)));
        let added = attachment::add(&call(&["patience", "migration"])?)?;
        let warned: Vec<_> = added.warnings.iter().filter(|text| text.contains("does not answer")).collect();
        assert_eq!(warned.len(), 1, "{:?}", added.warnings);
        Ok(())
    });
}
