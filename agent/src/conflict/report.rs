//! What the plugin tells of a conflict: `POST /v1/conflicts`, one JSON object.

use std::net::IpAddr;

use serde::Deserialize;

/// The path of the request.
pub(super) const PATH: &str = "/v1/conflicts";
/// The version of the message that is understood.
const VERSION: u32 = 1;

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictReport {
    /// 1.
    pub version: u32,
    /// The container.
    pub container: String,
    /// Its interface.
    pub interface: String,
    /// The network's name.
    #[serde(default)]
    pub network: String,
    /// The Pod's namespace, or empty.
    #[serde(default)]
    pub pod_namespace: String,
    /// The Pod's name, or empty.
    #[serde(default)]
    pub pod_name: String,
    /// The Pod's uid, or empty.
    #[serde(default)]
    pub pod_uid: String,
    /// Every address that another host uses.
    pub conflicts: Vec<Conflict>,
}

/// An address that another host uses.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Conflict {
    /// The address.
    pub ip: IpAddr,
    /// The other host, when it said so itself.
    pub mac: Option<String>,
}

impl ConflictReport {
    /// The report in a request's body.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let report: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if report.version != VERSION {
            return Err(format!("version {} of the report is not known, {VERSION} is", report.version));
        }
        if report.conflicts.is_empty() {
            return Err("the report names no conflict".to_owned());
        }
        Ok(report)
    }

    /// The conflicts as a sentence's beginning.
    pub(super) fn told(&self) -> String {
        let one = |conflict: &Conflict| {
            let by = conflict
                .mac
                .as_ref()
                .map_or_else(|| "another host".to_owned(), |mac| format!("the host with MAC {mac}"));
            format!("{} is used by {by}", conflict.ip)
        };
        let all: Vec<String> = self.conflicts.iter().map(one).collect();
        format!("interface {}: {}", self.interface, all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_and_told() {
        let text = br#"{"version": 1, "container": "c", "interface": "net1", "network": "n", "podNamespace": "ns", "podName": "p", "podUid": "u",
                        "conflicts": [{"ip": "10.6.2.20", "mac": "02:00:00:00:00:09"}, {"ip": "fd00::1", "mac": null}]}"#;
        let report = ConflictReport::parse(text).unwrap();
        assert_eq!(
            report.told(),
            "interface net1: 10.6.2.20 is used by the host with MAC 02:00:00:00:00:09, fd00::1 is used by another host"
        );
        for (bad, expected) in [
            ("{}", "missing field"),
            (r#"{"version": 2, "container": "c", "interface": "i", "conflicts": []}"#, "version 2"),
            (r#"{"version": 1, "container": "c", "interface": "i", "conflicts": []}"#, "names no conflict"),
        ] {
            assert!(ConflictReport::parse(bad.as_bytes()).unwrap_err().contains(expected));
        }
    }
}
