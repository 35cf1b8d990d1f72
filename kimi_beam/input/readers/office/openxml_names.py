"""The names of elements and attributes of WordprocessingML and DrawingML that are read, in their namespaces."""

from __future__ import annotations

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
DGM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
V = "{urn:schemas-microsoft-com:vml}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
W14 = "{http://schemas.microsoft.com/office/word/2010/wordml}"
WP = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}"
WPS = "{http://schemas.microsoft.com/office/word/2010/wordprocessingShape}"

VAL, ILVL = f"{W}val", f"{W}ilvl"
ABSTRACT_NUM, ABSTRACT_NUM_ID, LVL, LVL_OVERRIDE = f"{W}abstractNum", f"{W}abstractNumId", f"{W}lvl", f"{W}lvlOverride"
LVL_TEXT, NUM, NUM_FMT, NUM_ID, NUM_PR = f"{W}lvlText", f"{W}num", f"{W}numFmt", f"{W}numId", f"{W}numPr"
NUM_STYLE_LINK, P_STYLE, START, START_OVERRIDE = f"{W}numStyleLink", f"{W}pStyle", f"{W}start", f"{W}startOverride"
P, R_, T, TBL, TR, TC, SDT, SECT_PR = f"{W}p", f"{W}r", f"{W}t", f"{W}tbl", f"{W}tr", f"{W}tc", f"{W}sdt", f"{W}sectPr"
P_PR, R_PR, T_PR, TR_PR, TC_PR = f"{W}pPr", f"{W}rPr", f"{W}tblPr", f"{W}trPr", f"{W}tcPr"
SHD, FILL, COLOR, SZ, VANISH, HIGHLIGHT = f"{W}shd", f"{W}fill", f"{W}color", f"{W}sz", f"{W}vanish", f"{W}highlight"
R_STYLE, OUTLINE, BASED_ON, STYLE = f"{W}rStyle", f"{W}outlineLvl", f"{W}basedOn", f"{W}style"
ALTERNATE, CHOICE, FALLBACK = f"{MC}AlternateContent", f"{MC}Choice", f"{MC}Fallback"
GRAPHICS = {f"{C}chart": f"{R}id", f"{DGM}relIds": f"{R}dm"}
"""Charts and diagrams, with the attribute that names the part of their data."""
BLIP, IMAGE_DATA, TEXT_BOX = f"{A}blip", f"{V}imagedata", f"{W}txbxContent"
