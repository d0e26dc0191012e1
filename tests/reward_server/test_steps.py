"""Steps in the styles that models write: lists with prose around them, two levels, languages, code and equations."""

import pytest

from ireasoner.reward_server.parsing.rollout import parse_text
from ireasoner.reward_server.parsing.sentences import language_of, sentences
from ireasoner.reward_server.scoring_config import ScoringConfig

ALL_STEPS = ScoringConfig(max_steps=64)


def steps_of(thinking: str) -> list[str]:
    return list(parse_text(f"<think>{thinking}</think><answer>7</answer>", ALL_STEPS).steps)


PLAN = ["look", "add", "tell the sum"]
WORK = ["The row reads 2, 4, 1.", "So the sum is 7."]


@pytest.mark.parametrize(
    "thinking",
    [
        "I need to:\n1. look\n2. add\n3. tell the sum\n\nThe row reads 2, 4, 1. So the sum is 7.",
        "I need to:\n1. look\n2. add\n3. tell the sum\nThe row reads 2, 4, 1. So the sum is 7.",
        "I need to:\n\n1. look\n\n2. add\n\n3. tell the sum\n\nThe row reads 2, 4, 1.\nSo the sum is 7.",
        "I need to: 1. look 2. add 3. tell the sum\n\nThe row reads 2, 4, 1. So the sum is 7.",
        "I need to: 1) look 2) add 3) tell the sum\nThe row reads 2, 4, 1. So the sum is 7.",
        "I need to: (1) look (2) add (3) tell the sum\n\nThe row reads 2, 4, 1. So the sum is 7.",
        "I need to:\n(1) look\n(2) add\n(3) tell the sum\nThe row reads 2, 4, 1. So the sum is 7.",
        "I need to:\na) look\nb) add\nc) tell the sum\nThe row reads 2, 4, 1. So the sum is 7.",
        "I need to:\n- look\n- add\n- tell the sum\nThe row reads 2, 4, 1. So the sum is 7.",
        "I need to:\nStep 1: look\nStep 2: add\nStep 3: tell the sum\n\n"
        "The row reads 2, 4, 1. So the sum is 7.",
        "I need to:\n1. look\n2. add\n3. tell the sum\n---\nThe row reads 2, 4, 1. So the sum is 7.",
        "I need to:\n1. **look**\n2. **add**\n3. **tell the sum**\n\nThe row reads 2, 4, 1. So the sum is 7.",
        "I need to:\n### Step 1: look\n### Step 2: add\n### Step 3: tell the sum\n"
        "The row reads 2, 4, 1. So the sum is 7.",
        "I need to:\n① look\n② add\n③ tell the sum\nThe row reads 2, 4, 1. So the sum is 7.",
        "<step>I need to:</step><step>look</step><step>add</step><step>tell the sum</step>\n"
        "The row reads 2, 4, 1. So the sum is 7.",
    ],
)
def test_a_plan_does_not_take_over_the_reasoning(thinking: str) -> None:
    assert steps_of(thinking) == ["I need to:", *PLAN, *WORK]


@pytest.mark.parametrize(
    ("thinking", "steps"),
    [
        (
            "Let me see. Bars are shown.\n\n1. Red is 3.\n2. Blue is 4.\n\nBlue is larger.\n\n3. So it is blue.\nDone.",
            [
                "Let me see.",
                "Bars are shown.",
                "Red is 3.",
                "Blue is 4.",
                "Blue is larger.",
                "So it is blue.",
                "Done.",
            ],
        ),
        (
            "Plan:\n1. look\n2. add\n\nWork:\n1. The row reads 2.\n2. 2 + 5 = 7.\n\nResult: 7.",
            ["Plan:", "look", "add", "Work:", "The row reads 2.", "2 + 5 = 7.", "Result: 7."],
        ),
        ("1. look\n   at it\n2. add\nit up\nThen 7.", ["look at it", "add it up", "Then 7."]),
        (
            "1) Look. It reads 2, 4. 2) Add. That is 6. 3) Tell. It is 6. That is all.",
            ["Look. It reads 2, 4.", "Add. That is 6.", "Tell. It is 6.", "That is all."],
        ),
        ("The sum is\n12. So it is a dozen.\nDone.", ["The sum is 12.", "So it is a dozen.", "Done."]),
        ("1. look\n1. add\n1. tell", ["look", "add", "tell"]),
        ("The bars are 1) red (see 2) and 2) blue.", ["The bars are", "red (see 2) and", "blue."]),
        ("It is 1. Then 2. No list is here.", ["It is 1.", "Then 2.", "No list is here."]),
        ("In 2019 there were 3. In 2020 there were 4.", ["In 2019 there were 3.", "In 2020 there were 4."]),
        ("- A is 3\n  - red\n  - tall\n- B is 4\nSum is 7.", ["A is 3 - red - tall", "B is 4", "Sum is 7."]),
        (
            "A) Paris\nB) Rome\nC) Berlin\nIt shows the Colosseum. So Rome.",
            ["A) Paris B) Rome C) Berlin", "It shows the Colosseum.", "So Rome."],
        ),
        ("| a | b |\n| 1 | 2 |\nSo 3.", ["| a | b | | 1 | 2 |", "So 3."]),
        ("**1.** Look.\n**2.** Add.", ["Look.", "Add."]),
        ("1️⃣ Look.\n2️⃣ Add.", ["Look.", "Add."]),
        ("Step One: look.\nStep Two: add.", ["look.", "add."]),
        ("Step 1/2: look\nStep 2/2: add", ["look", "add"]),
        ("Step 1 - look\nStep 2 – add\nStep 3 → tell", ["look", "add", "tell"]),
        ("> Step 1: look\n> Step 2: add", ["look", "add"]),
    ],
)
def test_prose_before_between_and_after_lists_is_cut(thinking: str, steps: list[str]) -> None:
    assert steps_of(thinking) == steps


@pytest.mark.parametrize(
    ("thinking", "steps"),
    [
        (
            "Step 1: Look.\n  1. Red is 3.\n  2. Blue is 4.\nStep 2: Add.\n  1. 3 + 4 = 7.\n\nSo it is 7. Done.",
            ["Look. 1. Red is 3. 2. Blue is 4.", "Add. 1. 3 + 4 = 7.", "So it is 7.", "Done."],
        ),
        (
            "Step 1: Look.\n1. Red is 3.\n2. Blue is 4.\nStep 2: Add.\na) 3 + 4 = 7.\n- done",
            ["Look. 1. Red is 3. 2. Blue is 4.", "Add. a) 3 + 4 = 7. - done"],
        ),
        (
            "### Step 1: Bars\n\nFive bars. All red.\n\n- A: 3\n\n### Step 2: Sum\n\n3 + 4 = 7\n\n"
            "### Conclusion\n\nIt is 7. Sure.",
            ["Bars Five bars. All red. - A: 3", "Sum 3 + 4 = 7", "Conclusion It is 7.", "Sure."],
        ),
        (
            "**Step 1: Bars**\nFive bars. All red.\n\n**Step 2: Sum**\n3 + 4 = 7.\n\nTherefore, it is 7.",
            ["Bars Five bars. All red.", "Sum 3 + 4 = 7.", "Therefore, it is 7."],
        ),
        (
            "**Step 1:** Look.\n\nIt is red.\n\n**Step 2:** Add.\n\nIt is 7.\n\nWe are done. Yes.",
            ["Look. It is red.", "Add. It is 7.", "We are done.", "Yes."],
        ),
        (
            "1. **Bars**:\n   - A: 3\n   - B: 4\n\n2. **Sum**:\n   - 3 + 4 = 7\n\nTherefore it is 7. It is odd.",
            ["Bars: - A: 3 - B: 4", "Sum: - 3 + 4 = 7", "Therefore it is 7.", "It is odd."],
        ),
        (
            "### 1. Bars\nFive bars. All red.\n### 2. Sum\n1. 3 + 4\n2. it is 7",
            ["Bars Five bars. All red.", "Sum 1. 3 + 4 2. it is 7"],
        ),
        (
            "**Step 1:** Look.\n\nIt is red.\n\n**Step 2:** Add.\n\n\\[\n3 + 4 = 7\n\\]\n\nSo it is 7.",
            ["Look. It is red.", "Add. \\[ 3 + 4 = 7 \\]", "So it is 7."],
        ),
        ("1. Look:\n(1) red\n(2) blue\n2. Add:\n(1) seven", ["Look: (1) red (2) blue", "Add: (1) seven"]),
        ("1. Look:\n1. red\n2. blue\n2. Add", ["Look: 1. red 2. blue", "Add"]),
        (
            "一、看图\n（一）左边\n（二）右边\n二、计算\n结果是7。",
            ["看图 （一）左边 （二）右边", "计算", "结果是7。"],
        ),
        ("步骤1：看图\n1、左边\n2、右边\n步骤2：计算", ["看图 1、左边 2、右边", "计算"]),
        ("- **Step 1:** look\n  - red\n- **Step 2:** add\n  - seven", ["look - red", "add - seven"]),
    ],
)
def test_the_outer_level_is_the_steps(thinking: str, steps: list[str]) -> None:
    assert steps_of(thinking) == steps


@pytest.mark.parametrize(
    ("thinking", "steps"),
    [
        ("步骤1：看图。有三只猫。\n步骤2：数一数。", ["看图。有三只猫。", "数一数。"]),
        ("步驟 1: 看圖。\n步驟 2: 數。", ["看圖。", "數。"]),
        ("步骤一：看图\n步骤二：数", ["看图", "数"]),
        ("第一步：看图。\n第二步，数猫。\n第 3 步：回答。", ["看图。", "数猫。", "回答。"]),
        ("第一步看图。第二步数猫。", ["看图。", "数猫。"]),
        ("1、看图\n2、数猫\n一共三只。", ["看图", "数猫", "一共三只。"]),
        ("1．看图\n2．数猫", ["看图", "数猫"]),
        ("（1）看图\n（2）数猫", ["看图", "数猫"]),
        ("（1）看图（2）数猫（3）回答", ["看图", "数猫", "回答"]),
        ("①看图②数猫③回答。", ["看图", "数猫", "回答。"]),
        ("一、看图\n二、数猫\n三、回答", ["看图", "数猫", "回答"]),
        ("十一、看图\n十二、数猫", ["看图", "数猫"]),
        (
            "首先看图。然后：1、看左边；2、看右边；3、相加。共7只。",
            ["首先看图。", "然后：", "看左边；", "看右边；", "相加。", "共7只。"],
        ),
        ("我看图。有三只猫！对吗？是。", ["我看图。", "有三只猫！", "对吗？", "是。"]),
        ("他说：“停。”然后走。宽3.14厘米。", ["他说：“停。”", "然后走。", "宽3.14厘米。"]),
        (
            "ステップ1：図を見る。\nステップ2：数える。\nよって7です。",
            ["図を見る。", "数える。", "よって7です。"],
        ),
        ("手順1：見る\n手順2：足す", ["見る", "足す"]),
        ("最初に見る。次に足す。", ["最初に見る。", "次に足す。"]),
        ("1단계: 봅니다.\n2단계: 셉니다.", ["봅니다.", "셉니다."]),
        ("그림을 봅니다. 세 마리가 있어요.", ["그림을 봅니다.", "세 마리가 있어요."]),
        ("انظر إلى الصورة. كم عددها؟ ثلاثة.", ["انظر إلى الصورة.", "كم عددها؟", "ثلاثة."]),
        ("الخطوة 1: انظر.\nالخطوة 2: عد.", ["انظر.", "عد."]),
        ("الخطوة الأولى: انظر.\nالخطوة الثانية: عد.", ["انظر.", "عد."]),
        ("चित्र देखो। तीन बिल्लियाँ हैं। उत्तर ३ है।", ["चित्र देखो।", "तीन बिल्लियाँ हैं।", "उत्तर ३ है।"]),
        ("चरण 1: देखो।\nचरण 2: गिनो।", ["देखो।", "गिनो।"]),
        ("Paso 1: Miro la fig. 2.\nPaso 2: Sumo 3 y 4.", ["Miro la fig. 2.", "Sumo 3 y 4."]),
        ("Étape 1 : Regarder.\nÉtape 2 : Compter.", ["Regarder.", "Compter."]),
        ("Schritt 1: Schauen.\nSchritt 2: Zählen.", ["Schauen.", "Zählen."]),
        ("Passo 1: Guardo.\nPasso 2: Conto.", ["Guardo.", "Conto."]),
        ("Шаг 1: смотрю.\nШаг 2: считаю.", ["смотрю.", "считаю."]),
        ("Bước 1: nhìn.\nBước 2: đếm.", ["nhìn.", "đếm."]),
        (
            "La fig. 2 muestra al Sr. Pérez y la Sra. Gómez, pág. 3. Luego sumo. ¿Cuánto es? Son 7.",
            [
                "La fig. 2 muestra al Sr. Pérez y la Sra. Gómez, pág. 3.",
                "Luego sumo.",
                "¿Cuánto es?",
                "Son 7.",
            ],
        ),
        (
            "M. Dupont voit p. ex. la fig. 3. Puis il compte. C'est 7.",
            ["M. Dupont voit p. ex. la fig. 3.", "Puis il compte.", "C'est 7."],
        ),
        (
            "Das ist z. B. in Abb. 3. Der 3. Mai ist rot. Es sind ca. 7. Nr. 5 ist grün.",
            ["Das ist z. B. in Abb. 3.", "Der 3. Mai ist rot.", "Es sind ca. 7.", "Nr. 5 ist grün."],
        ),
    ],
)
def test_other_languages(thinking: str, steps: list[str]) -> None:
    assert steps_of(thinking) == steps


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It is 3.14 cm wide. So 7.07.", ["It is 3.14 cm wide.", "So 7.07."]),
        (
            "E.g. Fig. 2 shows it, i.e. the bar. See Eq. 3.",
            ["E.g. Fig. 2 shows it, i.e. the bar.", "See Eq. 3."],
        ),
        ("Dr. Smith saw J. K. Rowling. Mr. Jones left.", ["Dr. Smith saw J. K. Rowling.", "Mr. Jones left."]),
        ("See https://a.b.com/x?y=1. It helps.", ["See https://a.b.com/x?y=1.", "It helps."]),
        ("Hmm... let me see. Well... Yes.", ["Hmm... let me see.", "Well...", "Yes."]),
        (
            "Let $x = 3. Y = 4.$ Then $f(x). G$ holds. Next.",
            ["Let $x = 3. Y = 4.$", "Then $f(x). G$ holds.", "Next."],
        ),
        ("So \\(a. B\\) holds. Run `a. B` now. Done.", ["So \\(a. B\\) holds.", "Run `a. B` now.", "Done."]),
        ("It costs $5. Then it costs $6. So $11.", ["It costs $5.", "Then it costs $6.", "So $11."]),
        ("The value is 7. 8 is more. x = 3. y = 4.", ["The value is 7.", "8 is more.", "x = 3.", "y = 4."]),
        (
            "The U.S. flag has 50 stars. At 3 p.m. it rang.",
            ["The U.S. flag has 50 stars.", "At 3 p.m. it rang."],
        ),
        (
            "(See Fig. 2.) Then we look. **It is red.** Good.",
            ["(See Fig. 2.)", "Then we look.", "**It is red.**", "Good."],
        ),
        ("A. First option. B. Second option.", ["A. First option.", "B. Second option."]),
        (
            "The answer is B. Then we check. What?! No.",
            ["The answer is B.", "Then we check.", "What?!", "No."],
        ),
        (
            "At St. Louis vs. Chicago on Jan. 5. No. 5 won.",
            ["At St. Louis vs. Chicago on Jan. 5.", "No. 5 won."],
        ),
        ("no-break\u00a0space.\u2003Em space.\u2028New line.", ["no-break space.", "Em space.", "New line."]),
        ("... !? --", []),
        ("", []),
    ],
)
def test_sentences(text: str, found: list[str]) -> None:
    assert list(sentences(text, language_of(text))) == found


def test_a_sentence_longer_than_the_windows_is_whole() -> None:
    long = "The bar is red, " * 200 + "and so on."
    assert list(sentences(f"First. {long} Last.", "en")) == ["First.", long, "Last."]


@pytest.mark.parametrize(
    ("thinking", "steps"),
    [
        (
            "We get:\n$$x + y = 5$$\n$$x - y = 1$$\nso x = 3. Then y = 2.",
            ["We get:", "$$x + y = 5$$ $$x - y = 1$$", "so x = 3.", "Then y = 2."],
        ),
        (
            "We solve\n\\begin{align}\nx &= 3 \\\\\ny &= 2\n\\end{align}\nand get 5.",
            ["We solve", "\\begin{align} x &= 3 \\\\ y &= 2 \\end{align}", "and get 5."],
        ),
        ("So\n\\[\nx = 3.\n\\]\nIt is 3.", ["So", "\\[ x = 3. \\]", "It is 3."]),
        ("So we have: \\[\nx = 3\n\\]\nIt is 3.", ["So we have:", "\\[ x = 3 \\]", "It is 3."]),
        ("In $$x = 3$$ we see \\[y\\] too. Yes.", ["In $$x = 3$$ we see \\[y\\] too.", "Yes."]),
        (
            "I run:\n```python\n# 1. read\nx = 3. \n\n1. x\n```\nIt prints 3. So 3.",
            ["I run:", "```python # 1. read x = 3. 1. x ```", "It prints 3.", "So 3."],
        ),
        ("I run:\n~~~\nx = 3. y\n~~~\nDone.", ["I run:", "~~~ x = 3. y ~~~", "Done."]),
        ("I run:\n```\nx = 3. Y", ["I run:", "``` x = 3. Y"]),
        ("x = 2\ny = 3\nx + y = 5", ["x = 2 y = 3 x + y = 5"]),
        ("1. Compute:\n$$\n3 + 4 = 7\n$$\n2. Tell.", ["Compute: $$ 3 + 4 = 7 $$", "Tell."]),
        ("Step 1: run\n```\n1. x\n2. y\n```\nStep 2: tell", ["run ``` 1. x 2. y ```", "tell"]),
        ("$$ never closed. Then on.", ["$$ never closed.", "Then on."]),
    ],
)
def test_a_block_of_code_or_equations_is_one_step(thinking: str, steps: list[str]) -> None:
    assert steps_of(thinking) == steps


def test_two_plans_alike_do_not_make_the_reasoning_alike() -> None:
    plan = "I need to:\n1. look\n2. add\n\n"
    one = steps_of(f"{plan}The row reads 2, 4. So it is 6.")
    other = steps_of(f"{plan}I see five dogs. Two of them sleep.")
    assert one[:3] == other[:3] == ["I need to:", "look", "add"]
    assert not set(one[3:]) & set(other[3:])


def test_no_more_steps_than_the_config_reads() -> None:
    text = "<think>" + "It is red. We go. " * 10_000 + "</think><answer>7</answer>"
    assert len(parse_text(text).steps) == 8
