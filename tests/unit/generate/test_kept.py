from threading import Thread

from kgrec.generate.kept import Kept


def test_what_was_made_is_found_again_by_identity() -> None:
    kept, made = Kept[int](), list[int]()

    def make(value: int) -> int:
        made.append(value)
        return value

    one, same = [1], [1]
    assert [kept.find(one, lambda: make(1)), kept.find(one, lambda: make(2)), kept.find(same, lambda: make(3))] == [
        1,
        1,
        3,
    ]
    assert made == [1, 3]


def test_only_the_last_few_are_kept() -> None:
    kept, sources = Kept[int](), [[place] for place in range(6)]
    for place, source in enumerate(sources):
        kept.find(source, lambda place=place: place)
    assert kept.find(sources[-1], lambda: -1) == 5
    assert kept.find(sources[0], lambda: -1) == -1


def test_threads_make_it_once() -> None:
    kept, made, source = Kept[object](), list[object](), object()

    def find() -> None:
        kept.find(source, lambda: made.append(object()) or made[-1])

    threads = [Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
