<%inherit file="base.mako"/>\
<%def name="title()">Devices</%def>
<h1>Devices</h1>
<form method="get" action="${page.url('devices')}" class="filters" role="search" aria-label="Devices">
<label>Name <input name="search" value="${search}" maxlength="256"></label><button>Filter</button>
</form>
% if rows:
<div class="wide" role="region" aria-label="Devices" tabindex="0">
<table>
<thead><tr><th scope="col">Device</th><th scope="col" class="number">Qubits</th><th scope="col">Processor</th>\
<th scope="col">Backends</th></tr></thead>
<tbody>
% for row in rows:
<tr>
<th scope="row">${row["name"]}</th>
<td class="number">${row["of"]["qubits"]}</td>
<td>${" ".join((row["of"].get("processor_type") or {}).get(part, "") for part in ("family", "revision"))}</td>
<td>
% for backend, executor, status in row["backends"]:
<a href="${page.url('devices', backend)}">${backend}</a>\
% if status["name"] != "online":
 <span class="state">${status["name"]}</span>\
% endif

% endfor
</td>
</tr>
% endfor
</tbody>
</table>
</div>
% else:
<p>There are none${" like that" if search else ""}.</p>
% endif
