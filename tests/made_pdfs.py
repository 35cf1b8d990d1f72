"""PDFs that tests draw: ordinary pages, and each way in which a text can be on a page and not be seen."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

from PIL import Image
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

Draw = Callable[[Canvas], None]
SECRET = "HIDDEN-VALUE-42"
VISIBLE_LINES = 12
LINE = "an ordinary line that everybody can read"


def made_pdf(*pages: Draw, size: tuple[float, float] = A4, title: str = "", author: str = "") -> bytes:
    """A PDF with a page for each drawing."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=size, invariant=True)
    if title:
        canvas.setTitle(title)
    if author:
        canvas.setAuthor(author)
    for draw in pages:
        canvas.setFont("Helvetica", 11)
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def ordinary_page(canvas: Canvas) -> None:
    """Lines of text, as most pages have them."""
    canvas.setFont("Helvetica", 11)
    canvas.setFillColor(colors.black)
    for index in range(VISIBLE_LINES):
        canvas.drawString(60, 780 - 16 * index, f"{index + 1}. {LINE}")


def beside_ordinary_text(draw: Draw) -> bytes:
    """A PDF of one page with ordinary text and something else."""

    def page(canvas: Canvas) -> None:
        ordinary_page(canvas)
        canvas.saveState()
        draw(canvas)
        canvas.restoreState()

    return made_pdf(page)


def picture(color: tuple[int, int, int] = (255, 255, 255), size: tuple[int, int] = (50, 50)) -> ImageReader:
    """A picture of one colour."""
    return ImageReader(Image.new("RGB", size, color))


def noisy_picture(size: tuple[int, int] = (300, 400)) -> ImageReader:
    """A picture of dots, like a photograph."""
    return ImageReader(Image.effect_noise(size, 80).convert("RGB"))


def scanned_page(canvas: Canvas) -> None:
    """A page that is one picture."""
    canvas.drawImage(noisy_picture(), 0, 0, *A4)


def lines_page(lines: Sequence[tuple[float, float, str]]) -> Draw:
    """A page with texts at given places."""

    def draw(canvas: Canvas) -> None:
        for x, y, text in lines:
            canvas.drawString(x, y, text)

    return draw


# ------------------------------------------------------------------------------------------------ not seen


def _white_on_white(canvas: Canvas) -> None:
    canvas.setFillColor(colors.white)
    canvas.drawString(60, 300, SECRET)


def _nearly_white_on_white(canvas: Canvas) -> None:
    canvas.setFillColorRGB(0.99, 0.99, 0.985)
    canvas.drawString(60, 300, SECRET)


def _white_of_four_inks(canvas: Canvas) -> None:
    canvas.setFillColorCMYK(0, 0, 0, 0)
    canvas.drawString(60, 300, SECRET)


def _white_behind_a_visible_row(canvas: Canvas) -> None:
    canvas.drawString(60, 300, "Total 5.00")
    canvas.setFillColor(colors.white)
    canvas.drawString(160, 300, SECRET)


def _red_on_red(canvas: Canvas) -> None:
    canvas.setFillColor(colors.red)
    canvas.rect(50, 290, 300, 40, fill=1, stroke=0)
    canvas.drawString(60, 300, SECRET)


def _gray_on_a_gray_picture(canvas: Canvas) -> None:
    canvas.drawImage(picture((90, 90, 90)), 50, 290, 300, 40)
    canvas.setFillColorRGB(90 / 255, 90 / 255, 90 / 255)
    canvas.drawString(60, 300, SECRET)


def _behind_a_picture(canvas: Canvas) -> None:
    canvas.drawString(60, 300, SECRET)
    canvas.drawImage(picture(), 50, 290, 300, 40)


def _behind_a_shape(canvas: Canvas) -> None:
    canvas.drawString(60, 300, SECRET)
    canvas.setFillColor(colors.white)
    canvas.rect(50, 290, 300, 40, fill=1, stroke=0)


def _behind_a_form(canvas: Canvas) -> None:
    canvas.drawString(60, 300, SECRET)
    canvas.beginForm("cover")
    canvas.setFillColor(colors.white)
    canvas.rect(50, 290, 300, 40, fill=1, stroke=0)
    canvas.endForm()
    canvas.doForm("cover")


def _white_in_a_form(canvas: Canvas) -> None:
    canvas.beginForm("inside")
    canvas.setFillColor(colors.white)
    canvas.drawString(60, 300, SECRET)
    canvas.endForm()
    canvas.doForm("inside")


def _in_render_mode(mode: int) -> Draw:
    def draw(canvas: Canvas) -> None:
        canvas.setStrokeColor(colors.white)
        text = canvas.beginText(60, 300)
        text.setTextRenderMode(mode)
        text.textOut(SECRET)
        canvas.drawText(text)

    return draw


def _of_one_point(canvas: Canvas) -> None:
    canvas.setFont("Helvetica", 1)
    canvas.drawString(60, 300, SECRET)


def _scaled_down(canvas: Canvas) -> None:
    canvas.translate(60, 300)
    canvas.scale(0.05, 0.05)
    canvas.drawString(0, 0, SECRET)


def _squeezed(canvas: Canvas) -> None:
    text = canvas.beginText(60, 300)
    text.setHorizScale(1)
    text.textOut(SECRET)
    canvas.drawText(text)


def _left_of_the_page(canvas: Canvas) -> None:
    canvas.drawString(-400, 300, SECRET)


def _above_the_page(canvas: Canvas) -> None:
    canvas.drawString(60, 900, SECRET)


def _outside_the_crop_box(canvas: Canvas) -> None:
    canvas.setCropBox((0, 400, A4[0], A4[1]))
    canvas.drawString(60, 300, SECRET)


def _with_opacity(alpha: float) -> Draw:
    def draw(canvas: Canvas) -> None:
        canvas.setFillAlpha(alpha)
        canvas.drawString(60, 300, SECRET)

    return draw


def _clipped(canvas: Canvas) -> None:
    path = canvas.beginPath()
    path.rect(300, 600, 5, 5)
    canvas.clipPath(path, stroke=0, fill=0)
    canvas.drawString(60, 300, SECRET)


UNSEEN: dict[str, tuple[Draw, str]] = {
    "white on white": (_white_on_white, "white on white"),
    "nearly white": (_nearly_white_on_white, "white on white"),
    "white of four inks": (_white_of_four_inks, "white on white"),
    "white beside a visible text": (_white_behind_a_visible_row, "white on white"),
    "white in a form": (_white_in_a_form, "white on white"),
    "white outlines": (_in_render_mode(1), "white on white"),
    "red on red": (_red_on_red, "in the colour of its background"),
    "gray on a gray picture": (_gray_on_a_gray_picture, "in the colour of its background"),
    "only a clip": (_in_render_mode(7), "in the colour of its background"),
    "behind a picture": (_behind_a_picture, "behind a picture"),
    "behind a shape": (_behind_a_shape, "behind a shape"),
    "behind a form": (_behind_a_form, "behind a shape"),
    "render mode 3": (_in_render_mode(3), "painted by the invisible render mode"),
    "one point": (_of_one_point, "too small to be read"),
    "scaled down": (_scaled_down, "too small to be read"),
    "squeezed": (_squeezed, "too small to be read"),
    "left of the page": (_left_of_the_page, "off the page"),
    "above the page": (_above_the_page, "off the page"),
    "outside the crop box": (_outside_the_crop_box, "off the page"),
    "no opacity": (_with_opacity(0), "transparent"),
    "next to no opacity": (_with_opacity(0.01), "transparent"),
    "clipped": (_clipped, "clipped away"),
}
"""By name: what draws `SECRET` so that nobody sees it, and how that is called."""


# ------------------------------------------------------------------------------------------------ seen


def _white_on_blue(canvas: Canvas) -> None:
    canvas.setFillColorRGB(0, 0, 0.5)
    canvas.rect(50, 290, 400, 24, fill=1, stroke=0)
    canvas.setFillColor(colors.white)
    canvas.drawString(60, 297, SECRET)


def _watermark(canvas: Canvas) -> None:
    canvas.translate(300, 400)
    canvas.rotate(45)
    canvas.setFont("Helvetica-Bold", 60)
    canvas.setFillColorRGB(0.9, 0.9, 0.9)
    canvas.drawCentredString(0, 0, SECRET)


def _transparent_watermark(canvas: Canvas) -> None:
    canvas.setFillAlpha(0.12)
    canvas.setFont("Helvetica-Bold", 40)
    canvas.drawString(60, 300, SECRET)


def _highlighted(canvas: Canvas) -> None:
    canvas.setFillColor(colors.yellow)
    canvas.rect(50, 290, 300, 20, fill=1, stroke=0)
    canvas.setFillColor(colors.black)
    canvas.drawString(60, 297, SECRET)


def _highlighted_afterwards(canvas: Canvas) -> None:
    canvas.drawString(60, 297, SECRET)
    canvas.setFillColor(colors.yellow)
    canvas.setFillAlpha(0.4)
    canvas.rect(50, 290, 300, 20, fill=1, stroke=0)


def _on_a_letterhead(canvas: Canvas) -> None:
    canvas.drawImage(picture((240, 245, 250)), 0, 0, *A4)
    ordinary_page(canvas)
    canvas.drawString(60, 300, SECRET)


def _white_on_a_photograph(canvas: Canvas) -> None:
    canvas.drawImage(noisy_picture(), 50, 290, 300, 60)
    canvas.setFillColor(colors.white)
    canvas.drawString(60, 300, SECRET)


def _in_a_form(canvas: Canvas) -> None:
    canvas.beginForm("logo")
    canvas.setFillColor(colors.darkgreen)
    canvas.drawString(60, 300, SECRET)
    canvas.endForm()
    canvas.doForm("logo")


def _light_small_print(canvas: Canvas) -> None:
    canvas.setFont("Helvetica", 4)
    canvas.setFillColorRGB(0.7, 0.7, 0.7)
    canvas.drawString(60, 300, SECRET)


def _with_a_shadow(canvas: Canvas) -> None:
    canvas.setFillColor(colors.white)
    canvas.drawString(61, 299, SECRET)
    canvas.setFillColor(colors.black)
    canvas.drawString(60, 300, SECRET)


def _inside_its_clip(canvas: Canvas) -> None:
    path = canvas.beginPath()
    path.rect(50, 290, 300, 30)
    canvas.clipPath(path, stroke=0, fill=0)
    canvas.drawString(60, 300, SECRET)


SEEN: dict[str, Draw] = {
    "white on blue": _white_on_blue,
    "a watermark": _watermark,
    "a transparent watermark": _transparent_watermark,
    "highlighted": _highlighted,
    "highlighted afterwards": _highlighted_afterwards,
    "on a letterhead": _on_a_letterhead,
    "white on a photograph": _white_on_a_photograph,
    "in a form": _in_a_form,
    "light small print": _light_small_print,
    "with a shadow": _with_a_shadow,
    "inside its clip": _inside_its_clip,
}
"""By name: what draws `SECRET` in a way that looks like hiding it and is not."""
