//! The page's looks: one style sheet, for screens that are light or dark and for paper.

pub(super) const SHEET: &str = "
:root { --ink:#0f172a; --soft:#475569; --paper:#ffffff; --panel:#f8fafc; --line:#cbd5e1;
  --ours:#1d4ed8; --ours-soft:#dbeafe; --good:#15803d; --good-soft:#dcfce7; --bad:#b91c1c; --bad-soft:#fee2e2; }
@media (prefers-color-scheme: dark) { :root { --ink:#e2e8f0; --soft:#94a3b8; --paper:#0b1220; --panel:#111a2e;
  --line:#334155; --ours:#93c5fd; --ours-soft:#1e3a5f; --good:#86efac; --good-soft:#14351f; --bad:#fca5a5;
  --bad-soft:#4c1616; } }
* { box-sizing:border-box }
body { margin:0 auto; padding:24px; max-width:1120px; color:var(--ink); background:var(--paper);
  font:14px/1.5 system-ui, sans-serif }
h1 { font-size:22px; margin:0 } h2 { font-size:16px; margin:32px 0 8px }
p { margin:4px 0; color:var(--soft) } code, .mono, td.mono, svg { font-family:ui-monospace, 'DejaVu Sans Mono', monospace }
.facts { display:flex; flex-wrap:wrap; gap:4px 24px; margin-top:8px } .facts b { font-weight:600; color:var(--soft) }
.verdict { display:inline-block; padding:2px 10px; border-radius:12px; font-weight:600 }
.good { color:var(--good); background:var(--good-soft) } .bad { color:var(--bad); background:var(--bad-soft) }
.scroll { overflow-x:auto; border:1px solid var(--line); border-radius:8px; background:var(--panel); padding:8px }
table { border-collapse:collapse; width:100% } th { text-align:left; color:var(--soft); font-weight:600 }
th, td { padding:3px 10px 3px 0; vertical-align:top; border-bottom:1px solid var(--line) }
tr:last-child td { border-bottom:0 } td.mono { font-size:12px } td.mark { text-align:center; border-radius:4px }
tr.ours td:first-child { border-left:3px solid var(--ours); padding-left:8px }
tr.other td:first-child { border-left:3px solid transparent; padding-left:8px }
.cards { display:grid; grid-template-columns:repeat(auto-fit, minmax(330px, 1fr)); gap:12px }
.card { border:1px solid var(--line); border-radius:8px; background:var(--panel); padding:8px 12px }
.card h3 { margin:0 0 4px; font-size:14px } .legend { font-size:12px }
.legend i { display:inline-block; width:3px; height:12px; background:var(--ours); margin-right:6px }
svg { display:block; font-size:12px } svg .box { fill:var(--paper); stroke:var(--line) }
svg .side { fill:var(--panel); stroke:var(--line) } svg .ours { stroke:var(--ours); stroke-width:1.5 }
svg .down { stroke:var(--bad); stroke-dasharray:3 3 } svg text { fill:var(--ink) } svg .soft { fill:var(--soft) }
svg .title { font-weight:700 } svg .wire { stroke:var(--soft); fill:none; stroke-width:1.5 }
svg .wire.pair { stroke:var(--ours) } svg .wire.lower { stroke-dasharray:5 4 } svg .tag { fill:var(--ours) }
svg { min-width:640px } svg .label { fill:var(--soft); stroke:var(--panel); stroke-width:5px; paint-order:stroke }
details summary { cursor:pointer; color:var(--soft) }
@media print { body { max-width:none; padding:0; font-size:11px; print-color-adjust:exact }
  .scroll { overflow:visible } th, td { padding-right:4px } td.mono { font-size:9px }
  h2, h2 + p, h3 { break-after:avoid } .card, .scroll, tr { break-inside:avoid } }
";
