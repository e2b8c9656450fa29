"""The page in a real Chromium, before a real service."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from film_bundle import train_films
from serving import Server, serve

from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.recommend import Recommender
from kgrec.service.caller import Scope, Tenant

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
expect = sync_api.expect
expect.set_options(timeout=30_000)  # a sentence waits for the text encoder; nothing else takes so long
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium as Debian packages it")]

HOSTILE = "<img src=x onerror=alert(1)>"
LONG = "The Film With a Name So Long That No List Has Room for All of It, Not Even on a Wide Desktop, Part Two"
REPORT = """<!doctype html><html lang="en"><head><title>Report</title><style>h1 { color: rgb(1, 2, 3); }
.paper { color: light-dark(rgb(7, 8, 9), rgb(10, 11, 12)); }</style>
<script>parent.document.title = "taken";</script></head>
<body><h1>How good</h1><p style="color: rgb(4, 5, 6)">Recall</p><p class="paper">Paper</p></body></html>"""
VIEWS = (
    "recommend?like=1&like=404&like=432",
    "item?item=1",
    "item?item=404",
    "new",
    "compare?like=1&like=432",
    "report",
    "status",
    "keys",
)


@dataclass
class Opened:
    """A page, and what went wrong in it."""

    page: Any
    url: str
    mistakes: list[str] = field(default_factory=list)

    def go(self, view: str) -> Any:
        """Opens a view afresh."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/#/{view}")
        expect(self.page.locator("main h1")).to_be_visible()
        expect(self.page.locator(".skeleton")).to_have_count(0)
        return self.page

    def titles(self) -> list[str]:
        """The items of the first list, as it is shown."""
        return list(self.page.locator(".items").first.locator(".item-title a").all_text_contents())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    bundle, candidate, report = train_films(folder), folder / "candidate", folder / "report"
    films = load_bundle(bundle)
    named = [HOSTILE if id_ == "404" else LONG if id_ == "432" else name for id_, name in _name(films)]
    films = replace(films, names={**films.names, films.schema.item_type: named})
    save_bundle(films, bundle)
    recommender = Recommender(films)
    recommender.forget([str(user) for user in range(1, 40, 2)])
    recommender.save(candidate)
    report.mkdir()
    (report / "report.html").write_text(REPORT)
    options = ["--candidate", str(candidate), "--report", str(report)]
    with serve(bundle, folder / "service", options) as running:
        yield running


def _name(films: Bundle) -> Iterator[tuple[str, str | None]]:
    return zip(films.items.ids, films.names[films.schema.item_type], strict=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        expect.set_options(timeout=30_000)
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(server: Server, browser: Any) -> Iterator[Callable[..., Opened]]:
    """Opens the page with a key; at the end nothing may have gone wrong in it, the policy included."""
    contexts, all_opened = [], []

    def open_page(scope: Scope | None = Scope.ADMIN, width: int = 1280, **settings: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 800}, reduced_motion="reduce", **settings)
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        opened = Opened(page, server.url)
        all_opened.append(opened)
        page.on("pageerror", lambda error: opened.mistakes.append(str(error)))
        page.on("console", lambda said: said.type == "error" and opened.mistakes.append(said.text))
        page.on("dialog", lambda dialog: (opened.mistakes.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(server.url)
        if scope is not None:
            enter_key(page, server.key(scope))
            expect(page.locator("#views a").first).to_be_visible()
        return opened

    yield open_page
    for context in contexts:
        context.close()
    assert [opened.mistakes for opened in all_opened] == [[] for _ in all_opened]


def enter_key(page: Any, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Open").click()


def choose(page: Any, label: str, text: str) -> None:
    """Types into a search field, and takes the first suggestion by keyboard."""
    field_ = page.get_by_role("combobox", name=label)
    field_.fill(text)
    expect(page.locator(".options:not([hidden]) [aria-selected]").first).to_be_visible()
    field_.press("Enter")


def test_a_wrong_key_is_told_and_a_right_one_stays_in_the_tab(open_page: Callable[..., Opened], server: Server) -> None:
    opened = open_page(None)
    page, key = opened.page, server.key(Scope.READ)
    enter_key(page, f"kgrec_{'0' * 8}_{'x' * 43}")
    expect(page.get_by_role("alert")).to_contain_text("The key is not valid")
    assert [text for text in opened.mistakes if "401" not in text] == []
    opened.mistakes.clear()  # Chromium says that the service answered 401
    enter_key(page, key)
    expect(page.locator("#catalogue")).not_to_be_empty()
    assert key not in page.url
    assert page.evaluate("Object.values(sessionStorage)") == [key]
    assert key not in str(page.evaluate("Object.values(localStorage)")) + page.content()
    page.reload()
    expect(page.locator("#views a")).to_have_count(6)  # without that of the keys
    opened.go("keys")
    expect(page.get_by_role("alert")).to_contain_text("This key does not allow it")
    expect(page.get_by_role("alert")).to_contain_text("Expected the scope admin")
    assert [text for text in opened.mistakes if "403" not in text] == []
    opened.mistakes.clear()


def test_likes_are_found_by_name_become_chips_and_make_a_list(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    page = opened.go("recommend")
    expect(page.locator(".notes")).to_contain_text("no likes")
    choose(page, "Likes", "toy stroy")
    expect(page.locator(".chip-text")).to_have_text(["Toy Story"])
    choose(page, "Likes", "aladin")
    expect(page.locator(".chip-text")).to_have_text(["Toy Story", "Aladdin"])
    expect(page.locator(".item-title a").filter(has_text=re.compile("^Aladdin$"))).to_have_count(0)
    assert page.url.endswith("#/recommend?like=1&like=95")
    page.reload()
    expect(page.locator(".chip-text")).to_have_text(["Toy Story", "Aladdin"])
    page.get_by_role("button", name="Remove Toy Story").click()
    expect(page.locator(".chip-text")).to_have_text(["Aladdin"])
    expect(page.locator(".item-title a").filter(has_text="Toy Story")).to_have_count(1)
    page.get_by_role("button", name="Like Toy Story").click()
    expect(page.locator(".chip-text")).to_have_text(["Aladdin", "Toy Story"])


def test_the_id_of_a_user_is_asked_when_it_is_typed_and_stays_out_of_the_address(
    open_page: Callable[..., Opened],
) -> None:
    opened = open_page()
    page = opened.go("recommend")
    user = page.get_by_label("A user")
    user.fill("nobody")
    user.press("Enter")
    expect(page.locator(".list-body")).to_contain_text("There is no user “nobody”")
    expect(page.get_by_role("alert")).to_have_count(0)
    opened.mistakes.clear()  # Chromium says that the service answered 422
    user.fill("2")
    user.blur()
    expect(page.locator(".item").first).to_be_visible()
    titles = opened.titles()
    assert page.url.endswith("#/recommend")
    page.reload()
    expect(page.get_by_label("A user")).to_have_value("2")
    expect(page.locator(".item").first).to_be_visible()
    assert opened.titles() == titles
    page = opened.go("item?item=1")
    link = page.get_by_role("region", name="Who would get it").locator("tbody a").first
    name = link.inner_text()
    link.click()
    expect(page.get_by_label("A user")).to_have_value(name)
    assert page.url.endswith("#/recommend")


def test_the_last_list_stays_while_the_service_is_away(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    page = opened.go("recommend?like=1")
    before = opened.titles()
    page.route("**/recommend", lambda route: route.abort())
    page.get_by_role("slider", name="Tail").press("End")
    expect(page.get_by_role("alert")).to_contain_text("The service cannot be reached")
    assert opened.titles() == before
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_have_count(1)
    page.unroute("**/recommend")
    expect(page.get_by_role("alert")).to_have_count(0)  # it asks again by itself
    expect(page.locator(".items .item-title a").first).not_to_have_text(before[0])
    opened.mistakes.clear()  # Chromium says that nothing answered


def test_chips_that_are_removed_by_keyboard_give_the_focus_on(open_page: Callable[..., Opened]) -> None:
    page = open_page().go("recommend?like=1&like=95")
    page.get_by_role("button", name="Remove Toy Story").press("Enter")
    expect(page.get_by_role("button", name="Remove Aladdin")).to_be_focused()
    page.get_by_role("button", name="Remove Aladdin").press("Enter")
    expect(page.get_by_role("combobox", name="Likes")).to_be_focused()


def test_an_item_that_is_not_there_is_told_once(open_page: Callable[..., Opened]) -> None:
    page = open_page().go("item?item=no-such")
    expect(page.locator(".empty")).to_have_text(re.compile("There is no item “no-such”"))
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_role("link", name="Recommend to somebody")).to_have_count(0)


def test_the_dials_move_the_list_and_late_answers_are_ignored(open_page: Callable[..., Opened], server: Server) -> None:
    opened = open_page()
    page = opened.go("recommend?like=1")
    before, held = opened.titles(), []
    with server.client() as client:
        asked = {"likes": ["1"], "k": 10, "tail": 1, "explain": True}
        expected = [each["title"] for each in client.post("/recommend", json=asked).json()["items"]]
    assert expected != before
    page.route("**/recommend", lambda route: route.continue_() if held else held.append(route))
    dial = page.get_by_role("slider", name="Tail")
    dial.press("Home")
    page.wait_for_timeout(150)
    assert len(held) == 1  # this question waits; the next one is answered
    dial.press("End")
    expect(page.locator(".items .item-title a").first).to_have_text(expected[0])
    assert opened.titles() == expected
    held[0].fallback()
    page.wait_for_timeout(150)
    assert opened.titles() == expected
    assert "tail=1" in page.url
    dial.dblclick()
    expect(page.locator(".items .item-title a").first).to_have_text(before[0])


def test_why_has_shares_that_add_up_and_a_path_drawn_as_a_graph(open_page: Callable[..., Opened]) -> None:
    page = open_page().go("recommend?like=1&like=95")
    row = page.locator(".item").first
    row.get_by_role("button", name="Why").click()
    expect(row.locator(".share-value").first).to_be_visible()
    shares = [float(text) for text in row.locator(".share-value").all_text_contents()]
    score = float(row.locator(".score").inner_text())
    assert sum(shares) == pytest.approx(score, abs=0.005 * (len(shares) + 1))
    graph = row.locator(".path-graph svg").first
    assert graph.locator(".node-title").first.text_content() == row.locator(".item-title a").inner_text()
    assert graph.locator(".node-title").last.text_content() in ("Toy Story", "Aladdin")
    expect(graph).to_contain_text("Animation")
    assert graph.locator("path.edge").count() >= 2
    row.get_by_role("button", name="Why").click()
    expect(row.locator(".why")).to_be_hidden()


def test_an_item_has_similar_ones_a_neighbourhood_and_an_audience(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    page = opened.go("item")
    choose(page, "Item", "star wars")
    expect(page.locator("h1")).to_have_text("Star Wars")
    similar = page.get_by_role("region", name="Similar")
    expect(similar.locator(".item").first).to_be_visible()
    similar.get_by_role("radio", name="Links").check()
    expect(similar.locator(".reason").first).to_contain_text("Sci-Fi")
    audience = page.get_by_role("region", name="Who would get it")
    expect(audience.locator(".figure")).to_contain_text(re.compile(r"^\d+ of \d+ users"))
    assert audience.locator("tbody tr").count() > 0
    graph = page.locator(".neighbourhood svg")
    expect(graph.locator("g.node").filter(has_text="Sci-Fi")).to_be_visible()
    graph.locator("a.node", has_text="Alien").click()
    expect(page.locator("h1")).to_have_text("Alien")
    assert page.url.endswith("#/item?item=183")


def test_a_key_that_reads_sees_how_many_would_get_an_item_not_who(
    open_page: Callable[..., Opened], server: Server
) -> None:
    page = open_page(Scope.READ).go("item?item=1")
    audience = page.get_by_role("region", name="Who would get it")
    expect(audience.locator(".figure")).to_contain_text("users would have it")
    expect(audience.locator("table")).to_have_count(0)
    with server.client(Scope.READ, Tenant("genre", "Animation")) as tenant:
        for path, body in (("/neighbourhood", {"item": "50"}), ("/audience", {"item": "50"})):
            assert tenant.post(path, json=body).status_code == 422
        assert tenant.post("/search", json={"text": "star wars"}).json()["items"] == []
        assert tenant.post("/search", json={"items": ["50", "1"]}).json()["items"][0]["item"] == "1"
        nodes = tenant.post("/neighbourhood", json={"item": "1"}).json()["nodes"]
        assert {node["id"] for node in nodes}.isdisjoint({"50", "258", "28", "183", "62", "222"})


def test_a_new_item_is_tried_before_it_is_added(open_page: Callable[..., Opened], server: Server) -> None:
    page = open_page().go("new")
    page.get_by_label("Id", exact=True).fill("new-cartoon")
    page.get_by_label("Name", exact=True).fill("Toys in Space")
    choose(page, "Linked to", "animat")
    expect(page.locator(".chip-text")).to_have_text(["genreAnimation"])
    add = page.get_by_role("button", name="Add to the catalogue")
    expect(add).to_be_disabled()
    expect(page.get_by_text("See who would get it first")).to_be_visible()
    page.get_by_role("button", name="See who would get it").click()
    expect(page.locator(".figure")).to_contain_text("users would have it")
    expect(page.get_by_text("See who would get it first")).to_be_hidden()
    with server.client(Scope.READ) as client:
        assert client.post("/search", json={"items": ["new-cartoon"]}).json()["items"] == []
    expect(add).to_be_enabled()
    add.click()
    page.get_by_role("link", name="See Toys in Space").click()
    expect(page.locator("h1")).to_have_text("Toys in Space")


def test_two_settings_and_two_bundles_are_compared(open_page: Callable[..., Opened]) -> None:
    page = open_page().go("compare?like=1&tail-b=1")
    expect(page.locator(".compared .item").first).to_be_visible()
    expect(page.locator(".figure")).to_contain_text("in both lists")
    expect(page.locator(".compared").last.locator(".moved.up, .moved.down, .moved.new").first).to_be_visible()
    page.get_by_role("radio", name="Two bundles").check()
    expect(page.get_by_role("heading", name="Candidate")).to_be_visible()
    expect(page.locator(".compared input[type=range]")).to_have_count(0)
    assert "by=bundles" in page.url


def test_the_report_is_shown_where_no_script_runs(open_page: Callable[..., Opened]) -> None:
    page = open_page().go("report")
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="How good")).to_have_css("color", "rgb(1, 2, 3)")
    expect(frame.get_by_text("Recall")).to_have_css("color", "rgb(4, 5, 6)")
    assert page.title() == "Report · kgrec"
    paper = frame.locator("p.paper")
    expect(paper).to_have_css("color", "rgb(7, 8, 9)")
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(paper).to_have_css("color", "rgb(10, 11, 12)")


def test_status_says_how_fresh_it_is(open_page: Callable[..., Opened], server: Server) -> None:
    page = open_page().go("status")
    with server.client() as client:
        n_items = client.get("/status").json()["versions"][0]["n_items"]
    expect(page.locator(".notice")).to_contain_text("It is ready")
    expect(page.get_by_role("region", name="Current")).to_contain_text(f"{n_items} items")
    expect(page.get_by_role("region", name="Candidate")).to_contain_text("40 users")


def test_admins_make_and_revoke_keys_and_read_the_audit(open_page: Callable[..., Opened], server: Server) -> None:
    page = open_page().go("keys")
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name").fill(HOSTILE)
    page.get_by_label("Scope").select_option("read")
    page.get_by_role("button", name="Make the key").click()
    made = page.get_by_label("The key").input_value()
    assert re.fullmatch(r"kgrec_[0-9a-f]{8}_.{43}", made)
    page.get_by_role("button", name="Done").click()
    row = page.get_by_role("row").filter(has_text=HOSTILE)
    expect(row).to_contain_text(made.split("_")[1])
    assert made not in page.content()
    row.get_by_role("button").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("revoked")
    expect(page.get_by_text("The chain is whole")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="revoke key").first).to_contain_text(made.split("_")[1])


def test_the_key_of_a_tenant_without_items_is_told(open_page: Callable[..., Opened], server: Server) -> None:
    page = open_page().go("keys")

    def make(tenant: str) -> None:
        page.get_by_role("button", name="New key").click()
        page.get_by_label("Name").fill("a tenant")
        page.get_by_label("Only items of").fill(tenant)
        page.get_by_role("button", name="Make the key").click()

    make("genre=Nobody Known")
    expect(page.get_by_role("dialog")).to_contain_text("No item exists for this key")
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    make("genre=Animation")
    expect(page.get_by_role("dialog")).to_contain_text(re.compile(r"\d+ items exist for this key"))
    with server.client() as client:
        made = client.post("/keys", json={"create": {"name": "t", "tenant": "genre=Nobody Known"}})
        assert (made.status_code, made.json()["n_items"]) == (200, 0)
        assert client.post("/keys", json={"create": {"name": "t"}}).json()["n_items"] is None
        refused = client.post("/keys", json={"create": {"name": "t", "tenant": "gnre=Animation"}})
        assert refused.status_code == 422
        assert "did you mean 'genre'" in refused.text


def test_titles_with_html_in_them_are_text(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    page = opened.go("recommend?like=404&like=1")
    expect(page.locator(".chip-text").first).to_have_text(HOSTILE)
    page.locator(".item").first.get_by_role("button", name="Why").click()
    expect(page.locator(".shares")).to_contain_text(HOSTILE)
    opened.go("item?item=404")
    expect(page.locator("h1")).to_have_text(HOSTILE)
    expect(page.locator(".neighbourhood .node-title", has_text="<img src=x").first).to_be_visible()
    assert page.locator("main img").count() == 0


def test_a_phone_shows_each_view_without_scrolling_sideways(open_page: Callable[..., Opened]) -> None:
    opened = open_page(width=360)
    for view in VIEWS:
        page = opened.go(view)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, (view, wide)
        for part in page.locator(".panel, .part").all():  # nothing sticks out of its panel either
            assert part.evaluate("element => element.scrollWidth - element.clientWidth") <= 1, view


def test_light_and_dark_follow_the_system_until_they_are_switched(open_page: Callable[..., Opened]) -> None:
    opened = open_page(color_scheme="dark")
    page = opened.go("status")

    def lightness() -> float:
        return sum(
            map(float, re.findall(r"[\d.]+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3])
        )

    dark = lightness()
    page.get_by_role("button", name="Switch between light and dark").click()
    light = lightness()
    assert dark < 200
    assert light > 600
    page.reload()
    assert lightness() == light


def test_all_of_it_works_by_keyboard(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    page = opened.go("recommend")

    def tab_to(role: str, name: str) -> Any:
        wanted = page.get_by_role(role, name=name).first
        for _ in range(60):
            page.keyboard.press("Tab")
            if wanted.evaluate("element => element === document.activeElement"):
                return wanted
        raise AssertionError(f"the tab key does not reach the {role} {name!r}")

    search = tab_to("combobox", "Likes")
    assert search.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    page.keyboard.type("a")
    expect(page.get_by_role("option").nth(1)).to_be_visible()
    page.keyboard.press("ArrowDown")
    active = search.get_attribute("aria-activedescendant")
    chosen = page.locator(f"#{active} .option-title").inner_text()
    page.keyboard.press("Enter")
    expect(page.locator(".chip-text")).to_have_text([chosen])
    page.keyboard.type("zzz")
    expect(page.locator(".no-option")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    slider = tab_to("slider", "Tail")
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "+0.05, towards little known")
    why = tab_to("button", "Why")
    page.keyboard.press("Enter")
    expect(why).to_have_attribute("aria-expanded", "true")
    expect(page.locator(".shares")).to_be_visible()
    opened.go("keys")
    tab_to("button", "New key")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
