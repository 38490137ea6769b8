//! What the control plane was started with: kubeadm's configuration, and the components' own arguments.

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::prefixes::prefixes_in;

/// The prefixes that a cluster was made with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterNetworks {
    /// Where it was read, in words.
    pub origin: String,
    /// The Pods' prefixes, where they are told.
    pub pods: Vec<IpNet>,
    /// The services' prefixes, where they are told.
    pub services: Vec<IpNet>,
}

#[derive(Debug, Deserialize)]
struct ClusterConfiguration {
    #[serde(default)]
    networking: Networking,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Networking {
    pod_subnet: Option<String>,
    service_subnet: Option<String>,
}

/// The networks in a `kubeadm-config` ConfigMap's `data`.
///
/// # Errors
/// What cannot be understood, in words.
pub fn kubeadm_networks(data: &Value) -> Result<ClusterNetworks, String> {
    let text = data.get("ClusterConfiguration").and_then(Value::as_str);
    let text = text.ok_or_else(|| "kubeadm-config has no ClusterConfiguration".to_owned())?;
    let parsed: ClusterConfiguration = serde_saphyr::from_str(text)
        .map_err(|error| format!("kubeadm-config's ClusterConfiguration is not understood: {error}"))?;
    let of = |name: &str, text: Option<String>| {
        prefixes_in(&text.unwrap_or_default()).map_err(|error| format!("kubeadm-config, networking.{name}: {error}"))
    };
    Ok(ClusterNetworks {
        origin: "ConfigMap kube-system/kubeadm-config".to_owned(),
        pods: of("podSubnet", parsed.networking.pod_subnet)?,
        services: of("serviceSubnet", parsed.networking.service_subnet)?,
    })
}

/// The networks in the arguments of a control plane component's Pod.
///
/// Arguments are what follows the program in `command`, and all of `args`; both `--name=value` and
/// `--name value` occur. Values that are no prefixes are left out: another instance may be right.
pub fn component_networks(name: &str, spec: &Value) -> ClusterNetworks {
    let empty = Vec::new();
    let containers = spec.get("containers").and_then(Value::as_array).unwrap_or(&empty);
    let words: Vec<&str> = containers
        .iter()
        .flat_map(|container| ["command", "args"].map(|key| container.get(key).and_then(Value::as_array)))
        .flatten()
        .flatten()
        .filter_map(Value::as_str)
        // A shell's one-liner holds several arguments in one word.
        .flat_map(str::split_whitespace)
        .collect();
    let value = |flag: &str| -> Vec<IpNet> {
        let found = words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(flag)? {
            "" => words.get(at.saturating_add(1)).copied(),
            rest => rest.strip_prefix('='),
        });
        found.and_then(|text| prefixes_in(text.trim_matches(['"', '\''])).ok()).unwrap_or_default()
    };
    ClusterNetworks {
        origin: format!("the arguments of Pod {name}"),
        pods: value("--cluster-cidr"),
        services: value("--service-cluster-ip-range"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(prefixes: &[IpNet]) -> Vec<String> {
        prefixes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn kubeadms_configuration_tells_both() {
        let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking:\n  dnsDomain: cluster.local\n  \
                    podSubnet: 10.244.0.0/16,fd00:10:244::/56\n  serviceSubnet: 10.96.0.0/12\n";
        let found = kubeadm_networks(&json!({"ClusterConfiguration": text})).unwrap();
        assert_eq!(shown(&found.pods), ["10.244.0.0/16", "fd00:10:244::/56"]);
        assert_eq!(shown(&found.services), ["10.96.0.0/12"]);
        let none = kubeadm_networks(&json!({"ClusterConfiguration": "kind: ClusterConfiguration\n"})).unwrap();
        assert!(none.pods.is_empty() && none.services.is_empty());
    }

    #[test]
    fn what_kubeadm_cannot_have_meant_is_told() {
        for (data, expected) in [
            (json!({}), "has no ClusterConfiguration"),
            (json!({"ClusterConfiguration": "networking: [1"}), "is not understood"),
            (json!({"ClusterConfiguration": "networking: {podSubnet: 10.0.0.0/99}"}), "networking.podSubnet: "),
        ] {
            let error = kubeadm_networks(&data).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn arguments_are_read_in_every_spelling() {
        for containers in [
            json!([{"command": ["kube-controller-manager", "--cluster-cidr=10.1.0.0/16", "--service-cluster-ip-range=10.2.0.0/16"]}]),
            json!([{"command": ["kcm"], "args": ["--cluster-cidr", "10.1.0.0/16", "--service-cluster-ip-range", "10.2.0.0/16"]}]),
            json!([{"command": ["sh", "-c", "exec kcm --cluster-cidr=\"10.1.0.0/16\" --service-cluster-ip-range='10.2.0.0/16'"]}]),
            json!([{"name": "sidecar"}, {"args": ["--cluster-cidr=10.1.0.0/16", "--service-cluster-ip-range=10.2.0.0/16"]}]),
        ] {
            let found = component_networks("kcm", &json!({"containers": containers}));
            assert_eq!(
                (shown(&found.pods), shown(&found.services)),
                (vec!["10.1.0.0/16".into()], vec!["10.2.0.0/16".into()])
            );
        }
        let none = component_networks(
            "kcm",
            &json!({"containers": [{"args": ["--cluster-cidr-x=10.1.0.0/16", "--cluster-cidr"]}]}),
        );
        assert!(none.pods.is_empty() && none.services.is_empty());
        assert!(component_networks("kcm", &json!(null)).pods.is_empty());
    }
}
