//! The services' prefixes: the cluster's own resources for them come first.

use ipnet::IpNet;

use super::{Answer, Known, Sources, control_plane, found};

/// The services' prefixes, `given` being those in the spec.
///
/// A ServiceCIDR that is about to go still has addresses in use, so it counts until it is gone.
pub fn service_cidr(sources: &Sources, given: &[IpNet]) -> Answer {
    match &sources.service_cidrs {
        Known::Unseen => return Answer::Waiting("ServiceCIDRs have not been read yet".to_owned()),
        Known::Wrong(reason) => return Answer::Unknown(reason.clone()),
        Known::Seen(resources) if resources.iter().any(|it| !it.prefixes.is_empty()) => {
            let names: Vec<&str> = resources.iter().map(|resource| resource.name.as_str()).collect();
            let prefixes = resources.iter().flat_map(|resource| resource.prefixes.clone()).collect();
            return found(prefixes, format!("ServiceCIDR {}", names.join(", ")));
        }
        Known::Absent | Known::Seen(_) => {}
    }
    control_plane(sources, given, "serviceCIDR", |networks| &networks.services)
}
