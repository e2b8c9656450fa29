"""`kgrec ablate` on the shop."""

import json

from conftest import RunCommand, Shop


def test_ablate_reports_the_value_of_the_graph_and_keeps_its_trainings(shop: Shop, run: RunCommand):
    out = shop.folder.parent / "ablation"
    args = ("ablate", shop.store, "--out", out, "--config", shop.config)
    ran = run(*args)
    assert ran.code == 0, ran.err
    assert "training 1 of 7: the whole catalogue\n" in ran.err  # thrice; without links, texts, either; shuffled
    assert "training 7 of 7: shuffled, about " in ran.err
    assert "7 trainings; report written to" in ran.err
    found = json.loads((out / "ablation.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in found["relations"]] == ["made_by"]
    assert [row["name"] for row in found["controls"]] == ["no_links", "no_texts", "neither", "shuffled"]
    assert found["relations"][0]["changes"] == found["controls"][0]["changes"]  # it is the only relation
    assert "your graph is not shown to help more than a shuffled one" in ran.out  # too few products for any finding
    assert "made_by" in ran.out
    page = (out / "ablation.html").read_text(encoding="utf-8")
    assert "<h1>shop: is the graph helping?</h1>" in page
    assert found["controls"][3]["finding"] in page

    again = run(*args)
    assert again.code == 0
    assert "training" not in again.err.replace("7 trainings", "")  # all trainings are kept
    assert again.out == ran.out


def test_ablate_refuses_invalid_requests(shop: Shop, run: RunCommand):
    out = shop.folder.parent / "ablation"
    ran = run("ablate", shop.store, "--out", out, "--relations", "made_by, sold_by")
    assert (ran.code, ran.out) == (2, "")
    assert "no relation 'sold_by' in 'shop'; expected some of: made_by" in ran.err
    assert not out.exists()
    assert run("ablate", shop.store, "--out", shop.config, "--config", shop.config).code == 2  # a file is there
