<%def name="title()">Console</%def>\
<%def name="head()"></%def>\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${self.title()} · Qiskit Runtime Server</title>
<link rel="icon" href="${page.url('static', 'icon.svg')}">
<link rel="stylesheet" href="${page.url('static', 'console.css', v=page.version)}">
<script src="${page.url('static', 'console.js', v=page.version)}" defer></script>
${self.head()}\
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<a class="brand" href="${page.url('jobs')}">Qiskit Runtime Server</a>
% if page.who is not None:
<nav aria-label="Console">
<ul>
% for path, label in page.links():
<li><a href="${page.url(path)}"${' aria-current=page' if page.here.split('/')[1] == path else ''}>${label}</a></li>
% endfor
</ul>
</nav>
<form class="who" method="post" action="${page.url('sign-out')}">
<input type="hidden" name="csrf" value="${page.csrf}">
<span>${page.who["account"]}${'' if page.who["role"] == "user" else ', ' + page.who["role"]}</span>
<button class="plain">Sign out</button>
</form>
% endif
</header>
<main id="main">
${next.body()}
</main>
<footer><p>\
% if page.who is not None:
Times are in UTC. An executor runs one job in each of its slots; slot time is how long a job had one. \
% endif
Version ${page.version}.</p></footer>
</body>
</html>
