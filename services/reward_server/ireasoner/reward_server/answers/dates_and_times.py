"""Dates and times of day in the forms that have one reading."""

import re
from datetime import date

from ireasoner.reward_server.answers.form import Form, key_of

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sept sep",
            "october oct",
            "november nov",
            "december dec",
        ),
        start=1,
    )
    for name in names.split()
}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
_WEEKDAY = rf"(?:(?P<weekday>{'|'.join(_WEEKDAYS)}|mon|tues?|wed|thu(?:rs?)?|fri|sat|sun)\.?,?\s+)?"
_WITH_MONTH_NAME = (
    re.compile(rf"{_WEEKDAY}(?:the\s+)?{_DAY}\s*(?:of\s+|-)?{_MONTH}(?:\s*[,-]?\s*{_YEAR})?", re.I),
    re.compile(
        rf"{_WEEKDAY}{_MONTH}\s*(?:the\s+)?{_DAY}(?:\s*,\s*{_YEAR}|\s+{_YEAR.replace('year', 'late')})?", re.I
    ),
    re.compile(rf"{_MONTH}\s*,?\s+(?:of\s+)?{_YEAR}", re.I),
    re.compile(rf"{_YEAR}\s+{_MONTH}(?:\s+{_DAY})?", re.I),
)
_YEAR_FIRST = re.compile(rf"{_YEAR}([-/.])(?P<month>\d{{1,2}})\2{_DAY}")
_IN_CHINESE = re.compile(rf"{_YEAR}年(?P<month>\d{{1,2}})月(?:(?P<day>\d{{1,2}})日)?")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})")
_CLOCK = re.compile(
    r"""(?P<hour>\d{1,2})(?:[:.](?P<minute>\d\d)(?::(?P<second>\d\d))?)?\s*(?:o'?clock\s*)?
    (?: (?P<half>[ap])\.?\s?m\.? | in\s+the\s+(?P<part>morning|afternoon|evening) )""",
    re.I | re.X,
)
_DAY_CLOCK = re.compile(
    r"(?P<hour>1[3-9]|2[0-3]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?:\s*(?:h|hrs|hours))?", re.I
)
_NAMED_TIMES = {"noon": 12, "12 noon": 12, "midday": 12, "12:00 noon": 12, "midnight": 0, "12 midnight": 0}


def date_or_time_form(text: str, rules: list[str]) -> Form | None:
    """The form of a date or a time of day; None if `text` is none, or could be several.

    `3 March 2020`, `March 3, 2020` and `2020-03-03` are one date. `03/04/2020` is ambiguous; `13/04/2020` is not, since
    there is no month 13. `3 p.m.` is `15:00`; `3:00` may be in the morning, or a ratio.
    """
    if not (text[:1].isdigit() or text[:1].isalpha()) or len(text) > 48:
        return None
    if (key := _date_key(text)) is not None:
        return Form(key, (*rules, "date"), text.lower())
    if (key := _time_key(text)) is not None:
        return Form(key, (*rules, "time"), text.lower())
    return None


def _time_key(text: str) -> str | None:
    if (named := _NAMED_TIMES.get(text.lower())) is not None:
        return key_of("time", f"{named:02}:00:00")
    if clock := _DAY_CLOCK.fullmatch(text):
        hour = int(clock["hour"])
    elif clock := _CLOCK.fullmatch(text):
        hour = int(clock["hour"])
        if not 1 <= hour <= 12:
            return None
        afternoon = (clock["half"] or "").lower() == "p" or (clock["part"] or "").lower() in (
            "afternoon",
            "evening",
        )
        hour = hour % 12 + 12 * afternoon
    else:
        return None
    minute, second = int(clock["minute"] or 0), int(clock["second"] or 0)
    return key_of("time", f"{hour:02}:{minute:02}:{second:02}") if max(minute, second) < 60 else None


def _date_key(text: str) -> str | None:
    for pattern in _WITH_MONTH_NAME:
        if found := pattern.fullmatch(text):
            part = found.groupdict()
            year = part.get("year") or part.get("late")
            return _key(year, _MONTHS[part["month"].lower()], part.get("day"), part.get("weekday"))
    if found := _YEAR_FIRST.fullmatch(text) or _IN_CHINESE.fullmatch(text):
        return _key(found["year"], int(found["month"]), found["day"])
    if found := _YEAR_LAST.fullmatch(text):
        one, other = int(found[1]), int(found[3])
        if one == other or one > 12:
            return _key(found[4], other, found[1])
        if other > 12 and found[2] == "/":
            return _key(found[4], one, found[3])
    return None


def _key(year: str | None, month: int, day: str | None, weekday: str | None = None) -> str | None:
    """The key of a date that exists; its weekday, if given, must be right."""
    try:
        complete = date(int(year or 2000), month, int(day or 1))
    except ValueError:
        return None
    if weekday is not None and (
        year is None or not _WEEKDAYS[complete.weekday()].startswith(weekday.lower()[:3])
    ):
        return None
    return key_of("date", year or "", str(month), str(int(day)) if day else "")
