"""Units, currencies, counts, dates and times of day."""

import pytest

from ireasoner.reward_server.answers.canonical import forms_of
from ireasoner.reward_server.scoring_config import ROBUST
from tests.reward_server.answer_forms import assert_apart, assert_same

UNITS_APART = [
    ["5 mW", "5 MW", "5 mw"],
    ["5M", "5 m"],
    ["5 g", "5 G"],
    ["5 s", "5 S"],
    ["5 Mb", "5 MB", "5 mB"],
    ["3 mm", "3 Mm", "3 MM"],
    ["5 t", "5 T"],
    ["5 K", "5 k"],
    ["5 mPa", "5 MPa"],
    ["5 Pa", "5 pA"],
    ["5 mΩ", "5 MΩ"],
    ["5 N", "5 n"],
    ["5 D", "5 d"],
    ["5 Cal", "5 cal"],
    ["5 C", "5 c"],
    ["5 m/s", "5 m/s²", "5 s/m", "5 m s", "5 m"],
    ["5 cm", "5 cm²", "5 cm³"],
    ["5 N m", "5 J"],
    ["5 Nm", "5 nm", "5 NM"],
    [r"2\pi", "2", "2 pies"],
    ["25°C", "25°F", "25°", "25 K", "25"],
    ["36π cm²", "36π cm", "36π"],
    ["5 lbs", "£5", "5 oz"],
    ["$5", "€5", "5¢", "5%", "5", "A$5"],
    ["$1.5 million", "$1.5 billion", "$1.5", "1.5 million"],
    ["$5-$10", "$5", "$10"],
    ["$5/hour", "$5", "$5/day"],
    ["-$5", "$5"],
    ["1990s", "1990", "1990 s"],
    ["5 km", "5 km/h", "5 kg"],
    ["5 公斤", "5 公里"],
]
UNITS_SAME = [
    ["5 V", "5V", "5 volts", "5 Volt", r"5\,\mathrm{V}", r"5\text{ V}", "5.0 V"],
    ["5 KM", "5 km", "5 Km", "5000 m"],
    ["60 HZ", "60 Hz"],
    ["5 kwh", "5 kWh"],
    [
        "5 cm²",
        "5 cm^2",
        "5 cm^{2}",
        "5cm²",
        r"5\text{ cm}^2",
        r"5\,\mathrm{cm}^{2}",
        r"$5\ \text{cm}^2$",
        "5 square centimeters",
        "5 sq cm",
        "5 cm2",
        "500 mm²",
    ],
    ["cm²", "cm^2", "cm^{2}"],
    [
        "9.8 m/s²",
        "9.8 m/s^2",
        r"9.8\ \mathrm{m/s^2}",
        "9.8 m s^{-2}",
        "9.8 m·s⁻²",
        "9.8 meters per second squared",
    ],
    ["5 Nm", "5 N m", "5 N·m", r"5\ \mathrm{Nm}"],
    ["8.314 J/(mol K)", "8.314 J/(mol·K)", "8.314 J mol^{-1} K^{-1}", "8.314 J/mol/K"],
    ["5 km/h", "5 kph", "5 km per hour", "5 kilometers per hour", "5 km/hr"],
    ["60 mph", "60 miles per hour", "60 mi/h"],
    ["1 g/cm³", "1000 kg/m^3", "1 g/mL"],
    ["5 kΩ", r"5 k\Omega", "5000 ohms"],
    ["5 µm", "5 μm", r"5 \mu m", r"5\,\mu\text{m}", "5 micrometers"],
    ["25°C", "25 °C", "25 degrees Celsius", r"25^\circ C", r"25^\circ\text{C}", "25℃", "25 degrees C"],
    ["5 L", "5 liters", "5000 mL", "5 l", "0.005 m³"],
    ["2.5 hours", "150 minutes", "2.5 h", "150 min"],
    ["36π cm²", r"36\pi\text{ cm}^2", r"36\pi\ \mathrm{cm}^2", r"36 \pi cm^2"],
    [
        "$1,500 million",
        "$1.5 billion",
        "$1.5B",
        "1.5 billion dollars",
        "USD 1.5 billion",
        "$1.5bn",
        "US$1.5 billion",
    ],
    ["$5k", "$5,000", "5000 dollars", "$5K"],
    ["-$5", "$-5", "-5 dollars"],
    ["$5/hour", "$5 per hour", "5 dollars per hour"],
    ["$3.50", "$3.5", r"\$3.50", r"$\$3.50$", "3.50 USD"],
    ["5 €", "€5", "5 euros", "EUR 5"],
    ["1.6×10⁻¹⁹ C", r"1.6 \times 10^{-19} C", "1.6e-19 C", "1.6x10^-19 C"],
    ["5公斤", "5 公斤。"],
]
ALGEBRA_APART = [["2x + 3m", "(2x + 3) m"], ["5 + 3m", "8 m"]]
COUNTS_APART = [["3 dogs", "3", "3 cats", "4 dogs", "3 big dogs"], ["1st", "1", "2nd"], ["5 stars", "5"]]
COUNTS_SAME = [
    ["3 dogs", "three dogs", "3.0 dogs", "Three Dogs."],
    ["3 million people", "3,000,000 people"],
    ["5 ppm", "5ppm"],
]
NUMBERS_APART = [
    ["2^{-60}", "2^{-61}", "0"],
    ["10⁻¹⁹", "10¹⁹", "10^{-18}", "109"],
    ["x¹⁰", "x^1", "x¹²", "x10"],
    ["x⁻¹", "x", "x^1"],
    ["∞", "-∞", "0", "8"],
    ["1.2.3", "1.2", "1.2.4"],
    ["555-1234", "555-1235"],
    ["0x1F", "0", "31"],
    ["101_2", "101"],
    ["5 ± 0.1", "5", "5 ± 0.2"],
    ["~5", "5", "<5", ">5", "≥5"],
    ["N2O", "2NO", "NO2"],
    ["image_1.png", "image_2.png"],
    ["A/B", "B/A"],
]
NUMBERS_SAME = [
    ["10⁻¹⁹", "10^{-19}", "10^-19", "1e-19", r"1 \times 10^{-19}", "10**-19"],
    ["x¹⁰", "x^{10}", "x^10", "x**10"],
    [
        "1.5 x 10^6",
        "1.5×10^6",
        "1.5e6",
        "1,500,000",
        "1.5 million",
        r"1.5 \cdot 10^{6}",
        "1.5X10^6",
        "1.5×10⁶",
    ],
    [r"\infty", "∞", "infinity", "Infinity", r"+\infty", "inf", "positive infinity"],
    [r"-\infty", "-∞", "negative infinity", "-inf", "minus infinity"],
    ["2^{-2}", "1/4", "0.25", "25e-2"],
    [r"0.\overline{3}", "1/3"],
    ["two dozen", "24", "2 dozen"],
    ["1{,}234", "1,234", r"1\,234", "１，２３４"],
    ["5 ± 0.1", "5±0.1", r"5 \pm 0.1"],
    [r"\beta", "β", r"$\beta$"],
    ["50%", r"50\%", r"$50\%$", "５０％", "fifty percent"],
    ["O(n^2)", "O(n²)", "$O(n^2)$"],
]
TIMES_APART = [
    ["3:00", "3:00 PM", "3:00 AM", "3:1", "3"],
    ["12:30 AM", "12:30 PM", "12:30"],
    ["noon", "midnight", "12"],
    ["15:00", "1500", "15.00"],
    ["16:9", "9:16"],
    ["9:15 am", "9:15 pm"],
    ["00:30", "30", "0:30"],
    ["25:00", "1:00 AM"],
    ["03/04/2020", "2020-03-04", "2020-04-03"],
    ["01/12/2020", "12/01/2020"],
    ["1.2.2020", "2020-02-01", "2020-01-02"],
    ["March 3, 2020", "March 4, 2020", "May 3, 2020", "March 3, 2021", "March 3", "March 2020"],
    ["Monday, March 3, 2020", "March 3, 2020"],
    ["31 February 2020", "2020-02-31"],
    ["10/12/2020", "10/12"],
    ["May", "5"],
    ["2019-2020", "2020-2019"],
]
TIMES_SAME = [
    ["3 p.m.", "3pm", "3:00 PM", "15:00", "3 PM", "3:00 p.m.", "15:00:00", "3 P.M.", "3 o'clock p.m."],
    ["9:30 AM", "9:30am", "9:30 a.m.", "09:30 AM"],
    ["noon", "12:00 PM", "12 p.m.", "12 noon"],
    ["midnight", "12 AM"],
    ["23:59", "11:59 PM"],
    [
        "3 March 2020",
        "March 3, 2020",
        "2020-03-03",
        "3rd March 2020",
        "Mar 3, 2020",
        "March 3rd, 2020",
        "2020/03/03",
        "the 3rd of March 2020",
        "Mar. 3, 2020",
        "Tuesday, March 3, 2020",
        "2020年3月3日",
        "3-Mar-2020",
        "03/03/2020",
    ],
    ["13/04/2020", "April 13, 2020", "04/13/2020"],
    ["25.12.2020", "Dec. 25, 2020"],
    ["July 4", "4 July", "July 4th", "the 4th of July"],
    ["March 2020", "Mar 2020", "March, 2020"],
    ["Sept. 5", "September 5th", "5 Sep"],
]


@pytest.mark.parametrize(
    "answers", [*UNITS_APART, *ALGEBRA_APART, *COUNTS_APART, *NUMBERS_APART, *TIMES_APART]
)
def test_different_quantities(answers: list[str]) -> None:
    assert_apart(*answers)


@pytest.mark.parametrize("answers", [*UNITS_SAME, *COUNTS_SAME, *NUMBERS_SAME, *TIMES_SAME])
def test_the_same_quantity(answers: list[str]) -> None:
    assert_same(*answers)


def test_formulas_with_a_unit_are_compared_in_its_base_unit() -> None:
    forms = forms_of([r"2\sqrt{3} cm", r"20\sqrt{3} mm", "5 cm", r"2\sqrt{3}"], ROBUST)
    assert [(form.kind, form.expression) for form in forms.values()] == [
        ("quantity length", r"\frac{1}{100} \cdot (2\sqrt{3})"),
        ("quantity length", r"\frac{1}{1000} \cdot (20\sqrt{3})"),
        ("quantity length", r"\frac{1}{20}"),
        ("value", r"2\sqrt{3}"),
    ]
