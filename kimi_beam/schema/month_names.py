"""The names of the months, and their usual abbreviations, in languages that do not contradict each other."""

from __future__ import annotations

# English, German, French, Spanish, Italian, Dutch, Portuguese, Scandinavian and Polish, month by month
_NAMES = (
    "january jan januar jän jänner janvier janv enero ene gennaio gen januari janeiro styczeń stycznia",
    "february feb februar februari février févr fév febrero febbraio fevereiro fev luty lutego",
    "march mar märz mär mrz mars marzo maart mrt março marzec marca",
    "april apr avril avr abril abr aprile kwiecień kwietnia",
    "may mai mayo maggio mag mei maio maj maja",
    "june jun juni juin junio giugno giu junho czerwiec czerwca",
    "july jul juli juillet juil julio luglio lug julho lipiec lipca",
    "august aug août aou agosto ago augustus augusti sierpień sierpnia",
    "september sep sept septembre septiembre settembre set setembro wrzesień września",
    "october oct oktober okt octobre octubre ottobre ott outubro out październik października",
    "november nov novembre noviembre novembro",  # Polish listopad is Croatian October
    "december dec dezember dez décembre déc diciembre dic dicembre desember dezembro grudzień grudnia",
)
MONTHS = {name: number for number, names in enumerate(_NAMES, 1) for name in names.split()}
"""The number of the month, from 1, by its name in lower case."""
