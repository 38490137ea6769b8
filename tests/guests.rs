//! Guests in real ADDs: what fails leaves Pod and node as they were, and says what to do.

use std::{fs, path::Path};

use coordinator_core::guest::DIRECTORY;
use coordinator_guests::{component, handwritten, install, pipeline, root, skeleton};
use coordinator_lab::{Families, Lab, PluginError, Pod, difference, run};
use serde_json::{Value, json};

/// A pipeline with one guest in it, which may do a lot.
fn with_guest(name: &str, sha256: &str, more: &str) -> anyhow::Result<()> {
    pipeline(
        name,
        &format!(
            "schema = 1\nextends = \"default\"\n[[stage]]\nname = \"vendor\"\nuse = \"wasm:vendor.wasm\"\n\
             sha256 = \"{sha256}\"\nafter = \"mode\"\ngrant = [\"pod.link\", \"pod.route\", \"node.sysctl\"]\n{more}\n"
        ),
    )
}

fn settings(lab: &Lab, name: &str) -> Value {
    let mut settings = lab.cluster();
    settings["pipeline"] = name.into();
    settings
}

fn error(refused: &anyhow::Error) -> &Value {
    &refused.downcast_ref::<PluginError>().unwrap_or_else(|| panic!("{refused:#}")).0
}

struct Stage<'l> {
    lab: &'l Lab,
    pod: Pod,
    network: coordinator_lab::Network,
    result: Value,
}

impl<'l> Stage<'l> {
    fn set(lab: &'l Lab) -> anyhow::Result<Self> {
        let (pod, network) = (lab.pod("p1")?, lab.underlay(20, Families::Dual));
        let result = pod.attach_without_us("eth0", &network)?;
        Ok(Self { lab, pod, network, result })
    }

    fn add(&self, pipeline: &str) -> anyhow::Result<Value> {
        self.pod.add("eth0", &self.network, &settings(self.lab, pipeline), &self.result)
    }

    /// An ADD that must fail and change nothing; its error.
    fn fails(&self, pipeline: &str) -> anyhow::Result<Value> {
        let before = (self.lab.node.snapshot()?, self.pod.host.snapshot()?);
        let refused = self.add(pipeline).unwrap_err();
        assert_eq!(difference(&before.0, &self.lab.node.snapshot()?), [""; 0], "{refused:#}");
        assert_eq!(difference(&before.1, &self.pod.host.snapshot()?), [""; 0], "{refused:#}");
        Ok(error(&refused).clone())
    }
}

/// The most memory that a process had which this one waited for, KiB.
fn peak_of_children() -> i64 {
    nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap().max_rss()
}

#[test]
fn a_hostile_guest_changes_nothing_and_costs_little() {
    let hostile = component("hostile-guest", &[]).unwrap();
    run(move |lab| {
        let stage = Stage::set(lab)?;
        let digest = install(&hostile)?.to_string();
        with_guest("good", &digest, "with = { deed = \"nothing\" }")?;
        stage.add("good")?;
        stage.pod.del("eth0", &stage.network, &settings(lab, "good"))?;
        let usual = peak_of_children();
        let deeds = [
            ("loop", 103, "processor time", "limits"),
            ("memory", 103, "bytes of memory", "limits"),
            ("recursion", 103, "trapped", "report it"),
            ("panic", 103, "the rails are not where they were", "report it"),
            ("two-million-changes", 103, "vendor", "vendor"),
            ("many-changes", 103, "1001 changes", "changes = 2000"),
            ("long-reason", 103, "bytes at once", "output"),
            ("chatter", 103, "processor time", "limits"),
            ("ungranted", 103, "(pod.rule) is not granted", "add \"pod.rule\" to its grant"),
            ("ungranted-setting", 103, "(setting.serviceCIDR) is not granted", "setting.serviceCIDR"),
            ("other-interface", 103, "pod/lo", "report it"),
            ("kernel-table", 103, "table 255", "report it"),
            ("multicast-mac", 103, "01:00:5e:00:00:01", "report it"),
            ("node-parameter", 103, "net/ipv4/ip_forward", "report it"),
            ("dance", 103, "unknown variant `dance`", "[stage.with] of stage vendor"),
            ("refuse", 100, "may not run here", "ask elsewhere"),
        ];
        for (deed, code, said, remedy) in deeds {
            // A debug build of the plugin is slow, and some of them are to meet another limit than this.
            let time = if matches!(deed, "loop" | "chatter") { "5ms" } else { "1s" };
            with_guest("bad", &digest, &format!("limits = {{ time = \"{time}\" }}\nwith = {{ deed = \"{deed}\" }}"))?;
            let error = stage.fails("bad")?;
            let (message, details) = (error["msg"].as_str().unwrap(), error["details"].as_str().unwrap());
            assert_eq!(error["code"], code, "{deed}: {error}");
            assert!(message.contains("stage vendor") && message.contains(said), "{deed}: {error}");
            assert!(details.contains(remedy), "{deed}: {error}");
        }
        let grown = peak_of_children() - usual;
        assert!(grown < 16 << 10, "a hostile guest took {grown} KiB");
        stage.add("good")?;
        Ok(())
    });
}

#[test]
fn a_guest_that_is_not_compiled_is_refused_with_the_remedy_and_status_says_so_before() {
    let hostile = component("hostile-guest", &[]).unwrap();
    run(move |lab| {
        let stage = Stage::set(lab)?;
        let digest = coordinator_core::guest::Digest::of(&hostile).to_string();
        with_guest("site", &digest, "with = { deed = \"nothing\" }")?;
        let status = || {
            let configuration = stage.network.configuration("coordinator", &settings(lab, "site"));
            stage.pod.call(&coordinator_lab::plugin()?, "STATUS", "eth0", &configuration)
        };
        let missing = |code: u64, failed: &Value| {
            assert_eq!(failed["code"], code, "{failed}");
            assert!(failed["msg"].as_str().unwrap().contains(&digest), "{failed}");
            assert!(failed["details"].as_str().unwrap().contains("coordinatorctl stage compile"), "{failed}");
        };
        missing(50, error(&status().unwrap_err()));
        missing(11, &stage.fails("site")?);
        install(&hostile)?;
        status()?;
        stage.add("site")?;

        // One flipped bit, somewhere in the code.
        let artefact = fs::read_dir(DIRECTORY)?.map(|entry| entry.unwrap().path());
        let artefact = artefact.into_iter().find(|path| path.extension().is_some_and(|it| it == "cwasm")).unwrap();
        let mut bytes = fs::read(&artefact)?;
        bytes[20_000] ^= 4;
        fs::write(&artefact, bytes)?;
        missing(50, error(&status().unwrap_err()));
        assert!(stage.add("site").unwrap_err().to_string().contains("ADD"));
        install(&hostile)?;
        stage.add("site")?;
        Ok(())
    });
}

#[test]
fn a_failing_guest_is_passed_over_where_the_pipeline_says_so() {
    let hostile = component("hostile-guest", &[]).unwrap();
    run(move |lab| {
        let stage = Stage::set(lab)?;
        let digest = install(&hostile)?.to_string();
        for deed in ["panic", "kernel-table"] {
            with_guest("site", &digest, &format!("on-failure = \"skip\"\nwith = {{ deed = \"{deed}\" }}"))?;
            stage.add("site")?;
        }
        let log = fs::read_to_string("/var/log/spidernet/coordinator.log")?;
        let passed_over = log.lines().filter(|line| line.contains("failed and is skipped") && line.contains("vendor"));
        assert_eq!(passed_over.count(), 2, "{log}");
        assert!(
            log.lines().any(|line| line.contains("ERROR") && line.contains("the rails are not where they were")),
            "{log}"
        );
        // A refusal is an answer, not a failure.
        with_guest("site", &digest, "on-failure = \"skip\"\nwith = { deed = \"refuse\" }")?;
        assert_eq!(error(&stage.add("site").unwrap_err())["code"], 100);
        // One that is for other Pods is not even looked for.
        with_guest("site", &"0".repeat(64), "when = { namespace = \"gpu-*\" }")?;
        stage.add("site")?;
        Ok(())
    });
}

#[test]
fn a_guest_in_c_s_manner_without_the_sdk_runs_too() {
    let written = handwritten(&skeleton("", "(i32.const 2048)", 2), &root().join("wit")).unwrap();
    run(move |lab| {
        let stage = Stage::set(lab)?;
        let digest = install(&written)?.to_string();
        with_guest("site", &digest, "")?;
        let plain = stage.pod.add("eth0", &stage.network, &lab.cluster(), &stage.result)?;
        assert_eq!(stage.add("site")?, plain);
        assert!(Path::new(DIRECTORY).is_dir());
        assert_eq!(plain["cniVersion"], json!("1.0.0"));
        Ok(())
    });
}
