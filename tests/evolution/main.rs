//! How the interface can grow: what breaks a guest, what does not, and two versions side by side.
//!
//! `wit-0.2` is a next version for this test only: one more field in the facts, one more kind of change.

use std::{fs, path::Path};

use coordinator_core::guest::Guest;
use coordinator_guests::{handwritten, root, skeleton};
use coordinator_sdk::Facts;
use wasmtime::{
    Config, Engine, Store,
    component::{Component, HasSelf, Linker},
};

use bindings::coordinator::stage::{about, changes, facts as to, host, types};

/// The bindings of the next version; those of the released one are frozen in `host/core/src/guest`.
#[allow(clippy::all, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({ path: "evolution/wit-0.2", world: "stage" });
}

fn next() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("evolution/wit-0.2")
}

/// The interface in a folder of its own, with one file altered in place: what must never be done.
fn altered(file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(root().join("wit")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wit") {
            let text = fs::read_to_string(&path).unwrap();
            let is_meant = path.ends_with(file);
            assert!(!is_meant || text.contains(from), "{file} lacks {from:?}");
            let text = if is_meant { text.replace(from, to) } else { text };
            fs::write(folder.path().join(path.file_name().unwrap()), text).unwrap();
        }
    }
    folder
}

#[test]
fn one_more_field_or_case_breaks_every_guest_and_is_named() {
    for (file, from, to) in [
        ("facts.wit", "    alias: option<string>,", "    alias: option<string>,\n    vendor: option<string>,"),
        ("changes.wit", "    set-probe(probe),", "    set-probe(probe),\n    limit-rate(u64),"),
        ("types.wit", "    throw,", "    throw,\n    nat,"),
    ] {
        let wit = altered(file, from, to);
        let component = handwritten(&skeleton("", "(i32.const 2048)", 2), wit.path()).unwrap();
        let refused = Guest::of_component("other", &component).unwrap_err().to_string();
        assert!(refused.contains("does not fit"), "{file}: {refused}");
    }
}

#[test]
fn a_guest_that_names_less_than_the_host_offers_fits() {
    let silent = skeleton("", "(i32.const 2048)", 2)
        .replace(r#"(import "coordinator:stage/host@0.1.0" "log" (func $log (param i32 i32 i32)))"#, "");
    let component = handwritten(&silent, &root().join("wit")).unwrap();
    let guest = Guest::of_component("silent", &component).unwrap();
    assert_eq!(guest.decide(&Facts::default()).unwrap().proposals, []);
}

/// What both adapters give the host.
trait Adapter {
    fn warnings(&self, facts: &Facts) -> Vec<String>;
}

/// The released version's adapter is the host's own.
impl Adapter for Guest {
    fn warnings(&self, facts: &Facts) -> Vec<String> {
        self.decide(facts).unwrap().warnings
    }
}

/// The next version's: the same work with its own bindings. It converts what this test's guest can tell from nothing.
struct NextVersion {
    engine: Engine,
    component: Component,
}

struct Quiet;
impl host::Host for Quiet {
    fn log(&mut self, _level: host::Level, _text: String) {}
}
impl types::Host for Quiet {}
impl to::Host for Quiet {}
impl changes::Host for Quiet {}
impl about::Host for Quiet {}

impl Adapter for NextVersion {
    fn warnings(&self, facts: &Facts) -> Vec<String> {
        let mut linker = Linker::new(&self.engine);
        bindings::Stage::add_to_linker::<_, HasSelf<Quiet>>(&mut linker, |quiet| quiet).unwrap();
        let mut store = Store::new(&self.engine, Quiet);
        let instance = bindings::Stage::instantiate(&mut store, &self.component, &linker).unwrap();
        instance.call_decide(&mut store, &snapshot(facts), "{}").unwrap().unwrap().warnings
    }
}

fn snapshot(facts: &Facts) -> to::Snapshot {
    let text = String::new;
    to::Snapshot {
        request: to::Request {
            container: facts.request.container.to_string(),
            interface: facts.request.interface.to_string(),
            network: text(),
            pod_namespace: text(),
            pod_name: text(),
            pod_uid: text(),
            node: text(),
            config: "{}".to_owned(),
            metadata: Vec::new(),
        },
        settings: to::Settings {
            mode: to::Mode::Auto,
            pod_default_cni_nic: facts.settings.pod_default_cni_nic.to_string(),
            pod_default_route_nic: None,
            tune_pod_routes: true,
            overlay_pod_cidr: Vec::new(),
            service_cidr: Vec::new(),
            hijack_cidr: Vec::new(),
            policy_routes: Vec::new(),
            host_rule_table: facts.settings.host_rule_table,
            pod_rp_filter: None,
            tx_queue_len: None,
            pod_mac_prefix: None,
            veth_link_address: None,
            veth_mtu: None,
            detect_ip_conflict: false,
            detect_gateway: false,
            detect_options: to::DetectOptions { retries: 3, interval_ns: 0, timeout_ns: 0 },
            pipeline: None,
            sources: Vec::new(),
        },
        others: Vec::new(),
        claims: Vec::new(),
        node_next_hops: Vec::new(),
        model: to::Model {
            links: Vec::new(),
            addresses: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
            neighbours: Vec::new(),
            sysctls: Vec::new(),
            marks: Vec::new(),
        },
        probes: Vec::new(),
        findings: None,
        pods_on_node: 110,
        extra: Vec::new(),
    }
}

/// A guest in text that answers with one warning.
fn warning(text: &str, version: &str) -> String {
    let decide = format!(
        "(i32.store (i32.const 4096) (i32.const 16)) (i32.store (i32.const 4100) (i32.const {}))
         (i32.store (i32.const 2060) (i32.const 4096)) (i32.store (i32.const 2064) (i32.const 1)) (i32.const 2048)",
        text.len()
    );
    let items = format!(r#"(data (i32.const 16) "{text}")"#);
    skeleton(&items, &decide, 2).replace("@0.1.0", version)
}

#[test]
fn guests_of_two_versions_run_side_by_side_each_behind_its_own_adapter() {
    let old = handwritten(&warning("I am old", "@0.1.0"), &root().join("wit")).unwrap();
    let new = handwritten(&warning("I am new", "@0.2.0"), &next()).unwrap();

    // Today's host says of the new one which version it wants, and refuses it.
    let refused = Guest::of_component("new", &new).unwrap_err().to_string();
    assert!(refused.contains("@0.2.0") && refused.contains("0.1.0"), "{refused}");

    // A host with a second adapter takes both; neither adapter knows of the other.
    let engine = Engine::new(&Config::new()).unwrap();
    let next_version = NextVersion { component: Component::new(&engine, &new).unwrap(), engine };
    let pipeline: [Box<dyn Adapter>; 2] = [Box::new(Guest::of_component("old", &old).unwrap()), Box::new(next_version)];
    let said: Vec<String> = pipeline.iter().flat_map(|stage| stage.warnings(&Facts::default())).collect();
    assert_eq!(said, ["I am old", "I am new"]);

    // The new bindings alone would not do: the old guest does not fit them.
    let as_new = Component::new(&Engine::new(&Config::new()).unwrap(), &old).unwrap();
    let engine = as_new.engine().clone();
    let mut linker = Linker::new(&engine);
    bindings::Stage::add_to_linker::<_, HasSelf<Quiet>>(&mut linker, |quiet| quiet).unwrap();
    assert!(bindings::Stage::instantiate(Store::new(&engine, Quiet), &as_new, &linker).is_err());
}
