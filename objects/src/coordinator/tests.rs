use super::*;
use serde_json::json;

fn coordinator(spec: Value, status: Value) -> Coordinator {
    Coordinator::parse("u", "1", 3, &json!({"spec": spec, "status": status}))
}

fn found(list: &[&str]) -> Answer {
    Answer::Found { prefixes: list.iter().map(|text| text.parse().unwrap()).collect(), origin: "a test".to_owned() }
}

fn situation<'a>(previous: &'a Status, overlay: &'a Answer, service: &'a Answer) -> Situation<'a> {
    let now = "2026-11-24T20:00:00Z";
    Situation { previous, generation: 3, problems: &[], overlay, service, troubles: &[], is_overdue: false, now }
}

#[test]
fn defaults_are_the_spec_with_the_prefixes_that_were_found() {
    let spec = json!({"mode": "auto", "podCIDRType": "calico", "podDefaultRouteNIC": "net1", "hostRPFilter": 0,
                      "vethMTU": 1400, "hijackCIDR": ["169.254.20.10"], "overlayPodCIDR": ["10.9.0.0/16"], "podMACPrefix": null});
    let status = json!({"phase": "Synced", "overlayPodCIDR": ["10.244.0.0/16"], "serviceCIDR": []});
    let defaults = Defaults::of(&coordinator(spec, status)).unwrap();
    assert!(defaults.text().ends_with("}\n"));
    let read: Value = serde_json::from_str(defaults.text()).unwrap();
    assert_eq!(
        read,
        json!({"mode": "auto", "podDefaultRouteNic": "net1", "vethMTU": 1400, "hijackCIDR": ["169.254.20.10"],
               "overlayPodCIDR": ["10.244.0.0/16"], "serviceCIDR": []})
    );
}

#[test]
fn nothing_is_written_while_prefixes_are_unknown_or_values_wrong() {
    for status in [json!(null), json!({"phase": "NotReady", "reason": "later", "serviceCIDR": []})] {
        assert!(matches!(Defaults::of(&coordinator(json!({}), status)), Err(DefaultsError::NotYet(_))));
    }
    let status = json!({"phase": "Synced", "overlayPodCIDR": [], "serviceCIDR": []});
    let error = Defaults::of(&coordinator(json!({"vethMTU": 1, "mode": "sideways"}), status.clone())).unwrap_err();
    let DefaultsError::Wrong(problems) = &error else { panic!("{error:?}") };
    assert_eq!(problems.len(), 2, "{problems:?}");
    // Last known good prefixes are as good as new ones.
    let stale = json!({"phase": "NotReady", "reason": "gone", "overlayPodCIDR": ["10.1.0.0/16"], "serviceCIDR": []});
    assert!(Defaults::of(&coordinator(json!({}), stale)).is_ok());
}

#[test]
fn every_wrong_value_of_the_spec_is_told_in_the_plugins_words() {
    let problems = coordinator(json!({"podCIDRType": "flannel", "hostRuleTable": 254}), json!(null)).problems();
    let [kind, table] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(kind.starts_with("podCIDRType = \"flannel\": expected one of auto, cluster, "), "{kind}");
    assert!(table.starts_with("hostRuleTable = 254: 253, 254 and 255 are the kernel's"), "{table}");
    assert!(coordinator(json!({"podCIDRType": "none", "hostRPFilter": 0}), json!(null)).problems().is_empty());
}

#[test]
fn a_status_that_is_found_is_synced() {
    let previous = Status::default();
    let status = Status::next(&situation(&previous, &found(&["10.244.0.0/16"]), &found(&["10.96.0.0/12"]))).unwrap();
    assert_eq!((status.phase.as_str(), status.reason.as_str()), ("Synced", ""));
    assert_eq!(status.service_cidr.as_deref(), Some(["10.96.0.0/12".to_owned()].as_slice()));
    assert!(status.conditions.iter().all(|it| it.status == "True" && it.observed_generation == 3), "{status:?}");
    assert_eq!(status.turned_from(&previous).unwrap(), "overlayPodCIDR 10.244.0.0/16; serviceCIDR 10.96.0.0/12");
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
}

#[test]
fn what_is_lost_keeps_its_last_value_and_is_told() {
    let before =
        Status::next(&situation(&Status::default(), &found(&["10.1.0.0/16"]), &found(&["10.2.0.0/16"]))).unwrap();
    let lost = Answer::Unknown("no IPPool of Calico gives addresses to Pods".to_owned());
    let service = found(&["10.3.0.0/16"]);
    let next = Situation { now: "2026-11-24T21:00:00Z", ..situation(&before, &lost, &service) };
    let after = Status::next(&next).unwrap();
    assert_eq!(after.phase, "NotReady");
    assert_eq!(after.reason, "OverlayPodCIDRKnown: no IPPool of Calico gives addresses to Pods");
    assert_eq!(
        (after.overlay_pod_cidr.clone(), after.service_cidr.clone().unwrap()),
        (before.overlay_pod_cidr.clone(), vec!["10.3.0.0/16".to_owned()])
    );
    let time = |status: &Status, kind: &str| {
        status.conditions.iter().find(|it| it.kind == kind).map(|it| it.last_transition_time.clone()).unwrap()
    };
    assert_eq!(time(&after, "OverlayPodCIDRKnown"), "2026-11-24T21:00:00Z");
    assert_eq!(time(&after, "ServiceCIDRKnown"), "2026-11-24T20:00:00Z");
    assert!(after.turned_from(&before).unwrap().ends_with("nodes keep the defaults that they have"));
}

#[test]
fn waiting_says_nothing_until_it_is_overdue() {
    let waiting = Answer::Waiting("kubeadm-config has not been read yet".to_owned());
    let service = found(&[]);
    let previous = Status::default();
    let early = situation(&previous, &waiting, &service);
    assert_eq!(Status::next(&early), None);
    let troubles = ["ConfigMap kubeadm-config: forbidden".to_owned()];
    let late = Status::next(&Situation { is_overdue: true, troubles: &troubles, ..early }).unwrap();
    assert_eq!(late.phase, "NotReady");
    assert_eq!(late.overlay_pod_cidr, None);
    assert_eq!(late.conditions.iter().filter(|it| it.status == "False").count(), 2);
}
