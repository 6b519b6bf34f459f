<%inherit file="base.mako"/>\
<%def name="title()">${name}</%def>
<h1>${name}</h1>
<p class="summary"><span class="state ${'online' if now['state'] and now['status'] == 'active' else ''}">\
${"online" if now["status"] == "active" else "paused"}</span> <span>${now["message"]}</span></p>
<dl class="facts">
<div><dt>Qubits</dt><dd>${configuration["n_qubits"]}</dd></div>
<div><dt>Basis gates</dt><dd>${", ".join(configuration["basis_gates"])}</dd></div>
<div><dt>Queued jobs of its executor</dt><dd>${now["length_queue"]}</dd></div>
<div><dt>Most shots of a job</dt><dd>${f'{configuration["max_shots"]:,}'}</dd></div>
% if properties:
<div><dt>Calibrated</dt><dd>${words.moment(properties["last_update_date"])}</dd></div>
% endif
</dl>
<h2>Coupling map</h2>
% if drawn is None:
<p>${"Every qubit is coupled with every other one" if not configuration.get("coupling_map") else "It has too many qubits to be drawn"}.</p>
% else:
% if drawn.bounds:
<p class="quiet" id="key">Colours are errors of two-qubit gates:</p>
<ul class="key" aria-labelledby="key">
% for colour, (least, most) in drawn.bounds.items():
<li><svg class="map" viewBox="0 0 30 8" aria-hidden="true"><line class="e${colour}" x1="4" y1="4" x2="26" y2="4"/></svg>${words.number(least)}${"" if least == most else " to " + words.number(most)}</li>
% endfor
% if any(coupling.broken for coupling in drawn.couplings):
<li><svg class="map" viewBox="0 0 30 8" aria-hidden="true"><line class="broken" x1="4" y1="4" x2="26" y2="4"/></svg>1: broken</li>
% endif
</ul>
% endif
<div class="wide" role="region" aria-label="Coupling map" tabindex="0">
<svg class="map" width="${round(1.8 * drawn.width)}" height="${round(1.8 * drawn.height)}" viewBox="0 0 ${round(drawn.width)} ${round(drawn.height)}" role="img" aria-label="Map of ${len(drawn.qubits)} qubits and ${len(drawn.couplings)} couplings; the tables below have the numbers">
% for coupling in drawn.couplings:
<line class="${'broken' if coupling.broken else 'none' if coupling.colour is None else f'e{coupling.colour}'}" x1="${round(coupling.one.x, 1)}" y1="${round(coupling.one.y, 1)}" x2="${round(coupling.other.x, 1)}" y2="${round(coupling.other.y, 1)}"><title>${coupling.one.number}–${coupling.other.number}: ${f"{coupling.gate} error {words.number(coupling.error)}" if coupling.error is not None else "no error known"}</title></line>
% endfor
% for qubit in drawn.qubits:
<circle cx="${round(qubit.x, 1)}" cy="${round(qubit.y, 1)}" r="8.5"/><text${' class=long' if qubit.number > 99 else ''} x="${round(qubit.x, 1)}" y="${round(qubit.y, 1)}">${qubit.number}</text>
% endfor
</svg>
</div>
% endif
% if qubits:
<h2>Qubits</h2>
<div class="wide" role="region" aria-label="Calibration of qubits" tabindex="0">
<table>
<thead><tr><th scope="col" class="number">Qubit</th>
% for column in columns:
<th scope="col" class="number">${column}${" [" + {"us": "µs"}.get(qubits[0][column]["unit"], qubits[0][column]["unit"]) + "]" if qubits[0].get(column, {}).get("unit") else ""}</th>
% endfor
<th scope="col">Errors of its gates</th></tr></thead>
<tbody>
% for number, qubit in enumerate(qubits):
<tr><th scope="row" class="number">${number}</th>
% for column in columns:
<td class="number">${words.number(qubit[column]["value"] if column in qubit else None)}</td>
% endfor
<td>${", ".join(f"{gate} {words.number(error)}" for gate, error in one_qubit_errors.get(number, {}).items())}</td></tr>
% endfor
</tbody>
</table>
</div>
% endif
% if pairs:
<h2>Two-qubit gates</h2>
<div class="wide" role="region" aria-label="Calibration of two-qubit gates" tabindex="0">
<table>
<thead><tr><th scope="col">Qubits</th><th scope="col">Gate</th><th scope="col" class="number">Error</th></tr></thead>
<tbody>
% for (one, other), gate, error in pairs:
<tr><th scope="row">${one}, ${other}</th><td>${gate}</td><td class="number">${words.number(error)}</td></tr>
% endfor
</tbody>
</table>
</div>
% endif
