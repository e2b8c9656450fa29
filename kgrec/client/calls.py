"""The requests of the client as values: each is checked and written once, and may be sent several times."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic import ValidationError

from kgrec import messages
from kgrec.messages import (
    AudienceAnswer,
    Body,
    ExplainAnswer,
    FeedbackEvent,
    Interaction,
    ItemPart,
    NeighbourhoodAnswer,
    RecommendAnswer,
    SearchAnswer,
    StatusAnswer,
    UserDescription,
    Which,
    WriteAnswer,
)

if TYPE_CHECKING:
    import pandas as pd

A = TypeVar("A")
LikeTime = date | int | str | None
Fields = Mapping[str, Any]
_WRITES = {"/items", "/users", "/interactions", "/feedback"}


@dataclass(frozen=True)
class Call(Generic[A]):
    """One request.

    Attributes:
        path: the path of the route.
        read: reads the body of a good answer.
        body: what is sent; None: nothing.
        method: the HTTP method.
        media_type: of `body`.
        idempotency_key: of a write; each attempt has the same, so that the service writes once.
        may_repeat: whether it is sent again where the service may have done it, but no answer arrived.
    """

    path: str
    read: Callable[[bytes], A]
    body: bytes | None = None
    method: str = "POST"
    media_type: str = "application/json"
    idempotency_key: str | None = None
    may_repeat: bool = True


def recommend(
    user: str | None = None,
    likes: Iterable[str] | None = None,
    text: str | None = None,
    *,
    sequence: Iterable[tuple[str, LikeTime]] | None = None,
    links: Iterable[tuple[str, str]] | None = None,
    attributes: Fields | None = None,
    k: int = 10,
    candidates: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    filter_seen: bool = True,
    tail: float = 0.0,
    diversity: float = 0.0,
    at_most: Mapping[str, int] | None = None,
    explain: bool = False,
    pitch: bool | Literal["en", "de", "fr"] = False,
    session: str | None = None,
    version: Which | None = None,
) -> Call[RecommendAnswer]:
    """Recommends items to one user; the arguments are those of `Recommender.recommend`.

    Args:
        user: id of a known user.
        likes: ids of items that the user likes, the latest last.
        text: what the user wants, in words.
        sequence: instead of `likes`, pairs (item, time) in any order.
        links: pairs (edge type, id of the linked node) of the user.
        attributes: attribute -> value of the user.
        k: the number of items.
        candidates: ids of items that may be recommended; None: all.
        exclude: ids of items to leave out.
        filter_seen: whether to leave out what the user likes or has seen.
        tail: the tail dial, from -1, popular, to 1, little known.
        diversity: from 0, as the model ranks, to 1.
        at_most: a kind of linked node -> the most items with the same one.
        explain: whether to give reasons.
        pitch: whether to give pitches, in which language.
        session: any text that stays the same for a visitor without an id; it decides which version answers.
        version: which bundle answers; None: by the share of users.

    Raises:
        RequestError: an argument has the wrong type or range.
        ServiceError: the service refuses it, or does not answer.
    """
    return _ask(
        "/recommend",
        RecommendAnswer,
        messages.RecommendBody,
        **_user_fields(user, likes, text, sequence, links, attributes),
        k=k,
        candidates=_listed(candidates),
        exclude=_listed(exclude),
        filter_seen=filter_seen,
        tail=tail,
        diversity=diversity,
        at_most=at_most,
        explain=explain,
        pitch=pitch,
        session=session,
        version=version,
    )


def similar(
    item: str,
    k: int = 10,
    *,
    by: Literal["likes", "text", "links"] | None = None,
    candidates: Iterable[str] | None = None,
    explain: bool = False,
    version: Which | None = None,
) -> Call[RecommendAnswer]:
    """Finds items similar to one; the arguments are those of `Recommender.similar`.

    Args:
        item: id of the item.
        k: the number of items.
        by: what to compare by alone; None: by all three.
        candidates: ids of items that may be listed; None: all.
        explain: whether to give reasons.
        version: which bundle answers; None: the current one.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    return _ask(
        "/similar",
        RecommendAnswer,
        messages.SimilarBody,
        item=item,
        k=k,
        by=by,
        candidates=_listed(candidates),
        explain=explain,
        version=version,
    )


def explain(
    item: str,
    *,
    user: str | None = None,
    likes: Iterable[str] | None = None,
    sequence: Iterable[tuple[str, LikeTime]] | None = None,
    text: str | None = None,
    links: Iterable[tuple[str, str]] | None = None,
    attributes: Fields | None = None,
    session: str | None = None,
    version: Which | None = None,
) -> Call[ExplainAnswer]:
    """Explains why an item has its score; the arguments are those of `Recommender.explain`.

    Args:
        item: id of the item.
        user: as in `recommend`, like all that follow.
        likes: as in `recommend`.
        sequence: as in `recommend`.
        text: as in `recommend`.
        links: as in `recommend`.
        attributes: as in `recommend`.
        session: as in `recommend`.
        version: as in `recommend`.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    described = _user_fields(user, likes, text, sequence, links, attributes)
    return _ask(
        "/explain", ExplainAnswer, messages.ExplainBody, item=item, session=session, version=version, **described
    )


def search(
    text: str | None = None, k: int = 10, *, items: Iterable[str] | None = None, link: str | None = None
) -> Call[SearchAnswer]:
    """Finds items by name or id; typing errors are forgiven. Or returns the names of items.

    Args:
        text: a name, a part of it, or an id.
        k: the largest number of items.
        items: instead of `text`, ids of items whose names are wanted.
        link: an edge type of items: the nodes that it leads to are searched instead.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    return _ask("/search", SearchAnswer, messages.SearchBody, text=text, k=k, items=_listed(items), link=link)


def neighbourhood(item: str, most: int = 40) -> Call[NeighbourhoodAnswer]:
    """Returns the graph around an item.

    Args:
        item: id of the item.
        most: the largest number of nodes.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    return _ask("/neighbourhood", NeighbourhoodAnswer, messages.NeighbourhoodBody, item=item, most=most)


def audience(item: str | ItemPart | Fields, k: int = 10) -> Call[AudienceAnswer]:
    """Finds the users who would get an item. Nothing is added.

    Args:
        item: id of an item of the catalogue, or the description of a new one.
        k: the largest number of users.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    return _ask("/audience", AudienceAnswer, messages.AudienceBody, item=item, k=k)


def add_items(items: Iterable[ItemPart | Fields]) -> Call[WriteAnswer]:
    """Adds items: all of them, or none.

    Args:
        items: the new items; an item may link to items before it.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    return _ask("/items", WriteAnswer, messages.ItemsBody, add=_listed(items))


def change_items(items: Iterable[ItemPart | Fields]) -> Call[WriteAnswer]:
    """Changes items: all of them, or none.

    Args:
        items: the items as they are to be; what they do not have is gone.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    return _ask("/items", WriteAnswer, messages.ItemsBody, change=_listed(items))


def remove_items(items: str | Iterable[str]) -> Call[WriteAnswer]:
    """Removes items: all of them, or none.

    Args:
        items: an id, or several.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    return _ask("/items", WriteAnswer, messages.ItemsBody, remove=_several(items))


def add_users(users: Iterable[UserDescription | Fields]) -> Call[WriteAnswer]:
    """Adds users: all of them, or none.

    Args:
        users: the new users.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    return _ask("/users", WriteAnswer, messages.UsersBody, add=_listed(users))


def forget(users: str | Iterable[str]) -> Call[WriteAnswer]:
    """Removes users with all that the service knows of them. The answer has a receipt for each.

    Args:
        users: an id, or several.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    return _ask("/users", WriteAnswer, messages.UsersBody, forget=_several(users))


def add_interactions(interactions: "Iterable[Interaction | Fields] | pd.DataFrame") -> Call[WriteAnswer]:
    """Adds interactions: all of them, or none.

    Args:
        interactions: the interactions, or a DataFrame with the columns user and item, and perhaps weight and at.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    rows = _read_frame(interactions) if hasattr(interactions, "columns") else _listed(interactions)
    return _ask("/interactions", WriteAnswer, messages.InteractionsBody, interactions=rows)


def feedback(events: Iterable[FeedbackEvent | Fields]) -> Call[WriteAnswer]:
    """Keeps what was shown to people and what of it was clicked; it changes no answer.

    Args:
        events: one for each list that was shown.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    return _ask("/feedback", WriteAnswer, messages.FeedbackBody, events=_listed(events))


def status() -> Call[StatusAnswer]:
    """Returns the state of the service.

    Raises:
        ServiceError: as in `recommend`.
    """
    return Call("/status", StatusAnswer.model_validate_json, method="GET")


def sync() -> Call[StatusAnswer]:
    """Brings the bundle up to date with its store, now.

    Raises:
        ServiceError: as in `recommend`.
    """
    return Call("/sync", StatusAnswer.model_validate_json)


def swap() -> Call[StatusAnswer]:
    """Serves the bundle that is now in the folder of the bundle.

    Raises:
        ServiceError: as in `recommend`.
    """
    return Call("/swap", StatusAnswer.model_validate_json)


def rollback() -> Call[StatusAnswer]:
    """Serves the version before the current one. Not sent again once the service may have done it.

    Raises:
        ServiceError: as in `recommend`.
    """
    return Call("/rollback", StatusAnswer.model_validate_json, may_repeat=False)


def set_share(share: float) -> Call[StatusAnswer]:
    """Sets the share of users whom the candidate answers.

    Args:
        share: from 0 to 1.

    Raises:
        RequestError, ServiceError: as in `recommend`.
    """
    return _ask("/share", StatusAnswer, messages.ShareBody, share=share)


def _ask(path: str, answer: type[A], model: type[Body], **fields: Any) -> Call[A]:
    try:
        body = model(**fields)
    except ValidationError as error:
        from kgrec.errors import RequestError

        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the request"
        raise RequestError(f"{place}: {first['msg']}; got {str(first['input'])[:200]}") from None
    key = uuid.uuid4().hex if path in _WRITES else None
    read: Callable[[bytes], A] = answer.model_validate_json  # type: ignore[attr-defined]
    return Call(path, read, body.model_dump_json(exclude_defaults=True).encode(), idempotency_key=key)


def _user_fields(
    user: str | None,
    likes: Iterable[str] | None,
    text: str | None,
    sequence: Iterable[tuple[str, LikeTime]] | None,
    links: Iterable[tuple[str, str]] | None,
    attributes: Fields | None,
) -> dict[str, Any]:
    timed = None if sequence is None else [(item, _written(at)) for item, at in sequence]
    return {
        "user": user,
        "likes": _listed(likes),
        "text": text,
        "sequence": timed,
        "links": _listed(links),
        "attributes": attributes,
    }


def _listed(values: Iterable[Any] | None) -> Any:
    """A list of values; a text stays one, so that it is an error and not a list of its letters."""
    return values if values is None or isinstance(values, str | Mapping) else list(values)


def _several(ids: str | Iterable[str]) -> list[str]:
    return [ids] if isinstance(ids, str) else list(ids)


def _written(at: Any) -> Any:
    return at.isoformat() if isinstance(at, date) else at


def _read_frame(frame: Any) -> list[dict[str, Any]]:
    """The rows of a DataFrame, without importing pandas: numbers as ids become texts, and NaN is left out."""
    rows: Sequence[dict[str, Any]] = frame.to_dict(orient="records")
    return [dict(_read_cells(row)) for row in rows]


def _read_cells(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if value is None or value != value:  # noqa: PLR0124 (NaN and NaT)
            continue
        yield name, str(value) if name in ("user", "item") else _written(value)
