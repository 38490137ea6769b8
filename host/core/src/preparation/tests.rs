use super::*;

/// A node's `/proc/sys` and `/etc` in a folder.
fn node(parameters: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root(folder.path().to_owned());
    let usual = [
        ("net/ipv4/neigh/default/gc_thresh1", "128"),
        ("net/ipv4/neigh/default/gc_thresh2", "512"),
        ("net/ipv4/neigh/default/gc_thresh3", "1024"),
        ("net/ipv4/conf/all/arp_notify", "0"),
        ("net/ipv4/conf/default/arp_notify", "0"),
        ("net/ipv4/conf/all/forwarding", "0"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/ens1/rp_filter", "1"),
        ("net/ipv6/conf/all/forwarding", "0"),
        ("net/ipv6/conf/all/accept_ra", "1"),
        ("net/ipv6/conf/default/accept_ra", "1"),
        ("net/ipv6/conf/veth1/accept_ra", "1"),
        ("net/ipv6/conf/ens1.100/accept_ra", "1"),
    ];
    for (key, value) in usual.iter().chain(parameters) {
        let path = root.parameter(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{value}\n")).unwrap();
    }
    (folder, root)
}

fn value(root: &Root, key: &str) -> String {
    look(root, &Object::Parameter(key.to_owned())).unwrap().unwrap()
}

fn snapshot(folder: &Path) -> std::collections::BTreeMap<PathBuf, String> {
    let mut found = std::collections::BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(snapshot(&path));
        } else {
            found.insert(path.clone(), fs::read_to_string(&path).unwrap().trim_end().to_owned());
        }
    }
    found
}

#[test]
fn preparing_twice_is_as_once_and_everything_comes_back() {
    let (folder, root) = node(&[("net/netfilter/nf_conntrack_tcp_be_liberal", "0")]);
    fs::create_dir_all(root.at("/etc/NetworkManager/conf.d")).unwrap();
    let before = snapshot(folder.path());
    let steps = wanted(&root, Liberal::Yes).unwrap();
    assert_eq!(snapshot(folder.path()), before, "asking changes nothing");
    apply(&root, &steps).unwrap();
    assert_eq!(wanted(&root, Liberal::Yes).unwrap(), []);
    assert_eq!(value(&root, "net/ipv4/neigh/default/gc_thresh3"), "32768");
    assert_eq!(value(&root, "net/ipv4/conf/all/rp_filter"), "2");
    assert_eq!(value(&root, "net/netfilter/nf_conntrack_tcp_be_liberal"), "1");
    let at_start = fs::read_to_string(root.at("/etc/sysctl.d/90-coordinator.conf")).unwrap();
    assert!(at_start.contains("net/ipv6/conf/ens1.100/accept_ra = 2\n"), "{at_start}");
    assert!(root.at("/etc/NetworkManager/conf.d/90-coordinator.conf").exists());

    let (steps, stays) = restoration(&root).unwrap();
    assert_eq!(stays, [""; 0]);
    restore(&root, &steps).unwrap();
    assert_eq!(snapshot(folder.path()), before);
    assert_eq!(restoration(&root).unwrap(), (Vec::new(), Vec::new()));
}

#[test]
fn router_advertisements_are_heard_before_the_node_forwards() {
    let (_folder, root) = node(&[]);
    let steps = wanted(&root, Liberal::Untouched).unwrap();
    let at = |key: &str| steps.iter().position(|step| step.object == Object::Parameter(key.to_owned())).unwrap();
    assert!(at("net/ipv6/conf/ens1.100/accept_ra") < at("net/ipv6/conf/all/forwarding"));
    let listening = steps.iter().filter(|step| step.to_string().contains("/accept_ra")).count();
    assert_eq!(listening, 1, "no Pod's link, and none that is made later");
    // A node that forwards already has made its choice.
    let (_folder, root) = node(&[("net/ipv6/conf/all/forwarding", "1")]);
    assert!(!wanted(&root, Liberal::Untouched).unwrap().iter().any(|step| step.to_string().contains("accept_ra")));
}

#[test]
fn a_tuned_node_is_left_as_it_is() {
    let tuned = [
        ("net/ipv4/neigh/default/gc_thresh3", "100000"),
        ("net/ipv4/conf/ens1/rp_filter", "0"),
        ("net/ipv4/conf/all/forwarding", "1"),
    ];
    let (_folder, root) = node(&tuned);
    let steps = wanted(&root, Liberal::Untouched).unwrap();
    let changed: Vec<String> = steps.iter().map(ToString::to_string).collect();
    for (key, _) in tuned {
        assert!(!changed.iter().any(|step| step.starts_with(key)), "{changed:#?}");
    }
    assert!(!changed.iter().any(|step| step.contains("rp_filter") || step.contains("NetworkManager")), "{changed:#?}");
    apply(&root, &steps).unwrap();
    let at_start = fs::read_to_string(root.at("/etc/sysctl.d/90-coordinator.conf")).unwrap();
    assert!(at_start.contains("gc_thresh3 = 100000"), "a restart must not lower it: {at_start}");
}

#[test]
fn what_somebody_changed_since_stays_and_is_told() {
    let (_folder, root) = node(&[]);
    apply(&root, &wanted(&root, Liberal::Untouched).unwrap()).unwrap();
    fs::write(root.parameter("net/ipv4/conf/all/rp_filter"), "1\n").unwrap();
    fs::write(root.at("/etc/sysctl.d/90-coordinator.conf"), "# mine now\n").unwrap();
    let (steps, stays) = restoration(&root).unwrap();
    assert_eq!(stays.len(), 2, "{stays:?}");
    restore(&root, &steps).unwrap();
    assert_eq!(value(&root, "net/ipv4/conf/all/rp_filter"), "1");
    assert_eq!(value(&root, "net/ipv4/conf/all/forwarding"), "0");
}

/// A second preparation with more in it still knows how things were before the first.
#[test]
fn the_record_remembers_the_first_before() {
    let (folder, root) = node(&[("net/netfilter/nf_conntrack_tcp_be_liberal", "0")]);
    let before = snapshot(folder.path());
    for liberal in [Liberal::Untouched, Liberal::Yes] {
        apply(&root, &wanted(&root, liberal).unwrap()).unwrap();
    }
    let (steps, _) = restoration(&root).unwrap();
    restore(&root, &steps).unwrap();
    assert_eq!(snapshot(folder.path()), before);
}

#[test]
fn a_record_that_is_broken_is_told_before_anything_is_changed() {
    let (folder, root) = node(&[]);
    fs::create_dir_all(root.at("/var/lib/coordinator")).unwrap();
    fs::write(root.at("/var/lib/coordinator/prepared.json"), "{").unwrap();
    let before = snapshot(folder.path());
    let prepared = wanted(&root, Liberal::Untouched).and_then(|steps| apply(&root, &steps));
    let error = prepared.unwrap_err().to_string();
    assert!(error.contains("prepared.json cannot be understood"), "{error}");
    assert_eq!(snapshot(folder.path()), before);
}

#[test]
fn a_step_says_what_and_why() {
    let (_folder, root) = node(&[]);
    let steps: Vec<String> = wanted(&root, Liberal::Untouched).unwrap().iter().map(ToString::to_string).collect();
    assert!(
        steps[0].starts_with("net/ipv4/neigh/default/gc_thresh3: 1024 → 32768 (each Pod is a neighbour"),
        "{steps:#?}"
    );
    assert!(steps.last().unwrap().starts_with("write /etc/sysctl.d/90-coordinator.conf ("), "{steps:#?}");
}
