"""The likes of linked users, worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from book_club import SCHEMA
from scipy.sparse import csr_array
from torch_geometric.data import HeteroData

from kgrec.evaluate import linked_users
from kgrec.evaluate.linked_users import LinkedUsers, link_users, tune_linked_users
from kgrec.graph.node_links import build_user_links
from kgrec.questions.slices import Slice, evaluate_slice

# Reader 3 is a friend of reader 0 and lives in the town of readers 1 and 2.
LIKES = csr_array(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], np.float32))
ALONE = np.log1p([1, 2, 1, 0]) * 1e-6  # ties are broken by popularity


def make_links() -> HeteroData:
    data = HeteroData()
    for name, n in (("reader", 4), ("book", 4), ("town", 1)):
        data[name].num_nodes = n
    data["reader", "friend_of", "reader"].edge_index = torch.tensor([[3], [0]])
    data["reader", "lives_in", "town"].edge_index = torch.tensor([[1, 2, 3], [0, 0, 0]])
    return data


@pytest.fixture
def linked() -> LinkedUsers:
    found = link_users(build_user_links(make_links(), SCHEMA), "reader", LIKES)
    assert found is not None
    return found


def test_friends_count_in_full_and_a_town_by_its_mean(linked: LinkedUsers):
    # Two readers of the town have likes: each counts 2^-damping.
    np.testing.assert_allclose(linked.score_users(np.array([3]))[0], np.array([1, 1, 0.5, 0]) + ALONE, rtol=1e-6)
    often = replace(linked, damping=0.5, direct_weight=10.0)
    shared = 2**-0.5
    np.testing.assert_allclose(
        often.score_users(np.array([3]))[0], np.array([10, 2 * shared, shared, 0]) + ALONE, rtol=1e-6
    )


def test_a_town_of_many_is_added_up_once_with_the_same_result(linked: LinkedUsers, monkeypatch: pytest.MonkeyPatch):
    expected = linked.score_users(np.arange(4))
    monkeypatch.setattr(linked_users, "_MANY_USERS", 1)
    np.testing.assert_allclose(replace(linked).score_users(np.arange(4)), expected, rtol=1e-6)


def test_the_settings_are_those_that_rank_best_on_validation(linked: LinkedUsers):
    # The friend's book is wanted, not the town's: it comes first only with a large weight of direct links.
    wanted = csr_array(np.array([[0] * 4] * 3 + [[1, 0, 0, 0]], np.float32))
    asked = Slice("cold_users_k0", "Cold users", csr_array((4, 4), dtype=np.float32), wanted)
    found, choice = tune_linked_users(linked, LIKES, [asked])
    assert found.direct_weight == 10
    assert choice.startswith("new users without likes: damping 0.5, direct weight 10 (best of 4 on validation: ")
    assert evaluate_slice(found, asked, 1).per_user("recall").tolist() == [1]
    unchanged, choice = tune_linked_users(linked, LIKES, [])
    assert unchanged is linked
    assert choice == "defaults: too few likes to hold any out for validation"


def test_without_links_there_is_no_such_baseline():
    data = make_links()
    for edge in (("reader", "friend_of", "reader"), ("reader", "lives_in", "town")):
        data[edge].edge_index = torch.zeros((2, 0), dtype=torch.long)
    assert link_users(build_user_links(data, SCHEMA), "reader", LIKES) is None
