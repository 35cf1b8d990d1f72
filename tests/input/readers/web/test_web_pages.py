"""What is read of a web page: its lines as a browser shows them, and what is hidden in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.input.readers.content import DEFAULT_OPTIONS, Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.web import web_pages


def read(html: str | bytes, options: ReadOptions = DEFAULT_OPTIONS) -> Content:
    return web_pages.read(html if isinstance(html, bytes) else html.encode(), options)


def text(html: str | bytes) -> str:
    content = read(html)
    assert content.hidden == ()
    [page] = content.pages
    return page.text


def test_blocks_are_lines_and_words_in_a_line_stay_together() -> None:
    html = "<h1>Invoice <b>7</b></h1><p>Total:\n  <i>24</i>.80&nbsp;EUR</p><div>a<div>b</div>c<br>d</div>"
    assert text(html) == "# Invoice 7\n\nTotal: 24.80 EUR\n\na\nb\nc\nd"


def test_a_row_of_a_table_is_one_line_and_values_stay_under_their_heading() -> None:
    html = (
        "<table><thead><tr><th>Item<th>Qty<th>Total</thead>"
        "<tr><td>Desk<br>lamp<td>2<td>19.80<tr><td rowspan=2>Chair<td>1<td>5.00<tr><td>3<td>15.00"
        "<tr><td colspan=2>Sum<td>39.80</table>"
    )
    assert text(html).split("\n") == [
        "Item | Qty | Total",
        "Desk lamp | 2 | 19.80",
        "Chair | 1 | 5.00",
        " | 3 | 15.00",
        "Sum |  | 39.80",
    ]


def test_a_table_that_lays_out_others_keeps_their_rows_apart() -> None:
    inner = "<table><tr><td>Item<td>1.00<tr><td>Other<td>2.00</table>"
    html = f"<table><tr><td>Menu<td><p>Dear Ann</p>{inner}<p>Bye</p></table>"
    assert text(html) == "Menu\nDear Ann\n\nItem | 1.00\nOther | 2.00\n\nBye"


def test_lists_have_their_marks_and_numbers() -> None:
    html = "<ol start=3><li>c<li value=7>g<ul><li>inner</ul><li>h</ol>"
    assert text(html) == "3. c\n7. g\n\n  - inner\n\n8. h"


def test_pictures_show_their_text_and_forms_what_is_filled_in() -> None:
    html = (
        '<p>Logo<img src=x alt="ACME  Ltd">!<input value="Ann"><input type=hidden value="token">'
        "<input type=checkbox checked>yes<select><option>a<option selected>b</select><textarea>long</textarea>"
    )
    assert text(html) == "Logo [image: ACME Ltd] ! Ann [x] yes b long"


def test_scripts_styles_templates_and_comments_are_neither_text_nor_hidden_text() -> None:
    html = (
        "<head><title>The title</title><style>p{margin:0}</style></head><p>a<script>x()</script><!-- no -->"
        "<template>no</template><noscript>no</noscript><iframe>no</iframe><svg><desc>no</desc><text>b</text></svg>"
    )
    assert text(html) == "The title\n\nab"
    assert read(html).metadata == {"title": "The title"}


def test_text_in_pre_keeps_its_columns() -> None:
    assert text("<p>x<pre>\na   1\n b  2\n</pre>y") == "x\n\na   1\n b  2\n\ny"


HIDING = {
    "display: none   ": "<style>body > div .b{display:none}</style><div><p><i class=b>SECRET</i></div>",
    "display: none    ": "<style>p[title]{display:none}</style><p title=x>SECRET</p>",
    "hidden attribute": "<p hidden>SECRET</p>",
    "display: none": '<p style="color:red; display : NONE">SECRET</p>',
    "display: none ": "<style>.a.b, h6 {display:none!important} .b{display:block}</style><p class='b a'>SECRET</p>",
    "display: none  ": "<style>@media screen {#x p {display:none}}</style><div id=x><p>SECRET</p></div>",
    "visibility: hidden": '<div style="visibility:hidden">SECRET</div>',
    "opacity: 0": '<p style="opacity:0.0">SECRET</p>',
    "letters too small to see": '<p style="font-size:1px">SECRET</p>',
    "letters too small to see ": '<p style="font: 0/0 a">SECRET</p>',
    "white on white": '<p style="color:#fff">SECRET</p>',
    "white on white ": "<style>.w{color:rgb(254, 254, 254)}</style><p><font class=w>SECRET</font></p>",
    "white on white  ": '<p><font color="white">SECRET</font></p>',
    "the colour of its background": '<table><tr><td bgcolor="#003366" style="color:#003465">SECRET</table>',
    "transparent letters": '<p style="color:rgba(0,0,0,0)">SECRET</p>',
    "off the page": '<p style="position:absolute;left:-9999px">SECRET</p>',
    "off the page ": '<p style="text-indent:-100em">SECRET</p>',
    "off the page  ": '<p style="transform: translateX(-9999px)">SECRET</p>',
    "off the page   ": '<p style="position:fixed;top:99999px">SECRET</p>',
    "off the page    ": '<p style="position:absolute;right:-9999px">SECRET</p>',
    "opacity: 0 ": '<p style="filter: opacity(0%)">SECRET</p>',
    "transparent letters ": '<p style="-webkit-text-fill-color: transparent">SECRET</p>',
    "clipped away": '<p style="position:absolute;clip:rect(0,0,0,0)">SECRET</p>',
    "clipped away ": '<p style="clip-path: inset(100%)">SECRET</p>',
    "zero size": '<p style="max-height:0;overflow:hidden">SECRET</p>',
    "a dialog that is closed": "<dialog>SECRET</dialog>",
}


@pytest.mark.parametrize("reason", HIDING)
def test_a_text_that_nobody_sees_is_kept_out_of_the_text_with_the_reason(reason: str) -> None:
    content = read(f"<body><p>Before</p>{HIDING[reason]}<p>After</p>")
    assert content.pages[0].text == "Before\n\nAfter"
    assert [(hidden.text, hidden.reason, hidden.page) for hidden in content.hidden] == [("SECRET", reason.strip(), 1)]


SHOWN = {
    "a dark heading": "<style>th{background:#003366;color:white}</style><table><tr><th>SEEN</table>",
    "a dark row": '<table><tr bgcolor="navy"><td><font color="#ffffff">SEEN</font></table>',
    "a picture behind": '<div style="background:url(x.png)"><p style="color:#fff">SEEN</p></div>',
    "a gradient": '<div style="background-image:linear-gradient(red,blue);color:white">SEEN</div>',
    "a style sheet elsewhere": '<link rel="stylesheet" href="x.css"><p class="hero" style="color:#fff">SEEN</p>',
    "placed over something": '<div style="position:absolute;top:9px;color:#fff">SEEN</div>',
    "an element shown again": '<div style="visibility:hidden"><p style="visibility:visible">SEEN</p></div>',
    "letters large again": '<div style="font-size:0"><p style="font-size:14px">SEEN</p></div>',
    "for readers of screens alone": '<p aria-hidden="true">SEEN</p>',
    "hidden in print": "<style>@media print {p{display:none}}</style><p>SEEN</p>",
    "hidden on small screens": "<style>@media (max-width:600px) {p{display:none}}</style><p>SEEN</p>",
    "hidden where the mouse is": "<style>p:hover{display:none} a:hover{color:#fff}</style><p>SEEN</p>",
    "a later rule": "<style>p{display:none} p.x{display:block}</style><p class=x>SEEN</p>",
    "a white link's own blue": '<div style="color:#fff"><a href="x">SEEN</a></div>',
    "a button": "<style>button{color:#fff}</style><button>SEEN</button>",
    "in another place": "<style>div > i, ul .x {display:none}</style><div><b><i class=x>SEEN</i></b></div>",
    "an imported style sheet": '<style>@import "x.css";</style><p class="hero" style="color:#fff">SEEN</p>',
    "a ground on wide screens": "<style>p{color:#fff} @media (min-width:9px) {p{background:#000}}</style><p>SEEN</p>",
    "a ground by a layer": "<style>p{color:#fff} @layer a {p{background:#000}}</style><p>SEEN</p>",
    "a filter": '<p style="filter: opacity(0.5) blur(0)">SEEN</p>',
    "in a corner": '<p style="position:fixed;top:900px;right:-20px">SEEN</p>',
    "a gradient through its letters": '<b style="-webkit-text-fill-color:red;background-clip:text">SEEN</b>',
    "light grey": '<p style="color:#ccc">SEEN</p>',
    "a small indent": '<p style="margin-left:-20px;text-indent:-2em">SEEN</p>',
    "text cut from a gradient": '<h2 style="color:transparent;background-clip:text">SEEN</h2>',
    "a colour from a variable": '<p style="color:#fff;background:var(--dark)">SEEN</p>',
    "rules for a part of it": "<style>tr:nth-child(1) td{background:#222} td{color:#fff}</style><table><td>SEEN",
}


@pytest.mark.parametrize("case", SHOWN)
def test_a_text_that_people_see_is_never_called_hidden(case: str) -> None:
    content = read(SHOWN[case])
    assert content.hidden == ()
    assert "SEEN" in content.pages[0].text


def test_hidden_texts_with_a_shown_one_between_are_two() -> None:
    content = read("<p hidden>a <b>b</b></p><p hidden>c</p><p>shown</p><p hidden>d</p>")
    assert [hidden.text for hidden in content.hidden] == ["a b c", "d"]


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("<meta charset=windows-1251><p>Итого".encode("cp1251"), DEFAULT_OPTIONS),
        ('<meta http-equiv=c content="text/html; charset=utf-8"><p>Итого'.encode(), DEFAULT_OPTIONS),
        ("\ufeff<meta charset=cp1251><p>Итого".encode("utf-8"), DEFAULT_OPTIONS),
        ("<p>Итого".encode("utf-16"), DEFAULT_OPTIONS),
        ("<p>Итого".encode(), ReadOptions(encoding="cp1251")),
        ("<p>Итого".encode("cp1251"), ReadOptions(encoding="cp1251")),
        ("<meta charset=utf-7><p>Итого".encode(), DEFAULT_OPTIONS),
        ("<meta charset=no-such><p>Итого".encode(), DEFAULT_OPTIONS),
    ],
)
def test_the_encoding_is_the_one_that_the_page_says_else_the_users(content: bytes, options: ReadOptions) -> None:
    assert read(content, options).pages[0].text == "Итого"


def test_a_page_that_says_latin_1_is_read_as_browsers_read_it() -> None:
    assert read("<meta charset=iso-8859-1><p>10 € “ok”".encode("cp1252")).pages[0].text == "10 € “ok”"


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UnreadableError) as failed:
        read(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    assert failed.value.code == "not_text"


def test_a_page_nested_ten_thousand_times_is_read() -> None:
    assert text("<div>" * 10_000 + "deep") == "deep"
    assert "deep" in text("<table><tr><td>" * 3_000 + "deep")
    assert len(text("<ul><li>x" * 5_000)) < 300_000


PIECES = ["<p>", "</p>", "<td>", "<tr>", "</table>", "<table>", "<li>", "<ol>", "<pre>", " w ", "</td>", "<b>"]


@given(st.lists(st.sampled_from(PIECES)))
def test_no_word_of_a_malformed_page_is_lost(pieces: list[str]) -> None:
    html = "".join(piece.replace("w", f"w{n}w") for n, piece in enumerate(pieces))
    words = [f"w{n}w" for n, piece in enumerate(pieces) if "w" in piece]
    assert sorted(word for word in text(html).split() if "w" in word) == sorted(words)


def test_the_mark_of_an_item_is_on_the_line_of_what_it_holds() -> None:
    """Word and LibreOffice put a paragraph into each item."""
    html = (
        "<ul><li>\n <p>one</p></li><li><div>two</div> more</li><li></li><li><b>three</b><p>below</p></li></ul>"
        "<ol start=4><li><h3>four</h3></li><li><ul><li><p>inner</p></li></ul></li>"
        "<li><table><tr><td>a<td>b</table></li></ol>"
    )
    lines = [line for line in read(html.encode()).pages[0].text.split("\n") if line]
    assert lines == [
        "- one", "- two", "more", "-", "- three", "below", "4. ### four", "5.", "  - inner", "6.", "a | b",
    ]  # fmt: skip
