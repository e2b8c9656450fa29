"""What a process serves: writes last, others see them, and versions change whole."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from planted_catalogue import train_planted

from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.bundle.folder import MANIFEST
from kgrec.errors import BundleError, RequestError
from kgrec.messages import Interaction, InteractionsBody, ItemPart, ItemsBody, UserDescription, UsersBody, WriteAnswer
from kgrec.recommend import Recommender
from kgrec.service.audit_log import Pseudonyms
from kgrec.service.caller import Caller, Scope, Tenant
from kgrec.service.deployment import Act, Deployment, open_journal
from kgrec.service.forgetting import forget_users
from kgrec.service.journal import Entry
from kgrec.service.problems import Problem
from kgrec.service.settings import ServeSettings
from kgrec.service.write_routes import add_interactions, add_users, change_items

pytestmark = pytest.mark.slow
ANYBODY = Caller("k", "test", Scope.ADMIN)


@pytest.fixture
def settings(tmp_path: Path) -> ServeSettings:
    bundle = tmp_path / "bundle"
    shutil.copytree(train_planted(), bundle)
    return ServeSettings(bundle=bundle)


def open_deployment(settings: ServeSettings) -> Deployment:
    deployment = Deployment(settings, open_journal(settings), Pseudonyms(settings.folder))
    deployment.start()
    return deployment


def items(**parts: object) -> Act:
    return change_items(ItemsBody.model_validate(parts), ANYBODY)


def in_shop(item: str, shop: str = "s0") -> dict[str, object]:
    return {"item": item, "links": [["shop", shop]]}


def recommender(deployment: Deployment) -> Recommender:
    assert deployment.current is not None
    return deployment.current.recommender


def test_a_write_is_there_at_once_and_after_a_restart(settings: ServeSettings) -> None:
    first = open_deployment(settings)
    answer, replayed = first.write(items(add=[in_shop("new")]))
    assert isinstance(answer, WriteAnswer) and not replayed and answer.seq == 1
    first.write(add_users(UsersBody(add=[UserDescription(user="ann", likes=["i0", "new"])]), ANYBODY))
    first.write(add_interactions(InteractionsBody(interactions=[Interaction(user="bob", item="i1")]), ANYBODY))
    again = open_deployment(settings)
    for deployment in (first, again):
        bundle = recommender(deployment).bundle
        assert "new" in bundle.items and {"ann", "bob"} <= set(bundle.users.ids)
    asked = {"user": "ann", "k": 20}
    before, after = (recommender(deployment).recommend(**asked) for deployment in (first, again))
    assert before.ids == after.ids
    assert [one.score for one in before] == pytest.approx([one.score for one in after], abs=1e-5)


def test_a_refused_write_changes_nothing(settings: ServeSettings) -> None:
    deployment = open_deployment(settings)
    with pytest.raises(RequestError, match="exists already"):
        deployment.write(items(add=[in_shop("new"), in_shop("i0")]))
    assert deployment.journal.last_seq == 0 and "new" not in recommender(deployment).bundle.items


def test_items_are_changed_and_removed_also_after_a_restart(settings: ServeSettings) -> None:
    deployment = open_deployment(settings)
    deployment.write(items(add=[in_shop("new"), in_shop("other")]))
    deployment.write(items(change=[in_shop("new", "s1")], remove=["other", "i3"]))
    for each in (deployment, open_deployment(settings)):
        bundle = recommender(each).bundle
        assert "other" not in bundle.items and "i3" not in bundle.items
        edge = bundle.schema.edges["shop"]
        ends = bundle.edges["shop"]
        own = ends[0] == bundle.items.row("new")
        assert [bundle.ids[edge.target].ids[row] for row in ends[1][own].tolist()] == ["s1"]


def test_two_processes_see_each_others_writes(settings: ServeSettings) -> None:
    one, two = open_deployment(settings), open_deployment(settings)
    two.catch_up()
    assert not two.is_behind
    one.write(items(add=[in_shop("from-one")]))
    assert two.is_behind
    two.catch_up()
    assert "from-one" in recommender(two).bundle.items and not two.is_behind
    with pytest.raises(RequestError, match="exists already"):
        two.write(items(add=[in_shop("from-one")]))
    two.write(items(add=[in_shop("from-two")]))
    one.catch_up()
    assert "from-two" in recommender(one).bundle.items


def test_a_request_that_is_sent_again_is_answered_again_and_done_once(settings: ServeSettings) -> None:
    deployment = open_deployment(settings)
    first, replayed = deployment.write(items(add=[in_shop("new")]), "key", "hash")
    assert not replayed and isinstance(first, WriteAnswer)
    second, replayed = open_deployment(settings).write(items(add=[in_shop("new")]), "key", "hash")
    assert replayed and second == first.model_dump_json()
    with pytest.raises(Problem, match="used before"):
        deployment.write(items(add=[in_shop("third")]), "key", "other hash")


def test_a_snapshot_answers_as_the_journal_did(settings: ServeSettings) -> None:
    deployment = open_deployment(settings)
    deployment.write(items(add=[in_shop("new")]))
    deployment.snapshot()
    deployment.write(items(add=[in_shop("newer")]))
    assert deployment.stored.last_snapshot(deployment.stored.base(deployment.read_serving().current)) == 1
    again = open_deployment(settings)
    assert {"new", "newer"} <= set(recommender(again).bundle.items.ids)
    asked = {"likes": ["i0", "i2"], "k": 20}
    before, after = (recommender(each).recommend(**asked) for each in (deployment, again))
    assert [one.score for one in before] == pytest.approx([one.score for one in after], abs=1e-3)


def test_interactions_that_only_the_journal_has_stay_when_a_newer_bundle_comes(settings: ServeSettings) -> None:
    deployment = open_deployment(settings)
    bundle = recommender(deployment).bundle
    new = next(item for item in bundle.items.ids if item not in seen_by(bundle, "u0"))
    deployment.write(add_interactions(InteractionsBody(interactions=[Interaction(user="u0", item=new)]), ANYBODY))
    retrained = load_bundle(settings.bundle)
    save_bundle(replace(retrained, trained_at=int(time.time()) + 1000), settings.bundle)
    deployment.swap()
    assert new in seen_by(recommender(deployment).bundle, "u0")


def seen_by(bundle: Bundle, user: str) -> set[str]:
    row = bundle.users.row(user)
    return {bundle.items.ids[item] for item in bundle.seen[[row]].indices}


def replace_bundle(settings: ServeSettings, seed: int) -> None:
    shutil.rmtree(settings.bundle)
    shutil.copytree(train_planted(seed), settings.bundle)


def test_a_new_bundle_is_served_with_what_was_written_and_can_be_taken_back(settings: ServeSettings) -> None:
    deployment = open_deployment(settings)
    deployment.write(items(add=[in_shop("new")]))
    first = deployment.read_serving().current
    replace_bundle(settings, 1)
    deployment.swap()
    second = deployment.read_serving().current
    assert second != first and deployment.read_serving().previous == first
    assert "new" in recommender(deployment).bundle.items
    deployment.roll_back()
    assert deployment.read_serving().current == first
    deployment.look()
    assert deployment.read_serving().current == first, "the bundle that was taken back stays so"
    assert "new" in recommender(open_deployment(settings)).bundle.items


def test_a_damaged_bundle_is_not_taken(settings: ServeSettings) -> None:
    deployment = open_deployment(settings)
    first = deployment.read_serving().current
    manifest = settings.bundle / MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:-10])
    with pytest.raises(BundleError, match="damaged"):
        deployment.swap()
    assert deployment.read_serving().current == first
    assert "damaged" in deployment.read_serving().problems["current"]
    again = open_deployment(settings)  # also after a restart
    assert again.read_serving().current == first
    replace_bundle(settings, 1)
    again.swap()
    assert again.read_serving().problems == {} and again.read_serving().current != first


def test_a_forgotten_user_is_nowhere_and_stays_forgotten(settings: ServeSettings) -> None:
    deployment = open_deployment(settings)
    name = "somebody-with-a-long-name"
    deployment.write(add_users(UsersBody(add=[UserDescription(user=name, likes=["i0"])]), ANYBODY))
    deployment.snapshot()
    answer = forget_users(deployment, [name, "u3"])
    assert answer.forgotten == 2
    assert [sum(receipt.places.values()) for receipt in answer.receipts] == [0, 0]
    assert [receipt.source_bundle for receipt in answer.receipts] == [False, True]
    files = [file for file in settings.folder.rglob("*") if file.is_file()]
    assert not [file for file in files if name.encode() in file.read_bytes()]
    for each in (deployment, open_deployment(settings)):
        assert not {name, "u3"} & set(recommender(each).bundle.users.ids)
    replace_bundle(settings, 1)  # has u3
    assert "u3" in load_bundle(settings.bundle).users
    deployment.swap()
    assert "u3" not in recommender(deployment).bundle.users
    with pytest.raises(RequestError, match="users who are unknown, such as 'nobody'"):
        forget_users(deployment, ["nobody"])


def test_a_candidate_takes_the_same_writes(settings: ServeSettings, tmp_path: Path) -> None:
    candidate = tmp_path / "candidate"
    shutil.copytree(train_planted(1), candidate)
    deployment = open_deployment(settings.model_copy(update={"candidate": candidate}))
    deployment.write(items(add=[in_shop("new")]))
    assert {role: "new" in served.recommender.bundle.items for role, served in deployment.served.items()} == {
        "current": True,
        "candidate": True,
    }
    assert len({served.version for served in deployment.served.values()}) == 2


def test_a_candidate_that_was_left_out_is_served_when_it_is_named_again(
    settings: ServeSettings, tmp_path: Path
) -> None:
    candidate = tmp_path / "candidate"
    shutil.copytree(train_planted(1), candidate)
    both = settings.model_copy(update={"candidate": candidate, "share": 0.25})
    assert set(open_deployment(both).served) == {"current", "candidate"}
    assert set(open_deployment(settings).served) == {"current"}
    again = open_deployment(both.model_copy(update={"share": None}))
    assert set(again.served) == {"current", "candidate"} and again.serving.share == 0.25
    assert open_deployment(both.model_copy(update={"share": 0.5})).serving.share == 0.5


def test_a_tenant_adds_changes_and_removes_only_its_items(settings: ServeSettings) -> None:
    deployment = open_deployment(settings)
    caller = Caller("k", "shop", Scope.WRITE, Tenant("shop", "s0"))

    def write(**parts: object) -> None:
        deployment.write(change_items(ItemsBody.model_validate(parts), caller))

    write(add=[in_shop("mine")])
    write(change=[in_shop("mine")])
    for parts in ({"add": [in_shop("theirs", "s1")]}, {"change": [in_shop("i1")]}, {"remove": ["i1"]}):
        with pytest.raises(RequestError):
            write(**parts)
    write(remove=["mine"])
    interactions = InteractionsBody(
        interactions=[Interaction(user="ann", item="i0"), Interaction(user="ann", item="i1")]
    )
    answer, _ = deployment.write(add_interactions(interactions, caller))
    assert isinstance(answer, WriteAnswer) and answer.added == 1 and answer.unknown == {"items": ["i1"]}


def test_the_journal_of_another_catalogue_keeps_what_fits(settings: ServeSettings) -> None:
    deployment = open_deployment(settings)
    with deployment.journal.writing() as writing:
        bad = ItemPart(item="bad", links=[("no_such_edge", "x")])
        good = ItemPart(item="good", links=[("shop", "s1")])
        writing.append([Entry("item", part.item, body=part.model_dump_json()) for part in (bad, good)])
    deployment.catch_up()
    assert deployment.current is not None
    assert "good" in recommender(deployment).bundle.items and "bad" not in recommender(deployment).bundle.items
    assert len(deployment.current.refused) == 1
