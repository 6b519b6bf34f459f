<%inherit file="base.mako"/>\
<%namespace name="parts" file="parts.mako"/>\
<%def name="title()">Circuits of ${job_id}</%def>\
<%def name="head()">
% if refusal and refusal.status == 503:
${parts.refresh(5)}
% endif
</%def>
<h1><a href="${page.url('jobs', job_id)}">Job <span class="id">${job_id}</span></a></h1>
<h2>Circuits</h2>
<div id="loaded"${' data-again=5' if refusal and refusal.status == 503 else ''}>
% if refusal:
<p class="quiet">${refusal.message}</p>
% else:
% for number, circuit in enumerate(drawings["circuits"]):
<h3 id="circuit-${number}">${circuit["name"]}</h3>
<p class="quiet">${circuit["num_qubits"]} qubits, ${circuit["used_qubits"]} of them used; ${circuit["num_clbits"]} bits; depth ${circuit["depth"]}; \
${", ".join(f"{count} {name}" for name, count in circuit["operations"]) or "no operations"}.</p>
% if circuit["left_out"]:
<p>${circuit["left_out"]}</p>
% else:
<pre class="drawing" tabindex="0" role="region" aria-labelledby="circuit-${number}">${circuit["text"]}</pre>
% endif
% endfor
% if not drawings["circuits"]:
<p class="quiet">No circuit of this program is drawn.</p>
% endif
% if drawings["more"]:
<p class="quiet">${drawings["more"]} more are not drawn.</p>
% endif
<h3 id="options">Options</h3>
<pre class="log" tabindex="0" role="region" aria-labelledby="options">${drawings["options"]}</pre>
% endif
</div>
