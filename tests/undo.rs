//! Nothing left behind: an ADD that fails or is killed at any point leaves Pod and node as they were.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use coordinator_core::{
    attachment::{self, AddCall, AttachmentError, Fault, Namespace, Places, ResultAddress},
    pipeline::Pipeline,
    settings::{Layers, resolve},
};
use coordinator_lab::{Families, Lab, Network, Overlay, Pod, Snapshot, difference, plugin, run};
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

/// Which interface of which Pod an ADD is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// The only one.
    First,
    /// The second underlay one, in the first one's subnet, taking over the default route.
    Further,
    /// Beside an overlay.
    BesideOverlay,
    /// The only one, down, so that it is raised to be asked on.
    Down,
}

/// A Pod before the ADD, and what the ADD is about.
struct Scene {
    pod: Pod,
    interface: &'static str,
    network: Network,
    settings: Value,
    result: Value,
    before: (Snapshot, Snapshot),
    /// Attachments that are there already.
    records: usize,
}

impl Case {
    const ALL: [Self; 4] = [Self::First, Self::Further, Self::BesideOverlay, Self::Down];

    fn prepare(self, lab: &Lab) -> anyhow::Result<Scene> {
        let mut settings = settings(lab);
        let first = lab.underlay(21, Families::Dual);
        let pod = match self {
            Self::BesideOverlay => lab.overlay_pod("p1", "eth0", 30, Overlay::Calico, Families::Dual)?,
            _ => lab.pod("p1")?,
        };
        if self == Self::Further {
            pod.attach("eth0", &first, &settings)?;
        }
        let is_only = matches!(self, Self::First | Self::Down);
        if !is_only {
            settings["podDefaultRouteNic"] = json!("net1");
        }
        let interface = if is_only { "eth0" } else { "net1" };
        let network = lab.underlay(20, Families::Dual);
        let result = pod.attach_without_us(interface, &network)?;
        if self == Self::Down {
            settings["detectIPConflict"] = json!(true);
            settings["detectOptions"] = json!({"retries": 1, "interval": "1ms", "timeout": "1ms"});
            pod.host.ip(&["link set eth0 down", "-6 address add fd00:10:6::2:14/64 dev eth0"])?;
        }
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        let records = usize::from(self == Self::Further);
        Ok(Scene { pod, interface, network, settings, result, before, records })
    }
}

impl Scene {
    /// Fails when anything differs from how it was before the ADD.
    fn is_as_before(&self, lab: &Lab, when: &str) -> anyhow::Result<()> {
        assert_eq!(difference(&self.before.0, &lab.node.snapshot()?), [""; 0], "node, {when}");
        assert_eq!(difference(&self.before.1, &self.pod.host.snapshot()?), [""; 0], "pod, {when}");
        let records = std::fs::read_dir("/run/coordinator").map_or(0, Iterator::count);
        assert_eq!(records, self.records, "records, {when}");
        Ok(())
    }

    fn add(&self) -> anyhow::Result<()> {
        self.pod.add(self.interface, &self.network, &self.settings, &self.result).map(drop)
    }

    fn del(&self) -> anyhow::Result<()> {
        self.pod.del(self.interface, &self.network, &self.settings)
    }

    /// GC with every attachment valid, as a runtime calls it that has not seen the ADD fail yet.
    fn collect(&self) -> anyhow::Result<()> {
        let valid: Vec<Value> =
            ["eth0", "net1"].map(|interface| json!({"containerID": self.pod.container, "ifname": interface})).into();
        let configuration =
            json!({"cniVersion": "1.1.0", "name": self.network.name, "cni.dev/valid-attachments": valid});
        self.pod.call(&plugin()?, "GC", "unused", &configuration).map(drop)
    }

    fn call(&self) -> anyhow::Result<AddCall> {
        call(&self.pod, self.interface, &self.network, &self.settings)
    }
}

fn call(pod: &Pod, interface: &str, network: &Network, settings: &Value) -> anyhow::Result<AddCall> {
    let layers = Layers { configuration: settings.as_object(), ..Layers::default() };
    let resolved = resolve(&layers).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let address = |(prefix, gateway): &(String, String)| -> anyhow::Result<ResultAddress> {
        Ok(ResultAddress { prefix: prefix.parse()?, gateway: Some(gateway.parse()?) })
    };
    Ok(AddCall {
        request: Request {
            container: pod.container.parse()?,
            interface: interface.parse()?,
            network: network.name.clone(),
            ..Request::default()
        },
        settings: resolved.settings,
        namespace: Namespace::open(&pod.host.path())?,
        addresses: network.addresses.iter().map(address).collect::<Result<_, _>>()?,
        pipeline: Pipeline::builtin()?,
        places: Places::default(),
    })
}

#[test]
fn a_failure_after_any_change_is_undone() {
    for case in Case::ALL {
        run(move |lab| {
            let scene = case.prepare(lab)?;
            let mut failed = 0;
            loop {
                match attachment::add_with_fault(&scene.call()?, Some(Fault { at: failed })) {
                    Ok(_) => break,
                    Err(AttachmentError::Apply { .. }) => {}
                    Err(other) => anyhow::bail!("{case:?}, after change {failed}: {other}"),
                }
                scene.is_as_before(lab, &format!("{case:?}, after change {failed}"))?;
                failed += 1;
            }
            // Every kind of edit is in these plans; fewer would mean that the test lost its subject.
            assert!(failed > 20, "{case:?}: only {failed} changes");
            scene.del()?;
            scene.is_as_before(lab, &format!("{case:?}, after DEL"))
        });
    }
}

#[test]
fn a_failure_of_a_repeated_add_keeps_the_first_ones_work() {
    run(|lab| {
        let scene = Case::First.prepare(lab)?;
        attachment::add(&scene.call()?)?;
        let pod = &scene.pod;
        pod.host.run("nft", &["flush", "ruleset"])?;
        pod.host.ip(&["-6 route flush table 100"])?;
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        for at in 0.. {
            if attachment::add_with_fault(&scene.call()?, Some(Fault { at })).is_ok() {
                assert!(at >= 2, "only {at} changes");
                break;
            }
            let lost = |before: &Snapshot, after: Snapshot| {
                difference(before, &after).into_iter().filter(|line| line.starts_with('-')).count()
            };
            assert_eq!(lost(&before.0, lab.node.snapshot()?), 0, "node, after change {at}");
            assert_eq!(lost(&before.1, pod.host.snapshot()?), 0, "pod, after change {at}");
        }
        Ok(())
    });
}

/// Kills an ADD at the n-th call by which it changes anything outside itself. False when it came to its end before.
fn is_killed(scene: &Scene, settings: &Value, at: usize) -> anyhow::Result<bool> {
    let mut configuration = scene.network.configuration("coordinator", settings);
    configuration["prevResult"] = scene.result.clone();
    let inject = format!("inject=sendto,renameat,write:signal=SIGKILL:when={at}");
    let mut child = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "trace=sendto,renameat,write", "-e", &inject])
        .arg(plugin()?)
        .envs(scene.pod.environment("ADD", scene.interface))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), configuration.to_string().as_bytes())?;
    let status = child.wait()?;
    assert!(status.success() || status.signal() == Some(9), "{status}");
    Ok(!status.success())
}

#[test]
fn a_killed_add_is_cleaned_up_by_the_next_call_whichever_it_is() {
    for case in Case::ALL {
        run(move |lab| {
            let scene = case.prepare(lab)?;
            let mut at = 1;
            while is_killed(&scene, &scene.settings, at)? {
                let next = ["DEL", "ADD and DEL", "GC"][at % 3];
                match next {
                    "DEL" => scene.del()?,
                    "GC" => scene.collect()?,
                    _ => {
                        scene.add()?;
                        scene.del()?;
                    }
                }
                // A record that was committed before the end is no interrupted one: its attachment is valid.
                if next == "GC" {
                    scene.del()?;
                }
                scene.is_as_before(lab, &format!("{case:?}, killed at {at}, then {next}"))?;
                at += 1;
            }
            assert!(at > 15, "{case:?}: only {at} places to die");
            Ok(())
        });
    }
}

/// What the first ADD made and the second gives up is in no claim of the second.
#[test]
fn a_killed_add_with_other_settings_is_cleaned_up_with_the_one_before() {
    run(|lab| {
        let scene = Case::First.prepare(lab)?;
        let second = lab.cluster();
        for at in 1.. {
            scene.add()?;
            let is_killed = is_killed(&scene, &second, at)?;
            scene.del()?;
            scene.is_as_before(lab, &format!("killed at {at}"))?;
            if !is_killed {
                assert!(at > 15, "only {at} places to die");
                break;
            }
        }
        Ok(())
    });
}

/// GC leaves a valid attachment as its last whole ADD made it.
#[test]
fn gc_brings_an_attachment_back_to_its_last_whole_add() {
    let interrupted = Arc::new(AtomicUsize::new(0));
    for is_reversed in [false, true] {
        let count = Arc::clone(&interrupted);
        run(move |lab| gc_after_each_kill(lab, is_reversed, &count));
    }
    let interrupted = interrupted.load(Ordering::Relaxed);
    assert!(interrupted >= 5, "only {interrupted} were interrupted between their first and last change");
}

fn gc_after_each_kill(lab: &Lab, is_reversed: bool, interrupted: &AtomicUsize) -> anyhow::Result<()> {
    let mut scene = Case::First.prepare(lab)?;
    let mut second = lab.cluster();
    if is_reversed {
        std::mem::swap(&mut scene.settings, &mut second);
    }
    scene.add()?;
    let whole = (lab.node.snapshot()?, scene.pod.host.snapshot()?);
    let files = || -> anyhow::Result<Vec<String>> {
        let folder = std::fs::read_dir(format!("/run/coordinator/{}", scene.pod.container))?;
        let mut names: Vec<String> = folder
            .map(|file| file.map(|file| file.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_, _>>()?;
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        Ok(names)
    };
    for at in 1.. {
        if !is_killed(&scene, &second, at)? {
            break;
        }
        let has_intent = files()?.contains(&"intent-eth0.json".to_owned());
        scene.collect()?;
        assert_eq!(files()?, ["if-eth0.json"], "killed at {at}");
        if has_intent {
            interrupted.fetch_add(1, Ordering::Relaxed);
            assert_eq!(difference(&whole.0, &lab.node.snapshot()?), [""; 0], "node, killed at {at}");
            assert_eq!(difference(&whole.1, &scene.pod.host.snapshot()?), [""; 0], "pod, killed at {at}");
        }
        scene.add()?;
    }
    Ok(())
}
