"""What is read of mails: those of the internet, made by the standard library or by hand, and Outlook's."""

from __future__ import annotations

import datetime
import io
from email.message import EmailMessage

import pytest
from outlook_mails import OutlookAttachment, OutlookMail
from PIL import Image

from kimi_beam.input.readers.content import DEFAULT_OPTIONS, Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.mail import mail

HEAD = b"From: a@x.example\nSubject: Hello\n"


def read(content: bytes | EmailMessage | OutlookMail, options: ReadOptions = DEFAULT_OPTIONS) -> Content:
    if isinstance(content, OutlookMail):
        content = content.write()
    return mail.read(content if isinstance(content, bytes) else content.as_bytes(), options)


def message(plain: str = "", html: str = "") -> EmailMessage:
    made = EmailMessage()
    made["Subject"] = "Rechnung für März"
    made["From"] = "Jörg Büro <j@x.example>"
    made["To"] = "b@x.example, c@x.example"
    made["Date"] = "Tue, 01 Dec 2026 10:00:00 +0100"
    if plain:
        made.set_content(plain)
    if html:
        made.add_alternative(html, subtype="html") if plain else made.set_content(html, subtype="html")
    return made


def picture(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()


def body_of(found: Content) -> str:
    return found.pages[0].text.partition("\n\n")[2]


def test_the_headers_stand_above_the_text_and_in_the_metadata() -> None:
    made = message("Total: 24.80 EUR\n\nBest\n")
    made["Cc"] = "d@x.example"
    found = read(made)
    assert found.pages[0].text == (
        "From: Jörg Büro <j@x.example>\nTo: b@x.example, c@x.example\nCc: d@x.example\n"
        "Date: Tue, 01 Dec 2026 10:00:00 +0100\nSubject: Rechnung für März\n\nTotal: 24.80 EUR\n\nBest"
    )
    assert found.metadata == {
        "subject": "Rechnung für März",
        "from": "Jörg Büro <j@x.example>",
        "date": "2026-12-01T10:00:00+01:00",
    }


def test_of_two_forms_of_a_body_the_one_that_says_more_or_has_the_table_is_read() -> None:
    same = message("Dear Ann,\nthe total is 5.", "<p>Dear <b>Ann</b>, the total is 5.")
    assert body_of(read(same)) == "Dear Ann,\nthe total is 5."
    poor = message("Your program cannot show this mail.", "<p>The total is 24.80 EUR.</p>")
    assert body_of(read(poor)) == "The total is 24.80 EUR."
    table = message("Lamp 2 19.80", "<table><tr><td>Lamp<td>2<td>19.80</table>")
    assert body_of(read(table)) == "Lamp | 2 | 19.80"
    forged = message("The total is 1.00 EUR.", "<p>The total is 24.80 EUR.</p>")
    assert body_of(read(forged)) == "The total is 24.80 EUR."
    assert body_of(read(message("text", "<img src=cid:x>"))) == "text"


def test_what_the_html_hides_is_hidden_text_of_the_mail() -> None:
    for plain in ("", "Dear Ann, the total is 5."):
        found = read(message(plain, '<p style="display:none">SECRET</p><p>Dear Ann, the total is 5.</p>'))
        assert body_of(found) == "Dear Ann, the total is 5."
        assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [("SECRET", "display: none")]


def test_attachments_are_given_with_their_names_and_signatures_are_not() -> None:
    made = message("see")
    made.add_attachment(b"%PDF-1", maintype="application", subtype="pdf", filename="Rechnung März.pdf")
    made.add_attachment("a,b\n", subtype="csv", filename="../../etc/list.csv")
    made.add_attachment(b"x", maintype="application", subtype="pdf")
    made.add_attachment(b"sig", maintype="application", subtype="pkcs7-signature", filename="smime.p7s")
    made.add_attachment("in a text file", filename="note.txt")
    assert [(attachment.name, attachment.content) for attachment in read(made).attachments] == [
        ("Rechnung März.pdf", b"%PDF-1"),
        ("list.csv", b"a,b\n"),
        ("attachment.pdf", b"x"),
        ("note.txt", b"in a text file\n"),
    ]
    assert body_of(read(made)) == "see"


def test_an_attached_mail_is_an_attachment_that_can_be_read_again() -> None:
    made = message("outer")
    made.add_attachment(message("inner"))
    [attached] = read(made).attachments
    assert attached.name == "Rechnung für März.eml"
    assert body_of(read(attached.content)) == "inner"


def test_a_logo_in_the_text_is_no_attachment_and_a_scan_in_it_is() -> None:
    made = message(html="<p>hello<img src=cid:logo><img src=cid:scan></p>")
    for name, size in (("logo", (200, 60)), ("scan", (900, 1200))):
        made.add_related(picture(*size), "image", "png", cid=f"<{name}>", filename=f"{name}.png")
    assert [attachment.name for attachment in read(made).attachments] == ["scan.png"]
    made.add_attachment(picture(9, 9), maintype="image", subtype="png", filename="attached.png")
    assert [attachment.name for attachment in read(made).attachments] == ["scan.png", "attached.png"]


@pytest.mark.parametrize("named", [b"", b"; charset=utf-8; method=REQUEST"])
def test_an_invitation_that_is_all_of_a_mail_is_its_text(named: bytes) -> None:
    found = read(HEAD + b"Content-Type: text/calendar" + named + b"\n\nBEGIN:VCALENDAR\nSUMMARY:Audit at noon\n")
    assert "SUMMARY:Audit at noon" in found.pages[0].text
    assert not found.attachments


def test_an_invitation_beside_a_text_that_says_the_same_is_left_out() -> None:
    made = message("Audit at noon", "<p>Audit at noon</p>")
    made.add_alternative("BEGIN:VCALENDAR\nSUMMARY:Audit at noon\n", subtype="calendar")
    found = read(made)
    assert body_of(found) == "Audit at noon"
    assert not found.attachments


@pytest.mark.parametrize(
    ("headers", "body", "options"),
    [
        (b"Content-Type: text/plain; charset=iso-8859-1", "Müller 5 €".encode("cp1252"), DEFAULT_OPTIONS),
        (b"Content-Type: text/plain; charset=nonsense", "Müller 5 €".encode(), DEFAULT_OPTIONS),
        (b"Content-Type: text/plain; charset=us-ascii", "Müller 5 €".encode(), DEFAULT_OPTIONS),
        (b"Content-Type: text/plain; charset=us-ascii", "Müller 5 €".encode("cp1252"), DEFAULT_OPTIONS),
        (b"Content-Type: text/plain; charset=utf-8", "Müller 5 €".encode("cp1252"), DEFAULT_OPTIONS),
        (b"X: y", "Müller 5 €".encode("cp1252"), DEFAULT_OPTIONS),
        (b"X: y", "Müller 5 €".encode(), DEFAULT_OPTIONS),
        (b"X: y", "Müller 5 €".encode("iso8859-15"), ReadOptions(encoding="iso8859-15")),
        (b"Content-Transfer-Encoding: quoted-printable", b"M=C3=BCller 5=\n =E2=82=AC", DEFAULT_OPTIONS),
        (b"Content-Type: text/plain; charset*=utf-8''utf-8", "Müller 5 €".encode(), DEFAULT_OPTIONS),
        (b"Content-Type: text/plain; charset=utf-8", "Müller\0 5 €".encode(), DEFAULT_OPTIONS),
        (b"Content-Type: text/html", "<meta charset=iso8859-15>Müller 5 €".encode("iso8859-15"), DEFAULT_OPTIONS),
    ],
)
def test_a_text_is_decoded_as_it_says_or_as_it_must_be(headers: bytes, body: bytes, options: ReadOptions) -> None:
    assert body_of(read(HEAD + headers + b"\n\n" + body, options)) == "Müller 5 €"


@pytest.mark.parametrize(
    "subject",
    [
        b"=?utf-8?q?M=C3=BCller_?=\n =?utf-8?b?NSDigqw=?=",
        "Müller 5 €".encode(),
        "Müller 5 €".encode("cp1252"),
        b"=?windows-1252?q?M=FCller_5_=80?=",
    ],
)
def test_a_header_is_decoded_however_it_is_written(subject: bytes) -> None:
    assert read(b"Subject: " + subject + b"\n\nx").metadata["subject"] == "Müller 5 €"


@pytest.mark.parametrize(
    "name",
    [
        b"filename*=utf-8''M%C3%A4rz.pdf",
        b"filename*0*=utf-8''M%C3%A4; filename*1=rz.pdf",
        b'filename="=?utf-8?q?M=C3=A4rz.pdf?="',
        'filename="März.pdf"'.encode(),
    ],
)
def test_the_name_of_an_attachment_is_decoded_however_it_is_written(name: bytes) -> None:
    found = read(HEAD + b"Content-Type: application/pdf\nContent-Disposition: attachment; " + name + b"\n\nx")
    assert [attachment.name for attachment in found.attachments] == ["März.pdf"]


def test_mails_that_cannot_be_read_say_why() -> None:
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level) for level in range(60))
    many = message("x")
    for _ in range(1_001):
        many.add_attachment(b"", maintype="application", subtype="pdf")
    for content, code in (
        (b"", "damaged"),
        (b"just a text\nwithout a header", "damaged"),
        (HEAD + b"Content-Type: application/pkcs7-mime\n\nx", "encrypted"),
        (HEAD + b"Content-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b--", "encrypted"),
        (HEAD + nested, "nested_too_deep"),
        (HEAD + b"Content-Type: message/rfc822\n\n" * 2_000, "nested_too_deep"),
        (many.as_bytes(), "too_many_members"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "damaged"),
    ):
        with pytest.raises(UnreadableError) as failed:
            read(content)
        assert failed.value.code == code, content[:80]


def test_a_mail_of_outlook_is_read_with_its_attachments_and_the_mails_in_it() -> None:
    inner = OutlookMail("Innen", "inner text", attachments=[OutlookAttachment("deep.pdf", b"deep" * 2_000)])
    found = read(
        OutlookMail(
            "Rechnung für März",
            "see",
            b"<table><tr><td>Lamp<td>5<tr><td hidden>SECRET</table>",
            ("Jörg", "j@x.example"),
            [("Ann", "ann@x.example", 1), ("Bob", "", 2)],
            [
                OutlookAttachment("März.pdf", b"%PDF-1", "application/pdf"),
                OutlookAttachment("logo.png", picture(50, 50), "image/png", "logo@x"),
                OutlookAttachment("scan.png", picture(900, 900), "image/png", "scan@x"),
                OutlookAttachment("", inner),
            ],
            datetime.datetime(2026, 12, 1, 9, tzinfo=datetime.timezone.utc),
        )
    )
    assert found.pages[0].text == (
        "From: Jörg <j@x.example>\nTo: Ann <ann@x.example>\nCc: Bob\nDate: Tue, 01 Dec 2026 09:00:00 +0000\n"
        "Subject: Rechnung für März\n\nLamp | 5"
    )
    assert found.metadata["date"] == "2026-12-01T09:00:00+00:00"
    assert [hidden.text for hidden in found.hidden] == ["SECRET"]
    assert [attachment.name for attachment in found.attachments] == ["März.pdf", "scan.png", "Innen.eml"]
    again = read(found.attachments[2].content)
    assert body_of(again) == "inner text"
    assert [(attachment.name, attachment.content) for attachment in again.attachments] == [
        ("deep.pdf", b"deep" * 2_000)
    ]


def test_a_mail_of_outlook_whose_streams_say_they_are_huge_costs_nothing() -> None:
    lying = bytearray(OutlookMail("x", "text", attachments=[OutlookAttachment("a", b"a" * 5_000)]).write())
    at = lying.rindex((5_000).to_bytes(8, "little"))
    lying[at : at + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    with pytest.raises(UnreadableError) as failed:
        read(bytes(lying))
    assert failed.value.code == "damaged"


def test_a_mail_of_outlook_in_rich_text_alone_is_refused_and_not_read_as_empty() -> None:
    with pytest.raises(UnreadableError, match="rich text") as failed:
        read(OutlookMail("x", rich_text=b"LZFu"))
    assert failed.value.code == "reader_failed"
