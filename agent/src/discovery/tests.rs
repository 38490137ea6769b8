use super::*;

fn nets(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn networks(origin: &str, pods: &[&str], services: &[&str]) -> ClusterNetworks {
    ClusterNetworks { origin: origin.to_owned(), pods: nets(pods), services: nets(services) }
}

fn pool(name: &str, cidr: &str, disabled: bool) -> CalicoPool {
    CalicoPool { name: name.to_owned(), cidr: cidr.parse().unwrap(), disabled, for_pods: true }
}

/// A cluster with every source absent.
fn bare() -> Sources {
    Sources {
        service_cidrs: Known::Absent,
        kubeadm: Known::Absent,
        components: Known::Absent,
        calico: Known::Absent,
        calico_used: Known::Absent,
        cilium: Known::Absent,
        cilium_pools: Known::Absent,
        main_cni: None,
    }
}

#[track_caller]
fn found(answer: Answer, expected: &[&str], by: &str) {
    let Answer::Found { prefixes, origin } = answer else { panic!("{answer:?}") };
    assert_eq!(prefixes, nets(expected));
    assert!(origin.contains(by), "{origin} does not name {by}");
}

#[track_caller]
fn unknown(answer: Answer, expected: &str) {
    let Answer::Unknown(reason) = answer else { panic!("{answer:?}") };
    assert!(reason.contains(expected), "{reason}");
}

#[test]
fn services_are_asked_of_the_strongest_source_that_knows() {
    let mut sources = bare();
    unknown(service_cidr(&sources, &[]), "it can be given in spec.serviceCIDR");
    found(service_cidr(&sources, &nets(&["10.4.0.0/16"])), &["10.4.0.0/16"], "spec.serviceCIDR");
    sources.components = Known::Seen(vec![networks("Pod a", &[], &[]), networks("Pod b", &[], &["10.3.0.0/16"])]);
    found(service_cidr(&sources, &nets(&["10.4.0.0/16"])), &["10.3.0.0/16"], "Pod b");
    sources.kubeadm = Known::Seen(networks("kubeadm", &[], &["10.2.0.0/16"]));
    found(service_cidr(&sources, &[]), &["10.2.0.0/16"], "kubeadm");
    sources.service_cidrs = Known::Seen(Vec::new());
    found(service_cidr(&sources, &[]), &["10.2.0.0/16"], "kubeadm");
    let of = |name: &str, list: &[&str]| ServiceCidr { name: name.to_owned(), prefixes: nets(list) };
    sources.service_cidrs = Known::Seen(vec![
        of("kubernetes", &["fd00::/112", "10.1.0.0/16"]),
        of("more", &["10.0.0.0/24", "10.1.0.0/16"]),
    ]);
    found(service_cidr(&sources, &[]), &["10.0.0.0/24", "10.1.0.0/16", "fd00::/112"], "ServiceCIDR kubernetes, more");
}

#[test]
fn a_source_that_was_not_seen_is_waited_for() {
    let kubeadm = Known::Seen(networks("kubeadm", &["10.244.0.0/16"], &["10.2.0.0/16"]));
    let sources = Sources { service_cidrs: Known::Unseen, kubeadm: kubeadm.clone(), ..bare() };
    assert!(matches!(service_cidr(&sources, &nets(&["10.9.0.0/16"])), Answer::Waiting(_)));
    let sources = Sources { calico: Known::Unseen, kubeadm: kubeadm.clone(), ..bare() };
    assert!(matches!(overlay_pod_cidr(PodCidrType::Auto, &sources, &[]), Answer::Waiting(_)));
    let sources = Sources { components: Known::Unseen, ..bare() };
    assert!(matches!(overlay_pod_cidr(PodCidrType::Cluster, &sources, &nets(&["10.9.0.0/16"])), Answer::Waiting(_)));
    let sources =
        Sources { calico: Known::Seen(vec![pool("a", "10.1.0.0/16", true)]), calico_used: Known::Unseen, ..bare() };
    assert!(matches!(overlay_pod_cidr(PodCidrType::Calico, &sources, &[]), Answer::Waiting(_)));
    // What auto does not need is not waited for.
    let sources = Sources { calico: Known::Unseen, cilium: Known::Seen(CiliumIpam::Kubernetes), kubeadm, ..bare() };
    found(overlay_pod_cidr(PodCidrType::Auto, &sources, &[]), &["10.244.0.0/16"], "kubeadm");
}

#[test]
fn calicos_disabled_pools_stay_while_they_have_addresses_out() {
    let pools = vec![pool("new", "10.1.0.0/16", false), pool("old", "10.2.0.0/16", true)];
    let sources =
        |used: &[&str]| Sources { calico: Known::Seen(pools.clone()), calico_used: Known::Seen(nets(used)), ..bare() };
    for kind in [PodCidrType::Calico, PodCidrType::Auto] {
        found(
            overlay_pod_cidr(kind, &sources(&["10.2.0.0/16"]), &[]),
            &["10.1.0.0/16", "10.2.0.0/16"],
            "IPPools: new, old",
        );
        found(overlay_pod_cidr(kind, &sources(&[]), &[]), &["10.1.0.0/16"], "IPPools: new");
    }
    unknown(overlay_pod_cidr(PodCidrType::Calico, &bare(), &[]), "is Calico installed?");
}

#[test]
fn cilium_is_followed_in_each_of_its_modes() {
    let with = |ipam: CiliumIpam| Sources {
        cilium: Known::Seen(ipam),
        cilium_pools: Known::Seen(nets(&["10.20.0.0/16"])),
        kubeadm: Known::Seen(networks("kubeadm", &["10.244.0.0/16"], &[])),
        ..bare()
    };
    for kind in [PodCidrType::Cilium, PodCidrType::Auto] {
        let cluster = with(CiliumIpam::ClusterPool(nets(&["10.0.0.0/8"])));
        found(overlay_pod_cidr(kind, &cluster, &[]), &["10.0.0.0/8"], "cilium-config");
        found(overlay_pod_cidr(kind, &with(CiliumIpam::MultiPool), &[]), &["10.20.0.0/16"], "CiliumPodIPPools");
        found(overlay_pod_cidr(kind, &with(CiliumIpam::Kubernetes), &[]), &["10.244.0.0/16"], "kubeadm");
        unknown(overlay_pod_cidr(kind, &with(CiliumIpam::Other("eni".to_owned())), &[]), "mode eni");
    }
    let given = nets(&["10.7.0.0/16"]);
    let cloud = with(CiliumIpam::Other("eni".to_owned()));
    found(overlay_pod_cidr(PodCidrType::Cilium, &cloud, &given), &["10.7.0.0/16"], "spec");
    unknown(overlay_pod_cidr(PodCidrType::Cilium, &bare(), &[]), "is Cilium installed?");
}

#[test]
fn auto_follows_the_nodes_plugin_where_two_left_objects() {
    let both = Sources {
        calico: Known::Seen(vec![pool("c", "10.1.0.0/16", false)]),
        cilium: Known::Seen(CiliumIpam::ClusterPool(nets(&["10.0.0.0/8"]))),
        kubeadm: Known::Seen(networks("kubeadm", &["10.244.0.0/16"], &[])),
        ..bare()
    };
    for (main_cni, expected) in [
        (None, "10.1.0.0/16"),
        (Some(MainCni::Calico), "10.1.0.0/16"),
        (Some(MainCni::Cilium), "10.0.0.0/8"),
        (Some(MainCni::Other), "10.244.0.0/16"),
    ] {
        let sources = Sources { main_cni, ..both.clone() };
        found(overlay_pod_cidr(PodCidrType::Auto, &sources, &[]), &[expected], "");
    }
    let given = nets(&["10.7.0.0/16"]);
    found(overlay_pod_cidr(PodCidrType::None, &both, &given), &["10.7.0.0/16"], "none");
    found(overlay_pod_cidr(PodCidrType::None, &both, &[]), &[], "none");
}
