/** The page's style sheet. Colours are variables, so that the canvas draws with the same ones in light and dark. */
export const PAGE_STYLE = `
:root{color-scheme:light dark;
--bg:#f7f7f5;--card:#fff;--ink:#1d2126;--soft:#5b6470;--faint:#8b94a0;--line:#e1e3e6;--grid:#eceef0;
--ok:#1a7f4b;--ok-bg:#e4f4ea;--bad:#c02626;--bad-bg:#fde8e7;--warn:#9a6200;--warn-bg:#fff3d9;
--leader:#2f6fde;--follower:#c9d6ea;--candidate:#e8a33d;--silent:#3c434d;--odd:#b0479b;
--fault:#d9534f;--fault-bg:rgba(217,83,79,.10);--client-fault:#8a63d2;--client-fault-bg:rgba(138,99,210,.10);
--wait:#b9c0c9;--lost:#c02626;--dead:#8a5a32;--rate:#9db7e0}
@media(prefers-color-scheme:dark){:root{
--bg:#14171b;--card:#1c2026;--ink:#e7eaee;--soft:#a3adb9;--faint:#76818e;--line:#2e343c;--grid:#262b32;
--ok:#5ccb8b;--ok-bg:#16301f;--bad:#ff7a70;--bad-bg:#3a1b1b;--warn:#f0bd5b;--warn-bg:#352a12;
--leader:#5b96ff;--follower:#37475f;--candidate:#e8a33d;--silent:#0b0d10;--odd:#d670c0;
--fault:#ff7a70;--fault-bg:rgba(255,122,112,.13);--client-fault:#b094ee;--client-fault-bg:rgba(176,148,238,.12);
--wait:#4a535f;--lost:#ff7a70;--dead:#c99a6b;--rate:#3d5b8c}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1500px;margin:0 auto;padding:28px 28px 60px}
h1{font-size:24px;margin:0;letter-spacing:-.01em}h2{font-size:16px;margin:34px 0 12px}h3{font-size:14px;margin:0 0 6px}
code,.mono{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.banner{display:flex;gap:18px;align-items:center;flex-wrap:wrap}
.stamp{font-weight:700;letter-spacing:.06em;padding:6px 14px;border-radius:8px}
.stamp.pass{color:var(--ok);background:var(--ok-bg)}.stamp.fail{color:var(--bad);background:var(--bad-bg)}.stamp.undecided{color:var(--warn);background:var(--warn-bg)}
.command{margin:14px 0 0;padding:9px 14px;background:var(--card);border:1px solid var(--line);border-radius:8px;display:flex;gap:14px;align-items:center;overflow:auto}
.command button{margin-left:auto}
.numbers{display:flex;gap:28px;flex-wrap:wrap;margin:18px 0 0;padding:0;list-style:none}
.numbers b{display:block;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}.numbers span{color:var(--soft)}
.verdicts{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:10px}
.verdict{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--ok);border-radius:8px;padding:10px 14px}
.verdict.fail{border-left-color:var(--bad)}.verdict.undecided{border-left-color:var(--warn)}.verdict.nothing{border-left-color:var(--line)}
.verdict h3{display:flex;gap:8px;align-items:baseline}.verdict p{margin:0;color:var(--soft)}
.verdict .mark{font-weight:700;color:var(--ok)}.verdict.fail .mark{color:var(--bad)}.verdict.undecided .mark{color:var(--warn)}.verdict.nothing .mark{color:var(--faint)}
.failure{background:var(--card);border:1px solid var(--bad);border-radius:10px;padding:16px 18px;margin:0 0 14px}
.failure p.what{margin:0 0 10px;font-weight:600}.failure ol{margin:12px 0 0;padding-left:22px;color:var(--soft)}
svg.window{width:100%;height:auto;display:block;font:12px ui-monospace,Menlo,Consolas,monospace}
svg .grid{stroke:var(--grid)}svg .base{stroke:var(--line)}svg text{fill:var(--soft)}svg .tick{text-anchor:middle;fill:var(--faint)}
svg .owner{text-anchor:end;fill:var(--ink);font-weight:600}svg .hold{fill:var(--leader);opacity:.85}svg .hold.open{fill:var(--bad)}
svg .token{fill:#fff;font-weight:600}svg .call{stroke:var(--faint);stroke-width:2;fill:none}svg .call.fail,svg .call.unknown{stroke-dasharray:4 3}
svg .release{stroke:var(--ok);stroke-width:1.5;fill:none}svg .release.unknown{stroke-dasharray:3 3}svg .expire{stroke:var(--warn);stroke-width:2;stroke-dasharray:4 3;fill:none}
svg .told{stroke:var(--bad);stroke-width:2}svg .look{fill:var(--card);stroke:var(--ink);stroke-width:1.5}svg .read{fill:var(--candidate)}
.toolbar{display:flex;gap:8px;flex-wrap:wrap;align-items:center;margin:0 0 10px}
button{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:7px;padding:4px 11px;cursor:pointer}
button:hover{border-color:var(--faint)}button[aria-pressed=true]{border-color:var(--leader);color:var(--leader)}button:focus-visible{outline:2px solid var(--leader);outline-offset:1px}
.hint{color:var(--soft);margin:0 0 10px}
.legend{display:flex;gap:14px;flex-wrap:wrap;color:var(--soft);margin-left:auto}.legend i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:5px;vertical-align:-1px}
.chart{position:relative;background:var(--card);border:1px solid var(--line);border-radius:10px;overflow:hidden}
canvas{display:block;width:100%;touch-action:none;cursor:grab}canvas:active{cursor:grabbing}canvas:focus-visible{outline:2px solid var(--leader);outline-offset:-2px}
#tip{position:absolute;pointer-events:none;max-width:420px;background:var(--ink);color:var(--bg);padding:7px 10px;border-radius:7px;font-size:12.5px;line-height:1.45;opacity:0;transition:opacity .1s;z-index:2;white-space:pre-line}
table{border-collapse:collapse;width:100%;background:var(--card);border:1px solid var(--line);border-radius:10px;overflow:hidden}
th,td{text-align:left;padding:6px 12px;border-top:1px solid var(--line);vertical-align:top}thead th{border-top:0;color:var(--soft);font-weight:500}
td.n{font-variant-numeric:tabular-nums;white-space:nowrap}tr.miss td{color:var(--warn)}tbody tr.jump{cursor:pointer}tbody tr.jump:hover td{background:var(--grid)}
details{margin-top:10px}summary{cursor:pointer;color:var(--soft)}
@media print{.toolbar,.command button{display:none}}
`;
