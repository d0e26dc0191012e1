"""Pictures for training, evaluation and the warm start: held-out pairs, labels, and the foreign evaluation."""

from collections import Counter
from pathlib import Path

import easy_vqa
import numpy as np
from PIL import Image

from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.tiny_model.tokenizer import build_tokenizer
from ireasoner.trainer.worlds.scenes.easy_vqa_questions import evaluation_questions as easy_vqa_evaluation
from ireasoner.trainer.worlds.scenes.held_out import named_picture, training_picture
from ireasoner.trainer.worlds.scenes.labels import answer
from ireasoner.trainer.worlds.scenes.question import BY_TEXT, QUESTIONS
from ireasoner.trainer.worlds.scenes.scene import LAYOUTS, Scene, random_picture
from ireasoner.trainer.worlds.scenes.thing import BAR, COLORS, FORMS, MAX_HEIGHT, Thing, shape
from ireasoner.trainer.worlds.scenes.world import Scenes
from ireasoner.trainer.worlds.world import CELLS
from replication.images import write_images

WORLD = Scenes()


def test_one_pair_of_attributes_in_eight_is_held_out_and_none_is_trained_on() -> None:
    shapes = [shape(form, color) for form in FORMS for color in COLORS]
    bars = [Thing(BAR, color, height) for height in range(1, MAX_HEIGHT + 1) for color in COLORS]
    for pairs in (shapes, bars):
        assert 0.05 < np.mean([pair.held_out for pair in pairs]) < 0.25
    pictures = [training_picture(0, number) for number in range(80)]
    assert {picture.scene.layout for picture in pictures} == set(LAYOUTS)
    assert not any(thing.held_out for picture in pictures for thing in picture.scene.things)


def test_evaluation_pictures_are_new_and_every_kind_is_asked() -> None:
    trained = {training_picture(1, number).image.tobytes() for number in range(80)}
    for held_out in (False, True):
        asked = WORLD.evaluation_questions(80, 1, held_out=held_out)
        assert len(asked) == 80
        assert not trained & {one.image.tobytes() for one in asked}
        counts = Counter(one.kind for one in asked)
        assert counts.keys() == {question.kind for question in QUESTIONS}
        one_step = counts["attribute"] + counts["existence"] + counts["one shape"]
        assert one_step <= 0.15 * len(asked)
        again = WORLD.evaluation_questions(80, 1, held_out=held_out)
        assert [(one.text, one.image.tobytes()) for one in again] == [
            (one.text, one.image.tobytes()) for one in asked
        ]
    other = WORLD.evaluation_questions(80, 2, held_out=True)
    assert not {one.image.tobytes() for one in other} & {one.image.tobytes() for one in asked}


def test_a_training_seed_gives_the_same_pictures_in_any_order() -> None:
    picture = training_picture(3, 7)
    training_picture.cache_clear()
    assert training_picture(3, 7).image.tobytes() == picture.image.tobytes()
    assert training_picture(4, 7).image.tobytes() != picture.image.tobytes()


def test_labels_are_right_for_the_files_and_unknown_for_anything_else(tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    write_images(folder, WORLD, 12, seed=0)
    files = sorted(folder.iterdir())
    assert len(files) == 12
    answered = 0
    for file in files:
        assert Image.open(file).info == {}
        picture = named_picture(file)
        assert picture is not None
        for question in QUESTIONS:
            expected = question.about(picture).answer if question.openings(picture.scene) else None
            assert answer(file, question.text) == expected
            answered += expected is not None
    assert answered > 12 * 5
    assert answer(files[0], "What is the sum of row 1?") is None
    [asked] = [q for q in QUESTIONS if q.openings(training_picture(0, 0).scene)][:1]
    other = tmp_path / files[0].name
    Image.open(files[1]).save(other)
    assert answer(other, asked.text) is None
    unnamed = tmp_path / "photo.png"
    Image.open(files[0]).save(unnamed)
    assert answer(unnamed, asked.text) is None


def test_a_lesson_says_what_each_cell_shows() -> None:
    rng = np.random.default_rng(0)
    numbers, forms, colors = WORLD.cell_words
    for lesson in WORLD.lessons(rng)(60):
        scene = lesson.picture.scene
        said = np.array(lesson.words)
        assert said.shape == (3, CELLS)
        seen = [cell for cell in lesson.picture.seen if cell is not None]
        assert set(seen) == set(scene.things)
        for cell, thing in enumerate(lesson.picture.seen):
            if thing is not None:
                words = (numbers[said[0, cell]], forms[said[1, cell]], colors[said[2, cell]])
                assert words == (str(thing.number), f"{thing.form}.\n", f"{thing.color} ")
        for asked in (*lesson.to_open(rng), *lesson.to_answer(6, rng)):
            assert asked.text in BY_TEXT
        assert BY_TEXT[lesson.to_propose(rng)].fits(scene)


def test_every_word_of_easy_vqas_questions_is_a_token() -> None:
    tokenizer = build_tokenizer("", WORLD)
    texts = {*easy_vqa.get_test_questions()[0], *easy_vqa.get_train_questions()[0]}
    assert texts <= set(WORLD.question_texts)
    for text in texts:
        prompt = solver_messages(text)[0]["content"][1]["text"]
        pieces = [tokenizer.decode(token) for token in tokenizer(prompt)["input_ids"]]
        assert not any(len(piece) == 1 and piece.isalpha() for piece in pieces if piece != "a")


def test_our_programs_agree_with_easy_vqa() -> None:
    asked = easy_vqa_evaluation(400, seed=0)
    groups = Counter(
        "form" if one.answer in FORMS else "color" if one.answer in COLORS else one.answer for one in asked
    )
    assert groups == {"form": 100, "color": 100, "yes": 100, "no": 100}
    for one in asked:
        [opening] = one.openings
        *_, color, form = opening.text.rstrip(".").split()
        scene = Scene("one shape", (shape(form, color),))
        question = BY_TEXT[one.text]
        assert question.openings(scene) == one.openings
        assert question.conclude(0, scene) == one.answer


def test_the_evaluation_on_easy_vqa_is_seeded() -> None:
    texts = [[one.text for one in easy_vqa_evaluation(40, seed)] for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


def test_pictures_of_one_shape_vary_in_position_and_size() -> None:
    rng = np.random.default_rng(0)
    covered = [random_picture("one shape", rng, held_out=True).seen for _ in range(60)]
    shown = np.array([[thing is not None for thing in cells] for cells in covered])
    assert shown.any(axis=0).all()
    assert len(set(shown.sum(axis=1).tolist())) > 3
