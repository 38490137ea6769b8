//! SpiderMultusConfig's schema: the rules say what `network::render` would refuse.

use serde_json::json;

use super::{
    schema::{Rule, Schema},
    settings::settings,
};

/// An interface's name is at most 15 bytes.
const NAME: u32 = 64;
/// A resource's, a pool's, a bridge's.
const LONG: u32 = 256;
/// A plugin's configuration.
const TEXT: u32 = 65536;

/// The spec.
pub fn spec() -> Schema {
    let kinds = ["macvlan", "ipvlan", "vlan", "sriov", "ib-sriov", "ipoib", "ovs", "custom"];
    let listed: Vec<String> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
    let of = "expected macvlan, ipvlan, vlan, sriov, ib-sriov, ipoib, ovs or custom";
    let kind = Schema::text("The plugin that makes the interface; custom when absent.", 32)
        .rule(Rule::new(format!("self in ['', {}]", listed.join(", ")), of));
    let mut coordinator = settings();
    // Spiderpool's schema has it here too; it is SpiderCoordinator's.
    coordinator.push(("podCIDRType", Schema::text("Without effect here.", 16)));
    let spec = Schema::object(
        "A network, and the settings of the plugin in it.",
        vec![
            ("cniType", kind),
            ("macvlan", sub("macvlan")),
            ("ipvlan", sub("ipvlan")),
            (
                "vlan",
                sub("vlan").rule(Rule::new(
                    "has(self.vlanID) && self.vlanID > 0",
                    "vlan.vlanID is missing: cniType vlan needs one from 1 to 4094",
                )),
            ),
            ("sriov", sriov()),
            ("ibsriov", ib_sriov()),
            ("ipoib", Schema::object("", vec![("master", required("ipoib.master", NAME)), ("ippools", pools())])),
            ("ovs", ovs()),
            ("customCNI", Schema::text("The whole configuration, JSON, for cniType custom.", TEXT)),
            ("enableCoordinator", Schema::flag("Whether the plugin is in the chain; true when absent.")),
            ("disableIPAM", Schema::flag("Whether Spiderpool's address management is left out.")),
            (
                "ipam",
                Schema::object("", vec![("enabled", Schema::flag("Stronger than disableIPAM."))])
                    .with("x-kubernetes-preserve-unknown-fields", json!(true)),
            ),
            ("coordinator", Schema::object("The plugin's settings for this network.", coordinator)),
            (
                "chainCNIJsonData",
                Schema::list("More plugins at the end of the chain, each JSON.", 16, Schema::text("", TEXT)),
            ),
        ],
    );
    let sections = [
        ("macvlan", "macvlan"),
        ("ipvlan", "ipvlan"),
        ("vlan", "vlan"),
        ("sriov", "sriov"),
        ("ib-sriov", "ibsriov"),
        ("ipoib", "ipoib"),
        ("ovs", "ovs"),
    ];
    sections.iter().fold(spec, |spec, (kind, section)| {
        let rule = format!("!has(self.cniType) || self.cniType != '{kind}' || has(self.{section})");
        spec.rule(Rule::new(rule, format!("{section} is missing: cniType asks for it")))
    })
}

/// A text that must not be empty.
fn required(name: &str, longest: u32) -> Schema {
    Schema::text("", longest).rule(Rule::new("self.trim() != ''", format!("{name} is empty")))
}

fn vlan() -> Schema {
    Schema::within("0 to 4094; 0 is none.", (0, 4094), "expected 0 to 4094")
}

fn pools() -> Schema {
    let names = |description| Schema::list(description, 64, Schema::text("", LONG));
    Schema::object(
        "The addresses' pools.",
        vec![
            ("ipv4", names("Names of IPv4 pools.")),
            ("ipv6", names("Names of IPv6 pools.")),
            ("matchMasterSubnet", Schema::flag("Whether pools must be of the master's subnet.")),
        ],
    )
}

fn sub(kind: &str) -> Schema {
    let bond = Schema::object(
        "The bond that several masters become.",
        vec![
            ("name", required(&format!("{kind}.bond.name"), NAME)),
            ("mode", Schema::within("0 to 6.", (0, 6), "expected 0 to 6")),
            ("options", Schema::text("More options, as the bonding driver writes them.", 1024)),
        ],
    )
    .with("required", json!(["name", "mode"]));
    let master = Schema::list("The node's interfaces; several are bonded.", 16, Schema::text("", NAME));
    let has_master = "has(self.master) && size(self.master) > 0 && self.master.all(name, name != '')";
    let has_bond = "!has(self.master) || size(self.master) < 2 || has(self.bond)";
    Schema::object(
        "",
        vec![
            ("master", master),
            ("vlanID", vlan()),
            ("bond", bond),
            ("mtu", Schema::range("Bytes; 0 is the master's.", 0, 65535)),
            ("rdmaResourceName", Schema::text("Read by Spiderpool's webhook.", LONG)),
            ("ippools", pools()),
        ],
    )
    .rule(Rule::new(has_master, format!("{kind}.master needs at least one interface, and no empty name")))
    .rule(Rule::new(has_bond, format!("{kind}.bond is missing: several masters become one bond")))
}

fn sriov() -> Schema {
    let rates = "!has(self.minTxRateMbps) || !has(self.maxTxRateMbps) || self.maxTxRateMbps == 0 || self.minTxRateMbps <= self.maxTxRateMbps";
    let rate = || Schema::range("Megabits a second; 0 is no limit.", 0, 4_294_967_295);
    Schema::object(
        "",
        vec![
            ("resourceName", required("sriov.resourceName", LONG)),
            ("vlanID", vlan()),
            ("minTxRateMbps", rate()),
            ("maxTxRateMbps", rate()),
            ("rdmaIsolation", Schema::flag("Whether the RDMA device moves along.")),
            ("enableRdma", Schema::flag("The older name of rdmaIsolation.")),
            ("mtu", Schema::range("Bytes; 0 leaves it alone.", 0, 65535)),
            ("ippools", pools()),
        ],
    )
    .rule(Rule::new("has(self.resourceName)", "sriov.resourceName is empty"))
    // Without the numbers: an API server refuses a message with `string(…)` of one, whose length it takes for endless.
    .rule(Rule::new(rates, "minTxRateMbps is above maxTxRateMbps"))
}

fn ib_sriov() -> Schema {
    let state = Schema::text("auto, enable or disable.", 16)
        .rule(Rule::new("self in ['', 'auto', 'enable', 'disable']", "expected auto, enable or disable"));
    Schema::object(
        "",
        vec![
            ("resourceName", required("ibsriov.resourceName", LONG)),
            ("pkey", Schema::text("InfiniBand's partition key.", 32)),
            ("linkState", state),
            ("rdmaIsolation", Schema::flag("Whether the RDMA device moves along.")),
            ("enableIbKubernetes", Schema::flag("Whether ib-kubernetes takes part.")),
            ("ibKubernetesEnabled", Schema::flag("The older name of enableIbKubernetes.")),
            ("ippools", pools()),
        ],
    )
    .rule(Rule::new("has(self.resourceName)", "ibsriov.resourceName is empty"))
}

fn ovs() -> Schema {
    let trunk = Schema::object("", vec![("minID", vlan()), ("maxID", vlan()), ("id", vlan())]);
    Schema::object(
        "",
        vec![
            ("bridge", required("ovs.bridge", LONG)),
            ("vlan", vlan()),
            ("trunk", Schema::list("The VLANs of a trunk.", 64, trunk)),
            ("deviceID", Schema::text("The PCI address of a virtual function that is offloaded.", 64)),
            ("ippools", pools()),
        ],
    )
    .rule(Rule::new("has(self.bridge)", "ovs.bridge is empty"))
}
