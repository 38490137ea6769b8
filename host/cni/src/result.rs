//! The result of an ADD: `prevResult`, changed only where something was changed.

use std::net::IpAddr;

use coordinator_core::attachment::{Added, ResultAddress};
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::{call::Target, version::SpecVersion};

/// More addresses or interfaces than any plugin gives.
const MOST: usize = 1024;

/// A `prevResult` that was understood.
#[derive(Debug, Clone)]
pub(crate) struct PrevResult {
    fields: Map<String, Value>,
    /// The attached interface's addresses.
    pub(crate) addresses: Vec<ResultAddress>,
}

impl PrevResult {
    /// Reads `prevResult` for the attached interface.
    ///
    /// # Errors
    /// Everything in it that is not what the specification says.
    pub(crate) fn parse(value: Option<&Value>, interface: &str) -> Result<Self, Vec<String>> {
        let fields = match value {
            None | Some(Value::Null) => {
                return Err(vec![
                    "prevResult is missing: the plugin stands behind the one that makes the interface".to_owned(),
                ]);
            }
            Some(Value::Object(fields)) => fields.clone(),
            Some(other) => return Err(vec![format!("prevResult = {other}: expected an object")]),
        };
        let mut problems = Vec::new();
        let interfaces = list(&fields, "interfaces", &mut problems);
        if problems.is_empty() && !interfaces.iter().any(|entry| is_attached(entry, interface)) {
            problems.push(format!("prevResult.interfaces does not list the pod's {interface}"));
        }
        let ips = list(&fields, "ips", &mut problems);
        let mut addresses = Vec::new();
        for (at, ip) in ips.iter().enumerate() {
            match address(ip, interfaces, interface) {
                Ok(found) => addresses.extend(found),
                Err(problem) => problems.push(format!("prevResult.ips[{at}]{problem}")),
            }
        }
        if problems.is_empty() { Ok(Self { fields, addresses }) } else { Err(problems) }
    }

    /// The result to print.
    pub(crate) fn render(self, version: SpecVersion, target: &Target, added: &Added) -> Value {
        let mut result = self.into_result(version);
        let sandbox = target.namespace.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let interfaces = result.entry("interfaces").or_insert_with(|| json!([]));
        if let (Value::Array(interfaces), Some(mac)) = (&mut *interfaces, added.mac) {
            let attached = interfaces.iter_mut().filter(|entry| is_attached(entry, target.interface.as_str()));
            for entry in attached.filter_map(Value::as_object_mut) {
                entry.insert("mac".to_owned(), mac.to_string().into());
            }
        }
        if let (Value::Array(interfaces), Some(veth)) = (interfaces, &added.veth) {
            let ends = [(&veth.pod, veth.pod_mac, Some(sandbox)), (&veth.node, veth.node_mac, None)];
            for (name, mac, sandbox) in ends {
                let mut entry = json!({"name": name, "mac": mac.to_string()});
                if let Some(fields) = entry.as_object_mut() {
                    fields.extend(sandbox.map(|path| ("sandbox".to_owned(), path.into())));
                    fields.extend(version.interfaces_have_mtu().then(|| ("mtu".to_owned(), veth.mtu.into())));
                }
                interfaces.push(entry);
            }
        }
        Value::Object(result)
    }

    /// The result in the form of a version.
    fn into_result(self, version: SpecVersion) -> Map<String, Value> {
        let mut result = self.fields;
        for ip in result.get_mut("ips").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(fields) = ip.as_object_mut() else { continue };
            let is_v6 = fields.get("address").and_then(Value::as_str).is_some_and(|text| text.contains(':'));
            match version.addresses_have_family() {
                true => fields.insert("version".to_owned(), if is_v6 { "6" } else { "4" }.into()),
                false => fields.remove("version"),
            };
        }
        result.insert("cniVersion".to_owned(), version.as_str().into());
        result
    }
}

/// What is printed when nothing is to be done: `prevResult` as it came.
pub(crate) fn untouched(version: SpecVersion, prev_result: Option<&Value>) -> Value {
    match prev_result {
        Some(Value::Object(fields)) => Value::Object(fields.clone()),
        _ => json!({"cniVersion": version.as_str()}),
    }
}

fn list<'r>(fields: &'r Map<String, Value>, key: &str, problems: &mut Vec<String>) -> &'r [Value] {
    match fields.get(key) {
        None | Some(Value::Null) => &[],
        Some(Value::Array(entries)) if entries.len() <= MOST => entries,
        Some(Value::Array(entries)) => {
            problems.push(format!("prevResult.{key} has {} entries, more than {MOST}", entries.len()));
            &[]
        }
        Some(other) => {
            problems.push(format!("prevResult.{key} = {other}: expected a list"));
            &[]
        }
    }
}

/// True for the entry of the Pod's interface that is called so: it has a sandbox.
fn is_attached(entry: &Value, interface: &str) -> bool {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    text("name") == interface && !text("sandbox").is_empty()
}

/// The address, when it is one of the attached interface; the end of a sentence about what is wrong.
fn address(ip: &Value, interfaces: &[Value], attached: &str) -> Result<Option<ResultAddress>, String> {
    let text = ip.get("address").and_then(Value::as_str).ok_or_else(|| format!(" = {ip}: it has no address"))?;
    let prefix: IpNet =
        text.parse().map_err(|_| format!(".address = {text:?}: expected an address with a prefix length"))?;
    let gateway = match ip.get("gateway") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => {
            Some(text.parse::<IpAddr>().map_err(|_| format!(".gateway = {text:?}: expected an address"))?)
        }
        Some(other) => return Err(format!(".gateway = {other}: expected an address")),
    };
    let is_ours = match ip.get("interface") {
        // An address that names no interface is the only one's.
        None | Some(Value::Null) => true,
        Some(number) => {
            let entry = number.as_u64().and_then(|at| interfaces.get(usize::try_from(at).ok()?));
            let entry =
                entry.ok_or_else(|| format!(".interface = {number}: there are {} interfaces", interfaces.len()))?;
            is_attached(entry, attached)
        }
    };
    Ok(is_ours.then_some(ResultAddress { prefix, gateway }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prev() -> Value {
        json!({
            "cniVersion": "0.4.0",
            "interfaces": [
                {"name": "br0", "mac": "0a:00:00:00:00:01"},
                {"name": "eth0", "mac": "0a:00:00:00:00:02", "sandbox": "/run/netns/p"}
            ],
            "ips": [
                {"version": "4", "interface": 1, "address": "10.6.0.2/16", "gateway": "10.6.0.1"},
                {"version": "4", "interface": 0, "address": "10.9.0.2/16"},
                {"version": "6", "address": "fd00::2/64"}
            ],
            "dns": {"nameservers": ["10.96.0.10"]}
        })
    }

    #[test]
    fn only_the_attached_interfaces_addresses_count() {
        let result = PrevResult::parse(Some(&prev()), "eth0").unwrap();
        let expected = [("10.6.0.2/16", Some("10.6.0.1")), ("fd00::2/64", None)].map(|(prefix, gateway)| {
            ResultAddress { prefix: prefix.parse().unwrap(), gateway: gateway.map(|text| text.parse().unwrap()) }
        });
        assert_eq!(result.addresses, expected);
    }

    #[test]
    fn every_wrong_entry_is_named() {
        let bad = json!({"interfaces": 3, "ips": [{"address": "10.0.0.1"}, {}, {"address": "10.0.0.1/8", "gateway": "x"},
            {"address": "10.0.0.1/8", "interface": 7}, {"address": "10.0.0.1/8", "interface": -1}]});
        let problems = PrevResult::parse(Some(&bad), "eth0").unwrap_err();
        assert_eq!(problems.len(), 6, "{problems:?}");
        for absent in [None, Some(&Value::Null), Some(&json!([]))] {
            assert_eq!(PrevResult::parse(absent, "eth0").unwrap_err().len(), 1);
        }
    }

    #[test]
    fn addresses_take_the_form_of_the_version_and_the_rest_stays() {
        for version in SpecVersion::ALL {
            let result = PrevResult::parse(Some(&prev()), "eth0").unwrap().into_result(version);
            let has_family = result["ips"].as_array().unwrap().iter().all(|ip| ip.get("version").is_some());
            assert_eq!(has_family, version < SpecVersion::V1_0_0);
            assert_eq!(result["cniVersion"], version.as_str());
            assert_eq!(result["dns"], prev()["dns"]);
        }
    }
}
