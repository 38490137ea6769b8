//! The drawing: the Pod's interfaces, the node's, and the wires between them.

use std::fmt::Write as _;

use coordinator_sdk::{Device, Link, Model, Side};

use crate::html::escape;

const LINE: usize = 16;
const GAP: usize = 18;
const TOP: usize = 44;
/// Left edge and width of the two sides' boxes.
const NODE: (usize, usize) = (24, 400);
const POD: (usize, usize) = (620, 440);

/// A box with a title and lines, and where it stands.
struct Part {
    device: Device,
    lines: Vec<String>,
    tag: Option<String>,
    y: usize,
    is_ours: bool,
    is_down: bool,
}

impl Part {
    fn height(&self) -> usize {
        self.lines.len().saturating_add(1).saturating_mul(LINE).saturating_add(14)
    }

    fn middle(&self) -> usize {
        self.y.saturating_add(self.height() / 2)
    }
}

/// Draws both sides.
pub(super) fn draw(model: &Model) -> String {
    let links = model.links.iter().filter(|link| link.device.side == Side::Pod && link.device.name != "lo");
    let mut pod: Vec<Part> = Vec::new();
    let mut node: Vec<Part> = Vec::new();
    let mut wires: Vec<(Device, Device, &'static str, String)> = Vec::new();
    let (mut pod_y, mut node_y) = (TOP, TOP);
    for link in links {
        let other = link.peer.as_ref().or(link.parent.as_ref()).map(Device::node);
        // What hangs together stands on one height.
        let is_new = other.as_ref().is_some_and(|other| !node.iter().any(|part| part.device == *other));
        if is_new {
            (pod_y, node_y) = (pod_y.max(node_y), pod_y.max(node_y));
        }
        let part = part(model, link, pod_y);
        pod_y = pod_y.saturating_add(part.height()).saturating_add(GAP);
        pod.push(part);
        let Some(other) = other else { continue };
        if is_new {
            let end = model.link(&other).cloned().unwrap_or_else(|| Link::named(other.clone()));
            let part = self::part(model, &end, node_y);
            node_y = node_y.saturating_add(part.height()).saturating_add(GAP);
            node.push(part);
        }
        let (kind, label) = match link.peer {
            Some(_) => ("pair", link.kind.clone()),
            None => ("lower", link.kind.clone()),
        };
        wires.push((other, link.device.clone(), kind, label));
    }
    let height = pod_y.max(node_y).saturating_add(8);
    let width = POD.0.saturating_add(POD.1).saturating_add(24);
    let mut text = format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"100%\" role=\"img\" aria-label=\"the Pod's interfaces and the node's\">"
    );
    for ((x, wide), title) in [(NODE, "node"), (POD, "Pod")] {
        let (x, wide, tall) = (x.saturating_sub(12), wide.saturating_add(24), height.saturating_sub(12));
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "<rect class=\"side\" x=\"{x}\" y=\"6\" width=\"{wide}\" height=\"{tall}\" rx=\"10\"/>\
             <text class=\"title\" x=\"{}\" y=\"28\">{title}</text>",
            x.saturating_add(12)
        );
    }
    let mut labels = String::new();
    for (from, to, kind, label) in &wires {
        let start = node.iter().find(|part| part.device == *from).map_or(TOP, Part::middle);
        let end = pod.iter().find(|part| part.device == *to).map_or(TOP, Part::middle);
        let (left, right) = (NODE.0.saturating_add(NODE.1), POD.0);
        let half = left.saturating_add(right) / 2;
        let _ = write!(
            text,
            "<path class=\"wire {kind}\" d=\"M{left} {start} C{half} {start} {half} {end} {right} {end}\"/>"
        );
        // Behind all wires, so that none crosses it.
        let _ = write!(
            labels,
            "<text class=\"label\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            right.saturating_sub(20),
            end.saturating_add(4),
            escape(label)
        );
    }
    text.push_str(&labels);
    node.iter().for_each(|part| draw_part(part, NODE, &mut text));
    pod.iter().for_each(|part| draw_part(part, POD, &mut text));
    text.push_str("</svg>");
    text
}

fn part(model: &Model, link: &Link, y: usize) -> Part {
    let mut lines: Vec<String> = model.addresses_of(&link.device).map(|address| address.prefix.to_string()).collect();
    let mac = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
    lines.push(format!("{mac}  mtu {}", link.mtu).trim().to_owned());
    let marks = model.marks.iter().any(|mark| mark.device == link.device);
    if marks {
        lines.push("replies to what comes in here go back here".to_owned());
    }
    Part {
        device: link.device.clone(),
        lines,
        tag: link.table.map(|table| format!("table {table}")),
        y,
        is_ours: link.flags.ours,
        is_down: !link.flags.up,
    }
}

fn draw_part(part: &Part, (x, width): (usize, usize), text: &mut String) {
    let class = match (part.is_down, part.is_ours) {
        (true, _) => "box down",
        (false, true) => "box ours",
        (false, false) => "box",
    };
    let Part { y, .. } = part;
    let down = if part.is_down { " (down)" } else { "" };
    let _ = write!(
        text,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" rx=\"6\"/>\
         <text class=\"title\" x=\"{}\" y=\"{}\">{}{down}</text>",
        part.height(),
        x.saturating_add(12),
        y.saturating_add(20),
        escape(&part.device.name)
    );
    if let Some(tag) = &part.tag {
        let _ = write!(
            text,
            "<text class=\"tag\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{tag}</text>",
            x.saturating_add(width).saturating_sub(12),
            y.saturating_add(20)
        );
    }
    for (at, line) in part.lines.iter().enumerate() {
        let below = y.saturating_add(20).saturating_add(at.saturating_add(1).saturating_mul(LINE));
        let _ =
            write!(text, "<text class=\"soft\" x=\"{}\" y=\"{below}\">{}</text>", x.saturating_add(12), escape(line));
    }
}
