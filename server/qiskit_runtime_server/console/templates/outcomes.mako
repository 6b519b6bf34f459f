<%inherit file="base.mako"/>\
<%namespace name="parts" file="parts.mako"/>\
<%def name="title()">Outcomes of ${job_id}</%def>\
<%def name="head()">
% if refusal and refusal.status == 503:
${parts.refresh(5)}
% endif
</%def>
<%def name="histogram(chart)">
<svg width="${chart.width}" height="${chart.height}" viewBox="0 0 ${chart.width} ${chart.height}" role="img" aria-label="${chart.title}">
% for bar in chart.bars:
<text class="label" x="${chart.start - 8}" y="${bar.y + 14}" text-anchor="end">${bar.label}</text>
<rect class="bar" x="${chart.start}" y="${bar.y + 3}" width="${bar.width}" height="14" rx="2"/>
<text x="${chart.start + bar.width + 6}" y="${bar.y + 14}">${bar.count} (${bar.share})</text>
% endfor
<line class="axis" x1="${chart.start}" y1="0" x2="${chart.start}" y2="${chart.height}"/>
</svg>
</%def>
<%def name="values(chart)">
<svg width="${chart.width}" height="${chart.height}" viewBox="0 0 ${chart.width} ${chart.height}" role="img" aria-label="${chart.title}">
% for x, label in chart.ticks:
<line class="axis" x1="${x}" y1="0" x2="${x}" y2="${chart.height - 20}" stroke-dasharray="2 4"/><text x="${x}" y="${chart.height - 4}" text-anchor="middle">${label}</text>
% endfor
% for point in chart.points:
<text class="label" x="${chart.start - 8}" y="${point.y + 4}" text-anchor="end">${point.label}</text>
% if point.low is not None:
<line class="error" x1="${point.low}" y1="${point.y}" x2="${point.high}" y2="${point.y}"/><line class="error" x1="${point.low}" y1="${point.y - 4}" x2="${point.low}" y2="${point.y + 4}"/><line class="error" x1="${point.high}" y1="${point.y - 4}" x2="${point.high}" y2="${point.y + 4}"/>
% endif
<circle class="point" cx="${point.x}" cy="${point.y}" r="4"/>
<text x="${chart.end + 12}" y="${point.y + 4}">${point.text}</text>
% endfor
</svg>
</%def>
<%def name="about(what, metadata)">
<details><summary>Metadata of ${what}</summary><pre class="log" tabindex="0" role="region" aria-label="Metadata of ${what}">${metadata}</pre></details>
</%def>
<h1><a href="${page.url('jobs', job_id)}">Job <span class="id">${job_id}</span></a></h1>
<h2>Outcomes</h2>
<div id="loaded"${' data-again=5' if refusal and refusal.status == 503 else ''}>
% if refusal:
<p class="quiet">${refusal.message}</p>
% else:
% for number, pub in enumerate(pubs):
% for counts, chart in pub["histograms"]:
<h3>${kind.capitalize()} ${number}: counts of ${counts["name"]}</h3>
<p class="quiet">${f'{counts["shots"]:,}'} shots, ${counts["distinct"]} outcome${"" if counts["distinct"] == 1 else "s"}\
${f'; {counts["others"]:,} shots had others than those shown' if counts["others"] else ""}\
${f'; the first of {counts["sets"]} ' + ("parameter sets" if kind == "pub" else "elements") if counts["sets"] > 1 else ""}.</p>
<div class="wide chart" role="region" aria-label="Histogram of ${counts['name']}, ${kind} ${number}" tabindex="0">${histogram(chart)}</div>
% endfor
% if pub["values"] is not None:
<h3>Pub ${number}: expectation values</h3>
<p class="quiet">With one standard error to each side\
${f'; {pub["more_values"]} more are not shown' if pub["more_values"] else ""}.</p>
<div class="wide chart" role="region" aria-label="Expectation values of pub ${number}" tabindex="0">${values(pub["values"])}</div>
% endif
% if pub["arrays"]:
<h3>Item ${number}: arrays</h3>
<div class="wide" role="region" aria-label="Arrays of item ${number}" tabindex="0">
<table>
<thead><tr><th scope="col">Name</th><th scope="col">Type</th><th scope="col">Shape</th><th scope="col" class="number">Least</th><th scope="col" class="number">Largest</th></tr></thead>
<tbody>
% for array in pub["arrays"]:
<tr><th scope="row">${array["name"]}</th><td>${array["dtype"]}</td><td>${" × ".join(map(str, array["shape"])) or "one number"}</td>
<td class="number">${words.number(array["least"])}</td><td class="number">${words.number(array["largest"])}</td></tr>
% endfor
</tbody>
</table>
</div>
% endif
% if not (pub["histograms"] or pub["values"] or pub["arrays"]):
<p class="quiet">${kind.capitalize()} ${number} has no outcomes.</p>
% endif
${about(f"{kind} {number}", pub["metadata"])}
% endfor
% for number, layer in enumerate(layers):
<h3>Layer ${number}${": qubits " + ", ".join(map(str, layer["qubits"])) if layer["qubits"] else ""}</h3>
<p class="quiet">${layer["generators"]} generators\
${f', the {len(layer["rates"])} with the largest rates' if layer["generators"] > len(layer["rates"]) else ""}\
${"; qubits are counted within the layer" if not layer["qubits"] else ""}; to cancel all of its errors makes standard errors ${words.number(layer["gamma"])} times as large.</p>
% if layer["chart"] is not None:
<div class="wide chart" role="region" aria-label="Rates of layer ${number}" tabindex="0">${values(layer["chart"])}</div>
% endif
${about(f"layer {number}", layer["metadata"])}
% endfor
% if not pubs and not layers:
<p class="quiet">There is nothing to be shown of results of this program; the result can be fetched as JSON.</p>
% endif
% if more:
<p class="quiet">${more} more ${f"{kind} is" if more == 1 else f"{kind}s are"} not shown.</p>
% endif
${about("the result", metadata)}
% endif
</div>
