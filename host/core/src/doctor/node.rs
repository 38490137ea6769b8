//! The node: parameters, tables and programs that are known to get into Pods' way.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coordinator_stages::{
    kernel::{namespace::Inside, nftables::Nftables, sysctl},
    observe::ObserveError,
    sockets::NodeSockets,
};

use super::{Diagnosis, Gravity};
use crate::{
    attachment::{AttachmentError, Places, ready},
    chain::chain,
    guest::Guest,
    node_defaults::{self, Pod},
    pipeline::{self, Draft, Library, Pipeline, Severity, SourceFile},
    record::{Store, StoreError},
};

/// From how much of the neighbour table's limit on somebody should look, percent.
const CROWDED: u64 = 80;

/// Looks at the node that the caller is on.
///
/// # Errors
/// The kernel cannot be asked.
pub fn node(places: &Places) -> Result<Vec<Diagnosis>, AttachmentError> {
    let node = NodeSockets::open()?;
    let mut found = node.namespace.enter(|inside| -> Result<_, AttachmentError> {
        let mut found = parameters(inside).map_err(ObserveError::from)?;
        found.extend(invalid_packets(inside)?);
        Ok(found)
    })??;
    found.extend(neighbours(Path::new("/")));
    found.extend(cilium(places, Path::new("/")));
    found.extend(network_manager(Path::new("/")));
    found.extend(defaults());
    found.extend(pipelines(Path::new(pipeline::DIRECTORY)));
    found.extend(records(places));
    Ok(found)
}

/// Forwarding, reverse path filter, notification.
fn parameters(inside: &Inside<'_>) -> Result<Vec<Diagnosis>, sysctl::SysctlError> {
    let mut found = Vec::new();
    for (key, family) in [("net/ipv4/conf/all/forwarding", "IPv4"), ("net/ipv6/conf/all/forwarding", "IPv6")] {
        if sysctl::read(inside, key)?.as_deref() == Some("0") {
            found.push(Diagnosis::of_node(
                "forwarding-off",
                Gravity::Trouble,
                format!("the node does not forward {family}: services, overlay Pods and node ports do not work"),
                &format!("sysctl -w {}=1", key.replace('/', ".")),
            ));
        }
    }
    if sysctl::read(inside, "net/ipv4/conf/all/rp_filter")?.as_deref() == Some("1") {
        found.push(Diagnosis::of_node(
            "strict-rp-filter",
            Gravity::Risk,
            "rp_filter is 1 on all of the node's interfaces: what Pods send by another way than the node's own is dropped"
                .to_owned(),
            "sysctl -w net.ipv4.conf.all.rp_filter=0, and the same for the interfaces that Pods' networks use (2 is loose)",
        ));
    }
    Ok(found)
}

/// kube-proxy drops packets that connection tracking calls invalid; strict tracking calls late segments so.
fn invalid_packets(inside: &Inside<'_>) -> Result<Option<Diagnosis>, AttachmentError> {
    let liberal = sysctl::read(inside, "net/netfilter/nf_conntrack_tcp_be_liberal").map_err(ObserveError::from)?;
    if liberal.as_deref() != Some("0") {
        return Ok(None);
    }
    let observe = |error| AttachmentError::Observe(ObserveError::Nftables(error));
    let chains = Nftables::open().and_then(|mut nftables| nftables.chains_that_drop_invalid()).map_err(observe)?;
    Ok((!chains.is_empty()).then(|| {
        let finding = format!(
            "{} drops what connection tracking calls invalid, and tracking is strict: connections hang that lose or \
             reorder segments",
            chains.join(", ")
        );
        let treatment = "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1";
        Diagnosis::of_node("invalid-drop", Gravity::Risk, finding, treatment)
    }))
}

/// The kernel's neighbour tables, which all namespaces share.
fn neighbours(root: &Path) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    for (name, family) in [("arp_cache", "ipv4"), ("ndisc_cache", "ipv6")] {
        let statistics = fs::read_to_string(root.join(format!("proc/net/stat/{name}"))).unwrap_or_default();
        let limit = fs::read_to_string(root.join(format!("proc/sys/net/{family}/neigh/default/gc_thresh3")));
        let limit = limit.ok().and_then(|text| text.trim().parse().ok());
        if let (Some(entries), Some(limit)) = (entries(&statistics), limit) {
            found.extend(crowding(family, entries, limit));
        }
    }
    found
}

/// The number of entries in `/proc/net/stat/arp_cache`: the first column, hexadecimal, below its title.
fn entries(statistics: &str) -> Option<u64> {
    u64::from_str_radix(statistics.lines().nth(1)?.split_whitespace().next()?, 16).ok()
}

fn crowding(family: &str, entries: u64, limit: u64) -> Option<Diagnosis> {
    (limit > 0 && entries.saturating_mul(100) / limit >= CROWDED).then(|| {
        let finding = format!("the {family} neighbour table holds {entries} of {limit} entries: when it is full, Pods lose their neighbours");
        let more = limit.saturating_mul(4);
        let treatment = format!(
            "sysctl -w net.{family}.neigh.default.gc_thresh3={more} net.{family}.neigh.default.gc_thresh2={} \
             net.{family}.neigh.default.gc_thresh1={}",
            more / 2,
            more / 4
        );
        Diagnosis::of_node("neighbours-crowded", Gravity::Risk, finding, &treatment)
    })
}

/// Cilium drops what a Pod sends from another address than the one that Cilium gave it.
fn cilium(places: &Places, root: &Path) -> Option<Diagnosis> {
    if !root.join("proc/sys/net/ipv4/conf/cilium_host").exists() || !checks_sources(root) {
        return None;
    }
    let store = Store::existing(&places.state).ok().flatten()?;
    let mut overlays = Vec::new();
    for container in store.containers().ok()? {
        let records = store.look(&container).unwrap_or_default();
        let is_overlay = |record: &&crate::record::Record| record.about.settings.mode == coordinator_sdk::Mode::Overlay;
        overlays.extend(records.iter().find(is_overlay).map(|record| record.container.prefix(12).to_owned()));
    }
    (!overlays.is_empty()).then(|| {
        let finding = format!(
            "Cilium runs here and checks sources, and Pods are served in overlay mode ({}): Cilium drops what they send \
             to the node from their further interfaces' addresses",
            overlays.join(", ")
        );
        let treatment = "set Cilium's enable-source-ip-verification to false (Helm: \
                         daemon.enableSourceIPVerification=false), or make the Pods' first interface an underlay one";
        Diagnosis::of_node("cilium-source-check", Gravity::Trouble, finding, treatment)
    })
}

/// Whether Cilium's agent, by what it says itself of how it runs, was not told to let foreign sources pass.
fn checks_sources(root: &Path) -> bool {
    let text = fs::read(root.join("var/run/cilium/state/agent-runtime-config.json")).unwrap_or_default();
    let options: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
    options.and_then(|options| options.get("EnableSourceIPVerification")?.as_bool()).unwrap_or(true)
}

/// NetworkManager takes hold of every new interface that it was not told to leave alone.
fn network_manager(root: &Path) -> Option<Diagnosis> {
    if !root.join("run/NetworkManager").is_dir() {
        return None;
    }
    let places = ["etc/NetworkManager/conf.d", "usr/lib/NetworkManager/conf.d", "run/NetworkManager/conf.d"];
    let files = places.iter().filter_map(|place| fs::read_dir(root.join(place)).ok()).flatten().flatten();
    let mut texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    let leaves_veths = |text: &String| {
        let mut lines = text.lines().filter(|line| line.trim_start().starts_with("unmanaged-devices"));
        lines.any(|line| line.contains("veth"))
    };
    (!texts.any(|text| leaves_veths(&text))).then(|| {
        let finding =
            "NetworkManager runs here and was not told to leave veth interfaces alone: it may take addresses \
                       and routes off them"
                .to_owned();
        let treatment = "write \"[keyfile]\\nunmanaged-devices=interface-name:veth*\" to \
                         /etc/NetworkManager/conf.d/coordinator.conf, then: nmcli general reload";
        Diagnosis::of_node("network-manager", Gravity::Risk, finding, treatment)
    })
}

/// The node defaults, as an ADD would read them.
fn defaults() -> Option<Diagnosis> {
    let nobody = Pod { namespace: "", name: "" };
    let error = node_defaults::read(&node_defaults::Places::default(), nobody).err()?;
    let finding = format!("every ADD fails with code 11: {}", chain(&error));
    let treatment = "see whether the node's agent runs, and what it logs";
    Some(Diagnosis::of_node("node-defaults", Gravity::Trouble, finding, treatment))
}

/// Every named pipeline, as an ADD would read it, and its guests.
fn pipelines(directory: &Path) -> Vec<Diagnosis> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|file| file.path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    files.sort();
    let mut found = Vec::new();
    for path in files {
        let shown = path.display().to_string();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let (draft, problems) = Draft::read(SourceFile { path: shown.clone(), text: text.into() }, Library::Node);
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
        if let Some(first) = errors.clone().next() {
            let finding = format!("no ADD that names this pipeline works: {first} ({} problems)", errors.count());
            let treatment = format!("coordinatorctl pipeline validate {shown}");
            found.push(Diagnosis::of_node("pipeline", Gravity::Trouble, finding, &treatment));
        } else if let Ok(pipeline) = Pipeline::try_from(draft) {
            found.extend(guests(&pipeline, &shown));
        }
    }
    found
}

/// The guests of a pipeline: compiled, unchanged since, and content with their options.
fn guests(pipeline: &Pipeline, shown: &str) -> Vec<Diagnosis> {
    let trouble = |(stage, guest): (&str, &Guest)| {
        let error = guest.verify().and_then(|()| guest.ready()).err()?;
        let finding = format!("stage {stage} of {shown} cannot run: {}", chain(&error));
        Some(Diagnosis::of_node("guest", Gravity::Trouble, finding, &error.remedy(stage)))
    };
    pipeline.all_guests().filter_map(trouble).collect()
}

/// Records, and the rules that all of them share.
fn records(places: &Places) -> Vec<Diagnosis> {
    match Store::existing(&places.state).map(|store| store.is_some()) {
        Ok(false) => Vec::new(),
        Ok(true) => match ready(places) {
            Ok(missing) => missing
                .iter()
                .map(|rule| {
                    let finding = format!("the rule {rule} is missing: the node does not reach its Pods");
                    let treatment = "coordinatorctl check --repair; then look for what removes rules on this node";
                    Diagnosis::of_node("shared-rule", Gravity::Trouble, finding, treatment)
                })
                .collect(),
            Err(AttachmentError::Records(error)) => vec![unusable(&error)],
            Err(error) => vec![of_records(format!("every ADD fails: {}", chain(&error)), "see what the kernel says")],
        },
        Err(error) => vec![unusable(&error)],
    }
}

fn unusable(error: &StoreError) -> Diagnosis {
    let said = chain(error);
    match error {
        StoreError::Broken { container, .. } => {
            let finding = format!("{said}: no call for it works but a DEL, and what it claimed may stay behind");
            let treatment = format!("let the runtime make Pod {} anew, then: coordinatorctl gc", container.prefix(12));
            of_records(finding, &treatment)
        }
        StoreError::Directory(_) => of_records(
            format!("records cannot be used, and every ADD fails: {said}"),
            "chown 0:0 /run/coordinator; chmod 0700 /run/coordinator",
        ),
    }
}

fn of_records(finding: String, treatment: &str) -> Diagnosis {
    Diagnosis::of_node("records", Gravity::Trouble, finding, treatment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowded_neighbour_table_is_found_before_it_is_full() {
        let statistics = "entries  allocs   destroys\n0000033b  00000000 00000000\n0000033b  00000001 00000000\n";
        assert_eq!(entries(statistics), Some(827));
        assert_eq!(crowding("ipv4", 818, 1024), None);
        let found = crowding("ipv4", 827, 1024).unwrap();
        assert!(found.treatment.contains("net.ipv4.neigh.default.gc_thresh3=4096"), "{found:?}");
        assert_eq!((entries(""), entries("title\nnonsense"), crowding("ipv6", 5, 0)), (None, None, None));

        // Only the first network namespace has the limits, so no lab shows this.
        let root = tempfile::tempdir().unwrap();
        for folder in ["proc/net/stat", "proc/sys/net/ipv4/neigh/default", "proc/sys/net/ipv6/neigh/default"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        write("proc/net/stat/arp_cache", statistics);
        write("proc/net/stat/ndisc_cache", statistics);
        write("proc/sys/net/ipv4/neigh/default/gc_thresh3", "8192\n");
        write("proc/sys/net/ipv6/neigh/default/gc_thresh3", "1024\n");
        let found = neighbours(root.path());
        assert_eq!(found.iter().map(|it| it.code).collect::<Vec<_>>(), ["neighbours-crowded"]);
        assert!(found[0].finding.starts_with("the ipv6 neighbour table holds 827 of 1024 entries"), "{found:?}");
    }

    #[test]
    fn network_manager_must_leave_veths_alone() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(network_manager(root.path()), None);
        fs::create_dir_all(root.path().join("run/NetworkManager")).unwrap();
        assert_eq!(network_manager(root.path()).unwrap().code, "network-manager");
        let folder = root.path().join("etc/NetworkManager/conf.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.conf"), "[keyfile]\n# veth\nunmanaged-devices=interface-name:docker*\n").unwrap();
        assert!(network_manager(root.path()).is_some());
        fs::write(folder.join("b.conf"), "[keyfile]\nunmanaged-devices=interface-name:cali*;interface-name:veth*\n")
            .unwrap();
        assert_eq!(network_manager(root.path()), None);
    }

    #[test]
    fn a_wrong_pipeline_is_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("good.toml"), "schema = 1\nextends = \"default\"\n").unwrap();
        fs::write(folder.path().join("bad.toml"), "schema = 1\nextend = \"default\"\n").unwrap();
        let found = pipelines(folder.path());
        assert_eq!(found.len(), 1);
        assert!(found[0].finding.contains("bad.toml:2:1") && found[0].treatment.contains("validate"), "{found:?}");
    }
}
