"""Units of measurement in answers, each with its exact size in the base units of its dimension."""

import re
from fractions import Fraction
from typing import NamedTuple

LEADING = "$€£¥₹₩₽¢"
"""Currencies that may precede their number."""

_PREFIXES = {
    "T": Fraction(10**12),
    "G": Fraction(10**9),
    "M": Fraction(10**6),
    "k": Fraction(10**3),
    "h": Fraction(100),
    "d": Fraction(1, 10),
    "c": Fraction(1, 100),
    "m": Fraction(1, 10**3),
    "μ": Fraction(1, 10**6),
    "n": Fraction(1, 10**9),
    "p": Fraction(1, 10**12),
}
_PREFIX_NAMES = {
    "giga": Fraction(10**9),
    "mega": Fraction(10**6),
    "kilo": Fraction(10**3),
    "centi": Fraction(1, 100),
    "milli": Fraction(1, 10**3),
    "micro": Fraction(1, 10**6),
    "nano": Fraction(1, 10**9),
}
_PREFIXED = (
    # dimension, size in the dimension's base unit, symbols, names
    ("length", "1", "m", "meter metre"),
    ("volume", "1/1000", "L l", "liter litre"),
    ("mass", "1/1000", "g", "gram gramme"),
    ("time", "1", "s", "second"),
    ("current", "1", "A", "ampere amp"),
    ("voltage", "1", "V", "volt"),
    ("power", "1", "W", "watt"),
    ("energy", "1", "J", "joule"),
    ("energy", "3600", "Wh", ""),
    ("heat", "1", "cal", "calorie"),
    ("electronvolt", "1", "eV", "electronvolt"),
    ("force", "1", "N", "newton"),
    ("pressure", "1", "Pa", "pascal"),
    ("frequency", "1", "Hz", "hertz"),
    ("resistance", "1", "Ω", "ohm"),
    ("capacitance", "1", "F", "farad"),
    ("charge", "1", "C", "coulomb"),
    ("inductance", "1", "H", "henry"),
    ("flux density", "1", "T", "tesla"),
    ("amount", "1", "mol", "mole"),
    ("bit", "1", "bit b", ""),
    ("byte", "1", "B", "byte"),
    ("conductance", "1", "S", "siemens"),
    ("sound level", "1", "dB", "decibel"),
)
_PLAIN = (
    # dimension, size in the dimension's base unit, names
    ("length", "254/10000", "in inch inches"),
    ("length", "3048/10000", "ft foot feet"),
    ("length", "9144/10000", "yd yard yards"),
    ("length", "1609344/1000", "mi mile miles"),
    ("length^2", "10000", "ha hectare hectares"),
    ("length^2", "40468564224/10000000", "acre acres"),
    ("length^2", "1", "sqm"),
    ("length^3", "1/1000000", "cc"),
    ("mass", "1000", "t ton tons tonne tonnes"),
    ("mass", "1", "kilo kilos"),
    ("mass", "45359237/100000000", "lb lbs pound pounds"),
    ("mass", "45359237/1600000000", "oz ounce ounces"),
    ("time", "1", "sec secs"),
    ("time", "60", "min mins minute minutes"),
    ("time", "3600", "h hr hrs hour hours"),
    ("time", "86400", "day days"),
    ("time", "604800", "week weeks"),
    ("month", "1", "month months"),
    ("month", "12", "year years yr yrs"),
    ("angle", "1", "° deg degree degrees"),
    ("radian", "1", "rad radian radians"),
    ("temperature", "1", "K kelvin kelvins"),
    ("celsius", "1", "°C celsius"),
    ("fahrenheit", "1", "°F fahrenheit"),
    ("pressure", "101325", "atm"),
    ("mmHg", "1", "mmHg"),
    ("psi", "1", "psi"),
    ("heat", "1000", "Cal"),
    ("molarity", "1", "molar"),
    ("rotation", "1", "rpm"),
    ("beat", "1", "bpm"),
    ("frame", "1", "fps"),
    ("pixel", "1", "px pixel pixels"),
    ("usd", "1", "$ usd us$ dollar dollars"),
    ("usd", "1/100", "¢ cent cents"),
    ("eur", "1", "€ eur euro euros"),
    ("gbp", "1", "£ gbp"),
    ("jpy", "1", "¥ jpy yen"),
    ("cny", "1", "cny rmb yuan"),
    ("inr", "1", "₹ inr rupee rupees"),
    ("krw", "1", "₩ krw won"),
    ("rub", "1", "₽ rub ruble rubles"),
    ("percent", "1", "% percent pct"),
    ("percent", "1/10", "‰"),
)
_SPELLED = {
    "per cent": "%",
    "degrees celsius": "°C",
    "degree celsius": "°C",
    "degrees c": "°C",
    "° c": "°C",
    "degrees fahrenheit": "°F",
    "degree fahrenheit": "°F",
    "degrees f": "°F",
    "° f": "°F",
    "mph": "mi/h",
    "kph": "km/h",
    "kmh": "km/h",
    "kmph": "km/h",
    "us dollars": "$",
    "u.s. dollars": "$",
}


class Unit(NamedTuple):
    """A unit: its dimension, such as `length/time`, and its size in that dimension's base units."""

    dimension: str
    size: Fraction


class _Scale(NamedTuple):
    dimension: str
    power: int
    size: Fraction


def _symbols_and_names() -> tuple[dict[str, _Scale], dict[str, set[_Scale]]]:
    """All units by their exact spelling, and by their spelling in lower case."""
    exact: dict[str, _Scale] = {}
    for dimension, size, symbols, names in _PREFIXED:
        one = Fraction(size)
        for symbol in symbols.split():
            exact |= {symbol: _scale(dimension, one)}
            exact |= {each + symbol: _scale(dimension, one * factor) for each, factor in _PREFIXES.items()}
        for name in names.split():
            for prefix, factor in {"": Fraction(1), **_PREFIX_NAMES}.items():
                exact |= {f"{prefix}{name}{end}": _scale(dimension, one * factor) for end in ("", "s")}
    for dimension, size, names in _PLAIN:
        exact |= {name: _scale(dimension, Fraction(size)) for name in names.split()}
    folded: dict[str, set[_Scale]] = {}
    for spelling, scale in exact.items():
        folded.setdefault(spelling.lower(), set()).add(scale)
    return exact, folded


def _scale(dimension: str, size: Fraction) -> _Scale:
    dimension, _, power = dimension.partition("^")
    if dimension == "volume":
        dimension, power = "length", "3"
    return _Scale(dimension, int(power or 1), size)


_EXACT, _FOLDED = _symbols_and_names()
_WORD_POWER = {"square": 2, "sq": 2, "sq.": 2, "cubic": 3, "cu": 3, "cu.": 3, "squared": 2, "cubed": 3}
_WRITTEN_TOGETHER = {"Nm": "N m", "kNm": "kN m"}
_OTHER_UNITS = frozenset({"NM"})  # nautical miles are no nanometres
_FACTOR = re.compile(r"([^\d^\s/*()]+?)\s*(?:\^\s*\{?\s*([+-]?\d)\s*\}?|([23]))?")
_MAX_CHARACTERS = 48


def unit(text: str) -> Unit | None:
    """The unit that the whole of `text` names: `cm^{2}`, `km/h`, `square feet`, `kg m^{-3}`; None if it names none.

    The case of letters counts where it changes the unit: `mW` and `MW`, `g` and `G`. `KM` can only be `km`.
    """
    text = " ".join(text.split())
    if len(text) > _MAX_CHARACTERS:
        return None
    text = _SPELLED.get(text.lower(), text)
    over, *under = f" {text}".replace(" per ", "/").split("/")
    scales = _product(over) if over.strip() or not under else []
    below = [_product(each) for each in under]
    if scales is None or None in below:
        return None
    inverse = [_raised(scale, -1) for each in below for scale in each or ()]
    return _together([*scales, *inverse])


def _product(text: str) -> list[_Scale] | None:
    """The factors of `kg m`, `kg*m^{2}`, `square feet`; None if one of them is no unit."""
    text = text.strip()
    if text[:1] == "(" and text[-1:] == ")":
        text = text[1:-1]
    if (known := _EXACT.get(_SPELLED.get(text.lower(), text))) is not None:
        return [known]
    found: list[_Scale] = []
    power = 1
    for word in _WRITTEN_TOGETHER.get(text, text).replace("*", " ").split():
        if word.lower() in ("squared", "cubed") and found:
            found[-1] = _raised(found[-1], _WORD_POWER[word.lower()])
        elif word.lower() in _WORD_POWER:
            power = _WORD_POWER[word.lower()]
        elif (scale := _factor(word)) is not None:
            found.append(_raised(scale, power))
            power = 1
        else:
            return None
    return found if found and power == 1 else None


def _factor(word: str) -> _Scale | None:
    match = _FACTOR.fullmatch(word.rstrip("."))
    scale = _named(match[1]) if match else None
    if match is None or scale is None or (match[3] and scale.dimension != "length"):
        return None
    return _raised(scale, int(match[2] or match[3] or 1))


def _named(name: str) -> _Scale | None:
    if (exact := _EXACT.get(name)) is not None:
        return exact
    folded = _FOLDED.get(name.lower(), set()) if len(name) > 1 and name not in _OTHER_UNITS else set()
    return next(iter(folded)) if len(folded) == 1 else None


def _raised(scale: _Scale, power: int) -> _Scale:
    return _Scale(scale.dimension, scale.power * power, scale.size**power)


def _together(scales: list[_Scale]) -> Unit | None:
    powers: dict[str, int] = {}
    size = Fraction(1)
    for dimension, power, each in scales:
        powers[dimension] = powers.get(dimension, 0) + power
        size *= each
    names = [name if power == 1 else f"{name}^{power}" for name, power in sorted(powers.items()) if power]
    return Unit(" ".join(names), size) if names else None
