"""Units of measurement in answers, each with its exact size in the base unit of its dimension."""

from fractions import Fraction


def _table() -> dict[str, tuple[str, Fraction]]:
    rows = (
        # dimension, size in the dimension's base unit, names
        ("length", "1", "m meter meters metre metres"),
        ("length", "1000", "km kilometer kilometers kilometre kilometres"),
        ("length", "1/100", "cm centimeter centimeters centimetre centimetres"),
        ("length", "1/1000", "mm millimeter millimeters millimetre millimetres"),
        ("length", "254/10000", "inch inches"),
        ("length", "3048/10000", "ft foot feet"),
        ("length", "9144/10000", "yd yard yards"),
        ("length", "1609344/1000", "mi mile miles"),
        ("area", "1", "m^2 sqm"),
        ("area", "1/10000", "cm^2"),
        ("area", "1000000", "km^2"),
        ("volume", "1", "l liter liters litre litres"),
        ("volume", "1/1000", "ml milliliter milliliters millilitre millilitres cm^3"),
        ("volume", "1000", "m^3"),
        ("mass", "1", "kg kilogram kilograms kilo kilos"),
        ("mass", "1/1000", "g gram grams"),
        ("mass", "1/1000000", "mg milligram milligrams"),
        ("mass", "1000", "t ton tons tonne tonnes"),
        ("mass", "45359237/100000000", "lb lbs pound pounds"),
        ("time", "1", "s sec secs second seconds"),
        ("time", "60", "min mins minute minutes"),
        ("time", "3600", "h hr hrs hour hours"),
        ("time", "86400", "day days"),
        ("time", "604800", "week weeks"),
        ("month", "1", "month months"),
        ("month", "12", "year years yr yrs"),
        ("angle", "1", "° deg degree degrees"),
        ("celsius", "1", "°c celsius"),
        ("fahrenheit", "1", "°f fahrenheit"),
        ("speed", "1", "m/s"),
        ("speed", "5/18", "km/h kmh kph"),
        ("speed", "44704/100000", "mph"),
        ("usd", "1", "$ usd us$ dollar dollars"),
        ("usd", "1/100", "¢ cent cents"),
        ("eur", "1", "€ eur euro euros"),
        ("gbp", "1", "£ gbp"),
        ("jpy", "1", "¥ jpy yen"),
        ("inr", "1", "₹ inr rupee rupees"),
        ("percent", "1", "% percent pct"),
        ("percent", "1/10", "‰"),
    )
    return {name: (dimension, Fraction(size)) for dimension, size, names in rows for name in names.split()}


UNITS = _table() | {
    "per cent": ("percent", Fraction(1)),
    "degrees celsius": ("celsius", Fraction(1)),
    "degrees fahrenheit": ("fahrenheit", Fraction(1)),
    "square meters": ("area", Fraction(1)),
    "square metres": ("area", Fraction(1)),
    "square centimeters": ("area", Fraction(1, 10_000)),
}
"""From a unit's name, in lower case, to its dimension and its size in that dimension's base unit."""

LEADING = "$€£¥₹"
"""Units that may precede their number."""
