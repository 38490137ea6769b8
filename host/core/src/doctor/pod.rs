//! A Pod: what drifted, which paths are asymmetric, and addresses that cannot work.

use std::collections::BTreeSet;

use coordinator_sdk::Side;
use coordinator_stages::kernel::namespace::Namespace;

use super::{Diagnosis, Gravity};
use crate::{
    attachment::{AttachmentError, CheckCall, Places, check, look},
    path::{Inquiry, paths},
    record::Record,
};

/// Looks at a Pod by the records of its attachments.
///
/// # Errors
/// The kernel cannot be asked.
pub fn pod(records: &[Record], namespace: &Namespace, places: &Places) -> Result<Vec<Diagnosis>, AttachmentError> {
    let mut found = Vec::new();
    let Some(first) = records.first() else { return Ok(found) };
    let container = first.container.prefix(12).to_owned();
    for record in records {
        let subject = format!("{container}/{}", record.interface);
        found.extend(drifted(record, &subject, namespace, places)?);
    }
    for path in paths(&Inquiry { namespace, records, to: None, from: None })? {
        let Some(fault) = &path.fault else { continue };
        // What drifted was said above, with all that it leads to.
        if path.drifts.is_empty() {
            found.push(Diagnosis {
                code: "asymmetric-path",
                gravity: Gravity::Trouble,
                subject: format!("{container}/{}", path.interface),
                finding: format!("{} and {} ({}): {fault}", path.local, path.remote, path.class),
                treatment: format!("coordinatorctl path {container} --from {} --to {}", path.local, path.remote),
            });
        }
    }
    found.extend(addresses(first, &container, namespace)?);
    Ok(found)
}

fn drifted(
    record: &Record,
    subject: &str,
    namespace: &Namespace,
    places: &Places,
) -> Result<Vec<Diagnosis>, AttachmentError> {
    let request = coordinator_sdk::Request {
        container: record.container.clone(),
        interface: record.interface.clone(),
        ..Default::default()
    };
    let namespace = Namespace::open(namespace.path())?;
    let drifts = check(&CheckCall { request, namespace, places: places.clone() })?;
    let diagnosis = |drift: &coordinator_sdk::Drift| Diagnosis {
        code: "drift",
        gravity: Gravity::Trouble,
        subject: subject.to_owned(),
        finding: format!("not as it was made: {drift}"),
        treatment: format!("coordinatorctl check {} --repair", record.container.prefix(12)),
    };
    Ok(drifts.iter().map(diagnosis).collect())
}

/// Addresses that another host uses, and hardware addresses that two interfaces share.
fn addresses(record: &Record, container: &str, namespace: &Namespace) -> Result<Vec<Diagnosis>, AttachmentError> {
    let model = look(record, namespace)?;
    let mut found = Vec::new();
    for address in model.addresses.iter().filter(|it| it.device.side == Side::Pod && it.flags.dad_failed) {
        found.push(Diagnosis {
            code: "address-in-use",
            gravity: Gravity::Trouble,
            subject: format!("{container}/{}", address.device.name),
            finding: format!("another host uses {}: duplicate address detection found it", address.ip()),
            treatment: "release the address, or find the other host by its MAC: ip neighbour on the node".to_owned(),
        });
    }
    let mut macs = BTreeSet::new();
    for link in model.links.iter().filter(|link| link.device.side == Side::Pod && link.device.name != "lo") {
        let Some(mac) = link.mac else { continue };
        // IPvlan interfaces share their parent's on purpose.
        if link.kind != "ipvlan" && !macs.insert(mac.to_string()) {
            found.push(Diagnosis {
                code: "mac-shared",
                gravity: Gravity::Trouble,
                subject: format!("{container}/{}", link.device.name),
                finding: format!(
                    "another interface of the Pod has the MAC {mac} too: a switch sends frames to one of them"
                ),
                treatment: "use different podMACPrefix values, or let the plugin before ours choose the MAC".to_owned(),
            });
        }
    }
    Ok(found)
}
