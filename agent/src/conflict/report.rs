//! What the plugin tells of a conflict, read and put into words; the message itself is the plugin's.

use coordinator_core::conflict_report::{Conflict, ConflictReport};

/// The version of the message that is understood.
const VERSION: u32 = 1;

/// The report in a request's body.
///
/// # Errors
/// Why it is none, in words.
pub fn parse(body: &[u8]) -> Result<ConflictReport, String> {
    let report: ConflictReport = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if report.version != VERSION {
        return Err(format!("version {} of the report is not known, {VERSION} is", report.version));
    }
    if report.conflicts.is_empty() {
        return Err("the report names no conflict".to_owned());
    }
    Ok(report)
}

/// The conflicts as a sentence's beginning.
pub(super) fn told(report: &ConflictReport) -> String {
    let one = |conflict: &Conflict| {
        let by = conflict.mac.map_or_else(|| "another host".to_owned(), |mac| format!("the host with MAC {mac}"));
        format!("{} is used by {by}", conflict.ip)
    };
    let all: Vec<String> = report.conflicts.iter().map(one).collect();
    format!("interface {}: {}", report.interface, all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_and_told() {
        let text = br#"{"version": 1, "container": "c", "interface": "net1", "network": "n", "podNamespace": "ns", "podName": "p", "podUid": "u",
                        "conflicts": [{"ip": "10.6.2.20", "mac": "02:00:00:00:00:09"}, {"ip": "fd00::1", "mac": null}]}"#;
        let report = parse(text).unwrap();
        assert_eq!(
            told(&report),
            "interface net1: 10.6.2.20 is used by the host with MAC 02:00:00:00:00:09, fd00::1 is used by another host"
        );
        let rest = r#""container": "c", "interface": "i", "network": "", "podNamespace": "", "podName": "", "podUid": "", "conflicts": []}"#;
        for (bad, expected) in [
            ("{}".to_owned(), "missing field"),
            (format!("{{\"version\": 2, {rest}"), "version 2"),
            (format!("{{\"version\": 1, {rest}"), "names no conflict"),
        ] {
            assert!(parse(bad.as_bytes()).unwrap_err().contains(expected));
        }
    }
}
