import numpy as np
from planted_words import plant_words

from kgrec.adapt.held_out_items import hold_out, is_gain, measure_gain, quality, shuffle_items


def test_training_excludes_held_out_items_and_each_is_scored_once() -> None:
    graph, likes = plant_words()
    known, rest, validation = hold_out(likes, graph, 0.25, 10_000, seed=3)
    assert validation is not None
    held_out = np.setdiff1d(likes.items, rest.items)
    assert len(held_out) == int(0.25 * len(np.unique(likes.items)))
    assert len(rest) + int(np.isin(likes.items, held_out).sum()) == len(likes)
    stop, judge = validation.stop.candidates, validation.judge.candidates
    assert not (stop & judge).any()
    asked = {graph.texts[text] for text in validation.texts[stop | judge]}
    assert asked == {graph.texts[text] for text in graph.item_text[held_out]}
    assert validation.likes[:, np.flatnonzero(stop | judge)].nnz == 0
    touched = np.isin(graph.links, graph.item_text[held_out]).any(axis=0)
    assert 0 < touched.sum() < len(touched)
    assert np.array_equal(known.links, graph.links[:, ~touched])
    assert len(known.relation) == len(known.links[0])
    n_asked = validation.stop.relevant.nnz + validation.judge.relevant.nnz
    assert n_asked == int(np.isin(likes.items, held_out).sum())


def test_a_large_catalogue_is_validated_on_a_part_of_it() -> None:
    graph, likes = plant_words()
    _, rest, validation = hold_out(likes, graph, 0.25, 80, seed=3)
    assert validation is not None
    assert len(validation.texts) == 80
    assert int((validation.stop.candidates | validation.judge.candidates).sum()) == 20
    n_liked = len(np.unique(likes.items))
    # Held-out items outside the sample are not trained on either.
    assert len(np.unique(rest.items)) == n_liked - int(0.25 * n_liked)


def test_too_little_data_gives_no_validation() -> None:
    graph, likes = plant_words(n_users=1, likes_each=2)
    assert hold_out(likes, graph, 0.25, 100, seed=0) == (graph, likes, None)


def test_vectors_that_know_the_topic_find_the_likes() -> None:
    graph, likes = plant_words()
    _, _, validation = hold_out(likes, graph, 0.25, 10_000, seed=0)
    assert validation is not None
    topic = [
        int(next(word for word in graph.texts[t].split() if word.startswith("topic"))[5:]) for t in validation.texts
    ]
    exact = np.eye(12, dtype=np.float32)[topic]
    blind = np.eye(12, dtype=np.float32)[np.random.default_rng(0).permutation(topic)]
    known, unknown = (validation.ask(vectors, validation.judge) for vectors in (exact, blind))
    assert quality(known) > 1.5 * quality(unknown)
    gain, error = measure_gain(unknown, known)
    assert is_gain(gain, error)
    assert measure_gain(known, known) == (0.0, 0.0)
    assert not is_gain(0.0, 0.0)
    assert not is_gain(0.05, 0.03)
    assert not is_gain(0.005, 0.001)


def test_shuffling_keeps_user_and_item_counts() -> None:
    _, likes = plant_words()
    shuffled = shuffle_items(likes, np.random.default_rng(0))
    assert (shuffled.users == likes.users).all()
    n_items = likes.shape[1]
    counts = [np.bincount(one.items, minlength=n_items) for one in (likes, shuffled)]
    assert sorted(counts[0]) == sorted(counts[1])
    assert (counts[0] != counts[1]).any()
    assert len(set(zip(shuffled.users, shuffled.items, strict=True))) == len(likes)
