//! From JSON values to checked ones; each error says what would be right.

use super::{DetectOptions, LogLevel, LogOptions, PolicyRoute, RpFilter};
use crate::{InterfaceName, Mode};
use ipnet::IpNet;
use serde_json::Value;
use std::{net::IpAddr, time::Duration};

pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "expected a string".to_owned())
}

pub(super) fn flag(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "expected true or false".to_owned())
}

pub(super) fn integer(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| "expected a whole number".to_owned())
}

pub(super) fn whole(value: &Value, least: u32, most: u32) -> Result<u32, String> {
    let fits = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| (least..=most).contains(n));
    fits.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
}

fn list(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| "expected a list".to_owned())
}

pub(super) fn mode(value: &Value) -> Result<Mode, String> {
    Ok(match text(value)? {
        "auto" | "" => Mode::Auto,
        "underlay" => Mode::Underlay,
        "overlay" => Mode::Overlay,
        "disable" | "disabled" => Mode::Disable,
        _ => return Err("expected auto, underlay, overlay or disable".to_owned()),
    })
}

pub(super) fn interface(text: &str) -> Result<InterfaceName, String> {
    text.parse().map_err(|e: crate::NameError| e.to_string())
}

fn prefix(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    parsed.map(|net| net.trunc()).map_err(|_| format!("{text:?} is neither a prefix nor an address"))
}

pub(super) fn prefixes(value: &Value) -> Result<Vec<IpNet>, String> {
    let mut out = Vec::new();
    for entry in list(value)? {
        let net = prefix(text(entry)?)?;
        if !out.contains(&net) {
            out.push(net);
        }
    }
    Ok(out)
}

pub(super) fn policy_routes(value: &Value) -> Result<Vec<PolicyRoute>, String> {
    list(value)?.iter().map(policy_route).collect()
}

fn policy_route(value: &Value) -> Result<PolicyRoute, String> {
    let field = |name: &str| value.get(name).and_then(Value::as_str).map(str::trim);
    let (Some(dst), Some(gw)) = (field("dst"), field("gw")) else {
        return Err("each entry needs dst and gw, both strings".to_owned());
    };
    let route = PolicyRoute { dst: prefix(dst)?, gw: gw.parse().map_err(|_| format!("gw {gw:?} is not an address"))? };
    if route.dst.addr().is_ipv4() != route.gw.is_ipv4() {
        return Err(format!("dst {dst} and gw {gw} are of different families"));
    }
    Ok(route)
}

pub(super) fn host_rule_table(value: &Value) -> Result<u32, String> {
    let table = whole(value, 1, u32::MAX)?;
    if (253..=255).contains(&table) {
        return Err("253, 254 and 255 are the kernel's default, main and local tables".to_owned());
    }
    Ok(table)
}

pub(super) fn rp_filter(value: &Value) -> Result<RpFilter, String> {
    match integer(value)? {
        ..0 => Ok(RpFilter::Leave),
        0 => Ok(RpFilter::Set(0)),
        1 => Ok(RpFilter::Set(1)),
        2 => Ok(RpFilter::Set(2)),
        _ => Err("expected 0, 1 or 2, or a negative number to leave it alone".to_owned()),
    }
}

pub(super) fn link_local(value: &Value) -> Result<Option<IpAddr>, String> {
    let text = text(value)?;
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || "expected a link-local address, from 169.254.0.0/16 or fe80::/10".to_owned();
    let ip: IpAddr = text.trim().parse().map_err(|_| wrong())?;
    let is_link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if is_link_local { Ok(Some(ip)) } else { Err(wrong()) }
}

/// A duration as Go's `time.ParseDuration` reads it: `100ms`, `1.5s`, `1m30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 100ms or 1.5s");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(wrong()),
        };
        nanos += number.parse::<f64>().map_err(|_| wrong())? * scale;
        rest = tail;
    }
    if text.is_empty() || nanos > 3600e9 {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(nanos / 1e9).map_err(|_| wrong())
}

fn object<'v>(value: &'v Value, name: &str) -> Result<&'v serde_json::Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("expected an object, such as {name}"))
}

pub(super) fn detect_options(value: &Value, defaults: DetectOptions) -> Result<DetectOptions, String> {
    let mut options = defaults;
    for (key, value) in object(value, r#"{"retries": 3, "interval": "10ms", "timeout": "100ms"}"#)? {
        let of = |reason: String| format!("{key}: {reason}");
        match key.as_str() {
            _ if value.is_null() => {}
            "retries" => options.retries = whole(value, 1, 100).map_err(of)?,
            "interval" => options.interval = text(value).and_then(duration).map_err(of)?,
            "timeout" | "timeOut" => options.timeout = text(value).and_then(duration).map_err(of)?,
            _ => return Err(of("expected retries, interval or timeout".to_owned())),
        }
    }
    Ok(options)
}

pub(super) fn log_options(value: &Value, defaults: LogOptions) -> Result<LogOptions, String> {
    let mut options = defaults;
    for (key, value) in object(value, r#"{"logLevel": "info"}"#)? {
        let of = |reason: String| format!("{key}: {reason}");
        match key.as_str() {
            _ if value.is_null() => {}
            "logLevel" => {
                options.level = match text(value).map_err(of)?.to_ascii_lowercase().as_str() {
                    "" => options.level,
                    "debug" | "trace" => LogLevel::Debug,
                    "info" => LogLevel::Info,
                    "warn" | "warning" => LogLevel::Warn,
                    "error" | "fatal" | "panic" | "dpanic" => LogLevel::Error,
                    _ => return Err(of("expected debug, info, warn or error".to_owned())),
                }
            }
            "logFile" => {
                let file = text(value).map_err(of)?;
                if !file.is_empty() {
                    file.clone_into(&mut options.file);
                }
            }
            "logMaxSize" => options.max_size_mb = whole(value, 0, u32::MAX).map_err(of)?,
            "logMaxAge" => options.max_age_days = whole(value, 0, u32::MAX).map_err(of)?,
            "logMaxCount" => options.max_count = whole(value, 0, u32::MAX).map_err(of)?,
            _ => {}
        }
    }
    Ok(options)
}

pub(super) fn pipeline(value: &Value) -> Result<Option<String>, String> {
    let name = text(value)?;
    let is_name = name.len() <= 64
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && !name.starts_with('-');
    match name {
        "" => Ok(None),
        name if is_name => Ok(Some(name.to_owned())),
        _ => Err("expected the name of a pipeline: letters, digits, '-' and '_', at most 64".to_owned()),
    }
}
