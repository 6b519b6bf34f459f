<%inherit file="base.mako"/>\
<%def name="title()">Sign in</%def>
<div class="narrow">
<h1>Sign in</h1>
% if problem:
<p class="problem" role="alert">${problem}</p>
% endif
% if provider:
<p><a class="button" href="${page.url('sign-in', 'openid')}">Sign in with ${provider}</a></p>
<p class="quiet">Or with a token:</p>
% endif
<form method="post" action="${page.url('sign-in')}" class="stacked">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
% if anonymous:
<p class="quiet">Any word will do here: each is an account of its own, so use the one that your client has as its token.</p>
% else:
<p class="quiet">The one that your client has. It is traded for a cookie that this browser forgets when it is over.</p>
% endif
<button>Sign in</button>
</form>
</div>
