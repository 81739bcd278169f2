"""The style sheet of the page, for screens light and dark, and for paper."""

from listener.audit import chart

STYLE = (
    """
:root{color-scheme:light dark;--ground:#fff;--raised:#f6f8fa;--line:#d5dae0;--text:#1c232b;--quiet:#57606a;
--alarm:#a4161f;--alarm-ground:#fdeeee;--calm:#0b6b4d;--calm-ground:#eaf6f1}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:32px 24px 48px;background:var(--ground);color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
h1{font-size:26px;line-height:1.2;margin:0 0 4px}
h2{font-size:17px;margin:36px 0 10px}
p{margin:0 0 8px}.quiet{color:var(--quiet)}
dl{display:grid;gap:12px;margin:24px 0;grid-template-columns:repeat(auto-fit,minmax(165px,1fr))}
dl>div{background:var(--raised);border:1px solid var(--line);border-radius:8px;padding:12px 16px}
dt{color:var(--quiet);font-size:13px}dd{margin:0}
dd.figure{font-size:26px;font-weight:600;line-height:1.25;font-variant-numeric:tabular-nums}
dd.more{font-size:13px;color:var(--quiet)}
ul.asked{display:flex;flex-wrap:wrap;gap:6px;list-style:none;margin:12px 0 0;padding:0}
ul.asked li{border:1px solid var(--line);border-radius:99px;font-size:13px;padding:1px 10px}
.notice{border-left:4px solid;border-radius:4px;margin:12px 0;padding:10px 16px}
.notice strong{display:block}
.alarm-box{background:var(--alarm-ground);border-color:var(--alarm)}.alarm-box strong{color:var(--alarm)}
.calm-box{background:var(--calm-ground);border-color:var(--calm)}.calm-box strong{color:var(--calm)}
figure{margin:0;overflow-x:auto}svg{display:block;height:auto;min-width:640px;width:100%}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;width:100%}
caption{color:var(--quiet);padding-bottom:6px;text-align:left}
table.small{width:auto}table.small th,table.small td{padding-right:32px}
th,td{border-bottom:1px solid var(--line);max-width:24em;overflow-wrap:break-word;padding:5px 14px 5px 0;
text-align:left;vertical-align:top}
th{font-weight:600}thead th{color:var(--quiet);white-space:nowrap}
.n{font-variant-numeric:tabular-nums;text-align:right}
time,.id{white-space:nowrap;font-variant-numeric:tabular-nums}
tr.gap td{color:var(--alarm)}
summary{cursor:pointer;margin:10px 0}
footer{border-top:1px solid var(--line);color:var(--quiet);font-size:13px;margin-top:40px;padding-top:12px}
@media screen and (prefers-color-scheme:dark){:root{--ground:#11161d;--raised:#19202a;--line:#313a45;--text:#e4e9ef;
--quiet:#a3aebb;--alarm:#ff8b91;--alarm-ground:#331a1e;--calm:#5fd3ab;--calm-ground:#12291f}}
@media print{@page{margin:14mm}body{max-width:none;padding:0;font-size:11px}table{font-size:9.5px}
thead{display:table-header-group}tr,dl>div,.notice,figure{break-inside:avoid}.wide,figure{overflow:visible}
svg{min-width:0}.notice{border:1px solid;border-left-width:4px}h2{break-after:avoid}}
"""
    + chart.STYLE
)
"""The only one that the page's content security policy lets in."""
