//! The page: head, drawing, paths, rules, tables, settings and reasons.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::IpAddr,
};

use coordinator_core::{
    path::{Direction, Path},
    record::Record,
};
use coordinator_sdk::{KnownRoute, KnownRule, Model, PROTOCOL, Side};

use super::{picture, style::SHEET};
use crate::{
    explain::{self, Explained},
    html::escape,
    settings_view,
    subject::known::Known,
};

/// Renders the whole page.
pub(super) fn render(known: &Known, records: &[Record], model: &Model, paths: &[Path]) -> String {
    let title = match known.pod().as_str() {
        "" => known.container.prefix(20).to_owned(),
        pod => pod.to_owned(),
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{0} — coordinator</title><style>{SHEET}</style></head><body>\n<h1>{0}</h1>\n",
        escape(&title)
    );
    head(known, records, paths, &mut page);
    section(
        "Interfaces",
        "Blue is ours. A solid wire is a pair, a dashed one an interface on a lower device.",
        &mut page,
    );
    // Writing to a text cannot fail.
    let _ = writeln!(page, "<div class=\"scroll\">{}</div>", picture::draw(model));
    section("Paths", "By the kernel's own tables on both sides; nothing was sent.", &mut page);
    matrix(paths, &mut page);
    section("Rules", "The kernel tries them from above; the first table that has a route decides.", &mut page);
    rules(model, &mut page);
    section("Tables", "", &mut page);
    tables(model, &mut page);
    section("Why it is so", "", &mut page);
    reasons(records, &mut page);
    page.push_str("</body></html>\n");
    page
}

fn section(title: &str, text: &str, page: &mut String) {
    let _ = writeln!(page, "<h2>{title}</h2>");
    if !text.is_empty() {
        let _ = writeln!(page, "<p>{text}</p>");
    }
}

fn head(known: &Known, records: &[Record], paths: &[Path], page: &mut String) {
    let wrong = paths.iter().filter(|path| !path.is_symmetric()).count();
    let (class, verdict) = match wrong {
        0 => ("good", format!("all {} paths come back the way they went", paths.len())),
        _ => ("bad", format!("{wrong} of {} paths do not come back the way they went", paths.len())),
    };
    let _ = write!(page, "<p><span class=\"verdict {class}\">{verdict}</span></p>\n<div class=\"facts\">");
    let mode = records.first().map(|record| format!("{:?}", record.about.settings.mode).to_lowercase());
    let attachments: Vec<String> =
        records.iter().map(|record| format!("{} ({})", record.interface, record.network)).collect();
    let facts = [
        ("container", known.container.to_string()),
        ("mode", mode.unwrap_or_default()),
        ("attachments", attachments.join(", ")),
        ("namespace", known.namespace_path().map(|path| path.display().to_string()).unwrap_or_default()),
    ];
    for (name, value) in facts {
        let _ = write!(page, "<span><b>{name}</b> <code>{}</code></span>", escape(&value));
    }
    page.push_str("</div>\n");
}

/// A row for each local address, a column for each kind of other side and direction.
fn matrix(paths: &[Path], page: &mut String) {
    let columns: BTreeSet<(Direction, _)> = paths.iter().map(|path| (path.direction, path.class)).collect();
    let mut rows: BTreeMap<IpAddr, Vec<&Path>> = BTreeMap::new();
    for path in paths {
        rows.entry(path.local).or_default().push(path);
    }
    page.push_str("<div class=\"scroll\"><table><tr><th>Pod address</th>");
    for (direction, class) in &columns {
        let arrow = if *direction == Direction::Outbound { "→" } else { "←" };
        let _ = write!(page, "<th>{arrow} {class}</th>");
    }
    page.push_str("</tr>\n");
    for (local, of_local) in &rows {
        let _ = write!(page, "<tr><td class=\"mono\">{local}</td>");
        for column in &columns {
            let cell: Vec<&&Path> = of_local.iter().filter(|path| (path.direction, path.class) == *column).collect();
            let wrong = cell.iter().find(|path| !path.is_symmetric());
            let (class, sign) = match (cell.is_empty(), wrong) {
                (true, _) => ("", "–"),
                (false, None) => ("good", "✓"),
                (false, Some(_)) => ("bad", "✗"),
            };
            let ways: Vec<String> = cell
                .iter()
                .map(|path| {
                    let fault = path.fault.as_ref().map_or_else(|| "symmetric".to_owned(), ToString::to_string);
                    format!("{} by {}: {fault}", path.remote, path.interface)
                })
                .collect();
            let _ = write!(page, "<td class=\"mark {class}\" title=\"{}\">{sign}</td>", escape(&ways.join("\n")));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
    for path in paths.iter().filter(|path| !path.is_symmetric()) {
        let fault = path.fault.as_ref().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(
            page,
            "<p><span class=\"bad\">{} {} {} ({})</span>: {}</p>",
            path.local,
            if path.direction == Direction::Outbound { "→" } else { "←" },
            path.remote,
            path.class,
            escape(&fault)
        );
        for drift in &path.drifts {
            let _ = writeln!(page, "<p class=\"mono\">not as it was made: {}</p>", escape(drift));
        }
    }
}

fn class_of(protocol: u8) -> &'static str {
    if protocol == PROTOCOL { "ours" } else { "other" }
}

fn rules(model: &Model, page: &mut String) {
    page.push_str("<div class=\"cards\">\n");
    for (side, title) in [(Side::Pod, "Pod"), (Side::Node, "node")] {
        let mut rules: Vec<&KnownRule> = model.rules.iter().filter(|known| known.rule.side == side).collect();
        rules.sort_by_key(|known| (known.rule.family, known.rule.priority));
        let _ = writeln!(page, "<div class=\"card\"><h3>{title}</h3><table>");
        for known in rules {
            let class = class_of(known.protocol);
            let _ = writeln!(
                page,
                "<tr class=\"{class}\"><td class=\"mono\">{}</td></tr>",
                escape(&known.rule.to_string())
            );
        }
        page.push_str("</table></div>\n");
    }
    page.push_str("</div>\n");
}

fn tables(model: &Model, page: &mut String) {
    let mut tables: BTreeMap<(Side, u32), Vec<&KnownRoute>> = BTreeMap::new();
    for known in &model.routes {
        tables.entry((known.route.side, known.route.table)).or_default().push(known);
    }
    page.push_str("<div class=\"cards\">\n");
    for ((side, table), routes) in &tables {
        let of_link = model.links.iter().find(|link| link.device.side == *side && link.table == Some(*table));
        let name = match (*table, of_link) {
            (254, _) => " (main)".to_owned(),
            (_, Some(link)) => format!(" ({})", escape(&link.device.name)),
            _ => String::new(),
        };
        let _ = writeln!(page, "<div class=\"card\"><h3>{side} table {table}{name}</h3><table>");
        for known in routes {
            let text = known.route.to_string();
            let text = text.rsplit_once(" table ").map_or(text.as_str(), |(route, _)| route);
            let class = class_of(known.protocol);
            let _ = writeln!(page, "<tr class=\"{class}\"><td class=\"mono\">{}</td></tr>", escape(text));
        }
        page.push_str("</table></div>\n");
    }
    page.push_str("</div>\n<p class=\"legend\"><i></i>laid by coordinator</p>\n");
}

fn reasons(records: &[Record], page: &mut String) {
    for record in records {
        let _ = write!(
            page,
            "<details><summary>{} on {}: settings and objects</summary>\n<div class=\"scroll\"><table>\
             <tr><th>setting</th><th>value</th><th>set by</th></tr>\n",
            escape(record.interface.as_str()),
            escape(&record.network)
        );
        for shown in settings_view::all(&record.about.settings) {
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td class=\"mono\">{}</td><td>{}</td></tr>",
                shown.name,
                escape(&shown.value.to_string()),
                escape(&shown.source.to_string())
            );
        }
        page.push_str(
            "</table></div>\n<div class=\"scroll\"><table><tr><th>stage</th><th>object</th><th>because</th></tr>\n",
        );
        for Explained { state, stage, why, .. } in explain::objects(record) {
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td class=\"mono\">{}</td><td>{}</td></tr>",
                escape(&stage),
                escape(&state),
                escape(&why)
            );
        }
        page.push_str("</table></div></details>\n");
    }
}
