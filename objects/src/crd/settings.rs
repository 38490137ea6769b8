//! The settings' schemas: what the plugin refuses is refused when the object is written, in the same words.
//!
//! The words stand in `sdk/src/settings/value.rs`; `tests/rules.rs` evaluates both sides over one table. Lengths and
//! counts are limited besides, since the API server bounds what rules may cost.

use super::schema::{Rule, Schema};

/// A prefix is at most 43 characters long; the rest is room for spaces.
const PREFIX: u32 = 64;
/// More prefixes than a Pod's routes should be made of.
const PREFIXES: u32 = 1024;
/// The largest number of 32 bits.
const MOST: i64 = 4_294_967_295;

/// Every setting that an object of the API may have, by the names of its spec.
pub fn settings() -> Vec<(&'static str, Schema)> {
    vec![
        ("mode", mode()),
        ("podDefaultCniNic", interface("The Pod's first interface.", false)),
        ("podDefaultRouteNIC", interface("The interface that keeps the default route in the table main.", true)),
        ("tunePodRoutes", Schema::flag("Whether routes of further interfaces are moved to tables of their own.")),
        ("overlayPodCIDR", prefixes("The overlay Pods' prefixes or addresses.")),
        ("serviceCIDR", prefixes("The services' prefixes or addresses.")),
        ("hijackCIDR", prefixes("More prefixes or addresses that are reached through the node.")),
        ("policyRoutes", Schema::list("More routes through the attached interface.", PREFIXES, policy_route())),
        ("hostRuleTable", host_rule_table()),
        ("podRPFilter", rp_filter()),
        ("hostRPFilter", Schema::number("Accepted without effect: the node's filter is not changed.")),
        ("multusNicPrefix", Schema::text("Accepted without effect: interfaces are found by their state.", 64)),
        ("txQueueLen", Schema::range("The attached interface's transmit queue, packets; 0 leaves it alone.", 0, MOST)),
        ("podMACPrefix", mac_prefix()),
        ("vethLinkAddress", link_local()),
        ("vethMTU", Schema::range("The veth pair's MTU, bytes.", 68, 65535)),
        ("detectIPConflict", Schema::flag("Whether the wire is asked for the Pod's addresses first.")),
        ("detectGateway", Schema::flag("Whether the gateways must answer first.")),
        ("detectOptions", detect_options()),
        ("logOptions", log_options()),
        ("pipeline", pipeline()),
    ]
}

fn mode() -> Schema {
    let rule = "self in ['', 'auto', 'underlay', 'overlay', 'disable', 'disabled']";
    Schema::text("How Pods are served: auto, underlay, overlay or disable.", 16)
        .rule(Rule::new(rule, "expected auto, underlay, overlay or disable"))
}

/// `InterfaceName`: 1 to 15 bytes, no `/`, `:`, white space or control character, not `.` or `..`.
fn interface(description: &str, may_be_empty: bool) -> Schema {
    let name = r"size(bytes(self)) <= 15 && self.matches('^[^/:\\s\\p{Z}\\x00-\\x1f\\x7f-\\x{9f}]+$') && !(self in ['.', '..'])";
    let rule = if may_be_empty { format!("self == '' || ({name})") } else { name.to_owned() };
    let after = " is not 1 to 15 characters without '/', ':' and white space";
    Schema::text(description, 64).rule(Rule::quoting(rule, "interface name ", after))
}

fn prefixes(description: &str) -> Schema {
    let rule = "isCIDR(self.trim()) || isIP(self.trim())";
    let entry = Schema::text("", PREFIX).rule(Rule {
        expression: Some("'\"' + self.trim() + '\" is neither a prefix nor an address'".to_owned()),
        ..Rule::new(rule, "this is neither a prefix nor an address")
    });
    Schema::list(description, PREFIXES, entry)
}

fn policy_route() -> Schema {
    let both = "has(self.dst) && has(self.gw)";
    let dst = "isCIDR(self.dst.trim()) || isIP(self.dst.trim())";
    let family = "(isCIDR(self.dst.trim()) ? cidr(self.dst.trim()).ip().family() : ip(self.dst.trim()).family()) \
                  == ip(self.gw.trim()).family()";
    let told = |rule: String, message: &str, expression: &str| Rule {
        expression: Some(expression.to_owned()),
        ..Rule::new(rule, message)
    };
    let properties = vec![
        ("dst", Schema::text("A prefix or an address.", PREFIX)),
        ("gw", Schema::text("A router's address.", PREFIX)),
    ];
    Schema::object("", properties)
        .rule(Rule::new(both, "each entry needs dst and gw, both strings"))
        .rule(told(
            format!("!({both}) || {dst}"),
            "dst is neither a prefix nor an address",
            "'\"' + self.dst.trim() + '\" is neither a prefix nor an address'",
        ))
        .rule(told(
            format!("!({both}) || !({dst}) || isIP(self.gw.trim())"),
            "gw is not an address",
            "'gw \"' + self.gw.trim() + '\" is not an address'",
        ))
        .rule(told(
            format!("!({both}) || !({dst}) || !isIP(self.gw.trim()) || {family}"),
            "dst and gw are of different families",
            "'dst ' + self.dst.trim() + ' and gw ' + self.gw.trim() + ' are of different families'",
        ))
}

fn host_rule_table() -> Schema {
    let message = "253, 254 and 255 are the kernel's default, main and local tables";
    Schema::range("The node's table with the routes to Pods.", 1, MOST)
        .rule(Rule::new("self < 253 || self > 255", message))
}

fn rp_filter() -> Schema {
    let message = "expected 0, 1 or 2, or a negative number to leave it alone";
    Schema::number("The reverse path filter that is to be in force in the Pod.").rule(Rule::new("self <= 2", message))
}

fn mac_prefix() -> Schema {
    let form = "self == '' || self.matches('^[0-9a-fA-F]{2}[:-][0-9a-fA-F]{2}$')";
    let unicast = format!("!({form}) || self == '' || self.matches('^[0-9a-fA-F][02468aceACE]')");
    Schema::text("Two octets: the attached interface's MAC begins with them.", 32)
        .rule(Rule::quoting(form, "", " is not 2 hexadecimal octets joined by ':' or '-'"))
        .rule(Rule::quoting(unicast, "", " is a multicast address: the lowest bit of the first octet must be 0"))
}

fn link_local() -> Schema {
    let rule = "self == '' || (isIP(self.trim()) && ip(self.trim()).isLinkLocalUnicast())";
    let message = "expected a link-local address, from 169.254.0.0/16 or fe80::/10";
    Schema::text("A link-local address for the Pod's end of the veth pair.", PREFIX).rule(Rule::new(rule, message))
}

/// Go's durations without a sign, up to an hour.
fn duration(description: &str) -> Schema {
    let number = r"([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h)";
    let rule = format!("self == '0' || (self.matches('^({number})+$') && duration(self) <= duration('1h'))");
    Schema::text(description, 32).rule(Rule::quoting(rule, "", " is not a duration such as 100ms or 1.5s"))
}

fn detect_options() -> Schema {
    Schema::object(
        "How often the wire is asked, and how long.",
        vec![
            ("retries", Schema::range("How many questions.", 1, 100)),
            ("interval", duration("The time between two.")),
            ("timeout", duration("How long is listened after the last.")),
        ],
    )
}

fn log_options() -> Schema {
    let levels =
        "self.lowerAscii() in ['', 'trace', 'debug', 'info', 'warn', 'warning', 'error', 'fatal', 'panic', 'dpanic']";
    let first = r"([^./][^/]*|[.][^./][^/]*|[.][.][^/]+)";
    let file = format!(
        "self == '' || (self.matches('^/+var/+log/+spidernet/+([.]/+)*{first}') && !self.matches('/[.][.](/|$)'))"
    );
    Schema::object(
        "How much is logged, and where.",
        vec![
            (
                "logLevel",
                Schema::text("debug, info, warn or error.", 16)
                    .rule(Rule::new(levels, "expected debug, info, warn or error")),
            ),
            (
                "logFile",
                Schema::text("The file, under the node's log directory.", 1024)
                    .rule(Rule::new(file, "a log file must lie under /var/log/spidernet")),
            ),
            ("logMaxSize", Schema::range("Megabytes after which a new file is begun; 0 is never.", 0, MOST)),
            ("logMaxAge", Schema::range("Days after which an old file is removed; 0 is never.", 0, MOST)),
            ("logMaxCount", Schema::range("How many old files are kept; 0 is all.", 0, MOST)),
        ],
    )
}

fn pipeline() -> Schema {
    let rule = "self == '' || self.matches('^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$')";
    let message = "expected the name of a pipeline: letters, digits, '-' and '_', at most 64";
    Schema::text("The name of a pipeline in /etc/coordinator/pipelines.", 128).rule(Rule::new(rule, message))
}
