<%inherit file="base.mako"/>\
<%def name="title()">Signed in</%def>\
<%def name="head()">
<meta http-equiv="refresh" content="0; url=${page.url('jobs')}">
</%def>
<div class="narrow">
<h1>Signed in</h1>
<p><a href="${page.url('jobs')}">Go on to your jobs</a></p>
</div>
